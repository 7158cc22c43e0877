"""Models learn the demo tasks, and the gates fail when training is broken on purpose. Takes minutes on a CPU."""
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow

PIX2PIX = ['--model', 'pix2pix', '--direction', 'BtoA', '--netG', 'unet_64', '--ngf', '32', '--ndf', '32', '--netD',
           'n_layers', '--n_layers_D', '2', '--batch_size', '2', '--lr', '0.0004', '--n_epochs', '6',
           '--n_epochs_decay', '6']
CYCLEGAN = ['--model', 'cyclegan', '--netG', 'resnet_3blocks', '--ngf', '20', '--ndf', '32', '--netD', 'n_layers',
            '--n_layers_D', '2', '--batch_size', '2', '--lr', '0.0004', '--n_epochs', '4', '--n_epochs_decay', '4']
MUNIT = ['--model', 'munit', '--ngf', '24', '--ndf', '24', '--style_dim', '4', '--mlp_dim', '64', '--n_res', '2',
         '--num_scales_D', '1', '--n_layers_D', '3', '--batch_size', '2', '--lr', '0.0003', '--max_iters', '2500',
         '--load_size', '32', '--crop_size', '32']


def run(script, *arguments):
    return subprocess.run([sys.executable, ROOT / script, *map(str, arguments)], cwd=ROOT).returncode


def demo(folder, task, size=64):
    assert run('datasets/make_demo.py', '--task', task, '--out', folder, '--size', size) == 0
    return folder


def score(tmp_path, dataroot, training, testing=(), program='train.py'):
    """Train, test and score; returns the exit code of score_demo.py."""
    places = ['--name', 'run', '--checkpoints_dir', tmp_path / 'checkpoints']
    common = ['--load_size', 64, '--crop_size', 64, '--seed', 1, '--num_threads', 0, '--display_id', -1, '--no_html']
    assert run(program, '--dataroot', dataroot, *places, *common, *training) == 0
    assert run('test.py', *places, '--results_dir', tmp_path / 'results', *testing) == 0
    return run('scripts/score_demo.py', tmp_path / 'results' / 'run' / 'test_latest', '--dataroot', dataroot)


def shuffle_pairs(folder):
    """Give each training photo the labels of the next one."""
    paths = sorted((folder / 'train').glob('*.png'))
    pairs = [Image.open(path).convert('RGB') for path in paths]
    half = pairs[0].width // 2
    labels = [pair.crop((half, 0, *pair.size)) for pair in pairs]
    for path, pair, label in zip(paths, pairs, labels[1:] + labels[:1], strict=True):
        pair.paste(label, (half, 0))
        pair.save(path)


def test_pix2pix_passes(tmp_path):
    assert score(tmp_path, demo(tmp_path / 'demo', 'facades'), PIX2PIX) == 0


def test_pix2pix_with_shuffled_pairs_fails(tmp_path):
    folder = demo(tmp_path / 'demo', 'facades')
    shuffle_pairs(folder)
    assert score(tmp_path, folder, PIX2PIX) == 1


def test_cyclegan_passes(tmp_path):
    assert score(tmp_path, demo(tmp_path / 'demo', 'day2night'), CYCLEGAN) == 0


@pytest.mark.parametrize('fault', (['--lambda_gan', '0'], ['--lambda_A', '0', '--lambda_B', '0']))
def test_cyclegan_without_a_term_fails(tmp_path, fault):
    assert score(tmp_path, demo(tmp_path / 'demo', 'day2night'), [*CYCLEGAN, *fault]) == 1


STYLES = ['--num_styles', '8']
WITHOUT_NOISE = """
import sys
import train
from models.munit_model import MunitModel
from util.cli import run
drawn = MunitModel.draw_styles
MunitModel.draw_styles = lambda self, n: tuple(0 * style for style in drawn(self, n))
sys.exit(run(train.main))
"""


def guided_by(folder):
    return ['--style_dir', folder / 'testB', '--num_test', 6]


def test_munit_passes(tmp_path):
    assert score(tmp_path, demo(tmp_path / 'demo', 'shapes', 32), MUNIT, STYLES) == 0


def test_munit_guided_passes(tmp_path):
    folder = demo(tmp_path / 'demo', 'shapes', 32)
    assert score(tmp_path, folder, MUNIT, guided_by(folder)) == 0


def test_munit_without_content_loss_fails(tmp_path):
    assert score(tmp_path, demo(tmp_path / 'demo', 'shapes', 32), [*MUNIT, '--lambda_recon_c', '0'], STYLES) == 1


def test_munit_without_style_noise_fails(tmp_path):
    program = tmp_path / 'without_noise.py'
    program.write_text(f'import sys\nsys.path.insert(0, {str(ROOT)!r})\n{WITHOUT_NOISE}', encoding='utf-8')
    folder = demo(tmp_path / 'demo', 'shapes', 32)
    assert score(tmp_path, folder, MUNIT, guided_by(folder), program) == 1
