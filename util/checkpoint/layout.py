"""What lies in the folder of a run, by names alone, and whose it is. Needs no torch."""
import errno
import os
import re
import shutil
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

from util.errors import UserError
from util.files import move_aside, naming

try:
    import fcntl
except ImportError:     # Windows has no such locks
    fcntl = None


def network_path(folder, label: str, name: str) -> Path:
    return Path(folder) / f'{label}_net_{name}.pth'


def state_path(folder, label: str) -> Path:
    return Path(folder) / f'{label}_state.pth'


def training_path(folder, label: str) -> Path:
    """What only training needs: optimizers, pools, random numbers."""
    return Path(folder) / f'{label}_training.pth'


def manifest_path(folder, label: str) -> Path:
    return Path(folder) / f'{label}_manifest.json'


def renamed(file: str, label: str, other: str) -> str:
    """The name of a file of the checkpoint `label` as it is under another label."""
    return f'{other}{file.removeprefix(label)}'


def files_of(folder, label: str) -> list[Path]:
    """The checkpoint files of a label that are there, networks first."""
    others = state_path(folder, label), training_path(folder, label)
    return sorted(Path(folder).glob(f'{label}_net_*.pth')) + [path for path in others if path.exists()]


def is_regular(label: str) -> bool:
    """Is it a label that training gives, and not a copy with a name of the user's?"""
    return re.fullmatch(r'latest|\d+|iter_\d+', label) is not None


def free_label(folder, label: str) -> str:
    """`label` if nothing has it yet, else the first free of `<label>.1`, `<label>.2`, ..."""
    taken = labels(folder)
    return next(name for name in (label, *(f'{label}.{number}' for number in range(1, 2 + len(taken))))
                if name not in taken)


def labels(folder) -> dict[str, list[str]]:
    """Which networks a folder holds for each label: {'latest': ['D', 'G'], '5': [...]}."""
    found = {}
    for path in sorted(Path(folder).glob('*_net_*.pth')):
        label, _, name = path.stem.partition('_net_')
        found.setdefault(label, []).append(name)
    return found


def holds_run(folder) -> bool:
    """Is there anything of an earlier training in the folder?"""
    return bool(labels(folder)) or (Path(folder) / 'loss_log.txt').exists()


class Lock:
    """`with Lock(folder) as lock`: after `acquire` nobody else trains there; freed however the process ends."""

    def __init__(self, folder):
        self.path = Path(folder) / 'lock'
        self.file = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    def acquire(self):
        """Take the lock; a `UserError` tells whose it is."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:      # a place that only looks like a file system, such as /proc
            raise OSError(errno.EACCES, 'cannot be made', str(self.path.parent)) from error
        file = self.opened()
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().decode(errors='replace').strip() or 'another process'
            raise UserError(f'{self.path.parent.absolute()} is in use by {owner}; wait for it, stop it, or choose '
                            f'another --name')
        except OSError:
            pass            # a file system without locks
        if not self.path.exists() or not os.path.samestat(self.path.stat(), os.fstat(file.fileno())):
            return self.acquire()       # the owner before removed the file that was opened here
        self.file = file
        owner = f'pid {os.getpid()} on host {socket.gethostname()} since {time.strftime("%Y-%m-%d %H:%M:%S")}\n'
        with naming(self.path):
            file.truncate(0)
            file.write(owner.encode())

    def opened(self):
        """The file of the lock; a `UserError` for anything else, as a link would have us write elsewhere."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_NONBLOCK', 0)
        if os.path.lexists(self.path) and not stat.S_ISREG(os.lstat(self.path).st_mode):
            raise UserError(f'{self.path.absolute()} is a link, folder or pipe, and no lock of ours; remove it')
        return open(os.open(self.path, flags, 0o666), 'a+b', buffering=0)

    def release(self):
        if self.file:
            with suppress(OSError):
                self.path.unlink()
            self.file.close()
            self.file = None


def claim(lock: Lock, overwrite: bool = False) -> str:
    """Make and lock the folder of a new run; an earlier run there is moved aside, or removed. Returns a line about it.

    A `UserError` if somebody trains there now.
    """
    folder = lock.path.parent
    lock.acquire()
    if not holds_run(folder):
        return ''
    earlier, lock.file = lock.file, None    # it goes with the folder, and is freed when the new one is held
    (folder / 'lock').unlink()
    if overwrite:
        shutil.rmtree(folder)
        line = f'the earlier run in {folder.absolute()} was removed (--overwrite)'
    else:
        line = f'the earlier run of this name was moved to {move_aside(folder).absolute()}'
    lock.acquire()
    earlier.close()
    return line


def check_writable(folder):
    """An `OSError` where nothing can be written, before any work."""
    folder = Path(folder).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(existing, os.W_OK):
        raise OSError(errno.EACCES, 'cannot be written', str(existing))


def what_is_there(folder) -> str:
    """The checkpoints in a folder, for messages."""
    folder = Path(folder).absolute()
    if not folder.is_dir():
        return f'there is no folder {folder} ({other_runs(folder)}); correct --name or --checkpoints_dir'
    found = labels(folder)
    if not found:
        return f'{folder} has no *_net_*.pth files; train first, or correct --name or --checkpoints_dir'
    listing = ', '.join(f'{label} ({" ".join(names)})' for label, names in sorted(found.items(), key=by_label))
    return f'{folder} has: {listing}; choose one with --epoch (or --load_iter N for iter_N)'


def other_runs(folder: Path) -> str:
    parent = folder.parent
    if parent.name == folder.name and holds_run(parent):
        return f'the run lies in {parent}: give --checkpoints_dir {parent.parent}'
    runs = sorted(path.name for path in parent.glob('*') if path.is_dir())
    return f'{parent} has: {", ".join(runs)}' if runs else f'{parent} has no runs'


def by_label(item):
    label = item[0]
    return (0, int(label), label) if label.isdigit() else (1, 0, label)
