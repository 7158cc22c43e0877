"""The visdom monitor: curves, images and options on a live page, sent by a thread that may fail without harm."""

import html
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from util.console import warn
from util.monitors.base import Monitor
from util.monitors.curves import record_of
from util.monitors.visdom_client import Sender, is_local
from util.monitors.visdom_start import LocalServer

CURVE_POINTS = 500
IMAGE_PADDING = 2
LABEL_HEIGHT = 14
JPEG_QUALITY = 85  # as PNG, images early in training take several times the time and space
CLOSING_SECONDS = 5.0
LOSS_SIZE = {'width': 640, 'height': 400}
AXIS_BUTTONS = [{'type': 'buttons', 'direction': 'right', 'x': 0, 'xanchor': 'left', 'y': 1.2, 'buttons': [
    {'label': kind, 'method': 'relayout', 'args': [{'yaxis.type': kind, 'yaxis.autorange': True}]}
    for kind in ('linear', 'log')]}]


class Curve:
    """At most `CURVE_POINTS` window means of a series of any length; NaN, a gap, for what is not finite."""

    def __init__(self):
        self.stride = 1
        self._points: list[tuple[float, float]] = []
        self._sum_x = self._sum_y = 0.0
        self._count = 0

    def add(self, x: float, y: float):
        self._sum_x += x
        self._sum_y += y if math.isfinite(y) else math.nan
        self._count += 1
        if self._count == self.stride:
            self._points.append(self._window_mean())
            self._sum_x = self._sum_y = 0.0
            self._count = 0
        if len(self._points) == CURVE_POINTS:
            self._halve()

    def points(self) -> np.ndarray:
        """n x 2 array of (x, y), n >= 1 after the first `add`; the unfinished window is its last point."""
        return np.array(self._points + ([self._window_mean()] if self._count else []))

    def _window_mean(self):
        return self._sum_x / self._count, self._sum_y / self._count

    def _halve(self):
        pairs = np.array(self._points).reshape(-1, 2, 2)
        self._points = [tuple(point) for point in pairs.mean(axis=1).tolist()]
        self.stride *= 2


def side_by_side(curves: list[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """X and Y of shape longest x curves; a curve that began later is filled with NaN at its end."""
    points = [curve.points() for curve in curves]
    both = np.full((max(map(len, points)), len(curves), 2), np.nan)
    for column, series in enumerate(points):
        both[: len(series), column] = series
    return both[..., 0], both[..., 1]


class RunLog:
    """The lines that were added to a run's losses.jsonl since the last look; a torn one is left out."""

    def __init__(self, path: Path):
        self.path, self._offset = Path(path), 0

    def shortened(self) -> bool:
        """Whether the file lost lines that were read, so that everything has to be read again."""
        if self.path.is_file() and self.path.stat().st_size < self._offset:
            self._offset = 0
            return True
        return False

    def new(self) -> Iterator[dict]:
        if not self.path.is_file():
            return
        with open(self.path, 'rb') as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b'\n'):    # it is being written
                    return
                self._offset += len(line)
                if record := record_of(line):
                    yield record


class Curves:
    """The curves of each window, from the lines of a run's log."""

    def __init__(self, log: RunLog):
        self._log = log
        self._series: dict[str, dict[str, Curve]] = {'loss': {}, 'lr': {}, 'throughput': {}}
        self.axis: str | None = None    # what is counted: epochs, where the log tells how long one is, or images

    def read(self) -> bool:
        """Whether there was anything new."""
        if found := self._log.shortened():
            self._series = {window: {} for window in self._series}
        for record in self._log.new():
            found = True
            self._add(record)
        return found

    def __getitem__(self, window: str) -> dict[str, Curve]:
        return self._series[window]

    def _add(self, record):
        self.axis = self.axis or ('epoch' if record.get('epoch_size') else 'images')
        x = record['total_iters']
        if self.axis == 'epoch':
            x = record['epoch'] + min(1.0, record.get('iters', 0) / (record.get('epoch_size') or math.inf))
        for window, name, value in values(record):
            self._series[window].setdefault(name, Curve()).add(x, float(value))


def values(record: dict):
    """(window, curve, value) of everything that a line of the log has."""
    yield from (('loss', name, value) for name, value in record['losses'].items())
    for window, name, key in (('lr', 'learning rate', 'lr'), ('throughput', 'images/s', 'images_per_s')):
        if isinstance(record.get(key), (int, float)):
            yield window, name, record[key]


# ---- pictures and tables

def image_grid(images: list[np.ndarray], columns: int) -> np.ndarray:
    """One H x W x 3 uint8 image of uint8 images (H x W, or with 1 or 3 channels; any sizes) on white."""
    images = [np.atleast_3d(image) for image in images]
    height = max(image.shape[0] for image in images) + 2 * IMAGE_PADDING
    width = max(image.shape[1] for image in images) + 2 * IMAGE_PADDING
    rows = math.ceil(len(images) / columns)
    grid = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for index, image in enumerate(images):
        top = index // columns * height + IMAGE_PADDING
        left = index % columns * width + IMAGE_PADDING
        grid[top : top + image.shape[0], left : left + image.shape[1]] = image
    return grid


def scaled_down(image: np.ndarray, longest: int) -> np.ndarray:
    """`image` with no side over `longest` pixels; smaller ones stay as they are."""
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return image
    factor = longest / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(np.squeeze(image)).resize(size, Image.Resampling.BOX))


