"""The visdom monitor with a real server, none, a silent one and one that is killed; read back by plain HTTP."""

import base64
import gc
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import weakref
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from util.cli import run as run_tool
from util.console import Console
from util.errors import UserError
from util.images import LABEL_HEIGHT, image_grid
from util.monitors import base, create, visdom_server
from util.monitors import visdom as visdom_monitor
from util.monitors.base import Background
from util.monitors.curves import read_jsonl
from util.monitors.visdom import VisdomMonitor, html_table
from util.monitors.visdom_server import Unreachable, find_or_start, is_free

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'scripts'))

import browser
import replay_visdom
import visdom_assets as visdom_assets_tool

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


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as probe:
        return probe.getsockname()[1]


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


def test_the_grid_is_white_around_images_of_any_size_and_their_labels():
    grid = image_grid({'a': plain(10, 4, 60), 'größe': plain(20, 8, 50), 'c': plain(30, 100, 400)}, 2, 64)
    height, width = 2 * (LABEL_HEIGHT + 16 + 4), 2 * (64 + 4)   # the third is shrunk to 16 x 64
    assert (grid.shape, grid.dtype) == ((height, width, 3), np.uint8)
    top = LABEL_HEIGHT + 2
    assert (grid[top:top + 4, 2:62] == 10).all() and (grid[top:top + 8, 70:120] == 20).all()
    assert (grid[top + 34:top + 50, 2:66] == 30).all() and (grid[34:, 68:] == 255).all()
    assert grid[2:top, 2:66].min() < 100 and (grid[:, :2] == 255).all()     # the label


def test_a_long_label_widens_its_cell():
    assert image_grid({'a long label': plain(90, 8, 8)}, 1, 64).shape[1] > 40


def test_table_cells_are_escaped():
    assert '&lt;b&gt; &amp; c' in html_table({'<b> & c': 1})


def test_curves_arrive_with_axes_legend_and_title(start, port, capfd):
    run = start(port)
    for image in range(1, 1201):
        run.loss(image, epoch_size=600, G_GAN=2.0, D=image / 600)
    assert run.close()
    plot = window(port, 'loss')
    assert plot['title'] == 'run loss over time'
    assert [curve['name'] for curve in plot['content']['data']] == ['G_GAN', 'D']
    layout = plot['content']['layout']
    assert layout['showlegend'] and layout['yaxis']['type'] == 'linear'
    assert 'epoch' in str(layout['xaxis']['title']) and 'loss' in str(layout['yaxis']['title'])
    d = plot['content']['data'][1]
    assert len(d['x']) == 300
    np.testing.assert_allclose(np.array(d['x']) - 1.5 / 600 - 1, d['y'], rtol=1e-4)     # mean of 4, at the last
    np.testing.assert_allclose([d['x'][0], d['x'][-1]], [1 + 4 / 600, 1 + 1200 / 600])
    assert window(port, 'lr')['content']['data'][0]['y'][-1] == pytest.approx(0.1 / 1198.5, rel=1e-4)
    assert window(port, 'throughput')['content']['data'][0]['y'][-1] == pytest.approx(2 * 1198.5)
    assert run.notices == [f'visdom: http://127.0.0.1:{port}/env/run']
    assert capfd.readouterr() == ('', '')


def test_the_axis_of_losses_can_be_logarithmic_and_has_buttons(start, port):
    run = start(port, env='log', log_scale=True)
    run.loss(7, G=1.0)
    assert run.close()
    layout = window(port, 'loss', 'log')['content']['layout']
    assert layout['yaxis']['type'] == 'log' and 'images' in str(layout['xaxis']['title'])
    assert [button['label'] for button in layout['updatemenus'][0]['buttons']] == ['linear', 'log']


