"""The visdom monitor with a real server, none, a silent one and one that is killed; read back by plain HTTP."""

import gc
import json
import socket
import sys
import time
import urllib.error
import urllib.request
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from util.cli import run as run_tool
from util.console import Console
from util.images import LABEL_HEIGHT, image_grid
from util.monitors import create, visdom_server
from util.monitors import visdom as visdom_monitor
from util.monitors.visdom import columns_of, has_lone_points, html_table
from util.monitors.visdom_server import Unreachable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'scripts'))

import replay_visdom
from visdom_runs import (
    Run,
    answering,
    decoded,
    dripping,
    endless,
    eventually,
    free_port,
    own_home,
    plain,
    port,
    post,
    report,
    running_server,
    start,
    stops,
    visdom,
    window,
)


def test_the_grid_is_white_around_images_of_any_size_and_their_labels():
    grid = image_grid({'a': plain(10, 4, 60), 'größe': plain(20, 8, 50), 'c': plain(30, 100, 400)}, 2, 64)
    height, width = 2 * (LABEL_HEIGHT + 16 + 4), 2 * (64 + 4)   # the third is shrunk to 16 x 64
    assert (grid.shape, grid.dtype) == ((height, width, 3), np.uint8)
    top = LABEL_HEIGHT + 2
    assert (grid[top:top + 4, 2:62] == 10).all() and (grid[top:top + 8, 70:120] == 20).all()
    row = LABEL_HEIGHT + 16 + 4
    assert (grid[top + row:top + row + 16, 2:66] == 30).all() and (grid[row:, 68:] == 255).all()
    assert grid[2:top, 2:66].min() < 100 and (grid[:, :2] == 255).all()     # the label


def test_the_pixels_of_small_images_become_squares():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    grid = image_grid({'': pixels}, 1, 20)          # 6 times as large: 20 // 3
    shown = grid[2 + LABEL_HEIGHT:2 + LABEL_HEIGHT + 12, 2:20]
    np.testing.assert_array_equal(shown, pixels.repeat(6, 0).repeat(6, 1))


@pytest.mark.parametrize('labels, examples, most, columns', [
    (2, 1, 4, 2), (3, 1, 4, 3), (8, 1, 4, 4), (6, 1, 4, 3), (5, 1, 4, 5), (3, 4, 4, 3), (3, 4, 6, 6), (3, 4, 8, 6),
    (6, 3, 4, 3), (2, 2, 100, 4), (7, 1, 1, 1)])
def test_an_example_has_whole_rows(labels, examples, most, columns):
    names = [f'x{label}' + (f' {example}' if examples > 1 else '') for example in range(examples)
             for label in range(labels)]
    assert columns_of(names, most) == columns


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


def test_metrics_have_a_window_each_with_gaps_and_without_standard_errors(start, port):
    run = start(port, env='metrics')
    for epoch, values in enumerate((dict(kid=0.5, kid_se=0.1, l1=3.0), dict(kid=None, kid_se=0.1, l1=2.0),
                                    dict(kid=0.25, kid_se=0.1, l1=1.0)), 1):
        run.queue.metrics(dict(epoch=epoch, iters=10, total_iters=10 * epoch, epoch_size=10, metrics=values))
    assert run.close()
    assert {*post(port, 'win_data', {'eid': 'metrics', 'win': None})} == {'metric kid', 'metric l1'}
    curve, = window(port, 'metric l1', 'metrics')['content']['data']
    assert (curve['x'], curve['y']) == ([2, 3, 4], [3, 2, 1])
    curve, = window(port, 'metric kid', 'metrics')['content']['data']
    assert [value for value in curve['y'] if value is not None] == [0.5, 0.25]


@pytest.mark.parametrize('image, lr_range', [(1, (0, 0.2)), (10, (0, 0.02))])
def test_a_single_point_is_visible(start, port, image, lr_range):
    """It has a marker, and axes around it: plotly draws 0.0001 at the zero of an axis from -1 to 1."""
    run = start(port, env=f'point{image}')
    run.loss(image, G=1.0, D=2.0)
    assert run.close()
    for name in ('loss', 'lr'):
        shown = window(port, name, f'point{image}')['content']
        assert all('markers' in curve['mode'] for curve in shown['data'])
        low, high = shown['layout']['xaxis']['range']
        assert low < image < high
        assert shown['layout']['title'] == '' and shown['layout']['margin']['t'] >= 40     # below the tool bar
    assert shown['layout']['yaxis']['range'] == pytest.approx(lr_range)


def test_isolated_points_are_found():
    curves = np.array([[1.0, np.nan, 1.0, 1.0], [1.0, 1.0, np.nan, 2.0]]).T
    assert not has_lone_points(curves[2:, :1]) and not has_lone_points(curves[:2, 1:])
    assert has_lone_points(curves[:, :1]) and has_lone_points(curves[:, 1:]) and has_lone_points(curves[:1])


def test_given_options_come_first_and_the_window_has_room_for_all(start, port):
    def shown(env, count):
        run = start(port, env=env, options={f'option_{index}': index for index in range(count)}, given={'option_7'})
        run.loss(1, G=1.0)
        run.images({'real_A': plain(0)})
        assert run.close()
        return window(port, 'options', env)

    few, many = shown('few', 10), shown('many', 130)
    positions = [many['content'].index(f'option_{index}') for index in (7, 0, 129)]
    assert positions == sorted(positions) and many['content'].count('<tr>') == 1
    assert many['height'] - few['height'] >= 15 * (129 // 3 - 9 // 3)


def test_images_arrive_as_a_jpeg_grid_with_labels(start, port):
    run = start(port, columns=2, image_width=100, env='grid')
    run.images({'real_A': plain(0, 16, 60), 'fake_B': plain(100, 16, 60), '<rec>': plain(200, 16, 60)})
    run.images({'fake_B 0': plain(50, 16, 60)}, 'validation')
    assert run.close()
    grid = window(port, 'images', 'grid')
    height, width = 16 + LABEL_HEIGHT + 4, 3 * (60 + 4)     # not 2 columns: an example has whole rows
    assert (grid['title'], grid['width']) == ('run images', width) and grid['height'] > height
    assert grid['content']['caption'] == 'epoch 1, image 100'
    picture = decoded(grid)
    assert picture.shape == (height, width, 3)
    np.testing.assert_allclose(picture[LABEL_HEIGHT + 10, [32, 96, 160]].mean(axis=1), [0, 100, 200], atol=4)
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


@pytest.mark.sample(1)
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
        run.images({'real_A': plain(0)})
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
    run.images({'real_A': plain(0)})
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
    validation = dict(epoch=1, iters=3, total_iters=3, epoch_size=3, metrics=dict(l1=7.0, l1_se=1.0))
    with open(folder / 'losses.jsonl', 'a') as log:
        log.write(f'\n{json.dumps(validation)}\n')
    assert replay(folder, port) == 0
    assert window(port, 'metric l1', 'finished')['content']['data'][0]['y'] == [7.0]
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
