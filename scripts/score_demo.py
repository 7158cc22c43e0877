"""Score the results of test.py on a synthetic demo dataset: prints PASS, or FAIL with exit code 1.

    python scripts/score_demo.py ./results/NAME/test_latest
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / 'datasets'), str(ROOT)]

from demo_scores import (
    GATES,
    SCORES,
    Demo,
    Result,
    failures,
    l1,
    read_image,
    read_json,
    score,
)

from util.cli import Parser, run
from util.errors import UserError

# fake_B, one of several styles (fake_B_0), or the output of --model test (fake)
FAKE = re.compile(r'fake(_B(_\w+)?)?$')


def parse(argv):
    parser = Parser(__doc__.split('\n')[0])
    parser.add_argument('results', type=Path, help='folder that test.py wrote; contains results.json')
    parser.add_argument('--dataroot', type=Path, help='folder of the demo, if it was moved since test.py ran')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def read_run(folder: Path) -> dict:
    """Read and check results.json."""
    path = folder.absolute() / 'results.json'
    if not path.is_file():
        raise UserError(f'{folder.absolute()} contains no results.json; give the folder that test.py wrote, '
                        'such as ./results/NAME/test_latest')
    found = read_json(path)
    entries = found.get('images')
    if not (isinstance(entries, list) and entries and all(is_entry(entry) for entry in entries)):
        raise UserError(f'{path} lists no images with "source" and "files"; run test.py again')
    return found


def is_entry(entry) -> bool:
    """True if an item of `images` has a source, and a file for each visual."""
    if not isinstance(entry, dict) or not isinstance(entry.get('source'), str):
        return False
    tables = [entry.get('files'), entry.get('styles', {})]
    return all(isinstance(table, dict) and all(isinstance(name, str) for name in table.values()) for table in tables)


def problem_with(folder: Path, entry: dict, demo: Demo) -> str | None:
    """Why an item of `images` cannot be scored; None if it can."""
    source, files = Path(entry['source']), entry['files']
    if not any(FAKE.match(label) for label in files):
        return f'{source} has no output among its files ({", ".join(files)}), needs fake_B or fake; run test.py again'
    if not demo.knows(source.parent.name, source.stem):
        return (f'{source} has no ground truth in {demo.root / "truth"}; test with --phase test '
                f'--direction {demo.facts["direction"]} on this demo')
    missing = [folder / name for name in [*files.values(), *entry.get('styles', {}).values()]
               if not (folder / name).is_file()]
    return f'{missing[0].absolute()} is missing; run test.py again' if missing else None


def load(folder: Path, entry: dict) -> Result:
    """Read the images of one item; only style images of outputs are used."""
    source, files = Path(entry['source']), entry['files']
    fakes = {label: read_image(folder / name) for label, name in files.items() if FAKE.match(label)}
    cycle = None
    if {'real_A', 'rec_A'} <= set(files):
        cycle = l1(read_image(folder / files['real_A']), read_image(folder / files['rec_A']))
    guided = {label: read_image(folder / name) for label, name in entry.get('styles', {}).items() if label in fakes}
    return Result(source.parent.name, source.stem, fakes, guided, cycle)


def check(demo: Demo, found: dict, folder: Path):
    """Report all problems in one `UserError`, at most three lines."""
    problems = [problem for entry in found['images'] if (problem := problem_with(folder, entry, demo))]
    if not problems and found.get('direction', demo.facts['direction']) != demo.facts['direction']:
        problems = [f'{folder.absolute()} was made with --direction {found["direction"]}; {demo.task} needs '
                    f'--direction {demo.facts["direction"]}']
    if len(problems) > 3:
        problems = [*problems[:2], f'{len(problems) - 2} more images of {folder.absolute()} have such problems']
    if problems:
        raise UserError(*problems)


def check_styles(results: list[Result], folder: Path):
    """Variety needs several random styles per input; with none, all outputs are guided by style images."""
    random = [len(result.fakes) - len(result.guided) for result in results]
    if 1 in random:
        raise UserError(f'{folder.absolute()} has only one random style per input, so variety cannot be scored; '
                        'test with --num_styles 8')


def table(task: str, rows: dict) -> str:
    """One line for each item of `rows`, {name: scores}, with the gate below the first."""
    names = SCORES[task]
    gate = {name: f'{sign} {limit:g}' for name, (sign, limit) in GATES[task].items()}
    cells = {row: [f'{scores[name]:.3f}' if name in scores else '-' for name in names]
             for row, scores in rows.items()}
    first, *others = cells.items()
    lines = [('', names), first, ('gate', [gate.get(name, '-') for name in names]), *others]
    return '\n'.join(f'{row:22}' + ''.join(f'{cell:>11}' for cell in line) for row, line in lines)


def main(argv, console):
    opt = parse(argv)
    found = read_run(opt.results)
    demo = Demo(opt.dataroot or found.get('dataroot', '.'))
    check(demo, found, opt.results)
    results = [load(opt.results, entry) for entry in found['images']]
    if demo.task == 'shapes':
        check_styles(results, opt.results)
    scores = score(demo, results)
    print(f'{demo.task}: {len(results)} images of {opt.results.absolute()}\n')
    print(table(demo.task, {'this run': scores, **read_json(demo.root / 'baselines.json')}))
    missed = failures(demo.task, scores)
    print(f'\nFAIL: {"; ".join(missed)}' if missed else '\nPASS')
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(run(main))
