"""Where the members of a tar are in it, so that each can be read without the others."""
import json
import os
import posixpath
import tarfile
import zlib
from bisect import bisect_left
from contextlib import suppress

import numpy as np

from util.console import say
from util.errors import UserError
from util.files import atomic_write

from . import remote
from .listing import cache_place
from .tar_names import INDEX as SUFFIX

VERSION = 1
BLOCK = tarfile.BLOCKSIZE
REMAKE = 'make the index again with python scripts/make_shards.py --index'


class Index:
    """The members of a tar, by name.

    The table stays in its file, which is mapped: processes share the memory, however many members there are.
    """

    def __init__(self, shard: str, head: dict, table: np.ndarray):
        """`table` has a row (name, offset, size, crc) for each member and is sorted by name, in bytes.

        `head`: 'tar', the version of the tar that the table is of, and 'checked': the rows have checksums.
        """
        self.shard = shard
        self.head = head
        self.table = np.asarray(table)      # the methods of a map are ten times as slow
        self.sorted_names = self.table['name']

    def __len__(self):
        return len(self.table)

    @property
    def names(self) -> list[str]:
        return [os.fsdecode(name) for name in self.sorted_names.tolist()]

    def find(self, name: str):
        """The row of a member; a ValueError if there is none."""
        wanted = os.fsencode(name)
        place = bisect_left(self.sorted_names, wanted)
        if place == len(self) or self.sorted_names[place] != wanted:
            raise ValueError(f'{self.shard} has no member {name}; the tar was made again, or the name is wrong')
        return self.table[place]

    def read(self, name: str) -> bytes:
        row = self.find(name)
        start, size = int(row['offset']), int(row['size'])
        data = read_range(self.shard, start, start + size)
        if len(data) < size:
            raise ValueError(f'{self.shard} ends in the middle of it; copy the tar again')
        if self.head['checked'] and zlib.crc32(data) != row['crc']:
            raise ValueError(f'its checksum is not that in the index of {self.shard}; copy the tar again, or {REMAKE}')
        return data

    def save(self, file):
        with atomic_write(file, 'wb') as stream:
            stream.write(json.dumps({**self.head, 'version': VERSION, 'width': self.table.dtype['name'].itemsize,
                                     'members': len(self)}).encode() + b'\n')
            stream.write(self.table.tobytes())


def row_type(width: int) -> np.dtype:
    return np.dtype([('name', f'S{width}'), ('offset', '<u8'), ('size', '<u8'), ('crc', '<u4')])


def load(shard: str, file) -> Index | None:
    """The index that is stored in a file; None if there is none that can be read."""
    if file is None:
        return None
    try:
        with open(file, 'rb') as stream:
            head = json.loads(stream.readline())
            place = stream.tell()
        if head['version'] != VERSION:
            return None
        table = np.memmap(file, row_type(head['width']), 'r', place) if head['members'] else (
            np.empty(0, row_type(head['width'])))
        return Index(shard, head, table) if len(table) == head['members'] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_index(shard: str) -> Index:
    """The index next to a tar, or the one in our cache, which is made if there is none.

    Raises a `UserError` if the tar is damaged, or has changed since the index next to it was made.
    """
    version = version_of(shard)
    found = load(shard, given_index(shard))
    if found:
        if found.head['tar'][0] != version[0] or not found.head['checked'] and found.head['tar'] != version:
            raise UserError(f'{shard} has changed since its index {shard}{SUFFIX} was made: it has {version[0]} bytes, '
                            f'and had {found.head["tar"][0]}; copy the tar again, or {REMAKE} {shard}')
        return found
    file = cache_place('index', shard if remote.url_of(shard) else os.path.abspath(shard), SUFFIX)
    found = load(shard, file)
    if found and found.head['tar'] == version:
        return found
    found = build(shard)
    if file:
        with suppress(OSError):
            found.save(file)
            found = load(shard, file) or found
    return found


def given_index(shard: str):
    """The file next to a tar; that of a remote one is copied into our cache. None if there is none."""
    if not remote.url_of(shard):
        return shard + SUFFIX
    file = cache_place('remote-index', shard, SUFFIX)
    try:
        data = remote.read_whole(shard + SUFFIX)
    except FileNotFoundError:
        return None
    if file is None:
        raise UserError(f'there is no home folder for a copy of {shard}{SUFFIX}; set XDG_CACHE_HOME')
    if not (file.exists() and file.read_bytes() == data):
        with atomic_write(file, 'wb') as stream:
            stream.write(data)
    return file


def build(shard: str, checked: bool = False) -> Index:
    """The index of a tar, from its headers; with `checked`, all of it is read for the checksums."""
    version = version_of(shard)
    rows = []
    with open_tar(shard) as file:
        try:
            with tarfile.open(fileobj=file, mode='r:') as tar:
                for member in tar:
                    tar.members = []        # or it would keep them all
                    if member.isreg() and not member.issparse():
                        name = posixpath.normpath(member.name)      # many tars have ./1.jpg
                        rows.append((os.fsencode(name), member.offset_data, member.size))
                end = tar.offset
        except tarfile.ReadError as error:
            raise UserError(f'{shard} is no tar, compressed or damaged ({error}); make or copy it again') from None
        check_end(shard, file, end, version[0])
        table = np.zeros(len(rows), row_type(max((len(name) for name, *_ in rows), default=1)))
        for number, (name, offset, size) in enumerate(sorted(rows)):
            table[number] = name, offset, size, checksum(file, offset, size) if checked else 0
    if len(np.unique(table['name'])) < len(table):
        raise UserError(f'{shard} has several members of the same name; make it again with different names')
    return Index(shard, dict(tar=version, checked=checked), table)


def check_end(shard: str, file, end: int, size: int):
    """A tar ends with zeros; `tarfile` takes a damaged header, or the end of a truncated file, for its end."""
    file.seek(min(end, max(0, size - BLOCK)))
    rest = file.read(tarfile.RECORDSIZE + BLOCK)
    if end > size - BLOCK or rest[:BLOCK].strip(b'\0'):
        raise UserError(f'{shard} is truncated or damaged at byte {min(end, size)} of {size}; make or copy it again')
    if rest.strip(b'\0'):
        raise UserError(f'{shard} has another tar behind its end at byte {end}, as cat makes them; give each tar a '
                        f'file of its own')


def checksum(file, offset: int, size: int) -> int:
    file.seek(offset)
    return zlib.crc32(file.read(size))


# ---- the bytes of a tar, here or remote

def version_of(shard: str) -> list:
    if url := remote.url_of(shard):
        return remote.version_of(url)
    status = os.stat(shard)
    return [status.st_size, status.st_mtime_ns]


def open_tar(shard: str):
    if url := remote.url_of(shard):
        say(f'making the index of {url}; scripts/make_shards.py writes one next to each tar')
        return remote.open_file(url)
    return open(shard, 'rb')


def read_range(shard: str, start: int, end: int) -> bytes:
    if url := remote.url_of(shard):
        return remote.read_range(url, start, end)
    with open(shard, 'rb') as file:
        file.seek(start)
        return file.read(end - start)
