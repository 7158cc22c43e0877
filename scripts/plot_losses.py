"""Draw the losses of one or several runs as a PNG and as a page with values, zoom and a log scale.

Metrics of validations are drawn below the losses of the PNG, a panel for each.

    python scripts/plot_losses.py NAME [NAME2 ...]

Reads losses.jsonl, or the loss_log.txt of a run of the original code.
"""
import argparse
import json
import re
import sys
from dataclasses import asdict
from itertools import count
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.metrics import METRICS
from util.cli import Parser, run
from util.errors import UserError
from util.files import AUTHOR, atomic_write, check_output
from util.monitors.curve_plot import COLORS, Series, draw, smoothed
from util.monitors.curves import Curves, is_finite, object_of, read_run
from util.monitors.live_page.page import page
from util.results.folder import as_text

POINTS = 1000   # per curve; longer runs are drawn as means over windows


def parse(argv):
    parser = Parser(__doc__.split('\n')[0])
    parser.add_argument('names', nargs='+', metavar='NAME', help='runs: folders in --checkpoints_dir')
    parser.add_argument('--checkpoints_dir', type=Path, default='./checkpoints', metavar='DIR',
                        help='where runs are saved')
    parser.add_argument('--out', type=Path, metavar='FILE.png', help='the image (default: losses.png in the run '
                        'folder, or in --checkpoints_dir for several runs)')
    parser.add_argument('--html', type=Path, metavar='FILE.html', help='the page (default: losses.html in the same '
                        'folder); with only one of --out and --html, the other is not written')
    parser.add_argument('--losses', metavar='A,B', help='draw only these losses')
    parser.add_argument('--smooth', type=positive, default=1, metavar='N', help=f'average over N of {POINTS} points')
    parser.add_argument('--log', action='store_true', help='logarithmic scale; values <= 0 are skipped')
    parser.add_argument('--verbose', action='store_true', help='print the traceback of an error')
    return parser.parse_args(argv)


def positive(text: str) -> int:
    if not re.fullmatch(r'[1-9]\d{0,5}', text):
        raise argparse.ArgumentTypeError(f'{text} is not a whole number of at least 1')
    return int(text)


def read_curves(folder: Path) -> dict:
    """The curves of a run; a `UserError` lists the existing runs if there are none."""
    records = read_run(folder)
    if records is None:
        raise UserError(f'{folder.absolute()} has no losses; {other_runs(folder.parent)}')
    return Curves(POINTS, records).as_dict()


def other_runs(parent: Path) -> str:
    runs = sorted(path.name for path in parent.iterdir() if read_run(path)) if parent.is_dir() else []
    if runs:
        return f'the runs in {parent.absolute()} are: {", ".join(runs)}'
    return f'there are no runs in {parent.absolute()}; set the folder of the runs with --checkpoints_dir'


def choose(found: dict[str, dict], wanted: str | None) -> list[str]:
    """The losses to draw, in the order of the log or of --losses."""
    known = list(dict.fromkeys(name for curves in found.values() for name in curves['series']))
    if wanted is None:
        return known
    chosen = list(dict.fromkeys(name.strip() for name in wanted.split(',') if name.strip()))
    if not chosen or set(chosen) - set(known):
        raise UserError(f'--losses {wanted}: the losses are {", ".join(known)}')
    return chosen


