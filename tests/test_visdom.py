"""The visdom board with a real server, none, a silent one and one that is killed; read back by plain HTTP."""

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
from util.monitors import visdom_assets, visdom_board, visdom_client, visdom_start
from util.monitors.visdom_board import (
    CURVE_POINTS,
    LABEL_HEIGHT,
    Curve,
    RunLog,
    VisdomBoard,
    html_table,
    image_grid,
    labelled,
    scaled_down,
    side_by_side,
)
from util.monitors.visdom_start import LocalServer, probe

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'scripts'))

import browser
import replay_visdom
import visdom_assets as visdom_assets_tool
import visdom_server

SERVER = Path(visdom_server.__file__)
PATIENCE = 20.0


@pytest.fixture(scope='module')
def visdom():
    """The package, imported before anything is timed: it imports torch."""
    return pytest.importorskip('visdom', reason=f'visdom is not installed; {visdom_assets.INSTALL}')


@pytest.fixture(scope='module')
def port(visdom, tmp_path_factory):
    number = free_port()
    with running_server(number, tmp_path_factory.mktemp('server')):
        yield number


class Run:
    """A board, the notices it gave, and the log it reads."""

    def __init__(self, folder, port, options=None, **arguments):
        self.log, self.notices = folder / 'losses.jsonl', []
        folder.mkdir(parents=True, exist_ok=True)
        self.board = VisdomBoard('run', folder, options or {}, server='http://127.0.0.1', port=port,
                                 notify=self.notices.append, **arguments)

    def loss(self, image, epoch_size=None, **losses):
        """Report losses as training does: into the log, then to the board."""
        record = report(image, epoch_size, **losses)
        with open(self.log, 'a', encoding='utf-8') as file:
            file.write(json.dumps(record) + '\n')
        self.board.losses(record)

    def images(self, pictures, kind='train'):
        self.board.images(SimpleNamespace(epoch=1, total_iters=100), pictures, kind)


def report(image, epoch_size=None, **losses):
    """A line of losses.jsonl."""
    record = {'epoch': 1, 'iters': image, 'total_iters': image, 'lr': 0.1 / image, 'images_per_s': 2.0 * image}
    if epoch_size:
        done, iters = divmod(image - 1, epoch_size)
        record.update(epoch=1 + done, iters=iters + 1, epoch_size=epoch_size)
    return {**record, 'losses': losses}


@pytest.fixture
def board(tmp_path):
    """make(port, **arguments) -> a board, closed at the end."""
    made = []

    def make(port, **arguments):
        made.append(Run(tmp_path / f'run{len(made)}', port, **arguments))
        return made[-1]

    yield make
    for one in made:
        one.board.close(0.1)


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as probe:
        return probe.getsockname()[1]


