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
import re
import shutil
import time
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from util.files import atomic_write, move_aside, naming, sha256, sync_folder

from . import layout

ROOM = 1.2          # free space that a save must find, in sizes of a set
FULL_STATES = 3     # how many of the newest checkpoints keep what only training needs
FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_OURS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)    # a folder of others, or at work in it
MANIFEST = '_manifest.json'
OURS = re.compile(r'.+_(net_.+\.pth|state\.pth|training\.pth|manifest\.json)')


@dataclass
class Manifest:
    """What a set holds, and where the run was. `serial` counts the saves of a run: the newest set has the highest.

    `kept` is true for a set that the run left when it went back: what only training needs stays in it.
    """

    label: str
    serial: int = 0
    progress: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)       # {name: {'bytes': n, 'sha256': hex}}
    saved: str = ''
    kept: bool = False

    def __post_init__(self):
        fits = isinstance(self.serial, int) and isinstance(self.progress, dict) and isinstance(self.files, dict)
        if not fits or not all(isinstance(entry, dict) and {'bytes', 'sha256'} <= entry.keys()
                               and Path(name).name == name for name, entry in self.files.items()):
            raise ValueError('no manifest')

    @classmethod
    def read(cls, path: Path):
        """An OSError or ValueError if there is none or it is damaged, as its sum of itself tells."""
        try:
            values = json.loads(path.read_bytes())
            told = values.pop('sum', None)      # files of older programs have none
            if told not in (None, sum_of(values)):
                raise ValueError('another sum')
            return cls(**values)
        except (TypeError, AttributeError, RecursionError) as error:
            raise ValueError('no manifest') from error

    def text(self) -> str:
        return json.dumps({**vars(self), 'sum': sum_of(vars(self))}, indent=1)

    def contents(self) -> dict:
        """The sums by the part of the names that does not depend on the label: equal for equal states."""
        return {name.removeprefix(self.label): entry['sha256'] for name, entry in self.files.items()}


def sum_of(values: dict) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


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
    with new_set(folder, label) as aside:
        sums = {name: write_file(aside / name, write) for name, write in files.items()}
        serial = 1 + newest_serial(folder)
        for name in (label, *also):
            named = sums if name == label else {layout.renamed(file, label, name): write_file(
                aside / layout.renamed(file, label, name), write) for file, write in files.items()}
            write_manifest(aside, Manifest(name, serial, progress, named, now()))
    return sum(entry['bytes'] for entry in sums.values())


@contextmanager
def new_set(folder, label: str):
    """A folder to write into: all files in it take their names in `folder` when the block ends, or none does."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recover(folder)
    aside, ready = folder / f'.{label}.writing', folder / f'.{label}.ready'
    try:
        discard(aside)
        if os.path.lexists(ready):      # what is none of ours
            move_aside(ready)
        aside.mkdir()
        yield aside
        sync_folder(aside)
        os.rename(aside, ready)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise OSError(error.errno, error.strerror, error.filename or str(folder)) from error
    sync_folder(folder)
    publish(folder, label)


def make_newest(folder, label: str, progress: dict) -> str:
    """Make an earlier checkpoint, at `progress`, the newest one, and `latest`: a run leaves the path that followed it.

    From then on a run goes on from there, whatever happens. What was `latest` gets another label, which is returned;
    '' where there was nothing to be kept. Bare weights, which are at no known place, are left as they are.
    """
    folder = Path(folder)
    newest, manifest, entries = next(iter(by_age(folder)), label), manifest_of(folder, label), entries_of(folder, label)
    is_bare = not layout.state_path(folder, label).exists()
    if is_bare or newest == label or same(manifest, manifest_of(folder, newest)):
        return ''
    with new_set(folder, 'latest') as aside:
        kept = keep_latest(folder, aside) if label != 'latest' else ''
        files, serial = {}, 1 + newest_serial(folder)
        for path in entries:
            name = layout.renamed(path.name, label, 'latest')
            with open(path, 'rb') as source:
                files[name] = write_file(aside / name, partial(shutil.copyfileobj, source))
        if manifest:        # the next one after `latest`, if that is ever damaged
            files_of_label = {path.name: entry for path, entry in entries.items()}
            write_manifest(aside, replace(manifest, serial=serial, files=files_of_label))
        write_manifest(aside, Manifest('latest', serial, progress, files, now()))
    return kept


def keep_latest(folder: Path, aside: Path) -> str:
    """Put what is `latest` into a new set under another label: one of an epoch will be written over by the new path."""
    paths = [path for path in layout.files_of(folder, 'latest') if path.is_file()]
    manifest = manifest_of(folder, 'latest')
    if not paths:
        return ''
    label = f'iter_{manifest.progress["total_iters"]}' if manifest and 'total_iters' in manifest.progress else 'latest'
    label = layout.free_label(folder, label)
    for path in paths:
        link(path, aside / layout.renamed(path.name, 'latest', label))
    if manifest:
        files = {layout.renamed(name, 'latest', label): entry for name, entry in manifest.files.items()}
        write_manifest(aside, replace(manifest, label=label, files=files, kept=True))
    return label


def link(source: Path, target: Path):
    """Another name of a file; a copy where the file system has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def same(first: Manifest | None, second: Manifest | None) -> bool:
    """Are two checkpoints the same state, by their sums?"""
    return bool(first and second) and first.contents() == second.contents()


