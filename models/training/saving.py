"""When a run is saved, and how: training waits for a copy of the tensors, a thread writes them."""
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from util.checkpoint import copies, layout, retention, store, transaction
from util.console import warn
from util.errors import NonFiniteError
from util.monitors import loss_log

FAILURES_IN_A_ROW = 3   # then the run ends, because nothing of it would be kept
RETRY_SECONDS = 5.0     # before an input/output error is tried a second time


@dataclass(frozen=True)
class SavePolicy:
    """When to save, in images (0: never) or minutes, how many numbered checkpoints to keep (0: all), and copies."""

    latest_freq: int = 5000
    epoch_freq: int = 5
    every_minutes: float = 10.0
    by_iteration: bool = False
    keep_last: int = 0
    copy_to: str = ''       # URL of a folder in object storage

    def labels_after_epoch(self, epoch: int, finished: bool, best: bool) -> list[str]:
        """The labels to save under at the end of an epoch; `best`: it is better than all before."""
        numbered = finished or (self.epoch_freq and epoch % self.epoch_freq == 0)
        found = ['latest'] if numbered or best else []
        found += [str(epoch)] if numbered else []
        return [*found, layout.BEST] if best else found

    def numbered_to_come(self, progress, images_to_go: int) -> int:
        """How many numbered checkpoints the rest of a run will leave; that of its last epoch is always saved."""
        epochs = -(-(progress.epoch_iter + images_to_go) // progress.epoch_size)
        before, last = progress.epoch - 1, progress.epoch - 1 + epochs
        count = 1 + ((last - 1) // self.epoch_freq - before // self.epoch_freq if self.epoch_freq else 0)
        if self.by_iteration and self.latest_freq:
            seen = progress.total_iters
            count += (seen + images_to_go) // self.latest_freq - seen // self.latest_freq
        return min(count, self.keep_last) if self.keep_last else count


class Checkpoints:
    """Saves a run into its folder. A save that fails is reported and training continues; older checkpoints stay.

    Leaving the `with` waits for the last save. If training ended normally, a last save that failed is an `OSError`.
    """

    def __init__(self, state, policy: SavePolicy, progress, print_line):
        """`state` is the `TrainingState` to save; `print_line` prints a line of the log."""
        self.state = state
        self.trainer = state.trainer
        self.folder = state.folder
        self.policy = policy
        self.progress = progress
        self.print_line = print_line
        self.saved_iteration = progress.iteration
        self.saved_at = time.monotonic()
        self.thread = self.error = None
        self.failures = 0
        self.snapshot = None        # of the previous save; its memory is used again

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        self.wait()
        if kind is None and self.error:
            raise self.error
        if isinstance(error, Exception) and not isinstance(error, NonFiniteError):
            self.rescue()

    def wait(self):
        """Wait for the save in progress."""
        if self.thread:
            self.thread.join()
            self.thread = None

    def finish_save(self):
        """Wait for the save in progress, and warn if it failed."""
        self.wait()
        self.report_failure()

    def rescue(self):
        """Save what was trained before an error, if the last step can be undone; only the first error is reported."""
        with suppress(Exception):
            new = self.progress.iteration - self.saved_iteration
            if not new:
                return
            if self.trainer.model.owns_full_state and self.trainer.undo_step():
                self.save('latest', line='the run failed: saving the latest model')
                self.wait()
            else:
                self.print_line(f'the run failed in the middle of a step, so it could not be saved; {new} steps since '
                                f'the last save were lost')

    # ---- when

    def after_step(self, signals):
        """Save if the progress or the time says so, or SIGUSR1 asked for it."""
        self.report_failure()
        requested = signals.take_save_request()
        if self.progress.every(self.policy.latest_freq):
            self.save(f'iter_{self.progress.total_iters}' if self.policy.by_iteration else 'latest')
        elif requested or self.overdue():
            self.save('latest')

    def after_epoch(self, epoch: int, best: bool = False):
        """Save at the end of an epoch, if it is the last one, its number says so, or it is the `best`.

        `latest` is saved with every best checkpoint, so that a run never resumes from before it.
        """
        labels = self.policy.labels_after_epoch(epoch, self.progress.finished, best)
        if labels:
            self.save(*labels, line=f'saving the {"best " if best else ""}model at the end of epoch {epoch}, iters '
                                    f'{self.progress.total_iters}')

    def before_stop(self, cause: str):
        self.save('latest', line=f'stopped by {cause} at epoch {self.progress.epoch}, total_iters '
                                 f'{self.progress.total_iters}: saving the latest model')

    def overdue(self) -> bool:
        minutes = self.policy.every_minutes
        return minutes > 0 and time.monotonic() - self.saved_at > 60 * minutes

    # ---- how

    def save(self, *labels: str, line: str = ''):
        """Start saving under some labels, after the previous save is done; `line` says why."""
        self.wait()
        self.report_failure()
        progress = self.progress
        self.saved_at, self.saved_iteration = time.monotonic(), progress.iteration
        self.print_line(line or f'saving the latest model (epoch {progress.epoch}, total_iters {progress.total_iters})')
        self.trainer.gather_state()
        self.snapshot = self.state.snapshot(progress, loss_log.lengths(self.folder), self.snapshot)
        self.thread = threading.Thread(target=self.write, args=(labels, self.snapshot), name='saving')
        self.thread.start()
        for label in labels:
            if self.trainer.model.after_save:
                self.trainer.model.after_save(label)

    def write(self, labels, snapshot: dict):
        """In the thread: an error is kept in `error`, for the main thread to report."""
        try:
            refuse_non_finite(snapshot)
            with suppress(OSError):     # a log that cannot be flushed is no reason not to save
                loss_log.flush(self.folder)
            self.write_patiently(labels, snapshot)
            retention.prune(self.folder, self.policy.keep_last, layout.FULL_STATES)
            self.failures = 0
            self.copy(labels)
        except Exception as error:
            self.error = error

    def write_patiently(self, labels, snapshot: dict):
        """Retry an input/output error; on a full disk that has room for one of several labels, save the first."""
        try:
            self.write_labels(labels, snapshot)
        except OSError as error:
            if error.errno not in transaction.DISK_FULL:
                time.sleep(RETRY_SECONDS)
                self.write_labels(labels, snapshot)
            elif len(labels) == 1:
                raise
            else:
                self.write_labels(labels[:1], snapshot)
                self.failures = 0
                raise OSError(error.errno, f'{error.strerror}; only {labels[0]} was saved', error.filename) from error

    def copy(self, labels):
        """Copy complete checkpoints to object storage; if that fails, training continues."""
        url = self.policy.copy_to
        for label in labels if url else ():
            try:
                copies.upload(self.folder, label, url)
            except Exception as error:      # each storage has its own
                warn(f'the checkpoint {label} could not be copied to {url}: {error}; it is complete in {self.folder}')

    def write_labels(self, labels, snapshot: dict):
        size = len(labels) * sum(tensor.nbytes for tensor in store.tensors_of(snapshot))
        transaction.check_space(self.folder, size)
        store.save(self.folder, labels[0], **snapshot, also=labels[1:])

    def report_failure(self):
        """Warn about a save that failed; after several in a row, or for another reason than the disk, end the run."""
        error, self.error = self.error, None
        if error is None:
            return
        self.failures += 1
        if not isinstance(error, OSError) or self.failures >= FAILURES_IN_A_ROW:
            raise error
        intact = ', and earlier checkpoints are intact' if layout.labels(self.folder) else ''
        self.state.validation.best.reload(self.folder)
        warn(f'the checkpoint could not be saved: {error.filename}: {error.strerror}; training continues{intact}')


class NoCheckpoints:
    """For the other processes of a run, of which the main process saves the state; they only help to gather it."""

    def __init__(self, trainer, policy: SavePolicy, progress):
        self.trainer = trainer
        self.policy = policy
        self.progress = progress

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing is in progress."""

    def wait(self):
        """Nothing is in progress."""

    finish_save = wait

    def overdue(self) -> bool:
        """The clock of the main process decides."""
        return False

    def after_step(self, signals):
        requested = signals.take_save_request()
        if requested or self.progress.every(self.policy.latest_freq):
            self.trainer.gather_state()

    def after_epoch(self, epoch: int, best: bool = False):
        if self.policy.labels_after_epoch(epoch, self.progress.finished, best):
            self.trainer.gather_state()

    def before_stop(self, cause: str):
        self.trainer.gather_state()


def refuse_non_finite(snapshot: dict):
    """A `NonFiniteError` for weights or a training state that would spoil a run resumed from them."""
    for part in ('networks', 'training'):
        for name, content in snapshot[part].items():
            if not store.is_finite(content):
                step = snapshot['state']['progress'].get('iteration')
                raise NonFiniteError(f'{part} {name} of step {step} are not finite (NaN or infinite) and were not '
                                     f'saved; earlier checkpoints are intact: resume from one of them with a smaller '
                                     f'--lr or smaller loss weights')
