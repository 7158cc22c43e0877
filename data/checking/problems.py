"""What the headers of a data set tell before training: problems that would end it, and what is changed in silence."""
import os
from collections import Counter
from dataclasses import dataclass, field

from data.image_folder import decoded, reason

from .bad_images import SHARE, TOLERATED
from .headers import Header

LISTED = 10     # files named in one sentence
SAMPLED = 3     # of the images in a folder whose numbers may mean anything
KINDS = {'I': '16-bit grey -> 8-bit', 'F': 'float grey -> 8-bit', '1': '1-bit -> RGB', 'P': 'palette -> RGB',
         'C': 'CMYK -> RGB', 'L': 'grey -> RGB', 'Y': 'YCbCr -> RGB'}


@dataclass
class Problem:
    """One kind of trouble: a sentence with its cure, and the files it is about."""
    kind: str                   # a few words
    sentence: str
    files: dict[str, str] = field(default_factory=dict)     # {path: what is wrong with it}
    fatal: bool = True          # training would fail


def listing(files: dict[str, str]) -> str:
    """The first files with what is wrong with them, and how many more there are."""
    named = [f'{os.path.abspath(path)} ({note})' if note else os.path.abspath(path)
             for path, note in list(files.items())[:LISTED]]
    more = f', and {len(files) - LISTED} more' if len(files) > LISTED else ''
    return ', '.join(named) + more


def unreadable(headers: dict[str, Header]) -> dict[str, str]:
    return {path: header.problem for path, header in headers.items() if header.problem}


def about_unreadable(bad: dict[str, str], total: int) -> list[Problem]:
    if not bad:
        return []
    bombs = any('--max_pixels' in note for note in bad.values())
    return [Problem('unreadable', f'{len(bad)} of {total} images cannot be read: {listing(bad)}; repair or remove them'
                    f'{", raise --max_pixels" if bombs else ""} or leave them out with --bad_images skip', bad)]


def about_numbers(headers: dict[str, Header], max_pixels: int) -> list[Problem]:
    """Images of floats or 32-bit integers, of which the first few have values that are no grey levels."""
    numbers = [path for path, header in headers.items() if not header.problem and header.mode in ('F', 'I')]
    if len(numbers) <= max(TOLERATED, SHARE * len(headers)):
        return []       # training takes others in their place
    files = {}
    for path in numbers[:SAMPLED]:
        try:
            decoded(path, max_pixels)
            return []
        except Exception as error:
            files[path] = reason(error)
    return [Problem('no grey levels', f'the first {len(files)} of {len(numbers)} images of floats or 32-bit integers '
                    f'cannot be used: {listing(files)}; convert or remove them', files)]


def about_sizes(headers: dict[str, Header], opt, prepare, halves: int) -> list[Problem]:
    """Images that no window, no batch or no network of these options can be made of.

    `halves`: 2 for pairs side by side in one image.
    """
    prepared = {path: prepare.resized(max(1, header.width // halves), header.height)
                for path, header in headers.items() if not header.problem}
    seen = {path: f'{headers[path].width}x{headers[path].height}' for path in prepared}
    if 'crop' in opt.preprocess:
        return too_small({path: seen[path] for path, size in prepared.items() if min(size) < opt.crop_size},
                         headers, opt, halves)
    return [*odd_sizes(prepared, seen, opt), *mixed_sizes(prepared, seen, opt)]


def too_small(files: dict[str, str], headers, opt, halves: int) -> list[Problem]:
    if not files:
        return []
    smallest = min(files, key=lambda path: min(headers[path].width / halves, headers[path].height))
    pair = ' (a pair: two halves of that)' if halves == 2 else ''
    return [Problem(
        'smaller than the window', f'{len(files)} of {len(headers)} images are smaller than the windows of --crop_size '
        f'{opt.crop_size}; the smallest is {os.path.abspath(smallest)}, {files[smallest]}{pair}; use a smaller '
        f'--crop_size or --preprocess resize_and_crop, or remove them', files)]


def odd_sizes(prepared: dict, seen: dict, opt) -> list[Problem]:
    multiple = opt.size_multiple
    wrong = {path: seen[path] for path, size in prepared.items() if size[0] % multiple or size[1] % multiple}
    if not wrong:
        return []
    return [Problem(
        'sizes that the network cannot take', f'{len(wrong)} of {len(prepared)} images have sides that are no '
        f'multiples of {multiple} after --preprocess {opt.preprocess}, as --model {opt.model} with --netG {opt.netG} '
        f'needs: {listing(wrong)}; use --preprocess resize_and_crop or another --netG', wrong)]


def mixed_sizes(prepared: dict, seen: dict, opt) -> list[Problem]:
    sizes = set(prepared.values())
    if opt.batch_size == 1 or len(sizes) < 2:
        return []
    first = next(iter(prepared))
    other = next(path for path in prepared if prepared[path] != prepared[first])
    files = {path: seen[path] for path in (first, other)}
    return [Problem('mixed sizes', f'images of {len(sizes)} different sizes cannot be batches of {opt.batch_size}: '
                    f'{listing(files)}; use --batch_size 1 or --preprocess resize_and_crop', files)]


def all_square(headers: dict[str, Header]) -> bool:
    good = [header for header in headers.values() if not header.problem]
    return bool(good) and all(header.width == header.height for header in good)


def about_squares(headers: dict[str, Header], folder) -> list[Problem]:
    path, header = next((path, header) for path, header in headers.items() if not header.problem)
    files = {path: f'{header.width}x{header.height}'}
    return [Problem('no pairs', f'all {len(headers)} images in {os.path.abspath(folder)} are square, such as '
                    f'{listing(files)}; --dataset_mode aligned cuts each into a left half A and a right half B. '
                    f'Images without partner are for --dataset_mode unaligned, or single in test.py; if these are '
                    f'pairs of tall halves, add --square_pairs', files)]


def about_pairs(pairs: list[tuple[str, str]], headers: dict[str, Header]) -> list[Problem]:
    """Partners of different sizes."""
    files = {}
    for pair in pairs:
        sizes = [headers[path][:2] for path in pair]
        if sizes[0] != sizes[1] and not any(headers[path].problem for path in pair):
            files[pair[0]] = f'A {sizes[0][0]}x{sizes[0][1]}, B {sizes[1][0]}x{sizes[1][1]}'
    if not files:
        return []
    return [Problem('pairs of different sizes', f'{len(files)} of {len(pairs)} pairs have two sizes: {listing(files)}; '
                    f'give both images of a pair the same size', files)]


def conversions(headers: dict[str, Header], channels: int) -> str:
    """What reading changes in the images of a folder, with counts; '' if nothing."""
    good = [header for header in headers.values() if not header.problem]
    shown = Counter(KINDS.get(header.mode[:1], '') for header in good if not header.mode.startswith(('LA', 'RGB')))
    if channels == 1:
        shown = Counter({kind: count for kind, count in shown.items() if '8-bit' in kind})
    parts = [f'{count} {kind}' for kind, count in sorted(shown.items()) if kind]
    turned, clear = sum(header.turned for header in good), sum(header.transparent for header in good)
    parts += [f'{turned} turned upright by EXIF'] * bool(turned)
    parts += [f'{clear} with transparency shown on white'] * bool(clear)
    return ', '.join(parts)
