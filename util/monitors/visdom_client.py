"""Brings windows to a visdom server from a thread of its own; the server may be slow, dead or another program."""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from util.monitors.visdom_assets import INSTALL

FLUSH_SECONDS = 1.0
CONNECT_SECONDS = 2.0
LAST_SECONDS = 20.0     # for a server that was started just before the end of the run
GREETING_SECONDS = 2.0  # for the first answer; later ones may follow a large picture
ANSWER_SECONDS = 8.0
LONGEST_DELAY = 30.0
LONGEST_ANSWER = 1 << 20    # bytes; visdom's are short
SAVE_SECONDS = 300.0
FAILURES_BEFORE_START = 2  # a server that the user is just starting goes first
SAME_NOTICES = 2
MOST_NOTICES = 8  # a server that comes and goes all night fills no log
LOCAL_HOSTS = ('localhost', '127.0.0.1', '::1')


class Unreachable(Exception):
    """No server answers, or what answers is not a healthy visdom."""


def whole_answer(single_bytes, patience: float) -> bytes:
    """All bytes of an answer, which come one by one: so a body that drips, or never ends, is noticed."""
    answer, limit = bytearray(), time.monotonic() + patience
    for byte in single_bytes:
        answer += byte
        if len(answer) > LONGEST_ANSWER or time.monotonic() > limit:
            raise Unreachable(' (what runs there does not end its answer)')
    return bytes(answer)


def is_local(url: str) -> bool:
    return urlsplit(url if '//' in url else f'//{url}').hostname in LOCAL_HOSTS


def credentials() -> dict:
    """The user name and password of the environment; they stand in no option, so in no file of a run."""
    password = os.environ.get('VISDOM_PASSWORD')
    return {'username': os.environ.get('VISDOM_USERNAME') or 'visdom', 'password': password} if password else {}


def client_class() -> type:
    """visdom's client without its ways to hang, to report failures as successes and to talk on the console.

    Importing visdom takes seconds, so not at the top. A call of the class succeeds or raises `Unreachable`.
    """
    import requests
    import visdom

    logging.getLogger('visdom').setLevel(logging.CRITICAL)

    class Client(visdom.Visdom):
        def __init__(self, **address):
            self.patience = GREETING_SECONDS
            super().__init__(**address, raise_exceptions=True, use_incoming_socket=False)
            if self.win_exists('none of this name') is not False:
                raise Unreachable(' (what runs there is no visdom)')
            self.patience = ANSWER_SECONDS

        @property
        def session(self):
            if self._session is None:
                self._session = requests.Session()
                # A proxy set for the internet does not know this machine's ports.
                self._session.trust_env = not is_local(self.server)
                if self.username:   # a server without a login answers 500 and needs none
                    login = {'username': self.username, 'password': self.password}
                    self._ask(f'{self.server}:{self.port}{self.base_url}', json=login)
            return self._session

        def _ask(self, url, **content):
            """The answer to a post and its text."""
            with self.session.post(url, **content, stream=True, allow_redirects=False,
                                    timeout=(CONNECT_SECONDS, self.patience)) as answer:
                return answer, whole_answer(answer.iter_content(1), self.patience).decode(errors='replace')

        def _handle_post(self, url, data=None):
            try:
                answer, text = self._ask(url, data=data or {})
            except requests.RequestException:
                raise Unreachable('')
            if answer.status_code != requests.codes.ok:
                raise Unreachable(f' (what runs there answers {answer.status_code})')
            return text

    return Client


