"""Files that are either whole or not there, and their sums."""
import hashlib
import os
from contextlib import contextmanager, suppress
from pathlib import Path

from util.errors import UserError

BLOCK = 1 << 20
AUTHOR = 'pixmorph'     # stands at the beginning of files that our programs write where the user says


@contextmanager
def naming(path):
    """Errors of the disk within name `path`: a disk that is full, or breaks, does not say which file it was."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_write(path, mode: str = 'w', durable: bool = True):
    """Open a temporary file next to `path`, which replaces `path` once it is complete.

    durable: return only when the file is on the disk; not needed for files that are rewritten often.
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
    """Make the names in a folder as durable as the files; file systems that cannot are left as they are."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_output(flag: str, path):
    """A `UserError` unless the `path` of an option is that of a new file, or of one that we wrote."""
    path = Path(path)
    place = f'{flag} {path.absolute()}'
    if path.is_dir():
        raise UserError(f'{place} is a folder; give the name of a file')
    if path.exists() and not (path.is_file() and AUTHOR.encode() in path.read_bytes()[:10_000]):
        raise UserError(f'{place} is there already, and not written by this program; give another name, or remove it')


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