def start_server(port, folder, *arguments):
    folder.mkdir(parents=True, exist_ok=True)
    caches = dict.fromkeys(('XDG_CACHE_HOME', 'LOCALAPPDATA', 'HOME'), str(folder))
    caches['NPM_CONFIG_REGISTRY'] = 'http://127.0.0.1:9'     # nothing is fetched in a test
    options = ['--port', str(port), '--env_path', str(folder / 'env'), *arguments]
    with open(folder / 'log', 'ab') as log:
        command = [sys.executable, str(SERVER), *options]
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **caches})


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
def answering(status, body=()):
    """Port of a web server that is no visdom; `body()` gives the parts of all answers of status 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            if status != 200:
                return self.send_error(status)
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


def test_a_long_curve_is_thinned_to_the_means_of_equal_windows():
    samples = np.random.default_rng(0).normal(size=10_240)
    curve = Curve()
    for x, y in enumerate(samples):
        curve.add(x, y)
    points = curve.points()
    assert CURVE_POINTS / 2 <= len(points) <= CURVE_POINTS
    assert curve.stride == len(samples) // len(points)
    np.testing.assert_allclose(points[:, 1], samples.reshape(len(points), -1).mean(axis=1))
    np.testing.assert_allclose(points[:, 0], np.arange(10_240).reshape(len(points), -1).mean(axis=1))


@pytest.mark.parametrize('count', [1, 2, 499, 500, 501, 750, 2999])
def test_every_sample_counts_and_the_newest_is_in_the_last_point(count):
    curve = Curve()
    for x in range(count):
        curve.add(x, 2.0 * x)
    points = curve.points()
    assert 1 <= len(points) <= CURVE_POINTS
    np.testing.assert_allclose(points[:, 1], 2 * points[:, 0])
    assert points[-1, 0] > count - 1 - curve.stride


def test_what_is_not_finite_becomes_a_gap():
    curve = Curve()
    for y in (1.0, float('inf'), float('nan'), -float('inf'), 2.0):
        curve.add(0.0, y)
    np.testing.assert_array_equal(curve.points()[:, 1], [1, np.nan, np.nan, np.nan, 2])


def test_a_loss_that_begins_later_keeps_its_own_epochs():
    early, late = Curve(), Curve()
    for epoch in (1, 2, 3):
        early.add(epoch, 10 * epoch)
    late.add(3, 7)
    x, y = side_by_side([early, late])
    np.testing.assert_array_equal(x, [[1, 3], [2, np.nan], [3, np.nan]])
    np.testing.assert_array_equal(y, [[10, 7], [20, np.nan], [30, np.nan]])


def test_the_grid_is_white_around_images_of_any_size_and_channels():
    grid = image_grid([plain(10, 4, 6), np.full((4, 6), 20, np.uint8), np.full((2, 3, 1), 30, np.uint8)], 2)
    expected = np.full((16, 20), 255)
    expected[2:6, 2:8], expected[2:6, 12:18], expected[10:12, 2:5] = 10, 20, 30
    assert grid.dtype == np.uint8
    np.testing.assert_array_equal(grid, np.repeat(expected[..., None], 3, axis=2))


def test_table_cells_are_escaped():
    assert '&lt;b&gt; &amp; c' in html_table([['<b> & c', 1]])


def test_small_pictures_get_labels_and_large_ones_shrink():
    wide = scaled_down(plain(90, 100, 400), 64)
    assert wide.shape == (16, 64, 3) and (wide == 90).all()
    cell = labelled(plain(90, 8, 8), 'a long label')
    assert (cell[LABEL_HEIGHT:, :8] == 90).all() and cell.shape[1] > 40
    assert cell[:LABEL_HEIGHT].min() < 100 and (cell[:, -1] == 255).all()
    assert labelled(plain(0), 'größe').shape == labelled(plain(0), 'gr??e').shape


def test_the_log_is_read_once_and_torn_lines_are_left_out(tmp_path):
    path = tmp_path / 'losses.jsonl'
    log = RunLog(path)
    assert list(log.new()) == [] and not log.shortened()
    first, second = (json.dumps(report(image, G=1.0)) for image in (1, 2))
    path.write_text(f'{first}\n{{"epoch": 1, "it{first}\n[1]\n{second[:20]}')
    assert [record['total_iters'] for record in log.new()] == [1]
    path.write_text(path.read_text() + second[20:] + '\n')
    assert [record['total_iters'] for record in log.new()] == [2]
    assert not log.shortened()
    path.write_text(f'{second}\n')
    assert log.shortened()
    assert [record['total_iters'] for record in log.new()] == [2]


def test_curves_arrive_with_axes_legend_and_title(board, port, capfd):
    run = board(port)
    for image in range(1, 1201):
        run.loss(image, epoch_size=600, G_GAN=2.0, D=image / 600)
    assert run.board.close()
    plot = window(port, 'loss')
    assert plot['title'] == 'run loss over time'
    assert [curve['name'] for curve in plot['content']['data']] == ['G_GAN', 'D']
    layout = plot['content']['layout']
    assert layout['showlegend'] and layout['yaxis']['type'] == 'linear'
    assert 'epoch' in str(layout['xaxis']['title']) and 'loss' in str(layout['yaxis']['title'])
    d = plot['content']['data'][1]
    assert len(d['x']) == 300
    np.testing.assert_allclose(np.array(d['x']) - 1, d['y'], atol=1e-9)
    np.testing.assert_allclose([d['x'][0], d['x'][-1]], [1 + 2.5 / 600, 1 + 1198.5 / 600])
    assert window(port, 'lr')['content']['data'][0]['y'][-1] == pytest.approx(0.1 / 1198.5, rel=1e-5)
    assert window(port, 'throughput')['content']['data'][0]['y'][-1] == pytest.approx(2 * 1198.5)
    assert run.notices == [f'visdom: http://127.0.0.1:{port}/env/run']
    assert capfd.readouterr() == ('', '')


def test_the_axis_of_losses_can_be_logarithmic_and_has_buttons(board, port):
    run = board(port, env='log', log_axis=True)
    run.loss(7, G=1.0)
    assert run.board.close()
    layout = window(port, 'loss', 'log')['content']['layout']
    assert layout['yaxis']['type'] == 'log' and 'images' in str(layout['xaxis']['title'])
    assert [button['label'] for button in layout['updatemenus'][0]['buttons']] == ['linear', 'log']


def test_a_resumed_run_has_its_earlier_curves_in_the_same_windows(board, port, tmp_path):
    run = board(port, env='resumed')
    for image in (1, 2):
        run.loss(image, G=float(image))
    assert run.board.close()
    again = Run(run.log.parent, port, env='resumed')
    again.loss(3, G=3.0)
    assert again.board.close()
    curve = window(port, 'loss', 'resumed')['content']['data'][0]
    assert (curve['x'], curve['y']) == ([1, 2, 3], [1, 2, 3])
    assert {*post(port, 'win_data', {'eid': 'resumed', 'win': None})} == {'loss', 'lr', 'throughput'}


def test_images_arrive_as_a_jpeg_grid_with_labels(board, port):
    run = board(port, ncols=2, winsize=100, env='grid')
    run.images({'real_A': plain(0, 16, 60), 'fake_B': plain(100, 16, 60), '<rec>': plain(200, 16, 60)})
    run.images({'fake_B 0': plain(50, 16, 60)}, 'validation')
    assert run.board.close()
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


def test_without_columns_every_image_has_its_window_and_the_number_keeps_boards_apart(board, port):
    run = board(port, display_id=30, ncols=0, env='a/b', options={'name': 'run', 'note': '<script>'})
    run.images({'real_A': plain(0), 'fake_B': plain(100)})
    assert run.board.close()
    assert [window(port, f'images {label}_30', 'a_b')['title'] for label in ('real_A', 'fake_B')] \
        == ['real_A', 'fake_B']
    table = window(port, 'options_30', 'a_b')
    assert table['title'] == 'run options'
    assert '&lt;script&gt;' in table['content'] and '<script>' not in table['content']


def test_a_window_that_cannot_be_drawn_costs_a_notice_and_nothing_else(board, port):
    run = board(port, env='bad')
    run.images({'bad': np.zeros((4, 4, 2), np.uint8)})
    run.loss(1, G=1.0)
    run.board.close()
    assert window(port, 'loss', 'bad')['content']['data'][0]['y'] == [1.0]
    assert len(run.notices) == 2 and any(line.startswith('visdom window images cannot') for line in run.notices)


def test_the_environment_is_saved(visdom, board, tmp_path):
    number = free_port()
    with running_server(number, tmp_path):
        run = board(number)
        run.loss(1, G=1.0)
        assert run.board.close()
        assert 'loss' in (tmp_path / 'env' / 'run.json').read_text()


# ---- no server, a bad one, one that goes and comes back

def test_without_a_server_one_notice(board, visdom, capfd):
    absent = free_port()
    run = board(absent)
    for image in range(1, 6):
        run.loss(image, G=1.0)
    eventually(lambda: run.notices)
    assert not run.board.close()
    assert run.notices == [
        f'visdom not reachable at http://127.0.0.1:{absent} - training goes on; curves are in '
        f'{run.log} (--display_id -1 to silence)'
    ]
    assert capfd.readouterr() == ('', '')


def test_a_server_that_is_no_visdom_is_named(board, visdom):
    with answering(404) as other:
        run = board(other)
        run.loss(1, G=1.0)
        eventually(lambda: run.notices)
        run.board.close()
    assert len(run.notices) == 1 and 'what runs there answers 404' in run.notices[0]


def test_a_server_that_never_answers_is_told_of_once_and_waited_for_by_nobody(board, visdom, monkeypatch):
    monkeypatch.setattr(visdom_client, 'GREETING_SECONDS', 0.1)
    with socket.create_server(('127.0.0.1', 0)) as black_hole:
        run = board(black_hole.getsockname()[1])
        for image in range(1, 100):
            run.loss(image, G=1.0)
            run.images({'real_A': plain(0)})
        eventually(lambda: run.notices)
        run.board.close()
        run.loss(100, G=1.0)    # after the end: nothing happens
    assert len(run.notices) == 1 and run.notices[0].startswith('visdom not reachable')


def endless():
    while True:
        yield bytes(1 << 16)


def dripping():
    while True:
        yield b'x'
        time.sleep(0.05)


@pytest.mark.parametrize('password', ['', 'secret'])
@pytest.mark.parametrize('body', [endless, dripping])
def test_an_answer_without_end_is_left(body, password, board, visdom, monkeypatch):
    monkeypatch.setattr(visdom_client, 'GREETING_SECONDS', 0.5)
    monkeypatch.setattr(visdom_client, 'LONGEST_ANSWER', 1 << 12)
    monkeypatch.setenv('VISDOM_PASSWORD', password)
    with answering(200, body) as other:
        run = board(other)
        run.loss(1, G=1.0)
        eventually(lambda: run.notices)
        run.board.close()
    assert len(run.notices) == 1 and 'does not end its answer' in run.notices[0]


@pytest.mark.parametrize('text', [b'', b'ok', b'[]', b'<html>hello</html>'])
def test_a_program_that_takes_everything_is_no_visdom(text, board, visdom):
    with answering(200, lambda: [text]) as other:
        run = board(other)
        run.loss(1, G=1.0)
        eventually(lambda: run.notices)
        run.board.close()
        assert probe(other) == 'other'
    assert len(run.notices) == 1 and 'is no visdom' in run.notices[0]


def test_what_waits_for_a_dead_server_is_bounded(board, visdom):
    """However many pictures were shown, one set of each kind is kept, and no report of losses."""
    run = board(free_port())
    gone = []
    for index in range(50):
        picture = plain(index)
        gone.append(weakref.ref(picture))
        run.images({'real_A': picture})
        run.loss(1 + index, G=1.0)
    del picture
    gc.collect()
    assert [ref() is not None for ref in gone] == [False] * 49 + [True]


def test_a_restarted_server_gets_everything_again(board, visdom, tmp_path):
    number = free_port()
    with running_server(number, tmp_path):
        run = board(number, options={'name': 'run'})
        run.loss(1, G=5.0)
        eventually(lambda: window(number, 'loss') and window(number, 'options'))
    run.loss(2, G=4.0)
    eventually(lambda: len(run.notices) == 2)
    with running_server(number, tmp_path / 'another'):
        run.loss(3, G=3.0)
        curve = eventually(lambda: (window(number, 'loss') or {}).get('content'))['data'][0]
        assert (curve['x'], curve['y']) == ([1, 2, 3], [5, 4, 3])
        eventually(lambda: window(number, 'options') and len(run.notices) == 3)
    assert run.notices[1].startswith(f'visdom not reachable at http://127.0.0.1:{number}')
    assert run.notices[2].startswith(f'visdom: http://127.0.0.1:{number}/env/run; all curves')


def test_a_restart_between_two_flushes_is_noticed(board, port):
    """Closing all windows is what the client sees of it: the connection works and the windows are gone."""
    run = board(port, env='restart', options={'name': 'run'})
    run.loss(1, G=1.0)
    eventually(lambda: window(port, 'loss', 'restart') and window(port, 'options', 'restart'))
    shut = json.dumps({'eid': 'restart', 'win': None}).encode()
    urllib.request.urlopen(f'http://127.0.0.1:{port}/close', shut, timeout=5).close()
    assert window(port, 'options', 'restart') is None
    run.loss(2, G=2.0)
    eventually(lambda: window(port, 'options', 'restart'))
    assert run.notices == [f'visdom: http://127.0.0.1:{port}/env/restart']


def test_a_server_that_comes_and_goes_does_not_fill_the_log(board, monkeypatch):
    class Flapping:
        """Every second connection fails; the others take the windows once."""

        connections = 0

        def __init__(self, **_):
            Flapping.connections += 1
            if Flapping.connections % 2:
                raise visdom_client.Unreachable('')

        def save(self, _):
            pass

        line = text = lambda self, **_: None

        def win_exists(self, _):
            raise visdom_client.Unreachable('')

    monkeypatch.setattr('util.monitors.visdom_client.client_class', lambda: Flapping)
    monkeypatch.setattr(visdom_client, 'FLUSH_SECONDS', 0.01)
    run = board(1)
    eventually(lambda: run.loss(1, G=1.0) or Flapping.connections > 20)
    run.board.close()
    assert 3 <= len(run.notices) <= visdom_client.MOST_NOTICES


def test_without_the_package_one_notice_says_how_to_install_it(board, monkeypatch):
    monkeypatch.setitem(sys.modules, 'visdom', None)
    run = board(1)
    run.loss(1, G=1.0)
    eventually(lambda: run.notices)
    run.images({'real_A': plain(0)})
    run.board.close()
    assert len(run.notices) == 1
    assert 'cannot be imported' in run.notices[0]
    assert 'python scripts/quickstart.py' in run.notices[0]
    assert 'PIP_BUILD_CONSTRAINT=constraints-build.txt pip install -r requirements-visdom.txt' in run.notices[0]


# ---- a server that the run starts

@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """A home and cache of this test, with no way to a registry."""
    for name in ('XDG_CACHE_HOME', 'LOCALAPPDATA', 'HOME', 'USERPROFILE'):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv('NPM_CONFIG_REGISTRY', 'http://127.0.0.1:9')
    return tmp_path


def test_what_is_at_a_port_is_recognised(port, visdom):
    with answering(500) as other, answering(200, endless) as flood, socket.create_server(('127.0.0.1', 0)) as silent:
        found = [probe(number) for number in (port, other, free_port(), silent.getsockname()[1], flood)]
    assert found == ['visdom', 'other', 'free', 'silent', 'other']


@pytest.mark.parametrize('status', [404, 200])
def test_a_run_starts_a_server_beside_another_program_and_stops_it(status, board, visdom, own_home):
    with answering(status, lambda: [b'true']) as other:
        starter = LocalServer(own_home, other, stop=True)
        run = board(other, starter=starter)
        run.loss(1, G=1.0)
        url = eventually(lambda: [line for line in run.notices if line.startswith('visdom: ')])[0].split()[1]
        number = int(url.split(':')[2].split('/')[0])
        assert window(number, 'loss')
        assert number > other and f'port {other} is another program' in run.notices[0]
        assert str(own_home / 'visdom_server.log') in run.notices[0] and len(run.notices) == 2
        if sys.platform == 'linux':
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(('127.0.0.2', number), timeout=5)
        assert run.board.close()
    assert starter.process.poll() is not None and probe(number) == 'free'
    assert 'http://localhost' in (own_home / 'visdom_server.log').read_text()


def test_a_server_of_the_user_is_joined_and_never_stopped(board, visdom, own_home):
    number = free_port()
    starter = LocalServer(own_home, number, stop=True)
    with running_server(number, own_home):
        assert starter.start(Event()) == (number, None)
        starter.close()
        assert probe(number) == 'visdom' and starter.process is None


def test_nothing_is_started_at_the_port_of_a_server_that_hangs(visdom, own_home):
    with socket.create_server(('127.0.0.1', 0)) as silent:
        starter = LocalServer(own_home, silent.getsockname()[1])
        assert starter.start(Event()) == (None, None)
    assert starter.process is None


def test_a_server_that_cannot_start_is_told_of_in_one_line(visdom, own_home, monkeypatch):
    script = own_home / 'broken.py'
    script.write_text('import sys; sys.exit("no such luck")')
    monkeypatch.setattr(visdom_start, 'SCRIPT', script)
    started, notice = LocalServer(own_home, free_port()).start(Event())
    assert started is None and 'no such luck' in notice and '\n' not in notice


# ---- a password

def test_a_password_is_asked_for_and_given_but_told_to_nobody(board, visdom, tmp_path, monkeypatch):
    monkeypatch.setenv('VISDOM_PASSWORD', 'swordfish')
    number = free_port()
    process = start_server(number, tmp_path, '--bind', '127.0.0.1')
    try:
        eventually(lambda: probe(number) == 'visdom', lambda: (tmp_path / 'log').read_text())
        assert window(number, 'loss') is None       # without a login
        run = board(number, options={'name': 'run'})
        run.loss(1, G=1.0)
        assert run.board.close(), run.notices
        monkeypatch.setenv('VISDOM_PASSWORD', 'wrong')
        stranger = board(number)
        stranger.loss(1, G=1.0)
        assert not stranger.board.close() and 'answers 400' in stranger.notices[0]
    finally:
        process.kill()
        process.wait()
    secret = tmp_path / 'env' / 'COOKIE_SECRET'
    assert os.name == 'nt' or secret.stat().st_mode & 0o777 == 0o600
    written = [path for path in tmp_path.rglob('*') if path.is_file() and path.suffix in ('', '.json', '.jsonl')]
    assert secret in written and not any(b'swordfish' in path.read_bytes() for path in written)
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
    [(['--port', '0'], '--port 0 is no port'), ([], 'port'), (['--env_path', __file__], '--env_path'),
     (['--bind', '0.0.0.0'], 'VISDOM_PASSWORD'), (['--bind', 'here'], '--bind here is no address'),
     (['--visdom_assets', 'nowhere'], '--visdom_assets')],
    ids=['no port', 'port taken', 'no folder', 'open to all', 'no address', 'no assets'],
)
def test_server_mistakes_get_a_sentence(visdom, tmp_path, arguments, complaint):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        process = start_server(taken.getsockname()[1], tmp_path, *arguments)
        assert process.wait(PATIENCE) == 2
    log = (tmp_path / 'log').read_text()
    assert log.startswith('error: ') and complaint in log and len(log.splitlines()) == 1


def test_server_tells_the_address_how_to_stop_it_and_what_the_page_lacks(visdom, tmp_path):
    number = free_port()
    with running_server(number, tmp_path) as process:
        lines = eventually(lambda: (told := (tmp_path / 'log').read_text().splitlines())[1:] and told)
        assert len(lines) == 2
        assert f'http://localhost:{number}' in lines[0] and 'Ctrl-C' in lines[0]
        assert 'jquery' in lines[1] and '--visdom_assets DIR' in lines[1] and 'interface works' in lines[1]
        if sys.platform == 'linux':
            assert 'libtorch' not in Path(f'/proc/{process.pid}/maps').read_text()


def test_the_page_lies_beside_the_environments_where_there_is_no_cache(visdom, tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setattr('sys.platform', 'linux')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert visdom_server.staged(visdom, tmp_path / 'env') == tmp_path / 'env' / 'page'
    assert (tmp_path / 'env' / 'page' / 'js' / 'main.js').is_file()


# ---- the browser files of the page

CONTENT = {'js/a.js': b'alert(1)', 'css/b.css': b'b {}'}


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


def package_of(archive):
    return visdom_assets.Package('page', '1.0.0', base64.b64encode(hashlib.sha512(archive).digest()).decode())


def assets_of(package, content=CONTENT):
    members = {'js/a.js': 'dist/a.js', 'css/b.css': 'b.css'}
    return tuple(visdom_assets.Asset(path, package, members[path], hashlib.sha256(data).hexdigest())
                 for path, data in content.items())


@contextmanager
def registry(archive, monkeypatch):
    """A registry that has one package."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == '/page/-/page-1.0.0.tgz' else 404)
            self.send_header('Content-Length', str(len(archive)))
            self.end_headers()
            self.wfile.write(archive)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv('NPM_CONFIG_REGISTRY', f'http://127.0.0.1:{server.server_port}')
    yield
    server.shutdown()
    server.server_close()


