"""Which networks a name or path means, and what is there instead. Without torch: mistakes are reported at once."""
from dataclasses import dataclass
from pathlib import Path

from util.checkpoint import layout, transaction
from util.checkpoint.exported import CONFIG
from util.errors import UserError

GIVE = 'give a run folder, the .pth file of a generator, or an export'
CHOOSE = 'choose one with --epoch (epoch=... in Python)'
SUFFIXES = ('.pth', '.pt')


@dataclass(frozen=True)
class Place:
    """Where weights are: an export if `generators` is empty, else a run folder or one of its files.

    Attributes:
        generators: names as in the files, such as G or G_A.
        file: the only one that was given, if its name does not say its network.
    """

    path: Path
    folder: Path
    label: str = ''
    generators: tuple[str, ...] = ()
    file: Path | None = None


def place_of(name: str, checkpoints: Path) -> Path:
    """The folder or file that a name on a command line means: a run in `checkpoints`, or a path."""
    run = Path(checkpoints) / name
    return run if run.is_dir() or not Path(name).exists() else Path(name)


def find_networks(path, label: str) -> Place:
    """What there is at a path; a `UserError` if there is no generator, or no checkpoint `label`."""
    path = Path(path)
    if not path.exists():
        place = path.absolute()
        raise UserError(f'there is no folder or file {place} ({layout.describe_runs(place)}); {GIVE}')
    if (path / CONFIG).is_file():
        return Place(path, path)
    transaction.complete_sets(path if path.is_dir() else path.parent)
    return in_folder(path, label) if path.is_dir() else in_file(path)


def in_folder(folder: Path, label: str) -> Place:
    found = layout.labels(folder)
    generators = [name for name in found.get(label, []) if is_generator(name) and not name.endswith('_ema')]
    if generators:
        return Place(folder, folder, label, tuple(generators))
    others = [other for other in sorted(found, key=layout.numbers_first) if any(map(is_generator, found[other]))]
    where = folder.absolute()
    if label in found:
        raise UserError(f'checkpoint {label} in {where} has no generator, only {" ".join(found[label])}; copy its '
                        f'{label}_net_G*.pth files to this folder as well' + (f', or {also(others)}' if others else ''))
    if others:
        raise UserError(f'{where} has no checkpoint {label}; {also(others)}')
    runs = [run for run in layout.run_names(folder) if layout.labels(folder / run)]
    if runs:
        raise UserError(f'{where} is not a run, but a folder of runs ({", ".join(runs)}); give one of these')
    if layout.holds_run(folder):
        raise UserError(f'the run {where} has no checkpoint yet; train until the first one is saved')
    raise UserError(f'{where} is not a run, as it has no *_net_*.pth files; {GIVE}')


def in_file(path: Path) -> Place:
    where = path.absolute()
    label, name = layout.label_of(path), path.stem.partition('_net_')[2]
    if (path.parent / CONFIG).is_file():
        raise UserError(f'{where} is part of an export; give its folder, {where.parent}')
    if path.suffix not in SUFFIXES:
        raise UserError(f'{where} is not a .pth file; {GIVE}')
    if name and not is_generator(name):
        siblings = layout.labels(path.parent)[label]
        generators = [str(layout.network_path(path.parent, label, name)) for name in siblings if is_generator(name)]
        raise UserError(f'{where} holds the network {name}, which translates no images; '
                        + (f'give {" or ".join(generators)}' if generators else GIVE))
    if not name and path in (layout.state_path(path.parent, label), layout.training_path(path.parent, label)):
        raise UserError(f'{where} holds no network, but the state of a training; give the folder of the run, '
                        f'{where.parent}')
    return Place(path, path.parent, label, (name or 'G',), None if name else path)


def is_generator(name: str) -> bool:
    return name.partition('_')[0] == 'G'


def also(labels: list[str]) -> str:
    return f'there are {", ".join(labels)}: {CHOOSE}'
