"""The manifest of a checkpoint: sizes and SHA-256 sums of its files, and when in the run it was saved."""
import hashlib
import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from . import layout


@dataclass
class Manifest:
    """The content of `<label>_manifest.json`.

    `serial` counts the saves of a run, so the newest checkpoint has the highest. `kept` marks the previous `latest`
    of a run that went back to an earlier checkpoint: its training file is never dropped.
    """

    label: str
    serial: int = 0
    progress: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)       # {name: {'bytes': n, 'sha256': hex}}
    saved: str = ''
    kept: bool = False

    def __post_init__(self):
        valid = isinstance(self.serial, int) and isinstance(self.progress, dict) and isinstance(self.files, dict)
        if not valid or not all(is_entry(name, entry) for name, entry in self.files.items()):
            raise ValueError('not a manifest')

    @classmethod
    def read(cls, path: Path):
        """An `OSError` or `ValueError` if the file is missing or damaged; it also holds a sum of itself."""
        try:
            values = json.loads(path.read_bytes())
            expected = values.pop('sum', None)      # files of older versions have none
            if expected not in (None, sum_of(values)):
                raise ValueError('wrong sum')
            return cls(**values)
        except (TypeError, AttributeError, RecursionError) as error:
            raise ValueError('not a manifest') from error

    def text(self) -> str:
        return json.dumps({**vars(self), 'sum': sum_of(vars(self))}, indent=1)

    def equals(self, other) -> bool:
        """True if both checkpoints have the same files, apart from their label."""
        return other is not None and self.sums() == other.sums()

    def sums(self) -> dict:
        return {name.removeprefix(self.label): entry['sha256'] for name, entry in self.files.items()}


def is_entry(name: str, entry) -> bool:
    """False for wrong types, and for a name that leads to another folder, as in a manifest from a stranger."""
    return Path(name).name == name and isinstance(entry, dict) and {'bytes', 'sha256'} <= entry.keys()


def sum_of(values: dict) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def read_manifest(folder, label: str) -> Manifest | None:
    """None if it is missing, damaged, or (copied by a user) that of another label."""
    try:
        manifest = Manifest.read(layout.manifest_path(folder, label))
    except (OSError, ValueError):
        return None
    return manifest if manifest.label == label else None


def moment_of(folder, label: str) -> dict[str, int]:
    """How much of the training a checkpoint has seen: {'epoch': complete ones, 'iteration', 'images'}, or {}."""
    manifest = read_manifest(folder, label)
    if not manifest or not {'epoch', 'iteration', 'total_iters'} <= manifest.progress.keys():
        return {}
    progress = manifest.progress
    return dict(epoch=progress['epoch'] - 1, iteration=progress['iteration'], images=progress['total_iters'])


# ---- the order of checkpoints

def next_serial(folder) -> int:
    manifests = (read_manifest(folder, label) for label in layout.labels(folder))
    return 1 + max((manifest.serial for manifest in manifests if manifest), default=0)


def newest_first(folder) -> list[str]:
    """The labels a run can be resumed from, newest first; those without a manifest are the oldest."""
    return sorted(filter(layout.is_regular, layout.labels(folder)), key=partial(age_key, folder), reverse=True)


def age_key(folder, label: str) -> tuple:
    """Sort key, highest for the newest: by serial number, or without a manifest by file time."""
    if manifest := read_manifest(folder, label):
        return manifest.serial, True, 0, label == 'latest'
    state = layout.state_path(folder, label)
    paths = [state] if state.exists() else layout.existing_files(folder, label)
    return 0, state.exists(), max(path.stat().st_mtime for path in paths), label == 'latest'
