"""How much disk space the checkpoints of a run will need, and whether there is so much."""
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import layout

WORTH_SAYING = 0.5      # of the free space


@dataclass(frozen=True)
class Need:
    """Bytes of one checkpoint, and how many a run will have at its end besides those that it has now.

    weights, training: bytes of the networks with their averages, and of the training file, in one checkpoint.
    numbered: checkpoints to come whose labels are numbers. best: will there be the label `best`?
    """

    weights: int
    training: int
    numbered: int
    best: bool = False

    def total(self, numbered: int | None = None) -> int:
        """Bytes of all checkpoints, and of `latest` once more, as the old one goes when the new one is complete."""
        numbered = self.numbered if numbered is None else numbered
        full_states = min(numbered + 1, layout.FULL_STATES) + 1
        return (numbered + 2 + self.best) * self.weights + full_states * self.training


def shortage(folder, need: Need) -> str:
    """A sentence if the checkpoints will not fit on the disk of `folder`, or fill over half of what is free, or ''."""
    place = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.is_dir())
    free, needed = shutil.disk_usage(place).free, need.total()
    if needed <= WORTH_SAYING * free:
        return ''
    return (f'the checkpoints of this run will need about {as_text(needed)}, '
            + (f'but only {as_text(free)} are free' if needed > free else f'which is over half of the {as_text(free)} '
               'that are free') + f' in {place}; {cure(need, free)}')


def cure(need: Need, free: float) -> str:
    fitting = next((number for number in range(need.numbered - 1, 0, -1)
                    if need.total(number) <= WORTH_SAYING * free), 0)
    if fitting:
        return (f'--keep_last {fitting} keeps the newest {fitting} instead of {need.numbered} and needs '
                f'{as_text(need.total(fitting))}')
    return 'free some space, or choose another disk with --checkpoints_dir'


def as_text(count: float) -> str:
    """Bytes as people write them, in decimal units as disks are sold: '850 MB', '12.3 GB', '2.1 TB'."""
    if count >= 1e12:
        return f'{count / 1e12:.1f} TB'
    return f'{count / 1e9:.1f} GB' if count >= 1e9 else f'{max(count, 1e5) / 1e6:.{0 if count >= 1e7 else 1}f} MB'
