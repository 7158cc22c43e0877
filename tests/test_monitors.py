"""Monitors that fail, block or are missing: training and the other monitors are not affected."""

import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from models.training.progress import Progress
from util.errors import UserError
from util.monitors import base, create
from util.monitors.base import Background, Guarded, Monitor
from util.monitors.create import chosen, create_monitors

PIXELS = np.zeros((2, 2, 3), np.uint8)


def record(image):
    return {'epoch': 1, 'total_iters': image, 'losses': {'G': 1.0}}


class Recorder(Monitor):
    def __init__(self):
        self.calls = []

    def losses(self, record):
        self.calls.append(('losses', record['total_iters']))

    def metrics(self, record):
        self.calls.append(('metrics', record['total_iters']))

    def images(self, progress, pictures, kind):
        self.calls.append((kind, progress.total_iters))

    def close(self):
        self.calls.append('close')


class Failing(Monitor):
    def losses(self, record):
        raise OSError('network\ngone')


def missing():
    raise ImportError('No module named nothing')


@pytest.fixture(params=[Guarded, Background])
def wrapper(request):
    return request.param


def test_calls_arrive_in_the_order_of_steps(wrapper):
    target, notices = Recorder(), []
    monitor, progress = wrapper('x', lambda: target, notices.append), Progress(total_iters=10)
    monitor.losses(record(5))
    monitor.images(progress, {'real_A': PIXELS}, 'train')
    monitor.losses(record(20))
    monitor.metrics({'epoch': 1, 'total_iters': 20, 'metrics': {'l1': 1.0}})
    monitor.close()
    assert target.calls == [('losses', 5), ('train', 10), ('losses', 20), ('metrics', 20), 'close'] and notices == []


def test_a_failure_switches_a_monitor_off_with_one_line(wrapper):
    notices = []
    monitor = wrapper('x', Failing, notices.append)
    for image in range(5):
        monitor.losses(record(image))
    monitor.images(Progress(), {'real_A': PIXELS}, 'train')
    monitor.close()
    monitor.losses(record(6))
    assert len(notices) == 1 and notices[0].startswith('x ') and '(network gone)' in notices[0]


def test_a_missing_package_is_one_line_that_says_how_to_install_it(wrapper):
    notices = []
    monitor = wrapper('tensorboard', missing, notices.append)
    monitor.losses(record(1))
    monitor.close()
    assert len(notices) == 1 and 'pip install tensorboard' in notices[0]


def test_after_close_nothing_is_shown():
    target = Recorder()
    monitor = Guarded('x', lambda: target)
    monitor.close()
    monitor.losses(record(1))
    monitor.close()
    assert target.calls == ['close']


def test_the_queue_of_a_blocked_monitor_is_bounded_and_keeps_the_newest(monkeypatch):
    monkeypatch.setattr(base, 'CLOSING_SECONDS', 0.1)
    begun, gate, done, target = threading.Event(), threading.Event(), threading.Event(), Recorder()

    class Blocked(Recorder):
        def losses(self, record):
            begun.set()
            gate.wait(20)
            target.losses(record)

        def images(self, progress, pictures, kind):
            target.images(progress, pictures, kind)

        def close(self):
            done.set()

    monitor, progress = Background('x', Blocked), Progress()
    monitor.losses(record(0))
    assert begun.wait(20)
    for image in range(1, 3001):
        progress.total_iters = image
        monitor.losses(record(image))
        monitor.images(progress, {'real_A': PIXELS}, 'train')
    monitor.close()     # returns although the monitor is blocked
    progress.total_iters = 0
    gate.set()
    assert done.wait(20)
    shown = [call for call in target.calls if call[0] == 'losses']
    assert shown == [('losses', 0), *(('losses', image) for image in range(2001, 3001))]
    assert [call for call in target.calls if call[0] == 'train'] == [('train', 3000)]


def test_flush_follows_each_batch_of_calls_and_the_interval():
    flushed, target = threading.Semaphore(0), Recorder()
    target.flush = flushed.release
    monitor = Background('x', lambda: target, interval=0.01)
    for _ in range(3):
        assert flushed.acquire(timeout=20)
    monitor.losses(record(1))
    monitor.close()
    assert target.calls == [('losses', 1), 'close']


def test_close_waits_for_a_monitor_that_is_being_made():
    gate, target, notices = threading.Event(), Recorder(), []

    def make():
        gate.wait(20)
        return target

    monitor = Background('x', make, notices.append, closing_seconds=20.0, late='late')
    monitor.losses(record(1))
    threading.Timer(0.3, gate.set).start()
    monitor.close()
    assert target.calls == [('losses', 1), 'close'] and notices == []


