"""Which images are measured, and what they are compared with: a folder of test.py, or two plain folders."""
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from data.domain import Domain
from data.image_folder import is_deep, list_images, read_image
from util.errors import UserError
from util.raster.kinds import BANDS, is_8_bit, kind_of
from util.raster.read import ImageError, image_error
from util.results.folder import as_path, as_text, is_complete, what_to_give

FAKE = re.compile(r'fake(_B(_\w+)?)?$')     # fake_B, one of several styles (fake_B_0), or the output of --model test
BACK = re.compile(r'fake_A(_\w+)?$')
OTHER_NAMES = re.compile(r'_(fake|real|rec)_?[AB]?(_rgb)?$')     # of files, where a stem is searched


class FolderDomain(Domain):
    """Images of a plain folder: the range is that of files with more than 8 bits; all others have their levels."""

    def read(self, path, fast=False):
        try:
            kind = kind_of(path, self.max_pixels)
        except (OSError, ValueError) as error:
            raise image_error(path, error) from error
        return read_image(path) if is_8_bit(kind.dtype, kind.colors) else self.read_all(path)


def domain_of_folder(paths: list[Path], value_range: str) -> FolderDomain | None:
    if value_range == 'auto':
        return None
    try:
        kind = kind_of(str(paths[0]))
        return FolderDomain('B', kind.channels if kind.colors == BANDS else 3, value_range=value_range)
    except (OSError, ValueError) as error:
        raise image_error(str(paths[0]), error) from error


@dataclass
class Item:
    """One input: its results {visual: file}, the target of these, and the input itself."""
    stem: str
    fakes: dict[str, Path]
    target: Path | None = None
    source: Path | None = None


@dataclass
class Task:
    """Results of one direction, and the real images that sets are compared with."""
    direction: str              # 'AtoB' or 'BtoA'
    items: list[Item]
    reals: list[Path] = field(default_factory=list)
    fake_domain: Domain | None = None
    real_domain: Domain | None = None
    why_unpaired: str = ''

    @property
    def has_targets(self) -> bool:
        return bool(self.items) and all(item.target for item in self.items)

    @property
    def has_styles(self) -> bool:
        return any(len(item.fakes) > 1 for item in self.items)


# ---- results of test.py

def read_results(folder: Path) -> dict:
    """The content of results.json; a `UserError` without this file or without images in it."""
    path = folder / 'results.json'
    if not path.is_file():
        cure = what_to_give(folder, 'give a folder that test.py wrote, or two folders of images with --fake DIR '
                            '--real DIR')
        raise UserError(f'{path.absolute()} does not exist; {cure}')
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError):
        found = None
    if not is_complete(found):
        raise UserError(f'{path.absolute()} lists no images, or is damaged; run test.py again')
    return found


def tasks_of_results(folder: Path, real: Path | None = None, paired: bool = False,
                     value_range: str = 'auto') -> list[Task]:
    """The directions that a folder of test.py has results of. `real`: a folder with the targets, by name."""
    found = read_results(folder)
    visuals = dict.fromkeys(name for image in found['images'] for name in image['files'])
    target = found.get('target')
    chosen = {'AtoB': [target[0]] if target else [name for name in visuals if FAKE.match(name)],
              'BtoA': [name for name in visuals if BACK.match(name)] if not real else []}
    if not chosen['AtoB']:
        raise UserError(f'{folder.absolute()} has no results of a model (fake_B) among {", ".join(visuals)}')
    options = found.get('options', {})
    known = bool(target) or paired or options.get('dataset_mode') == 'aligned'
    tasks = []
    for direction, fakes in chosen.items():
        if fakes:
            tasks.append(task_of(folder, found, direction, fakes, target, known))
    if real:
        tasks[0].reals = [Path(path) for path in list_images(real)]
        tasks[0].real_domain = domain_of_folder(tasks[0].reals, value_range)
        give_targets(tasks[0], real)
    return tasks


