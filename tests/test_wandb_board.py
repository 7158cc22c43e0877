"""The wandb monitor with a fake package that records the calls, and with the package if it is installed."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from util.monitors.base import Background
from util.monitors.wandb import WandbMonitor, has_key

PIXELS = np.zeros((4, 6, 3), np.uint8)
RECORD = {'epoch': 2, 'iters': 40, 'total_iters': 640, 'lr': 0.1, 'images_per_s': 3.0, 'losses': {'G_GAN': 1.5}}
AT = SimpleNamespace(epoch=2, total_iters=640)


class FakeRun:
    def __init__(self):
        self.logged, self.finished = [], 0

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished += 1


class FakeWandb:
    def __init__(self):
        self.run, self.arguments = FakeRun(), None

    def init(self, **arguments):
        self.arguments = arguments
        return self.run

    def Settings(self, **settings):
        return settings

    def Image(self, pixels, caption):
        return pixels, caption


@pytest.fixture(autouse=True)
def no_key(monkeypatch, tmp_path):
    for name in ('WANDB_API_KEY', 'WANDB_MODE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))


@pytest.fixture
def start(monkeypatch, tmp_path):
    """start(package) -> monitor, notices."""
    def make(package):
        monkeypatch.setitem(sys.modules, 'wandb', package)
        notices = []
        return WandbMonitor('project', 'run', {'lr': 0.1}, tmp_path, notices.append), notices
    return make


def test_losses_and_images_are_logged_at_the_image_count(start, monkeypatch, tmp_path):
    monkeypatch.setenv('WANDB_API_KEY', 'x' * 40)
    wandb = FakeWandb()
    monitor, notices = start(wandb)
    monitor.losses(RECORD)
    monitor.images(AT, {'real_A': PIXELS}, 'train')
    monitor.images(AT, {'fake_B 0': PIXELS}, 'validation')
    monitor.close()
    settings = wandb.arguments.pop('settings')
    assert wandb.arguments == {'project': 'project', 'name': 'run', 'config': {'lr': 0.1}, 'dir': str(tmp_path),
                               'mode': None}
    assert settings == {'console': 'off', 'silent': True}
    assert wandb.run.logged == [
        (640, {'G_GAN': 1.5, 'epoch': 2, 'lr': 0.1, 'images_per_s': 3.0}),
        (640, {'results/real_A': (PIXELS, 'real_A')}),
        (640, {'validation/fake_B 0': (PIXELS, 'fake_B 0')})]
    assert wandb.run.finished == 1 and notices == []


def test_metrics_are_logged_without_those_that_are_not_finite(start):
    wandb = FakeWandb()
    monitor, _ = start(wandb)
    monitor.metrics(dict(epoch=1, total_iters=640, metrics=dict(kid=0.5, fid=None, l1=2.0)))
    assert wandb.run.logged == [(640, {'metric/kid': 0.5, 'metric/l1': 2.0})]


def test_without_a_key_it_stays_offline_and_says_where(start, tmp_path):
    wandb = FakeWandb()
    _, notices = start(wandb)
    assert wandb.arguments['mode'] == 'offline'
    assert len(notices) == 1 and str(tmp_path) in notices[0] and 'wandb sync' in notices[0]


def test_a_mode_of_the_user_is_kept(start, monkeypatch):
    monkeypatch.setenv('WANDB_MODE', 'disabled')
    wandb = FakeWandb()
    _, notices = start(wandb)
    assert wandb.arguments['mode'] is None and notices == []


@pytest.mark.parametrize(('text', 'found'), [
    ('machine api.wandb.ai login user password ' + 'x' * 40, True),
    ('machine example.org login user password secret', False), ('machine', False)])
def test_a_key_of_wandb_login_is_found(tmp_path, text, found):
    (tmp_path / 'netrc').write_text(text + '\n')
    (tmp_path / 'netrc').chmod(0o600)
    assert has_key() is found


def test_the_package_itself_writes_a_run_offline(tmp_path):
    pytest.importorskip('wandb', reason='wandb is not installed; pip install wandb')
    notices = []
    monitor = Background('wandb', lambda: WandbMonitor('project', 'run', {'lr': 0.1}, tmp_path, notices.append),
                         notices.append, closing_seconds=60.0)
    monitor.losses(RECORD)
    monitor.images(AT, {'real_A': PIXELS}, 'train')
    monitor.metrics(dict(epoch=1, total_iters=640, metrics=dict(kid=0.5)))
    monitor.close()
    files = [path for path in tmp_path.rglob('*.wandb') if path.stat().st_size]
    content = files[0].read_bytes()
    assert len(files) == 1 and b'G_GAN' in content and b'metric/kid' in content
    assert len(notices) == 1 and str(tmp_path) in notices[0]
