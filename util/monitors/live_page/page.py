"""The live page of a training run, which needs no server: web/index.html reloads web/data.js during training.

A file:// page may load scripts and images but not JSON, so the data are a script that calls `pixmorph`.
"""
import base64
import hashlib
import html
import json
import math
import re
import time
from collections import deque
from pathlib import Path
from string import Template
from urllib.parse import quote

from util.files import atomic_write
from util.html import asset
from util.monitors.curve_plot import COLORS, MARKERS
from util.monitors.curves import Curves, as_losses, read_jsonl
from util.monitors.health import Health
from util.monitors.live_page.snapshots import Snapshots, names_in, write_image

ASSETS = Path(__file__).with_name('assets')
STATIC_EPOCHS = 50      # rows in index.html, for readers without JavaScript; with it, all epochs are shown
SHORTEST_WAIT, LONGEST_WAIT = 2.0, 10.0     # seconds between writes of data.js
SHARE = 0.01            # of the training time at most is spent on writing it


class LivePage:
    """All files in `web/`. Methods raise OSError if the disk fails, which the visualizer handles.

    Files: index.html, data.js, images/epoch001_LABEL.png, val/SAMPLE_LABEL.jpg (inputs), val/ITERS_SAMPLE_LABEL.jpg.
    The size of data.js and the cost of an update do not grow with the length of the run.

    options: rows [name, value, given on the command line]; html_freq: images between updates of the training images.
    """

    def __init__(self, folder: Path, name: str, options: list, total_images: int, progress, image_width: int = 256,
                 html_freq: int = 1000, health: Health | None = None, device: str = ''):
        self.folder = folder / 'web'
        self.name = name
        self.options = options
        self.image_width = image_width
        self.html_freq = html_freq
        self.device = device
        self.total_images, self.state = total_images, 'running'
        self.resumed_at = progress.total_iters      # images that were seen before this start
        self.health = health or Health()
        log = folder / 'losses.jsonl'
        self.curves, self.pace = Curves(records=read_jsonl(log) if log.is_file() else ()), Pace(progress)
        self.metric_curves, self.best = Curves(), None
        for record in read_jsonl(log, what='metrics') if log.is_file() else ():
            self.add_metrics(record)
        self.last_report = {}
        self.epochs, self.labels = epochs_with_images(self.folder / 'images', progress.epoch)
        self.written_epoch = self.version = 0   # the last epoch whose images this process wrote; images seen then
        self.source = 'validation'      # of the fixed images
        self.validation_set = Snapshots(self.folder / 'val', progress)
        self.last_images = {}
        self.changed = False    # since the last write of data.js

    # ---- events of the run

    def open(self, progress):
        """Write the page for the first time, and remove incomplete files of a killed run."""
        for path in self.folder.rglob('.*.tmp'):
            path.unlink(missing_ok=True)
        self.write_page()
        self.write(progress)

    def step(self, progress):
        """Write from time to time, so that the page can distinguish a running process from a dead one."""
        if self.pace.due(SHORTEST_WAIT if self.changed else LONGEST_WAIT):
            self.write(progress)

    def losses(self, record: dict):
        """Add a line of losses.jsonl to the next write."""
        self.curves.add(record)
        self.last_report, self.changed = record, True
        self.health.losses(record)

    def metrics(self, record: dict):
        """Add a validation, a line of losses.jsonl, to the next write."""
        self.add_metrics(record)
        self.changed = True

    def add_metrics(self, record: dict):
        self.metric_curves.add(as_losses(record))
        if record.get('best'):
            name = record.get('best_metric')
            self.best = dict(metric=name, value=record['metrics'].get(name), epoch=record['epoch'])

    def images(self, progress, images: dict):
        """Show training images {label: (H, W, 3) uint8}. Written: the first of an epoch, and every `html_freq`."""
        samples = [images, self.last_images] if self.last_images else [images]
        self.last_images = images
        self.health.images(progress.epoch, samples, 'train')
        if self.written_epoch == progress.epoch and not (progress.every(self.html_freq) or progress.is_early):
            return
        for label, image in images.items():
            write_image(self.folder / image_file(progress.epoch, label), image)
        self.labels = list(images)
        self.version = progress.total_iters
        self.written_epoch = progress.epoch
        if progress.epoch not in self.epochs:
            self.epochs.append(progress.epoch)
            self.write_page()
        self.changed = True

    def validation(self, progress, samples: list[dict], source: str = 'validation'):
        """Show the fixed images: {label: (H, W, 3) uint8} for each of them, in the same order each time.

        `source` says what they are: 'validation', 'test' or 'training' images.
        """
        self.source = source
        self.health.images(progress.epoch, samples, 'validation')
        self.validation_set.add(progress, samples)
        self.changed = True

    def close(self, progress, state: str):
        """`state`: 'finished', 'stopped by ...' or 'failed: ...'; the page stops polling."""
        self.state = state
        self.write_page()
        self.write(progress)

    # ---- files

    def write(self, progress):
        with self.pace.measured(progress), atomic_write(self.folder / 'data.js', durable=False) as file:
            text = json.dumps(without_nan(self.data(progress)), separators=(',', ':'), allow_nan=False)
            file.write(f'pixmorph({text})\n')
        self.changed = False

    def data(self, progress) -> dict:
        return dict(
            name=self.name, state=self.state, updated=time.time(), expected=self.pace.expected, device=self.device,
            progress=dict(
                epoch=progress.epoch, last_epoch=progress.last_epoch, epoch_iter=progress.epoch_iter,
                epoch_size=progress.epoch_size, iteration=progress.iteration, max_iters=progress.max_iters,
                total_iters=progress.total_iters, total_images=self.total_images, rate=self.pace.rate(progress),
                elapsed=self.pace.elapsed, continued_at=self.resumed_at,
                lr=self.last_report.get('lr'), data_wait=self.last_report.get('data_wait')),
            curves=self.curves.as_dict(), metrics=self.metric_curves.as_dict(), best=self.best,
            health=list(self.health.notes.values()),
            epochs=ranges(self.epochs), labels=self.labels, version=self.version, width=self.image_width,
            validation=dict(self.validation_set.as_dict(), source=self.source), options=self.options)

    def write_page(self):
        """Write index.html: the images, which need no JavaScript, and the script that shows the rest."""
        rows = [plain_row(epoch, self.labels, self.image_width) for epoch in reversed(self.epochs[-STATIC_EPOCHS:])]
        if left_out := len(self.epochs) - len(rows):
            rows.append(f'<p>Images of {left_out} earlier epochs are in the folder web/images.</p>')
        refresh = '<noscript><meta http-equiv="refresh" content="60"></noscript>' if self.state == 'running' else ''
        text = page('live.html', 'viewer.js live.js', title=f'Experiment name = {self.name}', refresh=refresh,
                    rows='\n'.join(rows))
        with atomic_write(self.folder / 'index.html', 'wb', durable=False) as file:
            file.write(text.encode(errors='replace'))   # file names need not be valid UTF-8