def test_a_resumed_run_has_its_earlier_curves_in_the_same_windows(start, port, tmp_path):
    run = start(port, env='resumed')
    for image in (1, 2):
        run.loss(image, G=float(image))
    assert run.close()
    again = Run(run.log.parent, port, env='resumed')
    again.loss(3, G=3.0)
    assert again.close()
    curve = window(port, 'loss', 'resumed')['content']['data'][0]
    assert (curve['x'], curve['y']) == ([1, 2, 3], [1, 2, 3])
    assert {*post(port, 'win_data', {'eid': 'resumed', 'win': None})} == {'loss', 'lr', 'throughput'}


def test_images_arrive_as_a_jpeg_grid_with_labels(start, port):
    run = start(port, columns=2, image_width=100, env='grid')
    run.images({'real_A': plain(0, 16, 60), 'fake_B': plain(100, 16, 60), '<rec>': plain(200, 16, 60)})
    run.images({'fake_B 0': plain(50, 16, 60)}, 'validation')
    assert run.close()
    grid = window(port, 'images', 'grid')
    height, width = 2 * (16 + LABEL_HEIGHT + 4), 2 * (60 + 4)
    assert (grid['title'], grid['width'], grid['height']) == ('run images', 200, 200 * height // width)
    assert grid['content']['caption'] == 'epoch 1, image 100'
    picture = decoded(grid)
    assert picture.shape == (height, width, 3)
    rows, columns = np.array([24, 24, 58, 58]), np.array([32, 96, 32, 96])
    np.testing.assert_allclose(picture[rows, columns].mean(axis=1), [0, 100, 200, 255], atol=4)
    assert window(port, 'validation', 'grid')['title'] == 'run validation'
    assert run.notices[1:] == []


def test_without_columns_every_image_has_its_window_and_display_id_is_part_of_its_name(start, port):
    run = start(port, display_id=30, columns=0, env='a/b', options={'name': 'run', 'note': '<script>'})
    run.images({'real_A': plain(0), 'fake_B': plain(100)})
    assert run.close()
    assert [window(port, f'images {label}_30', 'a_b')['title'] for label in ('real_A', 'fake_B')] \
        == ['real_A', 'fake_B']
    table = window(port, 'options_30', 'a_b')
    assert table['title'] == 'run options'
    assert '&lt;script&gt;' in table['content'] and '<script>' not in table['content']


def test_a_window_that_cannot_be_drawn_gives_one_notice_and_the_others_are_sent(start, port):
    run = start(port, env='bad')
    run.images({'bad': np.zeros((4, 4, 5), np.uint8)})
    run.loss(1, G=1.0)
    run.close()
    assert window(port, 'loss', 'bad')['content']['data'][0]['y'] == [1.0]
    assert len(run.notices) == 2 and any('window images' in line for line in run.notices)


def test_the_environment_is_saved(visdom, start, tmp_path):
    number = free_port()
    with running_server(number, tmp_path):
        run = start(number)
        run.loss(1, G=1.0)
        assert run.close()
        assert 'loss' in (tmp_path / 'env' / 'run.json').read_text()


# ---- no server, a bad one, one that is restarted

def test_without_a_server_there_is_one_notice(start, visdom, capfd):
    absent = free_port()
    run = start(absent)
    for image in range(1, 6):
        run.loss(image, G=1.0)
    eventually(lambda: run.notices)
    assert not run.close()
    notice, = run.notices
    assert all(part in notice for part in (f'http://127.0.0.1:{absent}', 'losses.jsonl', '--display_id -1'))
    assert capfd.readouterr() == ('', '')


def test_a_program_other_than_visdom_is_reported_with_its_answer(start, visdom):
    with answering(404) as other:
        run = start(other)
        run.loss(1, G=1.0)
        eventually(lambda: run.notices)
        run.close()
    assert len(run.notices) == 1 and '404' in run.notices[0]


def test_a_server_that_never_answers_gives_one_notice_and_blocks_nothing(start, visdom, monkeypatch):
    monkeypatch.setattr(visdom_server, 'ANSWER_SECONDS', 0.1)
    with socket.create_server(('127.0.0.1', 0)) as black_hole:
        run = start(black_hole.getsockname()[1])
        for image in range(1, 100):
            run.loss(image, G=1.0)
            run.images({'real_A': plain(0)})
        eventually(lambda: run.notices)
        run.close()
        run.loss(100, G=1.0)    # after the end: nothing happens
    assert len(run.notices) == 1 and 'http://127.0.0.1' in run.notices[0]


def endless():
    while True:
        yield bytes(1 << 16)


def dripping():
    while True:
        yield b'x'
        time.sleep(0.05)


@pytest.mark.parametrize('password', ['', 'secret'])
@pytest.mark.parametrize('body', [endless, dripping])
def test_an_endless_answer_is_not_read_to_the_end(body, password, start, visdom, monkeypatch):
    monkeypatch.setenv('VISDOM_PASSWORD', password)
    with answering(200, body) as other:
        run = start(other)
        run.loss(1, G=1.0)
        eventually(lambda: run.notices)
        run.close()
    assert len(run.notices) == 1 and f':{other} (' in run.notices[0]


@pytest.mark.parametrize('text', [b'', b'ok', b'[]', b'<html>hello</html>'])
def test_a_program_that_accepts_everything_is_not_taken_for_visdom(text, start, visdom):
    with answering(200, lambda: [text]) as other:
        run = start(other)
        run.loss(1, G=1.0)
        eventually(lambda: run.notices)
        run.close()
    assert len(run.notices) == 1 and f':{other} (' in run.notices[0]


def test_the_queue_for_a_dead_server_is_bounded(start, visdom):
    """However many images were shown, only the newest of each kind are kept."""
    run = start(free_port())
    gone = []
    for index in range(50):
        picture = plain(index)
        gone.append(weakref.ref(picture))
        run.images({'real_A': picture})
        run.loss(1 + index, G=1.0)
    del picture
    gc.collect()
    assert [ref() is not None for ref in gone] == [False] * 49 + [True]


def test_a_restarted_server_gets_everything_again(start, visdom, tmp_path):
    number = free_port()
    with running_server(number, tmp_path):
        run = start(number, options={'name': 'run'})
        run.loss(1, G=5.0)
        eventually(lambda: window(number, 'loss') and window(number, 'options') and run.notices)
    run.loss(2, G=4.0)
    eventually(lambda: len(run.notices) == 2)
    with running_server(number, tmp_path / 'another'):
        run.loss(3, G=3.0)
        curve = eventually(lambda: (window(number, 'loss') or {}).get('content'))['data'][0]
        assert (curve['x'], curve['y']) == ([1, 2, 3], [5, 4, 3])
        eventually(lambda: window(number, 'options') and len(run.notices) == 3)
    assert 'losses.jsonl' in run.notices[1] and f'http://127.0.0.1:{number}' in run.notices[1]
    assert run.notices[2].startswith(f'visdom: http://127.0.0.1:{number}/env/run; ')


def test_a_restart_between_two_updates_is_noticed(start, port):
    """As seen by the client: the connection works, and the windows are gone."""
    run = start(port, env='restart', options={'name': 'run'})
    run.loss(1, G=1.0)
    eventually(lambda: window(port, 'loss', 'restart') and window(port, 'options', 'restart'))
    shut = json.dumps({'eid': 'restart', 'win': None}).encode()
    urllib.request.urlopen(f'http://127.0.0.1:{port}/close', shut, timeout=5).close()
    assert window(port, 'options', 'restart') is None
    run.loss(2, G=2.0)
    eventually(lambda: window(port, 'options', 'restart'))
    assert run.notices == [f'visdom: http://127.0.0.1:{port}/env/restart']


def test_a_server_that_comes_and_goes_does_not_fill_the_log(start, monkeypatch):
    class Flapping:
        """Every second connection fails; the others accept the windows once."""

        connections = 0

        def __init__(self, *_):
            Flapping.connections += 1
            if Flapping.connections % 2:
                raise Unreachable('')

        def save(self, _):
            pass

        line = text = lambda self, **_: None

        def win_exists(self, _):
            raise Unreachable('')

    monkeypatch.setattr(visdom_monitor, 'connect', Flapping)
    monkeypatch.setattr(visdom_monitor, 'SEND_SECONDS', 0.001)
    monkeypatch.setattr(visdom_monitor, 'LONGEST_DELAY', 0.01)
    run = start(1)
    eventually(lambda: run.loss(1, G=1.0) or Flapping.connections > 20)
    run.close()
    assert 3 <= len(run.notices) <= visdom_monitor.MAX_NOTICES


def test_without_the_package_one_notice_says_how_to_install_it(start, monkeypatch):
    monkeypatch.setitem(sys.modules, 'visdom', None)
    run = start(1)
    run.loss(1, G=1.0)
    eventually(lambda: run.notices)
    run.images({'real_A': plain(0)})
    run.close()
    assert len(run.notices) == 1
    assert 'python scripts/quickstart.py' in run.notices[0]
    assert 'PIP_BUILD_CONSTRAINT=constraints-build.txt pip install -r requirements-visdom.txt' in run.notices[0]


# ---- a server that the run starts

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


@pytest.mark.parametrize('status', [404, 200])
def test_a_server_is_started_next_to_another_program_and_stopped_at_the_end(status, start, visdom, own_home, stops):
    with answering(status, lambda: [b'true']) as other:
        number, notice = find_or_start(other, own_home, stop=True)
    assert number > other and str(other) in notice and str(number) in notice
    assert str(own_home / 'visdom_server.log') in notice
    run = start(number)
    run.loss(1, G=1.0)
    assert run.close() and window(number, 'loss') and len(run.notices) == 1
    if sys.platform == 'linux':
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.2', number), timeout=5)
    stop, = stops
    stop()
    eventually(lambda: is_free(number))
    assert 'http://localhost' in (own_home / 'visdom_server.log').read_text()


@pytest.mark.parametrize('body', [endless, lambda: [b'ok']])
def test_programs_that_are_not_visdom_are_passed_over(body, port, visdom, own_home, stops):
    """Nothing is started where a visdom answers at one of the next ports."""
    with answering(200, body) as other, pytest.MonkeyPatch.context() as patch:
        patch.setattr(visdom_server, 'range', lambda *_: (other, port), raising=False)
        number, notice = find_or_start(other, own_home)
    assert number == port and str(other) in notice and str(port) in notice
    assert not (own_home / 'visdom_server.log').exists()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_no_worker_is_forked_while_a_server_is_started(own_home, monkeypatch):
    """It would keep the pipe on which Popen waits: the monitor would hang for as long as the worker lives."""
    begun, calls = Event(), []

    def popen(*_, **__):
        begun.set()
        time.sleep(0.5)
        calls.append('started')
        return SimpleNamespace(poll=lambda: 1, kill=lambda: None)

    monkeypatch.setattr(visdom_server.subprocess, 'Popen', popen)
    thread = Thread(target=visdom_server.start, args=(free_port(), own_home, own_home / 'log', False, ''))
    thread.start()
    assert begun.wait(PATIENCE)
    if not (worker := os.fork()):
        os._exit(0)
    calls.append('forked')
    os.waitpid(worker, 0)
    thread.join()
    assert calls == ['started', 'forked']


def test_a_running_server_is_used_and_never_stopped(visdom, own_home, stops):
    number = free_port()
    with running_server(number, own_home):
        assert find_or_start(number, own_home, stop=True) == (number, '')
    assert stops == []


def test_a_server_keeps_running_after_the_run_and_the_notice_says_how_to_stop_it(visdom, own_home, stops):
    number = free_port()
    found, notice = find_or_start(number, own_home)
    assert found == number and 'kill ' in notice and stops == []


def test_nothing_is_started_at_the_port_of_a_server_that_hangs(visdom, own_home, monkeypatch):
    monkeypatch.setattr(visdom_server, 'ANSWER_SECONDS', 0.5)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        number = silent.getsockname()[1]
        assert find_or_start(number, own_home) == (number, '')
    assert not (own_home / 'visdom_server.log').exists()


@pytest.mark.parametrize('script', ['import sys; sys.exit("no such luck")', 'import time; time.sleep(60)'])
def test_a_server_that_cannot_start_gives_one_notice(script, visdom, own_home, monkeypatch, stops):
    monkeypatch.setattr(visdom_server, 'SCRIPT', own_home / 'broken.py')
    monkeypatch.setattr(visdom_server, 'START_SECONDS', 2.0)
    visdom_server.SCRIPT.write_text(script)
    number = free_port()
    found, notice = find_or_start(number, own_home)
    assert found == number and str(own_home / 'visdom_server.log') in notice and '\n' not in notice
    assert 'sleep' in script or 'no such luck' in notice


# ---- a password

def test_a_password_is_required_and_never_printed_or_stored(start, visdom, tmp_path, monkeypatch):
    monkeypatch.setenv('VISDOM_PASSWORD', 'swordfish')
    number = free_port()
    process = start_server(number, tmp_path, '--bind', '127.0.0.1')
    try:
        eventually(lambda: not is_free(number), lambda: (tmp_path / 'log').read_text())
        assert window(number, 'loss') is None       # without a login
        run = start(number, options={'name': 'run'})
        run.loss(1, G=1.0)
        assert run.close(), run.notices
        monkeypatch.setenv('VISDOM_PASSWORD', 'wrong')
        stranger = start(number)
        stranger.loss(1, G=1.0)
        assert not stranger.close() and '400' in stranger.notices[0]
    finally:
        process.kill()
        process.wait()
    written = [path for path in tmp_path.rglob('*') if path.is_file() and path.suffix in ('', '.json', '.jsonl')]
    assert written and not any(b'swordfish' in path.read_bytes() for path in written)
    assert 'swordfish' not in ' '.join([*run.notices, *stranger.notices])


# ---- the server

def test_the_page_is_served_with_every_tornado_and_to_this_machine_only(port):
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=5) as answer:
        page = answer.read().decode()
    assert answer.status == 200 and '"/user/style.css"' in page
    for address in ('/user/style.css', '/static/js/main.js'):
        assert urllib.request.urlopen(f'http://127.0.0.1:{port}{address}', timeout=5).status == 200
    if sys.platform == 'linux':
        # All of 127.* is this machine, so a server on every interface would answer here.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.2', port), timeout=5)


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [(['--port', '0'], '--port 0'), ([], '--port'), (['--env_path', __file__], '--env_path'),
     (['--bind', '0.0.0.0'], 'VISDOM_PASSWORD'), (['--bind', 'here'], '--bind here'),
     (['--visdom_assets', 'nowhere'], '--visdom_assets')],
    ids=['no port', 'port taken', 'no folder', 'open to all', 'no address', 'no assets'],
)
def test_mistakes_on_the_command_line_of_the_server_are_one_sentence(visdom, tmp_path, arguments, complaint):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        process = start_server(taken.getsockname()[1], tmp_path, *arguments)
        assert process.wait(PATIENCE) == 2
    log = (tmp_path / 'log').read_text()
    assert log.startswith('error: ') and complaint in log and len(log.splitlines()) == 1


