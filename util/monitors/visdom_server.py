"""Talking to a visdom server, starting one on this machine, and the browser files of its page."""
import atexit
import functools
import hashlib
import io
import logging
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from util.errors import UserError
from util.files import atomic_write

SCRIPT = Path(__file__).resolve().parents[2] / 'scripts' / 'visdom_server.py'
ENVIRONMENTS = Path.home() / '.visdom'      # visdom's own default
LOOPBACK = '127.0.0.1'
CONNECT_SECONDS, ANSWER_SECONDS, START_SECONDS, DOWNLOAD_SECONDS = 2.0, 4.0, 25.0, 15.0
PORTS, MAX_ANSWER_BYTES, MAX_BYTES = 10, 100, 8 << 20   # visdom answers in a word; other programs may never end

# A data worker that is forked during a Popen keeps the pipe on which Popen waits, so the two take turns.
FORKING = threading.Lock()
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(before=FORKING.acquire, after_in_parent=FORKING.release, after_in_child=FORKING.release)


class Unreachable(Exception):
    """No healthy visdom server answers."""


def is_local(server: str) -> bool:
    return (urlsplit(server if '//' in server else f'//{server}').hostname or server) in ('localhost', LOOPBACK, '::1')


def credentials() -> dict:
    """User name and password from the environment: options are written to files of the run."""
    password = os.environ.get('VISDOM_PASSWORD')
    return {'username': os.environ.get('VISDOM_USERNAME') or 'visdom', 'password': password} if password else {}


def connect(server: str, port: int, env: str):
    """A `visdom.Visdom` whose calls succeed, or raise `Unreachable` or `TimeoutError` within seconds.

    The original has no timeouts, ignores HTTP errors, and prints. Importing it takes seconds.
    """
    import requests
    import visdom
    logging.getLogger('visdom').setLevel(logging.CRITICAL)

    class Client(visdom.Visdom):
        @functools.cached_property
        def session(self):
            session = requests.Session()
            session.trust_env = not is_local(self.server)   # a proxy cannot reach the ports of this machine
            if self.username:
                session.post(f'{self.server}:{self.port}', timeout=ANSWER_SECONDS, stream=True,
                             json={'username': self.username, 'password': self.password}).close()
            return session

        def _handle_post(self, url, data=None):
            try:
                with self.session.post(url, data, timeout=(CONNECT_SECONDS, ANSWER_SECONDS), stream=True,
                                       allow_redirects=False) as answer:
                    answer.raise_for_status()
                    return next(answer.iter_content(MAX_ANSWER_BYTES), b'').decode(errors='replace')
            except requests.HTTPError as error:
                raise Unreachable(f' (what runs there answers {error.response.status_code})')
            except requests.Timeout:
                raise TimeoutError(' (what runs there does not answer)')
            except requests.RequestException:
                raise Unreachable('')

    client = Client(server, port=port, env=env, raise_exceptions=True, use_incoming_socket=False, **credentials())
    if client.win_exists('none of this name') is not False:
        raise Unreachable(' (what runs there is not visdom)')
    return client


def find_or_start(first_port: int, folder: Path, stop: bool = False, assets: str = '') -> tuple[int, str]:
    """(port, line for the user or '') of the visdom at `first_port`, or at one of the next if other programs have it.

    It is started if there is none, and keeps running afterwards unless `stop` is set. It logs to the run's `folder`.
    """
    log, taken = folder.absolute() / 'visdom_server.log', ''
    for port in range(first_port, min(first_port + PORTS, 65536)):
        process = start(port, folder, log, stop, assets) if is_free(port) else None
        try:
            connect(f'http://{LOOPBACK}', port, 'main')
        except TimeoutError:        # perhaps a visdom that is busy
            break
        except Unreachable:
            if process:
                last_line = log.read_text(encoding='utf-8', errors='replace').strip().rpartition('\n')[2]
                return first_port, f'could not start a visdom server: {last_line.removeprefix("error: ")} (log: {log})'
            taken = f'port {first_port} belongs to another program; '
            continue
        if process is None or process.poll() is not None:
            return port, f'{taken}using the visdom server on port {port}' if taken else ''
        end = ('stops with the run' if stop else 'keeps running after training; to stop it: python '
               f'scripts/visdom_server.py --stop {port}')
        return port, f'{taken}started a visdom server on port {port} (it {end}; log: {log})'
    return first_port, ''


