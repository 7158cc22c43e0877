"""Write the public-domain photographs that scikit-image ships as a small dataset, without a download.

    python datasets/make_photos.py --out ./datasets/photos

The left two thirds of each photo are in OUT/train, the rest in OUT/test: for colorization, or to see how a model treats
real photos. OUT/SOURCES.txt says who took each photo, and its license.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from util.cli import Parser, run
from util.errors import UserError
from util.files import save_picture

TRAINING = 2 / 3        # of the width of each photo
# names in skimage.data, and what its documentation says about them
PHOTOS = {
    'chelsea': 'Chelsea the cat, by Stefan van der Walt, CC0',
    'coffee': 'A cup of coffee at Pikolo Espresso Bar, by Rachel Michetti, CC0',
    'astronaut': 'Eileen Collins, by NASA, public domain',
    'rocket': 'Launch of DSCOVR on Falcon 9, by SpaceX, public domain',
}


def read_photos() -> dict[str, Image.Image]:
    import skimage.data
    return {name: Image.fromarray(getattr(skimage.data, name)()) for name in PHOTOS}


def main(argv, console):
    parser = Parser(__doc__.split('\n')[0])
    parser.add_argument('--out', required=True, type=Path, help='output folder: new or empty, or made by this program')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    opt = parser.parse_args(argv)
    sources = opt.out / 'SOURCES.txt'
    if opt.out.exists() and not sources.exists() and any(opt.out.iterdir()):
        raise UserError(f'--out {opt.out.absolute()} is not empty; choose another folder')
    for phase in ('train', 'test'):
        (opt.out / phase).mkdir(parents=True, exist_ok=True)
    sources.write_text(''.join(f'{name}.png: {source}; from scikit-image\n' for name, source in PHOTOS.items()),
                       encoding='utf-8')
    for name, photo in read_photos().items():
        middle = round(photo.width * TRAINING)
        save_picture(photo.crop((0, 0, middle, photo.height)), opt.out / 'train' / f'{name}.png')
        save_picture(photo.crop((middle, 0, photo.width, photo.height)), opt.out / 'test' / f'{name}.png')
    print(f'wrote {len(PHOTOS)} photos; use them with --dataroot {opt.out.absolute()} --model colorization')


if __name__ == '__main__':
    sys.exit(run(main))
