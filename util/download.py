"""Download a file over HTTP: resumed after an interruption, checked, and put in place only when it is complete.

The standard library and torch.hub have no resume; the tag of the server's version of the file makes it safe here.
"""
import http.client
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import NamedTuple

from util.cli import Parser
from util.console import warn
from util.errors import StorageError, UserError
from util.files import atomic_write, sha256
from util.registry import nearest

SERVER = 'https://efrosgans.eecs.berkeley.edu'
TIMEOUT = 30
CHUNK = 1 << 20
BUSY = (408, 425, 429, 500, 502, 503, 504)
NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
HEADS = {'.zip': (b'PK\x03\x04',), '.gz': (b'\x1f\x8b',),
         '.pth': (b'PK\x03\x04', b'\x80\x02')}      # since PyTorch 1.6, and before


class Source(NamedTuple):
    """A file on a server; `by_hand` says what to do with a copy of the file from elsewhere."""
    path: str
    by_hand: str
    server: str = SERVER

    @property
    def url(self) -> str:
        return f'{self.server.rstrip("/")}/{self.path}'

    def problem(self, found: str, hint: str = '') -> UserError:
        return UserError(f'{self.url} {found}; {hint}get the file elsewhere and {self.by_hand}')


def choose(name: str, names) -> str:
    """`name` if it is one of `names`; otherwise a `UserError` that lists them and the nearest."""
    if name not in names:
        raise UserError(f'{name} cannot be downloaded{nearest(name, names)} (available: {", ".join(names)})')
    return name


def check_server(server: str):
    parts = urllib.parse.urlsplit(server)
    if parts.scheme not in ('https', 'http') or not parts.netloc:
        raise UserError(f'--server {server} is not a web address; give one like {SERVER}')


def fetch(source: Source, target: Path, table: Path, tries: int = 4, pause: float = 1.0) -> str:
    """Download `source` to `target` and return its SHA-256; `target` appears only when the file is complete.

    An interrupted download stays as `<target>.part`, and the next call resumes it. Raises a `UserError` if the
    checksum differs from the one in `table` (see `remember`).
    """
    part = Part(source, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.receive_patiently(tries, pause)
        try:
            part.check_head()
            digest = check_sum(part.file, source, table)
        except UserError:
            part.discard()
            raise
        os.replace(part.file, target)
        part.discard()
        return digest
    except OSError as error:
        raise StorageError(f'{part.file.absolute()} cannot be written ({error.strerror or error}); make room or choose '
                           'another folder, then run the same command again')


class Part:
    """The unfinished file of a download, and next to it the server's tag for that version of the file."""

    def __init__(self, source: Source, target: Path):
        self.source = source
        self.file = Path(f'{target}.part')
        self.tag = Path(f'{target}.part.tag')

    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def discard(self):
        self.file.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)

    def receive_patiently(self, tries: int, pause: float):
        """Reconnect until the file is complete, or until `tries` connections in a row brought nothing new."""
        failures = 0
        while True:
            before = self.size()
            try:
                return self.receive()
            except NETWORK as error:
                code = getattr(error, 'code', BUSY[0])
                if code == 416 and before:      # the server's file is shorter now
                    self.discard()
                elif code not in BUSY:
                    raise self.source.problem(f'answers {code} {error.reason}')
                failures = 1 if self.size() > before else failures + 1
                why = str(error).strip('<>') or type(error).__name__
                if failures >= tries:
                    hint = f'run the same command again to resume after {self.size()} bytes, or ' if self.size() else ''
                    raise self.source.problem(f'cannot be downloaded ({why})', hint)
                delay = pause * 2 ** (failures - 1)
                warn(f'{self.source.url}: {why}; trying again in {delay:g} s')
                time.sleep(delay)

    def receive(self):
        """One connection: from the end of the file if the server still has the same version, else from the start."""
        request = urllib.request.Request(self.source.url, headers={'User-Agent': 'pixmorph'})
        offset = self.size() if self.tag.exists() else 0
        if offset:
            request.add_header('Range', f'bytes={offset}-')
            request.add_header('If-Range', self.tag.read_text(encoding='utf-8'))
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            check_response(response, self.source)
            if not response.headers.get('Content-Range', '').startswith(f'bytes {offset}-'):
                offset = 0
                self.start(response)
            self.store(response, offset)

    def start(self, response):
        """Begin a new file; without a tag of the server it cannot be resumed."""
        self.discard()
        if response.status == 206:
            raise ConnectionError('the server sent another range than was requested')
        tag = response.headers.get('ETag', '')
        tag = tag if tag.startswith('"') else response.headers.get('Last-Modified')     # W/"..." may be other bytes
        if tag:
            self.tag.write_text(tag, encoding='utf-8')

    def store(self, response, offset: int):
        """Write the body of the response from `offset` on."""
        length = response.headers.get('Content-Length', '')
        total = offset + int(length) if length.isdecimal() else offset
        free = shutil.disk_usage(self.file.parent).free
        if total - offset > free:
            raise UserError(f'{self.file.parent.absolute()} has {free >> 20} MiB free and the download needs '
                            f'{total - offset >> 20} MiB; make room or choose another folder')
        from tqdm import tqdm  # not needed to check a command line
        bar = tqdm(desc=self.file.stem, total=total or None, initial=offset, unit='B', unit_scale=True, disable=None)
        with bar, open(self.file, 'ab' if offset else 'wb') as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        if self.size() < total:
            raise ConnectionError(f'the connection ended after {self.size()} of {total} bytes')

    def check_head(self):
        with open(self.file, 'rb') as stream:
            head = stream.read(4)
        ending = Path(self.source.path).suffix
        if not head.startswith(HEADS[ending]):
            raise self.source.problem(f'sent something that is not a {ending} file (it begins with {head!r})')


