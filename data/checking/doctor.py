"""A full look at data sets: what headers cannot tell, because it needs the pixels or several folders."""
import hashlib
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from data.image_folder import decoded, reason

from .bad_images import SHARE, TOLERATED
from .problems import Problem, listing

FEW = 20            # images of a domain; fewer repeat too often to learn from
UNEQUAL = 20        # times as many images in one domain as in the other
FLAT = 2            # levels between the darkest and the brightest pixel of a constant image
THREADS = 4         # decoding works outside of python's lock


class Content(NamedTuple):
    digest: str = ''        # of the bytes of the file
    flat: bool = False      # one colour
    problem: str = ''


def look_into(path: str, max_pixels: int, decode: bool = True) -> Content:
    """Hash, and with `decode` look at all pixels."""
    try:
        with open(path, 'rb') as file:
            digest = hashlib.file_digest(file, 'blake2b').hexdigest() if hasattr(hashlib, 'file_digest') \
                else hashlib.blake2b(file.read()).hexdigest()
        if not decode:
            return Content(digest)
        levels = decoded(path, max_pixels).getextrema()
        return Content(digest, all(high - low <= FLAT for low, high in levels))
    except Exception as error:
        return Content(problem=reason(error))


def look_into_all(paths: list[str], max_pixels: int, decode: bool, progress=lambda found: found) -> dict[str, Content]:
    """{path: content}, by several threads; `progress` wraps the results as they come."""
    with ThreadPoolExecutor(THREADS) as pool:
        results = pool.map(lambda path: look_into(path, max_pixels, decode), paths)
        return dict(zip(paths, progress(results), strict=True))


def broken_bodies(contents: dict[str, Content], trained: set[str]) -> list[Problem]:
    """Files whose header is right and whose pixels are not: training replaces a few of them by others."""
    files = {path: content.problem for path, content in contents.items() if content.problem}
    if not files:
        return []
    own = [is_in(path, trained) for path in contents]
    too_many = sum(is_in(path, trained) for path in files) > max(TOLERATED, SHARE * sum(own))
    return [Problem('damaged', f'{counted(files, contents)} damaged behind the header: {listing(files)}; '
                    f'training takes other samples instead, and ends if there are more than {SHARE:.0%} of them: '
                    f'repair, convert or remove what is damaged', files, fatal=too_many)]


def constants(contents: dict[str, Content]) -> list[Problem]:
    files = {path: 'one colour' for path, content in contents.items() if content.flat}
    if not files:
        return []
    return [Problem('one colour', f'{counted(files, contents)} of one colour only: '
                    f'{listing(dict.fromkeys(files, ""))}; nothing can be learnt there, remove what is of one colour',
                    files, fatal=False)]


def duplicates(contents: dict[str, Content], trained: set[str]) -> list[Problem]:
    """Equal files: within the training, and worse, between training and test. `trained`: the folders of training."""
    groups = defaultdict(list)
    for path, content in contents.items():
        if content.digest:
            groups[content.digest].append(path)
    same = [sorted(paths) for paths in groups.values() if len(paths) > 1]
    sides = {path: is_in(path, trained) for paths in same for path in paths}
    leaked = [paths for paths in same if len({sides[path] for path in paths}) == 2]
    doubled = [paths for paths in same if paths not in leaked]
    return [*about_equal('in training and test', leaked, contents, 'such results say nothing: remove one of each'),
            *about_equal('twice', doubled, contents, 'that counts double: remove the copies')]


def counted(files: dict, contents: dict) -> str:
    """'1 of 66 images of all phases is': headers are counted in the folders of training alone."""
    return f'{len(files)} of {len(contents)} images of all phases {"is" if len(files) == 1 else "are"}'


def about_equal(where: str, groups: list[list[str]], contents: dict, cure: str) -> list[Problem]:
    if not groups:
        return []
    files = {path: f'equal to {os.path.abspath(paths[0])}' for paths in groups for path in paths[1:]}
    return [Problem(where, f'{counted(files, contents)} there {where}: {listing(files)}; {cure}', files, fatal=False)]


def is_in(path: str, folders: set[str]) -> bool:
    return any(os.path.abspath(path).startswith(os.path.join(folder, '')) for folder in folders)


def few(counts: dict[str, int]) -> list[Problem]:
    """Folders of training with too few images, by themselves or beside the other; `counts`: {folder: images}."""
    found = []
    for folder, count in counts.items():
        most = max(counts.values())
        if count < FEW:
            found.append(Problem('few images', f'{folder} has {count} images only; training will repeat them rather '
                                 f'than learn from them: add images, or begin with a trained model', fatal=False))
        elif count * UNEQUAL <= most:
            found.append(Problem('unequal domains', f'{folder} has {count} images beside {most} in the other folder; '
                                 f'each of them is shown {most // count} times an epoch: add images', fatal=False))
    return found
