"""For tests of visdom: servers, real and false ones, and short runs that send to them."""

import base64
import io
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
from interpreter import free_port  # noqa: F401
from PIL import Image

from util.monitors import base, visdom_server
from util.monitors.base import Background
from util.monitors.curves import read_jsonl
from util.monitors.visdom import VisdomMonitor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'scripts'))


PATIENCE = 20.0
NO_REGISTRY = 'http://127.0.0.1:9'      # tests download nothing


@pytest.fixture(scope='module')
def visdom():
    """The package, imported before anything is timed: it imports torch."""
    return pytest.importorskip('visdom', reason=f'visdom is not installed; {base.install_hint("visdom")}')


@pytest.fixture(scope='module')
def port(visdom, tmp_path_factory):
    number = free_port()
    with running_server(number, tmp_path_factory.mktemp('server')):
        yield number


class Run:
    """A monitor behind its queue, the notices it printed, and the log of its run."""

    def __init__(self, folder, port, options=None, **arguments):
        self.log, self.notices, self.monitor = folder / 'losses.jsonl', [], None
        folder.mkdir(parents=True, exist_ok=True)
        history = list(read_jsonl(self.log)) if self.log.exists() else []

        def make():
            self.monitor = VisdomMonitor('run', options or {}, history, server='http://127.0.0.1', port=port,
                                         notify=self.notices.append, **arguments)
            return self.monitor

        self.queue = Background('visdom', make, self.notices.append, interval=0.2)

    def loss(self, image, epoch_size=None, **losses):
        """Report losses as training does: to the log, then to the monitor."""
        record = report(image, epoch_size, **losses)
        with open(self.log, 'a', encoding='utf-8') as file:
            file.write(json.dumps(record) + '\n')
        self.queue.losses(record)

    def images(self, images, kind='train'):
        self.queue.images(SimpleNamespace(epoch=1, total_iters=100), images, kind)

    def close(self) -> bool:
        """Whether the server has everything."""
        self.queue.close()
        return bool(self.monitor and self.monitor.delivered)


def report(image, epoch_size=None, **losses):
    """A line of losses.jsonl."""
    record = {'epoch': 1, 'iters': image, 'total_iters': image, 'lr': 0.1 / image, 'images_per_s': 2.0 * image}
    if epoch_size:
        done, iters = divmod(image - 1, epoch_size)
        record.update(epoch=1 + done, iters=iters + 1, epoch_size=epoch_size)
    return {**record, 'losses': losses}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """start(port, **arguments) -> a run, closed at the end."""
    runs = []

    def make(port, **arguments):
        runs.append(Run(tmp_path / f'run{len(runs)}', port, **arguments))
        return runs[-1]

    yield make
    monkeypatch.setattr(base, 'CLOSING_SECONDS', 0.1)
    for run in runs:
        run.close()


def start_server(port, folder, *arguments):
    folder.mkdir(parents=True, exist_ok=True)
    words = ['--port', str(port), '--env_path', str(folder / 'env'), *arguments]
    environment = {**os.environ, 'HOME': str(folder), 'NPM_CONFIG_REGISTRY': NO_REGISTRY}
    with open(folder / 'log', 'ab') as log:
        return subprocess.Popen([sys.executable, visdom_server.SCRIPT, *words], stdout=log, stderr=log, env=environment)


@contextmanager
def running_server(port, folder, *arguments):
    process = start_server(port, folder, *arguments)
    try:
        eventually(lambda: post(port, 'env_state', {}) is not None, lambda: (folder / 'log').read_text())
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def answering(status, body=(), only=''):
    """Port of a web server other than visdom; `body()` yields the parts of answers of status 200.

    only: the path that has this answer; all others are not found.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            if status != 200 or only not in ('', self.path):
                return self.send_error(404 if status == 200 else status)
            self.rfile.read(int(self.headers.get('Content-Length', 0)))
            self.send_response(status)
            self.end_headers()
            with suppress(OSError):
                for part in body():
                    self.wfile.write(part)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def post(port, endpoint, message):
    """The server's JSON answer; None while it has none."""
    body = json.dumps({'eid': 'main', **message}).encode()
    try:
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/{endpoint}', body, timeout=5) as answer:
            return json.load(answer)
    except (urllib.error.URLError, OSError):
        return None


def window(port, name, env='run'):
    return post(port, 'win_data', {'win': name, 'eid': env})


def eventually(found, explain=lambda: ''):
    """What `found()` returns as soon as it is true; fails after PATIENCE seconds."""
    limit = time.monotonic() + PATIENCE
    while not (result := found()):
        assert time.monotonic() < limit, f'did not happen in {PATIENCE} s {explain()}'
        time.sleep(0.05)
    return result


def plain(color, height=16, width=24):
    return np.full((height, width, 3), color, np.uint8)


def decoded(window):
    kind, data = window['content']['src'].split(',')
    assert kind == 'data:image/jpeg;base64'
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """A home of this test, without a way to a registry."""
    for name in ('HOME', 'USERPROFILE'):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(visdom_server, 'ENVIRONMENTS', tmp_path / '.visdom')
    monkeypatch.setenv('NPM_CONFIG_REGISTRY', NO_REGISTRY)
    return tmp_path


@pytest.fixture
def stops(monkeypatch):
    """What would be called at the end of this process; it is, at the end of the test."""
    calls, processes, popen = [], [], subprocess.Popen
    monkeypatch.setattr(visdom_server.atexit, 'register', calls.append)
    monkeypatch.setattr(visdom_server.subprocess, 'Popen', lambda *words, **more: processes.append(
        popen(*words, **more)) or processes[-1])
    yield calls
    for process in processes:
        process.kill()
        process.wait()


def endless():
    while True:
        yield bytes(1 << 16)


def dripping():
    while True:
        yield b'x'
        time.sleep(0.05)
