"""Where the images of a dataset are: folders of a phase, folders named by options, lists, tables of pairs, splits."""
import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

from util.console import counted
from util.errors import UserError
from util.machine.seeding import derive_seed
from util.places import shards, tar_names
from util.raster.kinds import known_extensions

from .image_folder import is_image, list_images, natural

HELD_OUT = ('val', 'test')      # phases that --val_fraction makes of the training images
PLACES = ('{phase}{domain}', '{domain}/{phase}', '{phase}/{domain}', '{phase}_{domain}')


class Layout:
    """The files of a dataset, as the options describe them.

    `--folder_A` and `--folder_B` name folders (several after one option are channels of one image), `--list_A` and
    `--list_B` files with a path in each line, `--pairs` a table. Without them the images are in the dataroot.
    """

    def __init__(self, values: dict):
        """`values` of the options."""
        self.root = Path(values['dataroot'])
        self.phase = values['phase']
        self.folders = {name: [Path(folder) for folder in values.get(f'folder_{name}') or []] for name in 'AB'}
        self.lists = {name: values.get(f'list_{name}') or '' for name in 'AB'}
        self.pairs = values.get('pairs') or ''
        self.fraction = values.get('val_fraction') or 0.0
        self.seed = values.get('split_seed') or 0

    @property
    def phases(self) -> list[str]:
        """The phase, and where its images are split from if it has no folder of its own."""
        return [self.phase, 'train'] if self.fraction and self.phase in HELD_OUT else [self.phase]

    def has_phase(self, phase: str) -> bool:
        """True if the dataroot has images of a phase in one of the usual places."""
        places = (phase, *(place.format(phase=phase, domain='A') for place in PLACES))
        return any((self.root / place).is_dir() for place in places)

    def unused_split(self) -> list[str]:
        """What --val_fraction takes from the training although nothing uses it."""
        named = self.folders['A'] or self.lists['A'] or self.pairs
        unused = self.fraction and not named and all(map(self.has_phase, HELD_OUT))
        return [f'{self.root} has folders for val and test, so the images that --val_fraction {self.fraction:g} holds '
                f'out are not used; drop the option'] if unused else []

    def domain_folder(self, name: str) -> Path | None:
        """The folder of domain A or B: --folder_A or a usual place in the dataroot; None if there is none."""
        if self.folders[name]:
            return self.phase_of(self.folders[name][0])
        places = (self.root / place.format(phase=phase, domain=name) for phase in self.phases for place in PLACES)
        return next((folder for folder in places if folder.is_dir()), None)

    def phase_folder(self) -> Path:
        """The folder of images that are not separated by domain: <dataroot>/<phase>, or --folder_A."""
        if self.folders['A']:
            return self.phase_of(self.folders['A'][0])
        found = (self.root / phase for phase in self.phases)
        return next((folder for folder in found if folder.is_dir()), self.root if self.is_of_shards else
                    self.root / self.phase)

    @property
    def is_of_shards(self) -> bool:
        """True if the dataroot is tars of any phase: it names them, or is a folder of them and nothing else."""
        return tar_names.is_set(self.root) or holds_only_shards(self.root)

    def phase_of(self, folder: Path) -> Path:
        """The sub-folder of the phase, or the folder itself, whose images --val_fraction may split."""
        if self.fraction and self.phase not in ('train', *HELD_OUT) and not (folder / self.phase).is_dir():
            raise UserError(f'--phase {self.phase} is neither a folder in {folder} nor what --val_fraction makes: '
                            f'train, val or test')
        return next((folder / phase for phase in self.phases if (folder / phase).is_dir()), folder)

    def is_split(self, folder: Path | None) -> bool:
        """True if --val_fraction splits the images of this folder: not that of a held-out phase itself."""
        if not self.fraction or self.phase not in ('train', *HELD_OUT):
            return False
        if self.phase == 'train' or folder is None:
            return True
        name = f'{folder.parent.name}{folder.name}' if folder.name in ('A', 'B') else folder.name.replace('_', '')
        return name not in (self.phase, f'{self.phase}A', f'{self.phase}B')

    def partners(self, name: str, paths: list[str]) -> dict[str, list[str]]:
        """{path: files of the same name in the other folders of --folder_A}; a `UserError` if one is missing."""
        others = [by_stem(self.phase_of(folder)) for folder in self.folders[name][1:]]
        if not others:
            return {}
        first = self.domain_folder(name)
        found, missing = {}, []
        for path in paths:
            stem = stem_in(path, first)
            files = [folder.get(stem) for folder in others]
            found[path] = files
            missing += [f'{path} in {folder}' for folder, file in zip(self.folders[name][1:], files, strict=True)
                        if file is None]
        if missing:
            raise UserError(f'--folder_{name}: {counted(len(missing), "file")} without a partner of the same name: '
                            f'{", ".join(missing[:5])}')
        return found

    def listed(self, name: str) -> list[str]:
        """The paths in the file --list_A, relative to --folder_A or the dataroot; a label after a tab is ignored."""
        folder = self.folders[name][0] if self.folders[name] else self.root
        lines = [line.split('\t')[0].strip() for line in text_of(f'--list_{name}', self.lists[name]).splitlines()]
        return existing(f'--list_{name}', [os.path.join(folder, line) for line in lines if line])

    def split(self, paths: list, folder: Path | None = None) -> list:
        """The part of the training images, or the held-out part, that --val_fraction makes; items may be pairs."""
        if not self.is_split(folder):
            return paths
        ordered = sorted(paths, key=lambda item: derive_seed(self.seed, 'split', Path(first_of(item)).name))
        count = min(max(1, round(self.fraction * len(paths))), len(paths) - 1) if len(paths) > 1 else 0
        held_out = set(map(first_of, ordered[:count]))
        return [item for item in paths if (first_of(item) in held_out) == (self.phase in HELD_OUT)]

    def membership(self) -> Callable[[str], bool]:
        """A function that is true for the files of this phase. Folders are listed only if a part is held out."""
        folders, files = [], [path for pair in (self.split(self.table()) if self.pairs else ()) for path in pair]
        for name in 'AB':
            if self.lists[name]:
                files += self.split(self.listed(name))
            else:
                folders.append(self.domain_folder(name) or self.phase_folder())
        whole = []
        for folder in dict.fromkeys([] if self.pairs else folders):
            if folder.is_dir() and not self.is_split(folder):
                whole.append(os.path.join(os.path.realpath(folder), ''))
            elif folder.is_dir() or tar_names.is_set(folder):
                files += self.split(list_images(folder), folder)
        named = set(map(os.path.realpath, files))

        def holds(path: str) -> bool:
            path = os.path.realpath(path)
            return path in named or path.startswith(tuple(whole))
        return holds

    def table(self) -> list[tuple[str, str]]:
        """The pairs of --pairs: a CSV file with a path of A and one of B in each line, or JSON lines with A and B."""
        text = text_of('--pairs', self.pairs)
        if self.pairs.endswith(('.jsonl', '.json')):
            rows = pairs_of_json(text)
        else:
            lines = [(number, row) for number, row in enumerate(csv.reader(text.splitlines()), 1) if any(row)]
            bad = next((number for number, row in lines if len(row) < 2 or not (row[0].strip() and row[1].strip())), 0)
            if bad:
                raise UserError(f'--pairs {self.pairs}, line {bad}: needs the path of A, a comma, and the path of B')
            rows = [row[:2] for _, row in lines]
            if rows and not rows[0][0].strip().lower().endswith(known_extensions()):      # names of the columns
                rows = rows[1:]
        pairs = [tuple(os.path.join(self.root, part.strip()) for part in row) for row in rows]
        if not pairs:
            raise UserError(f'--pairs {self.pairs} has no pairs; each line needs the path of A and that of B')
        existing('--pairs', [path for pair in pairs for path in pair])
        return pairs


