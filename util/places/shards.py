"""Images in tars, the shards of webdataset.

The path of an image in a tar is that of the tar, a slash and its name in the tar. It is treated as if it were in the
folder of the tar: `name_in('train/00007.tar/cats/1.jpg', 'train')` is 'cats/1.jpg'.
"""
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache

from util.errors import UserError

from . import remote
from .index import Index, open_index
from .tar_names import TAR, base_of

THREADS = 16


@cache
def index_of(shard: str) -> Index:
    """Opened once in a process."""
    try:
        return open_index(shard)
    except OSError as error:
        raise UserError(f'{shard} cannot be read ({error.strerror or error}); correct the path, or check the '
                        f'connection') from error


def indices_of(shards: list[str]) -> list[Index]:
    """Of all tars at once: of remote ones each is a request or two."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(index_of, shards))


def split(path: str) -> tuple[str, str] | None:
    """(tar, name in it), or None if the path is not that of an image in a tar."""
    place = path.find(TAR + '/')
    while place >= 0:
        place += len(TAR)
        if is_shard(path[:place]):
            return path[:place], path[place + 1:]
        place = path.find(TAR + '/', place)
    return None


@cache
def is_shard(path: str) -> bool:
    return remote.url_of(path) is not None or os.path.isfile(path)


def as_if_unpacked(path: str) -> str:
    """The path of an image if its tar were unpacked where it is."""
    found = split(path)
    return os.path.join(os.path.dirname(found[0]), found[1]) if found else path


def name_in(path: str, folder) -> str:
    """The path inside a folder, or inside the folder of a set of tars."""
    return os.path.relpath(as_if_unpacked(path), base_of(folder))


@lru_cache(maxsize=4)       # a header is looked at before the values are read
def read(path: str) -> bytes:
    """The bytes of an image in a tar. Raises OSError or ValueError with a few words."""
    shard, name = split(path)
    return index_of(shard).read(name)


def size_of(path: str) -> int:
    shard, name = split(path)
    return int(index_of(shard).find(name)['size'])


def version_of(path: str) -> list:
    """[size, what changes with the content]."""
    shard, name = split(path)
    head = index_of(shard).head
    return [size_of(path), int(index_of(shard).find(name)['crc']) if head['checked'] else head['tar'][-1]]
