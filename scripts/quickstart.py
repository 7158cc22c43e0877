"""From a fresh clone to a trained model: installs everything, draws images, trains pix2pix, tests and scores it.

    python3 scripts/quickstart.py

Minutes on two CPU cores, of which the download of PyTorch is the longest; a GPU is used if there is one.
A second run reuses what is installed and drawn, and trains anew.
"""
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from setup import bootstrap
from setup.install_plan import CORE, ROOT, VISDOM

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
    parser = bootstrap.Parser(description=__doc__.split('\n')[0], allow_abbrev=False)
    parser.add_argument('--threads', type=int, metavar='N',
                        help='threads for computing on the CPU (default: train.py chooses)')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    bootstrap.add_options(parser)
    options = parser.parse_args(argv)
    if options.threads is not None and options.threads < 1:
        raise UserError(f'--threads {options.threads}; give a whole number from 1')
    return options


def machine_flags(options) -> list:
    """What train.py and test.py are told about the machine."""
    threads = ['--cpu_threads', str(options.threads)] if options.threads else []
    return threads + (['--gpu_ids', '-1'] if options.cpu else [])


def call(home, command: list) -> int:
    """Show a command as it can be typed, run it and return its exit code."""
    print(f'\n$ python {" ".join(command)}', flush=True)
    return subprocess.call([home.python, *command], cwd=str(ROOT), env=home.environment())


def call_or_fail(home, command: list, what: str):
    code = call(home, command)
    if code:
        raise UserError(f'{what} ended with exit code {code}; the message above says why; then run this again')


def main(argv, console) -> int:
    options = parse(argv)
    home = bootstrap.ready(options, (CORE, VISDOM))
    start = time.monotonic()
    call_or_fail(home, DRAW, 'drawing the demo images')
    call_or_fail(home, TRAIN + machine_flags(options), 'training')
    call_or_fail(home, TEST + machine_flags(options), 'testing')
    code = call(home, SCORE)
    print(f'\n{time.monotonic() - start:.0f} s; look at the results: {ROOT / RESULTS / "index.html"}')
    return code


if __name__ == '__main__':
    sys.exit(run(main))
