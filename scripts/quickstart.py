"""From a fresh clone to a trained model: installs everything, draws images, trains pix2pix, tests and scores it.

    python3 scripts/quickstart.py

Takes minutes on two CPU cores, most of them to download PyTorch; a GPU is used if there is one. A second run installs
nothing, and trains from scratch.
"""
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from setup import install
from setup.environment import ROOT
from setup.install import CORE, VISDOM

from util.cli import run
from util.errors import UserError

DEMO = 'datasets/demo/facades'
RESULTS = 'results/quickstart/test_latest'
DRAW = ['datasets/make_demo.py', '--task', 'facades', '--out', DEMO,
        '--n_train', '200', '--n_test', '40', '--size', '64', '--seed', '0']
TRAIN = ['train.py', '--dataroot', DEMO, '--name', 'quickstart', '--model', 'pix2pix', '--direction', 'BtoA',
         '--netG', 'unet_64', '--ngf', '32', '--netD', 'n_layers', '--n_layers_D', '2', '--ndf', '32',
         '--load_size', '64', '--crop_size', '64', '--batch_size', '2', '--lr', '0.0004', '--num_threads', '0',
         '--n_epochs', '8', '--n_epochs_decay', '6', '--seed', '0', '--overwrite', '--display_id', '0']
TEST = ['test.py', '--dataroot', DEMO, '--name', 'quickstart', '--num_test', '40', '--num_threads', '0']
SCORE = ['scripts/score_demo.py', RESULTS]


def parse(argv):
    parser = install.Parser(__doc__.split('\n')[0])
    parser.add_argument('--threads', type=int, metavar='N',
                        help='CPU threads for training and testing (default: train.py chooses)')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    options = parser.parse_args(argv)
    if options.threads is not None and options.threads < 1:
        raise UserError(f'--threads {options.threads}: give a whole number of at least 1')
    return options


def machine_flags(options) -> list:
    """The options of train.py and test.py for this machine."""
    threads = ['--cpu_threads', str(options.threads)] if options.threads else []
    return threads + (['--gpu_ids', '-1'] if options.cpu else [])


def call(python: str, command: list) -> int:
    """Print a command as it can be typed, run it and return its exit code."""
    print(f'\n$ python {" ".join(command)}', flush=True)
    return subprocess.call([python, *command], cwd=str(ROOT))


def call_or_fail(python: str, command: list, what: str):
    code = call(python, command)
    if code:
        raise UserError(f'{what} failed with exit code {code}; fix what the message above says and run this again')


def main(argv, console) -> int:
    options = parse(argv)
    python = install.ready(options, (CORE, VISDOM))
    start = time.monotonic()
    call_or_fail(python, DRAW, 'drawing the demo images')
    call_or_fail(python, TRAIN + machine_flags(options), 'training')
    call_or_fail(python, TEST + machine_flags(options), 'testing')
    code = call(python, SCORE)
    print(f'\n{time.monotonic() - start:.0f} s; open the results: {ROOT / RESULTS / "index.html"}')
    return code


if __name__ == '__main__':
    sys.exit(run(main))
