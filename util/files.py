"""Files that are complete or absent, and their checksums."""
import hashlib
import os
from contextlib import contextmanager, suppress
from pathlib import Path

from util.errors import UserError

BLOCK = 1 << 20
AUTHOR = 'pixmorph'     # near the start of files that our programs write to a path the user gives


@contextmanager
def naming(path):
    """Disk errors inside name `path`: a full or broken disk does not say which file failed."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_write(path, mode: str = 'w', durable: bool = True):
    """Open a temporary file next to `path`, which replaces `path` once it is complete.

    durable: return only once the file is on the disk; not needed for files that are rewritten often.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name[-80:]}.{os.getpid()}.tmp')    # a name may have 255 bytes
    try:
        with naming(path):
            with open(temporary, mode, encoding=None if 'b' in mode else 'utf-8') as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, path)
            if durable:
                sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def sync_folder(folder):
    """Make the names in a folder as durable as its files, if the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_output(flag: str, path):
    """A `UserError` unless `path`, given with an option, is a new file or one that we wrote."""
    path = Path(path)
    place = f'{flag} {path.absolute()}'
    if path.is_dir():
        raise UserError(f'{place} is a folder; give the name of a file')
    if path.exists() and not (path.is_file() and AUTHOR.encode() in path.read_bytes()[:10_000]):
        raise UserError(f'{place} exists and was not written by this program; give another name, or remove it')


def first_free(path) -> Path:
    """The first of `<path>.1`, `<path>.2`, ... that does not exist."""
    path, number = Path(path), 1
    while os.path.lexists(free := path.with_name(f'{path.name}.{number}')):
        number += 1
    return free


def move_aside(path) -> Path:
    """Rename a folder or file to the first free `<path>.1`, `<path>.2`, ... and return the new name."""
    return Path(path).rename(first_free(path))


def sha256(path) -> str:
    """The checksum of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