def is_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket() as probe:
        probe.settimeout(CONNECT_SECONDS)
        return probe.connect_ex((host if host != '0.0.0.0' else LOOPBACK, port)) != 0


def start(port: int, folder: Path, log: Path, stop: bool, assets: str) -> subprocess.Popen:
    """Start a server and wait until its port answers, or it has failed."""
    env_path = ENVIRONMENTS if os.access(ENVIRONMENTS.parent, os.W_OK) else folder / 'visdom'
    command = [sys.executable, SCRIPT, '--port', str(port), '--env_path', env_path, '--visdom_assets', assets]
    with open(log, 'ab') as output, FORKING:    # not a pipe: a server stops when an unread pipe is full
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   start_new_session=True)
    if stop:
        atexit.register(process.kill)
    limit = time.monotonic() + START_SECONDS
    while is_free(port) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.1)
    if is_free(port):
        process.kill()
    return process


# What visdom's page needs, {archive of npm: {path under static/: file in it}}; visdom would load 29 files from CDNs.
PACKAGES = {
    'jquery-3.1.1': {'js/jquery.min.js': 'dist/jquery.min.js'},
    'bootstrap-3.3.7': {path: f'dist/{path}' for path in (
        'js/bootstrap.min.js', 'css/bootstrap.min.css', 'fonts/glyphicons-halflings-regular.woff2')},
    'plotly.js-dist-min-2.11.1': {'js/plotly-plotly.min.js': 'plotly.min.js'},
    'layout-bin-packer-1.4.0': {'js/layout_bin_packer.js': 'dist/layout-bin-packer.js'},
    'react-resizable-1.4.6': {'css/react-resizable-styles.css': 'css/styles.css'},
    'react-grid-layout-0.16.3': {'css/react-grid-layout-styles.css': 'css/styles.css'},
    'sjcl-1.0.7': {'js/sjcl.js': 'sjcl.js'},    # for the login page
}
SHA256 = 'ba685e9e171ad9f0c7c216468e57f21e00541ac5db3123112d323a787e914fd7'   # of their contents, in this order


def complete(static: Path, folder: str = ''):
    """Add the browser files to `static`, from npm or from `folder`, which has them or their archives.

    A `UserError`, and none is added, if one is missing or they are not the known ones.
    """
    if all((static / path).is_file() for files in PACKAGES.values() for path in files):
        return      # they were checked when they were written
    contents, problems = {}, []
    for package, files in PACKAGES.items():
        try:
            contents |= files_of(package, files, folder)
        except Exception as error:      # a registry may answer anything
            problems.append(f'cannot get {package} ({error}); get it by other means and use --visdom_assets DIR')
    if problems:
        raise UserError(*problems)
    if hashlib.sha256(b''.join(contents.values())).hexdigest() != SHA256:
        raise UserError(f'the browser files from {folder or "npm"} are not those of visdom 0.2.4: sha256 differs')
    for path, content in contents.items():
        with atomic_write(static / path, 'wb') as file:
            file.write(content)


def files_of(package: str, files: dict[str, str], folder: str) -> dict[str, bytes]:
    """{path under static/: content}"""
    if folder and all(Path(folder, path).is_file() for path in files):
        return {path: Path(folder, path).read_bytes() for path in files}
    registry = os.environ.get('NPM_CONFIG_REGISTRY', '').rstrip('/') or 'https://registry.npmjs.org'
    place = Path(folder).absolute().as_uri() if folder else f'{registry}/{package.rpartition("-")[0]}/-'
    with urllib.request.urlopen(f'{place}/{package}.tgz', timeout=DOWNLOAD_SECONDS) as answer:
        archive = io.BytesIO(answer.read(MAX_BYTES))
    with tarfile.open(fileobj=archive, mode='r:gz') as members:
        return {path: members.extractfile(f'package/{member}').read(MAX_BYTES) for path, member in files.items()}
