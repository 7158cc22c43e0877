"""Which packages are installed, and from where. Standard library only, and readable for Python 3.6."""
import argparse
import json
import os
import platform
import re
import shutil
import ssl
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

from setup.environment import ROOT, add_pip, ask, last_error, open_venv, run_step, use_fitting_python, version_of
from util import cli
from util.console import warn
from util.errors import UserError

VENV = ROOT / '.venv'
STAMP = 'pixmorph.json'
OLDEST_TORCH = (2, 6)
CPU_INDEX = 'https://download.pytorch.org/whl/cpu'
CUDA_BUILD = 'the CUDA build, 3 GB to download, 5.6 GB on disk'
CORE, VISDOM, DEVELOPMENT = 'requirements.txt', 'requirements-visdom.txt', 'requirements-dev.txt'
BUILD_CONSTRAINTS = 'constraints-build.txt'


class Parser(cli.Parser):
    def __init__(self, description: str):
        super().__init__(description)
        build = self.add_mutually_exclusive_group()
        build.add_argument('--cuda', action='store_true', help='install the CUDA build of PyTorch even without a GPU')
        build.add_argument('--cpu', action='store_true', help='install the CPU build of PyTorch and use no GPU')
        self.add_argument('--offline', type=lambda folder: Path(folder).absolute(), metavar='DIR',
                          help='take the packages from the wheels in DIR, not from the network')


def ready(options, names) -> str:
    """The Python of `.venv`, in which the requirement files `names` are installed; nothing is done a second time."""
    if options.offline and not options.offline.is_dir():
        raise UserError(f'--offline {options.offline} is not a folder; give the folder that holds the wheels')
    if options.cuda and platform.system() != 'Linux':
        raise UserError('--cuda needs Linux; leave it out, or install torch into .venv first, as pytorch.org describes')
    use_fitting_python()
    python = open_venv(VENV, lambda version: torch_fits(version, options.cuda))
    wanted = {name: [*version_of(python), *requirements(name), *requirements(BUILD_CONSTRAINTS)] for name in names}
    stamp = read_stamp(VENV)
    missing = [name for name in names if stamp.get(name) != wanted[name]
               or (name == CORE and not torch_fits(stamp.get('torch', ''), options.cuda))]
    if missing:
        stamp.update(wanted, torch=Installer(python, options).install(missing))
        (VENV / STAMP).write_text(json.dumps(stamp, indent=1), encoding='utf-8')
        print(f'everything is installed in {VENV}', flush=True)
    return python


