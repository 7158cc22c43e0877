"""The visdom board with a real server, none, a silent one and one that is killed; read back by plain HTTP."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from util import visdom_board
from util.visdom_board import CURVE_POINTS, Curve, VisdomBoard, html_table, image_grid, side_by_side

SERVER = Path(__file__).resolve().parents[1] / 'scripts' / 'visdom_server.py'
PATIENCE = 20.0


@pytest.fixture(scope='module')
def visdom():
    """The package, imported before anything is timed: it imports torch."""
    return pytest.importorskip('visdom', reason=f'visdom is not installed; {visdom_board.INSTALL}')


@pytest.fixture(scope='module')
def port(visdom, tmp_path_factory):
    number = free_port()
    with running_server(number, tmp_path_factory.mktemp('server')):
        yield number


@pytest.fixture
def board():
    """make(port, **arguments) -> board with its list of notices; closed at the end."""
    boards = []

    def make(port, **arguments):
        notices = []
        made = VisdomBoard('run', 'http://127.0.0.1', port, notify=notices.append, **arguments)
        boards.append(made)
        return made, notices

    yield make
    for made in boards:
        made.close(0.1)


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as probe:
        return probe.getsockname()[1]


def start_server(port, folder, *arguments):
    caches = dict.fromkeys(('XDG_CACHE_HOME', 'LOCALAPPDATA', 'HOME'), str(folder))
    options = ['--port', str(port), '--env_path', str(folder / 'env'), *arguments]
    with open(folder / 'log', 'ab') as log:
        command = [sys.executable, str(SERVER), *options]
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **caches})


@contextmanager
def running_server(port, folder):
    process = start_server(port, folder)
    try:
        eventually(lambda: post(port, 'env_state', {}) is not None, lambda: (folder / 'log').read_text())
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def answering(status):
    """Port of a web server that is no visdom."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(status)

        def log_message(self, *_):
            pass

    server = HTTPServer(('127.0.0.1', 0), Handler)
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


def window(port, name, env='main'):
    return post(port, 'win_data', {'win': name, 'eid': env})


def eventually(found, explain=lambda: ''):
    """What `found()` returns as soon as it is true; fails after PATIENCE seconds."""
    limit = time.monotonic() + PATIENCE
    while not (result := found()):
        assert time.monotonic() < limit, f'did not happen in {PATIENCE} s {explain()}'
        time.sleep(0.05)
    return result


def at(epoch, fraction=0.0):
    return SimpleNamespace(epoch=epoch, fraction=fraction, total_iters=0)


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


