"""The best validation so far, and how long ago it was."""
import math
from dataclasses import asdict, dataclass

from util.checkpoint import layout, store
from util.errors import UserError


@dataclass(frozen=True)
class Record:
    """The value of the metric that chooses, and when it was measured: at the end of `epoch`."""

    metric: str
    value: float
    epoch: int
    total_iters: int
    images: str = ''        # which ones: only values on the same images can be compared


class Best:
    """Keeps the best value of one metric. Values that are not finite are never the best.

    Args:
        metric: its name.
        better: 'lower' or 'higher'.
        images: what the values are measured on, as any text.
        patience: validations without improvement after which the run should stop; 0: never.
    """

    def __init__(self, metric: str, better: str, patience: int = 0, images: str = ''):
        self.metric, self.better = metric, better
        self.images = images
        self.patience = patience
        self.record = None
        self.stale = 0          # validations since the last improvement

    def add(self, values: dict, epoch: int, total_iters: int) -> bool:
        """Add a validation; returns whether it is better than all before."""
        value = values.get(self.metric, math.nan)
        if not self.improves(value):
            self.stale += 1
            return False
        self.record, self.stale = Record(self.metric, value, epoch, total_iters, self.images), 0
        return True

    def improves(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.record is None:
            return True
        return value < self.record.value if self.better == 'lower' else value > self.record.value

    @property
    def exhausted(self) -> bool:
        """Should the run stop, because nothing has improved for too long?"""
        return 0 < self.patience <= self.stale

    # ---- saving

    def state_dict(self) -> dict:
        return dict(record=self.record and asdict(self.record), stale=self.stale)

    def load_state_dict(self, state: dict):
        self.record, self.stale = record_of(state), state['stale']

    def load(self, state: dict, folder):
        """Continue from a checkpoint; what counts is the best checkpoint that there is in the run folder.

        It may be of a later epoch than the checkpoint, or of another metric, or be gone.
        """
        saved = record_of(state)
        self.reload(folder)
        self.stale = state.get('stale', 0) if self.record == saved else 0

    def reload(self, folder):
        """Take the record of the best checkpoint that there is, if it can be compared."""
        found = saved_record(folder)
        comparable = found and (found.metric, found.images) == (self.metric, self.images)
        self.record = found if comparable else None


def record_of(state: dict) -> Record | None:
    """The record in a `state_dict`."""
    return Record(**state['record']) if state.get('record') else None


def saved_record(folder) -> Record | None:
    """The record of the checkpoint `best` of a run; None if there is none, or it cannot be read."""
    try:
        state = store.load_state(folder, layout.BEST)
    except UserError:
        return None
    return record_of(state.get('validation', {})) if state else None
