"""Validation of a run: when, by which metrics, what was best, and when to stop."""
import math
import time

from util.console import counted

from .best import Best
from .validator import Validator

TRAINING_PER_VALIDATION = 12    # training images for each validation image, at least, with --val_epoch_freq auto


class Validation:
    """The validations of a run.

    Args:
        validator: computes the metrics; None if there are none.
        freq: epochs between validations; 0: never.
        best: the `Best`.
        lines: for the log: what is validated, or why nothing is.
    """

    def __init__(self, validator: Validator | None = None, freq: int = 0, best: Best | None = None, lines=()):
        self.validator = validator
        self.freq = freq if validator else 0
        self.best = best or Best('', 'lower')
        self.lines = list(lines)
        self.missed = False     # was a validation interrupted, which is to be done before the next step?

    def due(self, progress) -> bool:
        """At the end of an epoch: is it time? `progress` is that of the next epoch."""
        return self.freq > 0 and (progress.finished or (progress.epoch - 1) % self.freq == 0)

    def run(self, progress, iters: int, may_continue, tick) -> dict | None:
        """Validate after the epoch before `progress`, of `iters` images; all processes call it.

        Returns a line of losses.jsonl, or None if it was interrupted.
        """
        start = time.monotonic()
        values = self.validator.run(may_continue, tick)
        if values is None:
            return None
        epoch = progress.epoch - 1
        # what the main process has saved is the best
        self.best.load_state_dict(self.validator.group.first(self.best.state_dict))
        improved = self.best.add(values, epoch, progress.total_iters)
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        return dict(epoch=epoch, iters=iters, total_iters=progress.total_iters, epoch_size=progress.epoch_size,
                    images=self.validator.size, seconds=round(time.monotonic() - start, 3), metrics=finite,
                    best_metric=self.best.metric, best=improved)

    def describe(self, record: dict) -> str:
        """A validation in a line."""
        values = ', '.join(self.with_unit(metric, record['metrics'].get(metric.name))
                           for metric in self.validator.metrics)
        best = f'; the best {self.best.metric} so far' if record['best'] else ''
        return (f'validation after epoch {record["epoch"]}: {values} ({counted(record["images"], "image")}, '
                f'{record["seconds"]:.1f} s){best}')

    def with_unit(self, metric, value: float | None) -> str:
        if value is None:
            return f'{metric.name} is not finite' if metric.n else f'{metric.name} of no image ({metric.spec.says})'
        return f'{metric.name} {value:{metric.format}} {metric.unit}'.rstrip()

    @property
    def replaces_best(self) -> bool:
        """True if a checkpoint `best` that is in the run folder cannot be compared with those to come."""
        return self.validator is not None and self.best.record is None

    @property
    def best_line(self) -> str:
        """Epoch and value of the best validation; '' if there was none."""
        record = self.best.record
        if not record:
            return ''
        metrics = {metric.name: metric for metric in self.validator.metrics} if self.validator else {}
        metric = metrics.get(record.metric)
        value = self.with_unit(metric, record.value) if metric else f'{record.metric} {record.value:g}'
        return f'best: epoch {record.epoch}, {value}'

    # ---- saving

    def state_dict(self) -> dict:
        return dict(**self.best.state_dict(), missed=self.missed)

    def load(self, state: dict, folder):
        """Continue from a checkpoint of the run in `folder`."""
        self.best.load(state, folder)
        self.missed = state.get('missed', False)


def epochs_between(freq: int | str, n_validation: int, epoch_size: int) -> int:
    """--val_epoch_freq; auto: so many that validation takes a small part of the time."""
    return math.ceil(TRAINING_PER_VALIDATION * n_validation / max(1, epoch_size)) if freq == 'auto' else freq
