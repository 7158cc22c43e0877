"""Unpack archives of others: plain files only, never a byte outside the target, all or nothing."""
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
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from util.errors import UserError

CHUNK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What an archive may become: `ratio` times its own size (`small` bytes are always allowed)."""
    bytes: int = 100 << 30
    members: int = 1_000_000
    ratio: float = 20
    small: int = 100 << 20

    def of(self, archive: Path) -> int:
        return min(self.bytes, max(self.small, int(self.ratio * archive.stat().st_size)))


SPLIT = re.compile(r'(train|val|test)(_?[AB])?', re.IGNORECASE)
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError,
           NotImplementedError)


def check_free(target: Path):
    """Raise a `UserError` unless `target` is a name for a new folder or an empty folder."""
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f'{target.absolute()} exists and is not empty; remove or rename it first')
    if target.exists() and not target.is_dir():
        raise UserError(f'{target.absolute()} is a file; remove or rename it first')


def unpack(archive: Path, target: Path, limits: Limits = Limits()) -> int:
    """Unpack a zip, tar or tar.gz file to the folder `target` and return the number of files.

    Only plain files and folders are written, first aside and then renamed: after a `UserError` (the archive
    is damaged, has links, devices or names leading out of the target, or is larger than `limits`) or an
    `OSError` (no space, no permission) nothing is left. One folder around everything is taken off.
    """
    check_free(target)
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f'.{target.name}.', dir=target.parent))
    try:
        content = aside / 'content'
        content.mkdir()
        n_files = extract(archive, content, limits)
        if target.exists():
            target.rmdir()
        os.rename(outermost(content), target)
        return n_files
    except DAMAGED as error:
        raise refusal(archive, f'is damaged ({error or type(error).__name__})')
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def refusal(archive, found) -> UserError:
    return UserError(f'{archive.absolute()} {found} and was not unpacked; get the archive anew')


def extract(archive, folder, limits) -> int:
    left, n_files = limits.of(archive), 0
    with closing(members(archive)) as found:
        for number, (name, size, stream) in enumerate(found):
            left -= size
            if left < 0 or number >= limits.members:
                raise refusal(archive, f'grows over {limits.of(archive)} bytes or {limits.members} members, as '
                                       f'no data set would,')
            try:
                write(folder.joinpath(*safe_parts(name, archive)), stream)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise refusal(archive, f'has {name!r} twice')
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                raise refusal(archive, f'has a name that is too long for {folder.parents[1]} ({name[:50]!r}...)')
            n_files += stream is not None
    if not n_files:
        raise refusal(archive, 'has no files')
    return n_files


def write(path, stream):
    """A file, never over another one, or a folder if there is no `stream`."""
    if stream is None:
        return path.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with stream, open(path, 'xb') as file:
        shutil.copyfileobj(stream, file, CHUNK)


def safe_parts(name: str, archive: Path) -> list[str]:
    """The parts of a member's path below the target; names that Windows cannot have are changed there."""
    plain = name.replace('\\', '/')
    parts = [part for part in plain.split('/') if part not in ('', '.')]
    if plain.startswith('/') or re.match('[A-Za-z]:', plain) or '..' in parts:
        raise refusal(archive, f'has the member {name!r}, which leads out of the target,')
    if os.name == 'nt':
        parts = [re.sub(r'[:<>|"?*]', '_', part).rstrip('. ') or '_' for part in parts]
    return parts


def outermost(content: Path) -> Path:
    """The folder with the data: the only one in `content`, unless that is a split such as train."""
    entries = [entry for entry in content.iterdir() if not entry.name.startswith(('.', '__MACOSX'))]
    wrapped = len(entries) == 1 and entries[0].is_dir() and not SPLIT.fullmatch(entries[0].name)
    return entries[0] if wrapped else content


def members(archive: Path) -> Iterator[tuple[str, int, BinaryIO | None]]:
    """(name, size, stream) of each file and (name, 0, None) of each folder; streams end after `size` bytes."""
    with open(archive, 'rb') as file:
        head = file.read(4)
    if head[:2] == b'PK':
        return zip_members(archive)
    return tar_members(archive, gzip.open if head[:2] == b'\x1f\x8b' else open)


def zip_members(archive):
    with zipfile.ZipFile(archive) as content:
        for info in content.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise refusal(archive, f'has the member {info.filename!r}, which is a link or a device,')
            if info.header_offset < 0:
                raise zipfile.BadZipFile('a file before the start')
            if info.flag_bits & 1:
                raise refusal(archive, 'is encrypted')
            if info.is_dir():
                yield info.filename, 0, None
            else:
                yield info.filename, info.file_size, content.open(info)


def tar_members(archive, opener):
    with opener(archive, 'rb') as raw:
        stream = FrugalReader(raw)
        # Every header is kept by tarfile, which is small beside the files themselves.
        with tarfile.open(fileobj=stream, mode='r:') as content:
            for info in content:
                check_tar_member(info, archive)
                yield info.name, info.size, content.extractfile(info) if info.isfile() else None
        check_end(stream, archive)


def check_tar_member(info, archive):
    if not (info.isfile() or info.isdir()):
        raise refusal(archive, f'has the member {info.name!r}, which is a link or a device,')
    safe_parts(info.name, archive)
    # The standard library's own opinion, where it has one (Python 3.10.12, 3.11.4, 3.12).
    if hasattr(tarfile, 'data_filter'):
        tarfile.data_filter(info, str(archive.parent))


def check_end(stream, archive):
    """tarfile takes a damaged header for the end: behind the true one are only zeros (and gzip's checksum)."""
    rest = stream.read(CHUNK)
    if len(rest) == CHUNK or rest.strip(b'\0'):
        raise refusal(archive, 'is damaged (data after its end)')


class FrugalReader:
    """A stream that refuses to read much at once: tarfile reads long names whole, whatever their length."""

    def __init__(self, stream):
        self.stream, self.tell, self.seek = stream, stream.tell, stream.seek

    def read(self, size: int) -> bytes:
        if not 0 <= size <= CHUNK:
            raise tarfile.ReadError(f'a header of {size} bytes')
        return self.stream.read(size)
