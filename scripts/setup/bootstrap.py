"""What quickstart.py and run_tests.py share: a fitting Python, `.venv` in this folder, and the packages in it.

Standard library only; readable for Python 3.6, so that an old Python gets down to the sentence that refuses it.
What to do is decided in install_plan.py; the functions here find out the facts, and act.
"""
import argparse
import hashlib
import json
import os
import platform
import shutil
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

from setup import install_plan as plan
from setup.find_python import ask_python, dotted, use_fitting_python
from setup.install_plan import CORE, CPU_INDEX, ROOT, VISDOM
from setup.package_home import Home, ensure_pip, installed, open_home, pip, pip_or_fail, run_quietly, step, target
from util.console import warn
from util.errors import UserError

STAMP = 'pixmorph.json'


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one sentence, without the usage before it."""

    def error(self, message):
        raise UserError(f'{message}; {self.prog} --help lists the options')


def add_options(parser):
    group = parser.add_argument_group('installation')
    build = group.add_mutually_exclusive_group()
    build.add_argument('--cuda', action='store_true', help='the CUDA build of PyTorch even if no GPU answers here')
    build.add_argument('--cpu', action='store_true', help='the CPU build of PyTorch, and no GPU is used')
    group.add_argument('--offline', type=lambda folder: Path(folder).absolute(), metavar='DIR',
                       help='take the packages from the wheels in DIR, not from the network')


def check(options):
    """Mistakes in the options of the installation."""
    if options.offline and not options.offline.is_dir():
        raise UserError(f'--offline {options.offline} is no folder; give the folder that holds the wheels')
    if options.cuda and platform.system() != 'Linux':
        raise UserError(f'--cuda on {platform.system()}, for which the package index has no CUDA build; leave it out, '
                        'or install the torch and torchvision that the install page of PyTorch names into .venv first')


def ready(options, names) -> Home:
    """A home with the requirement files `names` installed; what is there already stays, in a fraction of a second."""
    check(options)
    use_fitting_python()
    home = open_home(options.cuda)
    python = dotted(ask_python([home.python])[0][:2])
    stamp, digests = read_stamp(home.folder), digests_of(names)
    todo = plan.outdated(stamp, python, digests, options.cuda)
    if todo:
        start = time.monotonic()
        torch = install(home, options, todo)
        done = stamp.get('files', {}) if stamp.get('python') == python else {}
        stamp = {'python': python, 'torch': torch, 'files': {**done, **digests}}
        (home.folder / STAMP).write_text(json.dumps(stamp, indent=1), encoding='utf-8')
        print(f'everything is installed in {home.folder} ({time.monotonic() - start:.0f} s)', flush=True)
    return home


def read_stamp(folder: Path) -> dict:
    """What `ready` noted after the last installation that went through."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def digests_of(names, root: Path = ROOT) -> dict:
    """A checksum for each requirement file; that of visdom depends on how it is built too."""
    files = {name: [name, plan.BUILD_CONSTRAINTS] if name == VISDOM else [name] for name in names}
    return {name: hashlib.sha256(b''.join((root / part).read_bytes() for part in parts)).hexdigest()
            for name, parts in files.items()}


def install(home: Home, options, names: list) -> str:
    """Install requirement files and return the version of torch."""
    ensure_pip(home, options.offline)
    update_pip(home, options.offline)
    for name in names:
        requirements = plan.requirement_lines((ROOT / name).read_text(encoding='utf-8'))
        if name == CORE:
            install_core(home, options, requirements)
        elif name == VISDOM:
            install_visdom(home, requirements, options.offline)
        else:
            install_others(home, requirements, options.offline)
    return prove(home, options.cpu)


def update_pip(home: Home, offline: 'Path | None'):
    """An old pip will do if there is no newer one; and here it shows within seconds that the network is down."""
    environment = {**plan.pip_environment(home.environment(), offline), 'PIP_RETRIES': '2'}
    with step('updating pip'):
        _, output = run_quietly([home.python, '-m', 'pip', 'install', '--quiet', '--upgrade', *target(home), 'pip'],
                                environment)
    if 'Retrying' in output:
        warn('the package index of pip does not answer; trying on for some minutes, Ctrl-C ends it')


