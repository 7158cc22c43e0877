"""Which files of two folders belong together: those of the same name, whatever their endings."""
import os
from collections import defaultdict


def pair_by_name(paths_A: list[str], folder_A, paths_B: list[str], folder_B) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs in the order of their names, and the files without a partner.

    `x.jpg` and `x.png` are partners, so are `x_A.png` and `x_B.png`, if there is only one of each on either side.
    """
    exact_A, exact_B = named(paths_A, folder_A, 'A', os.path.normpath), named(paths_B, folder_B, 'B', os.path.normpath)
    pairs = [(exact_A[name][0], exact_B[name][0]) for name in exact_A.keys() & exact_B.keys()]
    done = {path for pair in pairs for path in pair}
    rest_A, rest_B = (named([path for path in paths if path not in done], folder, side, os.path.splitext)
                      for paths, folder, side in ((paths_A, folder_A, 'A'), (paths_B, folder_B, 'B')))
    pairs += [(rest_A[stem][0], rest_B[stem][0]) for stem in rest_A.keys() & rest_B.keys()
              if len(rest_A[stem]) == len(rest_B[stem]) == 1]
    done = {path for pair in pairs for path in pair}
    return sorted(pairs), [path for path in [*paths_A, *paths_B] if path not in done]


def named(paths: list[str], folder, side: str, split) -> dict[str, list[str]]:
    """{name below the folder: its files}, the name as it is, or without its ending and a final `_A` or `_B`."""
    found = defaultdict(list)
    for path in paths:
        name = split(os.path.relpath(path, folder))
        found[name if isinstance(name, str) else name[0].removesuffix(f'_{side}')].append(path)
    return found