def now() -> str:
    return time.strftime('%Y-%m-%d %H:%M:%S')


def write_manifest(folder: Path, manifest: Manifest):
    text = manifest.text().encode()
    write_file(layout.manifest_path(folder, manifest.label), lambda file: file.write(text))


def write_file(path: Path, write) -> dict:
    """Write one file and flush it to the disk; returns its entry of the manifest."""
    with naming(path), open(path, 'wb') as file:
        summed = Summed(file)
        try:
            write(summed)
        except Exception as error:
            raise summed.error or error
        file.flush()
        os.fsync(file.fileno())
    return {'bytes': summed.size, 'sha256': summed.sum.hexdigest()}


def publish(folder: Path, label: str):
    """Give the files of a complete set their names, manifests last. Several may do so at once.

    What only the set of before has, such as a training file, goes with its manifest; a folder in the way moves aside.
    Links are not followed, and only files of checkpoints are moved: a folder may come from a stranger.
    """
    ready = folder / f'.{label}.ready'
    if ready.is_symlink() or not ready.is_dir():
        return
    names = sorted(path.name for path in ready.iterdir() if OURS.fullmatch(path.name) and is_plain_file(path))
    for name in sorted(names, key=is_manifest):
        with suppress(FileNotFoundError):       # another one was faster
            if is_manifest(name):
                remove_outdated(folder, name.removesuffix(MANIFEST), ready)
            elif (folder / name).is_dir():
                move_aside(folder / name)
            os.replace(ready / name, folder / name)
    sync_folder(folder)
    with suppress(OSError):
        ready.rmdir()