def series_of(found: dict[str, dict], losses: list[str]) -> list[Series]:
    """A color for each loss, dashes for each run; other dashes if a run has more losses than there are colors."""
    hues = hues_of(found, losses)
    return [Series(f'{run_name}: {loss}' if len(found) > 1 else loss, curves['x'], curves['series'][loss],
                   curves['epoch'], hues[loss], line + hues[loss] // len(COLORS))
            for line, (run_name, curves) in enumerate(found.items())
            for loss in losses if loss in curves['series']]


def hues_of(found: dict[str, dict], losses: list[str]) -> dict[str, int]:
    """A number for each loss; if all colors are taken, one that no other loss of the same run has."""
    hues = {}
    for loss in losses:
        taken = {hues.get(other) for curves in found.values() if loss in curves['series'] for other in curves['series']}
        hues[loss] = len(hues) if len(hues) < len(COLORS) else next(n for n in count() if n not in taken)
    return hues


def write_png(path: Path, series: list[Series], title: str, opt):
    curves = [Series(**{**vars(one), 'y': smoothed(one.y, opt.smooth)}) for one in series]
    pictures = [draw(curves, title, opt.log)]
    pictures += [draw(panel, f'Metrics: {name}') for name, panel in metric_panels(opt).items()]
    whole = Image.new('RGB', (pictures[0].width, sum(picture.height for picture in pictures)))
    for number, picture in enumerate(pictures):
        whole.paste(picture, (0, sum(above.height for above in pictures[:number])))
    with atomic_write(path, 'wb') as file:
        whole.save(file, format='PNG', pnginfo=signed())


def metric_panels(opt) -> dict[str, list[Series]]:
    """{title: curves} of the validations: one panel for each metric, with all runs in it."""
    panels = {}
    names = list(dict.fromkeys(opt.names))
    for line, name in enumerate(names):
        for metric, points in read_metrics(opt.checkpoints_dir / name / 'losses.jsonl').items():
            spec = METRICS.get(metric)
            scale = f'{metric} ({spec.unit})' if spec and spec.unit else metric
            panel = panels.setdefault(scale, [])
            x, y, epoch = (list(column) for column in zip(*points, strict=True))
            panel.append(Series(f'{as_text(name)}: {metric}' if len(names) > 1 else metric, x, y, epoch, 0, line))
    return panels


def read_metrics(path: Path) -> dict[str, list[tuple]]:
    """{metric: [(images seen, value, epoch)]} of the lines of losses.jsonl that report a validation."""
    found = {}
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines() if path.is_file() else ():
        record = object_of(line)
        metrics = record.get('metrics')
        place = record.get('total_iters', record.get('iters')), record.get('epoch')
        if not (isinstance(metrics, dict) and all(map(is_finite, place))):      # losses, or cut off by a crash
            continue
        for name, value in metrics.items():
            if name in METRICS:
                points = [point for point in found.get(name, ()) if point[0] < place[0]]    # repeated after resuming
                found[name] = [*points, (place[0], value if is_finite(value) else None, place[1])]
    return found


def signed() -> PngInfo:
    info = PngInfo()
    info.add_text('Software', AUTHOR)
    return info


def write_html(path: Path, series: list[Series], title: str, opt):
    panels = [dict(title=f'Metrics: {name}', series=[asdict(one) for one in panel])
              for name, panel in metric_panels(opt).items()]
    data = dict(series=[asdict(one) for one in series], metrics=panels, log=opt.log, smooth=opt.smooth)
    text = json.dumps(data, separators=(',', ':'), allow_nan=False).replace('<', '\\u003c')
    with atomic_write(path) as file:
        file.write(page('curves.html', 'curves.js', title=title, data=f'curvesPage({text});\n'))


def main(argv, console):
    opt = parse(argv)
    found = {as_text(name): read_curves(opt.checkpoints_dir / name) for name in dict.fromkeys(opt.names)}
    series = series_of(found, choose(found, opt.losses))
    title = 'Losses of ' + ', '.join(found)
    folder = opt.checkpoints_dir / opt.names[0] if len(found) == 1 else opt.checkpoints_dir
    if not opt.out and not opt.html:
        opt.out, opt.html = folder / 'losses.png', folder / 'losses.html'
    outputs = [(flag, path, write) for flag, path, write in (
        ('--out', opt.out, write_png), ('--html', opt.html, write_html)) if path]
    for flag, path, _ in outputs:
        check_output(flag, path)
    for _, path, write in outputs:
        write(path, series, title, opt)
        print(path.absolute())


if __name__ == '__main__':
    sys.exit(run(main))
