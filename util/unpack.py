"""Unpack zip and tar archives from the internet: plain files only, nothing outside the target, all or nothing.

The members are checked and written here because `zipfile` has no filters and Debian 12's `tarfile` has none either.
The rule is stricter than theirs and the same for both formats: no links, no devices, no name twice, a limit on size.
"""
import errno
import gzip
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from util.errors import UserError

CHUNK = 1 << 20
SPLIT = re.compile(r'(train|val|test)(_?[AB])?', re.IGNORECASE)
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError, RuntimeError, OSError)
# Errors that are the archive's fault: of gzip, of names that are too long or used twice, of a negative offset.
NOT_THE_DISK = (None, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL)


def check_free(target: Path):
    """Raise a `UserError` unless `target` does not exist yet or is an empty folder."""
    if target.exists() and not target.is_dir():
        raise UserError(f'{target.absolute()} is a file; remove or rename it first')
    if target.exists() and any(target.iterdir()):
        raise UserError(f'{target.absolute()} exists and is not empty; remove or rename it first')


def unpack(archive: Path, target: Path, max_members: int = 1_000_000, max_bytes: int | None = None) -> int:
    """Unpack a zip, tar or tar.gz file to the folder `target` and return the number of files.

    A single folder that wraps everything is removed. After a `UserError` (the archive is damaged, too large, or holds
    anything but plain files and folders) or an `OSError` (disk full, no permission) nothing is left. Images hardly
    compress, bombs do: without `max_bytes` the limit is 20 times the archive, but between 100 MiB and 100 GiB.
    """
    check_free(target)
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{target.name}.', dir=target.parent, ignore_cleanup_errors=True) as aside:
        content = Path(aside, 'content')
        content.mkdir()
        try:
            max_bytes = max_bytes or min(100 << 30, max(100 << 20, 20 * archive.stat().st_size))
            n_files = extract(archive, content, max_members, max_bytes)
        except DAMAGE as error:
            if getattr(error, 'errno', None) not in NOT_THE_DISK:
                raise
            why = error or type(error).__name__
            raise UserError(f'{archive.absolute()} was not unpacked: {why}; download it again')
        if target.exists():
            target.rmdir()
        os.rename(without_wrapper(content), target)
    return n_files


def extract(archive: Path, folder: Path, max_members: int, max_bytes: int) -> int:
    n_files = n_bytes = 0
    with closing(members(archive)) as found:
        for number, (name, size, stream) in enumerate(found):
            n_bytes += size
            if n_bytes > max_bytes or number >= max_members:
                raise ValueError(f'it holds more than {max_bytes} bytes or {max_members} members')
            path = folder.joinpath(*safe_parts(name))
            if stream is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with stream, open(path, 'xb') as file:      # 'x': never over another file
                shutil.copyfileobj(stream, file, CHUNK)
            n_files += 1
    if not n_files:
        raise ValueError('it holds no files')
    return n_files


def safe_parts(name: str) -> list[str]:
    """The parts of a member's path inside the target, with characters replaced that Windows does not allow."""
    name = name.replace('\\', '/')
    parts = [part for part in name.split('/') if part not in ('', '.')]
    if name.startswith('/') or re.match('[A-Za-z]:', name) or '..' in parts:
        raise ValueError(f'the member {name!r} is outside the target')
    if os.name == 'nt':
        parts = [re.sub(r'[:<>|"?*]', '_', part).rstrip('. ') or '_' for part in parts]
    return parts


def without_wrapper(content: Path) -> Path:
    """The folder with the data: the only folder in `content`, unless that is a split such as train."""
    entries = [entry for entry in content.iterdir() if not entry.name.startswith(('.', '__MACOSX'))]
    wrapped = len(entries) == 1 and entries[0].is_dir() and not SPLIT.fullmatch(entries[0].name)
    return entries[0] if wrapped else content


def members(archive: Path) -> Iterator[tuple[str, int, BinaryIO | None]]:
    """(name, size, stream) of each file and (name, 0, None) of each folder; a stream ends after `size` bytes."""
    with open(archive, 'rb') as file:
        head = file.read(4)
    if head[:2] == b'PK':
        return zip_members(archive)
    return tar_members(archive, gzip.open if head[:2] == b'\x1f\x8b' else open)


def zip_members(archive):
    with zipfile.ZipFile(archive) as content:
        for info in content.infolist():
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f'the member {info.filename!r} is a link or a device')
            if info.is_dir():
                yield info.filename, 0, None
            else:
                yield info.filename, info.file_size, content.open(info)


def tar_members(archive, opener):
    with opener(archive, 'rb') as raw:
        stream = BoundedReader(raw)
        with tarfile.open(fileobj=stream, mode='r:') as content:
            for info in content:
                if not (info.isfile() or info.isdir()):
                    raise ValueError(f'the member {info.name!r} is a link or a device')
                yield info.name, info.size, content.extractfile(info) if info.isfile() else None
        # tarfile takes a damaged header for the end, and gzip compares its checksum only when everything is read
        rest = stream.read(CHUNK)
        if len(rest) == CHUNK or rest.strip(b'\0'):
            raise ValueError('it has data after its end')


class BoundedReader:
    """A stream that refuses large reads: tarfile reads a long name into memory at once, however long it is."""

    def __init__(self, stream):
        self.stream = stream
        self.tell = stream.tell
        self.seek = stream.seek

    def read(self, size: int) -> bytes:
        if not 0 <= size <= CHUNK:
            raise tarfile.ReadError(f'a header has {size} bytes')
        return self.stream.read(size)