class Pace:
    """Decides when to write, and measures the speed of training."""

    def __init__(self, progress):
        self.started = self.written = self.seen = time.monotonic()
        self.cost = 0.0                 # seconds of the last write
        self.longest_gap = 0.0          # between two steps
        self.marks = deque([(self.started, progress.total_iters)], maxlen=60)

    def due(self, wait: float) -> bool:
        now = time.monotonic()
        self.longest_gap, self.seen = max(self.longest_gap * 0.999, now - self.seen), now
        return now - self.written >= max(wait, self.cost / SHARE)

    def measured(self, progress):
        """A context manager that measures a write."""
        self.marks.append((time.monotonic(), progress.total_iters))
        return self

    def __enter__(self):
        self.written = time.monotonic()

    def __exit__(self, *_):
        self.cost, self.written = time.monotonic() - self.written, time.monotonic()

    def rate(self, progress) -> float:
        """Images per second of wall-clock time, including saves and pages; 0 if unknown."""
        start, images = self.marks[0]
        return max(0.0, (progress.total_iters - images) / max(1e-9, time.monotonic() - start))

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def expected(self) -> float:
        """Seconds until the next write at the latest, judging from earlier ones."""
        return max(LONGEST_WAIT, self.cost / SHARE) + self.longest_gap


def image_file(epoch: int, label: str) -> str:
    return f'images/epoch{epoch:03d}_{label}.png'


def plain_row(epoch: int, labels: list[str], width: int) -> str:
    """The images of an epoch as HTML."""
    cells = []
    for label in labels:
        link, text = quote(image_file(epoch, label)), html.escape(label)
        cells.append(f'<td><a href="{link}"><img src="{link}" alt="{text}" style="width:{width}px" loading="lazy"></a>'
                     f'<p>{text}</p></td>')
    return f'<h3>epoch [{epoch}]</h3>\n<table><tr>{"".join(cells)}</tr></table>'


def epochs_with_images(folder: Path, newest: float = math.inf) -> tuple[list[int], list[str]]:
    """(epochs up to `newest` that have images, labels of the last one)."""
    found = sorted((int(match[1]), match[2]) for match in (re.fullmatch(r'epoch(\d+)_(.+)\.png', name)
                                                          for name in names_in(folder)) if match)
    found = [item for item in found if item[0] <= newest]
    epochs = sorted({epoch for epoch, _ in found})
    return epochs, [label for epoch, label in found if epoch == epochs[-1]]


def ranges(numbers: list[int]) -> list[list[int]]:
    """[1, 2, 3, 7] as [[1, 3], [7, 7]]."""
    found = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def without_nan(value):
    """`value` with None for numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def page(template: str, script: str, title: str, **parts: str) -> str:
    """A page with its style and scripts in it. No other script may run, and nothing remote may be loaded.

    `title` is text; `parts` are HTML; `script` has the names of scripts.
    """
    colors = f'const COLORS = {json.dumps(COLORS)}, MARKERS = {json.dumps(MARKERS)};\n'
    code = joined('element.js') + colors + joined('chart.js', *script.split()) + parts.pop('data', '')
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = (f"default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'; "
              f"script-src 'sha256-{digest}' 'self' file:; base-uri 'none'; form-action 'none'")
    style = joined('page_style.css', 'viewer.css', 'live.css')
    return Template(joined(template)).substitute(title=html.escape(title), policy=policy, style=style, script=code,
                                                 **parts)


def joined(*names: str) -> str:
    return ''.join(asset(name, ASSETS) for name in names)
