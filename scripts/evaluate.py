"""Measure generated images: the results of test.py, or two folders of images.

    python scripts/evaluate.py results/facades_pix2pix/test_latest
    python scripts/evaluate.py results/facades_pix2pix/test_latest --metrics psnr,lpips,kid_effnet
    python scripts/evaluate.py results/maps_cyclegan/test_latest --paired
    python scripts/evaluate.py --fake generated --real photos --metrics kid,fid --metric_weights weights/

RESULTS is a folder that test.py wrote. With targets, the default is L1, PSNR and SSIM; without, KID. Prints a table,
and writes RESULTS/metrics.json (everything) and RESULTS/metrics.csv (a row for each image). Metrics are explained in
docs/metrics.md.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from options.image_options import value_range
from util.cli import Parser, run
from util.console import counted
from util.errors import UserError


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('results', type=Path, nargs='?', metavar='RESULTS', help='folder that test.py wrote')
    parser.add_argument('--fake', type=Path, metavar='DIR', help='folder of generated images, instead of RESULTS')
    parser.add_argument('--real', type=Path, metavar='DIR', help='folder of real images; those of the same names as '
                        'the generated ones are their targets')
    parser.add_argument('--paired', action='store_true', help='images of A and B correspond: compare each result of an '
                        'unpaired model with its target')
    parser.add_argument('--metrics', metavar='A,B', help='which metrics; docs/metrics.md explains all')
    parser.add_argument('--metric_weights', type=Path, metavar='PATH', help='file or folder with weights of networks '
                        'of metrics, on machines that cannot download them')
    parser.add_argument('--output', type=Path, metavar='DIR', help='where metrics.json and metrics.csv are written '
                        '(default: RESULTS; nothing is written for --fake)')
    parser.add_argument('--range_B', type=value_range, default='auto', metavar='LO,HI', help='darkest and brightest '
                        'value of images of more than 8 bits in the folders --fake and --real')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1, mps or xpu')
    group = parser.add_argument_group('FCN scores')
    group.add_argument('--palette', metavar='COLORS', help='cityscapes, facades, a file with a color in each line, or '
                       '"0 0 170, 0 0 255"')
    group.add_argument('--network', type=Path, metavar='FILE', help='segmentation network for fcn_photos: TorchScript, '
                       'ONNX or a torchvision state dict')
    group.add_argument('--architecture', default='fcn_resnet50', help='of a state dict')
    group.add_argument('--input', default='imagenet', choices=('imagenet', 'caffe', 'levels'),
                       help='what the segmentation network is given, see scripts/eval_cityscapes/evaluate.py')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def find_tasks(opt) -> list:
    """The directions to measure; all mistakes in the folders are found here."""
    from evaluation.images import task_of_folders, tasks_of_results
    if opt.output and opt.output.exists() and not opt.output.is_dir():
        raise UserError(f'--output {opt.output.absolute()} is a file; give a folder')
    if opt.results and opt.fake:
        raise UserError('both RESULTS and --fake are given; give one of them')
    if opt.results:
        return tasks_of_results(opt.results, opt.real, opt.paired, opt.range_B)
    if not (opt.fake and opt.real):
        raise UserError('nothing to measure; give a folder of test.py, or --fake DIR and --real DIR')
    return [task_of_folders(opt.fake, opt.real, opt.range_B)]


def settings_of(opt, names) -> dict:
    """What the FCN scores need."""
    from models.metrics.segmentation import load_segmentation, parse_palette
    found = {}
    if opt.palette:
        found['palette'] = parse_palette(opt.palette)
    if opt.palette and opt.network and 'fcn_photos' in names:
        found['segmentation'] = load_segmentation(opt.network, found['palette'].n, opt.architecture, opt.input,
                                                  opt.device)
    return found


def main(argv, console):
    opt = parse(argv)
    tasks = find_tasks(opt)
    from evaluation import measure, report
    from evaluation.histogram_plot import write_svg

    from models import metrics
    chosen = metrics.split(opt.metrics) if opt.metrics is not None else measure.default_names(
        tasks[0], opt.metric_weights)
    source = str((opt.results or opt.fake).absolute())
    problems = metrics.problems(chosen, palette=opt.palette, segmentation=opt.network)
    problems += [problem for task in tasks for problem in measure.problems_of(chosen, task, source)]
    problems += [] if chosen else ['--metrics names no metric; drop it, or name some']
    if problems:
        raise UserError(*dict.fromkeys(problems))       # those of two directions are often the same
    from util.machine.runtime import usable_device
    device = usable_device(opt.device)
    made = [metrics.create(chosen, opt.metric_weights, device, **settings_of(opt, chosen)) for _ in tasks]
    contents = {}
    for task, measured in zip(tasks, made, strict=True):
        images = measure.measure(task, measured)
        contents[task.direction] = report.content(measured, images)
        direction = f', {task.direction}' if len(tasks) > 1 else ''
        print(f'{counted(sum(len(item.fakes) for item in task.items), "image")} of {source}{direction}\n')
        print(report.table(measured, contents[task.direction]['metrics']), end='\n\n')
    for metric in made[0]:
        print(f'{metric.name}: {metric.protocol}')
    write(opt.output or opt.results, contents)
    for task, measured in zip(tasks, made, strict=True):
        for metric in measured:
            if metric.name == 'histogram' and (opt.output or opt.results):
                name = 'histogram.svg' if task is tasks[0] else f'histogram_{task.direction}.svg'
                write_svg((opt.output or opt.results) / name, metric.distributions())


def write(folder: Path | None, contents: dict):
    """metrics.json and metrics.csv; the second direction of a model is a part of its own."""
    from evaluation import report
    if not folder:
        return
    first, *others = contents
    report.write_json(folder / 'metrics.json', {**contents[first], **{name: contents[name] for name in others}})
    report.write_csv(folder / 'metrics.csv', {
        f'{direction}: {stem}' if others else stem: values
        for direction, found in contents.items() for stem, values in found['images'].items()})


if __name__ == '__main__':
    sys.exit(run(main))
