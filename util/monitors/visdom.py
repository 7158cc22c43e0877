"""The visdom monitor: curves, images and options of a run in the browser."""
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from html import escape
from urllib.parse import quote

import numpy as np

from util.console import warn
from util.images import image_grid
from util.monitors.base import Monitor
from util.monitors.curves import Curves, as_losses
from util.monitors.visdom_server import Unreachable, connect

SEND_SECONDS, LONGEST_DELAY, SAVE_SECONDS = 1.0, 30.0, 300.0
MAX_NOTICES = 8     # a server that comes and goes all night does not fill the log
CURVE_POINTS, JPEG_QUALITY = 500, 85    # PNGs of images early in training take several times the time and space
CURVES = {'loss': ('loss over time', 'loss'), 'lr': ('learning rate', 'learning rate'),
          'throughput': ('images per second', 'images/s')}     # window: title, label of the y axis
FEW_POINTS, OPTION_COLUMNS, CAPTION_HEIGHT = 20, 3, 40
MARGINS = {'l': 70, 'r': 20, 't': 50, 'b': 60}      # on top: for the tool bar; the title is that of the window
AXIS_BUTTONS = [{'type': 'buttons', 'direction': 'right', 'x': 0, 'xanchor': 'left', 'y': 1.15, 'buttons': [
    {'label': kind, 'method': 'relayout', 'args': [{'yaxis.type': kind, 'yaxis.autorange': True}]}
    for kind in ('linear', 'log')]}]


