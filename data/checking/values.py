"""What the options leave open about the values of the training images: ranges, types and classes.

What is found before training is stored with the run, so that a test uses the same.
"""
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from data.loading.sampler import chunks
from util.console import note, say
from util.errors import UserError
from util.places.files import shown
from util.raster import labels, ranges
from util.raster.kinds import is_jpeg, kind_of
from util.raster.ranges import Range, Values
from util.raster.read import ImageError, read_pixels

THREADS = 4
PLAIN = ('bool', 'uint8')


def settle(domain, headers: dict, values_of) -> dict[str, str]:
    """Complete a domain by its training images; returns what was found, {option: value}.

    `headers` are those of the files, `values_of(path)` reads the values of one file. Raises a `UserError` if the files
    do not agree.
    """
    if not headers:
        return {}
    if domain.partners:
        return settle_parts(domain, headers)
    found = {}
    if domain.asked_labels == 'auto' and not domain.palette:
        domain.palette = find_labels(domain, headers, values_of)
        found[f'labels_{domain.name}'] = str(domain.palette)
    elif domain.palette and any(map(is_jpeg, headers)):
        note(f'label maps of domain {domain.name} are JPEG files, whose colors are not exact: each pixel is of the '
             f'class with the nearest color of --labels_{domain.name}')
    types = Counter(header.dtype for header in headers.values())
    asked = domain.asked_ranges[0]
    if not (domain.palette or isinstance(asked, Range)) and (asked or set(types) - set(PLAIN)):
        domain.asked_ranges = [find_range(domain, asked, types, headers, values_of,
                                           lambda path: headers[path].dtype)]
        found[f'range_{domain.name}'] = str(domain.range)
    dtype = types.most_common(1)[0][0]
    if domain.is_wide or dtype not in PLAIN:
        domain.dtype = dtype
        gray = all(header.channels == 1 for header in headers.values()) and not domain.all_pages
        domain.stored_channels = 1 if gray else domain.channels
        found[f'dtype_{domain.name}'] = f'{dtype},{domain.stored_channels}'
    return found


def settle_parts(domain, headers: dict) -> dict[str, str]:
    """As `settle`, for images of several files: a range for each folder."""
    texts = []
    for number in range(1 + len(next(iter(domain.partners.values())))):
        files = [(path, *domain.partners[path])[number] for path in headers]
        asked = domain.asked_ranges[number] if number < len(domain.asked_ranges) else None
        if not isinstance(asked, Range):
            type_of = partial(stored_type, max_pixels=domain.max_pixels)
            asked = find_range(domain, asked, Counter(map(type_of, files)), files,
                               partial(read_pixels, max_pixels=domain.max_pixels), type_of)
        texts.append(str(asked))
    domain.asked_ranges = [ranges.parse(text) for text in texts]
    return {f'range_{domain.name}': ':'.join(texts)}


def stored_type(file: str, max_pixels: int | None) -> str:
    return kind_of(file, max_pixels).dtype


def find_range(domain, asked: tuple | None, types: Counter, paths: Iterable[str], values_of, type_of) -> Range:
    """The range of the values in some files: between the percentiles `asked`, or all of them."""
    if len(types) > 1:
        counts = ' and '.join(f'{count} of type {dtype}' for dtype, count in types.most_common())
        rare = min(types, key=types.get)
        counts += f' (such as {shown(next(path for path in paths if type_of(path) == rare))})'
        raise UserError(f'domain {domain.name} has {counts}, whose values may mean different things; convert them to '
                        f'one type, or give the range of all values with --range_{domain.name} LO,HI')
    values = look_at(next(iter(types)), paths, values_of)
    if not values.sample:
        raise UserError(f'none of the images of domain {domain.name} can be used: they are damaged, or have values '
                        f'that are NaN or infinite; repair or replace them')
    found = ranges.usual(values.dtype, values.lo, values.hi)
    if asked:
        lo, hi = map(values.percentile, asked)
        if lo == hi:
            raise UserError(f'{asked[0]:g} % and {asked[1]:g} % of the values of domain {domain.name} are both {lo:g}; '
                            f'give the range of its values with --range_{domain.name} LO,HI')
        found = Range(lo, hi)
    report(domain.name, values, found)
    return found


def look_at(dtype: str, paths: Iterable[str], values_of) -> Values:
    """The extremes of the values in some files, and a sample of them."""
    values = Values(dtype)
    for pixels in readable(paths, values_of):
        values.add(pixels)
    return values


def readable(paths: Iterable[str], values_of):
    """The values of the files that can be read, by several threads, a few ahead."""
    def read(path):
        try:
            return values_of(path)
        except ImageError:      # a damaged file is replaced in training, and reported by check_data
            return None
    with ThreadPoolExecutor(THREADS) as pool:
        for some in chunks(paths, 4 * THREADS):
            yield from (pixels for pixels in pool.map(read, some) if pixels is not None)


def report(name: str, values: Values, found: Range):
    """Print a range that was found; notes say if it uses little of the type, or cuts values off."""
    low, high = values.percentile(1), values.percentile(99)
    say(f'--range_{name} {found}: found in images of type {values.dtype}, whose values are from {values.lo:g} to '
        f'{values.hi:g} (middle 98 %: {low:g} to {high:g}; --range_{name} 1%,99% uses those)')
    if np.dtype(values.dtype).kind in 'iu':
        full = ranges.of_type(values.dtype)
        share = (values.hi - values.lo) / (full.hi - full.lo)
        if share < ranges.LITTLE:
            note(f'these values use {share:.2%} of the type {values.dtype} ({full.lo:g} to {full.hi:g}); '
                 f'--range_{name} {full} would use the whole type')
    if values.lo < found.lo or values.hi > found.hi:
        sample = np.concatenate(values.sample)
        note(f'about {found.outside(sample) / len(sample):.2%} of the values of domain {name} are outside {found} and '
             f'are clipped')


def find_labels(domain, paths: Iterable[str], values_of) -> labels.Palette:
    try:
        palette = labels.found_in(readable(paths, values_of))
    except ValueError as error:
        why = ', or are JPEG files, whose colors are not exact' if any(map(is_jpeg, paths)) else ''
        raise UserError(f'--labels_{domain.name} auto: {error}{why}; give the classes in a file, '
                        f'--labels_{domain.name} palette.txt, or drop the option')
    say(f'--labels_{domain.name}: {len(palette.stored)} classes found')
    if any(map(is_jpeg, paths)):
        note(f'the label maps of domain {domain.name} are JPEG files, whose colors are not exact, so some of these '
             f'classes may be none; --labels_{domain.name} palette.txt says which there are')
    return palette
