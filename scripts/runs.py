"""List all training runs of a folder: model, data, changed options, epochs, losses, best metrics, time and pages.

    python scripts/runs.py
    python scripts/runs.py --checkpoints_dir ./checkpoints --csv runs.csv --html runs.html

Reads train_opt.txt and losses.jsonl of each run, and the results of test.py in --results_dir.
"""
import ast
import csv
import io
import os
import re
import shlex
import sys
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dominate import tags
from dominate.util import raw

from models.metrics import METRICS
from util.cli import Parser, run
from util.console import as_duration
from util.errors import UserError
from util.files import AUTHOR, atomic_write, check_output
from util.html import page_style
from util.monitors.curves import is_finite, object_of
from util.results.folder import as_text as text_of

OPTION = re.compile(r'\s*(\w+): (.*?)\s*(?:\[default: (.*)\])?\s*$')
SHOWN_APART = {'model', 'dataroot', 'name', 'checkpoints_dir'}
INCIDENTAL = {'gpu_ids', 'cpu_threads', 'num_threads', 'display_id', 'no_html', 'overwrite', 'continue_train',
              'display_freq', 'print_freq', 'verbose', 'init_direction', 'isTrain', 'job', 'size_multiple',
              'update_size'}
SLOWEST = 1e-6         # images per second; below it a log is damaged
COLUMNS = ('name', 'model', 'data', 'epochs', 'images', 'time', 'best', 'tested', 'options', 'pages')


# On a narrow screen each run is a card of facts.
STYLE = """
.table { background: var(--card); width: 100%; overflow-wrap: break-word }
.table td[data-label=options] { overflow-wrap: anywhere; min-width: 8rem }
th button { border: 0; padding: 0; min-height: 1.6rem; background: none; color: inherit; font-weight: inherit;
  white-space: nowrap }
th[aria-sort=ascending] button::after { content: ' \\2191' }
th[aria-sort=descending] button::after { content: ' \\2193' }
@media (max-width: 50rem) {
  .table, .table :is(tbody, tr, td, th) { display: block; border: 0; padding: 0 }
  .table thead { display: none }
  .table { background: none }
  .table tr { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .6rem .7rem;
    margin: 0 0 .7rem }
  .table td::before { content: attr(data-label) ': '; color: var(--soft) }
  .table td.empty { display: none }
}
"""
# Column titles become buttons that sort, numbers by value; without JavaScript the table is as it was written.
SORT = """
const body = document.querySelector('tbody');
document.querySelectorAll('thead th').forEach((title, column) => {
  const button = document.createElement('button');
  button.append(title.textContent);
  title.replaceChildren(button);
  button.onclick = () => {
    const down = title.getAttribute('aria-sort') === 'ascending';
    document.querySelectorAll('thead th').forEach(other => other.removeAttribute('aria-sort'));
    title.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const text = row => row.cells[column].textContent.replace(/(\\d),(?=\\d{3})/g, '$1');
    const rows = [...body.rows].sort((a, b) => text(a).localeCompare(text(b), 'en', {numeric: true}));
    body.append(...(down ? rows.reverse() : rows));
  };
});
"""


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('--checkpoints_dir', type=Path, default='./checkpoints', metavar='DIR', help='where runs are')
    parser.add_argument('--results_dir', type=Path, default='./results', metavar='DIR', help='where test.py wrote')
    parser.add_argument('--csv', type=Path, metavar='FILE', help='also write a table for programs')
    parser.add_argument('--html', type=Path, metavar='FILE', help='also write a page with links')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def read_options(folder: Path) -> tuple[dict, dict]:
    """All options of a training, and those that differ from their defaults; {} without train_opt.txt.

    The file of a resumed run has what its last start changed; those of the starts before are train_opt.txt.1 and so on.
    """
    values, changed = {}, set()
    for path in [*sorted(folder.glob('train_opt.txt.*')), folder / 'train_opt.txt']:
        for line in path.read_text(encoding='utf-8', errors='replace').splitlines() if path.is_file() else ():
            match = OPTION.match(line)
            if match:
                values[match[1]] = match[2]
                changed |= {match[1]} if match[3] is not None else set()
    return values, {name: values[name] for name in values if name in changed - SHOWN_APART - INCIDENTAL}


def numbers_of(values) -> dict:
    """The finite numbers of a dictionary; {} for anything else, which another program wrote."""
    return {name: value for name, value in values.items() if is_finite(value)} if isinstance(values, dict) else {}


def read_log(folder: Path) -> list[dict]:
    """The lines of losses.jsonl that are complete: their numbers, and their 'metrics'."""
    path = folder / 'losses.jsonl'
    found = []
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines() if path.is_file() else ():
        record = object_of(line)
        numbers = numbers_of(record)
        if 'epoch' in numbers:
            found.append({**numbers, 'metrics': numbers_of(record.get('metrics'))})
    return found


def seconds_of(records: list[dict]) -> float:
    """Time of the training steps, from the images per second of each report."""
    total, before = 0.0, 0
    for record in records:
        images = record.get('total_iters', before)
        if record.get('images_per_s', 0) >= SLOWEST:
            total += max(0, images - before) / record['images_per_s']
        before = images
    return total


def best_of(records: list[dict]) -> dict[str, tuple[float, int]]:
    """{metric: (best value, its epoch)} of the validations of a run."""
    found = {}
    for record in records:
        for name, value in record['metrics'].items():
            if name in METRICS:
                sign = 1 if METRICS[name].better == 'higher' else -1
                if name not in found or sign * value > sign * found[name][0]:
                    found[name] = (value, record['epoch'])
    return found