def install_core(home: Home, options, requirements: list):
    """PyTorch, kept if it is there already, and everything else of requirements.txt."""
    pair, others = plan.split_torch(requirements)
    if keeps_torch(home, options.cuda):
        install_others(home, others, options.offline)
    elif home.is_venv:
        install_torch(home, pair, options)
        install_others(home, others, options.offline)
    else:       # into a plain folder pip would download torch for torchmetrics again, so all goes in one command
        install_torch(home, requirements, options)


def keeps_torch(home: Home, cuda: bool) -> bool:
    """Whether the torch that a home sees stays: new enough, and not half of an interrupted installation."""
    version, folder = installed(home, 'torch')
    elsewhere = bool(version) and home.folder.resolve() not in Path(folder).resolve().parents
    return home.is_venv and plan.torch_will_do(version, cuda) and (elsewhere or installed(home, 'torchvision')[0] != '')


def install_torch(home: Home, requirements: list, options):
    """torch and torchvision in one command, so that they are of one build; the first source that works is taken."""
    asked = 'cuda' if options.cuda else 'cpu' if options.cpu else ''
    sources = plan.torch_sources(asked, options.offline, platform.system(), has_gpu(), index_reachable)
    check_room(home.folder.parent, sources[0].disk_gb + 1)
    renew = ['--force-reinstall'] if options.cuda and installed(home, 'torch')[0] else []
    names = ', '.join(map(plan.package_name, requirements))
    for source in sources:
        arguments = [*renew, *plan.index_arguments(source, home.is_venv), *requirements]
        with step(f'installing {names}: {source.what}'):
            if source is sources[-1]:
                pip_or_fail(home, arguments, options.offline, names)
            elif not pip(home, arguments, options.offline):
                return


def has_gpu() -> bool:
    """Whether an NVIDIA driver answers that it has a GPU."""
    if not shutil.which('nvidia-smi'):
        return False
    try:
        answer = subprocess.run(['nvidia-smi', '-L'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and b'GPU' in answer.stdout


def index_reachable(timeout: float = 5) -> bool:
    """Whether the index of CPU builds answers, through the proxy and with the certificates that pip is told."""
    proxy, certificates = os.environ.get('PIP_PROXY'), os.environ.get('PIP_CERT')
    try:
        handlers = [urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=certificates or None))]
        if proxy:
            handlers.append(urllib.request.ProxyHandler({'http': proxy, 'https': proxy}))
        with urllib.request.build_opener(*handlers).open(f'{CPU_INDEX}/torch/', timeout=timeout) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def check_room(folder: Path, needed_gb: float):
    free = shutil.disk_usage(str(folder)).free / 1e9
    if free < needed_gb:
        raise UserError(f'{folder} has {free:.1f} GB free, and about {needed_gb:.1f} GB are needed; '
                        'make room and run this again')


def install_others(home: Home, requirements: list, offline: 'Path | None'):
    names = ', '.join(map(plan.package_name, requirements))
    with step(f'installing {names}'):
        pip_or_fail(home, requirements, offline, names)


def install_visdom(home: Home, requirements: list, offline: 'Path | None'):
    """The live monitor; without it everything else works."""
    with step('installing visdom'):
        output = pip(home, requirements, offline, plan.build_constraints(os.environ), tries=1)
    if output:
        warn(f'visdom could not be installed ({plan.last_error(output)}); the HTML page of a run shows the same')


def prove(home: Home, cpu: bool) -> str:
    """Import what was installed and return the version of torch; a torchvision that does not fit is taken out."""
    with step('importing PyTorch'):
        code, output = try_import(home, 'import torch; print(torch.__version__, torch.cuda.is_available())')
        fault = try_import(home, 'import torch, torchvision')
    if code:
        raise UserError(f'`import torch` fails in {home.folder}: {plan.last_error(output)}; remove the folder and '
                        'run this again')
    version, cuda = output.strip().rsplit('\n', 1)[-1].split()
    print(f'PyTorch {version}, {"with" if cuda == "True" else "without"} CUDA GPU')
    if cuda != 'True' and not cpu and has_gpu():
        warn(f'PyTorch {version} cannot use the GPU of this machine, so the CPU is used; with a newer driver, or '
             'the build for it that the install page of PyTorch names, it can')
    if fault[0]:
        run_quietly([home.python, '-m', 'pip', 'uninstall', '--yes', '--quiet', 'torchvision'], home.environment())
        warn(f'torchvision does not work with this PyTorch ({plan.last_error(fault[1])}); going on without it')
    return version


def try_import(home: Home, code: str) -> tuple:
    return run_quietly([home.python, '-c', code], home.environment())
