"""Errors that a user can do something about; `util.cli.run` prints their sentences."""
import os

from util.console import printable


class UserError(Exception):
    """A mistake the user can fix: what was found, what is needed, the flag or command that cures it.

    Several mistakes found together are several messages, each of one line. A worker process of the data loader sends
    its exceptions as text with a traceback around it; only the sentence is kept.
    """

    exit_code = 2

    def __init__(self, *messages):
        own_name = f'{type(self).__name__}: '
        super().__init__(*(printable(str(message).rsplit(own_name, 1)[-1].strip()) for message in messages))

    def __str__(self):
        return '\n'.join(self.args)


class SizeError(UserError):
    """An image that these networks cannot take; others may fit."""

    def __init__(self, path, why: str):
        super().__init__(f'{os.path.abspath(path)} {why}')
        self.why = why


class MisfitError(UserError):
    """Weights of another network; a part of them may fit."""


class MissingFolderError(UserError):
    """There is no folder for the images of a phase."""


class ResourceError(UserError):
    """Too little memory, or worker processes lost again and again."""

    exit_code = 5


class StorageError(UserError):
    """A disk that is full, read-only or broken, where more can be said than `util.cli.run` says of an `OSError`."""

    exit_code = 4


class NonFiniteError(UserError):
    """Numbers that are no numbers any more, in losses, gradients or weights."""

    exit_code = 3
