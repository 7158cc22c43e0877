"""A smoke test of the programs: train every model for a few steps on drawn images, resume, translate. Takes minutes.

    python scripts/test_before_push.py
    python scripts/test_before_push.py --models pix2pix munit

Prints a line for each model; exit code 1 if one failed. The full tests are run by scripts/run_tests.py.
"""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from PIL import Image

import models
from util.cli import Parser, run
from util.errors import UserError

TINY = ['--load_size', '36', '--crop_size', '32', '--ngf', '4', '--ndf', '4', '--num_threads', '0', '--no_html',
        '--display_id', '-1', '--n_epochs', '1', '--n_epochs_decay', '1', '--save_epoch_freq', '1']
SMALL = ['--netG', 'unet_32', '--netD', 'n_layers', '--n_layers_D', '1']
RESNET = ['--netG', 'resnet_1blocks', '--netD', 'n_layers', '--n_layers_D', '1']
# images, options, and a visual that test.py must write
MODELS = {
    'cyclegan': ('unpaired', RESNET, 'fake_B'),
    'pix2pix': ('pairs', SMALL, 'fake_B'),
    'template': ('pairs', RESNET, 'fake_B'),
    'cut': ('unpaired', [*RESNET, '--netF_nc', '8', '--num_patches', '8'], 'fake_B'),
    'bicyclegan': ('pairs', [*SMALL, '--nef', '4', '--n_blocks_E', '2', '--nz', '3'], 'fake_B'),
    'pix2pixhd': ('pairs', ['--n_downsample_global', '2', '--n_blocks_global', '1', '--num_scales_D', '2'], 'fake_B'),
    'spade': ('pairs', ['--n_ups', '3', '--spade_nc', '4'], 'fake_B'),
    'colorization': ('photos', SMALL, 'fake_B_rgb'),
    'munit': ('unpaired', ['--num_scales_D', '1', '--n_layers_D', '1', '--mlp_dim', '8', '--n_res', '1'], 'fake_B'),
}


def draw(folder: Path, size: tuple[int, int]):
    """Four images of colored noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(folder.name))
    for index in range(4):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f'{index}.png')


def draw_all(root: Path):
    for phase in ('train', 'test'):
        draw(root / 'pairs' / phase, (80, 40))
        draw(root / 'photos' / phase, (40, 40))
        for domain in 'AB':
            draw(root / 'unpaired' / f'{phase}{domain}', (40, 40))


def call(program: str, words: list) -> str:
    """Run a program of the project; the last line that it printed if it failed, else ''."""
    done = subprocess.run([sys.executable, str(ROOT / program), *map(str, words)], capture_output=True, text=True,
                          env={'OMP_NUM_THREADS': '1', **os.environ})
    if done.returncode == 0:
        return ''
    printed = (done.stdout + done.stderr).strip().splitlines()
    return f'{program} ended with exit code {done.returncode}: {printed[-1] if printed else "no output"}'


def check(name: str, place: Path, gpu_ids: str) -> str:
    """Train, resume and test a model; what went wrong, or ''."""
    images, own, visual = MODELS[name]
    run_words = ['--name', name, '--checkpoints_dir', place / 'runs', '--gpu_ids', gpu_ids]
    data = ['--dataroot', place / images]
    results = ['--results_dir', place / 'results', '--num_threads', '0']
    steps = [('train.py', [*run_words, *data, '--model', name, *TINY, *own]),
             ('train.py', [*run_words, '--continue_train', '--n_epochs', '2']),
             ('test.py', [*run_words, *data, *results])]
    if name == 'cyclegan':
        steps.append(('test.py', [*run_words, '--dataroot', place / images / 'testA', *results, '--model', 'test']))
    for program, words in steps:
        problem = call(program, words)
        if problem:
            return problem
    folder = place / 'results' / name / 'test_latest.1' / 'images'     # moved by the second test
    if len(steps) == 3:
        folder = place / 'results' / name / 'test_latest' / 'images'
    return '' if list(folder.glob(f'*_{visual}*.png')) else f'{folder} has no {visual} images'


def main(argv, console):
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument('--models', nargs='+', default=list(MODELS), help=f'which models: {", ".join(MODELS)}')
    parser.add_argument('--gpu_ids', default='-1', help='where to train; -1 for the CPU')
    opt = parser.parse_args(argv)
    names = [models.registry.resolve(name) for name in opt.models]
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise UserError(f'--models {unknown[0]} cannot be checked here; choose from {", ".join(MODELS)}')
    failed = 0
    with tempfile.TemporaryDirectory(prefix='smoke_') as place:
        draw_all(Path(place))
        for name in names:
            start = time.monotonic()
            problem = check(name, Path(place), opt.gpu_ids)
            verdict = 'FAIL' if problem else 'pass'
            print(f'{verdict}  {name:14} {time.monotonic() - start:5.1f} s  {problem}'.rstrip(), flush=True)
            failed += bool(problem)
    print(f'{len(names) - failed} of {len(names)} passed')
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(run(main))
