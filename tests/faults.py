"""Runs of train.py and test.py in processes of their own, with faults: crashes, failing disks, signals, lost memory.

A server imports torch once and forks a process for each run, so that runs start quickly. The faults are in `injected`.

    with Server() as server:
        done = server.run(['--dataroot', ...], rules=[dict(op='rename', action='kill', after=3)])
"""
import atexit
import builtins
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from injected import FAULTS, Storage
from interpreter import ForkServer

ROOT = Path(__file__).resolve().parents[1]
SUBREAPER = 36          # option of prctl: orphaned descendants become children of this process


# ---- in the tests

@dataclass
class Done:
    """How a run ended. `code` is negative for a signal, None for a run that hung."""

    code: int | None
    out: str
    err: str
    seconds: float
    left: int                                       # processes that outlived the run by several seconds
    operations: list = field(default_factory=list)  # ['saving', 'rename', 'a.txt']: thread, operation, file in the run


class Server(ForkServer):
    """Forks runs; `run` waits until one ends."""

    def __init__(self):
        super().__init__(__file__)

    def run(self, argv, program: str = 'train', **faults) -> Done:
        """`faults`: limit (seconds), kill_after (seconds), and the names of FAULTS with their arguments."""
        names = {name: os.path.join(self.folder.name, name) for name in ('out', 'err', 'operations')}
        for name in names.values():
            Path(name).write_bytes(b'')
        request = dict(argv=list(map(str, argv)), program=program, files=names, faults=faults)
        answer = self.ask(request)
        texts = {name: Path(path).read_text(encoding='utf-8', errors='replace') for name, path in names.items()}
        operations = [line.split(' ', 2) for line in texts['operations'].splitlines()]
        return Done(**answer, out=texts['out'], err=texts['err'], operations=operations)


# ---- in the server

def import_everything():
    """Import everything that runs need, without starting a thread."""
    import importlib

    from data import registry as datasets
    from models import registry as models
    for folder in ('util', 'data', 'models'):
        for path in sorted((ROOT / folder).rglob('*.py')):
            if path.stem != '__init__' and not path.stem.startswith(('fused_', 'wandb')):
                with contextlib.suppress(ImportError):
                    importlib.import_module('.'.join(path.relative_to(ROOT).with_suffix('').parts))
    importlib.import_module('torch._dynamo')    # imported by the first optimizer
    importlib.import_module('PIL.Image').init()
    return importlib.import_module('train').main, importlib.import_module('test').main, datasets, models


def notice_deaths_soon():
    """That a worker died is noticed after half a second instead of 5 s."""
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter
    _MultiProcessingDataLoaderIter._try_get_data.__defaults__ = (0.5,)


def child(request: dict, main):
    """The run; never returns."""
    os.setsid()
    for name, descriptor in (('out', 1), ('err', 2)):
        os.dup2(os.open(request['files'][name], os.O_WRONLY | os.O_APPEND), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faults = dict(request['faults'])
    for name, function in FAULTS.items():
        if name in faults:
            function(faults[name])
    sys.stdout, sys.stderr = (builtins.open(number, 'w', encoding='utf-8', closefd=False) for number in (1, 2))
    if 'rules' in faults or 'folder' in faults:
        Storage(faults.get('rules', ()), request['files']['operations'], faults.get('folder', '')).install()
    from util.cli import run
    sys.argv = [f'{request["program"]}.py', *request['argv']]
    code = run(main, request['argv'])
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def wait(pid: int, limit: float, kill_after: float | None) -> int | None:
    """The exit code, or None at the time limit. After `kill_after` seconds the process is killed."""
    begin = time.monotonic()
    killed = kill_after is None
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        passed = time.monotonic() - begin
        if not killed and passed >= kill_after:
            os.kill(pid, signal.SIGKILL)
            killed = True
        if passed > limit:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.002)


def left_over(group: int, patience: float = 8.0) -> int:
    """Kill the processes of a run that are still alive after a while; returns how many."""
    end, count = time.monotonic() + patience, 0
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        while time.monotonic() < end:
            os.waitpid(-group, os.WNOHANG)
            time.sleep(0.01)
        while True:
            os.killpg(group, signal.SIGKILL)
            os.waitpid(-group, 0)
            count += 1
    return count


def serve():
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    train, test, *_ = import_everything()
    notice_deaths_soon()
    for line in sys.stdin:
        request = json.loads(line)
        begin = time.monotonic()
        pid = os.fork()
        if pid == 0:
            child(request, dict(train=train, test=test)[request['program']])
        faults = request['faults']
        code = wait(pid, faults.get('limit', 60), faults.get('kill_after'))
        seconds = time.monotonic() - begin
        print(json.dumps(dict(code=code, seconds=seconds, left=left_over(pid))), flush=True)


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    serve()
