"""When a run is saved, and how: training waits for a copy of the tensors, a thread writes them."""
import threading
import time
from contextlib import suppress

from util.checkpoint import layout, store, transaction
from util.checkpoint.transaction import FULL_STATES
from util.console import warn
from util.errors import NonFiniteError
from util.monitors import loss_log

FAILURES_IN_A_ROW = 3   # then the run ends: nothing of it would be kept
RETRY_SECONDS = 5.0     # before an input/output error is tried a second time


class Checkpoints:
    """Saves a run into its folder. A save that fails is told and training goes on; older checkpoints stay.

    `positions()` gives the lengths of the logs, which go with the state. Leave the `with` to wait for the last save;
    when training came to its end by itself, a last save that failed is an `OSError`.
    """

    def __init__(self, model, opt, progress, positions, tell):
        self.model, self.opt, self.progress, self.positions, self.tell = model, opt, progress, positions, tell
        self.saved_iteration = progress.iteration
        self.thread, self.error, self.failures = None, None, 0
        self.snapshot = None        # of the save before, whose memory is used again
        self.saved_at = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        self.wait()
        if kind is None and self.error:
            raise self.error
        if isinstance(error, Exception) and not isinstance(error, NonFiniteError):
            self.rescue()

    def wait(self):
        """Until the save under way is done."""
        if self.thread:
            self.thread.join()
            self.thread = None

    def rescue(self):
        """Save what was trained before an error, if there is a way back to the last step; the error is what matters."""
        with suppress(Exception):
            new = self.progress.iteration - self.saved_iteration
            if new and self.model.whole and self.model.undo_step():
                self.save('latest', line='an error ends the run: saving the latest model')
                self.wait()
            elif new:
                self.tell(f'an error ends the run within a step, which cannot be saved; steps since the last save, '
                          f'which are lost: {new}')

    # ---- when

    def after_step(self, signals):
        """Save at a multiple of --save_latest_freq images, after --save_every_minutes, or when asked by SIGUSR1."""
        self.check()
        wanted = signals.save_wanted()
        if self.progress.every(self.opt.save_latest_freq):
            self.save(f'iter_{self.progress.total_iters}' if self.opt.save_by_iter else 'latest')
        elif wanted or self.overdue():
            self.save('latest')

    def overdue(self) -> bool:
        minutes = self.opt.save_every_minutes
        return minutes > 0 and time.monotonic() - self.saved_at > 60 * minutes

    # ---- how

    def save(self, *labels: str, line: str = ''):
        """Begin to save under some labels, after the save before is done; `line` tells why."""
        self.wait()
        self.check()
        progress = self.progress
        self.saved_at, self.saved_iteration = time.monotonic(), progress.iteration
        self.tell(line or f'saving the latest model (epoch {progress.epoch}, total_iters {progress.total_iters})')
        self.model.gather_state()
        self.snapshot = self.model.snapshot(progress, self.positions(), self.snapshot)
        self.thread = threading.Thread(target=self.write, args=(labels, self.snapshot), name='saving')
        self.thread.start()

    def write(self, labels, snapshot: dict):
        """In the thread: an error is left in `error`, for the main thread to tell."""
        try:
            refuse_non_finite(snapshot)
            with suppress(OSError):     # logs alone are no reason not to save
                loss_log.flush(self.model.folder)
            self.write_patiently(labels, snapshot)
            transaction.prune(self.model.folder, self.opt.keep_last, FULL_STATES)
            self.failures = 0
        except Exception as error:
            self.error = error

    def write_patiently(self, labels, snapshot: dict):
        """An input/output error is tried again; where only one of several labels has room, it is the first."""
        try:
            self.write_labels(labels, snapshot)
        except OSError as error:
            if error.errno not in transaction.FULL:
                time.sleep(RETRY_SECONDS)
                self.write_labels(labels, snapshot)
            elif len(labels) == 1:
                raise
            else:
                self.write_labels(labels[:1], snapshot)
                self.failures = 0
                raise OSError(error.errno, f'{error.strerror}; only {labels[0]} was saved', error.filename) from error

    def write_labels(self, labels, snapshot: dict):
        size = len(labels) * sum(tensor.nbytes for tensor in store.tensors_of(snapshot))
        transaction.check_room(self.model.folder, size)
        store.save(self.model.folder, labels[0], **snapshot, also=labels[1:])

    def check(self):
        """Tell of a save that failed; after several in a row, or for another reason than the disk, end the run."""
        error, self.error = self.error, None
        if error is None:
            return
        self.failures += 1
        if not isinstance(error, OSError) or self.failures >= FAILURES_IN_A_ROW:
            raise error
        intact = ', and earlier checkpoints are intact' if layout.labels(self.model.folder) else ''
        warn(f'the checkpoint could not be saved: {error.filename}: {error.strerror}; training goes on{intact}')


class NoCheckpoints:
    """Of the processes beside the first one, which saves for all: their states are the same, or are gathered."""

    def __init__(self, model, opt, progress):
        self.model, self.opt, self.progress = model, opt, progress

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing is under way."""

    def wait(self):
        """Nothing is under way."""

    def overdue(self) -> bool:
        """By the clock of the first process."""
        return False

    def after_step(self, signals):
        if signals.save_wanted() or self.progress.every(self.opt.save_latest_freq):
            self.save()

    def save(self, *labels, line: str = ''):
        self.model.gather_state()


def refuse_non_finite(snapshot: dict):
    """A `NonFiniteError` for weights or a training state that would spoil a run that goes on from them."""
    for part in ('networks', 'training'):
        for name, content in snapshot[part].items():
            if not store.is_finite(content):
                step = snapshot['state']['progress'].get('iteration')
                raise NonFiniteError(f'{part} {name} of step {step} are not finite any more (NaN or infinite) and were '
                                     f'not saved; earlier checkpoints are intact: go on from them with a smaller --lr, '
                                     f'or smaller weights of the losses')
