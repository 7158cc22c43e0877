"""The page of a training run that lives without a server: web/index.html reads web/data.js while the run is alive.

A page of file:// may load scripts and images but no JSON; so the data are a script that calls `pixmorph`.
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

from util.monitors.curve_plot import COLOURS, MARKERS
from util.monitors.curves import Curves, read_jsonl
from util.monitors.health import Health
from util.monitors.live_page.snapshots import Snapshots, names_in, whole_file, write_image

ASSETS = Path(__file__).with_name('assets')
STATIC_EPOCHS = 50      # rows for readers without scripts; with scripts all epochs are there
SHORTEST_WAIT, LONGEST_WAIT = 2.0, 10.0     # seconds between writes of data.js
SHARE = 0.01            # of the time at most goes into writing it


class LivePage:
    """All of `web/`. Methods raise OSError where the disk does not take it; the visualizer survives that.

    Files: index.html, data.js, images/epoch001_LABEL.png, val/SAMPLE_LABEL.jpg (inputs), val/ITERS_SAMPLE_LABEL.jpg.
    The size of data.js and the cost of an update do not grow with the run.
    """

    def __init__(self, folder: Path, opt, total_images: int, progress, device: str = '', tell=lambda text: None):
        self.folder, self.name, self.width = folder / 'web', opt.name, opt.display_winsize
        self.html_freq = opt.update_html_freq
        self.options = [[name, str(value), name in opt.given] for name, value in sorted(opt.as_dict().items())]
        self.device, self.total_images, self.state = device, total_images, 'running'
        self.continued_at = progress.total_iters    # images that earlier starts have seen
        self.health = Health(opt.gan_mode, tell)
        log = folder / 'losses.jsonl'
        self.curves, self.pace = Curves(records=read_jsonl(log) if log.is_file() else ()), Pace(progress)
        self.last_report = {}
        self.epochs, self.labels = epochs_with_images(self.folder / 'images', progress.epoch)
        self.written_epoch = self.version = 0   # the last epoch that this process made pictures of; when
        self.validation_set = Snapshots(self.folder / 'val', progress)
        self.last_pictures = {}
        self.news = False       # since the last write of data.js

    # ---- what happens in the run

    def open(self, progress):
        """Write the page for the first time, and remove what a killed run left half-written."""
        for path in self.folder.rglob('.*.tmp'):
            path.unlink(missing_ok=True)
        self.write_page()
        self.write(progress)

    def step(self, progress):
        """Called at each step; writes now and then, so that the page can tell a live run from a dead one."""
        if self.pace.due(SHORTEST_WAIT if self.news else LONGEST_WAIT):
            self.write(progress)

    def losses(self, record: dict):
        """`record`: a line of losses.jsonl. Kept for the next write; needs no disk."""
        self.curves.add(record)
        self.last_report, self.news = record, True
        self.health.losses(record)

    def images(self, progress, pictures: dict):
        """`pictures`: uint8 (H, W, 3) by label. Kept: the first of an epoch, and those at --update_html_freq."""
        samples = [pictures, self.last_pictures] if self.last_pictures else [pictures]
        self.last_pictures = pictures
        self.health.pictures(progress.epoch, samples, 'train')
        if self.written_epoch == progress.epoch and not progress.every(self.html_freq):
            return
        for label, picture in pictures.items():
            write_image(self.folder / image_file(progress.epoch, label), picture)
        self.labels, self.version, self.written_epoch = list(pictures), progress.total_iters, progress.epoch
        if progress.epoch not in self.epochs:
            self.epochs.append(progress.epoch)
            self.write_page()
        self.news = True

    def validation(self, progress, samples: list[dict]):
        """`samples`: the visuals of the fixed images, uint8 (H, W, 3) by label, in the same order each time."""
        self.health.pictures(progress.epoch, samples, 'validation')
        self.validation_set.add(progress, samples)
        self.news = True

    def close(self, progress, state: str):
        """`state`: 'finished', 'stopped by ...' or 'failed: ...'; nobody needs to look for news afterwards."""
        self.state = state
        self.write_page()
        self.write(progress)

    # ---- files

    def write(self, progress):
        with self.pace.measured(progress), whole_file(self.folder / 'data.js') as file:
            text = json.dumps(without_nan(self.data(progress)), separators=(',', ':'), allow_nan=False)
            file.write(f'pixmorph({text})\n')
        self.news = False

    def data(self, progress) -> dict:
        return dict(
            name=self.name, state=self.state, updated=time.time(), expected=self.pace.expected, device=self.device,
            progress=dict(
                epoch=progress.epoch, last_epoch=progress.last_epoch, epoch_iter=progress.epoch_iter,
                epoch_size=progress.epoch_size, iteration=progress.iteration, max_iters=progress.max_iters,
                total_iters=progress.total_iters, total_images=self.total_images, rate=self.pace.rate(progress),
                elapsed=self.pace.elapsed, continued_at=self.continued_at,
                lr=self.last_report.get('lr'), data_wait=self.last_report.get('data_wait')),
            curves=self.curves.as_dict(), health=list(self.health.notes.values()),
            epochs=ranges(self.epochs), labels=self.labels, version=self.version, width=self.width,
            validation=self.validation_set.as_dict(), options=self.options)

    def write_page(self):
        """index.html: what needs no scripts, and the script that shows the rest."""
        rows = [plain_row(epoch, self.labels, self.width) for epoch in reversed(self.epochs[-STATIC_EPOCHS:])]
        left_out = len(self.epochs) - len(rows)
        notes = [f'<p>Pictures of {left_out} earlier epochs are in the folder web/images.</p>'] * (left_out > 0)
        refresh = '<noscript><meta http-equiv="refresh" content="60"></noscript>' * (self.state == 'running')
        with whole_file(self.folder / 'index.html') as file:
            file.write(page('live.html', 'live.js', title=f'Experiment name = {self.name}',
                            refresh=refresh, rows='\n'.join([*rows, *notes])))


class Pace:
    """When to write, and how fast the run goes."""

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
        """A context that notes when and how long a write was."""
        self.marks.append((time.monotonic(), progress.total_iters))
        return self

    def __enter__(self):
        self.written = time.monotonic()

    def __exit__(self, *_):
        self.cost, self.written = time.monotonic() - self.written, time.monotonic()

    def rate(self, progress) -> float:
        """Images per second by the clock on the wall, saving and pages counted in; 0 while unknown."""
        start, images = self.marks[0]
        return max(0.0, (progress.total_iters - images) / max(1e-9, time.monotonic() - start))

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def expected(self) -> float:
        """Seconds until the next news at the latest, by what was seen."""
        return max(LONGEST_WAIT, self.cost / SHARE) + self.longest_gap


def image_file(epoch: int, label: str) -> str:
    return f'images/epoch{epoch:03d}_{label}.png'


def plain_row(epoch: int, labels: list[str], width: int) -> str:
    """The pictures of an epoch as HTML."""
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
    """JSON has no words for numbers that are none."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def page(template: str, script: str, title: str, **parts: str) -> str:
    """A page of ours with its style and script inside; nothing else may run, nothing remote may be loaded.

    `title` is text; `parts` are HTML.
    """
    looks = f'const COLOURS = {json.dumps(COLOURS)}, MARKERS = {json.dumps(MARKERS)};\n'
    code = looks + asset('chart.js') + asset(script) + parts.pop('data', '')
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = (f"default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'; "
              f"script-src 'sha256-{digest}' 'self' file:; base-uri 'none'; form-action 'none'")
    return Template(asset(template)).substitute(title=html.escape(title), policy=policy, style=asset('live.css'),
                                                script=code, **parts)


def asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding='utf-8')
