"""A full check of a dataset: problems that headers do not show, as they need the pixels or several folders."""
import hashlib
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from util.files import sha256
from util.places import shards, tar_names
from util.places.files import is_packed, shown
from util.raster.ranges import check_finite
from util.raster.read import ImageError, read_pixels, reason

from .bad_images import SHARE, too_many
from .problems import Problem, listing

FEW = 20            # images in a folder; with fewer, training repeats them too often
UNEQUAL = 20        # times as many images in one domain as in the other
CONSTANT = 2        # largest difference between the darkest and the brightest pixel of a constant image
THREADS = 4         # decoding releases Python's lock


class Content(NamedTuple):
    digest: str = ''        # of the bytes of the file
    constant: bool = False  # one color only
    problem: str = ''


def read_content(path: str, max_pixels: int, decode: bool = True, try_file=lambda path: None) -> Content:
    """Hash the file and, with `decode`, look at all pixels; `try_file(path)` raises an error if they are of no use."""
    try:
        digest = sha256(path) if not is_packed(path) else hashlib.sha256(shards.read(path)).hexdigest()
        if not decode:
            return Content(digest)
        pixels = read_pixels(path, max_pixels)
        check_finite(pixels)
        try_file(path)
        tolerated = CONSTANT if pixels.dtype == np.uint8 else 0
        spread = pixels.max((0, 1)).astype(float) - pixels.min((0, 1)).astype(float)
        return Content(digest, bool((spread <= tolerated).all()))
    except ImageError as error:
        return Content(problem=reason(error.__cause__ or error))
    except Exception as error:
        return Content(problem=reason(error))


def read_contents(paths: list[str], max_pixels: int, decode: bool, try_file=lambda path: None,
                  progress=lambda results: results) -> dict[str, Content]:
    """{path: content}, read by several threads; `progress` wraps the iterator of results."""
    with ThreadPoolExecutor(THREADS) as pool:
        results = pool.map(lambda path: read_content(path, max_pixels, decode, try_file), paths)
        return dict(zip(paths, progress(results), strict=True))


def damaged(contents: dict[str, Content], training_folders: set[str]) -> list[Problem]:
    """Files with a good header and bad pixels. Training replaces them, but only a few."""
    files = {path: content.problem for path, content in contents.items() if content.problem}
    if not files:
        return []
    in_training = [path for path in contents if is_in(path, training_folders)]
    fatal = too_many(sum(path in files for path in in_training), len(in_training))
    return [Problem('damaged', f'{counted(files, contents)} damaged after the header: {listing(files)}; training uses '
                    f'other samples instead, and stops if more than {SHARE:.0%} are damaged: repair, convert or remove '
                    f'them', files, fatal=fatal)]


def constant_images(contents: dict[str, Content]) -> list[Problem]:
    files = {path: 'constant' for path, content in contents.items() if content.constant}
    if not files:
        return []
    return [Problem('constant', f'{counted(files, contents)} constant (one color only): '
                    f'{listing(dict.fromkeys(files, ""))}; a model learns nothing from them, remove them',
                    files, fatal=False)]


def duplicates(contents: dict[str, Content], training_folders: set[str]) -> list[Problem]:
    """Identical files: twice in training or, worse, in training and in test."""
    by_digest = defaultdict(list)
    for path, content in contents.items():
        if content.digest:
            by_digest[content.digest].append(path)
    groups = [sorted(paths) for paths in by_digest.values() if len(paths) > 1]
    leaked = [paths for paths in groups if len({is_in(path, training_folders) for path in paths}) == 2]
    repeated = [paths for paths in groups if paths not in leaked]
    return [*identical('in training and test', leaked, contents, 'they make test results useless: remove one of each'),
            *identical('twice', repeated, contents, 'they count twice: remove the copies')]


def identical(where: str, groups: list[list[str]], contents: dict, cure: str) -> list[Problem]:
    if not groups:
        return []
    files = {path: f'identical to {os.path.abspath(paths[0])}' for paths in groups for path in paths[1:]}
    return [Problem(where, f'{counted(files, contents)} present {where}: {listing(files)}; {cure}', files,
                    fatal=False)]


def counted(files: dict, contents: dict) -> str:
    """'1 of 66 images of all phases is': unlike header problems, which are counted in the training folders only."""
    return f'{len(files)} of {len(contents)} images of all phases {"is" if len(files) == 1 else "are"}'


def is_in(path: str, folders: set[str]) -> bool:
    return any(shown(path).startswith(os.path.join(tar_names.base_of(folder), '')) for folder in folders)


def few_images(counts: dict[str, int]) -> list[Problem]:
    """Training folders with few images, absolutely or compared with the other folder; `counts`: {folder: images}."""
    found = []
    most = max(counts.values(), default=0)
    for folder, count in counts.items():
        if count < FEW:
            found.append(Problem('few images', f'{folder} has only {count} images; a model memorizes so few: add '
                                 f'images, or start from a trained model', fatal=False))
        elif count * UNEQUAL <= most:
            found.append(Problem('unequal domains', f'{folder} has {count} images, the other folder has {most}; each '
                                 f'is shown {most // count} times per epoch: add images', fatal=False))
    return found
