"""Files that are either whole or not there, and their sums."""
import hashlib
import os
from contextlib import contextmanager, suppress
from pathlib import Path

BLOCK = 1 << 20


@contextmanager
def naming(path):
    """Errors of the disk within name `path`: a disk that is full, or breaks, does not say which file it was."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_write(path, mode: str = 'w'):
    """Open a temporary file beside `path`; it takes the place of `path` only when all was written."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with naming(path):
            with open(temporary, mode, encoding=None if 'b' in mode else 'utf-8') as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def sync_folder(folder):
    """Make the names in a folder as durable as the files; file systems that cannot are left as they are."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def first_free(path) -> Path:
    """`<path>.1`, `<path>.2`, ...: the first that is not there."""
    path, number = Path(path), 1
    while os.path.lexists(free := path.with_name(f'{path.name}.{number}')):
        number += 1
    return free


def move_aside(path) -> Path:
    """Rename a folder or file to the first free `<path>.1`, `<path>.2`, ... and return the new name."""
    return Path(path).rename(first_free(path))


def sha256(path) -> str:
    """The sum of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
