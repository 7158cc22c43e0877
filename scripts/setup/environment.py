"""A Python that fits, and a virtual environment with pip.

Standard library only, and readable for Python 3.6, so that an old Python gets as far as the sentence that refuses it.
"""
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from util.console import as_duration, warn
from util.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
OLDEST, NEWEST = (3, 10), (3, 13)
SUPPORTED = '3.10 to 3.13'


def ask(command: list, timeout: float = 300) -> str:
    """The last line that a program prints; '' if it cannot be started or fails."""
    try:
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                timeout=timeout, check=True)
    except (OSError, subprocess.SubprocessError):
        return ''
    return answer.stdout.decode('utf-8', 'replace').strip().rsplit('\n', 1)[-1].strip()


def run_step(what: str, command: list, variables: dict, beat: float = 60) -> tuple:
    """Exit code and output of a program. Prints `what` it does, and the time so far every minute and at the end."""
    start = time.monotonic()
    print(f'{what} ...', end='', flush=True)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env={**os.environ, **variables}, cwd=str(ROOT), stdout=output,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(beat)
                    break
                print(f' {as_duration(time.monotonic() - start)} ...', end='', flush=True)
        finally:
            process.kill()
            process.wait()
            print(f' {as_duration(time.monotonic() - start)}', flush=True)
        output.seek(0)
        return process.returncode, output.read().decode('utf-8', 'replace')


def last_error(output: str) -> str:
    """The line of a failed program's output that explains most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if 'Error: ' in line or line.startswith('ERROR: ')]
    return (errors or lines or ['no message'])[-1].replace('ERROR: ', '')


def version_of(python: str) -> tuple:
    """(3, 11) of an interpreter; () if it does not start."""
    return tuple(map(int, ask([python, '-c', 'import sys; print(*sys.version_info[:2])']).split()))


def use_fitting_python(version: tuple = sys.version_info[:2]):
    """Return if this Python fits. Otherwise start again with the newest that does, or refuse."""
    if OLDEST <= version <= NEWEST:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        if version_of(f'python3.{minor}') == (3, minor):
            print(f'this is Python {version[0]}.{version[1]}; using python3.{minor}', flush=True)
            sys.exit(subprocess.call([f'python3.{minor}', *sys.argv]))
    if version < OLDEST:
        raise UserError(f'this is Python {version[0]}.{version[1]}; install Python {SUPPORTED} and run this again')
    warn(f'this is Python {version[0]}.{version[1]}; only {SUPPORTED} are tested')


def open_venv(folder: Path, torch_fits) -> str:
    """The Python of the virtual environment `folder`, made if missing; it shares the caller's PyTorch if that fits."""
    python = str(folder / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python'))
    version = version_of(python)
    if version < OLDEST:
        if version or (folder.exists() and not (folder / 'pyvenv.cfg').is_file()):
            raise UserError(f'{folder} is no virtual environment of Python {SUPPORTED}; rename it and run this again')
        torch = ask([sys.executable, '-c', 'import torch; print(torch.__version__)'])
        make_venv(folder, python, torch if torch_fits(torch) else '')
    return python


def make_venv(folder: Path, python: str, torch: str):
    """A virtual environment without pip: with pip, `venv` fails on Debian unless python3-venv is installed."""
    sharing = ['--system-site-packages'] if torch else []
    using = f' and its PyTorch {torch}' if torch else ''
    code, output = run_step(f'making {folder} with Python {platform.python_version()}{using}',
                            [sys.executable, '-m', 'venv', '--without-pip', '--clear', *sharing, str(folder)], {})
    if code:
        raise UserError(f'{folder} could not be made ({last_error(output)}); check that the folder can be written and '
                        'that Python has its venv module (Debian, Ubuntu: sudo apt install python3-venv)')
    if torch and sys.prefix != sys.base_prefix:     # if the caller is a venv, only the Python below it is shared
        packages = ask([python, '-c', 'import sysconfig; print(sysconfig.get_path("platlib"))'])
        Path(packages, 'caller.pth').write_text(sysconfig.get_path('platlib') + '\n', encoding='utf-8')


def add_pip(python: str, offline):
    """Put pip into a virtual environment: by ensurepip, or from a wheel of pip, which can install itself."""
    if ask([python, '-m', 'pip', '--version']) or ask([python, '-Im', 'ensurepip']):
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = pip_wheel(Path(folder), offline)
        if wheel and ask([python, str(wheel / 'pip'), 'install', '--isolated', '--no-index', str(wheel)]):
            return
    raise UserError(f'{sys.executable} has neither pip nor ensurepip, and no wheel of pip was found; install them '
                    '(Debian, Ubuntu: sudo apt install python3-venv) and run this again')


def pip_wheel(folder: Path, offline) -> 'Path | None':
    """A wheel of pip: from the disk, by the pip of the calling Python, or from Debian's package (without root)."""
    wheels = [*(offline or folder).glob('pip-*.whl'), *Path('/usr/share/python-wheels').glob('pip-*.whl')]
    if not wheels and not offline:
        ask(['sh', '-c', 'cd "$1" && { "$0" -m pip download --no-deps pip || { apt-get download python3-pip-whl && '
                         'dpkg-deb -x *.deb .; }; }', sys.executable, str(folder)])
        wheels = list(folder.rglob('pip-*.whl'))
    return wheels[0] if wheels else None
