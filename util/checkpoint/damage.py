"""What is wrong with the files of a checkpoint. Every function describes problems in words; none means no problem."""
import zipfile
from pathlib import Path

from util.files import sha256

from . import layout
from .manifest import Manifest, newest_first, read_manifest


def find_problems(folder, label: str) -> list[str]:
    """All problems of a checkpoint."""
    if problem := manifest_problem(folder, label):
        return [problem]
    found = (file_problem(path, entry) for path, entry in expected_files(folder, label).items())
    return [problem for problem in found if problem]


def expected_files(folder, label: str) -> dict[Path, dict | None]:
    """The files a checkpoint must have, with their entries in the manifest (None if there is no manifest)."""
    folder = Path(folder)
    manifest = read_manifest(folder, label)
    if not manifest:
        return dict.fromkeys(layout.existing_files(folder, label))
    entries = {folder / name: entry for name, entry in manifest.files.items()}
    training = layout.training_path(folder, label)
    if not training.exists() and label in newest_first(folder)[layout.FULL_STATES:]:
        entries.pop(training, None)     # older versions dropped the file, but not its entry
    return entries


def manifest_problem(folder, label: str) -> str:
    path = layout.manifest_path(folder, label)
    try:
        Manifest.read(path)
    except FileNotFoundError:
        return ''
    except (OSError, ValueError):
        return (f'{path.absolute()} is damaged, so the files it lists cannot be checked (delete it to use them '
                f'unchecked)')
    return ''


def lost_manifests(folder, newer_than: str) -> list[str]:
    """Damaged manifests, and missing ones of checkpoints saved after `newer_than`: their place in the order is lost."""
    if not read_manifest(folder, newer_than):
        return []
    saved = layout.state_path(folder, newer_than).stat().st_mtime
    found = []
    for label in filter(layout.is_regular, layout.labels(folder)):
        state = layout.state_path(folder, label)
        if problem := manifest_problem(folder, label):
            found.append(problem)
        elif not read_manifest(folder, label) and state.exists() and state.stat().st_mtime > saved:
            found.append(f'{layout.manifest_path(folder, label).absolute()} is missing')
    return found


def single_file_problem(path: Path) -> str:
    """The problem of one file, by its manifest if it has one."""
    return manifest_problem(path.parent, layout.label_of(path)) or file_problem(path, entry_of(path))


def entry_of(path: Path) -> dict | None:
    """The size and sum of a checkpoint file in its manifest."""
    manifest = read_manifest(path.parent, layout.label_of(path))
    return manifest.files.get(path.name) if manifest else None


def file_problem(path: Path, entry: dict | None) -> str:
    """With an `entry` of the manifest any changed byte is found; without one, what the CRCs of a torch file cover."""
    place = path.absolute()
    if not path.exists():
        return f'{place} is missing'
    if not path.is_file():
        return f'{place} is a {"folder" if path.is_dir() else "pipe or device"}, not a file'
    size = path.stat().st_size
    if size == 0:
        return f'{place} is empty (0 bytes)'
    if not entry:
        return crc_problem(path)
    kind = wrong_kind(path)
    if size != entry['bytes']:
        found = f'{place} has {size} bytes instead of {entry["bytes"]}'
        return f'{found}: {kind}' if kind else found
    if sha256(path) != entry['sha256']:
        return f'{place} does not match the sum in its manifest: {kind or "it was damaged or replaced"}'
    return ''


def wrong_kind(path: Path) -> str:
    """Names the files that are often found in place of a checkpoint; '' for all others."""
    with open(path, 'rb') as file:
        head = file.read(64).lstrip()
    if head.startswith(b'version https://git-lfs'):
        return 'it is a Git LFS pointer; run git lfs pull to get the file itself'
    if head[:1] in (b'<', b'{'):
        return f'it starts with {head[:9].decode("utf-8", "replace")!r}: a web page or text'
    return ''


def crc_problem(path: Path) -> str:
    """Checks the CRCs inside a torch (zip) file; other files are left to their reader."""
    try:
        if not zipfile.is_zipfile(path):
            return ''
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except Exception as error:
        return f'{path.absolute()} is damaged ({error})'
    return f'{path.absolute()} is damaged (wrong CRC of {bad})' if bad else ''
