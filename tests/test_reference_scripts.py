"""Scripts in the older contract (tests/older/scripts) run unchanged, with native models and with older ones."""
import json
import os
import subprocess

import numpy as np
import pytest
import torch
from conftest import ROOT, TINY_TRAINING, draw_images, draw_root
from PIL import Image
from test_reference_files import RUNS, clone_with_older_files

from data import create_dataset
from models import create_model
from util.html import HTML
from util.machine.seeding import seed_everything
from util.visualizer import save_images

MODELS = {
    'cyclegan': ('unaligned', ['--netG', 'resnet_1blocks', '--netD', 'n_layers', '--n_layers_D', '1']),
    'pix2pix': ('aligned', ['--netG', 'unet_32', '--netD', 'n_layers', '--n_layers_D', '1', '--direction', 'BtoA']),
    'two_critics': RUNS['two_critics'], 'cycle_gray': RUNS['cycle_gray'],
}
LENGTH = ['--n_epochs', '1', '--n_epochs_decay', '1', '--print_freq', '1', '--display_freq', '2',
          '--save_epoch_freq', '1']


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    folder = clone_with_older_files(tmp_path_factory.mktemp('project') / 'clone')
    for name, suffixes in (('unaligned', 'AB'), ('triple', 'ABC')):
        draw_root(folder / name, tuple(suffixes))
    draw_root(folder / 'aligned', ('',), (80, 40))
    draw_images(folder / 'single', 3)
    return folder


@pytest.fixture(scope='module')
def start(clone, python):
    """start('train_by_hand.py', ...) runs a script as a user does: its exit code, and what it printed."""
    def run(*words):
        done = python.run(words, cwd=clone, env={'OMP_NUM_THREADS': '1'})
        return done.returncode, done.stdout, done.stderr
    return run


@pytest.fixture(scope='module')
def hand(start):
    """hand('cyclegan', 'name', ...) trains by the loop of train_by_hand.py."""
    def train_by_hand(model, name, *more):
        root, own = MODELS[model]
        return start('train_by_hand.py', *TINY_TRAINING, '--dataroot', root, '--model', model, '--name', name, *own,
                     *LENGTH, *more)
    return train_by_hand


@pytest.fixture(scope='module')
def cyclegan_by_hand(hand) -> str:
    """The name of a CycleGAN that the loop has trained."""
    code, _, err = hand('cyclegan', 'by_hand')
    assert code == 0, err
    return 'by_hand'


@pytest.mark.sample(1)
@pytest.mark.parametrize('model', ['pix2pix', *(pytest.param(model, marks=pytest.mark.slow)
                                                for model in ('two_critics', 'cyclegan', 'cycle_gray'))])
def test_a_loop_written_by_hand_and_a_page_written_by_hand(model, hand, start, clone):
    code, out, err = hand(model, model)
    assert code == 0, err
    assert 'The number of training images = 5' in out and out.count('End of epoch') == 2
    assert out.count('(epoch: ') == 10 and 'learning rate 0.0002000 -> 0.0001000' in out
    folder = clone / 'checkpoints' / model
    assert (folder / 'train_opt.txt').exists() and (folder / 'web' / 'index.html').exists()
    records = [json.loads(line) for line in (folder / 'losses.jsonl').read_text('utf-8').splitlines()]
    assert [record['total_iters'] for record in records] == list(range(1, 11))
    assert any(path.suffix in ('.png', '.jpg') for path in (folder / 'web').rglob('*'))

    root = MODELS[model][0]
    code, out, err = start('translate_folder.py', '--name', model, '--model', model, '--dataroot', root,
                           '--gpu_ids', '-1', '--num_test', '2')
    assert code == 0, err
    page = clone / 'results' / model / 'test_latest'
    images = sorted(path.name for path in (page / 'images').iterdir())
    assert {name.partition('_')[0] for name in images} == {'0', '1'} and '0_fake_B.png' in images
    text = (page / 'index.html').read_text('utf-8')
    assert all(name in text for name in images)


