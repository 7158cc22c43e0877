"""The logs of a training run: `loss_log.txt` in the format of the original code, and `losses.jsonl` for programs."""
import json
import math
import os
import time
from pathlib import Path

from util.console import warn
from util.files import naming

NAMES = ('loss_log.txt', 'losses.jsonl')


def lengths(folder: Path) -> dict[str, int]:
    """The sizes of the logs of a run in bytes, which a checkpoint stores."""
    paths = (Path(folder) / name for name in NAMES)
    return {path.name: path.stat().st_size if path.exists() else 0 for path in paths}


def flush(folder: Path):
    """Write the logs to the disk before a checkpoint that stores their lengths."""
    for name in NAMES:
        path = Path(folder) / name
        if path.exists():
            with open(path, 'rb') as file:
                os.fsync(file.fileno())


def cut_back(folder: Path, lengths: dict[str, int]):
    """Truncate the logs to their size at a checkpoint; the rest is appended to `<name>.dropped`.

    Warns if a log is shorter than at the checkpoint.
    """
    for name in (name for name in NAMES if name in lengths):
        path, dropped_lines = Path(folder) / name, Path(folder) / f'{name}.dropped'
        size = path.stat().st_size if path.exists() else 0
        if size < lengths[name]:
            where = f'; see {dropped_lines.name} next to it' if dropped_lines.exists() else ''
            warn(f'{path.absolute()} has {size} bytes, but had {lengths[name]} at the checkpoint from which the run '
                 f'resumes: earlier losses are missing{where}')
        if size <= lengths[name]:
            continue
        with open(path, 'r+b') as file:
            file.seek(lengths[name])
            with open(dropped_lines, 'ab') as dropped:
                dropped.write(file.read())
            file.truncate(lengths[name])


class LossLog:
    """Appends a line to `loss_log.txt` and a JSON object to `losses.jsonl` for each report of losses.

    Validations are JSON objects with 'metrics' in place of 'losses'.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.text, self.json = (folder / name for name in NAMES)
        if not self.text.exists() or not self.text.stat().st_size:
            append(self.text, f'================ Training Loss ({time.strftime("%c")}) ================')

    def write(self, line: str, record: dict):
        append(self.text, line)
        self.add(record)

    def add(self, record: dict):
        """Only to `losses.jsonl`: programs that read `loss_log.txt` know no other lines than those of losses."""
        append(self.json, json.dumps(record))


class LossMeans:
    """Means of the losses of the steps since the last report.

    They are added up on the device, over the share of this process, so that no step waits for them; only `report`
    does. A step counts for the losses that it has: with --n_critic, few have those of the generators.
    """

    def __init__(self, group):
        self.group = group      # of the processes that share a batch
        self.sums, self.steps = {}, {}      # for each tuple of names

    def add(self, losses: dict):
        """Add the losses of a step, {name: tensor of one number}."""
        names = tuple(losses)
        if not names:
            return
        import torch
        values = torch.stack([value.detach().float() for value in losses.values()])
        self.sums[names] = self.sums[names] + values if names in self.sums else values
        self.steps[names] = self.steps.get(names, 0) + 1

    def report(self) -> dict[str, float]:
        """{name: mean} since the last report, without means that are not finite; {} for a single step.

        All processes call it.
        """
        totals, steps = {}, {}
        for names, values in self.sums.items():
            for name, value in zip(names, self.group.sum(values).tolist(), strict=True):
                totals[name] = totals.get(name, 0.0) + value
                steps[name] = steps.get(name, 0) + self.steps[names]
        single = sum(self.steps.values()) == 1
        self.sums, self.steps = {}, {}
        means = {name: total / steps[name] for name, total in totals.items()}
        return {name: mean for name, mean in means.items() if math.isfinite(mean) and not single}


def line_of(progress, losses: dict[str, float], timing: dict[str, float]) -> str:
    """A report of losses in the format of the original code."""
    values = ''.join(f'{name}: {value:.3f} ' for name, value in losses.items())
    return (f'(epoch: {progress.epoch}, iters: {progress.epoch_iter}, time: {timing["time"]:.3f}, '
            f'data: {timing["data"]:.3f}) {values}')


def record_of(progress, losses: dict[str, float], timing: dict[str, float], lr: float,
              means: dict[str, float] | None = None) -> dict:
    """A report of losses as an object of losses.jsonl."""
    return dict(epoch=progress.epoch, iters=progress.epoch_iter, total_iters=progress.total_iters,
                epoch_size=progress.epoch_size, lr=lr, **timing, losses=losses, **(dict(means=means) if means else {}))


def append(path: Path, line: str):
    """Append a line. A last line that a full disk cut off is ended first."""
    with naming(path), open(path, 'ab+') as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            file.write(b'' if file.read(1) == b'\n' else b'\n')
        file.write(line.encode() + b'\n')
