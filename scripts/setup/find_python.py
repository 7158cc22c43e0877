"""The Python that the project runs on: this one if it fits, else the newest fitting one on the PATH.

Standard library only; readable for Python 3.6, so that an old Python gets down to the sentence that refuses it.
"""
import json
import os
import subprocess
import sys

from util.console import warn
from util.errors import UserError

OLDEST, NEWEST = (3, 10), (3, 13)
WINDOWS = os.name == 'nt'


def fits(version: tuple) -> bool:
    return OLDEST <= tuple(version[:2]) <= NEWEST


def dotted(version: tuple) -> str:
    return '.'.join(map(str, version))


def python_commands(windows: bool) -> list:
    """Commands that may start a fitting Python, the newest first."""
    names = [f'3.{minor}' for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    return [[f'python{name}'] for name in names] + [['py', f'-{name}'] for name in names if windows]


def ask_python(command: list) -> 'tuple | None':
    """Version and path of the interpreter that a command starts; None if it starts none."""
    question = 'import json, sys; print(json.dumps([sys.version_info[:3], sys.executable]))'
    try:
        answer = subprocess.run([*command, '-c', question], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                stdin=subprocess.DEVNULL, timeout=60)
        version, path = json.loads(answer.stdout.decode('utf-8', 'replace'))
        return tuple(version), path
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def find_python(ask=ask_python, windows: bool = WINDOWS) -> 'str | None':
    """The newest fitting Python on the PATH."""
    answers = (ask(command) for command in python_commands(windows))
    return next((path for version, path in filter(None, answers) if fits(version)), None)


def use_fitting_python(version: tuple = tuple(sys.version_info[:3]), find=find_python):
    """Return if this Python fits; else start again with one that does, or refuse."""
    if fits(version):
        return
    other = find()
    if other:
        print(f'this is Python {dotted(version)}; going on with {other}', flush=True)
        sys.exit(subprocess.call([other, *sys.argv]))
    wanted = f'{dotted(OLDEST)} to {dotted(NEWEST)}'
    if version[:2] < OLDEST:
        raise UserError(f'this is Python {dotted(version)} ({sys.executable}), and no Python {wanted} is on the PATH; '
                        'install one and run this again')
    warn(f'this is Python {dotted(version)} ({sys.executable}); only {wanted} are tested')
