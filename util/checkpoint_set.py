"""The files of one checkpoint: written aside, checked by sums, and visible together. Needs no torch.

A set is written into `.<label>.writing/`, each file flushed to the disk, `<label>_manifest.json` with the sizes and
SHA-256 sums last. Renaming the folder to `.<label>.ready` is the moment at which the new set exists; from there the
files take their names in the run's folder one by one. A set that was interrupted before that moment never was; one
that was interrupted after it is completed by whoever looks at the run next. So no crash leaves a mixed checkpoint.
"""
import errno
import hashlib
import json
import os
import shutil
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from util import run_folder
from util.files import sha256, sync_folder

ROOM = 1.2          # free space that a save must find, in sizes of a set
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Manifest:
    """What a set holds, and where the run was. `serial` counts the saves of a run: the newest set has the highest."""

    label: str
    serial: int = 0
    progress: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)       # {name: {'bytes': n, 'sha256': hex}}
    saved: str = ''


class Summed:
    """A file being written: its size and sum, and the error the disk gave, which torch.save would hide."""

    def __init__(self, file):
        self.file, self.sum, self.size, self.error = file, hashlib.sha256(), 0, None

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


def write_set(folder, label: str, files: dict, progress: dict, also=()) -> int:
    """Write a set: {file name: function that writes it to an open file}. Returns its size in bytes; or an OSError.

    `also` are labels under which the same is written once more; all of them are there at the same moment.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recover(folder)
    aside = folder / f'.{label}.writing'
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        sums = {name: write_file(aside / name, write) for name, write in files.items()}
        serial = 1 + max((manifest.serial for manifest in manifests(folder)), default=0)
        for name in (label, *also):
            named = sums if name == label else {run_folder.renamed(file, label, name): write_file(
                aside / run_folder.renamed(file, label, name), write) for file, write in files.items()}
            write_manifest(aside, Manifest(name, serial, progress, named, time.strftime('%Y-%m-%d %H:%M:%S')))
        sync_folder(aside)
        os.rename(aside, folder / f'.{label}.ready')
    except OSError as error:    # a full disk does not say which file it was
        shutil.rmtree(aside, ignore_errors=True)
        raise OSError(error.errno, error.strerror, error.filename or str(folder / next(iter(files)))) from error
    sync_folder(folder)
    publish(folder, label)
    return sum(entry['bytes'] for entry in sums.values())


def write_manifest(folder: Path, manifest: Manifest):
    text = json.dumps(vars(manifest), indent=1).encode()
    write_file(folder / run_folder.manifest_path(folder, manifest.label).name, lambda file: file.write(text))


def write_file(path: Path, write) -> dict:
    """Write one file and flush it to the disk; returns its entry of the manifest."""
    with open(path, 'wb') as file:
        summed = Summed(file)
        try:
            write(summed)
        except Exception:
            if summed.error:
                raise OSError(summed.error.errno, summed.error.strerror, str(path))
            raise
        file.flush()
        os.fsync(file.fileno())
    return {'bytes': summed.size, 'sha256': summed.sum.hexdigest()}


def publish(folder: Path, label: str):
    """Give the files of a complete set their names, manifests last. Several may do so at once."""
    ready = folder / f'.{label}.ready'
    names = sorted(path.name for path in ready.iterdir()) if ready.is_dir() else []
    for name in sorted(names, key=lambda name: name.endswith('_manifest.json')):
        with suppress(FileNotFoundError):       # another one was faster
            os.replace(ready / name, folder / name)
    sync_folder(folder)
    with suppress(OSError):
        ready.rmdir()


def recover(folder, owner: bool = True):
    """Complete the sets that were interrupted while they took their names; the `owner` removes unfinished ones."""
    folder = Path(folder)
    for ready in folder.glob('.*.ready'):
        with suppress(OSError):     # a folder that cannot be written is read as it is
            publish(folder, ready.name[1:].removesuffix('.ready'))
    if owner:
        ours = f'.{os.getpid()}.tmp'     # what this process writes now, in another thread
        for leftover in (*folder.glob('.*.writing'), *folder.glob('.*.tmp')):
            if leftover.name.endswith(ours):
                continue
            with suppress(OSError):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def manifest_of(folder, label: str) -> Manifest | None:
    """The manifest of a label, or None where there is no readable one."""
    try:
        return Manifest(**json.loads(run_folder.manifest_path(folder, label).read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        return None


def manifests(folder) -> list[Manifest]:
    found = (manifest_of(folder, label) for label in run_folder.labels(folder))
    return [manifest for manifest in found if manifest]


def problem_of_file(path: Path, entry: dict | None) -> str:
    """What is wrong with a file of a checkpoint, in a few words; '' if nothing is found.

    With an entry of the manifest every changed byte is found, else what the CRC sums of a torch file cover.
    """
    if not path.exists():
        return f'{path.absolute()} is missing'
    size = path.stat().st_size
    if size == 0:
        return f'{path.absolute()} is empty (0 bytes)'
    if entry and size != entry['bytes']:
        return f'{path.absolute()} has {size} bytes instead of {entry["bytes"]}'
    if entry and sha256(path) != entry['sha256']:
        return f'{path.absolute()} differs from its sum in the manifest beside it: it is damaged, or was replaced'
    return '' if entry else crc_problem(path)


def crc_problem(path: Path) -> str:
    """Damage that the sums inside a torch (zip) file tell; other files are left to their reader."""
    if not zipfile.is_zipfile(path):
        return ''
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except Exception as error:
        return f'{path.absolute()} is damaged ({error})'
    return f'{path.absolute()} is damaged (its part {bad} has a wrong sum)' if bad else ''


def problems_of(folder, label: str) -> list[str]:
    """Everything wrong with the checkpoint of a label."""
    folder, manifest = Path(folder), manifest_of(folder, label)
    if manifest:
        entries = {folder / name: entry for name, entry in manifest.files.items()
                   if not (name == run_folder.training_path(folder, label).name and not (folder / name).exists())}
    else:
        entries = dict.fromkeys(run_folder.files_of(folder, label))
    return [problem for path, entry in entries.items() if (problem := problem_of_file(path, entry))]


def by_age(folder) -> list[str]:
    """Labels that a run can go on from, the newest first: by their count, then those of older programs by time."""
    def age(label):
        manifest, state = manifest_of(folder, label), run_folder.state_path(folder, label)
        paths = [state] if state.exists() else run_folder.files_of(folder, label)
        time_of_files = 0 if manifest else max(path.stat().st_mtime for path in paths)
        return manifest.serial if manifest else 0, bool(manifest) or state.exists(), time_of_files, label == 'latest'
    return sorted(filter(run_folder.is_regular, run_folder.labels(folder)), key=age, reverse=True)


def lost_manifests(folder, newer_than: str) -> list[str]:
    """Checkpoints of this program, newer than that of a label, whose place in time is lost with their manifest."""
    if not manifest_of(folder, newer_than):
        return []
    then = run_folder.state_path(folder, newer_than).stat().st_mtime
    states = {label: run_folder.state_path(folder, label) for label in run_folder.labels(folder)
              if run_folder.is_regular(label) and not manifest_of(folder, label)}
    return [f'{run_folder.manifest_path(folder, label).absolute()} is missing' for label, state in states.items()
            if state.exists() and state.stat().st_mtime > then]


def prune(folder, keep_last: int, full_states: int):
    """Drop what was asked to be dropped, after a newer set is safe on the disk.

    Of numbered checkpoints the newest `keep_last` stay (0: all); of what only training needs, `full_states`.
    """
    folder, labels = Path(folder), by_age(folder)
    numbered = [label for label in labels if label != 'latest' and manifest_of(folder, label)]
    for label in numbered[keep_last:] if keep_last else ():
        manifest = manifest_of(folder, label)
        for name in (*manifest.files, run_folder.manifest_path(folder, label).name):
            with suppress(OSError):
                (folder / name).unlink()
    for label in labels[full_states:]:
        with suppress(OSError):
            run_folder.training_path(folder, label).unlink()


def check_room(folder, size: float):
    """An OSError if the disk has no room for a set of `size` bytes."""
    free = shutil.disk_usage(folder).free
    if free < ROOM * size:
        raise OSError(errno.ENOSPC, f'no space left: a checkpoint needs {megabytes(ROOM * size)}, '
                                    f'{megabytes(free)} are free', str(folder))


def megabytes(size: float) -> str:
    return f'{size / 1e6:.1f} MB'
