"""The wandb board against a stand-in for the package that records the calls."""

import sys
from types import SimpleNamespace

import numpy as np

from util.wandb_board import WandbBoard

PIXELS = np.zeros((4, 6, 3), np.uint8)


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

    def Image(self, pixels, caption):
        return pixels, caption


def fail(*_, **__):
    raise OSError('network\ngone')


def start(monkeypatch, wandb):
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    notices = []
    return WandbBoard('project', 'run', {'lr': 0.1}, notify=notices.append), notices


def use(board):
    progress = SimpleNamespace(epoch=2, fraction=0.5, total_iters=640)
    board.losses(progress, {'G_GAN': 1.5})
    board.images(progress, {'real_A': PIXELS})


def test_losses_and_images_are_logged_at_the_image_count(monkeypatch):
    wandb = FakeWandb()
    board, notices = start(monkeypatch, wandb)
    use(board)
    assert wandb.arguments == {'project': 'project', 'name': 'run', 'config': {'lr': 0.1}}
    losses, images = wandb.run.logged
    assert losses == (640, {'G_GAN': 1.5})
    assert images == (640, {'results/real_A': (PIXELS, 'real_A')})
    assert notices == []


def test_close_finishes_the_run_once_and_ends_the_logging(monkeypatch):
    wandb = FakeWandb()
    board, notices = start(monkeypatch, wandb)
    board.close()
    board.close()
    use(board)
    assert (wandb.run.finished, wandb.run.logged, notices) == (1, [], [])


def test_a_failure_switches_the_board_off_in_one_line(monkeypatch):
    wandb = FakeWandb()
    wandb.run.log = fail
    board, notices = start(monkeypatch, wandb)
    use(board)
    use(board)
    board.close()
    assert notices == ['wandb switched off (network gone) - training goes on without it']


def test_a_failing_start_is_told_and_not_raised(monkeypatch):
    wandb = FakeWandb()
    wandb.init = fail
    board, notices = start(monkeypatch, wandb)
    use(board)
    assert notices == ['wandb switched off (network gone) - training goes on without it']


def test_without_the_package_one_notice_says_how_to_install_it(monkeypatch):
    board, notices = start(monkeypatch, None)
    use(board)
    board.close()
    assert len(notices) == 1 and '`pip install wandb` installs it' in notices[0]