def check_response(response, source: Source):
    if source.url.startswith('https:') and not response.url.startswith('https:'):
        raise source.problem(f'redirects to {response.url}, which is not https')
    if 'html' in response.headers.get_content_type():
        raise source.problem('answers with a web page instead of the file')


def check_sum(file: Path, source: Source, table: Path) -> str:
    """The SHA-256 of `file`; a `UserError` if `table` has another one for `source`."""
    known = read_table(table).get(source.path)
    digest = sha256(file)
    if known and digest != known:
        raise UserError(f'{Path(source.path).name} has the sha256 {digest}, but an earlier download had {known}; do '
                        f'not use it, or remove its entry from {table.absolute()} if the file was renewed on purpose')
    print(f'sha256 {digest}  {source.path} ({"as before" if known else "first download"})', flush=True)
    return digest


def remember(digest: str, source: Source, table: Path):
    """Add the checksum of a good file to the JSON file `table`; later downloads must have the same."""
    with atomic_write(table) as stream:
        json.dump({**read_table(table), source.path: digest}, stream, indent=2, sort_keys=True)


def read_table(table: Path) -> dict[str, str]:
    try:
        entries = json.loads(table.read_text(encoding='utf-8'))
        return {str(path): str(digest) for path, digest in entries.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):
        raise UserError(f'{table.absolute()} is not a table of checksums (JSON, path to sha256); remove it')


def model_command(argv, description: str, names, folder: str, options: str):
    """The program that downloads a pretrained generator from `folder` of the server.

    `options` are those of test.py that fit the generators.
    """
    parser = Parser(description, allow_abbrev=True, epilog=f'names: {", ".join(names)}')
    parser.add_argument('name', metavar='NAME', help='which model; see below')
    parser.add_argument('--checkpoints_dir', type=Path, default='./checkpoints', help='where runs are saved')
    parser.add_argument('--server', default=SERVER, help='address of the server or of a mirror')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    opt = parser.parse_args(argv)
    check_server(opt.server)
    path = f'{folder}/{choose(opt.name, names)}.pth'
    target = opt.checkpoints_dir / f'{opt.name}_pretrained' / 'latest_net_G.pth'
    if target.exists():
        raise UserError(f'{target.absolute()} exists; remove or rename it to download it again')
    source = Source(path, f'save it as {target.absolute()}', opt.server)
    download = opt.checkpoints_dir / f'{opt.name}.pth'
    table = opt.checkpoints_dir / 'checksums.json'
    digest = fetch(source, download, table)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(download, target)
    remember(digest, source, table)
    print(f'wrote {target.absolute()}; use it with: python test.py --name {target.parent.name} {options} '
          f'--checkpoints_dir {opt.checkpoints_dir} --dataroot FOLDER_OF_IMAGES')
