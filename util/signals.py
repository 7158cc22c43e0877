"""Being asked to stop: finish the step, save, and say how to go on."""
import atexit
import multiprocessing.util  # its exit function must be registered before ours, to run after it
import signal

STOPPING = ('SIGINT', 'SIGTERM', 'SIGHUP')


class StopRequest:
    """Inside `with`, the first INT, TERM or HUP is only noted; a second one stops at once, as without this.

    A signal that the parent chose to ignore (nohup) stays ignored. `exit_code` is 128 + the signal's number.
    """

    def __init__(self):
        self.signal = None
        self.before = {}

    def __enter__(self):
        for name in STOPPING:
            number = getattr(signal, name, None)    # Windows has no HUP
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                self.before[number] = signal.signal(number, self.note)
        return self

    def __exit__(self, *_):
        self.restore()

    def note(self, number, _frame):
        self.signal = signal.Signals(number)
        self.restore()

    def restore(self):
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def __bool__(self):
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        return 128 + self.signal if self.signal else 0


def leave_to_main_process(_worker_id: int = 0):
    """For worker processes: a signal to the whole group reaches them too, but the main process decides."""
    for name in STOPPING:
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
