"""Files that are complete or absent, and their checksums."""
import hashlib
import io
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path

from util.errors import UserError
from util.registry import similar

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


def save_picture(picture, path, format: str = '', **settings):
    """Write a Pillow image as a complete file; an `OSError` that names it if the disk is full.

    Through memory, because Pillow does not notice that the end of a JPEG was not written.
    """
    from PIL import Image
    data = io.BytesIO()
    picture.save(data, format or Image.registered_extensions().get(Path(path).suffix.lower()), **settings)
    with atomic_write(path, 'wb', durable=False) as file:
        file.write(data.getbuffer())


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


def no_folder(path, option: str) -> str:
    """'there is no folder PATH; ...', with what was probably meant, or the option to correct."""
    path = str(path)
    if windows := re.match(r'([A-Za-z]):[\\/]+(.*)', path) if os.name != 'nt' else None:
        return (f'{path} is a path of Windows, and this system is another; {option} needs a path such as '
                f'/mnt/{windows[1].lower()}/{posix(windows[2])} (in WSL), or a relative one')
    meant = posix(path) if os.name != 'nt' and os.path.isdir(posix(path)) else similar_folder(path)
    cure = f'did you mean {option} {meant}?' if meant else f'correct {option}'
    return f'there is no folder {os.path.abspath(path)}; {cure}'


def posix(path: str) -> str:
    return path.replace('\\', '/')


def similar_folder(path: str) -> str:
    """An existing folder whose path differs from `path` by a few letters; '' if there is none."""
    parent, name = os.path.split(path.rstrip('/'))
    place = parent or '.'
    if not name or os.path.isdir(path):
        return path
    if not os.path.isdir(place):
        place = parent = similar_folder(parent) if parent != path else ''
    if not place:
        return ''
    names = [entry.name for entry in os.scandir(place) if entry.is_dir()]
    found = similar(name, names)
    return os.path.join(parent, found) if found else ''


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