def test_all_monitors_together_are_waited_for_as_long_as_one():
    """`late` is printed for those that have not shown everything."""
    gate, notices, closing = threading.Event(), [], []

    class Slow(Recorder):
        def close(self):
            closing.append(self)
            gate.wait(20)

    targets = [Slow(), Slow(), Recorder()]
    monitors = [Background('x', lambda target=target: target, notices.append, closing_seconds=0.4, late=f'late {index}')
                for index, target in enumerate(targets)]
    for monitor in monitors:
        monitor.losses(record(1))
    start = time.monotonic()
    base.close_all(monitors)
    waited = time.monotonic() - start
    gate.set()
    assert waited < 2 * 0.4 or len(closing) == 2        # a busy machine may take long, but not for one after another
    assert sorted(notices) == ['late 0', 'late 1'] and targets[2].calls == [('losses', 1), 'close']


def test_the_end_of_a_run_waits_3_seconds_for_visdom(tmp_path, monkeypatch):
    """Whatever its server does: here it is never found. One line says how to show the run later."""
    gate, notices = threading.Event(), []
    monkeypatch.setattr(create, 'visdom_settings', lambda *_: gate.wait(20))
    monitor, = create_monitors(options('visdom', name='run', given={'checkpoints_dir'}, checkpoints_dir=str(tmp_path),
                                       as_dict=lambda: {}), tmp_path, notices.append)
    assert monitor._closing_seconds <= 3.0
    monitor._closing_seconds = 0.1
    base.close_all([monitor])
    gate.set()
    assert len(notices) == 1 and f'scripts/replay_visdom.py run --checkpoints_dir {tmp_path}' in notices[0]


# ---- selection

def options(monitor, display_id=1, use_wandb=False, **more):
    return SimpleNamespace(monitor=monitor, display_id=display_id, use_wandb=use_wandb, **more)


@pytest.mark.parametrize(('opt', 'expected'), [
    (options('visdom'), ['visdom']), (options('visdom', display_id=0), []), (options('none'), []),
    (options('none', use_wandb=True), ['wandb']), (options('visdom,wandb', use_wandb=True), ['visdom', 'wandb']),
    (options('wandb,tensorboard', display_id=-1), ['tensorboard', 'wandb']),
    (options('tensorboard'), ['tensorboard']),
])
def test_options_select_monitors(opt, expected):
    assert chosen(opt) == expected


def test_the_command_line_selects_monitors(train_options, aligned_root):
    def monitor_of(*words):
        return train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32',
                             *words).monitor
    assert monitor_of() == 'visdom'
    assert monitor_of('--monitor', 'tensorboard, wandb') == 'tensorboard,wandb'
    for wrong, complaint in (('visdon', 'visdon does not exist'), ('none,visdom', 'none alone'), (',', 'names')):
        with pytest.raises(UserError, match=f'--monitor.*{complaint}'):
            monitor_of('--monitor', wrong)


def test_without_the_packages_there_is_one_line_for_each(monkeypatch, tmp_path):
    for name in ('visdom', 'wandb', 'torch.utils.tensorboard'):
        monkeypatch.setitem(sys.modules, name, None)
    opt = options('visdom,tensorboard,wandb', name='run', wandb_project_name='p', given=(), display_env='main',
                  display_server='localhost', display_port=1, display_ncols=4, display_winsize=256, display_log=False,
                  no_display_server=True, display_stop_server=False, visdom_assets='', as_dict=dict)
    notices = []
    made = create_monitors(opt, tmp_path, notices.append)
    for monitor in made:
        monitor.losses(record(1))
        monitor.images(Progress(), {'real_A': PIXELS}, 'train')
        monitor.close()
    assert len(made) == 3 and len(notices) == 3
    assert all('import' in notice and 'install' in notice for notice in notices)


def test_one_that_fails_leaves_the_others_alone(monkeypatch, tmp_path):
    target, notices = Recorder(), []
    monkeypatch.setattr(create, 'tensorboard', lambda *_: Guarded('tensorboard', Failing, notices.append))
    monkeypatch.setattr(create, 'wandb', lambda *_: Guarded('wandb', lambda: target, notices.append))
    made = create_monitors(options('tensorboard,wandb'), tmp_path, notices.append)
    for image in (1, 2):
        for monitor in made:
            monitor.losses(record(image))
    assert target.calls == [('losses', 1), ('losses', 2)] and len(notices) == 1
