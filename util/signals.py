"""Being asked to stop: finish the step, save, and say how to go on."""
import atexit
import math
import multiprocessing.util  # its exit function must be registered before ours, to run after it
import signal
import time

STOPPING = ('SIGINT', 'SIGTERM', 'SIGHUP')
early_saves = []        # USR1 before `Signals` listened


def hold_saves():
    """USR1 no longer ends this program: until `Signals` listens it is noted, and leads to a save at the first step."""
    if hasattr(signal, 'SIGUSR1') and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, lambda number, _frame: early_saves.append(number))


class Signals:
    """Inside `with`, the first INT, TERM or HUP is only noted; a second one stops at once, as without this.

    USR1, which a queue sends before its time limit, asks for a save. A signal that the parent chose to ignore
    (nohup) stays ignored. After `max_minutes` (0: never) the run is asked to stop too.
    """

    def __init__(self, max_minutes: float = 0):
        self.signal = None
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
        self.restore()

    def listen(self, name: str, handler):
        number = getattr(signal, name, None)    # Windows has neither HUP nor USR1
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            self.before[number] = signal.signal(number, handler)

    def note_stop(self, number, _frame):
        self.signal = signal.Signals(number)
        self.restore(STOPPING)

    def note_save(self, _number, _frame):
        self.usr1 = True

    def restore(self, names=(*STOPPING, 'SIGUSR1')):
        for number in [number for number in self.before if signal.Signals(number).name in names]:
            signal.signal(number, self.before.pop(number))

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


def leave_to_main_process(_worker_id: int = 0):
    """For worker processes: a signal to the whole group reaches them too, but the main process decides."""
    for name in (*STOPPING, 'SIGUSR1'):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


@atexit.register
def end_workers():
    """Workers do not hear SIGTERM, by which python ends those that are left at its exit: it would wait for ever."""
    workers = multiprocessing.active_children()
    if workers and hasattr(signal, 'SIGCHLD'):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)   # torch's handler would call their end an error
    for worker in workers:
        worker.kill()