class Sender:
    """Brings windows to the server from a daemon thread: at most once a second, the newest content of each.

    A server that came late or was restarted gets all windows again. The thread calls `prepare` every second.
    starter: what may start a server where none answers (`util.visdom_start.LocalServer`), or None.
    """

    def __init__(self, server: str, port: int, env: str, notify: Callable, where: str, prepare: Callable, starter=None):
        self._server = (server if '//' in server else f'http://{server}').rstrip('/')
        self._port, self._env = port, env.replace('/', '_')  # a server takes what follows a slash for an address
        self._advice = f'training goes on; curves are in {where} (--display_id -1 to silence)'
        self._notify, self._prepare, self._starter = notify, prepare, starter
        self._told: Counter[str] = Counter()

        self._lock = threading.Lock()  # guards the next two; held for moments only
        self._windows: dict[str, Callable] = {}  # window id -> draw(client, window id)
        self._changed: set[str] = set()

        self._connect = self._client = None
        self._landmark = None  # a window that the server has, unless it was restarted
        self._reached: bool | None = None
        self._failures, self._retry_at, self._save_at = 0, 0.0, 0.0
        self.delivered = False  # everything shown so far is on the server
        self._closing, self._late = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name='visdom', daemon=True)

    def start(self):
        self._thread.start()

    @property
    def url(self) -> str:
        return f'{self._server}:{self._port}'

    def show(self, window: str, draw: Callable):
        """Let the thread call `draw(client, window)` soon, and again for a server that lost the window."""
        with self._lock:
            self._windows[window] = draw
            self._changed.add(window)
            self.delivered = False

    def close(self, timeout: float):
        self._closing.set()
        self._thread.join(timeout)
        if self._starter and self._reached is None:     # a server was started just now, and may still fetch its assets
            self._thread.join(LAST_SECONDS)
        if self._starter:
            self._late.set()
            self._thread.join(CONNECT_SECONDS)
            self._starter.close()

    def _work(self):
        try:
            self._connect = client_class()
            while not self._closing.is_set():
                self._round()
                self._closing.wait(FLUSH_SECONDS)
            self._retry_at = 0.0
            self._round()
            while self._reached is None and 0 < self._failures < FAILURES_BEFORE_START:     # the run was that short
                self._retry_at = 0.0
                self._round()
            self._save()
        except ImportError as error:
            self._tell(f'visdom cannot be imported ({error}) - {self._advice}; {INSTALL}')
        except Exception as error:
            self._tell(f'visdom switched off by {error!r} - {self._advice}')

    def _round(self):
        self._prepare()
        if time.monotonic() < self._retry_at:
            return
        try:
            self._send_changed()
        except Unreachable as error:
            self._fail(error)
        else:
            self._failures = 0
            again = '; all curves and images are there' if self._reached is False else ''
            self._now(True, f'visdom: {self.url}/env/{quote(self._env)}{again}')
            if time.monotonic() >= self._save_at:
                self._save()

    def _fail(self, error):
        self._client = None
        self._failures += 1
        if self._start():
            return self._round()
        self._retry_at = time.monotonic() + min(FLUSH_SECONDS * 2 ** (self._failures - 1), LONGEST_DELAY)
        if not self._starter or self._failures >= FAILURES_BEFORE_START or self._reached or self._closing.is_set():
            self._now(False, f'visdom not reachable at {self.url}{error} - {self._advice}')

    def _start(self) -> bool:
        """Start a server where none ever answered; whether there is one now."""
        if not self._starter or self._reached is not None or self._failures != FAILURES_BEFORE_START:
            return False
        port, notice = self._starter.start(self._late)
        if notice:
            self._tell(notice)
        self._port = port or self._port
        return port is not None

    def _now(self, reached, notice):
        if reached != self._reached:
            self._tell(notice)
        self._reached = reached

    def _tell(self, notice):
        self._told[notice] += 1
        if self._told[notice] <= SAME_NOTICES and self._told.total() <= MOST_NOTICES:
            self._notify(notice)

    def _send_changed(self):
        with self._lock:
            windows, changed, self._changed = dict(self._windows), self._changed, set()
        if self._client is None:
            address = {'server': self._server, 'port': self._port, 'env': self._env}
            self._client = self._connect(**address, **credentials())
            changed = set(windows)
        elif changed and self._landmark and not self._client.win_exists(self._landmark):
            changed = set(windows)
        for window, draw in windows.items():
            if window in changed:
                self._send(window, draw)
        with self._lock:
            self.delivered = not self._changed

    def _send(self, window, draw):
        try:
            draw(self._client, window)
            self._landmark = window
        except Unreachable:
            raise
        except Exception as error:
            self._tell(f'visdom window {window} cannot be drawn: {error!r}')

    def _save(self):
        """Ask the server to keep the windows on its disk; it is no harm to the run where that fails."""
        self._save_at = time.monotonic() + SAVE_SECONDS
        if self._client:
            try:
                self._client.save([self._env])
            except Exception:   # noqa: S110 - its disk may be full, and the run's own files have everything
                self._client = None
