"""Put the images of two folders side by side, A | B, as --dataset_mode aligned reads them.

    python datasets/combine_A_and_B.py --fold_A photos --fold_B labels --fold_AB datasets/mine

Each sub-folder (split) of fold_A is paired with the sub-folder of the same name in fold_B; without sub-folders, the
images in fold_A and fold_B themselves are paired. Partners have the same file name, or the same name with another
extension if only one file on each side has it. Images that cannot be paired are left out and reported at the end.
"""
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.image_folder import contents, is_image, read_image
from util.cli import Parser, run
from util.console import warn
from util.errors import StorageError, UserError
from util.files import save_picture
from util.raster.kinds import is_8_bit, kind_of
from util.raster.read import ImageError, read_pixels
from util.raster.write import extension_for, write_pixels

QUALITY = 95        # of JPEG files
NAMED = 5           # files named per reason
NO_PARTNER, DIFFERENT_SIZE, UNREADABLE = 'without partner', 'of different size', 'unreadable'
DIFFERENT_TYPE = 'of different type (put them into two folders, trainA and trainB)'
NOT_A, GIF = 'not named *_A', 'in GIF format, which cannot store photos (convert to PNG)'


@dataclass(frozen=True)
class Pair:
    name: str           # split and file name, for reports
    path_A: Path
    path_B: Path
    path_AB: Path


@dataclass
class Report:
    """What was written, and what was left out for which reason."""
    written: int = 0
    skipped: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    left_in_B: list[str] = field(default_factory=list)

    def text(self, folder: Path) -> str:
        text = f'wrote {self.written} pairs to {folder.absolute()}'
        if self.skipped:
            reasons = (f'{len(names)} {why} ({listed(names)})' for why, names in self.skipped.items())
            text += f', skipped {sum(map(len, self.skipped.values()))}: {", ".join(reasons)}'
        if self.left_in_B:
            text += f'\nfold_B has {len(self.left_in_B)} images without partner in fold_A ({listed(self.left_in_B)})'
        return text


def listed(names: list[str]) -> str:
    """The first names, and how many more."""
    more = f' and {len(names) - NAMED} more' if len(names) > NAMED else ''
    return ', '.join(names[:NAMED]) + more


def parse(argv):
    parser = Parser(__doc__.splitlines()[0], allow_abbrev=True)
    parser.add_argument('--fold_A', type=Path, default='../dataset/50kshoes_edges', help='input folder of images A')
    parser.add_argument('--fold_B', type=Path, default='../dataset/50kshoes_jpg', help='input folder of images B')
    parser.add_argument('--fold_AB', type=Path, default='../dataset/test_AB', help='output folder')
    parser.add_argument('--num_imgs', type=int, metavar='N', default=1000000, help='use at most N images of each split')
    parser.add_argument('--use_AB', action='store_true', help='pair x_A.png with x_B.png and write x.png')
    parser.add_argument('--no_multiprocessing', action='store_true', help='process one image at a time')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def check(opt):
    mistakes = [f'there is no folder {folder.absolute()}; correct --{option}'
                for option, folder in (('fold_A', opt.fold_A), ('fold_B', opt.fold_B)) if not folder.is_dir()]
    if opt.num_imgs < 1:
        mistakes.append(f'--num_imgs {opt.num_imgs} leaves no images; use at least 1')
    if opt.fold_AB.exists() and not opt.fold_AB.is_dir():
        mistakes.append(f'{opt.fold_AB.absolute()} is a file; choose another --fold_AB')
    output = opt.fold_AB.resolve()
    for folder in {opt.fold_A.resolve(), opt.fold_B.resolve()} & {output, *output.parents}:
        mistakes.append(f'--fold_AB {output} is in the input folder {folder}; choose a folder outside of it')
    if mistakes:
        raise UserError(*mistakes)


def find_splits(opt) -> list[str]:
    """Names of the sub-folders of fold_A, or [''] if it has none. Raises a `UserError` if fold_B lacks one."""
    splits = sorted(entry.name for entry in opt.fold_A.iterdir() if entry.is_dir() and is_visible(entry.name))
    if splits and image_names(opt.fold_A):
        warn(f'{opt.fold_A.absolute()} has sub-folders ({", ".join(splits)}), so the images next to them are left out')
    missing = [split for split in splits if not (opt.fold_B / split).is_dir()]
    if missing:
        raise UserError(*(f'there is no folder {(opt.fold_B / split).absolute()} for '
                          f'{(opt.fold_A / split).absolute()}; add it, or move the latter away' for split in missing))
    return splits or ['']


def is_visible(name: str) -> bool:
    return not name.startswith('.') and name != '__MACOSX'


def image_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if is_image(entry.name) and entry.is_file())


def plan_split(opt, split: str, report: Report) -> list[Pair]:
    """The pairs of a split; images without partner are added to the report."""
    fold_A, fold_B, fold_AB = (folder / split for folder in (opt.fold_A, opt.fold_B, opt.fold_AB))
    all_A, names_B = image_names(fold_A), image_names(fold_B)
    candidates = all_A
    if opt.use_AB:
        candidates = [name for name in all_A if Path(name).stem.endswith('_A')]
        for name in all_A:
            if not Path(name).stem.endswith(('_A', '_B')):
                report.skipped[NOT_A].append(label(split, name))
    names_A = candidates[:opt.num_imgs]
    partners = find_partners(names_A, names_B, name_in_B if opt.use_AB else str)
    pairs = []
    for name in names_A:
        if name not in partners:
            report.skipped[NO_PARTNER].append(label(split, name))
        elif name.lower().endswith('.gif'):
            report.skipped[GIF].append(label(split, name))
        else:
            output = name_of_pair(name) if opt.use_AB else name
            pairs.append(Pair(label(split, name), fold_A / name, fold_B / partners[name], fold_AB / output))
    if len(names_A) == len(all_A) and not opt.use_AB:
        report.left_in_B += [label(split, name) for name in sorted({*names_B} - {*partners.values()})]
    return pairs


