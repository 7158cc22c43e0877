"""A visdom server for a run, on this machine only, where none answers."""

import http.client
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from util.monitors.visdom_client import Unreachable, whole_answer

SCRIPT = Path(__file__).resolve().parents[2] / 'scripts' / 'visdom_server.py'
LOOPBACK = '127.0.0.1'
PROBE_SECONDS = 2.0
START_SECONDS = 30.0
PORTS = 10
STOP_SECONDS = 5.0


def probe(port: int) -> str:
    """What is at a port of this machine: 'free', 'visdom', 'other', or 'silent' (it takes calls and says nothing)."""
    try:
        if ask(port, 'POST', '/win_exists', '{"eid": "main", "win": "none of this name"}') == (200, b'false'):
            return 'visdom'
        return 'visdom' if b'visdom' in ask(port, 'GET', '/')[1].lower() else 'other'
    except ConnectionRefusedError:
        return 'free'
    except TimeoutError:
        return 'silent'
    except (OSError, http.client.HTTPException, Unreachable):
        return 'other'


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_SECONDS)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, whole_answer(iter(lambda: answer.read(1), b''), PROBE_SECONDS)
    finally:
        connection.close()


class LocalServer:
    """Starts a server at `port`, or at the next port where that one is another program's.

    It goes on after the run, to be looked at, unless `stop` is set; its output is in `<folder>/visdom_server.log`.
    """

    def __init__(self, folder: Path, port: int, stop: bool = False, assets: str | None = None):
        self.folder, self.port, self.stop, self.assets = Path(folder), port, stop, assets
        self.log = self.folder / 'visdom_server.log'
        self.process: subprocess.Popen | None = None

    def start(self, late: threading.Event) -> tuple[int | None, str | None]:
        """(port of a visdom that answers or None, a line to tell). Gives up when `late` is set."""
        for port in range(self.port, min(self.port + PORTS, 65536)):
            found = probe(port)
            if found == 'free':
                found = self._launch(port, late)
            if found == 'visdom':
                return port, self._notice(port)
            if found == 'failed':
                return None, f'visdom server not started: {self._last_line()} (see {self.log.absolute()})'
            if port == self.port and found == 'silent':
                return None, None   # it may be a visdom that is busy or stopped
        return None, None

    def close(self):
        """Stop the server if this run started it and was asked to."""
        if self.process and self.stop and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _launch(self, port, late) -> str:
        """'visdom', 'failed', or what is at the port instead: another run may have been quicker."""
        command = [sys.executable, str(SCRIPT), '--port', str(port), '--env_path', str(self._env_path())]
        command += ['--visdom_assets', str(self.assets)] if self.assets else []
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit and self.process.poll() is None and not late.is_set():
            if (found := probe(port)) in ('visdom', 'other'):
                return found
            late.wait(0.2)
        found = probe(port)
        if found == 'free':
            self._give_up()
        return 'failed' if found == 'free' else found

    def _give_up(self):
        """No server is left behind that nobody was told of."""
        if self.process.poll() is None:
            self.process.terminate()

    def _env_path(self) -> Path:
        """Where the server keeps environments: visdom's own place, or the run's folder where there is no home."""
        home = Path.home() / '.visdom'
        try:
            home.mkdir(exist_ok=True)
        except OSError:
            return self.folder / 'visdom'
        return home if os.access(home, os.W_OK) else self.folder / 'visdom'

    def _notice(self, port) -> str | None:
        started = self.process is not None and self.process.poll() is None
        taken = f'port {self.port} is another program\'s; ' if port != self.port else ''
        if not started:
            return f'{taken}visdom on port {port} is used' if taken else None
        how = 'it stops with the run' if self.stop else f'it goes on after the run: kill {self.process.pid}'
        return f'{taken}started a visdom server on port {port} ({how}; its log is {self.log.absolute()})'

    def _last_line(self) -> str:
        lines = self.log.read_text(encoding='utf-8', errors='replace').strip().splitlines()
        return lines[-1].removeprefix('error: ') if lines else 'it says nothing'
