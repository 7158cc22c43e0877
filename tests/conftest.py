"""What the tests share: options of pytest, tiny image folders, and options of tiny networks."""
import os
import sys
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')     # before torch: threads that wait for busy cores are slow
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import faults
import numpy as np
import pytest
import torch
from PIL import Image

from models import create_model
from options import TestOptions, TrainOptions
from util.console import Console
from util.machine.runtime import Runtime
from util.machine.seeding import seed_everything

TINY = ['--crop_size', '32', '--ngf', '4', '--ndf', '4', '--num_threads', '0', '--gpu_ids', '-1']
TINY_TRAINING = [*TINY, '--load_size', '36', '--display_id', '-1', '--seed', '1']


# files of `-m fast`: all their tests together take about a minute on one core
FAST = {'test_layering', 'test_options', 'test_options_doc', 'test_mistakes', 'test_docs', 'test_losses', 'test_norms',
        'test_networks', 'test_pool_and_schedule', 'test_health', 'test_trainer', 'test_guard'}


@pytest.fixture
def run_slow(request) -> bool:
    """True with --run-slow: for tests that try some of many cases otherwise."""
    return request.config.getoption('--run-slow')


def pytest_addoption(parser):
    parser.addoption('--run-slow', action='store_true', help='run the tests that train for minutes too')


def pytest_configure(config):
    torch.set_num_threads(1)
    faults.notice_deaths_soon()


def left_out(items) -> set[str]:
    """Of the tests with a mark `sample(n)`: all but n of the cases of each, evenly spread."""
    cases = {}
    for item in items:
        if item.get_closest_marker('sample'):
            cases.setdefault(item.nodeid.partition('[')[0], []).append(item)
    found = set()
    for alike in cases.values():
        n, count = alike[0].get_closest_marker('sample').args[0], len(alike)
        kept = {place * count // n for place in range(n)}
        found |= {item.nodeid for place, item in enumerate(alike) if place not in kept}
    return found


def pytest_collection_modifyitems(config, items):
    if not config.getoption('--run-slow') and not config.option.keyword and '::' not in ''.join(config.args):
        some = left_out(items)      # with -k, or names of tests, all cases are wanted
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in some])
        items[:] = [item for item in items if item.nodeid not in some]
    slow = pytest.mark.skip(reason='slow; add --run-slow')
    gpu = pytest.mark.skip(reason='PyTorch finds no CUDA GPU here')
    for item in items:
        if item.path.stem in FAST and 'slow' not in item.keywords:
            item.add_marker(pytest.mark.fast)
        if 'slow' in item.keywords and not config.getoption('--run-slow'):
            item.add_marker(slow)
        if 'gpu' in item.keywords and not torch.cuda.is_available():
            item.add_marker(gpu)


@pytest.fixture(autouse=True, scope='session')
def cache_aside(tmp_path_factory):
    """Headers of the tests' images are not remembered in the user's home."""
    os.environ['XDG_CACHE_HOME'] = str(tmp_path_factory.mktemp('cache'))


@pytest.fixture(autouse=True)
def console():
    """Lines, notes and warnings are printed as in a program."""
    with Console().attached() as console:
        yield console


@pytest.fixture(autouse=True)
def seeded():
    """No test depends on the tests that ran before it."""
    seed_everything(0)


def draw_images(folder: Path, count: int, size: tuple[int, int] = (40, 40), seed: int = 0) -> list[Path]:
    """Write `count` random colour images 0.png, 1.png, ... of `size` (width, height); no two are alike."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *folder.name.encode()])
    paths = [folder / f'{index}.png' for index in range(count)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(path)
    return paths


def draw_root(root: Path, suffixes: tuple[str, ...], size: tuple[int, int] = (40, 40)) -> Path:
    for suffix in suffixes:
        draw_images(root / f'train{suffix}', 5, size)
        draw_images(root / f'test{suffix}', 3, size)
    return root


@pytest.fixture
def aligned_root(tmp_path) -> Path:
    """train/ with 5 and test/ with 3 pairs of 80x40."""
    return draw_root(tmp_path / 'aligned', ('',), (80, 40))


@pytest.fixture
def unaligned_root(tmp_path) -> Path:
    """trainA/, trainB/ with 5 images of 40x40 each, testA/, testB/ with 3."""
    return draw_root(tmp_path / 'unaligned', ('A', 'B'))


@pytest.fixture
def photo_root(tmp_path) -> Path:
    """train/ with 5 and test/ with 3 colour images of 40x40."""
    return draw_root(tmp_path / 'photos', ('',))


@pytest.fixture
def single_root(tmp_path) -> Path:
    """3 images of 40x40 in the folder itself."""
    draw_images(tmp_path / 'single', 3)
    return tmp_path / 'single'


@pytest.fixture
def roots(aligned_root, unaligned_root, photo_root, single_root) -> dict[str, Path]:
    """A folder for each --dataset_mode."""
    return {'aligned': aligned_root, 'unaligned': unaligned_root, 'single': single_root,
            'colorization': photo_root, 'template': photo_root}


@pytest.fixture
def train_options(tmp_path):
    """train_options('--dataroot', root, '--model', 'pix2pix') -> options of tiny networks on the CPU, seed 1."""
    def parse(*argv):
        return TrainOptions().parse([*TINY_TRAINING, '--checkpoints_dir', str(tmp_path / 'checkpoints'),
                                     *map(str, argv)])
    return parse


@pytest.fixture
def test_options(tmp_path):
    """test_options('--dataroot', root, ...) -> options of a test; the run's checkpoint must be there."""
    def parse(*argv):
        return TestOptions().parse([*TINY, '--checkpoints_dir', str(tmp_path / 'checkpoints'),
                                    '--results_dir', str(tmp_path / 'results'), *map(str, argv)])
    return parse


@pytest.fixture(scope='session')
def server():
    """Forks runs of train.py and test.py, and injects faults into them."""
    with faults.Server() as server:
        yield server


@pytest.fixture(scope='session')
def python():
    """python.run(['train.py', ...], cwd=folder) starts a program as a user does, but with PyTorch imported."""
    from interpreter import Interpreter
    with Interpreter() as python:
        yield python


@pytest.fixture(scope='session')
def program(python):
    """program('train', ..., folder=folder) runs train.py or test.py in a process of its own."""
    def run(name: str, *words, folder: Path, env: dict | None = None):
        return python.run([ROOT / f'{name}.py', *words], cwd=folder, env=env)
    return run


@pytest.fixture(scope='session')
def home(tmp_path_factory) -> Path:
    """A folder with the images of every model."""
    import tiny_runs
    return tiny_runs.draw_home(tmp_path_factory.mktemp('home'))


@pytest.fixture
def runs(server, home, tmp_path):
    """runs.begin('pix2pix', 'name', ...) trains a tiny run in a process of its own, with faults if wanted."""
    import tiny_runs
    return tiny_runs.Runs(server, home, tmp_path / 'runs')


@pytest.fixture
def build_model():
    """build_model(opt) -> the model on the CPU; build_model(opt, isTrain=False) -> as test.py builds it."""
    def build(opt, **changes):
        return create_model(opt.replace(**changes), Runtime(torch.device('cpu'), 'cpu'))
    return build


@pytest.fixture
def exact_model(train_options, tmp_path, build_model):
    """exact_model('--model', 'cut', ...) -> a model in float64 that needs no images."""
    def build(*argv):
        model = build_model(train_options('--dataroot', tmp_path, *argv))
        for net in model.nets.values():
            net.double()
        return model
    return build
