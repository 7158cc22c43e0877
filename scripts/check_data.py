"""Check a dataset before training: what is in it, what would fail, and how to fix it.

    python scripts/check_data.py --dataroot ./datasets/maps --dataset_mode unaligned
    python scripts/check_data.py --dataroot ./datasets/facades --model pix2pix --report facades.html

Takes all options of train.py, and checks against them. Decodes every image; with --fast, reads headers only, as
train.py does. Exit code: 0 if training can start, 1 if it would fail, 2 for errors in the command line.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from options import TrainOptions
from util.cli import run
from util.console import counted, printable
from util.errors import UserError
from util.files import check_output

OTHER_PHASES = ('train', 'val', 'test')


class CheckOptions(TrainOptions):
    """The options of train.py, and those of this program."""

    program = 'scripts/check_data.py'

    def add_options(self, parser):
        super().add_options(parser)
        group = parser.add_argument_group('check')
        group.add_argument('--report', metavar='FILE.html', help='write a page with a thumbnail of every problem')
        group.add_argument('--fast', action='store_true', help='read headers only; decode and compare nothing')


def inspected(opt):
    """The dataset of the options; unlike `create_dataset`, problems are collected and not raised."""
    import data
    return data.registry.load(opt.dataset_mode)(opt.replace(every_header=True))


def images_of_other_phases(opt) -> list[str]:
    found = []
    for phase in OTHER_PHASES:
        if phase == opt.phase or opt.dataset_mode == 'single':
            continue
        try:
            other = inspected(opt.replace(phase=phase, bad_images='stop'))
        except UserError:
            continue        # there is no such phase, or only a part of it
        found += other.inspection.headers
    return found


def content_problems(opt, dataset, bad: set[str]) -> list:
    """Problems that the pixels and the other phases show."""
    from data.checking import doctor
    folders = dataset.inspection.folders
    own = [path for headers in folders.values() for path in headers]
    paths = [path for path in dict.fromkeys([*own, *images_of_other_phases(opt)]) if path not in bad]

    def progress(results):
        seconds = 0.5 if sys.stderr.isatty() else 30
        return tqdm(results, total=len(paths), unit='img', desc='reading', mininterval=seconds)
    contents = doctor.read_contents(paths, opt.max_pixels, not opt.fast, dataset.try_file, progress)
    return [*doctor.damaged(contents, set(folders)), *doctor.constant_images(contents),
            *doctor.duplicates(contents, set(folders))]


def summary(folders: dict) -> list[str]:
    """One line about each folder."""
    from data.image_folder import ignored
    lines = []
    for folder, headers in folders.items():
        good = [header for header in headers.values() if not header.problem]
        sizes = sorted({(header.width, header.height) for header in good}, key=lambda size: size[0] * size[1])
        types = sorted({header.kind.signature for header in good})
        sizes_text = f'{sizes[0][0]}x{sizes[0][1]}' if sizes else 'none can be read'
        if len(sizes) > 1:
            sizes_text += f' to {sizes[-1][0]}x{sizes[-1][1]} ({len(sizes)} sizes)'
        parts = [counted(len(headers), 'image'), sizes_text, *types]
        if turned := sum(header.turned for header in good):
            parts.append(f'{turned} turned by EXIF')
        if transparent := sum(header.transparent for header in good):
            parts.append(f'{transparent} with transparency')
        if others := ignored(folder):
            parts.append(f'ignored: {others}')
        lines.append(f'{folder}: {", ".join(parts)}')
    return lines


def find_problems(opt, dataset) -> list:
    from data.checking import doctor
    folders = dataset.inspection.folders
    problems = dataset.inspection.all_problems(dataset.halves) + dataset.channel_problems()
    problems += doctor.few_images({folder: len(headers) for folder, headers in folders.items()})
    if opt.bad_images == 'skip':
        for problem in problems:
            problem.fatal &= problem.kind != 'unreadable'
    if not any(problem.fatal for problem in problems):
        problems += value_problems(dataset)
    if not opt.fast:
        bad = {path for problem in problems if problem.kind in ('unreadable', 'channels') for path in problem.files}
        problems += content_problems(opt, dataset, bad)
    return sorted(problems, key=lambda problem: not problem.fatal)


def value_problems(dataset) -> list:
    """What training would refuse after it has looked at the values of all images."""
    from data.checking.problems import Problem
    try:
        dataset.settle()
    except UserError as error:
        return [Problem('values', str(error))]
    return []


def main(argv, console):
    opt = CheckOptions().parse(argv)
    if opt.report:
        check_output('--report', opt.report)
    dataset = inspected(opt)
    problems = find_problems(opt, dataset)
    lines = summary(dataset.inspection.folders)
    for line in lines:
        print(printable(line))
    for problem in problems:
        print(printable(f'{"FAILS" if problem.fatal else "note"}: {problem.sentence}'))
    fails = any(problem.fatal for problem in problems)
    print('training would fail: see above' if fails else 'training can start')
    if opt.report:
        from data.checking.report import write_report
        print(f'report: {write_report(opt.report, opt.dataroot, lines, problems, opt.max_pixels)}')
    return int(fails)


if __name__ == '__main__':
    sys.exit(run(main))
