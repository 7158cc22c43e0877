"""Opening a file, whether it is one or in a tar."""
import io
import os

from . import remote, shards


def open_file(path: str):
    """A file for reading bytes."""
    return io.BytesIO(shards.read(path)) if shards.split(path) else open(path, 'rb')


def source(path: str):
    """What libraries that take a path or a file should get."""
    return io.BytesIO(shards.read(path)) if shards.split(path) else path


def is_packed(path: str) -> bool:
    """True if the path is that of a file in a tar."""
    return shards.split(path) is not None


def shown(path) -> str:
    """The absolute path, or the URL, for messages."""
    return remote.url_of(path) or os.path.abspath(path)


def check_packed(path: str):
    """Raise a ValueError if a file in a tar is not there or has no content."""
    if not shards.size_of(path):
        raise ValueError('0 bytes')
