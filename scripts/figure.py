"""A figure of chosen results: PNG, or PDF for a paper.

    python scripts/figure.py results/facades/test_latest --rows 0001 0007 --out figure.pdf
    python scripts/figure.py comparison --columns input old new --out figure.png

The folder is one of test.py or of scripts/compare.py. Choose rows on its page, which then shows the command. Images
keep their pixels; small ones are enlarged by a whole factor, without smoothing. A PDF holds the same pixels as a JPEG
of quality 100.
"""
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image, ImageDraw, ImageFont

from util.cli import Parser, run
from util.console import counted
from util.errors import UserError
from util.registry import nearest
from util.results.folder import as_path, what_to_give

KINDS = ('.png', '.pdf')
FIRST = 4               # rows without --rows
SMALLEST = 128          # pixels of the longer side; smaller images are enlarged
GAP = 8                 # pixels between images
LONGEST_NAME = 24       # letters of the name of a row


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('results', type=Path, metavar='FOLDER', help='a folder of test.py or of scripts/compare.py')
    parser.add_argument('--rows', nargs='+', default=[], metavar='NAME', help=f'results (default: the first {FIRST})')
    parser.add_argument('--list', default='', metavar='NAME', help='which list of a page with two, such as "B to A"')
    parser.add_argument('--columns', nargs='+', default=[], metavar='NAME', help='images of each (default: all)')
    parser.add_argument('--scale', type=int, metavar='N', help='pixels for each pixel (default: enough to be seen)')
    parser.add_argument('--no_names', action='store_true', help='no names of the rows')
    parser.add_argument('--out', type=Path, default='figure.png', metavar='FILE', help='.png or .pdf')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def main(argv, console):
    opt = parse(argv)
    if opt.out.suffix.lower() not in KINDS:
        raise UserError(f'--out {opt.out} needs a name that ends with {" or ".join(KINDS)}')
    if opt.scale is not None and not 1 <= opt.scale <= 64:
        raise UserError(f'--scale {opt.scale}: give a whole number from 1 to 64')
    items = items_of(opt.results, opt.list)
    rows = chosen('--rows', opt.rows, {item['stem']: item for item in items}) if opt.rows else items[:FIRST]
    names = dict.fromkeys(name for item in rows for name in item['files'])
    columns = chosen('--columns', opt.columns, {name: name for name in names}) if opt.columns else list(names)
    figure = drawn([row_of(opt.results, item, columns) for item in rows], columns,
                   [] if opt.no_names else [item['stem'] for item in rows], opt.scale)
    opt.out.parent.mkdir(parents=True, exist_ok=True)
    settings = dict(quality=100, subsampling=0, resolution=300) if opt.out.suffix.lower() == '.pdf' else {}
    figure.save(opt.out, **settings)
    print(f'{opt.out.absolute()}: {counted(len(rows), "row")}, {counted(len(columns), "column")}, '
          f'{figure.width} x {figure.height} pixels')


# ---- what to show

def items_of(folder: Path, wanted: str) -> list[dict]:
    """The results of a page, in their order: {'stem', 'files', ...}."""
    items = [item for path in sorted((folder / 'data').glob('*.js')) for item in items_in(path)]
    if not items:
        cure = what_to_give(folder, 'give a folder that test.py or scripts/compare.py wrote')
        raise UserError(f'{folder.absolute()} has no results; {cure}')
    lists = list(dict.fromkeys(item.get('direction', '') for item in items))
    if wanted and wanted not in lists:
        there = ', '.join(lists) if any(lists) else 'no lists'
        raise UserError(f'--list {wanted} is not on the page{nearest(wanted, lists)} (there are: {there})')
    return [item for item in items if item.get('direction', '') == (wanted or lists[0])]


def items_in(path: Path) -> list[dict]:
    try:
        text = path.read_text(encoding='utf-8')
        return json.loads(re.fullmatch(r'pixmorph\.results\(\d+, (.*)\);\s*', text, re.DOTALL)[1])
    except (OSError, ValueError, TypeError):
        raise UserError(f'{path.absolute()} cannot be read; run test.py again')


def chosen(flag: str, words: list[str], found: dict) -> list:
    missing = [word for word in words if word not in found]
    if missing:
        there = ', '.join(list(found)[:FIRST]) + (', ...' if len(found) > FIRST else '')
        raise UserError(*(f'{flag} {word} is not on the page{nearest(word, found)} (there are: {there})'
                          for word in missing))
    return [found[word] for word in words]


def row_of(folder: Path, item: dict, columns: list[str]) -> list[Image.Image | None]:
    row = []
    for name in columns:
        file = item['files'].get(name)
        try:
            row.append(Image.open(as_path(folder, file)).convert('RGB') if file else None)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f'{(folder / file).absolute()} cannot be read ({reason}); run test.py again')
    return row


# ---- the drawing

def drawn(rows: list[list], columns: list[str], names: list[str], scale: int | None) -> Image.Image:
    """Images below the names of their columns, right of the names of their rows, on white."""
    images = [image for row in rows for image in row if image]
    longest = max((max(image.size) for image in images), default=1)
    scale = scale or max(1, -(-SMALLEST // longest))
    rows = [[image and image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
             for image in row] for row in rows]
    widths = [max((row[k].width for row in rows if row[k]), default=1) for k in range(len(columns))]
    heights = [max((image.height for image in row if image), default=1) for row in rows]
    font = ImageFont.load_default(max(12, min(widths) // 12))
    top = sum(font.getmetrics()) + GAP
    names = [name if len(name) <= LONGEST_NAME else '…' + name[1 - LONGEST_NAME:] for name in names]
    side = max((round(font.getlength(name)) for name in names), default=-GAP) + 2 * GAP
    size = side + sum(widths) + GAP * len(widths), top + sum(heights) + GAP * len(heights)
    figure = Image.new('RGB', size, 'white')
    pen = ImageDraw.Draw(figure)
    y = top
    for at, row in enumerate(rows):
        x = side
        if names:
            pen.text((GAP, y + heights[at] / 2), names[at], 'black', font, anchor='lm')
        for k, image in enumerate(row):
            if image:
                figure.paste(image, (x, y))
            if at == 0:
                pen.text((x + widths[k] / 2, top - GAP / 2), columns[k], 'black', font, anchor='md')
            x += widths[k] + GAP
        y += heights[at] + GAP
    return figure


if __name__ == '__main__':
    sys.exit(run(main))