def labelled(image: np.ndarray, label: str) -> np.ndarray:
    """`image` under a white strip with `label`, wide enough for both."""
    font, text = ImageFont.load_default(), label.encode('ascii', 'replace').decode()
    width = max(image.shape[1], math.ceil(font.getlength(text)) + 2)
    whole = Image.new('RGB', (width, image.shape[0] + LABEL_HEIGHT), 'white')
    ImageDraw.Draw(whole).text((1, 1), text, fill='black', font=font)
    pixels = np.array(whole)
    pixels[LABEL_HEIGHT:, : image.shape[1]] = np.atleast_3d(image)
    return pixels


def html_table(rows: list[list[str]]) -> str:
    """An HTML table; the cells are text and come out escaped."""
    style = 'border: 1px solid #888; padding: 2px 8px'
    cells = ([f'<td style="{style}">{html.escape(str(cell))}</td>' for cell in row] for row in rows)
    body = ''.join(f'<tr>{"".join(row)}</tr>' for row in cells)
    return f'<table style="border-collapse: collapse">{body}</table>'


# ---- the monitor

class VisdomBoard(Monitor):
    """A run on a visdom page. No method raises, waits or does work worth a millisecond.

    Windows: loss, lr, throughput, images, validation, options; `_<display_id>` is added if it is not 1.
    The curves come from `<folder>/losses.jsonl`, so a resumed or replayed run has all of them, at any server.

    server: address with or without http://; ncols: images per row of the grid, <= 0 for a window per image;
    winsize: width of one image in pixels; notify: called with one line, from another thread.
    """

    def __init__(self, name: str, folder: Path, options: Mapping[str, object], *, server: str = 'http://localhost',
                 port: int = 8097, env: str = '', ncols: int = 4, display_id: int = 1, winsize: int = 256,
                 log_axis: bool = False, notify: Callable[[str], None] = warn, starter: LocalServer | None = None):
        self.name, self.ncols, self.winsize, self.log_axis = name, ncols, winsize, log_axis
        self._suffix = '' if display_id == 1 else f'_{display_id}'
        log = Path(folder) / 'losses.jsonl'
        self._curves, self._news = Curves(RunLog(log)), True     # the curves belong to the sender's thread
        self._options = [[key, value] for key, value in options.items()]
        self._sender = Sender(server, port, env or name, notify, str(log.absolute()), self._collect, starter)
        self._sender.start()

    def losses(self, record: dict) -> None:
        """Let the thread look into losses.jsonl, which has the record."""
        self._news = True

    def images(self, progress, pictures: Mapping[str, np.ndarray], kind: str) -> None:
        """Labelled H x W x 3 uint8 images; they are read later, so they must not change afterwards."""
        window = 'validation' if kind == 'validation' else 'images'
        caption = f'epoch {progress.epoch}, image {progress.total_iters}'
        if self.ncols > 0:
            draw = partial(self._draw_images, dict(pictures), f'{self.name} {window}', caption)
            self._show(window, draw)
            return
        for label, image in pictures.items():
            self._show(f'{window} {label}', partial(self._draw_images, {label: image}, label, caption))

    def close(self, timeout: float = CLOSING_SECONDS) -> bool:
        """Send what is not yet sent; give up after `timeout` seconds. Whether the server has everything."""
        self._sender.close(timeout)
        return self._sender.delivered

    def _show(self, window, draw):
        self._sender.show(window + self._suffix, draw)

    # What follows runs in the sender's thread.

    def _collect(self):
        if not self._news:
            return
        self._news = False
        if self._curves.read():
            self._show('loss', partial(self._draw_curves, 'loss', 'loss over time', 'loss'))
            self._show('lr', partial(self._draw_curves, 'lr', 'learning rate', 'learning rate'))
            self._show('throughput', partial(self._draw_curves, 'throughput', 'images per second', 'images/s'))
        if self._options:   # the first time; a page is laid out in the order in which windows come
            self._show('options', partial(self._draw_table, self._options, f'{self.name} options'))
            self._options = []

    def _draw_curves(self, kind, title, label, client, window):
        curves = self._curves[kind]
        if not curves:
            return
        x, y = side_by_side(list(curves.values()))
        opts = {'title': f'{self.name} {title}', 'xlabel': self._curves.axis, 'ylabel': label, 'legend': list(curves)}
        if kind == 'loss':
            opts.update(ytype='log' if self.log_axis else 'linear')
            opts.update(layoutopts={'plotly': {'updatemenus': AXIS_BUTTONS}}, **LOSS_SIZE)
        client.line(X=x, Y=y, win=window, opts=opts)

    def _draw_images(self, pictures, title, caption, client, window):
        columns = max(1, min(self.ncols, len(pictures)))
        cells = [labelled(scaled_down(image, self.winsize), label) for label, image in pictures.items()]
        grid = image_grid(cells, columns)
        width = self.winsize * columns
        opts = {'title': title, 'caption': caption, 'jpgquality': JPEG_QUALITY, 'width': width,
                'height': width * grid.shape[0] // grid.shape[1]}
        client.image(grid.transpose(2, 0, 1), win=window, opts=opts)

    def _draw_table(self, rows, title, client, window):
        client.text(html_table(rows), win=window, opts={'title': title})


def board_of(opt, folder: Path, notify: Callable[[str], None]) -> VisdomBoard:
    """The board that the options of train.py describe; each run has an environment unless --display_env names one."""
    named = opt.display_env if 'display_env' in opt.given or opt.display_env != 'main' else opt.name
    starter = None
    if is_local(opt.display_server) and not opt.no_display_server:
        starter = LocalServer(folder, opt.display_port, opt.display_stop_server, opt.visdom_assets or None)
    return VisdomBoard(opt.name, folder, opt.as_dict(), server=opt.display_server, port=opt.display_port, env=named,
                       ncols=opt.display_ncols, display_id=opt.display_id, winsize=opt.display_winsize,
                       log_axis=opt.display_log, notify=notify, starter=starter)