def task_of(folder: Path, found: dict, direction: str, fakes: list[str], target, known: bool) -> Task:
    """The results `fakes` of one direction; `known`: real_A and real_B of an entry belong together."""
    source, real = ('real_A', 'real_B') if direction == 'AtoB' else ('real_B', 'real_A')
    real = target[1] if target else real
    items, reals = [], []
    for image in found['images']:
        files = {name: as_path(folder, file) for name, file in image['files'].items()}
        shown = {name: files[name] for name in fakes if name in files}
        if shown:
            items.append(Item(image['stem'], shown, files.get(real) if known else None,
                              files.get(source) or files.get('real')))
            reals += [files[real]] if real in files else []
    why = '' if known else ('A and B of this dataset are not known to correspond; add --paired if they do, or --real '
                            'DIR with targets of the same names')
    letters = 'AB' if found.get('direction', 'AtoB') == 'AtoB' else 'BA'    # of the dataset, for A and B of the model
    letter, channels = (letters[1], 'output_nc') if direction == 'AtoB' else (letters[0], 'input_nc')
    pictures = fakes[0].endswith('_rgb')        # RGB, whatever the networks see
    domain = None if pictures else domain_of(found.get('options', {}), letter, channels)
    return Task(direction, items, list(dict.fromkeys(reals)), domain, domain, why)


def domain_of(options: dict, letter: str, channels: str) -> Domain | None:
    """How the files of one domain were read for the networks, from the options in results.json, which are texts."""
    try:
        values = {**options, 'max_pixels': int(options['max_pixels'])} if 'max_pixels' in options else options
        return Domain.of_options(letter, int(options[channels]), values)
    except (KeyError, ValueError):      # of an older version
        return None


def give_targets(task: Task, real: Path):
    """Targets from a folder, by the name of the result or of its source; of none that several images may be."""
    exact, similar = defaultdict(list), defaultdict(list)
    for path in task.reals:
        stem = path.relative_to(real).with_suffix('').as_posix()
        exact[stem].append(path)
        similar[OTHER_NAMES.sub('', stem)].append(path)
    missing, unclear = [], []
    for item in task.items:
        found = exact.get(item.stem) or similar.get(OTHER_NAMES.sub('', item.stem), [])
        same = [path for path in found if path.name in {file.name for file in item.fakes.values()}]
        found = same if len(same) == 1 else found
        if len(found) == 1:
            item.target = found[0]
        else:
            (unclear if found else missing).append((item.stem, found))
    reasons = []
    if missing:
        reasons.append(f'{len(missing)} of {len(task.items)} results have no image of their name in {real.absolute()}, '
                       f'such as {missing[0][0]}')
    if unclear:
        stem, found = unclear[0]
        reasons.append(f'{stem} may belong to {" or ".join(path.name for path in found[:3])} in {real.absolute()}; '
                       'leave one image of each name there')
    task.why_unpaired = '; '.join(reasons)


# ---- plain folders

def task_of_folders(fake: Path, real: Path, value_range: str = 'auto') -> Task:
    """Two folders of images; those with the same name are pairs."""
    fakes, reals = ([Path(path) for path in list_images(folder)] for folder in (fake, real))
    items = [Item(path.relative_to(fake).with_suffix('').as_posix(), {'fake': path}) for path in fakes]
    task = Task('AtoB', items, reals, *(domain_of_folder(paths, value_range) for paths in (fakes, reals)))
    give_targets(task, real)
    same = Counter(item.stem for item in items)
    for item, path in zip(items, fakes, strict=True):       # a name for each in metrics.json
        item.stem = as_text(item.stem if same[item.stem] == 1 else path.relative_to(fake).as_posix())
    return task


# ---- reading

def is_image_file(path: Path) -> bool:
    try:
        kind_of(str(path))
    except (OSError, ValueError):
        return False
    return True


def read_levels(path: Path, domain: Domain | None = None) -> torch.Tensor:
    """An image as the metrics need it, (1, C, H, W): uint8 levels, or float64 in 0..255 of an image of more bits.

    The range of `domain` becomes 0..255. Without one, deep images are refused, because their range is not known.
    """
    try:
        image = domain.read(str(path)) if domain else read_image(str(path))
    except ImageError as error:
        if domain is None and is_deep(error.__cause__) and is_image_file(path):
            raise UserError(f'{path.absolute()} has more than 8 bits; say which values are the darkest and the '
                            'brightest with --range_B LO,HI')
        raise
    if isinstance(image, np.ndarray):
        image = domain.encode(image, str(path))
    if isinstance(image, torch.Tensor):
        return (image[None].double() + 1) * 127.5
    return torch.from_numpy(np.array(image.convert('RGB'))).permute(2, 0, 1)[None]
