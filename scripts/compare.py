"""Compare the results of several runs or epochs on the same images, on one page.

    python scripts/compare.py facades_l1 facades_gan
    python scripts/compare.py results/facades/test_10 results/facades/test_20 results/facades/test_latest
    python scripts/compare.py facades --out facades_over_time          # all results of one run

Each argument is a results folder of test.py, or a run in --results_dir. The page has a column for each: a table of
metrics, images side by side, a viewer with slider, flicker and difference between any two, and sorting by what got
worse from the first to the last. It links to the images where they are, so keep the results; metrics are those of
test.py and of scripts/evaluate.py, if it ran. Writes OUT/index.html.
"""
import filecmp
import json
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.metrics import METRICS
from util.cli import Parser, run
from util.console import warn
from util.errors import UserError
from util.raster.kinds import kind_of
from util.registry import nearest
from util.results.folder import as_path, is_complete, is_numbers
from util.results.gallery import DECIMALS, METRIC_NOTES, Gallery

BETTER = {'PSNR': 'higher', 'SSIM': 'higher', 'L1': 'lower'}
RESULT = re.compile(r'(fake|rec)(_B(_\w+)?)?$')
OURS = 'comparison.json'        # in folders that this program wrote


class Column:
    """The results of one run at one epoch."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.content = read_json(folder / 'results.json')
        if not is_complete(self.content):
            raise UserError(f'{folder.absolute()} has no results, or a damaged results.json; give folders that test.py '
                            f'wrote')
        self.items = {image['stem']: image for image in self.content['images']}
        measured = read_json(folder / 'metrics.json') if (folder / 'metrics.json').is_file() else {}
        if not is_measured(measured):
            raise UserError(f'{folder.absolute()}/metrics.json is damaged; run scripts/evaluate.py again, or remove it')
        self.measured, self.metrics = measured.get('images', {}), measured.get('metrics', {})
        self.run = str(self.content.get('name', folder.parent.name))
        self.test = folder.name
        self.label = self.run

    def visual(self, wanted: str) -> str:
        """The name of the results: what the model compares with its target, else the first fake_B."""
        names = list(dict.fromkeys(name for image in self.content['images'] for name in image['files']))
        target = self.content.get('target')
        if wanted:
            if wanted not in names:
                raise UserError(f'--visual {wanted} is not in {self.folder.absolute()} (there are: {", ".join(names)})')
            return wanted
        found = [target[0]] if target else [name for name in names if RESULT.match(name)]
        if not found:
            raise UserError(f'{self.folder.absolute()} has no fake_B; choose one of {", ".join(names)} with --visual')
        return found[0]

    def scores(self, stem: str) -> dict[str, float | None]:
        return {**self.items[stem].get('metrics', {}), **self.measured.get(stem, {})}

    def better(self, name: str) -> str:
        entry = self.metrics.get(name) or self.metrics.get(name.lower()) or {}
        return BETTER.get(name) or entry.get('better', 'lower')

    def values(self) -> dict[str, tuple[float, dict]]:
        """{metric: (value, further facts)} of the whole folder."""
        spread = self.content.get('metric_spread', {})
        found = {name: (value, spread.get(name, {})) for name, value in self.content.get('mean_metrics', {}).items()}
        upper = {name.lower(): name for name in BETTER}
        for name, entry in self.metrics.items():
            if entry.get('value') is not None:
                found[upper.get(name, name)] = (entry['value'], entry)
        return found

    @property
    def epoch(self) -> str:
        """The epoch of the checkpoint: of `latest`, what it was when it was tested."""
        known = self.content.get('checkpoint', {}).get('epoch')
        return f'{known:,}' if known else str(self.content.get('epoch', '')).replace('latest', '–')

    def picture(self, stem: str, name: str) -> Path | None:
        """The file that a page can show: for deep images, the view of it."""
        file = self.items[stem]['files'].get(name)
        view = as_path(self.folder, f'views/{stem}_{name}.png')
        if file is None:
            return None
        return view if view.is_file() else as_path(self.folder, file)

    def thumb(self, stem: str, name: str) -> Path | None:
        path = as_path(self.folder, f'thumbs/{stem}_{name}.jpg')
        return path if path.is_file() else None


def is_measured(content) -> bool:
    """True for the content of a metrics.json."""
    parts = [content.get(name, {}) for name in ('images', 'metrics')] if isinstance(content, dict) else [None]
    return (all(isinstance(part, dict) for part in parts) and all(map(is_numbers, parts[0].values()))
            and all(isinstance(entry, dict) for entry in parts[1].values()))


def read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'{path.absolute()} cannot be read ({reason}); run test.py again')


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('results', nargs='+', metavar='RUN_OR_RESULTS', help='results folders of test.py, or runs')
    parser.add_argument('--results_dir', type=Path, default='./results', metavar='DIR', help='where runs have results')
    parser.add_argument('--out', type=Path, default='./comparison', metavar='DIR', help='folder of the page')
    parser.add_argument('--visual', default='', metavar='NAME', help='which image of each result, such as fake_A '
                        '(default: the translation)')
    parser.add_argument('--title', default='', help='heading of the page')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


# ---- which results

def find_columns(opt) -> list[Column]:
    """All columns; a `UserError` lists every argument that is no results folder."""
    folders, problems = [], []
    for word in opt.results:
        found = folders_of(word, opt.results_dir)
        folders += found
        if not found:
            runs = sorted(path.name for path in opt.results_dir.iterdir() if path.is_dir()) \
                if opt.results_dir.is_dir() else []
            problems.append(f'{word} is neither a results folder of test.py nor a run in {opt.results_dir.absolute()}'
                            + (nearest(word, runs) or '; run test.py first, or correct --results_dir'))
    if problems:
        raise UserError(*problems)
    columns = [Column(folder) for folder in dict.fromkeys(folders)]
    if len(columns) < 2:
        raise UserError(f'there is only one results folder, {columns[0].folder.absolute()}; give two or more')
    name_columns(columns)
    return columns


def folders_of(word: str, results_dir: Path) -> list[Path]:
    """The folders that an argument means: itself, or all results of a run, oldest epoch first."""
    for place in (Path(word), results_dir / word):
        if (place / 'results.json').is_file():
            return [place]
        inside = [path.parent for path in place.glob('*/results.json')] if place.is_dir() else []
        if inside:
            return sorted(inside, key=lambda path: [(int(part), '') if part.isdigit() else (10 ** 9, part)
                                                    for part in re.split(r'(\d+)', path.name)])
    return []


def name_columns(columns: list[Column]):
    """The shortest names that differ: runs, epochs of one run, or both."""
    for candidates in ([column.run for column in columns], [column.test for column in columns],
                       [f'{column.run} {column.test}' for column in columns],
                       [str(column.folder) for column in columns]):
        if len(set(candidates)) == len(columns):
            for column, label in zip(columns, candidates, strict=True):
                column.label = label
            return


def check_inputs(columns: list[Column]) -> list[str]:
    """The inputs that at least two columns have, in the order of the first."""
    stems = dict.fromkeys(stem for column in columns for stem in column.items)
    shared = [stem for stem in stems if sum(stem in column.items for column in columns) > 1]
    alone = [column.folder.absolute() for column in columns if not any(stem in column.items for stem in shared)]
    if alone:
        raise UserError(*(f'{folder} has no input of the same name as another; test the runs on the same images'
                          for folder in alone))
    return shared


def check_sources(columns: list[Column], stems: list[str]):
    """Warn about inputs of one name that are different files."""
    first = columns[0]
    for column in columns[1:]:
        for stem in stems:
            paths = [Path(found.items.get(stem, {}).get('source') or '') for found in (first, column)]
            if all(path.is_file() for path in paths):
                if not filecmp.cmp(*paths, shallow=False):
                    warn(f'{first.label} and {column.label} have different inputs of the same name, {paths[0]} and '
                         f'{paths[1]}; test the runs on the same images to compare them')
                break


# ---- the page

class Page:
    """Writes the page of some columns."""

    def __init__(self, columns: list[Column], stems: list[str], opt):
        self.columns, self.stems = columns, stems
        self.out = opt.out.absolute()
        self.visuals = [column.visual(opt.visual) for column in columns]
        names = dict.fromkeys(name for column in columns for name in column.values())
        self.metrics = list(names)
        facts = {'data': ', '.join(dict.fromkeys(Path(str(column.content.get('dataroot', ''))).name
                                                 for column in columns))}
        self.gallery = Gallery(self.out, opt.title or 'Comparison of ' + ', '.join(column.label for column in columns),
                               facts, 256)
        self.gallery.decimals = {name: decimals_of(name) for name in (*DECIMALS, *names)}
        self.changes = {}

    def write(self):
        for stem in self.stems:
            self.add(stem)
        gallery = self.gallery
        gallery.means = {name: sum(values) / len(values) for name, values in self.changes.items()}
        gallery.notes = {name: 'from the first to the last column; more is better' for name in self.changes}
        gallery.more = dict(table=self.table(), runs=[column.label for column in self.columns],
                            best=dict.fromkeys(self.changes, -1))
        gallery.save('', 0)
        (self.out / OURS).write_text(json.dumps([str(column.folder.absolute()) for column in self.columns], indent=1),
                                     encoding='utf-8')

    def add(self, stem: str):
        files, thumbs = {}, {}
        scores = {}
        for label, column, visual in self.sources(stem):
            path = column.picture(stem, visual)
            if path is None:
                continue
            files[label] = self.address(path)
            thumb = column.thumb(stem, visual)
            if thumb:
                thumbs[label] = self.address(thumb)
            if label == column.label:
                scores[label] = column.scores(stem)
        first, last = (scores.get(self.columns[index].label, {}) for index in (0, -1))
        self.gallery.add(stem, files, self.size_of(stem), thumbs, self.change(first, last), scores)

    def sources(self, stem: str):
        """(label, column, visual) of an input: what went in, the results, and the target."""
        present = [(column, visual) for column, visual in zip(self.columns, self.visuals, strict=True)
                   if stem in column.items]
        first = present[0][0]
        back = present[0][1].startswith('fake_A')
        for name in ('real_B' if back else 'real_A', 'real'):
            if name in first.items[stem]['files']:
                yield 'input', first, name
                break
        yield from ((column.label, column, visual) for column, visual in present)
        target = (first.content.get('target') or ['', ''])[1]
        if target in first.items[stem]['files']:
            yield 'target', first, target

    def change(self, first: dict, last: dict) -> dict[str, float]:
        """{'better PSNR': ...} from the first column to the last, positive if it got better; sorts the page."""
        found = {}
        for name in first:
            if first[name] is not None and last.get(name) is not None:
                sign = 1 if self.columns[0].better(name) == 'higher' else -1
                found[f'gain in {name}'] = sign * (last[name] - first[name])
        for name, value in found.items():
            self.changes.setdefault(name, []).append(value)
        return found

    def address(self, path: Path) -> str:
        return Path(os.path.relpath(path.absolute(), self.out)).as_posix()

    def size_of(self, stem: str) -> tuple[int, int]:
        column, visual = next((column, visual) for column, visual in zip(self.columns, self.visuals, strict=True)
                              if stem in column.items)
        try:
            kind = kind_of(str(column.picture(stem, visual)))
            return kind.width, kind.height
        except (OSError, ValueError, UserError):        # moved away: the page shows its name
            return 256, 256

    def table(self) -> dict:
        values = [column.values() for column in self.columns]
        head = [dict(text='run')] + [dict(text=f'{name} {"↑" if self.better(name) == "higher" else "↓"}',
                                          title=METRIC_NOTES.get(name, f'{self.better(name)} is better'))
                                     for name in self.metrics] + [dict(text='images'), dict(text='epoch')]
        rows = [[dict(text=column.label), *(self.cell(name, index, values) for name in self.metrics),
                 dict(text=f'{len(column.items):,}'), dict(text=column.epoch)]
                for index, column in enumerate(self.columns)]
        return dict(head=head, rows=rows)

    def cell(self, name: str, index: int, values: list[dict]) -> dict:
        """One value, with its interval as a tooltip; the best of the column is marked."""
        if name not in values[index]:
            return dict(text='–')
        value, facts = values[index][name]
        choose = max if self.better(name) == 'higher' else min
        best = value == choose(found[name][0] for found in values if name in found)
        measured = 'protocol' in facts and facts.get('low') is not None     # by scripts/evaluate.py
        interval = f'95 % interval {facts["low"]:.4g} to {facts["high"]:.4g}; ' if measured else ''
        places = decimals_of(name)
        spread = [f'{word} {facts[key]:.{places}f}' for key, word in (('median', 'median'), ('std', 'sd'))
                  if facts.get(key) is not None]
        return dict(text=f'{value:.{places}f}', best=best, more=', '.join(spread),
                    title=interval + facts.get('protocol', ''))

    def better(self, name: str) -> str:
        return next(column.better(name) for column in self.columns if name in column.values())


def decimals_of(metric: str) -> int:
    """The decimals in which pages show a metric, as scripts/evaluate.py does."""
    if metric in DECIMALS:
        return DECIMALS[metric]
    found = re.fullmatch(r'\.(\d+)f', METRICS[metric].format) if metric in METRICS else None
    return int(found[1]) if found else 4


def check_out(out: Path):
    """A `UserError` for a folder with other files: `--out results/x` would overwrite the page of a test."""
    if out.is_dir() and any(out.iterdir()) and not (out / OURS).is_file():
        raise UserError(f'--out {out.absolute()} holds other files; give a new folder')
    if out.exists() and not out.is_dir():
        raise UserError(f'--out {out.absolute()} is a file; give a new folder')


def main(argv, console):
    opt = parse(argv)
    columns = find_columns(opt)
    stems = check_inputs(columns)
    check_out(opt.out)
    check_sources(columns, stems)
    opt.out.mkdir(parents=True, exist_ok=True)
    Page(columns, stems, opt).write()
    few = [column for column in columns if len(set(stems) & set(column.items)) < len(stems)]
    for column in few:
        print(f'{column.label} has {len(set(stems) & set(column.items))} of {len(stems)} images')
    print(f'page: {opt.out.absolute() / "index.html"}')


if __name__ == '__main__':
    sys.exit(run(main))
