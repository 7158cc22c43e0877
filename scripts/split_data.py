"""Split a folder of images, or two folders of pairs, into train, val and test.

    python scripts/split_data.py --folder photos --out datasets/mine --val 0.1 --test 0.1
    python scripts/split_data.py --folder photos --pairs_with labels --out datasets/mine --val 0.1

Writes datasets/mine/train, val, test; with --pairs_with (files of the same name) train/A, train/B and so on. Files are
hard links, which need no space, or copies where the file system has no links. To split without writing anything, use
--val_fraction of train.py.
"""
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from data.image_folder import list_images
from data.layout import stem_in
from util.cli import Parser, run
from util.errors import UserError
from util.machine.seeding import derive_seed


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('--folder', type=Path, required=True, help='folder of the images')
    parser.add_argument('--pairs_with', type=Path, help='folder of the partners, which have the same names')
    parser.add_argument('--out', type=Path, required=True, help='new folder of the dataset')
    parser.add_argument('--val', type=float, default=0.1, help='part for validation')
    parser.add_argument('--test', type=float, default=0.1, help='part for tests')
    parser.add_argument('--seed', type=int, default=0, help='another number gives another split')
    parser.add_argument('--verbose', action='store_true', help='print the traceback of an error')
    opt = parser.parse_args(argv)
    if not (opt.val >= 0 and opt.test >= 0 and opt.val + opt.test < 1):
        raise UserError(f'--val {opt.val:g} and --test {opt.test:g} leave no images for training; use smaller parts')
    if opt.out.exists() and any(opt.out.iterdir()):
        raise UserError(f'{opt.out.absolute()} is not empty; choose a new folder with --out')
    return opt


def partners(paths: list[str], folder: Path, other: Path) -> dict[str, str]:
    """{path: file of the same name in the other folder}."""
    by_stem = {stem_in(path, other): path for path in list_images(other)}
    found = {path: by_stem.get(stem_in(path, folder)) for path in paths}
    missing = [path for path, partner in found.items() if partner is None]
    if missing:
        raise UserError(f'{len(missing)} of {len(paths)} images have no partner of the same name in '
                        f'{other.absolute()}, such as {missing[0]}; add or remove them')
    return found


def parts_of(paths: list[str], val: float, test: float, seed: int) -> dict[str, list[str]]:
    """The images of each phase; which one an image is in depends on the seed and its name."""
    ordered = sorted(paths, key=lambda path: derive_seed(seed, 'split', Path(path).name))
    n_val, n_test = round(val * len(paths)), round(test * len(paths))
    return {'val': ordered[:n_val], 'test': ordered[n_val:n_val + n_test], 'train': ordered[n_val + n_test:]}


def place(source: str, target: Path):
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def main(argv, console):
    opt = parse(argv)
    paths = list_images(opt.folder)
    pairs = partners(paths, opt.folder, opt.pairs_with) if opt.pairs_with else {}
    parts = parts_of(paths, opt.val, opt.test, opt.seed)
    jobs = []
    for phase, members in parts.items():
        for path in members:
            jobs.append((path, opt.out / phase / ('A' if pairs else '') / os.path.relpath(path, opt.folder)))
            if pairs:
                jobs.append((pairs[path], opt.out / phase / 'B' / os.path.relpath(pairs[path], opt.pairs_with)))
    for source, target in tqdm(jobs, unit='file', disable=None):
        place(source, target)
    counts = ', '.join(f'{len(members)} {phase}' for phase, members in parts.items())
    print(f'wrote {counts} to {opt.out.absolute()}')
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
