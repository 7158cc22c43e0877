"""Problems that the headers of a dataset show before training, and the conversions that reading makes."""
from collections import Counter
from dataclasses import dataclass, field

from util.places.files import shown

from .headers import Header

LISTED = 10     # files named in one sentence
CONVERSIONS = {'1': '1-bit -> RGB', 'P': 'palette -> RGB', 'C': 'CMYK -> RGB', 'L': 'gray -> RGB',
               'Y': 'YCbCr -> RGB'}     # of 8-bit images, by the first letter of Pillow's mode


@dataclass
class Problem:
    """One kind of problem: a sentence with its cure, and the files it is about."""
    kind: str                   # a few words
    sentence: str
    files: dict[str, str] = field(default_factory=dict)     # {path: what is wrong with it}
    fatal: bool = True          # training would fail


def listing(files: dict[str, str]) -> str:
    """The first files with what is wrong with them, and how many more there are."""
    named = [f'{shown(path)} ({why})' if why else shown(path)
             for path, why in list(files.items())[:LISTED]]
    more = f', and {len(files) - LISTED} more' if len(files) > LISTED else ''
    return ', '.join(named) + more


def unreadable(headers: dict[str, Header]) -> dict[str, str]:
    return {path: header.problem for path, header in headers.items() if header.problem}


def unreadable_problems(headers: dict[str, Header], can_be_skipped: bool = True) -> list[Problem]:
    bad = unreadable(headers)
    if not bad:
        return []
    cures = ['repair or remove them']
    if any('--max_pixels' in why for why in bad.values()):
        cures.append('raise --max_pixels')
    if can_be_skipped:
        cures.append('leave them out with --bad_images skip')
    return [Problem('unreadable', f'{len(bad)} of {len(headers)} images cannot be read: {listing(bad)}; '
                    f'{", or ".join(cures)}', bad)]


def size_problems(headers: dict[str, Header], opt, prepare, halves: int) -> list[Problem]:
    """Images whose size does not suit the crop, the batch or the network; `halves`: 2 for pairs in one image."""
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
    pair = ' (a pair: each half is half as wide)' if halves == 2 else ''
    return [Problem(
        'smaller than the crop', f'{len(files)} of {len(headers)} images are smaller than --crop_size {opt.crop_size}; '
        f'the smallest is {shown(smallest)}, {files[smallest]}{pair}; use a smaller --crop_size or '
        f'--preprocess resize_and_crop, or remove them', files)]


def odd_sizes(prepared: dict, seen: dict, opt) -> list[Problem]:
    multiple = opt.size_multiple
    wrong = {path: seen[path] for path, size in prepared.items() if size[0] % multiple or size[1] % multiple}
    if not wrong:
        return []
    return [Problem(
        'sizes that the network cannot take', f'{len(wrong)} of {len(prepared)} images have sides that are not '
        f'multiples of {multiple} after --preprocess {opt.preprocess}, as --model {opt.model} with --netG {opt.netG} '
        f'needs: {listing(wrong)}; use --preprocess resize_and_crop or another --netG', wrong)]


def mixed_sizes(prepared: dict, seen: dict, opt) -> list[Problem]:
    sizes = set(prepared.values())
    if opt.batch_size == 1 or len(sizes) < 2:
        return []
    first = next(iter(prepared))
    other = next(path for path in prepared if prepared[path] != prepared[first])
    files = {path: seen[path] for path in (first, other)}
    return [Problem('mixed sizes', f'images of {len(sizes)} different sizes cannot be in batches of {opt.batch_size}: '
                    f'{listing(files)}; use --batch_size 1 or --preprocess resize_and_crop', files)]


def all_square(headers: dict[str, Header]) -> bool:
    good = [header for header in headers.values() if not header.problem]
    return bool(good) and all(header.width == header.height for header in good)