def test_a_loop_written_by_hand_makes_the_checkpoints_of_train_py(cyclegan_by_hand, hand, start, clone):
    """The loop trains as train.py does, and each continues a run of the other."""
    root, own = MODELS['cyclegan']
    words = [*TINY_TRAINING, '--dataroot', root, '--model', 'cyclegan', *own, *LENGTH]
    assert start('train.py', *words, '--name', 'by_train_py')[0] == 0
    folders = [clone / 'checkpoints' / name for name in (cyclegan_by_hand, 'by_train_py')]
    files = [{path.name for path in folder.glob('2_net_*')} for folder in folders]
    assert files[0] == files[1] and len(files[0]) == 4
    weights = [torch.load(folder / '2_net_G_A.pth', weights_only=True) for folder in folders]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])

    words = ['--name', cyclegan_by_hand, '--gpu_ids', '-1', '--continue_train', '--n_epochs_decay', '2']
    assert start('train.py', *words)[0] == 0
    more = ['--continue_train', '--epoch_count', '3', '--n_epochs_decay', '2']
    code, out, err = hand('cyclegan', 'by_train_py', *more)
    assert code == 0, err
    assert out.count('End of epoch') == 1
    assert all((folder / '3_net_G_A.pth').exists() for folder in folders)


def test_a_script_with_options_of_its_own_and_two_checkpoints(hand, start, clone):
    assert hand('pix2pix', 'to_blend')[0] == 0
    words = ['--name', 'to_blend', '--model', 'pix2pix', '--dataroot', 'aligned', '--gpu_ids', '-1', '--alpha', '0.25']
    code, out, err = start('blend_epochs.py', *words)
    assert code == 0, err
    assert 'blended with 0.25, at most 50' in out
    assert sorted(path.name for path in (clone / 'blended').iterdir()) == ['0.png', '1.png', '2.png']
    assert '--alpha' in start('blend_epochs.py', '--help')[1]


@pytest.mark.parametrize('model', ['pix2pix', 'cyclegan'])
def test_updates_of_our_models_made_by_a_script(model, roots, train_options):
    """`backward_G`, `optimizer_G.step()` and the like give the weights of `optimize_parameters`."""
    names, nets = (['D', 'G'], 'D') if model == 'pix2pix' else (['G', 'D'], 'D_A D_B')
    opt = train_options('--dataroot', roots['aligned' if model == 'pix2pix' else 'unaligned'], '--model', model,
                        '--netG', 'unet_32' if model == 'pix2pix' else 'resnet_1blocks', '--netD', 'n_layers',
                        '--n_layers_D', 1).writable()
    trained = []
    for by_hand in (False, True):
        seed_everything(1)
        script = create_model(opt)
        script.setup(opt)
        for data in create_dataset(opt):
            script.set_input(data)
            if not by_hand:
                script.optimize_parameters()
                continue
            script.forward()
            for name in names:
                script.set_requires_grad([getattr(script, f'net{net}') for net in nets.split()], name == 'D')
                getattr(script, f'optimizer_{name}').zero_grad()
                getattr(script, f'backward_{name}')()
                getattr(script, f'optimizer_{name}').step()
        trained.append(script)
    for name in script.model_names:
        weights = [getattr(model, f'net{name}').state_dict() for model in trained]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0]), name
    assert trained[0].get_current_losses() == trained[1].get_current_losses()
    first = script.loss_names[0]
    assert float(getattr(script, f'loss_{first}')) == pytest.approx(script.get_current_losses()[first])
    assert len(script.optimizers) == 2 and 'fake_B' in script.visual_names
    for scheduler in script.schedulers:
        scheduler.step()
    assert script.progress.epoch == 2
    script.real_A = torch.zeros_like(script.real_A)
    assert script.model.real_A.abs().max() == 0


def test_one_image_through_one_generator(cyclegan_by_hand, start, clone):
    code, out, err = start('one_image.py', 'single/0.png', 'out.png', '--name', cyclegan_by_hand, '--model', 'test',
                           '--model_suffix', '_A', '--dataroot', 'single', '--gpu_ids', '-1')
    assert code == 0, err
    assert Image.open(clone / 'out.png').size == (32, 32) and (clone / 'out.png_folder').is_dir()
    assert 'shape, (32, 32, 3)' in out