def test_the_server_prints_its_address_how_to_stop_it_and_what_its_page_lacks(visdom, tmp_path):
    number = free_port()
    with running_server(number, tmp_path) as process:
        lines = eventually(lambda: (lines := (tmp_path / 'log').read_text().splitlines())[1:] and lines)
        assert len(lines) == 2
        assert f'http://localhost:{number}' in lines[0] and 'Ctrl-C' in lines[0]
        assert 'jquery' in lines[1] and '--visdom_assets DIR' in lines[1]
        if sys.platform == 'linux':
            assert 'libtorch' not in Path(f'/proc/{process.pid}/maps').read_text()


# ---- the browser files of the page

CONTENT = {'js/a.js': b'alert(1)', 'css/b.css': b'b {}'}
MEMBERS = {'js/a.js': 'dist/a.js', 'css/b.css': 'b.css'}


def archive_of(members: dict[str, bytes]) -> bytes:
    """A .tgz as npm makes it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w:gz') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


ARCHIVE = archive_of({'package/dist/a.js': CONTENT['js/a.js'], '../evil.js': b'',
                      'package/b.css': CONTENT['css/b.css']})


@pytest.fixture
def small_page(monkeypatch):
    """A page that needs two files of one package."""
    monkeypatch.setattr(visdom_server, 'PACKAGES', {'page-1.0.0': MEMBERS})
    monkeypatch.setattr(visdom_server, 'SHA256', hashlib.sha256(b''.join(CONTENT.values())).hexdigest())
    monkeypatch.setattr(visdom_server, 'MAX_BYTES', 1000)
    monkeypatch.setenv('NPM_CONFIG_REGISTRY', NO_REGISTRY)


@contextmanager
def registry(archive, monkeypatch):
    """A registry that has one package."""
    with answering(200, lambda: [archive], '/page/-/page-1.0.0.tgz') as number:
        monkeypatch.setenv('NPM_CONFIG_REGISTRY', f'http://127.0.0.1:{number}/')
        yield


def placed(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_assets_come_from_the_registry_and_nothing_else_of_the_archive_does(tmp_path, small_page, monkeypatch):
    static = tmp_path / 'in' / 'static'
    with registry(ARCHIVE, monkeypatch):
        visdom_server.complete(static)
    visdom_server.complete(static)      # nothing is missing
    assert placed(tmp_path / 'in') == {f'static/{path}': data for path, data in CONTENT.items()}


@pytest.mark.parametrize('served', [
    archive_of({'package/dist/a.js': b'alert(2)', 'package/b.css': CONTENT['css/b.css']}),
    archive_of({'package/b.css': CONTENT['css/b.css']}), b'no archive', ARCHIVE[:60],
    ARCHIVE + bytes(10 << 10), archive_of({'package/dist/a.js': bytes(10 << 20), 'package/b.css': b''})],
    ids=['another file', 'no such file', 'no archive', 'half an archive', 'endless', 'huge'])
def test_files_other_than_the_known_ones_are_not_used(tmp_path, small_page, monkeypatch, served):
    with registry(served, monkeypatch):
        if served.startswith(ARCHIVE):      # what follows the archive is not read
            visdom_server.complete(tmp_path)
            return
        with pytest.raises(UserError):
            visdom_server.complete(tmp_path)
    assert placed(tmp_path) == {}


def test_without_a_registry_there_is_one_sentence(tmp_path, small_page):
    with pytest.raises(UserError, match=r'page-1\.0\.0.*--visdom_assets'):
        visdom_server.complete(tmp_path)


@pytest.mark.parametrize('files', [CONTENT, {'page-1.0.0.tgz': ARCHIVE}], ids=['files', 'archive'])
def test_assets_come_from_a_folder(tmp_path, small_page, files):
    for name, data in files.items():
        (tmp_path / 'from #1' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'from #1' / name).write_bytes(data)
    visdom_server.complete(tmp_path / 'to', str(tmp_path / 'from #1'))
    assert placed(tmp_path / 'to') == CONTENT


def test_a_wrong_file_in_a_folder_is_not_used(tmp_path, small_page):
    for name, data in {**CONTENT, 'js/a.js': b'alert(2)'}.items():
        (tmp_path / 'from' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'from' / name).write_bytes(data)
    with pytest.raises(UserError):
        visdom_server.complete(tmp_path / 'to', str(tmp_path / 'from'))
    assert placed(tmp_path / 'to') == {}


def test_the_tool_says_what_is_missing(tmp_path, capsys):
    assert run_tool(visdom_assets_tool.main, ['--out', str(tmp_path / 'to'), '--visdom_assets', str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 7 and all(line.startswith('error: ') and '--visdom_assets DIR' in line for line in errors)


@pytest.fixture(scope='module')
def real_assets(tmp_path_factory):
    """The files themselves, from this user's servers or the registry."""
    folder = tmp_path_factory.mktemp('assets')
    try:
        visdom_server.complete(folder, str(visdom_server.ENVIRONMENTS / 'page'))
    except UserError:
        try:
            visdom_server.complete(folder)
        except UserError as error:
            pytest.skip(f'the browser files of visdom cannot be had here: {error}')
    return folder


