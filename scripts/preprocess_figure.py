"""Draw docs/images/preprocess.png: one photo under each value of --preprocess, as training sees it.

    python scripts/preprocess_figure.py docs/images/preprocess.png
    python scripts/preprocess_figure.py out.png --photo my.jpg --load_size 286 --crop_size 256
"""
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image, ImageDraw

from data.transforms import PREPROCESS, Preparation
from util.cli import Parser, run

COLUMNS = 4
CELL = 330, 300         # pixels of a cell: the largest result, and a line of text
SCALE = 0.5             # results are shown in this part of their size, so that sizes can be compared


def variants(photo: Image.Image, load_size: int, crop_size: int) -> dict[str, Image.Image]:
    """{value of --preprocess: the photo after it}, without flips; all crops with the same seed."""
    found = {}
    for name in PREPROCESS:
        prepare = Preparation(name, load_size, crop_size, flip=False)
        found[name] = Image.fromarray(prepare.apply(photo, random.Random(1), 'photo').permute(1, 2, 0).numpy())
    return found


def draw_figure(photo: Image.Image, load_size: int, crop_size: int) -> Image.Image:
    """A sheet of all variants, each with its name and size."""
    pictures = variants(photo, load_size, crop_size)
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new('RGB', (COLUMNS * CELL[0], rows * CELL[1]), 'white')
    pen = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(pictures.items()):
        x, y = index % COLUMNS * CELL[0] + 8, index // COLUMNS * CELL[1] + 8
        small = picture.resize((round(picture.width * SCALE), round(picture.height * SCALE)))
        pen.text((x, y), f'{name}: {picture.width}x{picture.height}', fill='black', font_size=15)
        sheet.paste(small.crop((0, 0, min(small.width, CELL[0] - 16), min(small.height, CELL[1] - 40))), (x, y + 24))
    return sheet


def main(argv, console):
    parser = Parser(__doc__.split('\n')[0])
    parser.add_argument('output', type=Path, help='PNG file to write')
    parser.add_argument('--photo', type=Path, help='image file; default: a cup of coffee by Rachel Michetti (CC0)')
    parser.add_argument('--load_size', type=int, default=286)
    parser.add_argument('--crop_size', type=int, default=256)
    opt = parser.parse_args(argv)
    if opt.photo:
        photo = Image.open(opt.photo).convert('RGB')
    else:
        import skimage.data
        photo = Image.fromarray(skimage.data.coffee())
    draw_figure(photo, opt.load_size, opt.crop_size).quantize(128).save(opt.output)
    print(f'wrote {opt.output.absolute()}: a photo of {photo.width}x{photo.height}')


if __name__ == '__main__':
    sys.exit(run(main))
