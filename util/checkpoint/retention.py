"""Which checkpoints of a run are kept, and which one is the newest."""
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from util.files import atomic_write

from . import layout
from .damage import expected_files
from .manifest import Manifest, newest_first, next_serial, read_manifest
from .transaction import new_set, timestamp, write_file, write_manifest


def prune(folder, keep_last: int, full_states: int):
    """Delete what is no longer wanted, once a newer checkpoint is safe on disk.

    Keeps the newest `keep_last` numbered checkpoints (0: all), and the training files of the newest `full_states`.
    """
    folder = Path(folder)
    labels = newest_first(folder)
    manifests = {label: read_manifest(folder, label) for label in labels}
    if keep_last:
        numbered = [label for label in labels if label != 'latest' and manifests[label]]
        for label in numbered[keep_last:]:
            delete(folder, manifests[label])
    for label in labels[full_states:]:
        if not (manifests[label] and manifests[label].kept):
            with suppress(OSError):
                drop_training_file(folder, label)


def delete(folder: Path, manifest: Manifest):
    """Delete a checkpoint, its manifest last."""
    for name in (*reversed(manifest.files), layout.manifest_path(folder, manifest.label).name):
        with suppress(OSError):
            (folder / name).unlink()


def drop_training_file(folder: Path, label: str):
    """Remove it from the manifest first, so that it never looks lost."""
    training, manifest = layout.training_path(folder, label), read_manifest(folder, label)
    if manifest and manifest.files.pop(training.name, None):
        with atomic_write(layout.manifest_path(folder, label)) as file:
            file.write(manifest.text())
    training.unlink(missing_ok=True)


def promote_to_latest(folder, label: str, progress: dict) -> str:
    """Make an earlier checkpoint, saved at `progress`, the newest one and `latest`, so that runs resume from it.

    Returns the label under which the previous `latest` is kept, or '' if there was nothing to keep. Bare weights are
    left as they are, because their place in the run is unknown.
    """
    folder = Path(folder)
    manifest = read_manifest(folder, label)
    newest = next(iter(newest_first(folder)), label)
    is_newest = newest == label or (manifest and manifest.equals(read_manifest(folder, newest)))
    if is_newest or not layout.state_path(folder, label).exists():
        return ''
    entries = expected_files(folder, label)
    with new_set(folder, 'latest') as aside:
        kept_as = keep_previous_latest(folder, aside) if label != 'latest' else ''
        serial = next_serial(folder)
        copies = {}
        for path in entries:
            name = layout.relabel(path.name, label, 'latest')
            with open(path, 'rb') as source:
                copies[name] = write_file(aside / name, partial(shutil.copyfileobj, source))
        if manifest:        # then `label` is the second newest, in case `latest` gets damaged
            files = {path.name: entry for path, entry in entries.items()}
            write_manifest(aside, replace(manifest, serial=serial, files=files))
        write_manifest(aside, Manifest('latest', serial, progress, copies, timestamp()))
    return kept_as


def keep_previous_latest(folder: Path, aside: Path) -> str:
    """Add `latest` to a new set under a free label, which is returned: the resumed run will overwrite `latest`."""
    paths = [path for path in layout.existing_files(folder, 'latest') if path.is_file()]
    manifest = read_manifest(folder, 'latest')
    if not paths:
        return ''
    label = f'iter_{manifest.progress["total_iters"]}' if manifest and 'total_iters' in manifest.progress else 'latest'
    label = layout.free_label(folder, label)
    copy_set(folder, 'latest', aside, label, kept=True)
    return label


def set_aside(folder, label: str) -> str:
    """Give a checkpoint the first free label of `<label>.1`, ..., which is returned; '' if there is none."""
    folder = Path(folder)
    paths = [path for path in layout.existing_files(folder, label) if path.is_file()]
    if not paths:
        return ''
    free = layout.free_label(folder, label)
    with new_set(folder, free) as aside:
        copy_set(folder, label, aside, free)
    for path in (*paths, layout.manifest_path(folder, label)):
        path.unlink(missing_ok=True)
    return free


def copy_set(folder: Path, label: str, aside: Path, new_label: str, **changes):
    """Add the files of a checkpoint to a new set under another label, with `changes` of its manifest."""
    for path in layout.existing_files(folder, label):
        if path.is_file():
            link_or_copy(path, aside / layout.relabel(path.name, label, new_label))
    manifest = read_manifest(folder, label)
    if manifest:
        files = {layout.relabel(name, label, new_label): entry for name, entry in manifest.files.items()}
        write_manifest(aside, replace(manifest, label=new_label, files=files, **changes))


def link_or_copy(source: Path, target: Path):
    """Hard-link, falling back to a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
