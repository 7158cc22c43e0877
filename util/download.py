"""Fetch a file over HTTP: resumed, checked, and in its place only when all of it is right."""
import argparse
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from util.console import warn
from util.errors import UserError
from util.files import atomic_write, sha256
from util.registry import nearest

SERVER = 'https://efrosgans.eecs.berkeley.edu'
TIMEOUT = 30
CHUNK = 1 << 20
BUSY = (408, 425, 429, 500, 502, 503, 504)
TORCH_HEADS = (b'PK\x03\x04', b'\x80\x02')  # since torch 1.6, and before
HEADS = {'.zip': (b'PK\x03\x04',), '.gz': (b'\x1f\x8b',), '.pth': TORCH_HEADS}


@dataclass(frozen=True)
class Source:
    """A file of a server; `by_hand` tells what to do with the file when it was fetched by other means."""
    path: str
    by_hand: str
    server: str = SERVER
    sha256: str | None = None  # None: not known; the first download is remembered

    @property
    def url(self) -> str:
        return f'{self.server.rstrip("/")}/{self.path}'

    def problem(self, found: str, hint: str = '') -> UserError:
        return UserError(f'{self.url} {found}; {hint}fetch it by other means and {self.by_hand}')


class Unfinished(Exception):
    """The connection failed; the next one may do better."""


def choose(name: str, names) -> str:
    """`name` if it is one of `names`; otherwise a `UserError` with the nearest and all of them."""
    if name not in names:
        raise UserError(f'{name} cannot be downloaded{nearest(name, names)} (there are: {", ".join(names)})')
    return name


def check_server(server: str):
    parts = urllib.parse.urlsplit(server)
    if parts.scheme not in ('https', 'http') or not parts.netloc:
        raise UserError(f'--server {server} is no address; give one like {SERVER}')


# ---------------------------------------------------------------------------------------------- fetching

def fetch(source: Source, target: Path, table: Path, tries: int = 4, pause: float = 1.0) -> str:
    """Download `source` to `target`, which appears only when all of it came, and return its SHA-256.

    An interrupted download is kept as `<target>.part` and carried on by the next call. Raises a `UserError`
    for a file that differs from the checksum known or remembered in `table` (see `remember`).
    """
    part = Path(f'{target}.part')
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        receive_patiently(source, part, tries, pause)
        digest = accept(part, source, table)
        os.replace(part, target)
        discard(part)
        return digest
    except OSError as error:
        raise UserError(f'{part.absolute()} cannot be written ({error.strerror or error}); make room or choose '
                        f'another folder, then run the same command again')


def receive_patiently(source, part, tries, pause):
    """Connect until all has come, but not more than `tries` times in a row without getting further."""
    failures = 0
    while True:
        before = size_of(part)
        try:
            return receive(source, part)
        except Unfinished as error:
            failures = 1 if size_of(part) > before else failures + 1
            if failures >= tries:
                raise source.problem(f'cannot be downloaded ({error})', resume_hint(part))
            delay = pause * 2 ** (failures - 1)
            warn(f'{source.url}: {error}; trying again in {delay:g} s')
            time.sleep(delay)


def receive(source, part):
    """One connection: from the end of `part` if the server still has the same file, else from the start."""
    offset = size_of(part) if tag_file(part).exists() else 0
    with connect(source, part, offset) as response:
        check_response(response, source)
        if response.status != 206:
            offset = 0
            discard(part)
            remember_tag(part, response.headers)
        elif not response.headers.get('Content-Range', '').startswith(f'bytes {offset}-'):
            discard(part)
            raise Unfinished('the server sent another range than was asked for')
        length = response.headers.get('Content-Length', '')
        total = offset + int(length) if length.isdecimal() else None
        store(response, part, offset, total)
    if total is not None and size_of(part) < total:
        raise Unfinished(f'the connection ended after {size_of(part)} of {total} bytes')


def connect(source, part, offset):
    request = urllib.request.Request(source.url, headers={'User-Agent': 'pixmorph'})
    if offset:
        request.add_header('Range', f'bytes={offset}-')
        request.add_header('If-Range', tag_file(part).read_text(encoding='utf-8'))
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            discard(part)
        elif error.code not in BUSY:
            raise source.problem(f'answers {error.code} {error.reason}')
        raise Unfinished(f'the server answers {error.code} {error.reason}')
    except (OSError, http.client.HTTPException) as error:
        raise Unfinished(reason(error))
    return response


def check_response(response, source):
    if source.url.startswith('https:') and not response.url.startswith('https:'):
        raise source.problem(f'leads to the unprotected address {response.url}')
    if 'html' in response.headers.get_content_type():
        raise source.problem('answers with a web page instead of the file')