def placed(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_assets_come_from_the_registry_and_nothing_else_of_the_archive_does(tmp_path, monkeypatch):
    static = tmp_path / 'in' / 'static'
    with registry(ARCHIVE, monkeypatch):
        assert visdom_assets.complete(static, assets=assets_of(package_of(ARCHIVE))) == []
    assert placed(tmp_path / 'in') == {f'static/{path}': data for path, data in CONTENT.items()}


@pytest.mark.parametrize(('served', 'known', 'content', 'complaint'), [
    (ARCHIVE, archive_of({}), CONTENT, 'sha512'),
    (ARCHIVE, ARCHIVE, {**CONTENT, 'js/a.js': b'alert(2)'}, 'not the file it should be'),
    (b'no archive', b'no archive', CONTENT, 'cannot be read'),
    (ARCHIVE[:60], ARCHIVE[:60], CONTENT, 'cannot be read'),
    (b'x' * 2000, b'', CONTENT, 'more than 1000 bytes'),
], ids=['another archive', 'another file', 'no archive', 'half an archive', 'endless'])
def test_what_is_not_right_is_not_used(tmp_path, monkeypatch, served, known, content, complaint):
    monkeypatch.setattr(visdom_assets, 'MOST_BYTES', 1000)
    with registry(served, monkeypatch):
        problem, = visdom_assets.complete(tmp_path, assets=assets_of(package_of(known), content))
    assert complaint in problem
    assert set(placed(tmp_path)) <= {'css/b.css'}


def test_without_a_registry_the_problem_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv('NPM_CONFIG_REGISTRY', f'http://127.0.0.1:{free_port()}')
    problem, = visdom_assets.complete(tmp_path, assets=assets_of(package_of(ARCHIVE)))
    assert problem.startswith('page 1.0.0: ') and 'cannot be downloaded' in problem


@pytest.mark.parametrize('files', [CONTENT, {'a.js': CONTENT['js/a.js'], 'b.css': CONTENT['css/b.css']},
                                   {'page-1.0.0.tgz': ARCHIVE}], ids=['as on the page', 'flat', 'archive'])
def test_assets_come_from_a_folder(tmp_path, monkeypatch, files):
    monkeypatch.setenv('NPM_CONFIG_REGISTRY', 'http://127.0.0.1:9')
    for name, data in files.items():
        (tmp_path / 'from' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'from' / name).write_bytes(data)
    assert visdom_assets.complete(tmp_path / 'to', tmp_path / 'from', assets_of(package_of(ARCHIVE))) == []
    assert placed(tmp_path / 'to') == CONTENT


def test_a_wrong_file_in_a_folder_is_not_used(tmp_path):
    (tmp_path / 'from').mkdir()
    (tmp_path / 'from' / 'a.js').write_bytes(b'alert(2)')
    problems = visdom_assets.complete(tmp_path / 'to', tmp_path / 'from', assets_of(package_of(ARCHIVE)))
    assert len(problems) == 1 and 'page-1.0.0.tgz' in problems[0] and placed(tmp_path) == {'from/a.js': b'alert(2)'}


def test_the_tool_says_what_is_missing(tmp_path, capsys):
    assert run_tool(visdom_assets_tool.main, ['--out', str(tmp_path), '--visdom_assets', str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 7 and all(line.startswith('error: ') and '--visdom_assets DIR' in line for line in errors)


@pytest.fixture(scope='module')
def real_assets(tmp_path_factory):
    """The files themselves, from this user's cache or the registry."""
    folder = visdom_assets.page_folder()
    if visdom_assets.missing_assets(folder):
        folder = tmp_path_factory.mktemp('assets')
        if problems := visdom_assets.complete(folder):
            pytest.skip(f'the browser files of visdom cannot be had here: {problems[0]}')
    return folder


def test_the_page_is_drawn_by_a_browser_without_internet(visdom, board, real_assets, tmp_path):
    browser.require()
    number = free_port()
    with running_server(number, tmp_path, '--visdom_assets', str(real_assets)):
        run = board(number, options={'ngf': 8})
        for image in range(1, 20):
            run.loss(image, G=1 / image)
        run.images({'real_A': plain(0), 'fake_B': plain(100)})
        assert run.board.close()
        eventually(lambda: not visdom_assets.missing_assets(tmp_path / 'pixmorph' / 'visdom-0.2.4'))
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


# ---- a run shown afterwards

def replay(folder, port, *more):
    return run_tool(replay_visdom.main, [folder.name, '--checkpoints_dir', str(folder.parent), '--display_port',
                                         str(port), '--display_server', 'http://127.0.0.1', *more])


def test_a_finished_run_fills_a_fresh_server(port, tmp_path, capsys):
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


def test_a_replay_without_server_or_run_is_a_sentence(tmp_path, visdom, capsys):
    assert replay(tmp_path / 'nothing', 1) == 2
    (tmp_path / 'some').mkdir()
    (tmp_path / 'some' / 'losses.jsonl').write_text(json.dumps(report(1, G=1.0)) + '\n')
    assert replay(tmp_path / 'some', free_port()) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert 'has no losses; correct NAME' in first and 'visdom_server.py' in second


# ---- the options of train.py

@pytest.mark.parametrize(('words', 'env', 'starts'), [
    ([], 'mine', True), (['--display_env', 'main'], 'main', True), (['--display_env', 'other'], 'other', True),
    (['--display_server', 'http://elsewhere'], 'mine', False), (['--display_server', '127.0.0.1'], 'mine', True),
    (['--no_display_server'], 'mine', False),
])
def test_options_make_a_board(train_options, aligned_root, tmp_path, monkeypatch, words, env, starts):
    monkeypatch.setattr(visdom_board, 'VisdomBoard', lambda *_, **arguments: arguments)
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', '--name', 'mine', *words)
    made = visdom_board.board_of(opt, tmp_path, print)
    assert made['env'] == env and (made['starter'] is not None) is starts
    assert (made['port'], made['ncols'], made['winsize'], made['log_axis']) == (8097, 4, 256, False)


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
