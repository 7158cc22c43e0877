"""Programs in processes of their own, which begin with PyTorch imported: that takes longer than what most of them do.

    with Interpreter() as python:
        done = python.run(['train.py', '--dataroot', ...], cwd=folder)
"""
import atexit
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path


class ForkServer:
    """A script in a process of its own, which forks a process for each line it is sent, and answers with a line."""

    def __init__(self, script: str):
        self.folder = tempfile.TemporaryDirectory()
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'XDG_CACHE_HOME': self.folder.name}
        self.process = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()     # loader workers of other tests may hold its pipe open
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.folder.cleanup()

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + '\n')
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Interpreter(ForkServer):
    """What PyTorch reads when it is imported, such as OMP_NUM_THREADS, stays as it is."""

    def __init__(self):
        super().__init__(__file__)

    def run(self, words, cwd, env: dict | None = None) -> subprocess.CompletedProcess:
        """As `subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True)`."""
        return self.run_together(words, cwd, [env or {}])[0]

    def run_together(self, words, cwd, envs: list[dict]) -> list[subprocess.CompletedProcess]:
        """A process for each of `envs`, at the same time."""
        outputs = [[os.path.join(self.folder.name, f'{name}{number}') for name in ('out', 'err')]
                   for number in range(len(envs))]
        requests = [dict(words=list(map(str, words)), cwd=str(cwd), env={**os.environ, **env}, outputs=paths)
                    for env, paths in zip(envs, outputs, strict=True)]
        codes = self.ask(requests)
        texts = [[Path(path).read_text(encoding='utf-8', errors='replace') for path in paths] for paths in outputs]
        return [subprocess.CompletedProcess(words, code, *text) for code, text in zip(codes, texts, strict=True)]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


def as_torchrun(size: int) -> list[dict]:
    """What torchrun tells each of `size` processes."""
    port = free_port()
    return [dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), LOCAL_WORLD_SIZE=str(size),
                 MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), OMP_NUM_THREADS='1') for rank in range(size)]


def begin(request: dict):
    """Give the process the surroundings of a program that was just started."""
    os.setsid()
    os.chdir(request['cwd'])
    os.environ.clear()
    os.environ.update(request['env'])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in enumerate(request['outputs'], 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding=os.environ.get('PYTHONIOENCODING', 'utf-8'), errors=errors, closefd=False)
        for number, mode, errors in ((0, 'r', 'strict'), (1, 'w', 'strict'), (2, 'w', 'backslashreplace')))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    sys.argv = request['words']
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))


def serve() -> dict | None:
    """Fork for each request; returns it in the new process, and None at the end in this one."""
    import torch._dynamo  # noqa: F401  which the first optimizer imports
    import torchvision  # noqa: F401
    for line in sys.stdin:
        started = []
        for request in json.loads(line):
            started.append(os.fork())
            if started[-1] == 0:
                return request
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]), flush=True)
    return None


if __name__ == '__main__':
    request = serve()
    if request:
        begin(request)
        code = 0
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
        except SystemExit as error:
            code = error.code
        except BaseException:
            traceback.print_exc()
            code = 1
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code or 0)         # without the seconds in which Python takes PyTorch apart
