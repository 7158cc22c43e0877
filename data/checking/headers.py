"""Sizes and types of many image files, read from their headers and cached for the next run. Needs no torch."""
import json
import os
import stat
import threading
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import PIL

from util.console import say
from util.errors import ResourceError
from util.files import atomic_write
from util.places import shards
from util.places.files import is_packed, shown
from util.places.listing import cache_place
from util.raster.kinds import MAX_PIXELS, Kind, kind_of
from util.raster.read import reason

THREADS = 8                 # reading headers waits for the disk or a server
VERSION = f'2, Pillow {PIL.__version__}'
SECONDS_BETWEEN_LINES = 10  # of progress; the first one comes after 2 seconds


class Header(NamedTuple):
    """A `Kind`, whose fields come first, or why there is none."""

    width: int              # after rotation by EXIF
    height: int
    dtype: str = 'uint8'
    channels: int = 3
    colors: str = 'RGB'
    pages: int = 1
    mode: str = ''
    turned: bool = False
    transparent: bool = False
    problem: str = ''       # why it cannot be read; the size is then 0x0

    @property
    def kind(self) -> Kind:
        return Kind(*self[:-1])


def read_header(path: str, max_pixels: int = MAX_PIXELS) -> Header:
    """The header of a file; never raises."""
    try:
        return Header(*kind_of(path, max_pixels))
    except Exception as error:
        return Header(0, 0, problem=reason(error))


def some_headers(paths: list[str], max_pixels: int = MAX_PIXELS, most: int = 100) -> dict[str, Header]:
    """{path: header} of up to `most` files, spread over the list."""
    return {path: read_header(path, max_pixels) for path in paths[::max(1, len(paths) // most)]}


def scan(paths: list[str], folder, max_pixels: int = MAX_PIXELS, timeout: float = 0,
         kind: str = 'headers') -> dict[str, Header]:
    """{path: header} of the files in `folder`; only files that are new or changed since the last scan are read.

    `kind` names the cache: a sample has one of its own, which is loaded quickly.
    Raises a `ResourceError` if nothing could be read for `timeout` seconds (0: no limit).
    """
    file = cache_place(kind, shown(folder), '.json')
    cached = load_cache(file)
    versions = {path: version_of(path) for path in paths}
    found = {path: Header(*cached[path][2:]) for path in paths
             if is_valid(cached.get(path), versions[path], max_pixels)}
    missing = [path for path in paths if path not in found]
    found.update(read_headers(missing, folder, max_pixels, timeout))
    new = {path: [*versions[path], *found[path]] for path in missing if versions[path] and not found[path].problem}
    if new:
        save_cache(file, {**cached, **new})
    return {path: found[path] for path in paths}


def version_of(path: str) -> list[int] | None:
    """[size, modification time, or in a tar the checksum]; None if it is not a regular file."""
    try:
        if is_packed(path):
            return shards.version_of(path)
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns] if stat.S_ISREG(status.st_mode) else None


def is_valid(entry: list | None, version: list[int] | None, max_pixels: int) -> bool:
    return bool(entry and version) and entry[:2] == version and entry[2] * entry[3] <= max_pixels


def read_headers(paths: list[str], folder, max_pixels: int, timeout: float) -> dict[str, Header]:
    """Read headers with several daemon threads: threads that hang do not keep the program from exiting."""
    found, in_progress = {}, {}
    waiting = iter(paths)
    lock = threading.Lock()

    def work(number):
        while True:
            with lock:
                path = next(waiting, None)
            if path is None:
                return
            in_progress[number] = path
            found[path] = read_header(path, max_pixels)
            del in_progress[number]

    with warnings.catch_warnings():     # of Pillow about files that it can read nevertheless
        warnings.simplefilter('ignore')
        for number in range(min(THREADS, len(paths))):
            threading.Thread(target=work, args=(number,), daemon=True).start()
        wait_for(found, in_progress, len(paths), folder, timeout)
    return found


def wait_for(found: dict, in_progress: dict, total: int, folder, timeout: float):
    """Wait until `found` has `total` entries; print progress if it takes longer than two seconds."""
    start = last_read = time.monotonic()
    next_line = start + 2
    seen = 0
    while len(found) < total:
        time.sleep(0.005 if time.monotonic() - start < 1 else 0.1)
        now = time.monotonic()
        if len(found) > seen:
            seen, last_read = len(found), now
        if timeout and now - last_read > timeout:
            raise ResourceError(f'reading {", ".join(sorted(in_progress.values())[:3])} takes longer than '
                                f'--data_timeout {timeout:g} seconds; check the disk or server of '
                                f'{shown(folder)}')
        if now > next_line:
            next_line = now + SECONDS_BETWEEN_LINES
            say(f'checking {total} images in {shown(folder)}: {100 * seen // total} %')


def load_cache(file: Path | None) -> dict[str, list]:
    """{path: [size, modification time, *header]}; empty if there is no valid cache of this version."""
    try:
        stored = json.loads(file.read_text(encoding='utf-8')) if file else {}
        entries = stored['entries'] if stored.get('version') == VERSION else {}
        return {path: entry for path, entry in entries.items() if len(entry) == 2 + len(Header._fields)}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return {}


def save_cache(file: Path | None, entries: dict[str, list]):
    """Cache headers; if that is not possible, the next run reads them again."""
    try:
        if file:
            with atomic_write(file) as stream:
                json.dump(dict(version=VERSION, entries=entries), stream)
    except OSError:
        pass