def test_the_page_is_drawn_by_a_browser_without_internet(visdom, start, real_assets, tmp_path):
    browser.require()
    number = free_port()
    with running_server(number, tmp_path, '--visdom_assets', str(real_assets)):
        run = start(number, options={'ngf': 8})
        for image in range(1, 20):
            run.loss(image, G=1 / image)
        run.images({'real_A': plain(0), 'fake_B': plain(100)})
        assert run.close()
        eventually((tmp_path / 'env' / 'page' / 'js' / 'sjcl.js').exists)
        offline = '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost'
        with browser.Browser(tmp_path, offline) as page:
            page.open(f'http://localhost:{number}/env/run')
            page.wait('document.querySelectorAll(".js-plotly-plot").length == 3')
            page.wait('document.querySelector("img[src^=\\"data:image\\"]") !== null')
            page.wait('document.body.innerText.includes("run loss over time")')
            page.wait('document.body.innerText.includes("online")')
            assert 'ngf' in page.eval('document.body.innerText')
            kind = ('[...document.querySelectorAll(".js-plotly-plot")].find(plot => plot.layout.updatemenus)'
                    '.layout.yaxis.type')
            assert page.eval(kind) == 'linear'
            page.eval('[...document.querySelectorAll(".updatemenu-button")][1].dispatchEvent(new Event("click"))')
            page.wait(f'{kind} == "log"')
            assert [error for error in page.errors if '404' not in error] == []     # files that are not needed


