"""Look at a data set before training on it: what is there, what would fail, and what can be done about it.

    python scripts/check_data.py --dataroot ./datasets/maps --dataset_mode unaligned
    python scripts/check_data.py --dataroot ./datasets/facades --model pix2pix --report facades.html

Takes all options of train.py, and checks against them. Every image is decoded; --fast reads headers only, as
train.py does by itself. Exit code: 0 if training can begin, 1 if it would fail, 2 for a mistake on the command line.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from options import TrainOptions
from util.cli import run
from util.console import printable
from util.errors import UserError
from util.files import check_output

OTHER_PHASES = ('train', 'val', 'test')


class CheckOptions(TrainOptions):
    """The options of a training, and those of this program."""

    program = 'scripts/check_data.py'

    def add_options(self, parser):
        super().add_options(parser)
        group = parser.add_argument_group('check')
        group.add_argument('--report', metavar='FILE.html', help='write a page with a picture of every problem')
        group.add_argument('--fast', action='store_true', help='headers only: nothing is decoded or compared')


def look_at(opt):
    """The data set of the options with its folders and problems, all found before anything is raised."""
    import data
    dataset = data.registry.load(opt.dataset_mode)(opt)
    return dataset, dataset.inspection.all_problems(dataset.halves)


def other_folders(opt) -> dict[str, list[str]]:
    """Images of the other phases that are there: {folder: paths}."""
    import data
    found = {}
    for phase in OTHER_PHASES:
        if phase == opt.phase or opt.dataset_mode == 'single':
            continue
        try:
            other = data.registry.load(opt.dataset_mode)(opt.replace(phase=phase, bad_images='stop'))
        except UserError:
            continue        # that phase is not there, or only a part of it
        found.update({folder: list(headers) for folder, headers in other.inspection.folders.items()})
    return found


def look_deeper(opt, dataset, bad: set[str]):
    """What the pixels and the other phases tell."""
    from data.checking import doctor
    folders = dataset.inspection.folders
    own = [path for headers in folders.values() for path in headers]
    others = [path for paths in other_folders(opt).values() for path in paths]
    paths = [path for path in dict.fromkeys([*own, *others]) if path not in bad]

    def progress(results):
        pause = 0.5 if sys.stderr.isatty() else 30      # seconds
        return tqdm(results, total=len(paths), unit='img', desc='reading', mininterval=pause)
    contents = doctor.look_into_all(paths, opt.max_pixels, not opt.fast, progress)
    trained = set(folders)
    return [*doctor.broken_bodies(contents, trained), *doctor.constants(contents),
            *doctor.duplicates(contents, trained)]


def summary(folders: dict) -> list[str]:
    """A few lines about each folder."""
    lines = []
    for folder, headers in folders.items():
        good = [header for header in headers.values() if not header.problem]
        sizes = sorted({(header.width, header.height) for header in good}, key=lambda size: size[0] * size[1])
        kinds = sorted({header.mode for header in good})
        span = f'{sizes[0][0]}x{sizes[0][1]}' if sizes else 'none can be read'
        span += f' to {sizes[-1][0]}x{sizes[-1][1]} ({len(sizes)} sizes)' if len(sizes) > 1 else ''
        turned, clear = sum(header.turned for header in good), sum(header.transparent for header in good)
        lines.append(f'{folder}: {len(headers)} images, {span}, modes {" ".join(kinds) or "-"}'
                     + f', {turned} turned by EXIF' * bool(turned) + f', {clear} with transparency' * bool(clear))
    return lines


def main(argv, console):
    opt = CheckOptions().parse(argv)
    if opt.report:
        check_output('--report', opt.report)
    from data.checking import doctor
    dataset, problems = look_at(opt)
    folders = dataset.inspection.folders
    problems += doctor.few({folder: len(headers) for folder, headers in folders.items()})
    if not opt.fast:
        bad = {path for problem in problems if problem.kind == 'unreadable' for path in problem.files}
        problems += look_deeper(opt, dataset, bad)
    if opt.bad_images == 'skip':
        for problem in problems:
            problem.fatal &= problem.kind != 'unreadable'
    lines = summary(folders)
    for line in lines:
        print(printable(line))
    for problem in sorted(problems, key=lambda problem: not problem.fatal):
        print(printable(f'{"FAILS" if problem.fatal else "note"}: {problem.sentence}'))
    fails = any(problem.fatal for problem in problems)
    print('training would fail: see above' if fails else 'training can begin')
    if opt.report:
        from data.checking.report import write_report
        print(f'report: {write_report(opt.report, opt.dataroot, lines, problems, opt.max_pixels)}')
    return int(fails)


if __name__ == '__main__':
    sys.exit(run(main))
