"""Write all files of a checkpoint so that they become visible together, or not at all.

1. Write them into `.<label>.writing/`, each flushed to disk, `<label>_manifest.json` last.
2. Rename this folder to `.<label>.ready`. At this moment the new checkpoint exists.
3. Move its files one by one to their names in the run folder.

A save interrupted before step 2 is discarded; one interrupted later is completed by the next start that looks at the
run. So no crash leaves a mix of two checkpoints.
"""
import errno
import hashlib
import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from util.files import move_aside, naming, sync_folder

from . import layout
from .layout import MANIFEST
from .manifest import Manifest, next_serial, read_manifest

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
SPACE_FACTOR = 1.2      # free disk space required for a save, in multiples of its size
# a folder that others own, or complete at the same moment
NOT_OURS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
CHECKPOINT_FILE = re.compile(r'.+_(net_.+\.pth|state\.pth|training\.pth|manifest\.json)')


def write_set(folder, label: str, files: dict, progress: dict, also=()):
    """Write one checkpoint under one or more labels; an `OSError` if that fails.

    Args:
        files: {file name of `label`: function that writes this file to an open file}.
        progress: counters of the run, for the manifest.
        also: more labels for the same content; all labels become visible together.
    """
    with new_set(folder, label) as aside:
        serial = next_serial(folder)
        for name in (label, *also):
            renamed = {layout.relabel(file, label, name): write for file, write in files.items()}
            if name == layout.BEST:     # to translate, and to start other runs: no optimizers are needed
                renamed.pop(layout.training_path(folder, name).name, None)
            entries = {file: write_file(aside / file, write) for file, write in renamed.items()}
            write_manifest(aside, Manifest(name, serial, progress, entries, timestamp()))


@contextmanager
def new_set(folder, label: str):
    """Yields a folder to write into; if the block succeeds, all files in it move to `folder` together."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recover(folder)
    aside, ready = folder / f'.{label}.writing', folder / f'.{label}.ready'
    try:
        discard(aside)
        if os.path.lexists(ready):      # `recover` left only what is not ours
            move_aside(ready)
        aside.mkdir()
        yield aside
        sync_folder(aside)
        os.rename(aside, ready)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise OSError(error.errno, error.strerror or str(error), error.filename or str(folder)) from error
    sync_folder(folder)
    publish(folder, label)


def publish(folder: Path, label: str):
    """Move the files of a complete set to their names, manifests last; several processes may do so at once.

    Files that only the previous set of a label had are removed. A folder in the way is moved aside. Links are not
    followed and only checkpoint files are moved, because a run folder may come from a stranger.
    """
    ready = folder / f'.{label}.ready'
    if ready.is_symlink() or not ready.is_dir():
        return
    names = [path.name for path in ready.iterdir()
             if CHECKPOINT_FILE.fullmatch(path.name) and path.is_file() and not path.is_symlink()]
    for name in sorted(names, key=lambda name: (name.endswith(MANIFEST), name)):
        with suppress(FileNotFoundError):       # another process was faster
            if name.endswith(MANIFEST):
                remove_outdated(folder, name.removesuffix(MANIFEST), ready)
            elif (folder / name).is_dir():
                move_aside(folder / name)
            os.replace(ready / name, folder / name)
    sync_folder(folder)
    with suppress(OSError):
        ready.rmdir()


def remove_outdated(folder: Path, label: str, ready: Path):
    """Remove the files of a label that its old manifest lists and its new one does not."""
    old, new = read_manifest(folder, label), read_manifest(ready, label)
    if not old or not new:
        return
    for name in old.files.keys() - new.files.keys():
        with suppress(OSError):
            (folder / name).unlink()


def recover(folder):
    """Complete or discard interrupted saves; only for the process that may write in this folder."""
    complete_sets(folder)
    own_suffix = f'.{os.getpid()}.tmp'      # written by another thread of this process right now
    for pattern in ('.*.writing', '.*.tmp'):
        for leftover in list(Path(folder).glob(pattern)):
            if not leftover.name.endswith(own_suffix):
                with suppress(OSError):
                    discard(leftover)


def complete_sets(folder):
    """Publish the sets that were interrupted in step 3. A folder that is not ours to change is left as it is."""
    for ready in Path(folder).glob('.*.ready'):
        try:
            publish(Path(folder), ready.name[1:].removesuffix('.ready'))
        except OSError as error:
            if error.errno not in NOT_OURS:     # a half-published checkpoint would look damaged
                raise


# ---- single files

class HashingFile:
    """Computes size and SHA-256 sum of what is written, and keeps the disk's error, which torch.save would hide."""

    def __init__(self, file):
        self.file = file
        self.sum = hashlib.sha256()
        self.size = 0
        self.error = None

    def write(self, block):
        try:
            self.file.write(block)
        except OSError as error:
            self.error = error
            raise
        self.sum.update(block)
        self.size += len(block)
        return len(block)

    def flush(self):
        self.file.flush()


def write_file(path: Path, write) -> dict:
    """Write one file and flush it to disk; returns its entry for the manifest."""
    with naming(path), open(path, 'wb') as file:
        hashing = HashingFile(file)
        try:
            write(hashing)
        except Exception as error:
            raise hashing.error or error
        file.flush()
        os.fsync(file.fileno())
    return {'bytes': hashing.size, 'sha256': hashing.sum.hexdigest()}


def write_manifest(folder: Path, manifest: Manifest):
    text = manifest.text().encode()
    write_file(layout.manifest_path(folder, manifest.label), lambda file: file.write(text))


def timestamp() -> str:
    return time.strftime('%Y-%m-%d %H:%M:%S')


def discard(path: Path):
    """Remove a file, a link, or a folder with its content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_space(folder, size: float):
    """An `OSError` if the disk has too little space for a checkpoint of `size` bytes."""
    Path(folder).mkdir(parents=True, exist_ok=True)     # may have been removed during the run
    free, needed = shutil.disk_usage(folder).free, SPACE_FACTOR * size
    if free < needed:
        raise OSError(errno.ENOSPC, f'no space left: a checkpoint needs {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB '
                                    f'are free', str(folder))