# ---- a run shown later

def replay(folder, port, *more):
    return run_tool(replay_visdom.main, [folder.name, '--checkpoints_dir', str(folder.parent), '--display_port',
                                         str(port), '--display_server', 'http://127.0.0.1', *more])


def test_a_finished_run_is_shown_on_a_new_server(port, tmp_path, capsys):
    folder = tmp_path / 'finished'
    (folder / 'web' / 'images').mkdir(parents=True)
    (folder / 'losses.jsonl').write_text(''.join(json.dumps(report(image, G=2.0 * image)) + '\n'
                                                 for image in (1, 2, 3)) + '{"torn')
    (folder / 'train_opt.txt').write_text('--- Options ---\n  ngf: 8 \t[default: 64]\n  lr: 0.1  \n--- End ---\n')
    for epoch in (1, 2):
        Image.fromarray(plain(100 * epoch, 60, 60)).save(folder / 'web' / 'images' / f'epoch00{epoch}_fake_B.png')
    assert replay(folder, port) == 0
    assert capsys.readouterr().out == f'visdom: http://127.0.0.1:{port}/env/finished\n'
    curve = window(port, 'loss', 'finished')['content']['data'][0]
    assert (curve['x'], curve['y']) == ([1, 2, 3], [2, 4, 6])
    table = window(port, 'options', 'finished')['content']
    assert 'ngf' in table and '>8<' in table and 'default' not in table
    np.testing.assert_allclose(decoded(window(port, 'images', 'finished'))[50, 30], 200, atol=4)


