"""Run the tests, in `.venv`, which is made if it is missing. All other arguments go to pytest.

    python3 scripts/run_tests.py
    python3 scripts/run_tests.py -k checkpoint -x
"""
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from setup import bootstrap
from setup.install_plan import CORE, DEVELOPMENT, ROOT, VISDOM

from util.cli import run


def parse(argv) -> tuple:
    """Our options, and the arguments of pytest."""
    parser = bootstrap.Parser(description=__doc__.split('\n')[0], allow_abbrev=False)
    bootstrap.add_options(parser)
    options, others = parser.parse_known_args(argv)
    return options, [argument for argument in others if argument != '--']


def main(argv, console) -> int:
    options, arguments = parse(argv)
    home = bootstrap.ready(options, (CORE, VISDOM, DEVELOPMENT))
    return subprocess.call([home.python, '-m', 'pytest', *arguments], cwd=str(ROOT), env=home.environment())


if __name__ == '__main__':
    sys.exit(run(main))
