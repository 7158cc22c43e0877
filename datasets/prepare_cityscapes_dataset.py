"""Make the pix2pix and CycleGAN folders from Cityscapes: photos and color label maps at 256x256.

    python datasets/prepare_cityscapes_dataset.py --gtFine_dir gtFine --leftImg8bit_dir leftImg8bit \\
        --output_dir datasets/cityscapes

Writes train and test (Cityscapes' val) as pairs `<i>.jpg`, photo left, label map right, and the same images
separately as `<split>A/<i>_A.jpg` (photo) and `<split>B/<i>_B.jpg` (label map).

Photos are resized bicubic. Label maps are resized nearest, because a mixture of two class colors would be no class.
The published dataset was made with an old Pillow, which resized everything nearest by default, photos too.
"""
import sys
from pathlib import Path

from PIL import Image

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from combine_A_and_B import each, listed, make_folders, side_by_side

from data.image_folder import read_picture
from util.cli import Parser, run
from util.errors import StorageError, UserError
from util.files import save_picture

SIZE = (256, 256)
SPLITS = {'train': 'train', 'val': 'test'}
PHOTO, LABEL = '_leftImg8bit.png', '_gtFine_color.png'
JPEG = {'quality': 100, 'subsampling': 0}


def parse(argv):
    parser = Parser(__doc__.splitlines()[0], allow_abbrev=True)
    parser.add_argument('--gtFine_dir', type=Path, required=True,
                        help='folder of the label maps, containing train and val')
    parser.add_argument('--leftImg8bit_dir', type=Path, required=True,
                        help='folder of the photos, containing train and val')
    parser.add_argument('--output_dir', type=Path, required=True, help='folder to write to')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def check(opt):
    """Raise a `UserError` with all missing folders."""
    folders = {'gtFine_dir': opt.gtFine_dir, 'leftImg8bit_dir': opt.leftImg8bit_dir}
    missing = [f'there is no folder {(folder / split).absolute()}; correct --{option}'
               for option, folder in folders.items() for split in SPLITS if not (folder / split).is_dir()]
    if opt.output_dir.exists() and not opt.output_dir.is_dir():
        missing.append(f'{opt.output_dir.absolute()} is a file; choose another --output_dir')
    if missing:
        raise UserError(*missing)


def find(folder: Path, ending: str) -> dict[str, Path]:
    """{'<city>/<shot>': file} of all files with this ending, sorted."""
    files = sorted(path for path in folder.glob(f'*/*{ending}') if not path.name.startswith('.'))
    return {f'{path.parent.name}/{path.name.removesuffix(ending)}': path for path in files}


def find_pairs(opt, split: str) -> list[tuple[Path, Path]]:
    """(photo, label map) of every shot. Raises a `UserError` if there are none, or one of the two is missing."""
    photos, labels = find(opt.leftImg8bit_dir / split, PHOTO), find(opt.gtFine_dir / split, LABEL)
    if not photos and not labels:
        raise UserError(f'no */*{PHOTO} in {(opt.leftImg8bit_dir / split).absolute()} and no */*{LABEL} in '
                        f'{(opt.gtFine_dir / split).absolute()}; use the folders of the Cityscapes archives')
    if single := sorted(photos.keys() ^ labels.keys()):
        raise UserError(f'{len(single)} shots of {split} have only a photo or only a label map '
                        f'({listed(single)}); unpack both Cityscapes archives completely')
    return [(photos[shot], labels[shot]) for shot in photos]


def prepare(task):
    """Write the three files of one shot."""
    (photo_path, label_path), output, number = task
    photo = read_picture(str(photo_path)).resize(SIZE, Image.Resampling.BICUBIC)
    label = read_picture(str(label_path)).resize(SIZE, Image.Resampling.NEAREST)
    try:
        save_picture(side_by_side(photo, label), output / f'{number}.jpg', **JPEG)
        save_picture(photo, output.with_name(f'{output.name}A') / f'{number}_A.jpg', **JPEG)
        save_picture(label, output.with_name(f'{output.name}B') / f'{number}_B.jpg', **JPEG)
    except OSError as error:
        raise StorageError(f'{output.absolute()} cannot be written ({error.strerror or error}); free disk space or '
                           f'choose another --output_dir')


def write_split(output: Path, pairs: list[tuple[Path, Path]]):
    make_folders(output.with_name(f'{output.name}{side}') for side in ('', 'A', 'B'))
    for _ in each(prepare, [(pair, output, number) for number, pair in enumerate(pairs)]):
        pass
    print(f'wrote {len(pairs)} pairs to {output.absolute()}, and separately to {output.name}A and {output.name}B')


def main(argv, console):
    opt = parse(argv)
    check(opt)
    pairs = {split: find_pairs(opt, split) for split in SPLITS}
    for split, name in SPLITS.items():
        write_split(opt.output_dir / name, pairs[split])


if __name__ == '__main__':
    sys.exit(run(main))
