"""Losses over a run of any length in bounded room, and reading them back from a run's log."""
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

POINTS = 600
LINE = re.compile(r'\(epoch: (\d+), iters: (\d+), time: [^)]*\) (.*)')    # data: is absent in old logs
VALUE = re.compile(r'([^\s:]+): (\S+)')


class Curves:
    """All losses at up to `POINTS` places: means over windows that grow with the run; None where none is finite."""

    def __init__(self, points: int = POINTS):
        self.limit, self.stride = points, 1
        self.windows: list[Window] = []

    def add(self, record: dict):
        """`record`: a line of losses.jsonl; what was known of later steps, which are taken again, is dropped."""
        while self.windows and self.windows[-1].x >= record['total_iters']:
            self.windows.pop()
        if not self.windows or self.windows[-1].count >= self.stride:
            if len(self.windows) >= self.limit:
                self._halve()
            self.windows.append(Window())
        self.windows[-1].add(record)

    def as_dict(self) -> dict:
        """{'x': images seen, 'epoch': [...], 'series': {loss: values}}, all of one length."""
        names = dict.fromkeys(name for window in self.windows for name in window.sums)
        return dict(x=[window.x for window in self.windows], epoch=[window.epoch for window in self.windows],
                    series={name: [window.mean(name) for window in self.windows] for name in names})

    def _halve(self):
        pairs = zip(self.windows[::2], [*self.windows[1::2], None], strict=False)
        self.windows = [first.merged(second) if second else first for first, second in pairs]
        self.stride *= 2


class Window:
    """Reports in a row: the place of the last one, and the sum and number of the finite values of each loss."""

    def __init__(self):
        self.x = self.epoch = self.count = 0
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, record):
        self.x, self.epoch, self.count = record['total_iters'], record['epoch'], self.count + 1
        for name, value in record['losses'].items():
            total, n = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value, n + 1) if math.isfinite(value) else (total, n)

    def merged(self, later: 'Window') -> 'Window':
        self.x, self.epoch, self.count = later.x, later.epoch, self.count + later.count
        for name, (total, n) in later.sums.items():
            before, m = self.sums.get(name, (0.0, 0))
            self.sums[name] = before + total, m + n
        return self

    def mean(self, name) -> float | None:
        total, n = self.sums.get(name, (0.0, 0))
        return float(f'{total / n:.5g}') if n and math.isfinite(total) else None


def record_of(line: str | bytes) -> dict | None:
    """The report of losses in a line of losses.jsonl; None where a crash or a full disk tore it, or it is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    is_report = (isinstance(record, dict) and isinstance(record.get('losses'), dict)
                 and all(isinstance(record.get(name), (int, float)) for name in ('epoch', 'total_iters'))
                 and all(isinstance(value, (int, float)) for value in record['losses'].values()))
    return record if is_report else None


def read_jsonl(path: Path) -> Iterator[dict]:
    """The reports in losses.jsonl, one at a time."""
    with open(path, encoding='utf-8', errors='replace') as file:
        yield from filter(None, map(record_of, file))


def read_loss_log(path: Path) -> Iterator[dict]:
    """The reports in loss_log.txt of the reference, old and new form.

    It counts images within an epoch only: an epoch is taken for as long as its last report, until it is over.
    """
    done, epoch, iters = 0, None, 0
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
        except ValueError:      # a torn line
            continue
    return found


def read_run(folder: Path) -> Iterator[dict] | None:
    """The reports of a run, or None where there are none."""
    for name, read in (('losses.jsonl', read_jsonl), ('loss_log.txt', read_loss_log)):
        if (folder / name).is_file() and next(read(folder / name), None):
            return read(folder / name)
    return None
