"""Reads files of NumPy arrays in nested dicts that were written as pickles, without running any code of them.

The opcodes are interpreted here: numbers, texts, tuples, dicts, and the three names that NumPy writes for an array.
Everything else is refused.
"""
import pickletools
from pathlib import Path

import numpy as np

from util.errors import UserError

NAMES = ('numpy.core.multiarray _reconstruct', 'numpy._core.multiarray _reconstruct', 'numpy ndarray', 'numpy dtype')
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
VALUES = ('BININT', 'BININT1', 'BININT2', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINBYTES', 'SHORT_BINBYTES')
NUMBERS = ('f2', 'f4', 'f8')
MARK = object()


class Array:
    """An array, or the type of one, before its state is known."""

    def __init__(self, kind: str, arguments: tuple):
        self.kind, self.arguments = kind, arguments
        self.array = None

    def build(self, state: tuple):
        """The state of a dtype is (version, order, ...), of an array (version, shape, dtype, is_fortran, bytes)."""
        if self.kind == 'dtype':
            if self.arguments[0] not in NUMBERS or state[1] not in '<|=':
                raise ValueError(f'numbers of type {state[1]}{self.arguments[0]}')
        else:
            _, shape, dtype, fortran, content = state
            flat = np.frombuffer(content, f'<{dtype.arguments[0]}')
            self.array = flat.reshape(shape, order='F' if fortran else 'C')


class Reader:
    """A stack machine for the opcodes of `pickletools.genops`."""

    def __init__(self):
        self.stack, self.memo = [], {}

    def step(self, name: str, argument):
        if name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in VALUES:
            self.stack.append(argument)
        elif name in ('BINPUT', 'LONG_BINPUT'):
            self.memo[argument] = self.stack[-1]
        elif name in ('BINGET', 'LONG_BINGET'):
            self.stack.append(self.memo[argument])
        elif name == 'GLOBAL' and argument in NAMES:
            self.stack.append(argument.rpartition(' ')[2])
        elif name in ('EMPTY_DICT', 'MARK'):
            self.stack.append({} if name == 'EMPTY_DICT' else MARK)
        elif name in ('TUPLE', 'SETITEMS'):
            self.collect(name)
        elif name in ('TUPLE1', 'TUPLE2', 'TUPLE3'):
            self.stack.append(tuple(self.pop(int(name[-1]))))
        elif name in ('SETITEM', 'REDUCE', 'BUILD'):
            self.combine(name, *self.pop(2))
        elif name not in ('PROTO', 'STOP'):
            raise ValueError(f'{name} {argument or ""}')

    def pop(self, n: int) -> list:
        found = self.stack[len(self.stack) - n:]
        del self.stack[len(self.stack) - n:]
        return found

    def collect(self, name: str):
        """Everything since the last mark, as a tuple or as items of the dict below the mark."""
        last = max(index for index, item in enumerate(self.stack) if item is MARK)
        items = self.pop(len(self.stack) - last)[1:]
        if name == 'TUPLE':
            self.stack.append(tuple(items))
        else:
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def combine(self, name: str, first, second):
        if name == 'SETITEM':
            self.stack[-1][first] = second
        elif name == 'REDUCE' and first in ('_reconstruct', 'dtype'):
            self.stack.append(Array(first, second))
        elif name == 'BUILD' and isinstance(first, Array):
            first.build(second)
            self.stack.append(first)
        else:
            raise ValueError(f'{name} of {type(first).__name__}')


def read_arrays(path) -> dict:
    """The nested dict of float arrays in a pickle; a `UserError` if it has anything else."""
    reader = Reader()
    try:
        for opcode, argument, _ in pickletools.genops(Path(path).read_bytes()):
            reader.step(opcode.name, argument)
        return plain(reader.stack[-1])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f'{Path(path).absolute()} holds something else than NumPy arrays in dicts ({error}), which is '
                        'not read; use the file as it was published')


def plain(tree) -> dict:
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return tree.array if isinstance(tree, Array) else tree
