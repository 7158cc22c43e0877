"""What to install and from where: decisions made of plain facts, without looking at the machine.

Standard library only; readable for Python 3.6.
"""
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
OLDEST_TORCH = (2, 6)
CPU_INDEX = 'https://download.pytorch.org/whl/cpu'
CORE, VISDOM, DEVELOPMENT = 'requirements.txt', 'requirements-visdom.txt', 'requirements-dev.txt'
BUILD_CONSTRAINTS = 'constraints-build.txt'
TORCH_PAIR = ('torch', 'torchvision')


class Source(NamedTuple):
    """Where the wheels of torch and torchvision are taken from: what to tell the user, and the room they need."""
    index: str
    what: str
    disk_gb: float


def requirement_lines(text: str) -> list:
    """The requirements of a file, without comments."""
    lines = (line.split('#')[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def package_name(requirement: str) -> str:
    return re.match(r'[\w.-]+', requirement)[0].lower()


def split_torch(requirements: list) -> tuple:
    """torch and torchvision, and the others."""
    pair = [line for line in requirements if package_name(line) in TORCH_PAIR]
    return pair, [line for line in requirements if line not in pair]


def torch_will_do(version: str, cuda: bool) -> bool:
    """Whether a torch that is there already is new enough, and not a CPU build where CUDA is asked for."""
    numbers = re.match(r'(\d+)\.(\d+)', version)
    return bool(numbers) and (int(numbers[1]), int(numbers[2])) >= OLDEST_TORCH and not (cuda and '+cpu' in version)


def torch_sources(asked: str, offline, system: str, gpu: bool, reachable) -> list:
    """Sources to try in turn. `asked` is 'cuda', 'cpu' or ''; `reachable()` probes the CPU index only if it matters."""
    if offline:
        return [Source('', f'from {offline}', 1)]
    if system != 'Linux':
        return [Source('', 'about 0.2 GB to download, 1 GB on disk', 1)]
    cuda_build = 'the CUDA build, about 3 GB to download, 5.6 GB on disk'
    if asked == 'cuda' or (gpu and not asked):
        return [Source('', cuda_build, 5.6)]
    fallback = Source('', f'the index of CPU builds is out of reach, so {cuda_build}', 5.6)
    if reachable():
        return [Source(CPU_INDEX, 'the CPU build, about 0.2 GB to download, 0.9 GB on disk', 0.9), fallback]
    return [fallback]


def outdated(stamp: dict, python: str, digests: dict, cuda: bool) -> list:
    """Names of the requirement files that must be installed (again); `stamp` tells what was installed last."""
    if stamp.get('python') != python:
        return list(digests)
    done = stamp.get('files', {})
    return [name for name, digest in digests.items()
            if done.get(name) != digest or (name == CORE and not torch_will_do(stamp.get('torch', ''), cuda))]


def index_arguments(source: Source, alone: bool) -> list:
    """The index of CPU builds `alone`, in place of the user's, so that both wheels come from it; or beside it."""
    return ['--index-url' if alone else '--extra-index-url', source.index] if source.index else []


def pip_environment(environ: dict, offline=None) -> dict:
    """Patience for slow networks unless the user has set it, and none of the settings that lead out of a venv."""
    patience = {'PIP_DEFAULT_TIMEOUT': '120', 'PIP_RETRIES': '10', 'PIP_RESUME_RETRIES': '10'}
    fixed = {'PIP_USER': '0', 'PIP_NO_INPUT': '1', 'PIP_DISABLE_PIP_VERSION_CHECK': '1',
             'PIP_ROOT_USER_ACTION': 'ignore'}
    if offline:
        fixed.update(PIP_NO_INDEX='1', PIP_FIND_LINKS=Path(offline).resolve().as_uri())
    return {**patience, **environ, **fixed}


def build_constraints(environ: dict, root: Path = ROOT) -> dict:
    """Variables for building visdom: old versions of pip read the first for it, new ones the second.

    The file is named as a URL because pip splits these variables at spaces.
    """
    ours = (root / BUILD_CONSTRAINTS).as_uri()
    names = ('PIP_CONSTRAINT', 'PIP_BUILD_CONSTRAINT')
    return {name: ' '.join(filter(None, [environ.get(name), ours])) for name in names}


def last_error(output: str) -> str:
    """The line of a failed program's output that says most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r'(ERROR:|\w*Error\b)', line)]
    return re.sub('^ERROR: ', '', (errors or lines or ['no message'])[-1])
