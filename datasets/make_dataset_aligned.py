"""Turn the unpaired layout into the aligned one: trainA + trainB become train, testA + testB become test.

    python datasets/make_dataset_aligned.py --dataset-path datasets/mine

Files (.png, .jpg, .jpeg, upper or lower case) are paired in the sorted order of their names, and written as
0000.jpg, 0001.jpg, ... with A on the left. All pairs are checked before anything is written.
"""
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from combine_A_and_B import Unequal, each, listed, make_folders, write_pair

from data.checking.headers import read_header
from util.cli import Parser, run
from util.console import warn
from util.errors import StorageError, UserError

PHASES = ('test', 'train')
EXTENSIONS = ('.png', '.jpg', '.jpeg')


def parse(argv):
    parser = Parser(__doc__.splitlines()[0], allow_abbrev=True)
    parser.add_argument('--dataset-path', type=Path, required=True, help='folder with trainA, trainB, testA, testB')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def find_phases(root: Path) -> list[str]:
    """The phases that have both folders. Raises a `UserError` with every folder that is missing."""
    if not root.is_dir():
        raise UserError(f'there is no folder {root.absolute()}; correct --dataset-path')
    present = {f'{phase}{side}': (root / f'{phase}{side}').is_dir() for phase in PHASES for side in 'AB'}
    phases = [phase for phase in PHASES if present[f'{phase}A'] or present[f'{phase}B']]
    missing = [root / name for name, there in present.items()
               if not there and (not phases or name[:-1] in phases)]
    if missing:
        raise UserError(*(f'there is no folder {folder.absolute()}; add it, or correct --dataset-path'
                          for folder in missing))
    for phase in set(PHASES) - set(phases):
        warn(f'{root.absolute()} has no {phase}A and {phase}B; only {phases[0]} is written')
    return phases


def find_pairs(root: Path, phase: str) -> list[tuple[Path, Path]]:
    """Images A and B in sorted order. Raises a `UserError` if there are none or the numbers differ."""
    images_A, images_B = (find_images(root / f'{phase}{side}') for side in 'AB')
    if len(images_A) != len(images_B) or not images_A:
        raise UserError(f'{(root / phase).absolute()}A has {len(images_A)} images and {phase}B {len(images_B)} '
                        f'({", ".join(EXTENSIONS)}); both need the same number, at least one')
    pairs = list(zip(images_A, images_B, strict=True))
    if different := [f'{a.name} with {b.name}' for a, b in pairs if plain_stem(a) != plain_stem(b)]:
        warn(f'{len(different)} pairs of {(root / phase).absolute()}A and {phase}B have different names '
             f'({listed(different)}); they are paired by their order')
    return pairs


def find_images(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir()
                  if entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith('.') and entry.is_file())


def plain_stem(path: Path) -> str:
    return path.stem.removesuffix('_A').removesuffix('_B')


def error_of(pair: tuple[Path, Path]) -> str:
    """Why the two images cannot be a pair, by their headers; '' if they can."""
    A, B = (read_header(str(path)) for path in pair)
    for path, header in zip(pair, (A, B), strict=True):
        if header.problem:
            return f'cannot read the image {path.absolute()} ({header.problem}); repair or remove it'
    if (A.width, A.height) != (B.width, B.height):
        return (f'{pair[0].absolute()} is {A.width}x{A.height} and {pair[1].absolute()} is {B.width}x{B.height}; the '
                f'images of a pair must have the same size')
    return ''


def join(task):
    (path_A, path_B), output = task
    try:
        write_pair(str(path_A), str(path_B), output)
    except Unequal as error:
        raise UserError(f'{path_A.absolute()} and {path_B.absolute()} are {error.args[0]}: {error.args[1]}')
    except OSError as error:
        raise StorageError(f'{output.absolute()} cannot be written ({error.strerror or error}); free disk space and '
                           f'run again')


def write_phase(folder: Path, pairs: list[tuple[Path, Path]]):
    make_folders([folder])
    outputs = [folder / f'{number:04d}.jpg' for number in range(len(pairs))]
    if others := sorted(entry.name for entry in folder.iterdir() if entry not in set(outputs)):
        warn(f'{folder.absolute()} already has {len(others)} other files; they are kept ({listed(others)})')
    for _ in each(join, list(zip(pairs, outputs, strict=True))):
        pass
    print(f'wrote {len(pairs)} pairs to {folder.absolute()}')


def main(argv, console):
    root = parse(argv).dataset_path
    pairs = {phase: find_pairs(root, phase) for phase in find_phases(root)}
    errors = [error for phase in pairs for error in map(error_of, pairs[phase]) if error]
    if errors:
        raise UserError(*errors)
    for phase in pairs:
        write_phase(root / phase, pairs[phase])


if __name__ == '__main__':
    sys.exit(run(main))
