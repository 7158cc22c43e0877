"""How every command line of the project ends: normally, with one sentence, or with a traceback of our own mistake."""
import errno
import os
import sys

# what a disk answers that is read-only, full, broken, or has a file where a folder is needed
STORAGE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOTDIR, errno.EEXIST,
           errno.ENAMETOOLONG)


class UserError(Exception):
    """A mistake the user can fix: what was found, what is needed, the flag or command that cures it.

    Several mistakes found together are several messages. A worker process of the data loader sends its
    exceptions as text with a traceback around it; only the sentence is kept.
    """

    def __init__(self, *messages):
        own_name = f'{type(self).__name__}: '
        super().__init__(*(str(message).rsplit(own_name, 1)[-1].strip() for message in messages))

    def __str__(self):
        return '\n'.join(self.args)


def warn(message):
    """One line on stderr; the run goes on."""
    print(f'warning: {message}', file=sys.stderr, flush=True)


def run(main, argv=None):
    """Run `main(argv)` and return its exit code: 2 for a `UserError`, told in one line per mistake; 4 for storage."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')   # a console of another alphabet never ends a run
    try:
        return main(argv) or 0
    except UserError as error:
        if '--verbose' in argv:
            raise
        for message in error.args:
            print(f'error: {message}', file=sys.stderr, flush=True)
        return 2
    except OSError as error:
        if '--verbose' in argv or error.errno not in STORAGE or error.filename is None:
            raise
        print(f'error: {os.path.abspath(error.filename)}: {error.strerror}; choose another place or make room',
              file=sys.stderr, flush=True)
        return 4
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr, flush=True)
        return 130
