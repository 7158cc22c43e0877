"""Sizes and kinds of many image files, from their headers alone, and remembered for the next run. Needs no torch."""
import hashlib
import json
import os
import stat
import threading
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import PIL

from data.image_folder import MAX_PIXELS, ORIENTATION, open_image, reason
from util.console import say
from util.errors import ResourceError
from util.files import atomic_write

THREADS = 8                 # reading headers waits for the disk, or for a server
VERSION = f'1, Pillow {PIL.__version__}'


class Header(NamedTuple):
    width: int              # as the image is seen, upright
    height: int
    mode: str = ''          # of Pillow: RGB, L, P, I;16, ...
    turned: bool = False    # by its EXIF orientation
    transparent: bool = False
    problem: str = ''       # why it cannot be read; its size is then 0x0


def read_header(path: str, max_pixels: int = MAX_PIXELS) -> Header:
    """What the header of a file tells; never raises."""
    try:
        with open_image(path, max_pixels) as image:
            # Pillow would read all of a PNG to look for an orientation
            known = image.format == 'TIFF' or 'exif' in image.info
            orientation = image.getexif().get(ORIENTATION, 1) if known else 1
            width, height = reversed(image.size) if orientation in (5, 6, 7, 8) else image.size
            transparent = image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info
            return Header(width, height, image.mode, orientation in range(2, 9), transparent)
    except Exception as error:
        return Header(0, 0, problem=reason(error))


def scan(paths: list[str], folder, max_pixels: int = MAX_PIXELS, timeout: float = 0) -> dict[str, Header]:
    """{path: header} of the files in `folder`; only those that are new or changed since the last scan are read.

    Raises a `ResourceError` when nothing was read for `timeout` seconds (0: waits for ever).
    """
    file = cache_file(folder)
    known = load_cache(file)
    stamps = {path: stamp(path) for path in paths}
    found = {path: Header(*known[path][2:]) for path in paths if fits(known.get(path), stamps[path], max_pixels)}
    missing = [path for path in paths if path not in found]
    found.update(read_headers(missing, folder, max_pixels, timeout))
    fresh = {path: [*stamps[path], *found[path]] for path in missing if stamps[path] and not found[path].problem}
    if fresh:
        save_cache(file, {**known, **fresh})
    return {path: found[path] for path in paths}


def stamp(path: str) -> list[int] | None:
    """Size and time of change; None for what is no plain file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns] if stat.S_ISREG(status.st_mode) else None


def fits(entry, now, max_pixels: int) -> bool:
    return bool(entry and now) and entry[:2] == now and entry[2] * entry[3] <= max_pixels


def read_headers(paths: list[str], folder, max_pixels: int, timeout: float) -> dict[str, Header]:
    """Headers by several threads, which are left behind if they hang: nothing waits for them at the exit."""
    found, under_way, waiting = {}, {}, iter(paths)
    lock = threading.Lock()

    def work(number):
        while True:
            with lock:
                path = next(waiting, None)
            if path is None:
                return
            under_way[number] = path
            found[path] = read_header(path, max_pixels)
            del under_way[number]

    with warnings.catch_warnings():     # Pillow on files that it reads all the same
        warnings.simplefilter('ignore')
        for number in range(min(THREADS, len(paths))):
            threading.Thread(target=work, args=(number,), daemon=True).start()
        wait_for(found, under_way, len(paths), folder, timeout)
    return found


def wait_for(found: dict, under_way: dict, total: int, folder, timeout: float):
    """Return when `found` has `total` entries; tell about it if that takes longer than two seconds."""
    began = moved = time.monotonic()
    told, seen = began - 8, 0
    while len(found) < total:
        time.sleep(0.005 if time.monotonic() - began < 1 else 0.1)
        now = time.monotonic()
        if len(found) > seen:
            seen, moved = len(found), now
        if timeout and now - moved > timeout:
            hanging = ', '.join(sorted(under_way.values())[:3])
            raise ResourceError(f'reading {hanging} has taken longer than --data_timeout {timeout:g} seconds; '
                                f'is the disk or server of {Path(folder).absolute()} alive?')
        if now - told > 10:
            told = now
            say(f'looking at {total} images in {Path(folder).absolute()}: {100 * seen // total} %')


def cache_file(folder) -> Path | None:
    """Where the headers of a folder are remembered: never among the user's data; None without a home."""
    base = os.environ.get('XDG_CACHE_HOME', '')
    if not os.path.isabs(base):
        home = os.path.expanduser('~')
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, '.cache')
    name = hashlib.blake2b(os.fsencode(os.path.abspath(folder)), digest_size=12).hexdigest()
    return Path(base) / 'pixmorph' / f'headers-{name}.json'


def load_cache(file: Path | None) -> dict[str, list]:
    """{path: [bytes, time of change, *header]}; empty if there is none of this version."""
    try:
        stored = json.loads(file.read_text(encoding='utf-8')) if file else {}
        entries = stored['entries'] if stored.get('version') == VERSION else {}
        return {path: entry for path, entry in entries.items() if len(entry) == 2 + len(Header._fields)}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return {}


def save_cache(file: Path | None, entries: dict[str, list]):
    """Remember headers; without a place for that the next run reads them again."""
    try:
        if file:
            with atomic_write(file) as stream:
                json.dump(dict(version=VERSION, entries=entries), stream)
    except OSError:
        pass