def test_a_replay_without_server_or_run_is_one_sentence(tmp_path, visdom, capsys):
    assert replay(tmp_path / 'nothing', 1) == 2
    (tmp_path / 'some').mkdir()
    (tmp_path / 'some' / 'losses.jsonl').write_text(json.dumps(report(1, G=1.0)) + '\n')
    assert replay(tmp_path / 'some', free_port()) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert '--checkpoints_dir' in first and 'visdom_server.py' in second


# ---- the options of train.py

@pytest.mark.parametrize(('words', 'env', 'starts'), [
    ([], 'mine', True), (['--display_env', 'main'], 'main', True), (['--display_env', 'other'], 'other', True),
    (['--display_server', 'http://elsewhere'], 'mine', False), (['--display_server', '127.0.0.1'], 'mine', True),
    (['--no_display_server'], 'mine', False),
])
def test_options_become_settings(train_options, aligned_root, tmp_path, monkeypatch, words, env, starts):
    monkeypatch.setattr(create, 'find_or_start', lambda port, *_: (port + 1, 'started'))
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', '--name', 'mine', *words)
    notices = []
    made = create.visdom_settings(opt, tmp_path, notices.append)
    assert (made['env'], made['port'], notices) == (env, 8098 if starts else 8097, ['started'] if starts else [])
    assert (made['columns'], made['image_width'], made['log_scale']) == (4, 256, False)