def test_options_of_a_script_under_their_older_names(start, clone):
    script = clone / 'older_names.py'
    script.write_text('from options.test_options import TestOptions\nopt = TestOptions().parse()\nopt.batchSize = 3\n'
                      'opt.nThreads = 0\nprint(opt.batch_size, opt.num_threads, opt.fineSize, opt.gpu_ids, '
                      'opt.which_direction, opt.no_lsgan if hasattr(opt, "no_lsgan") else "")\nopt.gpu_ids = [0, 1]\n'
                      'print(opt.frozen().gpu_ids)\n', encoding='utf-8')
    words = ['--name', 'bare', '--dataroot', 'single', '--model', 'test', '--crop_size', '64', '--gpu_ids', '-1']
    (clone / 'checkpoints' / 'bare').mkdir(parents=True, exist_ok=True)
    (clone / 'checkpoints' / 'bare' / 'latest_net_G.pth').write_bytes(b'')
    code, out, err = start('older_names.py', *words)
    assert code == 0, err
    assert out.splitlines()[-2:] == ['3 0 64 [] AtoB ', '0,1']


def test_a_mistake_on_the_command_line_of_a_script(start):
    code, _, err = start('translate_folder.py', '--name', 'nothing', '--dataroot', 'nowhere')
    assert code == 2 and err.startswith('error: ') and 'Traceback' not in err
    code, out, _ = start('train_by_hand.py', '--model', 'two_critics', '--help')
    assert code == 0 and '--mask_weights' in out


def test_save_images(tmp_path):
    page = HTML(tmp_path, 'title')
    save_images(page, {'real': torch.zeros(2, 3, 4, 4), 'rgb': np.zeros((4, 6, 3))}, ['/some/where/a.b.jpg', 'c.jpg'],
                aspect_ratio=2.0, width=99)
    page.save()
    assert Image.open(tmp_path / 'images' / 'a.b_real.png').size == (4, 8)
    assert 'width:99px' in (tmp_path / 'index.html').read_text('utf-8')


WRAPPERS = {
    'scripts/train_cyclegan.sh': ('train.py', '--model cycle_gan'),
    'scripts/train_pix2pix.sh': ('train.py', '--model pix2pix'),
    'scripts/train_colorization.sh': ('train.py', '--model colorization'),
    'scripts/test_cyclegan.sh': ('test.py', '--model cycle_gan'),
    'scripts/test_pix2pix.sh': ('test.py', '--model pix2pix'),
    'scripts/test_colorization.sh': ('test.py', '--model colorization'),
    'scripts/test_single.sh': ('test.py', '--model test'),
    'scripts/download_cyclegan_model.sh': ('scripts/download_cyclegan_model.py', ''),
    'scripts/download_pix2pix_model.sh': ('scripts/download_pix2pix_model.py', ''),
    'datasets/download_cyclegan_dataset.sh': ('datasets/download_dataset.py', '--kind cyclegan'),
    'datasets/download_pix2pix_dataset.sh': ('datasets/download_dataset.py', '--kind pix2pix'),
}


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_a_wrapper_calls_our_program(wrapper, tmp_path):
    """Its words are passed on, and win over its own."""
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho "$@"\n', encoding='utf-8')
    python.chmod(0o755)
    done = subprocess.run(['bash', str(ROOT / wrapper), 'some words', '--gpu_ids', '-1'], cwd=tmp_path, text=True,
                          capture_output=True, env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'})
    program, words = WRAPPERS[wrapper]
    assert done.returncode == 0, done.stderr
    assert program in done.stdout and words in done.stdout and done.stdout.rstrip().endswith('some words --gpu_ids -1')


def test_get_data_lists_and_downloads(tmp_path, monkeypatch, capsys):
    from util import get_data
    asked = []
    monkeypatch.setattr(get_data.subprocess, 'run', lambda words, **_: asked.append(words))
    assert get_data.GetData('pix2pix', verbose=False).get(str(tmp_path), dataset='facades') == str(tmp_path / 'facades')
    assert asked[0][-5:] == ['facades', '--kind', 'pix2pix', '--datasets_dir', str(tmp_path)]
