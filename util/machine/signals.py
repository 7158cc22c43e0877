"""Signals that ask a run to stop or to save.

A handler is never replaced by the default one (SIG_DFL): if a signal is pending at that moment, Python prints a
traceback.
"""
import atexit
import contextlib
import math
import multiprocessing.util  # registers its exit function before ours, so that it runs after ours
import os
import signal
import threading
import time

STOPPING = ('SIGINT', 'SIGTERM', 'SIGHUP')
DUPLICATE_SECONDS = 0.2     # signals this close together are one request: supervisors send TERM and HUP at once


class DeferredSave:
    """Handler of SIGUSR1 until `Signals` takes over: remembers that a save was requested."""

    def __init__(self):
        self.requested = False

    def __call__(self, _number, _frame):
        self.requested = True


def defer_sigusr1():
    """Keep SIGUSR1 from ending the program while it starts: one that arrives causes a save after the first step."""
    if hasattr(signal, 'SIGUSR1') and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, DeferredSave())


class Signals:
    """Inside `with`, the first INT, TERM or HUP sets `stop`; a second one, even after the `with`, exits at once.

    USR1, which a queue sends before its time limit, requests a save. Signals that the parent process ignores (nohup)
    stay ignored. `stop` is also set after `max_minutes` (0: never).
    """

    def __init__(self, max_minutes: float = 0):
        self.signal = None
        self.requested_at = None
        self.save_requested = False
        self.shared = False             # with several processes: `shared_reason` decides, so that all stop together
        self.shared_reason = ''
        self.previous_handlers = {}
        self.max_minutes = max_minutes
        self.deadline = time.monotonic() + 60 * max_minutes if max_minutes else math.inf

    def __enter__(self):
        for name in STOPPING:
            self.listen(name, self.on_stop)
        self.listen('SIGUSR1', self.on_save)
        for handler in self.previous_handlers.values():
            if isinstance(handler, DeferredSave) and handler.requested:
                self.save_requested = True
        return self

    def __exit__(self, *_):
        if self.requested_at is None:
            self.requested_at = -math.inf       # from here on, a single signal ends the program
            for number, handler in self.previous_handlers.items():
                if callable(handler):
                    signal.signal(number, handler)
        else:
            atexit.register(ignore_signals)     # Python is exiting: there is nothing left to interrupt

    def listen(self, name: str, handler):
        number = getattr(signal, name, None)    # Windows has neither HUP nor USR1
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            self.previous_handlers[number] = signal.signal(number, handler)

    def on_stop(self, number, _frame):
        now = time.monotonic()
        if self.requested_at is None:
            self.signal = signal.Signals(number)
            self.requested_at = now
        elif now - self.requested_at > DUPLICATE_SECONDS:
            exit_at_once(number)

    def on_save(self, _number, _frame):
        self.save_requested = True

    def take_save_request(self) -> bool:
        """True if a save was requested since the last call."""
        wanted = self.save_requested
        self.save_requested = False
        return wanted

    def agree(self, group, save: bool = False):
        """After each step, share requests: what one process was asked to do, all do. `save` requests a save."""
        self.save_requested = self.save_requested or save
        if group.size == 1:
            return
        self.shared = True
        requests = group.numbers(self.signal or 0, self.save_requested, time.monotonic() > self.deadline)
        numbers, saves, late = zip(*requests, strict=True)
        self.save_requested = self.save_requested or any(saves)
        if any(numbers):
            self.signal = signal.Signals(max(numbers))
        self.shared_reason = self.reason(any(numbers), any(late))

    def reason(self, signaled: bool, late: bool) -> str:
        if signaled:
            return self.signal.name
        return f'--max_minutes {self.max_minutes:g}' if late else ''

    @property
    def stop(self) -> str:
        """The reason to stop: a signal or --max_minutes; '' to continue."""
        if self.shared:
            return self.shared_reason
        return self.reason(bool(self.signal), time.monotonic() > self.deadline)

    @property
    def exit_code(self) -> int:
        """128 + signal number; 0 if --max_minutes is over."""
        return 128 + self.signal if self.signal and self.stop else 0


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C, with its exit code."""

    def __init__(self, number: int):
        super().__init__()
        self.exit_code = 128 + number


def stop_as_by_ctrl_c():
    """Make TERM and HUP raise an exception, as Ctrl-C does, so that every open `with` is closed properly."""
    def stop(number, _frame):
        raise Stopped(number)
    for number in (getattr(signal, name, None) for name in ('SIGTERM', 'SIGHUP')):
        if number and threading.current_thread() is threading.main_thread() and (
                signal.getsignal(number) == signal.SIG_DFL):
            signal.signal(number, stop)


def exit_at_once(number: int):
    """Exit without an exception, which nobody may catch. Files that were saved are intact."""
    end_workers()       # they would print errors about the lost main process
    with contextlib.suppress(OSError):
        os.write(2, b'interrupted\n')
    os._exit(128 + number)


def all_numbers() -> list[int]:
    return [getattr(signal, name) for name in (*STOPPING, 'SIGUSR1') if hasattr(signal, name)]


@contextlib.contextmanager
def signals_blocked():
    """Delay signals until the end of the `with`. For starting workers, which inherit our handlers."""
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, all_numbers())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def ignore_signals(_worker_id: int = 0):
    """For worker processes: a signal to the process group reaches them too, but the main process handles it."""
    for number in all_numbers():
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, all_numbers())


def after_pause(function):
    """Call `function()` when the program continues after SIGSTOP or Ctrl-Z. Replaces an earlier one; not on Windows."""
    if hasattr(signal, 'SIGCONT') and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCONT, lambda *_: function())


@atexit.register
def end_workers():
    """Kill the workers: they ignore the SIGTERM that Python sends them at exit, and it would wait for ever."""
    workers = multiprocessing.active_children()
    if workers and hasattr(signal, 'SIGCHLD'):
        signal.signal(signal.SIGCHLD, lambda *_: None)      # PyTorch's handler would raise an error
    for worker in workers:
        worker.kill()