def test_a_run_that_ends_before_its_server_answers_is_shown_there(train_options, aligned_root, visdom, own_home, stops):
    number = free_port()
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', '--name', 'short',
                        '--display_id', 1, '--display_port', number)
    notices = []
    monitor, = create.create_monitors(opt, own_home, notices.append)
    monitor.losses(report(1, G=1.0))
    monitor.close()
    assert window(number, 'loss', 'short') and len(notices) == 2


def test_a_resumed_run_reads_the_log_as_it_was_at_its_start(train_options, aligned_root, port, tmp_path):
    """Reports of this start arrive as calls; read from the log too, they would be drawn twice."""
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', '--name', 'log',
                        '--display_id', 1, '--display_server', 'http://127.0.0.1', '--display_port', port)
    lines = [json.dumps(report(image, G=float(image))) + '\n' for image in (1, 2, 3)]
    (tmp_path / 'losses.jsonl').write_text(''.join(lines[:2]))
    monitor, = create.create_monitors(opt, tmp_path, lambda _: None)
    (tmp_path / 'losses.jsonl').write_text(''.join(lines))
    monitor.losses(json.loads(lines[2]))
    monitor.close()
    assert window(port, 'loss', 'log')['content']['data'][0]['y'] == [1, 2, 3]


# ---- through train.py

def test_training_shows_in_visdom(port, tmp_path):
    """Curves and images of a real run arrive, in the run's own environment of the server."""
    from conftest import TINY_TRAINING, draw_root

    import train
    root = draw_root(tmp_path / 'aligned', ('',), (80, 40))
    words = [*TINY_TRAINING, '--dataroot', root, '--name', 'shown', '--model', 'pix2pix', '--netG', 'unet_32',
             '--n_epochs', 2, '--n_epochs_decay', 0, '--print_freq', 2, '--display_freq', 4, '--display_id', 1,
             '--display_server', 'http://127.0.0.1', '--display_port', port, '--display_env', 'training',
             '--checkpoints_dir', tmp_path]
    train.main([str(word) for word in words], Console())
    windows = post(port, 'win_data', {'eid': 'training', 'win': None}) or {}
    text = json.dumps(windows)
    parts = ('shown loss over time', 'G_L1', 'shown images', 'data:image', 'shown options')
    assert all(part in text for part in parts)
    assert {'loss', 'lr', 'throughput', 'images', 'options'} <= {*windows}
