"""What follows a step whose losses or gradients are not finite: --on_nonfinite stop, skip or rollback."""
import os

import torch

from util.checkpoint import store, transaction
from util.console import warn
from util.errors import NonFiniteError
from util.files import atomic_write
from util.machine.distributed import ToldElsewhere

from .saving import refuse_non_finite

SKIPS_IN_A_ROW = 10
ROLLBACKS = 3           # to one checkpoint
BATCHES = 10            # offending batches that are kept
LAST = 'last_finite'


class Recovery:
    """Asked after each bad step; it raises the error that ends the run, or returns for the run to go on."""

    def __init__(self, opt, model, checkpoints):
        self.policy, self.update_size = opt.on_nonfinite, model.update_size
        self.model, self.checkpoints, self.group = model, checkpoints, model.runtime.group
        self.bad_steps, self.in_a_row, self.last = 0, 0, None
        self.rollbacks = {}     # how often to which checkpoint

    def after(self, bad: NonFiniteError, progress):
        """`bad` has `losses`, `batch` and `steps_ago`; its update was not made."""
        iteration = progress.iteration - bad.steps_ago
        self.in_a_row = self.in_a_row + 1 if self.last == iteration - 1 else 1
        self.bad_steps, self.last = self.bad_steps + 1, iteration
        found = self.worst(f'{bad} at {self.place(bad, progress)}')
        skipped = self.policy == 'skip' and self.in_a_row <= SKIPS_IN_A_ROW
        if (self.bad_steps <= BATCHES or not skipped) and self.group.is_main:
            found += f'; the batch is in {self.keep(bad, progress)}'
        if skipped:
            self.model.boundary.restore_statistics(bad.steps_ago)
            if self.group.is_main and (self.bad_steps <= BATCHES or self.bad_steps % 100 == 0):
                warn(f'{found}; step left out (--on_nonfinite skip, {self.bad_steps} so far)')
        elif not (self.policy == 'rollback' and self.roll_back(found)):
            self.model.gather_state()
            raise NonFiniteError(f'{found}; {self.way_on(progress, bad)}') if self.group.is_main else ToldElsewhere(3)
        self.model.boundary.close()

    def worst(self, found: str) -> str:
        """What the first process has to say whose own losses are not finite, if any are."""
        return min(self.group.texts(found), key=lambda text: not text.startswith('loss'))

    def place(self, bad, progress) -> str:
        step = progress.epoch_iter // self.update_size + 1 - bad.steps_ago
        paths = [*bad.batch.get('A_paths', ()), *bad.batch.get('B_paths', ())]
        images = ', '.join(dict.fromkeys(os.path.abspath(path) for path in paths[:8]))
        return f'epoch {progress.epoch} step {step} (images {images})'

    def keep(self, bad, progress):
        """Save what the step was shown, for somebody to look at."""
        path = self.model.folder / 'nonfinite' / f'batch_{progress.total_iters}.pth'
        content = {**store.cpu_copy(dict(bad.batch)), 'losses': bad.losses}
        try:
            path.parent.mkdir(exist_ok=True)
            with atomic_write(path, 'wb') as file:
                torch.save(content, file)
        except (OSError, RuntimeError) as error:
            return f'no file ({error})'
        return path.absolute()

    def roll_back(self, found: str) -> bool:
        """Back to the newest checkpoint's weights; the data go on after the bad batch. False if that cannot help."""
        label, serial = self.group.first(self.newest)
        self.rollbacks[serial] = self.rollbacks.get(serial, 0) + 1
        if label is None or self.rollbacks[serial] > ROLLBACKS:
            return False
        self.model.roll_back(label)
        self.group.numbers(0)       # nothing is saved before all have read it
        if self.group.is_main:
            warn(f'{found}; weights and optimizers are those of checkpoint {label} again (--on_nonfinite rollback)')
        return True

    def newest(self) -> list:
        """Label and serial number of the newest checkpoint."""
        self.checkpoints.wait()
        label = next(iter(transaction.by_age(self.model.folder)), None)
        return [label, label and transaction.manifest_of(self.model.folder, label).serial]

    def way_on(self, progress, bad) -> str:
        """What there is to go on from, for the last message of the run."""
        self.checkpoints.wait()
        labels = transaction.by_age(self.model.folder)
        manifest = transaction.manifest_of(self.model.folder, labels[0]) if labels else None
        where = (f'the last good checkpoint is {manifest.label} (epoch {manifest.progress.get("epoch")}, total_iters '
                 f'{manifest.progress.get("total_iters")})' if manifest else 'there is no checkpoint yet')
        skip = ', or --on_nonfinite skip' if self.policy == 'stop' else ''
        return f'{where}{self.last_finite(progress, bad)}; try a smaller --lr{skip}'

    def last_finite(self, progress, bad) -> str:
        """Save the weights before the bad update, under a label that is not gone on from by itself."""
        when = 'before this step' if self.model.undo_step() else 'before this update, the second one of its step,'
        when = 'of now' if bad.steps_ago else when
        self.model.boundary.restore_statistics(bad.steps_ago)
        try:
            snapshot = self.model.snapshot(progress)
            refuse_non_finite(snapshot)
            store.save(self.model.folder, LAST, **snapshot)
        except (NonFiniteError, OSError):
            return ''
        return f', the weights {when} are {LAST} (--continue_train --epoch {LAST})'