def is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def discard(path: Path):
    """Remove what an interrupted save left: a folder with all in it, or whatever has its name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_manifest(name: str) -> bool:
    return name.endswith(MANIFEST)


def remove_outdated(folder: Path, label: str, ready: Path):
    """Files that the manifest of a label lists, and the one that comes does not."""
    before, after = manifest_of(folder, label), manifest_of(ready, label)
    for name in before.files.keys() - after.files.keys() if before and after else ():
        with suppress(OSError):
            (folder / name).unlink()


def recover(folder, owner: bool = True):
    """Complete the sets that were interrupted while they took their names; the `owner` removes unfinished ones.

    A folder that cannot be written is read as it is; so is one whose owner completes it at the same moment.
    """
    folder = Path(folder)
    for ready in folder.glob('.*.ready'):
        try:
            publish(folder, ready.name[1:].removesuffix('.ready'))
        except OSError as error:
            if error.errno not in NOT_OURS:     # half of it published would look damaged
                raise
    if owner:
        ours = f'.{os.getpid()}.tmp'     # what this process writes now, in another thread
        for leftover in (*folder.glob('.*.writing'), *folder.glob('.*.tmp')):
            if leftover.name.endswith(ours):
                continue
            with suppress(OSError):
                discard(leftover)


def manifest_of(folder, label: str) -> Manifest | None:
    """The manifest of a label, or None where there is no readable one, or one of another label."""
    try:
        manifest = Manifest.read(layout.manifest_path(folder, label))
    except (OSError, ValueError):
        return None
    return manifest if manifest.label == label else None


def problem_of_manifest(folder, label: str) -> str:
    """What is wrong with the manifest of a label, in a few words; '' if nothing is, or there is none."""
    path = layout.manifest_path(folder, label)
    try:
        Manifest.read(path)
    except FileNotFoundError:
        return ''
    except (OSError, ValueError):
        return (f'{path.absolute()} is damaged, and what it lists cannot be checked (without it, files are taken as '
                f'they are)')
    return ''


def manifests(folder) -> list[Manifest]:
    found = (manifest_of(folder, label) for label in layout.labels(folder))
    return [manifest for manifest in found if manifest]


def newest_serial(folder) -> int:
    return max((manifest.serial for manifest in manifests(folder)), default=0)


def problem_of_file(path: Path, entry: dict | None) -> str:
    """What is wrong with a file of a checkpoint, in a few words; '' if nothing is found.

    With an entry of the manifest every changed byte is found, else what the CRC sums of a torch file cover.
    """
    if not path.exists():
        return f'{path.absolute()} is missing'
    if not path.is_file():
        return f'{path.absolute()} is a {"folder" if path.is_dir() else "pipe or device"}, not a file'
    size = path.stat().st_size
    if size == 0:
        return f'{path.absolute()} is empty (0 bytes)'
    if not entry:
        return crc_problem(path)
    kind = wrong_kind(path)
    if size != entry['bytes']:
        return f'{path.absolute()} has {size} bytes instead of {entry["bytes"]}{kind and f": {kind}"}'
    if sha256(path) != entry['sha256']:
        return (f'{path.absolute()} differs from its sum in the manifest beside it: '
                f'{kind or "it is damaged, or was replaced"}')
    return ''


def wrong_kind(path: Path) -> str:
    """What a file is that is often found in place of a checkpoint; '' for all others."""
    with open(path, 'rb') as file:
        head = file.read(64).lstrip()
    if head.startswith(b'version https://git-lfs'):
        return 'it is a pointer of Git LFS; fetch the file itself by git lfs pull'
    if head[:1] in (b'<', b'{'):
        return f'it starts with {head[:9].decode("utf-8", "replace")!r}: a web page or text'
    return ''


def crc_problem(path: Path) -> str:
    """Damage that the sums inside a torch (zip) file tell; other files are left to their reader."""
    try:
        if not zipfile.is_zipfile(path):
            return ''
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except Exception as error:
        return f'{path.absolute()} is damaged ({error})'
    return f'{path.absolute()} is damaged (its part {bad} has a wrong sum)' if bad else ''


def problems_of(folder, label: str) -> list[str]:
    """Everything wrong with the checkpoint of a label."""
    if problem := problem_of_manifest(folder, label):
        return [problem]
    entries = entries_of(folder, label).items()
    return [problem for path, entry in entries if (problem := problem_of_file(path, entry))]


def entries_of(folder, label: str) -> dict[Path, dict | None]:
    """The files that a checkpoint must have, with their entries of the manifest, or None where there is no manifest."""
    folder, manifest = Path(folder), manifest_of(folder, label)
    if not manifest:
        return dict.fromkeys(layout.files_of(folder, label))
    entries = {folder / name: entry for name, entry in manifest.files.items()}
    training = layout.training_path(folder, label)
    if not training.exists() and label in by_age(folder)[FULL_STATES:]:
        entries.pop(training, None)     # dropped by an older program, which left it in the manifest
    return entries


def by_age(folder) -> list[str]:
    """Labels that a run can go on from, the newest first: by their count, then those of older programs by time."""
    def age(label):
        manifest, state = manifest_of(folder, label), layout.state_path(folder, label)
        paths = [state] if state.exists() else layout.files_of(folder, label)
        time_of_files = 0 if manifest else max(path.stat().st_mtime for path in paths)
        return manifest.serial if manifest else 0, bool(manifest) or state.exists(), time_of_files, label == 'latest'
    return sorted(filter(layout.is_regular, layout.labels(folder)), key=age, reverse=True)


def lost_manifests(folder, newer_than: str) -> list[str]:
    """Checkpoints of this program whose place in time is lost with their manifest, if newer than that of a label."""
    if not manifest_of(folder, newer_than):
        return []
    then = layout.state_path(folder, newer_than).stat().st_mtime
    states = {label: layout.state_path(folder, label) for label in layout.labels(folder)
              if layout.is_regular(label) and not manifest_of(folder, label)}
    found = {label: problem_of_manifest(folder, label) or state.exists() and state.stat().st_mtime > then and
             f'{layout.manifest_path(folder, label).absolute()} is missing' for label, state in states.items()}
    return list(filter(None, found.values()))


def prune(folder, keep_last: int, full_states: int):
    """Drop what was asked to be dropped, after a newer set is safe on the disk.

    Of numbered checkpoints the newest `keep_last` stay (0: all); of what only training needs, `full_states`.
    """
    folder, labels = Path(folder), by_age(folder)
    numbered = [label for label in labels if label != 'latest' and manifest_of(folder, label)]
    for label in numbered[keep_last:] if keep_last else ():
        manifest = manifest_of(folder, label)
        for name in (*reversed(manifest.files), layout.manifest_path(folder, label).name):
            with suppress(OSError):
                (folder / name).unlink()
    for label in labels[full_states:]:
        manifest = manifest_of(folder, label)
        with suppress(OSError):
            thin(folder, label) if not (manifest and manifest.kept) else None


def thin(folder: Path, label: str):
    """Drop what only training needs: first from the manifest, so that at no moment it looks lost."""
    training, manifest = layout.training_path(folder, label), manifest_of(folder, label)
    if manifest and manifest.files.pop(training.name, None):
        with atomic_write(layout.manifest_path(folder, label)) as file:
            file.write(manifest.text())
    training.unlink(missing_ok=True)


def check_room(folder, size: float):
    """An OSError if the disk has no room for a set of `size` bytes."""
    Path(folder).mkdir(parents=True, exist_ok=True)     # it may have been removed during the run
    free = shutil.disk_usage(folder).free
    if free < ROOM * size:
        raise OSError(errno.ENOSPC, f'no space left: a checkpoint needs {megabytes(ROOM * size)}, '
                                    f'{megabytes(free)} are free', str(folder))


def megabytes(size: float) -> str:
    return f'{size / 1e6:.1f} MB'
