"""The names of the checkpoint files in a run folder, and which of them exist."""
import re
from pathlib import Path

from util.errors import UserError
from util.registry import nearest

from . import exported

MANIFEST = '_manifest.json'
BEST = 'best'       # the label of the best checkpoint by a metric: without a training file, and never deleted
FULL_STATES = 3     # so many of the newest checkpoints keep their training file


def network_path(folder, label: str, name: str) -> Path:
    return Path(folder) / f'{label}_net_{name}.pth'


def state_path(folder, label: str) -> Path:
    return Path(folder) / f'{label}_state.pth'


def training_path(folder, label: str) -> Path:
    """Optimizers, pools and random states: what is needed only to resume training."""
    return Path(folder) / f'{label}_training.pth'


def manifest_path(folder, label: str) -> Path:
    return Path(folder) / f'{label}{MANIFEST}'


def label_of(path: Path) -> str:
    """The label of a weight, state or training file."""
    match = re.fullmatch(r'(.+?)_(net_.+|state|training)\.pth', path.name)
    return match[1] if match else path.stem


def relabel(file: str, label: str, new_label: str) -> str:
    """'5_state.pth' of label '5' as 'latest_state.pth'."""
    return f'{new_label}{file.removeprefix(label)}'


def is_regular(label: str) -> bool:
    """False for the best checkpoint, and for labels that training does not give: copies that users made."""
    return re.fullmatch(r'latest|\d+|iter_\d+', label) is not None


def labels(folder) -> dict[str, list[str]]:
    """The networks of each label in a folder: {'latest': ['D', 'G'], '5': [...]}."""
    found = {}
    for path in sorted(Path(folder).glob('*_net_*.pth')):
        label, _, name = path.stem.partition('_net_')
        found.setdefault(label, []).append(name)
    return found


def existing_files(folder, label: str) -> list[Path]:
    """The checkpoint files of a label, networks first, without the manifest."""
    others = state_path(folder, label), training_path(folder, label)
    return sorted(Path(folder).glob(f'{label}_net_*.pth')) + [path for path in others if path.exists()]


def free_label(folder, label: str) -> str:
    """`label`, or the first of `<label>.1`, `<label>.2`, ... that no checkpoint has."""
    taken = labels(folder)
    free, number = label, 0
    while free in taken:
        number += 1
        free = f'{label}.{number}'
    return free


def named_weights(source: str, label: str, checkpoints_dir) -> dict[str, Path]:
    """The weight files that --init_from `source` names, {'G': path, ...}: of a run, a folder, or a single file.

    A folder of scripts/export.py --format safetensors has a generator. A `UserError` if there are none. A file whose
    name does not say its network is a generator.
    """
    path = Path(source)
    if '://' in source:
        raise UserError(f'--init_from {source} is not on this machine; download it first, and give the file')
    if path.is_file():
        return {path.stem.partition('_net_')[2] or 'G': path}
    folder = next((folder for folder in (Path(checkpoints_dir) / source, path) if folder.is_dir()), None)
    if folder is None:
        raise UserError(f'--init_from {source} is no run ({describe_runs(Path(checkpoints_dir).absolute() / source)}), '
                        f'folder or file; correct it')
    config = exported.config_of(folder)
    if config.get('kind') == 'styles':
        raise UserError(f'{folder.absolute()} has parts of two generators; start from the run that was exported')
    if config.get('file_format') == 'safetensors':
        files = {'G': folder / exported.WEIGHTS, 'E': folder / exported.ENCODER}
        return {name: file for name, file in files.items() if name == 'G' or file.exists()}
    names = [name for name in labels(folder).get(label, []) if not name.endswith('_ema')]
    if not names:
        found = ', '.join(sorted(labels(folder), key=numbers_first))
        raise UserError(f'{folder.absolute()} has no checkpoint {label}, but {found}; choose one with --init_epoch'
                        if found else f'{folder.absolute()} has no *_net_*.pth files; give a run, a folder with such '
                                      f'files, or one .pth file with --init_from')
    return {name: network_path(folder, label, name) for name in names}


def holds_run(folder) -> bool:
    """True if a run was trained in this folder."""
    return bool(labels(folder)) or (Path(folder) / 'loss_log.txt').exists()


# ---- for error messages

def describe_checkpoints(folder) -> str:
    """Which checkpoints a folder has, and how to choose one."""
    folder = Path(folder).absolute()
    if not folder.is_dir():
        return f'there is no folder {folder} ({describe_runs(folder)}); correct --name or --checkpoints_dir'
    found = labels(folder)
    if not found:
        return f'{folder} has no *_net_*.pth files; train first, or correct --name or --checkpoints_dir'
    listing = ', '.join(f'{label} ({" ".join(found[label])})' for label in sorted(found, key=numbers_first))
    return f'{folder} has: {listing}; choose one with --epoch (or --load_iter N for iter_N)'


def describe_runs(folder: Path) -> str:
    """Which other runs there are next to a missing folder."""
    parent = folder.parent
    if parent.name == folder.name and holds_run(parent):
        return f'the run is in {parent}: use --checkpoints_dir {parent.parent}, or this folder in Python'
    runs = run_names(parent)
    return f'{parent} has: {", ".join(runs)}{nearest(folder.name, runs)}' if runs else f'{parent} has no runs'


def run_names(parent) -> list[str]:
    """The folders next to each other in --checkpoints_dir."""
    return sorted(path.name for path in Path(parent).glob('*') if path.is_dir())


def numbers_first(label: str) -> tuple:
    """Sort key: numbers by value, then all other labels by name."""
    return (0, int(label), label) if label.isdigit() else (1, 0, label)
