"""What follows a step with losses or gradients that are not finite: --on_nonfinite stop, skip or rollback."""
import os

import torch

from models.training.saving import refuse_non_finite
from util.checkpoint import store
from util.checkpoint.manifest import newest_first, read_manifest
from util.console import warn
from util.errors import NonFiniteError
from util.files import atomic_write
from util.machine.distributed import ReportedByMainRank

SKIPS_IN_A_ROW = 10
ROLLBACKS = 3           # to one checkpoint
BATCHES = 10            # bad batches that are kept
LAST = 'last_finite'


class Recovery:
    """Called after each bad step: raises the error that ends the run, or returns and the run continues."""

    def __init__(self, policy: str, state, checkpoints):
        """`policy`: stop, skip or rollback; `state`: the `TrainingState` of the run."""
        self.policy = policy
        self.state = state
        self.checkpoints = checkpoints
        self.trainer, self.folder = state.trainer, state.folder
        self.group = self.trainer.model.runtime.group
        self.bad_steps = self.in_a_row = 0
        self.last = None
        self.rollbacks = {}     # how often to each checkpoint

    def after(self, bad: NonFiniteError, progress):
        """`bad` has `losses`, `batch` and `steps_ago`; its update was not made."""
        iteration = progress.iteration - bad.steps_ago
        self.in_a_row = self.in_a_row + 1 if self.last == iteration - 1 else 1
        self.bad_steps, self.last = self.bad_steps + 1, iteration
        found = self.from_any_process(f'{bad} at {self.place(bad, progress)}')
        skipped = self.policy == 'skip' and self.in_a_row <= SKIPS_IN_A_ROW
        if (self.bad_steps <= BATCHES or not skipped) and self.group.is_main:
            found += f'; the batch is in {self.keep_batch(bad, progress)}'
        if skipped:
            self.trainer.undo.restore_statistics(bad.steps_ago)
            if self.group.is_main and (self.bad_steps <= BATCHES or self.bad_steps % 100 == 0):
                warn(f'{found}; step skipped (--on_nonfinite skip, {self.bad_steps} so far)')
        else:
            label = self.roll_back() if self.policy == 'rollback' else None
            if label is None:
                self.end_run(found, progress, bad)
            if self.group.is_main:
                warn(f'{found}; weights and optimizers are those of checkpoint {label} again (--on_nonfinite rollback)')
        self.trainer.undo.end_step()

    def end_run(self, found: str, progress, bad):
        self.trainer.gather_state()
        if not self.group.is_main:
            raise ReportedByMainRank(3)
        raise NonFiniteError(f'{found}; {self.advice(progress, bad)}')

    def from_any_process(self, found: str) -> str:
        """The text of the first process whose own losses are not finite, if any are."""
        return min(self.group.texts(found), key=lambda text: not text.startswith('loss'))

    def place(self, bad, progress) -> str:
        step = progress.epoch_iter // self.trainer.update_size + 1 - bad.steps_ago
        paths = [*bad.batch.get('A_paths', ()), *bad.batch.get('B_paths', ())]
        images = ', '.join(dict.fromkeys(os.path.abspath(path) for path in paths[:8]))
        return f'epoch {progress.epoch} step {step} (images {images})'

    def keep_batch(self, bad, progress):
        """Save the batch of the bad step, for somebody to look at."""
        path = self.folder / 'nonfinite' / f'batch_{progress.total_iters}.pth'
        content = {**store.cpu_copy(dict(bad.batch)), 'losses': bad.losses}
        try:
            path.parent.mkdir(exist_ok=True)
            with atomic_write(path, 'wb') as file:
                torch.save(content, file)
        except (OSError, RuntimeError) as error:
            return f'no file ({error})'
        return path.absolute()

    def roll_back(self) -> str | None:
        """Load the newest checkpoint, to continue with the data after the bad batch; None if that cannot help."""
        label, serial = self.group.first(self.newest)
        self.rollbacks[serial] = self.rollbacks.get(serial, 0) + 1
        if label is None or self.rollbacks[serial] > ROLLBACKS:
            return None
        self.state.roll_back(label)
        self.group.numbers(0)       # barrier: nothing is saved before every process has read the checkpoint
        return label

    def newest(self) -> list:
        """Label and serial number of the newest checkpoint."""
        self.checkpoints.wait()
        label = next(iter(newest_first(self.folder)), None)
        return [label, label and read_manifest(self.folder, label).serial]

    def advice(self, progress, bad) -> str:
        """Where the run can be resumed from, for its last message."""
        self.checkpoints.wait()
        labels = newest_first(self.folder)
        manifest = read_manifest(self.folder, labels[0]) if labels else None
        where = (f'the last good checkpoint is {manifest.label} (epoch {manifest.progress.get("epoch")}, total_iters '
                 f'{manifest.progress.get("total_iters")})' if manifest else 'there is no checkpoint yet')
        skip = ', or --on_nonfinite skip' if self.policy == 'stop' else ''
        return f'{where}{self.save_last_finite(progress, bad)}; try a smaller --lr{skip}'

    def save_last_finite(self, progress, bad) -> str:
        """Save the weights from before the bad update, under a label that a run never resumes from by itself."""
        undone = self.trainer.undo_step()
        when = 'before this step' if undone else 'before this update, the second one of its step,'
        if bad.steps_ago:
            when = 'of now'
        self.trainer.undo.restore_statistics(bad.steps_ago)
        try:
            snapshot = self.state.snapshot(progress)
            refuse_non_finite(snapshot)
            store.save(self.folder, LAST, **snapshot)
        except (NonFiniteError, OSError):
            return ''
        return f', the weights {when} are saved as {LAST} (--continue_train --epoch {LAST})'
