"""How every command line of the project ends: normally, with one sentence, or with a report of our own mistake."""
import argparse
import atexit
import errno
import gc
import getpass
import itertools
import os
import re
import select
import shlex
import sys
import tempfile
import time
import traceback
from pathlib import Path

from util.console import Console, printable
from util.errors import ResourceError, UserError

# what a disk answers that is read-only, full, broken, or has a file where a folder is needed
STORAGE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOTDIR, errno.EEXIST,
           errno.ENAMETOOLONG, errno.EFBIG, errno.EISDIR, errno.ENOTEMPTY, errno.ENOENT)
SECONDS_TO_SPEAK = 3
CLOSED_PIPE = 141       # what shells show for a program that SIGPIPE has ended
CURES = dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), 'change its permissions or choose another place')
CURES[errno.ENOENT] = 'it cannot be created there, or was removed meanwhile; choose another place, or bring it back'


class Parser(argparse.ArgumentParser):
    """The parser of a script: a mistake is a `UserError`, and a similar option is named for one there is not."""

    def __init__(self, description: str, allow_abbrev: bool = False, **arguments):
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
                         allow_abbrev=allow_abbrev, **arguments)

    def parse_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else list(args)
        self.check_options(args)
        return super().parse_args(args, namespace)

    def check_options(self, args: list):
        """Raises a `UserError` with a line for each option that there is not."""
        given = [word.split('=')[0] for word in itertools.takewhile(lambda word: word != '--', args)
                 if word.startswith('--')]
        known = [option for action in self._actions for option in action.option_strings if option.startswith('--')]
        unknown = [word for word in given if word not in known
                   and not (self.allow_abbrev and any(option.startswith(word) for option in known))]
        if unknown:
            from util.registry import nearest  # not at the top: the installer imports this file with any Python
            raise UserError(*(f'there is no option {word}{nearest(word, known) or self.where()}' for word in unknown))

    def error(self, message: str):
        raise UserError(f"{re.sub('^argument ', '', message)}{self.where()}")

    def where(self) -> str:
        return f'; {self.prog} --help lists the options'


def run(main, argv=None):
    """Run `main(argv, console)` and return its exit code: 2 for a `UserError`, one line per mistake; 4 for storage.

    An internal error is 1, with its traceback in a file; --verbose prints tracebacks at once.
    """
    argv = sys.argv[1:] if argv is None else argv
    open_streams()
    name_user()
    share_cores()
    end_quickly()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')   # a terminal with another encoding never ends a run
    with Console().attached() as console:
        try:
            code = main(argv, console) or 0
            sys.stdout.flush()
            return code
        except KeyboardInterrupt as stop:
            print('interrupted', file=sys.stderr, flush=True)
            return getattr(stop, 'exit_code', 130)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and output_is_closed():
                return CLOSED_PIPE
            if '--verbose' in argv:
                traceback.print_exc()
            messages, exit_code = explained(error, argv, console.crash_folder)
            if console.silent and isinstance(error, UserError) and not isinstance(error, ResourceError):
                time.sleep(SECONDS_TO_SPEAK)    # the first process says it, unless torchrun ends it since this one did
            else:
                for message in messages:
                    console.message('error', message)
            return exit_code


def output_is_closed() -> bool:
    """True if nobody reads what we print any more (`| head`); then the rest goes nowhere."""
    if not hasattr(select, 'poll'):     # Windows
        return False
    state = select.poll()
    state.register(sys.stdout, 0)       # errors are always reported
    if not state.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


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


def share_cores():
    """Let a thread of PyTorch that waits for the others sleep soon, so that it takes no time from other programs.

    As GNU's OpenMP comes, it spins for milliseconds: on a machine that has something else to do, two threads then
    train 15 times as slowly as one (docs/performance.md). Its library reads the number of turns once, with torch.
    """
    if 'OMP_WAIT_POLICY' not in os.environ:
        os.environ.setdefault('GOMP_SPINCOUNT', '1000')


def end_quickly():
    """Let Python look for no garbage when it ends: among the objects of PyTorch, that takes 1.5 s."""
    if hasattr(gc, 'freeze'):
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)


def explained(error, argv, crash_folder) -> tuple:
    """What to say of an error, and the exit code."""
    if isinstance(error, UserError):
        return error.args, error.exit_code
    if isinstance(error, OSError) and error.errno in STORAGE:
        path = error.filename2 or error.filename    # of a copy, where it goes
        place = f'{printable(os.path.abspath(path))}: ' if path else ''
        return [f'{place}{error.strerror}; {CURES.get(error.errno, "choose another place or make room")}'], 4
    from util.registry import mistake_in  # not at the top: the installer imports this file with any Python
    users = [module.__file__ for module in list(sys.modules.values())
             if getattr(module, '__dict__', {}).get('written_by_user')]
    mistake = mistake_in(users, error)
    if mistake:
        return [f'{mistake}; --verbose shows the traceback'], 1
    line = printable(next(iter(str(error).splitlines()), ''))
    cause = 'internal error'
    if users:       # an error of ours, or a value of theirs that we could not use
        files = ' or '.join(map(printable, users))
        cause = f'{files} may have returned what docs/extending.md does not allow, else it is an error of ours'
    return [f'{cause}: {type(error).__name__}: {line}; {report_crash(argv, crash_folder)}'], 1


def report_crash(argv, crash_folder) -> str:
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
