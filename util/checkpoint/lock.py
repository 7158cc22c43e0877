"""Who may write into a run folder."""
import errno
import os
import shutil
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

from util.errors import UserError
from util.files import move_aside, naming

from .layout import holds_run

try:
    import fcntl
except ImportError:     # not on Windows
    fcntl = None


class Lock:
    """`with Lock(folder) as lock`: after `lock.acquire()` no other process can train in this folder.

    The operating system releases the lock when the process ends, even if it is killed.
    """

    def __init__(self, folder):
        self.path = Path(folder) / 'lock'
        self.file = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    def acquire(self):
        """Take the lock, or raise a `UserError` that says which process has it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:      # pseudo file systems such as /proc
            raise OSError(errno.EACCES, 'cannot create the folder', str(self.path.parent)) from error
        file = self.open_file()
        self.lock_file(file)
        if not self.path.exists() or not os.path.samestat(self.path.stat(), os.fstat(file.fileno())):
            file.close()
            return self.acquire()       # its previous owner deleted the file after we opened it
        self.file = file
        owner = f'pid {os.getpid()} on host {socket.gethostname()} since {time.strftime("%Y-%m-%d %H:%M:%S")}\n'
        with naming(self.path):
            file.truncate(0)
            file.write(owner.encode())

    def open_file(self):
        """Open the lock file. A link is refused: writing to it would change a file somewhere else."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_NONBLOCK', 0)
        if os.path.lexists(self.path) and not stat.S_ISREG(os.lstat(self.path).st_mode):
            raise UserError(f'{self.path.absolute()} is a link, folder or pipe, not a lock file; remove it')
        return open(os.open(self.path, flags, 0o666), 'a+b', buffering=0)

    def lock_file(self, file):
        """Lock it without waiting, or raise a `UserError`."""
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().decode(errors='replace').strip() or 'another process'
            raise UserError(f'{self.path.parent.absolute()} is in use by {owner}; wait for it, stop it, or choose '
                            f'another --name')
        except OSError:
            pass            # this file system has no locks

    def release(self):
        if self.file:
            with suppress(OSError):
                self.path.unlink()
            self.file.close()
            self.file = None


def claim(lock: Lock, overwrite: bool = False) -> str:
    """Create and lock the folder of a new run; an earlier run there is moved aside or, with `overwrite`, deleted.

    Returns a line about the earlier run. A `UserError` if another process is training there.
    """
    folder = lock.path.parent
    lock.acquire()
    if not holds_run(folder):
        return ''
    old_file = lock.file        # stays locked until the new folder is locked
    lock.file = None
    (folder / 'lock').unlink()
    if overwrite:
        shutil.rmtree(folder)
        line = f'the earlier run in {folder.absolute()} was deleted (--overwrite)'
    else:
        line = f'the earlier run of this name was moved to {move_aside(folder).absolute()}'
    lock.acquire()
    old_file.close()
    return line


def check_writable(folder):
    """An `OSError` if nothing can be written into a folder, which need not exist yet."""
    folder = Path(folder).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(existing, os.W_OK):
        raise OSError(errno.EACCES, 'cannot write here', str(existing))