def test_losses_arrive_with_axes_legend_and_title(board, port, capfd):
    shown, notices = board(port)
    for index in range(1200):
        shown.losses(at(1 + index // 600, index % 600 / 600), {'G_GAN': 2.0, 'D': index / 600})
    shown.close()
    plot = window(port, '1')
    assert plot['title'] == 'run loss over time'
    assert [curve['name'] for curve in plot['content']['data']] == ['G_GAN', 'D']
    layout = plot['content']['layout']
    assert layout['showlegend']
    assert 'epoch' in str(layout['xaxis']['title']) and 'loss' in str(layout['yaxis']['title'])
    d = plot['content']['data'][1]
    assert len(d['x']) == 300
    np.testing.assert_allclose(np.array(d['x']) - 1, d['y'], atol=1e-9)
    np.testing.assert_allclose([d['x'][0], d['x'][-1]], [1 + 1.5 / 600, 1 + 1197.5 / 600])
    assert notices == []
    assert capfd.readouterr() == ('', '')


def test_images_arrive_as_a_jpeg_grid_with_a_table_of_labels(board, port):
    shown, notices = board(port, display_id=20, ncols=2, winsize=100)
    shown.images(at(1), {'real_A': plain(0), 'fake_B': plain(100), '<rec>': plain(200)})
    shown.close()
    grid = window(port, '21')
    assert (grid['title'], grid['width'], grid['height']) == ('run images', 200, 200 * 40 // 56)
    picture = decoded(grid)
    assert picture.shape == (40, 56, 3)
    centres = picture[[10, 10, 30, 30], [14, 42, 14, 42]]
    np.testing.assert_allclose(centres.mean(axis=1), [0, 100, 200, 255], atol=4)
    labels = window(port, '22')
    assert labels['title'] == 'run labels'
    assert labels['content'].count('<tr>') == 2
    assert '&lt;rec&gt;' in labels['content'] and 'real_A' in labels['content']
    assert notices == []


def test_without_columns_every_image_has_its_window_and_tables_keep_out_of_the_way(board, port):
    shown, notices = board(port, display_id=30, ncols=0, env='a/b')
    shown.images(at(1), {'real_A': plain(0), 'fake_B': plain(100)})
    shown.table('options', {'name': 'run', 'note': '<script>'})
    shown.close()
    assert [window(port, str(place), 'a_b')['title'] for place in (31, 32)] == ['real_A', 'fake_B']
    assert decoded(window(port, '32', 'a_b')).shape == (20, 28, 3)
    table = window(port, '30 options', 'a_b')
    assert table['title'] == 'options'
    assert '&lt;script&gt;' in table['content'] and '<script>' not in table['content']
    assert notices == []


def test_a_window_that_cannot_be_drawn_costs_a_notice_and_nothing_else(board, port):
    shown, notices = board(port, display_id=40)
    shown.images(at(1), {'bad': np.zeros((4, 4, 2), np.uint8)})
    shown.losses(at(1), {'G': 1.0})
    shown.close()
    assert window(port, '40')['content']['data'][0]['y'] == [1.0]
    assert len(notices) == 1 and notices[0].startswith('visdom window 41 cannot be drawn')


def test_without_a_server_one_notice(board, visdom, capfd):
    absent = free_port()
    shown, notices = board(absent, where='checkpoints/run/web/index.html')
    for index in range(5):
        shown.losses(at(index), {'G': 1.0})
    eventually(lambda: notices)
    time.sleep(2.2)
    assert notices == [
        f'visdom not reachable at http://127.0.0.1:{absent} - training goes on; curves are in '
        'checkpoints/run/web/index.html (--display_id -1 to silence)'
    ]
    assert capfd.readouterr() == ('', '')


def test_a_server_that_is_no_visdom_is_named(board, visdom):
    with answering(404) as other:
        shown, notices = board(other)
        shown.losses(at(1), {'G': 1.0})
        eventually(lambda: notices)
        shown.close()
    assert len(notices) == 1 and 'what runs there answers 404' in notices[0]


def slowest_call(shown):
    """Seconds of the slowest of 100 calls, spread over half a second."""
    visuals = {f'image {index}': np.zeros((256, 256, 3), np.uint8) for index in range(8)}
    seconds = []
    for index in range(100):
        start = time.perf_counter()
        shown.losses(at(index), {'G_A': 1.0, 'G_B': 2.0})
        shown.images(at(index), visuals)
        seconds.append(time.perf_counter() - start)
        time.sleep(0.005)
    return max(seconds)


def test_a_server_that_never_answers_does_not_hold_up_training(board, visdom):
    with socket.create_server(('127.0.0.1', 0)) as black_hole:
        shown, notices = board(black_hole.getsockname()[1])
        # The best of three: one round may have met other work of the machine, none may meet a blocking call.
        assert min(slowest_call(shown) for _ in range(3)) < 0.005
        start = time.monotonic()
        shown.close(0.2)
        assert time.monotonic() - start < 1
        assert notices == []


def test_a_server_that_never_answers_is_told_of_once(board, visdom, monkeypatch):
    monkeypatch.setattr(visdom_board, 'TIMEOUT', (0.1, 0.1))
    with socket.create_server(('127.0.0.1', 0)) as black_hole:
        shown, notices = board(black_hole.getsockname()[1])
        shown.losses(at(1), {'G': 1.0})
        time.sleep(2.5)
        shown.close()
    assert len(notices) == 1 and notices[0].startswith('visdom not reachable')


def test_a_restarted_server_gets_everything_again(board, visdom, tmp_path):
    number = free_port()
    with running_server(number, tmp_path):
        shown, notices = board(number)
        shown.table('options', {'name': 'run'})
        shown.losses(at(1), {'G': 5.0})
        eventually(lambda: window(number, '1') and window(number, '1 options'))
    shown.losses(at(2), {'G': 4.0})
    eventually(lambda: notices)
    with running_server(number, tmp_path):
        shown.losses(at(3), {'G': 3.0})
        curve = eventually(lambda: (window(number, '1') or {}).get('content'))['data'][0]
        assert (curve['x'], curve['y']) == ([1, 2, 3], [5, 4, 3])
        eventually(lambda: window(number, '1 options') and len(notices) == 2)
    assert notices[1].startswith(f'visdom reached at http://127.0.0.1:{number}')


def test_a_restart_between_two_flushes_is_noticed(board, port):
    """Closing all windows is what the client sees of it: the connection works and the windows are gone."""
    shown, notices = board(port, display_id=50, env='restart')
    shown.table('options', {'name': 'run'})
    shown.losses(at(1), {'G': 1.0})
    eventually(lambda: window(port, '50', 'restart'))
    shut = json.dumps({'eid': 'restart', 'win': None}).encode()
    urllib.request.urlopen(f'http://127.0.0.1:{port}/close', shut, timeout=5).close()
    assert window(port, '50 options', 'restart') is None
    shown.losses(at(2), {'G': 2.0})
    eventually(lambda: window(port, '50 options', 'restart'))
    assert notices == []


def test_a_server_that_comes_and_goes_does_not_fill_the_log(board, monkeypatch):
    class Flapping:
        """Every second connection fails; the others take the windows once."""

        connections = 0

        def __init__(self, **_):
            Flapping.connections += 1
            if Flapping.connections % 2:
                raise visdom_board.Unreachable('')

        def line(self, **_):
            pass

        def win_exists(self, _):
            raise visdom_board.Unreachable('')

    monkeypatch.setattr(visdom_board, 'client_class', lambda: Flapping)
    monkeypatch.setattr(visdom_board, 'FLUSH_SECONDS', 0.01)
    shown, notices = board(1)
    eventually(lambda: shown.losses(at(1), {'G': 1.0}) or Flapping.connections > 20)
    assert len(notices) == 2 * visdom_board.SAME_NOTICES


def test_without_the_package_one_notice_says_how_to_install_it(board, monkeypatch):
    monkeypatch.setitem(sys.modules, 'visdom', None)
    shown, notices = board(1)
    shown.losses(at(1), {'G': 1.0})
    eventually(lambda: notices)
    shown.images(at(1), {'real_A': plain(0)})
    shown.close()
    assert len(notices) == 1
    assert 'cannot be imported' in notices[0]
    assert 'python scripts/quickstart.py' in notices[0]
    assert 'PIP_BUILD_CONSTRAINT=constraints-build.txt pip install -r requirements-visdom.txt' in notices[0]


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
    [(['--port', '0'], '--port 0 is no port'), ([], 'port'), (['--env_path', __file__], '--env_path')],
    ids=['no port', 'port taken', 'no folder'],
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
        lines = (tmp_path / 'log').read_text().splitlines()
        assert len(lines) == 2
        assert f'http://localhost:{number}' in lines[0] and 'Ctrl-C' in lines[0]
        assert 'js/jquery.min.js' in lines[1] and 'the API works' in lines[1]
        if sys.platform == 'linux':
            assert 'libtorch' not in Path(f'/proc/{process.pid}/maps').read_text()


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
    train.main([str(word) for word in words])
    windows = post(port, 'win_data', {'eid': 'training', 'win': None}) or {}
    text = json.dumps(windows)
    assert all(part in text for part in ('shown loss over time', 'G_L1', 'shown images', 'data:image'))
