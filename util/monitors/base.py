"""The `Monitor` interface, and two wrappers that protect training from slow and failing monitors."""
import copy
import math
import threading
import time
from collections import deque
from collections.abc import Callable

from util.console import warn

MAX_QUEUED_RECORDS = 1000   # for a slow monitor; of queued images only the newest of each kind are kept
CLOSING_SECONDS = 5.0
INSTALL = {
    'visdom': 'install it with `python scripts/quickstart.py`, or with `PIP_CONSTRAINT=constraints-build.txt '
              'PIP_BUILD_CONSTRAINT=constraints-build.txt pip install -r requirements-visdom.txt`'}


class Monitor:
    """Shows a training run somewhere. What the methods are given must not change afterwards."""

    def losses(self, record: dict) -> None:
        """Show a line of losses.jsonl: epoch, iters, total_iters, lr, time, images_per_s, ..., losses {name: value}."""

    def metrics(self, record: dict) -> None:
        """Show a validation, a line of losses.jsonl: epoch, iters, total_iters, metrics {name: value or None}."""

    def images(self, progress, images: dict, kind: str) -> None:
        """Show images {label: (H, W, 3) uint8 array}.

        `kind` is 'train', or for the fixed images 'validation', 'test' or 'fixed_training', by where they are from.
        """

    def flush(self) -> None:
        """Send what the calls so far have collected. `Background` calls this after each batch of calls."""

    def close(self) -> None:
        """Send the rest, within seconds; later calls show nothing."""


class Guarded(Monitor):
    """A monitor that never raises: its first failure prints one line and switches it off."""

    def __init__(self, name: str, make: Callable[[], Monitor], notify: Callable[[str], None] = warn):
        self.name, self._notify = name, notify
        self._monitor: Monitor | None = None
        self._attempt(lambda: setattr(self, '_monitor', make()))

    def losses(self, record):
        if self._monitor:
            self._attempt(lambda: self._monitor.losses(record))

    def metrics(self, record):
        if self._monitor:
            self._attempt(lambda: self._monitor.metrics(record))

    def images(self, progress, images, kind):
        if self._monitor and images:
            self._attempt(lambda: self._monitor.images(progress, images, kind))

    def flush(self):
        if self._monitor:
            self._attempt(lambda: self._monitor.flush())

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
    """A monitor whose import and calls may take long: all of them run in a daemon thread, in the order of steps.

    The queue is bounded: a monitor that is too slow misses the oldest records and all but the newest images.
    interval: call `flush` at least this often, in seconds; None: only after other calls.
    closing_seconds: how long the end of a run waits for the rest to be shown; `late` is then printed if it is not.
    """

    def __init__(self, name: str, make: Callable[[], Monitor], notify: Callable[[str], None] = warn,
                 interval: float | None = None, closing_seconds: float | None = None, late: str = ''):
        self._make = lambda: Guarded(name, make, notify)
        self._interval, self._closing_seconds = interval, closing_seconds
        self._late, self._notify = late, notify
        self._waiting = threading.Condition()  # guards the next three; held for moments only
        self._records: deque = deque(maxlen=MAX_QUEUED_RECORDS)
        self._images: dict[str, tuple] = {}
        self._closing, self._deadline = False, math.inf
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def losses(self, record):
        with self._waiting:
            self._records.append(record)
            self._waiting.notify()

    metrics = losses

    def images(self, progress, images, kind):
        with self._waiting:
            self._images[kind] = copy.copy(progress), images  # training changes its own `progress`
            self._waiting.notify()

    def begin_closing(self):
        """Ask for the rest to be shown now, without waiting for it."""
        with self._waiting:
            if not self._closing:
                seconds = CLOSING_SECONDS if self._closing_seconds is None else self._closing_seconds
                self._closing, self._deadline = True, time.monotonic() + seconds
            self._waiting.notify()

    def close(self):
        self.begin_closing()
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        if self._thread.is_alive() and self._late:
            self._notify(self._late)

    def _work(self):
        monitor, closing = self._make(), False
        while not closing:
            records, images, closing = self._take()
            for _, show in sorted(calls(monitor, records, images), key=lambda call: call[0]):
                show()
            monitor.flush()
        monitor.close()

    def _take(self):
        with self._waiting:
            self._waiting.wait_for(lambda: self._records or self._images or self._closing, self._interval)
            taken = list(self._records), dict(self._images), self._closing
            self._records.clear()
            self._images.clear()
        return taken


def close_all(monitors: list[Background]):
    """Close all of them at the same time: the end of a run waits only for the slowest."""
    for monitor in monitors:
        monitor.begin_closing()
    for monitor in monitors:
        monitor.close()


def calls(monitor: Monitor, records: list, images: dict):
    """(step, call) for each of them."""
    for record in records:
        show = monitor.metrics if 'metrics' in record else monitor.losses
        yield record['total_iters'], lambda record=record, show=show: show(record)
    for kind, (progress, shown) in images.items():
        yield progress.total_iters, lambda shown=(progress, shown, kind): monitor.images(*shown)


def off_notice(name: str, error: Exception) -> str:
    """One line about a failure of any kind."""
    if isinstance(error, ImportError):
        return f'cannot import {name} ({error}); training continues without it; {install_hint(name)}'
    reason = ' '.join(str(error).split()) or type(error).__name__
    return f'{name} is switched off ({reason}); training continues without it'


def install_hint(name: str) -> str:
    return INSTALL.get(name, f'install it with `pip install {name}`')
