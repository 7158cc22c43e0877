"""The visdom monitor: curves and images on a live page, sent by a thread that may fail without harm."""

import html
import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import urlsplit

import numpy as np

from util.cli import warn
from util.visdom_assets import INSTALL

CURVE_POINTS = 500
FLUSH_SECONDS = 1.0
TIMEOUT = (2, 5)  # seconds to connect, seconds to answer
LONGEST_DELAY = 30.0
SAME_NOTICES = 3  # a server that comes and goes all night fills no log
IMAGE_PADDING = 2
JPEG_QUALITY = 85  # as PNG, images early in training take several times the time and space


class Unreachable(Exception):
    """No server answers, or what answers is not a healthy visdom."""


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


def html_table(rows: list[list[str]]) -> str:
    """An HTML table; the cells are text and come out escaped."""
    style = 'border: 1px solid #888; padding: 2px 8px'
    cells = ([f'<td style="{style}">{html.escape(str(cell))}</td>' for cell in row] for row in rows)
    body = ''.join(f'<tr>{"".join(row)}</tr>' for row in cells)
    return f'<table style="border-collapse: collapse">{body}</table>'


def client_class() -> type:
    """visdom's client without its ways to hang, to report failures as successes and to talk on the console.

    Importing visdom takes seconds, so not at the top. A call of the class succeeds or raises `Unreachable`.
    """
    import requests
    import visdom

    logging.getLogger('visdom').setLevel(logging.CRITICAL)

    class Client(visdom.Visdom):
        def _handle_post(self, url, data=None):
            # A proxy set for the internet does not know this machine's ports.
            self.session.trust_env = urlsplit(url).hostname not in ('localhost', '127.0.0.1', '::1')
            try:
                answer = self.session.post(url, data=data or {}, timeout=TIMEOUT)
                answer.raise_for_status()
            except requests.HTTPError as error:
                raise Unreachable(f' (what runs there answers {error.response.status_code})')
            except requests.RequestException:
                raise Unreachable('')
            return answer.text

    return Client


class Sender:
    """Brings windows to the server from a daemon thread: at most once a second, the newest content of each.

    A server that came late or was restarted gets all windows again. The thread calls `prepare` every second.
    """

    def __init__(self, server: str, port: int, env: str, notify: Callable, where: str, prepare: Callable):
        server = (server if '//' in server else f'http://{server}').rstrip('/')
        self.url = f'{server}:{port}'
        # The server would take what follows a slash for another address.
        self._address = {'server': server, 'port': port, 'env': env.replace('/', '_')}
        self._advice = f'training goes on; curves are in {where} (--display_id -1 to silence)'
        self._notify, self._prepare = notify, prepare
        self._told: Counter[str] = Counter()

        self._lock = threading.Lock()  # guards the next two; held for moments only
        self._windows: dict[str, Callable] = {}  # window id -> draw(client, window id)
        self._changed: set[str] = set()

        self._connect = self._client = None
        self._landmark = None  # a window that the server has, unless it was restarted
        self._reached: bool | None = None
        self._retry_at, self._delay = 0.0, FLUSH_SECONDS
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name='visdom', daemon=True)
        self._thread.start()

    def show(self, window: str, draw: Callable):
        """Let the thread call `draw(client, window)` soon, and again for a server that lost the window."""
        if self._thread.is_alive():
            with self._lock:
                self._windows[window] = draw
                self._changed.add(window)

    def close(self, timeout: float):
        self._closing.set()
        self._thread.join(timeout)

    def _work(self):
        try:
            Client = client_class()
            self._connect = partial(Client, **self._address, raise_exceptions=True, use_incoming_socket=False)
            self._flush()
            while not self._closing.wait(FLUSH_SECONDS):
                self._prepare()
                if time.monotonic() >= self._retry_at:
                    self._flush()
            self._flush()
        except ImportError as error:
            self._tell(f'visdom cannot be imported ({error}) - {self._advice}; {INSTALL}')
        except Exception as error:
            self._tell(f'visdom switched off by {error!r} - {self._advice}')

    def _flush(self):
        try:
            self._send_changed()
        except Unreachable as error:
            self._client = None
            self._retry_at = time.monotonic() + self._delay
            self._delay = min(2 * self._delay, LONGEST_DELAY)
            self._now(False, f'visdom not reachable at {self.url}{error} - {self._advice}')
        else:
            self._delay = FLUSH_SECONDS
            self._now(True, f'visdom reached at {self.url}; all curves and images are there')

    def _now(self, reached, notice):
        """Tell of a change; a server that is there from the start is not worth a line."""
        if reached != self._reached and not (reached and self._reached is None):
            self._tell(notice)
        self._reached = reached

    def _tell(self, notice):
        self._told[notice] += 1
        if self._told[notice] <= SAME_NOTICES:
            self._notify(notice)

    def _send_changed(self):
        with self._lock:
            windows, changed, self._changed = dict(self._windows), self._changed, set()
        if self._client is None:
            self._client = self._connect()
            changed = set(windows)
        elif changed and self._landmark and not self._client.win_exists(self._landmark):
            changed = set(windows)
        for window, draw in windows.items():
            if window in changed:
                self._send(window, draw)

    def _send(self, window, draw):
        try:
            draw(self._client, window)
            self._landmark = window
        except Unreachable:
            raise
        except Exception as error:
            self._tell(f'visdom window {window} cannot be drawn: {error!r}')