def read_stamp(venv: Path) -> dict:
    """What `ready` noted after the last installation that succeeded."""
    try:
        return dict(json.loads((venv / STAMP).read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        return {}


def requirements(name: str) -> list:
    lines = (line.split('#')[0].strip() for line in (ROOT / name).read_text(encoding='utf-8').splitlines())
    return [line for line in lines if line]


def torch_fits(version: str, cuda: bool) -> bool:
    """Is an installed torch new enough, and not a CPU build where CUDA is wanted?"""
    numbers = re.match(r'(\d+)\.(\d+)', version)
    return bool(numbers) and tuple(map(int, numbers.groups())) >= OLDEST_TORCH and not (cuda and '+cpu' in version)


def torch_source(options) -> tuple:
    """(options of pip, description, GB needed) of the build of PyTorch for this machine."""
    if options.offline:
        return [], f'from {options.offline}', 2
    if platform.system() != 'Linux':
        return [], '0.2 GB to download, 1 GB on disk', 2
    if options.cuda or (has_gpu() and not options.cpu):
        return ['--force-reinstall'], CUDA_BUILD, 6.6       # a CPU build of the same version would count as installed
    if not index_reachable():
        return [], f'the index of CPU builds does not answer, so {CUDA_BUILD}', 6.6
    return ['--index-url', CPU_INDEX], 'the CPU build, 0.2 GB to download, 0.9 GB on disk', 2


def has_gpu() -> bool:
    return 'GPU' in ask(['nvidia-smi', '-L'], timeout=30)


def index_reachable() -> bool:
    """Does the index of CPU builds answer? With the certificates that pip is given, as behind a company's proxy."""
    try:
        context = ssl.create_default_context(cafile=os.environ.get('PIP_CERT') or None)
        return urllib.request.urlopen(f'{CPU_INDEX}/torch/', timeout=5, context=context).status == 200
    except (OSError, ValueError):
        return False


class Installer(NamedTuple):
    """Installs requirement files for the Python of a virtual environment; `install` returns the version of torch."""
    python: str
    options: argparse.Namespace

    def install(self, names: list) -> str:
        add_pip(self.python, self.options.offline)
        if 'Retrying' in self.pip('updating pip', ['--upgrade', 'pip'], {'PIP_RETRIES': '2'})[1]:
            warn('the package index does not answer; trying for some more minutes, Ctrl-C stops')
        for name in names:
            method = {CORE: self.core, VISDOM: self.visdom}.get(name, self.others)
            method(name, requirements(name))
        return self.check_torch()

    def pip(self, what: str, arguments: list, variables: dict) -> tuple:
        """Run `pip install` with the user's own settings; exit code and output."""
        patience = {'PIP_DEFAULT_TIMEOUT': '120', 'PIP_RETRIES': '10', 'PIP_RESUME_RETRIES': '10'}
        environment = {**patience, **os.environ, 'PIP_USER': '0', 'PIP_NO_INPUT': '1', **variables}
        if self.options.offline:
            environment.update(PIP_NO_INDEX='1', PIP_FIND_LINKS=self.options.offline.as_uri())
        return run_step(what, [self.python, '-m', 'pip', 'install', '--quiet', *arguments], environment)

    def others(self, name: str, arguments: list):
        """Run `pip install`, a second time if it fails, because networks do."""
        for _ in range(2):
            code, output = self.pip(f'installing {name}', arguments, {})
            if code == 0:
                return
        print(f'\n{output}', file=sys.stderr)
        raise UserError(f'{name} could not be installed ({last_error(output)}); see the output of pip above, check '
                        'the network or the settings of pip (or use --offline DIR), and run this again')

    def core(self, name: str, lines: list):
        """torch and torchvision, unless they are there already, and the rest of requirements.txt."""
        pair = [line for line in lines if re.match(r'torch(vision)?\b', line)]
        shared = 'include-system-site-packages = true' in (VENV / 'pyvenv.cfg').read_text(encoding='utf-8')
        names = ['torch'] if shared else ['torch', 'torchvision']       # half a pair: an interrupted installation
        versions = ask([self.python, '-c', f'import importlib.metadata as m; print(*map(m.version, {names}))'])
        if not torch_fits(versions, self.options.cuda):
            self.torch(pair)
        self.others(name, [line for line in lines if line not in pair])

    def torch(self, pair: list):
        """torch and torchvision in one command and from one index: builds from two do not work together."""
        arguments, description, needed_gb = torch_source(self.options)
        free_gb = shutil.disk_usage(str(ROOT)).free / 1e9
        if free_gb < needed_gb:
            raise UserError(f'{ROOT} has {free_gb:.1f} GB free, PyTorch needs {needed_gb} GB; make room and try again')
        self.others(f'torch and torchvision ({description})', [*arguments, *pair])

    def visdom(self, name: str, lines: list):
        """The live monitor; everything else works without it. Old versions of pip read the first variable."""
        constraints = (ROOT / BUILD_CONSTRAINTS).as_uri()       # a URL, because pip splits the variables at spaces
        variables = {variable: f'{os.environ.get(variable, "")} {constraints}'.strip()
                     for variable in ('PIP_CONSTRAINT', 'PIP_BUILD_CONSTRAINT')}
        code, output = self.pip(f'installing {name}', lines, variables)
        if code:
            warn(f'visdom could not be installed ({last_error(output)}); the HTML page of a run shows the same')

    def check_torch(self) -> str:
        """Import what was installed and return the version of torch; a torchvision that does not fit is removed."""
        code, output = run_step('importing PyTorch', [
            self.python, '-c', 'import torch; print(torch.__version__, torch.cuda.is_available())'], {})
        if code:
            raise UserError(f'torch in {VENV} fails ({last_error(output)}); remove that folder and run this again')
        version, cuda = output.split()[-2:]
        if cuda != 'True' and not self.options.cpu and has_gpu():
            warn(f'PyTorch {version} cannot use the GPU of this machine, so the CPU is used; update the GPU driver')
        if not ask([self.python, '-c', 'import torchvision; print(torchvision.__version__)']):
            ask([self.python, '-m', 'pip', 'uninstall', '--yes', 'torchvision'])
            warn(f'there is no torchvision that works with this PyTorch {version}; only --model munit may need it')
        return version
