"""Draw the losses of one run or several, to compare them: a PNG and a page with values, zoom and a log scale.

    python scripts/plot_losses.py NAME [NAME2 ...]

Reads losses.jsonl, or the loss_log.txt of an older run.
"""
import argparse
import json
import re
import sys
from dataclasses import asdict
from itertools import count
from pathlib import Path

from PIL.PngImagePlugin import PngInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import run
from util.errors import UserError
from util.files import AUTHOR, atomic_write, check_output
from util.monitors.curve_plot import COLORS, Series, draw, smoothed
from util.monitors.curves import Curves, read_run
from util.monitors.live_page.page import page

POINTS = 1000   # of a curve; longer runs are drawn as means over windows


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0], allow_abbrev=False)
    parser.add_argument('names', nargs='+', metavar='NAME', help='runs: folders of --checkpoints_dir')
    parser.add_argument('--checkpoints_dir', type=Path, default='./checkpoints', metavar='DIR',
                        help='where runs are saved')
    parser.add_argument('--out', type=Path, metavar='FILE.png', help='the picture (default: losses.png beside the run, '
                        'or in --checkpoints_dir for several runs)')
    parser.add_argument('--html', type=Path, metavar='FILE.html', help='the page (default: losses.html likewise); with '
                        'only one of --out and --html the other is not written')
    parser.add_argument('--losses', metavar='A,B', help='only these losses')
    parser.add_argument('--smooth', type=width, default=1, metavar='N', help=f'means over N of the {POINTS} points')
    parser.add_argument('--log', action='store_true', help='logarithmic scale; values of 0 and less are left out')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def width(text: str) -> int:
    if not re.fullmatch(r'[1-9]\d{0,5}', text):
        raise argparse.ArgumentTypeError(f'{text}: a whole number of at least 1 is needed')
    return int(text)


def read_curves(folder: Path) -> dict:
    """Curves of a run; a `UserError` names the runs that there are."""
    records = read_run(folder)
    if records is None:
        raise UserError(f'{folder.absolute()} holds no losses; {other_runs(folder.parent)}')
    curves = Curves(POINTS)
    for record in records:
        curves.add(record)
    return curves.as_dict()


def other_runs(parent: Path) -> str:
    runs = sorted(path.name for path in parent.iterdir() if read_run(path)) if parent.is_dir() else []
    if runs:
        return f'the runs in {parent.absolute()} are: {", ".join(runs)}'
    return f'there are no runs in {parent.absolute()}; give the folder of runs with --checkpoints_dir'


def choose(found: dict[str, dict], wanted: str | None) -> list[str]:
    """The losses to be drawn, in the order of the log or of --losses."""
    known = list(dict.fromkeys(name for curves in found.values() for name in curves['series']))
    if wanted is None:
        return known
    chosen = list(dict.fromkeys(name.strip() for name in wanted.split(',') if name.strip()))
    if not chosen or set(chosen) - set(known):
        raise UserError(f'--losses {wanted}: the losses are {", ".join(known)}')
    return chosen


def series_of(found: dict[str, dict], losses: list[str]) -> list[Series]:
    """A colour for each loss, dashes for each run; where the colours of a run do not suffice, other dashes."""
    hues = hues_of(found, losses)
    return [Series(f'{run_name}: {loss}' if len(found) > 1 else loss, curves['x'], curves['series'][loss],
                   curves['epoch'], hues[loss], line + hues[loss] // len(COLORS))
            for line, (run_name, curves) in enumerate(found.items())
            for loss in losses if loss in curves['series']]


def hues_of(found: dict[str, dict], losses: list[str]) -> dict[str, int]:
    """A number for each loss; when all colours are taken, one that no other loss of the same run has."""
    hues = {}
    for loss in losses:
        taken = {hues.get(other) for curves in found.values() if loss in curves['series'] for other in curves['series']}
        hues[loss] = len(hues) if len(hues) < len(COLORS) else next(n for n in count() if n not in taken)
    return hues


def write_png(path: Path, series: list[Series], title: str, opt):
    curves = [Series(**{**vars(one), 'y': smoothed(one.y, opt.smooth)}) for one in series]
    with atomic_write(path, 'wb') as file:
        draw(curves, title, opt.log).save(file, format='PNG', pnginfo=signed())


def signed() -> PngInfo:
    info = PngInfo()
    info.add_text('Software', AUTHOR)
    return info


def write_html(path: Path, series: list[Series], title: str, opt):
    data = dict(series=[asdict(one) for one in series], log=opt.log, smooth=opt.smooth)
    text = json.dumps(data, separators=(',', ':'), allow_nan=False).replace('<', '\\u003c')
    with atomic_write(path) as file:
        file.write(page('curves.html', 'curves.js', title=title, data=f'curvesPage({text});\n'))


def main(argv, console):
    opt = parse(argv)
    found = {name: read_curves(opt.checkpoints_dir / name) for name in dict.fromkeys(opt.names)}
    series = series_of(found, choose(found, opt.losses))
    title = 'Losses of ' + ', '.join(found)
    beside = opt.checkpoints_dir / opt.names[0] if len(found) == 1 else opt.checkpoints_dir
    both = not opt.out and not opt.html
    outputs = (('--out', opt.out or both and beside / 'losses.png', write_png),
               ('--html', opt.html or both and beside / 'losses.html', write_html))
    for flag, path, _ in outputs:
        check_output(flag, path) if path else None
    for _, path, write in outputs:
        if path:
            write(path, series, title, opt)
            print(path.absolute())


if __name__ == '__main__':
    sys.exit(run(main))
