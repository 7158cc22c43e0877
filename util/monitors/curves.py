"""The losses of a run of any length as curves of bounded size, and reading them from the log of a run."""
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

POINTS = 600
LINE = re.compile(r'\(epoch: (\d+), iters: (\d+), time: [^)]*\) (.*)')    # data: is absent in old logs
VALUE = re.compile(r'([^\s:]+): (\S+)')


class Curves:
    """All losses at up to `points` places: means over windows that grow with the run; None if no value is finite."""

    def __init__(self, points: int = POINTS, records: Iterable[dict] = ()):
        self.limit, self.stride = points, 1
        self.windows: list[Window] = []
        for record in records:
            self.add(record)

    def add(self, record: dict):
        """Add a line of losses.jsonl. Points of later steps, which a resumed run repeats, are dropped."""
        while self.windows and self.windows[-1].x >= record['total_iters']:
            self.windows.pop()
        if not self.windows or self.windows[-1].count >= self.stride:
            if len(self.windows) >= self.limit:
                self._halve()
            self.windows.append(Window())
        self.windows[-1].add(record)

    def as_dict(self) -> dict:
        """{'x': images seen, 'epoch': [...], 'series': {loss: values}}, all lists of the same length."""
        names = dict.fromkeys(name for window in self.windows for name in window.sums)
        return dict(x=[window.x for window in self.windows], epoch=[window.epoch for window in self.windows],
                    series={name: [window.mean(name) for window in self.windows] for name in names})

    def epoch_positions(self) -> list[float]:
        """The places as epochs: 1.5 is the middle of the first one."""
        return [window.epoch_position for window in self.windows]

    def _halve(self):
        pairs = zip(self.windows[::2], [*self.windows[1::2], None], strict=False)
        self.windows = [first.merged(second) if second else first for first, second in pairs]
        self.stride *= 2


class Window:
    """Consecutive reports: the place of the last one, and the sum and number of the finite values of each loss."""

    def __init__(self):
        self.x = self.epoch = self.count = 0
        self.epoch_position = 0.0
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, record):
        self.x = record['total_iters']
        self.epoch = record['epoch']
        self.count = self.count + 1
        self.epoch_position = self.epoch + min(1.0, record.get('iters', 0) / (record.get('epoch_size') or math.inf))
        for name, value in record['losses'].items():
            total, n = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value, n + 1) if math.isfinite(value) else (total, n)

    def merged(self, later: 'Window') -> 'Window':
        self.x = later.x
        self.epoch = later.epoch
        self.count = self.count + later.count
        self.epoch_position = later.epoch_position
        for name, (total, n) in later.sums.items():
            earlier, m = self.sums.get(name, (0.0, 0))
            self.sums[name] = earlier + total, m + n
        return self

    def mean(self, name) -> float | None:
        total, n = self.sums.get(name, (0.0, 0))
        return float(f'{total / n:.5g}') if n and math.isfinite(total) else None


def object_of(line: str | bytes) -> dict:
    """The object in a line of JSON; {} for a line that was cut off, is damaged, or holds something else."""
    try:
        found = json.loads(line, parse_int=whole)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)       # damaged; the float is perhaps infinite


def is_finite(value) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def record_of(line: str | bytes, what: str = 'losses') -> dict | None:
    """The report of losses, or of 'metrics', in a line of losses.jsonl; None if it is incomplete after a crash, or
    another report.
    """
    record = object_of(line)
    is_report = (isinstance(record.get(what), dict)
                 and all(is_finite(record.get(name)) for name in ('epoch', 'total_iters'))
                 and all(isinstance(value, (int, float)) or (value is None and what == 'metrics')
                         for value in record[what].values()))
    return record if is_report else None


def read_jsonl(path: Path, end: float = math.inf, what: str = 'losses') -> Iterator[dict]:
    """The reports of losses, or of 'metrics', in losses.jsonl, one at a time; only those in the first `end` bytes."""
    with open(path, 'rb') as file:
        for line in file:
            if file.tell() > end:
                return
            if record := record_of(line, what):
                yield record


def as_losses(record: dict) -> dict:
    """A report of metrics in the form that `Curves` takes; without standard errors, and values that are not finite."""
    values = {name: value for name, value in record['metrics'].items()
              if value is not None and name.removesuffix('_se') not in record['metrics'].keys() - {name}}
    return {**record, 'losses': values}


def read_loss_log(path: Path) -> Iterator[dict]:
    """The reports in a loss_log.txt of the original PyTorch code, old or new format.

    It counts images per epoch only: a finished epoch is taken to be as long as its last report says.
    """
    done = 0
    epoch = None
    iters = 0
    with open(path, encoding='utf-8', errors='replace') as file:
        for match in filter(None, map(LINE.match, file)):
            if int(match[1]) != epoch:
                done, epoch = done + iters, int(match[1])
            iters = int(match[2])
            yield dict(epoch=epoch, iters=iters, total_iters=done + iters, losses=values_in(match[3]))


def values_in(text: str) -> dict[str, float]:
    found = {}
    for name, value in VALUE.findall(text):
        try:
            found[name] = float(value)
        except ValueError:      # an incomplete line
            continue
    return found


def read_run(folder: Path) -> Iterator[dict] | None:
    """The reports of a run, or None if there are none."""
    for name, read in (('losses.jsonl', read_jsonl), ('loss_log.txt', read_loss_log)):
        if (folder / name).is_file() and next(read(folder / name), None):
            return read(folder / name)
    return None