class VisdomBoard:
    """Losses, images and tables on a visdom page. No method raises, waits or does work worth a millisecond.

    Windows: `display_id` (losses), the numbers after it (images, labels), `display_id` and a title (tables).

    server: address with or without http://; ncols: images per row of the grid, <= 0 for a window per image;
    winsize: shown width of one image in pixels; notify: called with one line, from another thread;
    where: what to look at while the server is away, for the notices.
    """

    def __init__(
        self,
        name: str,
        server: str = 'http://localhost',
        port: int = 8097,
        env: str = 'main',
        ncols: int = 4,
        display_id: int = 1,
        winsize: int = 256,
        notify: Callable[[str], None] = warn,
        where: str = 'the log',
    ):
        self.name, self.ncols, self.display_id, self.winsize = name, ncols, display_id, winsize
        self._samples: deque = deque(maxlen=10_000)  # the newest losses, on their way into the curves
        self._curves: dict[str, Curve] = {}  # belongs to the sender's thread
        self._sender = Sender(server, port, env, notify, where, prepare=self._collect)

    def losses(self, progress, values: Mapping[str, float]) -> None:
        """One point per loss at epoch `progress.epoch + progress.fraction`."""
        if values:
            self._samples.append((progress.epoch + progress.fraction, dict(values)))
            self._sender.show(self._window(0), self._draw_losses)

    def images(self, progress, visuals: Mapping[str, np.ndarray]) -> None:
        """Labelled H x W x C uint8 images; they are read later, so they must not change afterwards."""
        if self.ncols <= 0:
            for place, (label, image) in enumerate(visuals.items(), 1):
                self._sender.show(self._window(place), partial(self._draw_images, [image], 1, label))
        elif visuals:
            self._show_grid(list(visuals.values()), list(visuals), min(self.ncols, len(visuals)))

    def table(self, title: str, rows: Mapping[str, object]) -> None:
        """A two-column table, such as the options of the run."""
        draw = partial(self._draw_table, list(rows.items()), title)
        self._sender.show(f'{self.display_id} {title}', draw)

    def close(self, timeout: float = 2.0) -> None:
        """Send what is not yet sent if the server is there; give up after `timeout` seconds."""
        self._sender.close(timeout)

    def _window(self, place):
        return str(self.display_id + place)

    def _show_grid(self, images, labels, columns):
        rows = [labels[start : start + columns] for start in range(0, len(labels), columns)]
        draw_images = partial(self._draw_images, images, columns, f'{self.name} images')
        self._sender.show(self._window(1), draw_images)
        self._sender.show(self._window(2), partial(self._draw_table, rows, f'{self.name} labels'))

    # What follows runs in the sender's thread.

    def _collect(self):
        while self._samples:
            step, values = self._samples.popleft()
            for name, value in values.items():
                self._curves.setdefault(name, Curve()).add(step, float(value))

    def _draw_losses(self, client, window):
        self._collect()
        x, y = side_by_side(list(self._curves.values()))
        title = f'{self.name} loss over time'
        opts = {'title': title, 'xlabel': 'epoch', 'ylabel': 'loss', 'legend': list(self._curves)}
        client.line(X=x, Y=y, win=window, opts=opts)

    def _draw_images(self, images, columns, title, client, window):
        grid = image_grid(images, columns)
        width = self.winsize * columns
        height = width * grid.shape[0] // grid.shape[1]
        opts = {'title': title, 'jpgquality': JPEG_QUALITY, 'width': width, 'height': height}
        client.image(grid.transpose(2, 0, 1), win=window, opts=opts)

    def _draw_table(self, rows, title, client, window):
        client.text(html_table(rows), win=window, opts={'title': title})
