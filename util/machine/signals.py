"""Being asked to stop: finish the step, save, and say how to go on.

A signal that has arrived must find a function of Python: where the default handler was set meanwhile, Python shows a
traceback. So no function here is ever exchanged for it.
"""
import atexit
import contextlib
import math
import multiprocessing.util  # its exit function must be registered before ours, to run after it
import os
import signal
import threading
import time

STOPPING = ('SIGINT', 'SIGTERM', 'SIGHUP')
SECONDS_OF_ONE_REQUEST = 0.2    # a supervisor sends TERM and HUP, or TERM and INT, together
early_saves = []        # USR1 before `Signals` listened


def hold_saves():
    """USR1 no longer ends this program: until `Signals` listens it is noted, and leads to a save at the first step."""
    if hasattr(signal, 'SIGUSR1') and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, lambda number, _frame: early_saves.append(number))


class Signals:
    """Inside `with`, the first INT, TERM or HUP is only noted; a second one, also after the `with`, ends at once.

    USR1, which a queue sends before its time limit, asks for a save. A signal that the parent chose to ignore
    (nohup) stays ignored. After `max_minutes` (0: never) the run is asked to stop too.
    """

    def __init__(self, max_minutes: float = 0):
        self.signal = self.asked_at = None
        self.together, self.decided = False, ''     # of several processes, which stop after the same step
        self.usr1 = False
        self.before = {}
        self.minutes = max_minutes
        self.deadline = time.monotonic() + 60 * max_minutes if max_minutes else math.inf

    def __enter__(self):
        for name in STOPPING:
            self.listen(name, self.note_stop)
        self.listen('SIGUSR1', self.note_save)
        self.usr1 = self.usr1 or bool(early_saves)
        return self

    def __exit__(self, *_):
        if self.asked_at is None:
            self.asked_at = -math.inf       # from here on one signal is enough
            for number, handler in self.before.items():
                if callable(handler):
                    signal.signal(number, handler)
        else:
            atexit.register(leave_to_main_process)      # python is ending: nothing is left to be interrupted

    def listen(self, name: str, handler):
        number = getattr(signal, name, None)    # Windows has neither HUP nor USR1
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            self.before[number] = signal.signal(number, handler)

    def note_stop(self, number, _frame):
        now = time.monotonic()
        if self.asked_at is None:
            self.signal, self.asked_at = signal.Signals(number), now
        elif now - self.asked_at > SECONDS_OF_ONE_REQUEST:
            end_at_once(number)

    def note_save(self, _number, _frame):
        self.usr1 = True

    def save_wanted(self) -> bool:
        """Was a save asked for since the last question?"""
        wanted, self.usr1 = self.usr1, False
        return wanted

    def agree(self, group, save: bool = False):
        """After each step: what one of the processes was asked to do, all of them do. `save`: it is time for it."""
        self.usr1 = self.usr1 or save
        if group.size == 1:
            return
        self.together = True
        told = group.numbers(self.signal or 0, self.usr1, time.monotonic() > self.deadline)
        numbers, saves, late = zip(*told, strict=True)
        self.usr1 = self.usr1 or any(saves)
        if any(numbers):
            self.signal = signal.Signals(max(numbers))
        self.decided = self.signal.name if any(numbers) else f'--max_minutes {self.minutes:g}' if any(late) else ''

    @property
    def stop(self) -> str:
        """Why the run is to stop; '' if it is not."""
        if self.together:
            return self.decided
        if self.signal:
            return self.signal.name
        return f'--max_minutes {self.minutes:g}' if time.monotonic() > self.deadline else ''

    @property
    def exit_code(self) -> int:
        """128 + the number of the signal; 0 where time was up, as was asked for."""
        return 128 + self.signal if self.signal and self.stop else 0


class Stopped(KeyboardInterrupt):
    """Another signal than Ctrl-C, with the exit code that belongs to it."""

    def __init__(self, number: int):
        super().__init__()
        self.exit_code = 128 + number


def stop_as_by_ctrl_c():
    """TERM and HUP leave every `with` that is open, so that what is under way can be left in order."""
    def stop(number, _frame):
        raise Stopped(number)
    for number in (getattr(signal, name, None) for name in ('SIGTERM', 'SIGHUP')):
        if number and threading.current_thread() is threading.main_thread() and (
                signal.getsignal(number) == signal.SIG_DFL):
            signal.signal(number, stop)


def end_at_once(number: int):
    """Wherever the program is: no exception, as it could come where nobody catches it. What was saved is intact."""
    end_workers()       # which would tell that we are gone
    with contextlib.suppress(OSError):
        os.write(2, b'interrupted\n')
    os._exit(128 + number)


def all_numbers() -> list[int]:
    return [getattr(signal, name) for name in (*STOPPING, 'SIGUSR1') if hasattr(signal, name)]


@contextlib.contextmanager
def held_back():
    """Signals wait until the end of the `with`; for the start of workers, which would do with them what we do."""
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, all_numbers())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_main_process(_worker_id: int = 0):
    """For worker processes: a signal to the whole group reaches them too, but the main process decides."""
    for number in all_numbers():
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, all_numbers())


def after_pause(function):
    """`function()` is called when the program goes on after SIGSTOP or Ctrl-Z; the last one given, not on Windows."""
    if hasattr(signal, 'SIGCONT') and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCONT, lambda *_: function())


@atexit.register
def end_workers():
    """Workers do not hear SIGTERM, by which python ends those that are left at its exit: it would wait for ever."""
    workers = multiprocessing.active_children()
    if workers and hasattr(signal, 'SIGCHLD'):
        signal.signal(signal.SIGCHLD, lambda *_: None)      # torch's handler would call their end an error
    for worker in workers:
        worker.kill()
