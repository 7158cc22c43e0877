"""Other programs that show a run while it trains: visdom, TensorBoard, Weights & Biases, in any combination."""

import copy
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from util.console import warn

NAMES = ('visdom', 'tensorboard', 'wandb')
MOST_RECORDS = 1000  # that wait for a slow monitor; of pictures only the newest of each kind wait
CLOSING_SECONDS = 5.0


class Monitor:
    """What a training run tells its monitors. Every method returns at once; what it is given must not change later."""

    def losses(self, record: dict) -> None:
        """A line of losses.jsonl: epoch, iters, total_iters, lr, time, images_per_s, ..., losses {name: value}."""

    def images(self, progress, pictures: dict, kind: str) -> None:
        """Pictures {label: H x W x 3 uint8 array} of the `kind` train or validation."""

    def close(self) -> None:
        """Bring out what is left, within seconds; nothing is shown afterwards."""


class Guarded(Monitor):
    """A monitor that switches itself off at its first failure, with one line, and never raises."""

    def __init__(self, name: str, make: Callable[[], Monitor], notify: Callable[[str], None] = warn):
        self.name, self._notify, self._monitor = name, notify, None
        self._attempt(lambda: setattr(self, '_monitor', make()))

    def losses(self, record):
        if self._monitor:
            self._attempt(lambda: self._monitor.losses(record))

    def images(self, progress, pictures, kind):
        if self._monitor and pictures:
            self._attempt(lambda: self._monitor.images(progress, pictures, kind))

    def close(self):
        if self._monitor:
            self._attempt(lambda: self._monitor.close())
        self._monitor = None

    def _attempt(self, action):
        try:
            action()
        except Exception as error:
            self._monitor = None
            self._notify(off_notice(self.name, error))


class Background(Monitor):
    """A monitor whose import and calls may take long: all of them happen in a daemon thread, in the order of steps.

    What waits is bounded: a monitor that is too slow misses the oldest records and all but the newest pictures.
    """

    def __init__(self, name: str, make: Callable[[], Monitor], notify: Callable[[str], None] = warn):
        self._make = lambda: Guarded(name, make, notify)
        self._waiting = threading.Condition()  # guards the next three; held for moments only
        self._records: deque = deque(maxlen=MOST_RECORDS)
        self._pictures: dict[str, tuple] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def losses(self, record):
        with self._waiting:
            self._records.append(record)
            self._waiting.notify()

    def images(self, progress, pictures, kind):
        with self._waiting:
            self._pictures[kind] = copy.copy(progress), pictures  # training counts on
            self._waiting.notify()

    def close(self):
        with self._waiting:
            self._closing = True
            self._waiting.notify()
        self._thread.join(CLOSING_SECONDS)

    def _work(self):
        monitor, closing = self._make(), False
        while not closing:
            records, pictures, closing = self._take()
            for _, show in sorted(calls(monitor, records, pictures), key=lambda call: call[0]):
                show()
        monitor.close()

    def _take(self):
        with self._waiting:
            while not (self._records or self._pictures or self._closing):
                self._waiting.wait()
            taken = list(self._records), dict(self._pictures), self._closing
            self._records.clear()
            self._pictures.clear()
        return taken


def calls(monitor: Monitor, records: list, pictures: dict):
    """(step, call) for all of them."""
    for record in records:
        yield record['total_iters'], lambda record=record: monitor.losses(record)
    for kind, (progress, shown) in pictures.items():
        yield progress.total_iters, lambda shown=(progress, shown, kind): monitor.images(*shown)


def off_notice(name: str, error: Exception) -> str:
    """One line for a failure of any kind."""
    if isinstance(error, ImportError):
        return f'{name} cannot be imported ({error}) - training goes on without it; {install(name)}'
    reason = ' '.join(str(error).split()) or type(error).__name__
    return f'{name} switched off ({reason}) - training goes on without it'


def install(name: str) -> str:
    if name == 'visdom':
        from util.monitors.visdom_assets import INSTALL
        return INSTALL
    return f'`pip install {name}` installs it'


# ---- which of them

def chosen(opt) -> list[str]:
    """The monitors that the options of train.py ask for, each once."""
    names = [name.strip() for name in opt.monitor.split(',')] + ['wandb'] * opt.use_wandb
    off = {'visdom'} if opt.display_id <= 0 else set()
    return [name for name in NAMES if name in names and name not in off]


def create_monitors(opt, folder: Path, notify: Callable[[str], None] = warn) -> list[Monitor]:
    """The monitors of a run in `folder`. None of them ever raises, waits for a network or holds up a step."""
    makers = {'visdom': visdom, 'tensorboard': tensorboard, 'wandb': wandb}
    return [makers[name](opt, Path(folder), notify) for name in chosen(opt)]


def visdom(opt, folder, notify):
    def make():
        from util.monitors.visdom_board import board_of
        return board_of(opt, folder, notify)
    return Guarded('visdom', make, notify)      # it has a thread of its own


def tensorboard(opt, folder, notify):
    def make():
        from util.monitors.tensorboard import TensorboardBoard
        return TensorboardBoard(folder / 'tensorboard')
    return Background('tensorboard', make, notify)


def wandb(opt, folder, notify):
    def make():
        from util.monitors.wandb import WandbBoard
        return WandbBoard(opt.wandb_project_name, opt.name, opt.as_dict(), folder, notify)
    return Background('wandb', make, notify)