def square_problem(headers: dict[str, Header], folder, training: bool = True) -> Problem:
    path, header = next((path, header) for path, header in headers.items() if not header.problem)
    files = {path: f'{header.width}x{header.height}'}
    cure = f'To translate whole images: --model test --dataroot {shown(folder)}'
    if training:
        cure = 'For unpaired images use --dataset_mode unaligned'
    return Problem('no pairs', f'all {len(headers)} images in {shown(folder)} are square, such as '
                   f'{listing(files)}; --dataset_mode aligned splits each into a left half A and a right half B. '
                   f'{cure}; if these are pairs of tall halves, add --square_pairs', files)


def pair_problems(pairs: list[tuple[str, str]], headers: dict[str, Header]) -> list[Problem]:
    """Partners of different sizes."""
    files = {}
    for pair in pairs:
        A, B = map(headers.get, pair)
        if not (A and B):       # of very many, only a sample was looked at
            continue
        if (A.width, A.height) != (B.width, B.height) and not (A.problem or B.problem):
            files[pair[0]] = f'A {A.width}x{A.height}, B {B.width}x{B.height}'
    if not files:
        return []
    return [Problem('pairs of different sizes', f'{len(files)} of {len(pairs)} pairs consist of images of different '
                    f'sizes: {listing(files)}; give both images of a pair the same size', files)]


def conversions(headers: dict[str, Header], channels: int) -> str:
    """What reading changes in the images of a folder, with counts; '' if nothing. `channels`: the most of A and B."""
    good = [header for header in headers.values() if not header.problem]
    plain = [header for header in good if header.dtype in ('bool', 'uint8') and header.colors != 'bands']
    kinds = Counter(CONVERSIONS.get(header.mode[:1], '') for header in plain
                    if not header.mode.startswith(('LA', 'RGB')))
    parts = [f'{count} {kind}' for kind, count in sorted(kinds.items()) if kind and channels == 3]
    if turned := sum(header.turned for header in good):
        parts.append(f'{turned} turned upright by EXIF')
    transparent = sum(header.transparent for header in plain)
    if transparent and channels <= 3:
        parts.append(f'{transparent} with transparency shown on white')
    return ', '.join(parts)


def channel_problems(headers: dict[str, Header], domain) -> list[Problem]:
    """Images with fewer bands than the networks have channels for them, or without those of --bands."""
    files = {path: f'{header.channels} channels' for path, header in headers.items()
             if not header.problem and not domain.fits(header)}
    if not files:
        return []
    wanted = f'the {domain.channels} channels of the networks'
    cure = 'set --input_nc or --output_nc to the channels of the files, or choose with --bands'
    if domain.bands:
        bands = ','.join(map(str, domain.bands))
        wanted, cure = f'the bands {bands} of --bands, one for each channel of the networks', 'correct --bands'
    return [Problem('channels', f'{len(files)} of {len(headers)} images of domain {domain.name} do not have '
                    f'{wanted}: {listing(files)}; {cure}', files)]


def left_out(headers: dict[str, Header], domain, training: bool = True) -> str:
    """What the options leave out of the images of a domain, with counts; '' if nothing.

    Trained networks have a fixed number of channels, so that --bands can only choose others.
    """
    parts = []
    good = [header for header in headers.values() if not header.problem]
    paged = [header.pages for header in good if header.pages > 1]
    if paged and not domain.all_pages:
        parts.append(f'{len(paged)} {"have" if len(paged) > 1 else "has"} several pages (up to {max(paged)}), of which '
                     f'the first is used' + ('; --pages all uses all of them as channels' if training else ''))
    extra = [header.channels for header in good if header.colors == 'bands' and header.channels > domain.channels]
    if extra and not (domain.bands or domain.all_pages or domain.palette):
        parts.append(f'{len(extra)} {"have" if len(extra) > 1 else "has"} up to {max(extra)} bands, of which the first '
                     f'{domain.channels} are used; --bands chooses others'
                     + (f', --input_nc or --output_nc {max(extra)} uses all' if training else ''))
    return '; '.join(parts)