def tests_of(results: Path) -> dict[str, dict[str, float]]:
    """{folder of results: mean metrics} of a run."""
    found = {}
    for path in sorted(results.glob('*/results.json')):
        try:
            found[path.parent.name] = numbers_of(object_of(path.read_bytes()).get('mean_metrics'))
        except OSError:
            continue
    return found


def describe(folder: Path, results_dir: Path) -> dict:
    """One run as texts by the name of the column; 'pages' is {name: path}."""
    values, changed = read_options(folder)
    records = read_log(folder)
    tests = tests_of(results_dir / folder.name)
    last = max((record['epoch'] for record in records), default=0)
    planned = sum(int(values[name]) for name in ('n_epochs', 'n_epochs_decay') if values.get(name, '').isdecimal())
    pages = {name: path for name, path in (('training', folder / 'web' / 'index.html'),
                                           ('losses', folder / 'losses.html')) if path.is_file()}
    pages |= {name: results_dir / folder.name / name / 'index.html' for name in tests}
    metrics = '; '.join(f'{name} {value:.4g} (epoch {epoch})' for name, (value, epoch) in best_of(records).items())
    tested = '; '.join(f'{text_of(name)}: ' + ', '.join(f'{metric} {value:.4g}' for metric, value in means.items())
                       for name, means in tests.items() if means)
    return dict(name=text_of(folder.name), model=values.get('model', '?'), data=Path(values.get('dataroot', '')).name,
                epochs=f'{last} of {planned}' if planned else str(last),
                images=f'{max((record.get("total_iters", 0) for record in records), default=0):,}',
                time=as_duration(seconds_of(records)), best=metrics, tested=tested,
                options=' '.join(as_words(name, value) for name, value in changed.items()), pages=pages)


def as_words(name: str, text: str) -> str:
    """An option of train_opt.txt as it can be pasted into a shell: --folder_A x y, --dropout, --name 'a b'."""
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        value = text
    if value is True:
        return f'--{name}'
    values = value if isinstance(value, list) else [text]      # 0,1 is one word
    return shlex.join([f'--{name}', *map(str, values)])


def find_runs(opt) -> list[dict]:
    folders = sorted(path for path in opt.checkpoints_dir.iterdir() if path.is_dir()) \
        if opt.checkpoints_dir.is_dir() else []
    found = [path for path in folders if (path / 'train_opt.txt').is_file() or (path / 'losses.jsonl').is_file()]
    if not found:
        raise UserError(f'there are no runs in {opt.checkpoints_dir.absolute()}; set the folder of the runs with '
                        '--checkpoints_dir')
    return [describe(path, opt.results_dir) for path in found]


def as_text(runs: list[dict]) -> str:
    lines = []
    for found in runs:
        lines.append(f'{found["name"]}: {found["model"]} on {found["data"]}, epoch {found["epochs"]}, '
                     f'{found["images"]} images in {found["time"]}')
        lines += [f'    {name}: {found[name]}' for name in ('best', 'tested', 'options') if found[name]]
        lines += [f'    {path.absolute()}' for path in found['pages'].values()]
    return '\n'.join(lines)


def write_csv(path: Path, runs: list[dict]):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    for found in runs:
        pages = ' '.join(text_of(str(page.absolute())) for page in found['pages'].values())
        writer.writerow([pages if name == 'pages' else found[name] for name in COLUMNS])
    with atomic_write(path) as file:
        file.write(text.getvalue())


def is_ours(path: Path) -> bool:
    return path.is_file() and path.read_text(encoding='utf-8', errors='replace').startswith(','.join(COLUMNS))


def address(page: Path, table: Path) -> str:
    """The URL of a page, relative to that of the table."""
    return quote(os.fsencode(Path(os.path.relpath(page.absolute(), table.absolute().parent)).as_posix()))


def write_html(path: Path, runs: list[dict]):
    heading = tags.thead(tags.tr(*(tags.th(name, scope='col') for name in COLUMNS)))
    rows = []
    for found in runs:
        links = [tags.a(text_of(name), href=address(page, path))
                 for name, page in found['pages'].items()]
        cells = [tags.td(*[part for link in links for part in (link, ' ')] if name == 'pages' else [found[name]],
                         data_label=name, cls='' if name == 'pages' or found[name] else 'empty') for name in COLUMNS]
        cells[0] = tags.th(found['name'], scope='row')
        rows.append(tags.tr(*cells))
    count = f'{len(runs)} run{"s" if len(runs) > 1 else ""}'
    document = tags.html(tags.head(tags.meta(charset='utf-8'), tags.meta(name='generator', content=AUTHOR),
                                   tags.meta(name='viewport', content='width=device-width, initial-scale=1'),
                                   tags.title('Runs'), tags.style(raw(page_style() + STYLE))),
                         tags.body(tags.main(tags.h1(count), tags.div(
                                       tags.table(heading, tags.tbody(*rows), cls='table'), cls='scroll', tabindex=0,
                                       role='region', aria_label='Runs')),
                                   tags.script(raw(SORT))), lang='en')
    with atomic_write(path) as file:
        file.write('<!DOCTYPE html>\n' + document.render(pretty=False) + '\n')


def main(argv, console):
    opt = parse(argv)
    runs = find_runs(opt)
    if opt.html:
        check_output('--html', opt.html)
    if opt.csv and opt.csv.exists() and not is_ours(opt.csv):
        raise UserError(f'--csv {opt.csv.absolute()} exists and was not written by this program; give another name')
    print(as_text(runs))
    for path, write in ((opt.csv, write_csv), (opt.html, write_html)):
        if path:
            write(path, runs)
            print(path.absolute())


if __name__ == '__main__':
    sys.exit(run(main))
