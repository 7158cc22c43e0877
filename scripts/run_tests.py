"""Run the tests on all cores, in `.venv`, which is made if it is missing. All other arguments go to pytest.

    python3 scripts/run_tests.py
    python3 scripts/run_tests.py -k checkpoint -x
    python3 scripts/run_tests.py -n 0            # in one process
"""
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from setup import install
from setup.environment import ROOT
from setup.install import CORE, DEVELOPMENT, VISDOM

from util.cli import run

MOST_WORKERS = 16       # each has its own PyTorch, about 0.6 GB


def parse(argv) -> tuple:
    """Our options, and the arguments of pytest."""
    options, others = install.Parser(__doc__.split('\n')[0]).parse_known_args(argv)
    return options, [argument for argument in others if argument != '--']


def parallel(arguments: list, cores: int) -> list:
    """The options of pytest-xdist, unless the arguments choose another number of processes or a debugger."""
    chosen = any(argument.startswith(('-n', '--numprocesses', '--pdb', '--trace', '-pno:xdist', 'no:xdist'))
                 for argument in arguments)
    if chosen or cores < 2:
        return []
    # a file's tests run in one process, because many share what the first one trained; the order of the files stays, so
    # that those of a few long tests are not the last
    return ['-n', str(min(cores, MOST_WORKERS)), '--dist', 'loadfile', '--no-loadscope-reorder']


def main(argv, console) -> int:
    options, arguments = parse(argv)
    python = install.ready(options, (CORE, VISDOM, DEVELOPMENT))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return subprocess.call([python, '-m', 'pytest', *parallel(arguments, cores), *arguments], cwd=str(ROOT))


if __name__ == '__main__':
    sys.exit(run(main))