class VisdomMonitor(Monitor):
    """Shows a run on a visdom server, which may be slow, dead or restarted. Runs in a `Background` thread.

    The server gets the newest content of each window, at most once a second, and all windows again if it lost them.
    history: earlier lines of losses.jsonl; columns: images per row, <= 0 for a window per image;
    display_id: if it is not 1, `_<display_id>` is appended to the names of the windows. given: names of the options
    that are shown first.
    """

    def __init__(self, name: str, options: Mapping, history: Iterable[dict] = (), *, server: str = 'http://localhost',
                 port: int = 8097, env: str = '', columns: int = 4, image_width: int = 256, log_scale: bool = False,
                 display_id: int = 1, given: Iterable[str] = (), notify: Callable[[str], None] = warn):
        self.name, self.log_scale = name, log_scale
        self.columns, self.image_width = columns, image_width
        self._server, self._port = (server if '//' in server else f'http://{server}').rstrip('/'), port
        self.url = f'{self._server}:{port}'
        self.env = (env or name).replace('/', '_')      # visdom would take the rest for another address
        self._suffix = '' if display_id == 1 else f'_{display_id}'
        self._curves, self._axis = {window: Curves(CURVE_POINTS) for window in CURVES}, ''
        self._windows: dict[str, Callable] = {}     # name: draw(client, name) with the newest content
        self._changed: set[str] = set()
        self._client = self._landmark = None        # landmark: a window that the server should have
        self._next_try = self._next_save = self._failures = 0
        self._notify, self._notices = notify, ['']
        self.delivered: bool | None = None          # whether the server has all that was shown before `flush`
        self._options = dict(options), set(given)       # until there is a window that is shown before them
        for record in history:
            if 'metrics' in record:
                self.metrics(record)
            else:
                self.losses(record)

    def losses(self, record):
        self._axis = self._axis or ('epoch' if record.get('epoch_size') else 'images')
        values = {'loss': record['losses'], 'lr': {'learning rate': record.get('lr')},
                  'throughput': {'images/s': record.get('images_per_s')}}
        if self._windows:
            self._show_options()
        for kind in CURVES:
            if None not in values[kind].values():
                self._curves[kind].add({**record, 'losses': values[kind]})
                self._show(kind, partial(self._draw_curves, kind))

    def metrics(self, record):
        """A window for each metric, as each has its own scale."""
        values = as_losses(record)
        self._axis = self._axis or 'epoch'
        for name, value in values['losses'].items():
            kind = f'metric {name}'
            self._curves.setdefault(kind, Curves(CURVE_POINTS)).add({**values, 'losses': {name: value}})
            self._show(kind, partial(self._draw_curves, kind))

    def images(self, progress, images, kind):
        window = {'train': 'images', 'validation': 'validation'}.get(kind, f'{kind} images'.replace('_', ' '))
        caption = f'epoch {progress.epoch}, image {progress.total_iters}'
        if self.columns > 0:
            self._show(window, partial(self._draw_images, images, f'{self.name} {window}', caption))
        else:
            for label, image in images.items():
                self._show(f'{window} {label}', partial(self._draw_images, {label: image}, label, caption))
        if self._curves['loss'].windows:
            self._show_options()

    def flush(self):
        if time.monotonic() < self._next_try:
            return
        try:
            self._send()
        except (Unreachable, TimeoutError) as error:
            if self.delivered is not False:
                self._tell(f'no visdom server at {self.url}{error}; training continues, and its losses are in '
                           f'losses.jsonl (--display_id -1 turns visdom off)')
            self._client, self.delivered = None, False
            self._failures += 1
        else:
            if not self.delivered:
                self._tell(f'visdom: {self.url}/env/{quote(self.env)}{"" if self.delivered is None else "; restored"}')
            self.delivered, self._failures = True, 0
        self._next_try = time.monotonic() + min(SEND_SECONDS * 2 ** self._failures, LONGEST_DELAY)

    def close(self):
        self._show_options()
        self._next_try = self._next_save = 0.0
        self.flush()

    def _show_options(self):
        """Once, after the losses and the first images: the page arranges windows in the order in which they arrive."""
        options, given = self._options
        if options:
            self._show('options', partial(self._draw_options, options, given))
            self._options = {}, given

    def _show(self, window, draw):
        self._windows[window + self._suffix] = draw
        self._changed.add(window + self._suffix)

    def _send(self):
        if not self._client or (self._changed and self._landmark and not self._client.win_exists(self._landmark)):
            self._client = self._client or connect(self._server, self._port, self.env)
            self._changed = set(self._windows)      # a new or restarted server gets all of them
        for window in [window for window in self._windows if window in self._changed]:
            try:
                self._windows[window](self._client, window)
                self._landmark = window
            except (Unreachable, TimeoutError):
                raise
            except Exception as error:
                self._tell(f'cannot draw the visdom window {window}: {error!r}')
            self._changed.discard(window)
        if time.monotonic() >= self._next_save:
            self._next_save = time.monotonic() + SAVE_SECONDS
            self._client.save([self.env])

    def _tell(self, notice):
        if notice != self._notices[-1] and len(self._notices) <= MAX_NOTICES:
            self._notices.append(notice)
            self._notify(notice)

    def _draw_curves(self, kind, client, window):
        curves, (title, label) = self._curves[kind], CURVES.get(kind, (kind, kind.partition(' ')[2]))
        series = curves.as_dict()['series']
        y = np.array(list(series.values()), float).T      # None becomes NaN, a gap
        x = np.array(curves.epoch_positions() if self._axis == 'epoch' else curves.as_dict()['x'], float)
        layout = {'title': '', 'margin': MARGINS, 'xaxis': {'title': {'text': self._axis}},
                  'yaxis': {'title': {'text': label}, 'exponentformat': 'e'}}
        if len(x) == 1:     # plotly would choose axes on which it is hard to see
            layout['xaxis']['range'] = [x[0] - 1, x[0] + 1] if self._axis == 'epoch' else [0, 2 * x[0]]
        if kind != 'loss' and len(finite := np.unique(y[np.isfinite(y)])) == 1:
            layout['yaxis']['range'] = [min(0, 2 * finite[0]), max(0, 2 * finite[0]) or 1]
        if kind == 'loss':
            layout['yaxis']['type'] = 'log' if self.log_scale else 'linear'
            layout['updatemenus'] = AXIS_BUTTONS
        client.line(Y=y, X=np.repeat(x[:, None], len(series), 1), win=window, opts={
            'title': f'{self.name} {title}', 'legend': list(series), 'showlegend': len(series) > 1,
            'markers': has_lone_points(y) or len(x) <= FEW_POINTS, 'markersize': 6,
            'width': 640 if kind == 'loss' else 420, 'height': 400 if kind == 'loss' else 300,
            'layoutopts': {'plotly': layout}})

    def _draw_images(self, images, title, caption, client, window):
        columns = columns_of(list(images), self.columns)
        grid = image_grid(images, columns, self.image_width)
        height, width = grid.shape[:2]      # shown pixel by pixel, so that labels are sharp
        client.image(grid.transpose(2, 0, 1), win=window, opts={
            'title': title, 'caption': caption, 'jpgquality': JPEG_QUALITY, 'width': width,
            'height': height + CAPTION_HEIGHT})

    def _draw_options(self, options, given, client, window):
        first = {name: value for name, value in options.items() if name in given}
        others = {name: value for name, value in options.items() if name not in given}
        height = 60 + 26 * len(first) + 17 * -(-len(others) // OPTION_COLUMNS)
        client.text(html_table(first) + html_columns(others), win=window, opts={
            'title': f'{self.name} options', 'width': 900, 'height': height})


def has_lone_points(curves: np.ndarray) -> bool:
    """Has one of the curves, (points, curves) with NaN as gaps, a point without a neighbor? No line shows it."""
    there = np.pad(np.isfinite(curves), ((1, 1), (0, 0)))
    return bool((there[1:-1] & ~there[:-2] & ~there[2:]).any())


def columns_of(labels: list[str], most: int) -> int:
    """Columns in which each example has whole rows: a divisor or a multiple of the number of its images.

    Fixed images are labeled 'fake_B 0', ..., 'fake_B 1': their label, and the number of the example.
    """
    examples = len({label.rpartition(' ')[2] for label in labels if label.rpartition(' ')[2].isdecimal()}) or 1
    each = max(1, len(labels) // examples)
    if each <= most:
        return min(len(labels), most // each * each)
    return next((columns for columns in range(most, 1, -1) if each % columns == 0), each if most > 1 else 1)


def html_columns(rows: Mapping[str, object]) -> str:
    lines = ''.join(f'<div>{escape(name)}: {escape(str(value))}</div>' for name, value in rows.items())
    return (f'<div style="columns: {OPTION_COLUMNS}; font-size: 12px; margin-top: 8px; overflow-wrap: anywhere">'
            f'{lines}</div>')


def html_table(rows: Mapping[str, object]) -> str:
    """A bold table, '' without rows."""
    if not rows:
        return ''
    cell = '<td style="border: 1px solid #888; padding: 2px 8px">'
    body = ''.join(f'<tr>{cell}{escape(name)}</td>{cell}{escape(str(value))}</td></tr>' for name, value in rows.items())
    return f'<table style="border-collapse: collapse; font-weight: bold">{body}</table>'