def label(split: str, name: str) -> str:
    return f'{split}/{name}' if split else name


def name_in_B(name: str) -> str:
    path = Path(name)
    return f'{path.stem.removesuffix("_A")}_B{path.suffix}'


def name_of_pair(name: str) -> str:
    path = Path(name)
    return f'{path.stem.removesuffix("_A")}{path.suffix}'


def find_partners(names_A: list[str], names_B: list[str], expected: Callable[[str], str]) -> dict[str, str]:
    """{name in A: name in B}: the `expected` name, or one with its stem if no other file on either side has it."""
    present = set(names_B)
    count_A, count_B = (Counter(Path(name).stem for name in names) for names in (names_A, names_B))
    by_stem = {Path(name).stem: name for name in names_B if count_B[Path(name).stem] == 1}
    partners = {}
    for name in names_A:
        wanted = expected(name)
        if wanted in present:
            partners[name] = wanted
        elif count_A[Path(name).stem] == 1 and Path(wanted).stem in by_stem:
            partners[name] = by_stem[Path(wanted).stem]
    return partners


def side_by_side(image_A: Image.Image, image_B: Image.Image) -> Image.Image:
    """A | B, for two RGB images of the same size."""
    joined = Image.new('RGB', (image_A.width + image_B.width, image_A.height))
    joined.paste(image_A, (0, 0))
    joined.paste(image_B, (image_A.width, 0))
    return joined


def combine(pair: Pair) -> tuple[str, str] | None:
    """Write one pair. Returns (reason, file) if it is left out."""
    try:
        write_pair(str(pair.path_A), str(pair.path_B), pair.path_AB)
    except Unequal as error:
        return error.args[0], f'{pair.name}: {error.args[1]}'
    except ImageError as error:
        return UNREADABLE, f'{pair.name}: {error}'
    except OSError as error:
        raise StorageError(f'{pair.path_AB.absolute()} cannot be written ({error.strerror or error}); free disk space '
                           f'or choose another output folder')
    return None


class Unequal(Exception):
    """The images of a pair do not go side by side: (reason, details)."""


def write_pair(path_A: str, path_B: str, output: Path) -> Path:
    """Write A | B as `output`; with another extension if its file type cannot hold the values. Returns the path.

    Images with more than 8-bit gray or RGB keep their values; both must have the same type.
    """
    if is_plain(path_A) and is_plain(path_B):
        image_A, image_B = read_image(path_A), read_image(path_B)
        refuse_sizes(image_A.size, image_B.size)
        save_picture(side_by_side(image_A, image_B), output, quality=QUALITY)
        return output
    A, B = read_pixels(path_A), read_pixels(path_B)
    refuse_sizes(A.shape[1::-1], B.shape[1::-1])
    if (A.dtype, A.shape[2]) != (B.dtype, B.shape[2]):
        raise Unequal(DIFFERENT_TYPE, f'A {A.dtype} with {A.shape[2]} channels, B {B.dtype} with {B.shape[2]}')
    extension = extension_for(str(output), A.dtype.name, A.shape[2])
    if extension.lower() in ('.jpg', '.jpeg', '.webp'):
        extension = '.png'
    output = output.with_suffix(extension)
    write_pixels(output, np.concatenate([A, B], 1), path_A)
    return output


def is_plain(path: str) -> bool:
    try:
        kind = kind_of(path)
    except (OSError, ValueError):
        return True         # reading it says what is wrong
    return is_8_bit(kind.dtype, kind.colors)


def refuse_sizes(size_A, size_B):
    if tuple(size_A) != tuple(size_B):
        raise Unequal(DIFFERENT_SIZE, 'A {}x{}, B {}x{}'.format(*size_A, *size_B))


def each(function: Callable, items: list, parallel: bool = True) -> Iterator:
    """`function` of every item, in order, with a progress bar on a terminal; stops at the first error.

    Uses threads: Pillow releases Python's lock, and on Windows threads start faster than processes.
    """
    if not parallel:
        yield from progress(map(function, items), items)
        return
    executor = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from progress(executor.map(function, items), items)
    finally:
        executor.shutdown(cancel_futures=True)


def progress(results: Iterable, items: list) -> tqdm:
    return tqdm(results, total=len(items), unit='pair', disable=None)


def make_folders(folders: Iterable[Path]):
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f'{folder.absolute()} cannot be created ({error.strerror}); choose another output '
                               f'folder')


def main(argv, console):
    opt = parse(argv)
    check(opt)
    report = Report()
    pairs = [pair for split in find_splits(opt) for pair in plan_split(opt, split, report)]
    if not pairs and not report.skipped:
        raise UserError(f'no images to pair in {opt.fold_A.absolute()} ({contents(opt.fold_A)}); correct --fold_A')
    make_folders({pair.path_AB.parent for pair in pairs})
    for skipped in each(combine, pairs, not opt.no_multiprocessing):
        if skipped:
            report.skipped[skipped[0]].append(skipped[1])
        else:
            report.written += 1
    print(report.text(opt.fold_AB))
    return 0 if report.written else 1


if __name__ == '__main__':
    sys.exit(run(main))
