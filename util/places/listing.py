"""Lists of very many files, stored between starts, and read again whenever something may have changed."""
import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from util.files import atomic_write

from .paths import Paths

VERSION = 1
SETTLED = 60        # seconds without a change before a list is stored: two changes in one tick of a clock look like one
# file systems that note a change of a folder in its times; those of FUSE need not, such as object storage
TRUSTED = ('ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'zfs', 'f2fs', 'overlay', 'tmpfs', 'nfs', 'nfs4', 'lustre', 'gpfs',
           'ceph', 'beegfs')
MOUNTS = '/proc/mounts'


def cache_place(kind: str, name, suffix: str) -> Path | None:
    """A file of our cache: never next to the user's images; None if there is no home folder."""
    base = os.environ.get('XDG_CACHE_HOME', '')
    if not os.path.isabs(base):
        home = os.path.expanduser('~')
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, '.cache')
    digest = hashlib.blake2b(os.fsencode(name), digest_size=12).hexdigest()
    return Path(base) / 'pixmorph' / f'{kind}-{digest}{suffix}'


def version_of(place) -> list[int]:
    """Of a folder it changes with every file that is added, removed or renamed; of a file, whenever it is written.

    Nobody can set the second time back.
    """
    status = os.stat(place)
    return [status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def load(folder, base: str, key: str) -> tuple[Paths, dict] | None:
    """The stored list of a folder and what was stored with it; None if there is none, or if it may be outdated.

    `base` is what its names are relative to: the folder itself, or that of the tars that `folder` names.
    """
    file = cache_place('files', os.path.abspath(folder), '.list')
    try:
        with open(file, 'rb') as stream:
            head = json.loads(stream.readline())
            place = stream.tell()
        if head['version'] != VERSION or head['key'] != key or not all(
                version_of(os.path.join(base, name)) == version for name, version in head['folders'].items()):
            return None
        # as the file is mapped, processes share the memory
        names = np.memmap(file, np.uint8, 'r', offset=place)
        if len(names) != head['bytes']:
            return None
        return Paths(base, names), head
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save(folder, key: str, paths: Paths, folders: dict[str, list[int]], **more):
    """Store a list, with the versions that its folders and tars had before they were read, unless that is not safe."""
    file = cache_place('files', os.path.abspath(folder), '.list')
    newest = max(max(version[:2]) for version in folders.values())
    if file is None or time.time_ns() - newest < SETTLED * 10**9 or not is_trusted(paths.folder):
        return
    head = dict(version=VERSION, key=key, folders=folders, bytes=len(paths.names), date=time.strftime('%Y-%m-%d %H:%M'),
                **more)
    with suppress(OSError, UnicodeEncodeError):
        with atomic_write(file, 'wb') as stream:
            stream.write(json.dumps(head).encode() + b'\n')
            stream.write(paths.names.data)


def is_trusted(folder) -> bool:
    """True if the folder is on a file system that notes all changes."""
    try:
        lines = Path(MOUNTS).read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        return False
    place = os.path.join(os.path.realpath(folder), '')
    kinds = {point.replace('\\040', ' '): kind for _, point, kind, *_ in map(str.split, lines)}
    mounts = [point for point in kinds if place.startswith(os.path.join(point, ''))]
    return bool(mounts) and kinds[max(mounts, key=len)] in TRUSTED
