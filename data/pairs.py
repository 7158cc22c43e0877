"""Which files of two folders are pairs: those of the same name, whatever their extensions."""
import os
from collections import defaultdict
from itertools import chain

from util.errors import UserError
from util.places import shards

from .image_folder import natural_as_unpacked


def pair_by_name(paths_A: list[str], folder_A, paths_B: list[str], folder_B) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs sorted by name, and the files without a partner.

    `x.jpg` and `x.png` are a pair, and so are `x_A.png` and `x_B.png`, if each side has only one such file.
    """
    by_name_A, by_name_B = by_name(paths_A, folder_A), by_name(paths_B, folder_B)
    pairs = [(by_name_A[name], by_name_B[name]) for name in by_name_A.keys() & by_name_B.keys()]
    paired = set(chain.from_iterable(pairs))
    by_stem_A = by_stem([path for path in paths_A if path not in paired], folder_A, '_A')
    by_stem_B = by_stem([path for path in paths_B if path not in paired], folder_B, '_B')
    pairs += [(by_stem_A[stem][0], by_stem_B[stem][0]) for stem in by_stem_A.keys() & by_stem_B.keys()
              if len(by_stem_A[stem]) == len(by_stem_B[stem]) == 1]
    paired = set(chain.from_iterable(pairs))
    pairs.sort(key=lambda pair: natural_as_unpacked(pair[0]))
    return pairs, [path for path in [*paths_A, *paths_B] if path not in paired]


def by_name(paths: list[str], folder) -> dict[str, str]:
    found = {shards.name_in(path, folder): path for path in paths}
    if len(found) < len(paths):
        twice = next(path for path in paths if found[shards.name_in(path, folder)] != path)
        raise UserError(f'several tars of {folder} have a member {shards.name_in(twice, folder)}, so pairs cannot be '
                        f'found by name; make the tars again with different names')
    return found


def by_stem(paths: list[str], folder, suffix: str) -> dict[str, list[str]]:
    """{name without extension and suffix: files}."""
    found = defaultdict(list)
    for path in paths:
        found[os.path.splitext(shards.name_in(path, folder))[0].removesuffix(suffix)].append(path)
    return found
