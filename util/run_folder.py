"""What lies in the folder of a run, by names alone. Needs no torch."""
import shutil
from pathlib import Path

from util.files import move_aside


def network_path(folder, label: str, name: str) -> Path:
    return Path(folder) / f'{label}_net_{name}.pth'


def state_path(folder, label: str) -> Path:
    return Path(folder) / f'{label}_state.pth'


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


def claim(folder, overwrite: bool) -> str:
    """Make the folder of a new run; an earlier run there is moved aside, or removed. Returns a line about it."""
    folder, line = Path(folder), ''
    if holds_run(folder) and overwrite:
        shutil.rmtree(folder)
        line = f'the earlier run in {folder.absolute()} was removed (--overwrite)'
    elif holds_run(folder):
        line = f'the earlier run of this name was moved to {move_aside(folder).absolute()}'
    folder.mkdir(parents=True, exist_ok=True)
    return line


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
