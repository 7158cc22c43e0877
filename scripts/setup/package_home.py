"""The home of the packages: `.venv` in the project's folder, made if it is missing, with pip in it.

Standard library only; readable for Python 3.6.
"""
import importlib.util
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from setup import find_pip
from setup.find_python import NEWEST, OLDEST, WINDOWS, ask_python, dotted
from setup.install_plan import ROOT, last_error, pip_environment, torch_will_do
from util.errors import UserError


class Home(NamedTuple):
    """Where packages live: a virtual environment, or a plain folder for a Python without the venv module."""
    folder: Path
    python: str
    is_venv: bool

    def environment(self) -> dict:
        """The environment of programs that use the packages."""
        if self.is_venv:
            return dict(os.environ)
        paths = filter(None, [str(self.folder), os.environ.get('PYTHONPATH')])
        return {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}


@contextmanager
def step(what: str):
    """Tell what is being done, and then how long it took."""
    start = time.monotonic()
    print(f'{what} ...', end='', flush=True)
    try:
        yield
    finally:
        print(f' {time.monotonic() - start:.0f} s', flush=True)


def run_quietly(command: list, environment: dict) -> tuple:
    """Exit code and output of a program; the minutes that pass are counted on the console."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, cwd=str(ROOT), stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT)
        try:
            wait(process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        output.seek(0)
        return process.returncode, output.read().decode('utf-8', 'replace')


def wait(process):
    minutes = 0
    while True:
        try:
            return process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            minutes += 1
            print(f' {minutes} min', end='', flush=True)


def venv_python(folder: Path, windows: bool = WINDOWS) -> Path:
    return folder / ('Scripts/python.exe' if windows else 'bin/python')


def open_home(cuda: bool = False, root: Path = ROOT) -> Home:
    """The virtual environment `.venv`, made if it is missing or broken; `.deps` for a Python without venv."""
    home = Home(root / '.venv', str(venv_python(root / '.venv')), True)
    found = ask_python([home.python])
    if found and found[0][:2] >= OLDEST:
        return home
    if found:
        raise UserError(f'{home.folder} has Python {dotted(found[0])}; {dotted(OLDEST)} to {dotted(NEWEST)} '
                        'is needed: remove or rename the folder and run this again')
    if home.folder.exists() and not (home.folder / 'pyvenv.cfg').is_file():
        raise UserError(f'{home.folder} is not a virtual environment; remove or rename it and run this again')
    if importlib.util.find_spec('venv') is None:
        return Home(root / '.deps', sys.executable, False)
    make_venv(home, caller_torch(cuda))
    return home


def make_venv(home: Home, torch: str):
    """A virtual environment without pip. With a `torch`, it sees the packages of the Python that runs this."""
    options = ['--without-pip', '--clear', *(['--system-site-packages'] if torch else [])]
    with step(f'making {home.folder} with Python {platform.python_version()}'
              + (f', using PyTorch {torch} of {sys.prefix}' if torch else '')):
        command = [sys.executable, '-m', 'venv', *options, str(home.folder)]
        code, output = run_quietly(command, dict(os.environ))
    if code:
        raise UserError(f'{home.folder} could not be made: {last_error(output)}; check that the folder can be written')
    if torch and sys.prefix != sys.base_prefix:
        link_packages(home)


def link_packages(home: Home):
    """A venv made inside a venv sees the packages of the Python below both: show it those of its maker too."""
    question = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    folder = Path(run_quietly([home.python, '-c', question], dict(os.environ))[1].strip())
    paths = dict.fromkeys(sysconfig.get_path(name) for name in ('purelib', 'platlib'))
    (folder / 'maker.pth').write_text('\n'.join(paths) + '\n', encoding='utf-8')


def caller_torch(cuda: bool) -> str:
    """The version of a torch that works in the Python that runs this and will do; '' without one."""
    if importlib.util.find_spec('torch') is None:
        return ''
    code, output = run_quietly([sys.executable, '-c', 'import torch; print(torch.__version__)'], dict(os.environ))
    version = output.strip().rsplit('\n', 1)[-1]
    return version if code == 0 and torch_will_do(version, cuda) else ''


def installed(home: Home, package: str) -> tuple:
    """Version of a package that a home sees, and the folder it is in; ('', '') without it."""
    question = f'import importlib.metadata as m; d = m.distribution("{package}"); print(d.version); ' \
               'print(d.locate_file(""))'
    code, output = run_quietly([home.python, '-c', question], home.environment())
    return tuple(output.splitlines()[:2]) if code == 0 else ('', '')


def ensure_pip(home: Home, offline: 'Path | None'):
    """Put pip into a home that has none: by ensurepip, or from the wheel of pip itself."""
    if not run_quietly([home.python, '-m', 'pip', '--version'], home.environment())[0]:
        return
    with step('installing pip'), tempfile.TemporaryDirectory() as folder:
        if home.is_venv and not run_quietly([home.python, '-Im', 'ensurepip'], dict(os.environ))[0]:
            return
        wheel = find_pip.find_wheel(Path(folder), offline)
        if wheel and not install_wheel(home, wheel):
            return
    raise UserError(f'{sys.executable} has neither pip nor ensurepip, and no wheel of pip was found; install them '
                    '(Debian, Ubuntu: sudo apt install python3-venv) and run this again')


def install_wheel(home: Home, wheel: Path) -> int:
    """Let the wheel of pip install itself and return the exit code."""
    command = [home.python, str(wheel / 'pip'), 'install', '--quiet', '--no-index', *target(home), str(wheel)]
    return run_quietly(command, pip_environment(home.environment()))[0]


def target(home: Home) -> list:
    return [] if home.is_venv else ['--target', str(home.folder)]


def pip(home: Home, arguments: list, offline: 'Path | None', variables: 'dict | None' = None, tries: int = 2) -> str:
    """`pip install` into a home; '' if all went well, else what pip said. A failure is tried again."""
    environment = {**pip_environment(home.environment(), offline), **(variables or {})}
    for _ in range(tries):
        code, output = run_quietly([home.python, '-m', 'pip', 'install', '--quiet', *target(home), *arguments],
                                   environment)
        if code == 0:
            return ''
    return output or f'exit code {code}'


def pip_or_fail(home: Home, arguments: list, offline: 'Path | None', what: str):
    output = pip(home, arguments, offline)
    if output:
        print(f'\n{output}', file=sys.stderr)
        raise UserError(f'{what} could not be installed: {last_error(output)}; see the messages of pip above, '
                        'check the network or the settings of pip (or use --offline DIR), and run this again')
