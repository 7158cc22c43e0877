"""Millions of paths in little memory, which worker processes share."""
import os
import re
from collections.abc import Sequence

import numpy as np

from . import remote

MANY = 100_000      # paths from which on lists are packed, and stored between starts
SAMPLE = 10_000
REMOTE_SAMPLE = 200     # each is a request
CHUNK = 10_000
DIGITS = re.compile(r'(\d+)')


def are_many(count: int) -> bool:
    return count > MANY


def sample_step(paths: Sequence[str]) -> int:
    """Every how many of these files are looked at before training: 1, or fewer of very many and of remote ones."""
    if len(paths) and remote.url_of(paths[0]):
        return max(1, len(paths) // REMOTE_SAMPLE)
    return max(1, len(paths) // SAMPLE) if are_many(len(paths)) else 1


class Paths(Sequence):
    """A read-only list of paths in one folder: their names in one array of bytes, separated by zeros.

    As a list, 10 million paths would take 1.3 GB, and that in each worker process: counting references copies the
    memory that processes share after a fork. Arrays have none.
    """

    def __init__(self, folder: str, names: np.ndarray, starts: np.ndarray | None = None):
        """`names` are bytes, with a zero after each name. `starts` says where the names begin; default: all of them."""
        self.folder = folder
        self.names = names
        if starts is None:
            starts = np.flatnonzero(names == 0)
            starts = np.concatenate([[0], starts[:-1] + 1]).astype(np.uint32 if len(names) < 2**32 else np.uint64)
        self.starts = starts

    @classmethod
    def of_names(cls, folder: str, names) -> 'Paths':
        return cls(folder, np.frombuffer(b''.join(encoded(name) + b'\0' for name in names), np.uint8))

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Paths(self.folder, self.names, self.starts[index])
        return os.path.join(self.folder, self.name(int(self.starts[index])))

    def __iter__(self):
        for begin in range(0, len(self), CHUNK):
            yield from (os.path.join(self.folder, self.name(start))
                        for start in self.starts[begin:begin + CHUNK].tolist())

    def name(self, start: int) -> str:
        length = 256
        while (found := self.names[start:start + length].tobytes().find(b'\0')) < 0:
            length *= 4
        return self.names[start:start + found].tobytes().decode('utf-8', 'surrogatepass')

    def has_names_of(self, other) -> bool:
        """True if both have the same names in the same order."""
        return (isinstance(other, Paths) and np.array_equal(self.starts, other.starts)
                and np.array_equal(self.names, other.names))


def without(paths: Sequence[str], indices: set[int]) -> Sequence[str]:
    if isinstance(paths, Paths):
        return Paths(paths.folder, paths.names, np.delete(paths.starts, list(indices)))
    return [path for index, path in enumerate(paths) if index not in indices]


def packed(paths: Sequence[str]) -> Sequence[str]:
    """The paths; a list of very many is packed."""
    return Paths.of_names('', paths) if are_many(len(paths)) and not isinstance(paths, Paths) else paths


def encoded(name: str) -> bytes:
    """The order of such bytes is that of the texts, also of names that are not UTF-8."""
    return name.encode('utf-8', 'surrogatepass')


def natural(path: str) -> tuple:
    """Sort key: numbers in names count as numbers, frame_2 before frame_10."""
    return [int(part) if part.isdecimal() else part for part in DIGITS.split(path)], path


def natural_bytes(path: str, named=None) -> bytes:
    """As `natural`, in a fifth of the memory: comparing these bytes gives the same order. They end with the path.

    `named(path)` is the name that decides; of equal ones, the path.

    A number is its length and its digits, after a zero; no text has a zero, so a shorter text comes first.
    """
    first, *rest = DIGITS.split(named(path) if named else path)
    parts = [encoded(first)]
    for number, text in zip(rest[::2], rest[1::2], strict=True):
        digits = str(int(number)).encode()
        parts.append(b'\0' + len(digits).to_bytes(2, 'big') + digits + encoded(text))
    return b''.join([*parts, b'\0\0\0', encoded(path)])


def sorted_paths(folder: str, names, named=None) -> Paths:
    """The names in natural order; see `natural_bytes`."""
    keys = sorted(natural_bytes(name, named) for name in names)
    return Paths(folder, np.frombuffer(b''.join(key[key.rindex(b'\0') + 1:] + b'\0' for key in keys), np.uint8))