def store(response, part, offset, total):
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - offset > free:
        raise UserError(f'{part.parent.absolute()} has {free >> 20} MiB free and the download needs '
                        f'{total - offset >> 20} MiB; make room or choose another folder')
    with open(part, 'ab' if offset else 'wb') as file, tqdm(
            desc=part.stem, total=total, initial=offset, unit='B', unit_scale=True, disable=None) as bar:
        for chunk in chunks(response):
            file.write(chunk)
            bar.update(len(chunk))


def chunks(response):
    """What comes, piece by piece; only the network's errors are `Unfinished`, not those of the disk."""
    while True:
        try:
            chunk = response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise Unfinished(reason(error))
        if not chunk:
            return
        yield chunk


def reason(error) -> str:
    return str(getattr(error, 'reason', None) or error or type(error).__name__)


def size_of(part) -> int:
    return part.stat().st_size if part.exists() else 0


def resume_hint(part) -> str:
    return f'run the same command again to go on after {size_of(part)} bytes, or ' if size_of(part) else ''


def tag_file(part) -> Path:
    return Path(f'{part}.tag')


def remember_tag(part, headers):
    """Note what the server calls this version of the file; without a name for it nothing can be resumed."""
    tag = headers.get('ETag', '')
    tag = tag if tag.startswith('"') else headers.get('Last-Modified')
    if tag:
        tag_file(part).write_text(tag, encoding='utf-8')


def discard(part):
    part.unlink(missing_ok=True)
    tag_file(part).unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------- checking

def accept(part, source, table):
    """Check what came; it is removed if it is wrong, so that the next download starts anew."""
    try:
        check_head(part, source)
        return check_sum(part, source, table)
    except UserError:
        discard(part)
        raise


def check_head(file, source):
    with open(file, 'rb') as stream:
        head = stream.read(4)
    ending = Path(source.path).suffix
    if not head.startswith(HEADS[ending]):
        raise source.problem(f'sent something that is no {ending} file (it begins with {head!r})')


def check_sum(file: Path, source: Source, table: Path) -> str:
    """The SHA-256 of `file`; a `UserError` if another one is known for `source` or stands in `table`."""
    known = source.sha256 or read_table(table).get(source.path)
    digest = sha256(file)
    if known and digest != known:
        where = 'known to this program' if source.sha256 else f'of an earlier download, see {table.absolute()}'
        raise UserError(f'{Path(source.path).name} has the sha256 {digest}, not {known} ({where}); do not use it, '
                        f'or correct that entry if the file was renewed on purpose')
    print(f'sha256 {digest}  {source.path} ({"as expected" if known else "not known before"})', flush=True)
    return digest


def remember(digest: str, source: Source, table: Path):
    """Note the checksum of a file that proved good in the JSON file `table`: the next one must be the same."""
    with atomic_write(table) as stream:
        json.dump({**read_table(table), source.path: digest}, stream, indent=2, sort_keys=True)


def read_table(table) -> dict:
    try:
        entries = json.loads(table.read_text(encoding='utf-8'))
        return {str(path): str(digest) for path, digest in entries.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):
        raise UserError(f'{table.absolute()} is no table of checksums (JSON, path to sha256); remove it')


# ------------------------------------------------------------------------------------------------ models

def model_command(argv, description: str, names, folder: str, options: str):
    """The command line of the tools that download pretrained generators from `folder` of the server.

    `options` are those of test.py that fit the generators.
    """
    parser = argparse.ArgumentParser(description=description, epilog=f'names: {", ".join(names)}')
    parser.add_argument('name', metavar='NAME', help='which model; see below')
    parser.add_argument('--checkpoints_dir', type=Path, default='./checkpoints', help='where runs are saved')
    parser.add_argument('--server', default=SERVER, help='address of the server or of a mirror')
    parser.add_argument('--verbose', action='store_true', help='show where an error comes from')
    opt = parser.parse_args(argv)
    choose(opt.name, names)
    check_server(opt.server)
    target = fetch_model(opt.name, f'{folder}/{opt.name}.pth', opt.checkpoints_dir, opt.server)
    print(f'wrote {target.absolute()}; use it with: python test.py --name {target.parent.name} {options} '
          f'--checkpoints_dir {opt.checkpoints_dir} --dataroot FOLDER_OF_IMAGES')


def fetch_model(name: str, path: str, checkpoints_dir: Path, server: str = SERVER) -> Path:
    """Download a generator to `<checkpoints_dir>/<name>_pretrained/latest_net_G.pth` and return that path."""
    target = checkpoints_dir / f'{name}_pretrained' / 'latest_net_G.pth'
    if target.exists():
        raise UserError(f'{target.absolute()} exists; remove or rename it to download it again')
    source, table = Source(path, f'place it as {target.absolute()}', server), checkpoints_dir / 'checksums.json'
    download = checkpoints_dir / Path(path).name
    digest = fetch(source, download, table)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(download, target)
    remember(digest, source, table)
    return target