def holds_only_shards(folder: Path) -> bool:
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith('.')]
    except OSError:
        return False
    return any(tar_names.is_tar(entry.name) for entry in entries) and not any(
        entry.is_dir() or is_image(entry.name) for entry in entries)


def pairs_of_json(text: str) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                entry = json.loads(line)
                pairs.append((os.fspath(entry['A']), os.fspath(entry['B'])))
            except (ValueError, KeyError, TypeError):
                raise UserError(f'--pairs, line {number}: needs a JSON object such as {{"A": "1.png", "B": "2.png"}}')
    return pairs


def first_of(item) -> str:
    return item if isinstance(item, str) else item[0]


def text_of(option: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding='utf-8-sig')
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or 'it is no UTF-8 text'
        raise UserError(f'{option} {path} cannot be read: {reason}')


def existing(option: str, paths: list[str]) -> list[str]:
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise UserError(f'{option}: {counted(len(missing), "file")} not found, such as '
                        f'{os.path.abspath(missing[0])}; paths are relative to --dataroot')
    if not paths:
        raise UserError(f'{option} names no files; write one path in each line')
    return paths


def by_stem(folder: Path) -> dict[str, str]:
    return {stem_in(path, folder): path for path in list_images(folder)}


def stem_in(path: str, folder: Path) -> str:
    """The path inside the folder without its extension."""
    return os.path.splitext(shards.name_in(path, folder))[0]


def in_order(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(pairs, key=lambda pair: natural(pair[0]))
