"""How every command line of the project ends: normally, with one sentence, or with a report of our own mistake."""
import errno
import getpass
import os
import shlex
import sys
import tempfile
import time
import traceback
from pathlib import Path

# what a disk answers that is read-only, full, broken, or has a file where a folder is needed
STORAGE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOTDIR, errno.EEXIST,
           errno.ENAMETOOLONG, errno.EFBIG, errno.EISDIR, errno.ENOTEMPTY)
CURES = dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), 'change its permissions or choose another place')
# what ends a line, or what a terminal obeys; a name of a file may hold it
CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029) if chr(code) != '\t'}

silent = False          # a process whose mistakes another one tells: torchrun starts several with one command line
name = ''              # of this process in its lines, if it is not the first one
crash_folder = None     # where the traceback of a mistake of ours goes: the folder of the run, once it is known


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


class ResourceError(UserError):
    """Too little memory, or worker processes lost again and again."""

    exit_code = 5


class NonFiniteError(UserError):
    """Numbers that are no numbers any more, in losses, gradients or weights."""

    exit_code = 3


def printable(text: str) -> str:
    r"""`text` in one line, its control characters written as \n, \x1b, ..."""
    return text.translate(CONTROLS)


def warn(message, kind: str = 'warning'):
    """One line on stderr; the run goes on."""
    if not silent:
        print(printable(f'{kind}: {name}{message}'), file=sys.stderr, flush=True)


def is_follower() -> bool:
    """Does another process of this machine tell the mistakes of the command line that torchrun gave both?"""
    return os.environ.get('WORLD_SIZE', '1') != '1' and os.environ.get('LOCAL_RANK', '0') != '0'


def launched_here() -> int:
    """How many processes torchrun started on this machine; 1 without it."""
    return max(1, int(os.environ.get('LOCAL_WORLD_SIZE', 1)))


def run(main, argv=None):
    """Run `main(argv)` and return its exit code: 2 for a `UserError`, told in one line per mistake; 4 for storage.

    A mistake of ours is 1, with its traceback in a file; --verbose shows tracebacks at once.
    """
    argv = sys.argv[1:] if argv is None else argv
    open_streams()
    name_user()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')   # a console of another alphabet never ends a run
    try:
        return main(argv) or 0
    except KeyboardInterrupt as stop:
        print('interrupted', file=sys.stderr, flush=True)
        return getattr(stop, 'exit_code', 130)
    except Exception as error:
        if '--verbose' in argv:
            traceback.print_exc()
        messages, exit_code = explained(error, argv)
        if silent and isinstance(error, UserError) and not isinstance(error, ResourceError):
            return exit_code
        for message in messages:
            print(f'error: {name}{message}', file=sys.stderr, flush=True)
        return exit_code


def open_streams():
    """The null device in place of the standard streams that the caller has closed (`>&-`).

    It gets their numbers, so that no file of ours does, into which something could then be printed.
    """
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding='utf-8')
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def name_user():
    """A name for a user that has only a number, as in containers: some versions of PyTorch cannot be without."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ['USER'] = f'user{os.getuid()}'


def explained(error: Exception, argv) -> tuple[list[str], int]:
    """What to say of an error, and the exit code."""
    if isinstance(error, UserError):
        return error.args, error.exit_code
    if isinstance(error, OSError) and error.errno in STORAGE:
        path = error.filename2 or error.filename    # of a copy, where it goes
        place = f'{printable(os.path.abspath(path))}: ' if path else ''
        return [f'{place}{error.strerror}; {CURES.get(error.errno, "choose another place or make room")}'], 4
    line = next(iter(str(error).splitlines()), '')
    return [f'internal error: {type(error).__name__}: {printable(line)}; {report_crash(argv)}'], 1


def report_crash(argv) -> str:
    """Write the traceback of the error under way to a file and return where it is."""
    report = f'{time.strftime("%c")}\n{sys.executable} {shlex.join([sys.argv[0], *argv])}\n\n{traceback.format_exc()}'
    for folder in (crash_folder, tempfile.gettempdir()):
        path = Path(folder or '', f'crash-{time.strftime("%Y%m%d-%H%M%S")}-{os.getpid()}.txt').absolute()
        try:
            if folder:
                path.write_text(report, encoding='utf-8', errors='backslashreplace')
                return f'please report it with {printable(str(path))}'
        except OSError:
            continue
    return report
