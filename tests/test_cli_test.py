"""test.py from a trained run to its results: without repeated options, under the right names, in any batch size."""
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_TRAINING, draw_images, draw_root
from PIL import Image
from skimage.color import rgb2lab
from test_cli_train import PROGRAMS, ROOT, Page, files

from util.cli import run
from util.results.writer import Results

ONE_EPOCH = ['--n_epochs', '1', '--n_epochs_decay', '0', '--max_dataset_size', '2', '--no_html']
RUNS = {
    # unet_64 is the smallest U-Net with dropout; its batch norms use the statistics of each image
    'pix2pix': ['--dataroot', 'aligned', '--model', 'pix2pix', '--netG', 'unet_64', '--crop_size', '64',
                '--load_size', '64'],
    'cyclegan': ['--dataroot', 'unaligned', '--netG', 'resnet_6blocks', '--n_epochs', '2', '--save_epoch_freq', '1'],
    'colorization': ['--dataroot', 'photos', '--model', 'colorization', '--netG', 'unet_32'],
}


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder with data and runs of three models."""
    folder = tmp_path_factory.mktemp('home')
    draw_root(folder / 'aligned', ('',), (80, 40))
    draw_root(folder / 'unaligned', ('A', 'B'))
    draw_root(folder / 'photos', ('',))
    draw_images(folder / 'single', 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, words in RUNS.items():
            assert run(PROGRAMS['train'], [*TINY_TRAINING, *ONE_EPOCH, *words, '--name', name]) == 0
    return folder


@pytest.fixture
def translate(home, tmp_path, monkeypatch, capfd):
    """translate('--name', 'pix2pix') runs test.py in `home`, in this process; results go to tmp_path:
    (exit code, lines of stdout, lines of stderr)."""
    monkeypatch.chdir(home)

    def call(*words):
        capfd.readouterr()
        argv = ['--gpu_ids', '-1', '--num_threads', '0', '--results_dir', str(tmp_path), *map(str, words)]
        code = run(PROGRAMS['test'], argv)
        streams = capfd.readouterr()
        return code, streams.out.splitlines(), streams.err.splitlines()
    return call


@pytest.fixture
def results(translate, tmp_path):
    """results('--name', 'pix2pix') -> {file: pixels} of a test that succeeds."""
    def call(*words) -> dict[str, np.ndarray]:
        shutil.rmtree(tmp_path / words[1], ignore_errors=True)
        code, _, err = translate(*words)
        assert (code, err) == (0, [])
        return pixels(tmp_path / words[1])
    return call


def pixels(folder: Path) -> dict[str, np.ndarray]:
    return {name.partition('/images/')[2]: np.asarray(Image.open(folder / name))
            for name in files(folder) if name.endswith('.png')}


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def refused(translate, *words) -> str:
    """The one sentence about a test that cannot be."""
    code, _, err = translate(*words)
    assert code == 2 and len(err) == 1 and err[0].startswith('error: ')
    return err[0]


# ---- without repeated options

PAGES = ['data/0001.js', 'gallery.css', 'gallery.js', 'index.html', 'results.js', 'results.json']
LABELS = {'pix2pix': ['real_A', 'fake_B', 'real_B'], 'colorization': ['real_A', 'real_B_rgb', 'fake_B_rgb'],
          'cyclegan': ['real_A', 'fake_B', 'rec_A', 'real_B', 'fake_A', 'rec_B']}


@pytest.mark.parametrize('name', RUNS)
def test_run_is_tested_by_its_name(name, translate, tmp_path):
    code, out, err = translate('--name', name)
    assert (code, err) == (0, [])
    folder = tmp_path / name / 'test_latest'
    names = [f'{stem}_{label}.png' for stem in '012' for label in LABELS[name]]
    assert files(folder) == sorted([*(f'images/{file}' for file in names), *PAGES])
    assert out[-1] == f'wrote 3 of 3 results; page: {folder / "index.html"}'
    side = 64 if name == 'pix2pix' else 32
    assert {image.shape for image in pixels(folder).values()} == {(side, side, 3)}

    page = Page(folder / 'index.html')
    assert page.title == f'Experiment = {name}, Phase = test, Epoch = latest' and page.refresh is None
    lists = [LABELS[name][:3], LABELS[name][3:]] if name == 'cyclegan' else [LABELS[name]]   # A and B are no pairs
    assert page.headings == ['0', '1', '2'] * len(lists)
    assert page.labels == [label for labels in lists for label in labels * 3]
    assert page.images == page.links == [f'images/{stem}_{label}.png' for labels in lists for stem in '012'
                                         for label in labels]

    told = json.loads((folder / 'results.json').read_text(encoding='utf-8'))
    assert [image['stem'] for image in told['images']] == ['0', '1', '2'] and told['model'] in (name, 'cycle_gan')
    measured = name != 'cyclegan'
    assert ['metrics' in image for image in told['images']] == [measured] * 3
    assert bool(told['mean_metrics']) == measured


def test_in_a_process_of_its_own(program, home, tmp_path):
    done = program('test', '--name', 'cyclegan', '--results_dir', tmp_path, '--gpu_ids', -1, folder=home)
    assert (done.returncode, done.stderr) == (0, '')
    assert f'creating web directory {tmp_path / "cyclegan" / "test_latest"}\n' in done.stdout
    assert "processing (0000)-th image... ['unaligned/testA/0.png']\n" in done.stdout.replace('\\\\', '/')
    written = (home / 'checkpoints' / 'cyclegan' / 'test_opt.txt').read_text(encoding='utf-8').splitlines()
    shown = [line for line in written if line in done.stdout.splitlines()]
    assert {line.split(':')[0].strip() for line in shown} >= {'name', 'gpu_ids'} and len(shown) < len(written) / 2


def test_saved_options_are_those_in_force(home, translate):
    translate('--name', 'pix2pix')
    lines = (home / 'checkpoints' / 'pix2pix' / 'test_opt.txt').read_text(encoding='utf-8').splitlines()
    found = dict(line.strip().partition(': ')[::2] for line in lines[1:-1])
    expected = {'netG': 'unet_64', 'serial_batches': 'True', 'no_flip': 'True', 'isTrain': 'False', 'num_threads': '0',
                'load_size': '64', 'phase': 'test'}
    assert {name: found[name].split()[0] for name in expected} == expected
    assert (home / 'checkpoints' / 'pix2pix' / 'train_opt.txt').exists()


def test_results_of_the_inputs_are_the_inputs(results, home):
    found = results('--name', 'pix2pix', '--crop_size', 64)
    pair = Image.open(home / 'aligned' / 'test' / '1.png')
    left, right = (np.asarray(pair.crop(box).resize((64, 64), Image.Resampling.BICUBIC))
                   for box in ((0, 0, 40, 40), (40, 0, 80, 40)))
    assert np.array_equal(found['1_real_A.png'], left) and np.array_equal(found['1_real_B.png'], right)


def test_results_can_be_repeated(results):
    assert equal(results('--name', 'pix2pix'), results('--name', 'pix2pix'))
    assert not equal(results('--name', 'pix2pix'), results('--name', 'pix2pix', '--seed', 3)), 'dropout is noise'


# ---- which images

def test_num_test_is_told(translate, tmp_path):
    code, out, _ = translate('--name', 'pix2pix', '--num_test', 2)
    folder = tmp_path / 'pix2pix' / 'test_latest'
    assert code == 0 and out[-1].startswith('wrote 2 of 3 results (stopped at --num_test 2)')
    assert Page(folder / 'index.html').headings == ['0', '1'] and not (folder / 'images' / '2_real_A.png').exists()


def test_metrics_are_those_of_evaluate(translate, python, tmp_path):
    _, out, _ = translate('--name', 'colorization')
    folder = tmp_path / 'colorization' / 'test_latest'
    done = python.run([ROOT / 'scripts' / 'evaluate.py', folder], cwd=tmp_path)
    assert done.returncode == 0
    by_files = json.loads((folder / 'metrics.json').read_text(encoding='utf-8'))
    told = json.loads((folder / 'results.json').read_text(encoding='utf-8'))
    assert told['mean_metrics'] == pytest.approx(by_files['mean'])
    assert all(image['metrics'] == pytest.approx(by_files['images'][image['stem']]) for image in told['images'])
    line, = (line for line in out if line.startswith('colorization, epoch latest: '))
    assert f'{told["mean_metrics"]["PSNR"]:.2f} dB' in line


def test_results_of_two_tests_are_never_mixed(translate, tmp_path):
    translate('--name', 'pix2pix', '--num_test', 2)
    _, out, _ = translate('--name', 'pix2pix', '--num_test', 1)
    folder = tmp_path / 'pix2pix' / 'test_latest'
    found = [len(list((folder.with_name(name) / 'images').iterdir())) for name in ('test_latest', 'test_latest.1')]
    assert found == [3, 6]
    line, = (line for line in out if 'another test' in line)
    assert '(--num_test)' in line and line.endswith(str(folder.with_name('test_latest.1')))


def test_phase(results):
    assert len(results('--name', 'pix2pix', '--phase', 'train')) == 5 * 3


@pytest.mark.parametrize('name', ['pix2pix', 'colorization'])
@pytest.mark.parametrize('size', [2, 3])
def test_batches_give_the_same_images(name, size, results):
    assert equal(results('--name', name), results('--name', name, '--batch_size', size))


def test_batches_of_networks_without_noise_differ_by_rounding_at_most(results):
    alone, together = results('--name', 'cyclegan'), results('--name', 'cyclegan', '--batch_size', 3)
    assert alone.keys() == together.keys()
    distance = np.array([np.abs(alone[name].astype(int) - together[name]) for name in alone])
    assert distance.max() <= 1 and np.count_nonzero(distance) < 1e-3 * distance.size


def test_workers_give_the_same_images(results):
    assert equal(results('--name', 'pix2pix'), results('--name', 'pix2pix', '--num_threads', 2))


NAMES = ['a b', 'a#b', 'a%20b', 'q', "it's", 'x' * 230, 'ä漢', 'sub/q', 'sub/deeper/q', 'dot.in.name', '&amp;']


def test_names_of_results(translate, tmp_path):
    sources = [f'{name}.png' for name in NAMES] + ['q.jpg', 'sub/q.jpeg', 'q_jpg.png']
    for source in sources:
        path = tmp_path / 'odd' / source
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (32, 32)).save(path)
    code, out, err = translate('--name', 'cyclegan', '--model', 'test', '--dataroot', tmp_path / 'odd')
    assert (code, err) == (0, []) and f'wrote {len(sources)} of {len(sources)} results' in out[-1]
    folder = tmp_path / 'cyclegan' / 'test_latest'
    page = Page(folder / 'index.html')
    assert len(page.images) == len(set(page.images)) == 2 * len(sources)
    assert all((folder / name).is_file() for name in [*page.images, *page.links])
    assert sorted(page.images) == [name for name in files(folder) if name.endswith('.png')]
    assert {'a b', 'a#b', 'a%20b', "it's", 'ä漢', 'sub/deeper/q', 'dot.in.name', '&amp;'} <= set(page.headings)
    told = json.loads((folder / 'results.json').read_text(encoding='utf-8'))['images']
    assert {image['source'] for image in told} == {str(tmp_path / 'odd' / source) for source in sources}
    assert {file for image in told for file in image['files'].values()} == set(page.images)


# ---- how

def test_eval_uses_running_statistics(results):
    trained, evaluated = results('--name', 'pix2pix'), results('--name', 'pix2pix', '--eval')
    assert equal(evaluated, results('--name', 'pix2pix', '--eval', '--seed', 5)), 'no dropout is left'
    assert not equal(trained, evaluated)
    assert equal(results('--name', 'cyclegan'), results('--name', 'cyclegan', '--eval')), 'an instance norm has none'


@pytest.mark.parametrize(('ratio', 'shape'), [(2, (128, 64)), (1.5, (96, 64)), (0.5, (64, 128)), (1, (64, 64))])
def test_aspect_ratio(ratio, shape, results):
    found = results('--name', 'pix2pix', '--aspect_ratio', ratio)
    assert {image.shape[:2] for image in found.values()} == {shape}


@pytest.mark.parametrize('extension', ['jpg', 'npy'])
def test_aspect_ratio_of_every_file_type(extension, results, tmp_path):
    results('--name', 'pix2pix', '--aspect_ratio', 2, '--save_as', extension)
    written = list(tmp_path.rglob(f'*_fake_B.{extension}'))
    assert written
    for path in written:
        pixels = np.load(path) if extension == 'npy' else np.asarray(Image.open(path))
        assert pixels.shape == (128, 64, 3)


def test_aspect_ratio_of_an_image_that_is_not_square(results, tmp_path):
    draw_images(tmp_path / 'wide', 1, (64, 32))
    found = results('--name', 'cyclegan', '--model', 'test', '--dataroot', tmp_path / 'wide', '--preprocess', 'none',
                    '--aspect_ratio', 2)
    assert {image.shape[:2] for image in found.values()} == {(64, 64)}


def test_crop_size_brings_the_load_size(results):
    assert {image.shape for image in results('--name', 'cyclegan', '--crop_size', 48).values()} == {(48, 48, 3)}


def test_size_that_is_no_multiple_of_4_on_a_resnet(translate):
    assert translate('--name', 'cyclegan', '--preprocess', 'resize', '--load_size', 30)[0] == 0


def test_images_that_were_trained_uncropped_are_tested_in_that_size(home, translate, tmp_path):
    words = [*TINY_TRAINING, *ONE_EPOCH, '--dataroot', 'aligned', '--model', 'template', '--netG', 'resnet_6blocks',
             '--checkpoints_dir', str(tmp_path), '--name', 'large', '--preprocess', 'resize', '--load_size', '64']
    assert run(PROGRAMS['train'], words) == 0
    assert translate('--name', 'large', '--checkpoints_dir', tmp_path)[0] == 0
    assert {image.shape for image in pixels(tmp_path / 'large' / 'test_latest').values()} == {(64, 64, 3)}


def test_munit_is_tested_in_the_size_of_its_training(home, translate, tmp_path):
    words = [*TINY_TRAINING, *ONE_EPOCH, '--dataroot', 'unaligned', '--model', 'munit', '--max_iters', '1',
             '--num_scales_D', '1', '--n_layers_D', '2', '--checkpoints_dir', str(tmp_path), '--name', 'munit']
    assert run(PROGRAMS['train'], words) == 0
    assert translate('--name', 'munit', '--checkpoints_dir', tmp_path, '--num_styles', 1)[0] == 0
    assert {max(image.shape) for image in pixels(tmp_path / 'munit' / 'test_latest').values()} <= {32, 36}


def test_options_of_the_dataset_are_not_repeated(home, translate, tmp_path):
    words = [*TINY_TRAINING, *ONE_EPOCH, '--dataroot', 'photos', '--model', 'template', '--dataset_mode', 'template',
             '--new_dataset_option', '5', '--checkpoints_dir', str(tmp_path), '--name', 'own']
    assert run(PROGRAMS['train'], words) == 0
    translate('--name', 'own', '--checkpoints_dir', tmp_path)
    lines = (tmp_path / 'own' / 'test_opt.txt').read_text(encoding='utf-8').splitlines()
    assert any(line.split()[:2] == ['new_dataset_option:', '5.0'] for line in lines)


# ---- which generator

def test_one_sided(results, home):
    both = results('--name', 'cyclegan', '--dataroot', 'unaligned')
    for folder, real, fake, words in (('testA', 'real_A', 'fake_B', []),
                                      ('testB', 'real_B', 'fake_A', ['--direction', 'BtoA'])):
        alone = results('--name', 'cyclegan', '--model', 'test', '--dataroot', home / 'unaligned' / folder,
                        '--preprocess', 'resize_and_crop', *words)
        assert sorted(alone) == [f'{stem}_{label}.png' for stem in '012' for label in ('fake', 'real')]
        assert equal({f'{stem}_fake.png': both[f'{stem}_{fake}.png'] for stem in '012'}
                     | {f'{stem}_real.png': both[f'{stem}_{real}.png'] for stem in '012'}, alone)


@pytest.mark.parametrize('name', ['cyclegan', 'pix2pix'])
def test_photos_keep_their_size(translate, tmp_path, name):
    """Of any size from one pixel up, with every generator; an option for the size still has its effect."""
    sizes = {'point': (1, 1), 'odd': (37, 21), 'fits': (64, 32)}
    (tmp_path / 'photos').mkdir()
    for stem, size in sizes.items():
        draw_images(tmp_path / stem, 1, size)[0].rename(tmp_path / 'photos' / f'{stem}.png')
    words = ['--name', name, '--model', 'test', '--dataroot', tmp_path / 'photos']
    code, _, err = translate(*words)
    assert (code, err) == (0, [])
    for path, picture in pixels(tmp_path / name).items():
        assert picture.shape[1::-1] == sizes[path.partition('_')[0]]
    code, out, err = translate(*words, '--crop_size', 64)
    assert code == 0 and all(picture.shape == (64, 64, 3) for picture in pixels(tmp_path / name).values())


@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_gray_photos_of_any_size_are_colorized(translate, tmp_path, mode):
    """The lightness of the result is that of the photo, but for rounding."""
    folder = tmp_path / 'photos' / 'test'
    path, = draw_images(folder, 1, (45, 37))
    Image.open(path).convert(mode).save(path)
    code, _, err = translate('--name', 'colorization', '--dataroot', tmp_path / 'photos', '--whole')
    assert (code, err) == (0, [])
    found = pixels(tmp_path / 'colorization')['0_fake_B_rgb.png']
    assert found.shape == (37, 45, 3)
    lightness = rgb2lab(np.asarray(Image.open(path).convert('RGB')))[..., 0]
    assert np.abs(rgb2lab(found)[..., 0] - lightness).max() < 1


def test_single_images_ask_for_one_side(results):
    by_model = results('--name', 'cyclegan', '--model', 'test', '--dataroot', 'single')
    assert equal(by_model, results('--name', 'cyclegan', '--dataset_mode', 'single', '--dataroot', 'single'))


def test_model_suffix(results):
    def one_sided(*words):
        return results('--name', 'cyclegan', '--model', 'test', '--dataroot', 'single', *words)
    assert equal(one_sided(), one_sided('--model_suffix', '_A'))
    assert equal(one_sided('--direction', 'BtoA'), one_sided('--model_suffix', '_B'))
    assert not equal(one_sided('--model_suffix', '_A'), one_sided('--model_suffix', '_B'))


def test_the_other_direction_exchanges_the_generators(results):
    forth, back = results('--name', 'cyclegan'), results('--name', 'cyclegan', '--direction', 'BtoA')
    exchanged = {name.translate(str.maketrans('AB', 'BA')): image for name, image in forth.items()}
    assert equal(exchanged, back)


def test_one_sided_pix2pix(results):
    found = results('--name', 'pix2pix', '--model', 'test', '--dataroot', 'single')
    assert sorted(found) == [f'{stem}_{label}.png' for stem in '012' for label in ('fake', 'real')]


def test_an_image_that_the_networks_cannot_take_is_left_out(translate, tmp_path):
    """Wherever it stands; where none fits, it is the options: one sentence, soon."""
    folder = tmp_path / 'photos'
    draw_images(folder, 3)
    for name in ('00', '11', '99'):
        Image.new('RGB', (1, 1)).save(folder / f'{name}.png')
    words = ['--name', 'cyclegan', '--model', 'test', '--dataroot', folder, '--preprocess', 'none']
    code, out, err = translate(*words)
    assert code == 6 and sorted(pixels(tmp_path / 'cyclegan')) == [f'{stem}_{label}.png' for stem in '012'
                                                                   for label in ('fake', 'real')]
    assert [line for line in err if f'{folder}/00.png is 4x4' in line] and len(err) == 3
    for number in range(3):
        (folder / f'{number}.png').unlink()
    for number in range(40):
        Image.new('RGB', (1, 1)).save(folder / f'{number}.png')
    code, out, err = translate(*words)
    assert code == 2 and len(err) == 1 and f'{folder}/0.png is 4x4' in err[0]


@pytest.mark.skipif(sys.platform == 'win32', reason='needs signals of Unix')
@pytest.mark.parametrize('name, code', [('SIGTERM', 143), ('SIGHUP', 129)])
def test_a_signal_leaves_the_results_in_order(name, code, translate, tmp_path, monkeypatch):
    add, numbers = Results.add, [getattr(signal, name) for name in ('SIGTERM', 'SIGHUP')]
    monkeypatch.setattr(Results, 'add', lambda *words: [add(*words), os.kill(os.getpid(), getattr(signal, name))])
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    try:
        assert translate('--name', 'pix2pix')[::2] == (code, ['interrupted'])
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    told = json.loads((tmp_path / 'pix2pix' / 'test_latest' / 'results.json').read_text(encoding='utf-8'))
    assert told['state'] == 'interrupted' and len(told['images']) == 1


def test_several_processes_do_not_test(translate, monkeypatch):
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    assert 'python test.py' in refused(translate, '--name', 'cyclegan')


@pytest.mark.parametrize('epoch', ['1', '2'])
def test_epoch(epoch, translate, tmp_path):
    assert translate('--name', 'cyclegan', '--epoch', epoch)[0] == 0
    page = Page(tmp_path / 'cyclegan' / f'test_{epoch}' / 'index.html')
    assert page.title.endswith(f'Epoch = {epoch}')


def test_load_iter(home, translate, tmp_path):
    shutil.copytree(home / 'checkpoints' / 'cyclegan', tmp_path / 'runs' / 'cyclegan')
    for path in list((tmp_path / 'runs' / 'cyclegan').glob('latest_*.pth')):
        path.rename(path.with_name(path.name.replace('latest', 'iter_6')))
    words = ['--name', 'cyclegan', '--checkpoints_dir', tmp_path / 'runs']
    assert translate(*words, '--load_iter', 6)[0] == 0
    assert (tmp_path / 'cyclegan' / 'test_latest_iter6' / 'index.html').exists()
    assert 'iter_6 (D_A D_B G_A G_B)' in refused(translate, *words)


# ---- weights without a state file, as the reference leaves and publishes them

@pytest.fixture
def bare(home, tmp_path) -> list:
    """Options that name runs without state files."""
    shutil.copytree(home / 'checkpoints', tmp_path / 'bare', ignore=shutil.ignore_patterns('*_state.pth', '*.json'))
    return ['--checkpoints_dir', tmp_path / 'bare', '--ngf', 4, '--crop_size', 32]


def test_bare_weights_with_their_options(bare, results):
    words = ['--model', 'cycle_gan', '--dataroot', 'unaligned', '--netG', 'resnet_6blocks']
    assert equal(results('--name', 'cyclegan', *bare, *words), results('--name', 'cyclegan'))
    words = ['--model', 'pix2pix', '--dataroot', 'aligned', '--netG', 'unet_64', '--crop_size', 64]
    assert equal(results('--name', 'pix2pix', *bare, *words), results('--name', 'pix2pix'))


def test_published_generator(bare, results, tmp_path):
    published = tmp_path / 'bare' / 'x_pretrained'
    published.mkdir()
    shutil.copy(tmp_path / 'bare' / 'cyclegan' / 'latest_net_G_A.pth', published / 'latest_net_G.pth')
    words = ['--model', 'test', '--dataroot', 'single', '--netG', 'resnet_6blocks', '--no_dropout']
    assert equal(results('--name', 'x_pretrained', *bare, *words),
                 results('--name', 'cyclegan', '--model', 'test', '--dataroot', 'single', '--crop_size', 32))


@pytest.mark.parametrize(('words', 'parts'), [
    ([], ['does not fit', '--netG resnet_6blocks', '--norm instance', '--no_dropout']),
    (['--netG', 'resnet_6blocks'], ['does not fit', '--no_dropout']),
    (['--netG', 'unet_32', '--norm', 'batch'], ['does not fit', '--netG resnet_6blocks']),
    (['--netG', 'resnet_6blocks', '--no_dropout', '--ngf', 8], ['does not fit', '--ngf 4']),
])
def test_bare_weights_with_other_options(bare, translate, words, parts):
    message = refused(translate, '--name', 'cyclegan', *bare, '--model', 'test', '--dataroot', 'single', *words)
    assert [part for part in parts if part not in message] == []


# ---- mistakes

@pytest.mark.parametrize(('words', 'parts'), [
    (['--name', 'absent'], ['absent', 'colorization, cyclegan, pix2pix', '--name']),
    (['--name', 'pix2pix', '--epoch', '7'], ['no checkpoint 7', '1 (D G), latest (D G)', '--epoch']),
    (['--name', 'pix2pix', '--load_iter', '7'], ['iter_7', '1 (D G), latest (D G)']),
    (['--name', 'pix2pix', '--netG', 'unet_32'], ['--netG unet_32', '--netG unet_64']),
    (['--name', 'pix2pix', '--norm', 'instance'], ['--norm instance', '--norm batch']),
    (['--name', 'pix2pix', '--input_nc', '1'], ['--input_nc 1', '--input_nc 3']),
    (['--name', 'pix2pix', '--direction', 'BtoA'], ['--direction BtoA', '--direction AtoB']),
    (['--name', 'pix2pix', '--model', 'cycle_gan'], ['--model cycle_gan', '--model pix2pix']),
    (['--name', 'cyclegan', '--dropout'], ['--dropout', '--no_dropout']),
    (['--name', 'colorization', '--model', 'test'], ['--model test', 'drop --model']),
    (['--name', 'cyclegan', '--model', 'test'], ['--dataroot DIR']),
    (['--name', 'cyclegan', '--model', 'test', '--dataroot', 'single', '--model_suffix', '_C'], ['latest_net_G_C.pth']),
    (['--name', 'pix2pix', '--dataroot', 'single'], ['single', 'test']),
    (['--name', 'pix2pix', '--phase', 'val'], ['val', 'test/']),
    (['--name', 'pix2pix', '--crop_size', '96'], ['--crop_size 96', 'multiple of 64']),
    (['--name', 'pix2pix', '--preprocess', 'none'], ['40x40', 'multiples of 64', '--preprocess']),
    (['--name', 'pix2pix', '--preprocess', 'crop'], ['40x40', '--crop_size 64']),
])
def test_mistake(words, parts, translate):
    message = refused(translate, *words)
    assert [part for part in parts if part not in message] == []


def test_runs_below_the_folder_that_was_given(home, translate):
    message = refused(translate, '--name', 'pix2pix', '--checkpoints_dir', home / 'checkpoints' / 'pix2pix')
    assert f'--checkpoints_dir {home / "checkpoints"}' in message


def test_broken_checkpoints(home, translate, tmp_path):
    shutil.copytree(home / 'checkpoints' / 'pix2pix', tmp_path / 'runs' / 'pix2pix')
    weights = tmp_path / 'runs' / 'pix2pix' / 'latest_net_G.pth'
    whole = weights.read_bytes()
    for content in (b'', whole[:5000], b'<!DOCTYPE html>'):
        weights.write_bytes(content)
        message = refused(translate, '--name', 'pix2pix', '--checkpoints_dir', tmp_path / 'runs')
        assert str(weights) in message and f'{len(content)} bytes' in message


def test_a_system_without_utf8_has_the_same_results(home, tmp_path, run_slow):
    shutil.copytree(home / 'single', tmp_path / 'bïlder')
    (tmp_path / 'bïlder' / '1.png').rename(tmp_path / 'bïlder' / 'ä漢.png')
    ascii_only = {**os.environ, 'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}
    for _ in range(1 + run_slow):       # into a new folder, and over its results
        command = [sys.executable, ROOT / 'test.py', '--name', 'cyclegan', '--model', 'test', '--dataroot',
                   tmp_path / 'bïlder', '--gpu_ids', '-1', '--num_threads', '0', '--results_dir', tmp_path]
        done = subprocess.run(command, cwd=home, env=ascii_only, capture_output=True, text=True, encoding='utf-8')
        assert (done.returncode, done.stderr) == (0, '')
    folder = tmp_path / 'cyclegan' / 'test_latest'
    assert Page(folder / 'index.html').headings == ['0', '2', 'ä漢'] and (folder / 'images' / 'ä漢_fake.png').is_file()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize('place', ['/proc/x', 'single/0.png', 'single/0.png/x'])
def test_results_that_cannot_be_written(place, home, translate):
    code, out, err = translate('--name', 'cyclegan', '--results_dir', home / place)
    assert code == 4 and len(err) == 1 and str(home / place) in err[0] and out == []


def test_too_many_pixels_name_the_flag(translate, tmp_path):
    message = refused(translate, '--name', 'cyclegan', '--max_pixels', 100)
    assert 'raise --max_pixels' in message and '2 other images' in message


@pytest.mark.parametrize('empty', [False, True])
@pytest.mark.parametrize(('missing', 'there', 'direction'), [('testB', 'testA', 'AtoB'), ('testA', 'testB', 'BtoA')])
def test_one_domain_alone_is_told_how_to_be_translated(missing, there, direction, empty, home, translate, tmp_path):
    shutil.copytree(home / 'unaligned' / there, tmp_path / 'one' / there)
    if empty:
        (tmp_path / 'one' / missing).mkdir()
    message = refused(translate, '--name', 'cyclegan', '--dataroot', tmp_path / 'one')
    words = f'--dataset_mode single --direction {direction} --dataroot {tmp_path / "one" / there}'
    assert str(tmp_path / 'one' / missing) in message and message.endswith(f': {words}')
    assert translate('--name', 'cyclegan', *words.split())[0] == 0


def test_broken_image_does_not_stop_the_others(home, translate, tmp_path):
    shutil.copytree(home / 'single', tmp_path / 'images')
    (tmp_path / 'images' / '1.png').write_bytes(b'')
    code, out, err = translate('--name', 'cyclegan', '--model', 'test', '--dataroot', tmp_path / 'images')
    assert code == 6 and len(err) == 1 and str(tmp_path / 'images' / '1.png') in err[0]
    assert not any('[]' in line for line in out)
    folder = tmp_path / 'cyclegan' / 'test_latest'
    assert Page(folder / 'index.html').headings == ['0', '2']
    assert '1.png' in (folder / 'index.html').read_text(encoding='utf-8')
    assert (folder / 'images' / '2_fake.png').exists()


def test_verbose_shows_structure_and_traceback(program, home, translate, tmp_path):
    _, out, _ = translate('--name', 'cyclegan', '--verbose')
    assert any('ConvTranspose2d' in line for line in out)
    done = program('test', '--name', 'absent', '--verbose', folder=home)
    assert done.returncode == 2 and 'Traceback' in done.stderr
