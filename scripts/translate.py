"""Translate images with a trained model: each result has the size and the name of its image.

    python scripts/translate.py shoes photos --output translated
    python test.py --name shoes --input photos --output translated        # the same
    python scripts/translate.py shoes 'scans/**/*.tif' big.png --output out --tile auto --direction BtoA
    find . -name '*.jpg' | python scripts/translate.py shoes - --output out

NAME is a run in --checkpoints_dir, or the folder or .pth file of a model. INPUT is files, folders, patterns, or - for a
list of them on stdin. Results that are already there are skipped. Exit code: 0; 6 if some images failed, which are
listed at the end; 2 for a mistake in the command line, or if nothing could be translated.
"""
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from options.image_options import band_list, joined, value_range
from options.parser import device_list, whole
from util.cli import Parser, run
from util.console import counted, note, say, warn
from util.errors import UserError
from util.machine.signals import stop_as_by_ctrl_c

EXTENSIONS = ('png', 'jpg', 'webp', 'tif', 'bmp', 'npy')
STEPS = 10                                          # from one style to another
IMAGE_OPTIONS = ('range_A', 'range_B', 'bands')     # of the images, instead of those of the training


def parse(argv):
    parser = Parser(__doc__, prog='scripts/translate.py')      # also behind test.py --input, which takes its options
    parser.add_argument('name', metavar='NAME', help='run, folder or .pth file')
    parser.add_argument('inputs', metavar='INPUT', nargs='+', help='files, folders, patterns, or - for a list on stdin')
    parser.add_argument('--output', type=Path, required=True, metavar='DIR', help='folder of the results')
    parser.add_argument('--overwrite', action='store_true', help='translate again what is there')
    parser.add_argument('--save_as', default='', choices=EXTENSIONS, help='file type; default: that of the image')
    parser.add_argument('--direction', default='', choices=('AtoB', 'BtoA'), help='default: that of the training')
    parser.add_argument('--tile', type=whole(64, 65536, or_word='auto'), metavar='N',
                        help='tiles of N pixels, for large images; auto: only if the image does not fit into memory')
    parser.add_argument('--tile_overlap', type=whole(0), default=0, metavar='N',
                        help='has no effect: tiles give the numbers of the whole image, so there are no seams to blend')
    parser.add_argument('--batch_size', type=whole(1), default=1, metavar='N', help='images of one size at once (GPU)')
    for name in 'AB':
        parser.add_argument(f'--range_{name}', type=value_range, default=None, metavar='LO,HI',
                            help=f'values of {name} that are -1 and 1 for the networks; default: as in training')
    parser.add_argument('--bands', type=band_list, default='', metavar='N,N', help='bands to read, counted from 1')
    group = parser.add_argument_group('models with styles')
    group.add_argument('--style_image', nargs='+', default=[], metavar='FILE', help='take the styles of these images')
    group.add_argument('--style_seed', type=int, metavar='N', help='seed of random styles; default: 10')
    group.add_argument('--num_styles', type=whole(1, 1000), metavar='N',
                       help=f'results for each image; default: 1, with --interpolate {STEPS}')
    group.add_argument('--interpolate', default='', choices=('images', 'strip', 'gif'),
                       help='--num_styles steps between two styles, as images, one strip or an animation')
    group = parser.add_argument_group('model')
    group.add_argument('--epoch', default='latest', help='checkpoint')
    group.add_argument('--eval', action='store_true', help='use running statistics in batch norms, and no dropout')
    group.add_argument('--no_ema', action='store_true', help='raw weights even if there are moving averages')
    group.add_argument('--checkpoints_dir', type=Path, default='./checkpoints', metavar='DIR')
    group = parser.add_argument_group('machine')
    group.add_argument('--device', default='', help='cpu, cuda, cuda:1, mps or xpu')
    group.add_argument('--gpu_ids', type=device_list, default=None, help='number of the GPU, -1 for the CPU')
    group.add_argument('--precision', default='auto', choices=('auto', 'fp32', 'tf32', 'bf16'))
    group.add_argument('--cpu_threads', type=whole(0, 1024), default=0, help='0: one for each core')
    group.add_argument('--winograd', action='store_true',
                       help='faster 3x3 convolutions in float32 on a CPU; results differ by about 1e-5')
    group.add_argument('--max_pixels', type=whole(1), metavar='N',
                       help='refuse larger images; default: 50000000, and any size for TIFF and NPY files with --tile')
    group.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(joined(argv))


def words_of_test(argv) -> list[str]:
    """The command line of this program for `test.py --name NAME --input INPUT... --output DIR`."""
    parser = Parser('', add_help=False, prog='scripts/translate.py')
    parser.add_argument('--name', required=True)
    parser.add_argument('--input', nargs='+', required=True)
    opt, rest = parser.parse_known_args(argv)
    return [opt.name, *opt.input, *rest]


def check(opt):
    """The place of the networks, and the images with the names of their results; mistakes are found without torch."""
    from translation.inputs import find_images

    from models.translation.place import find_networks, place_of
    if opt.device and opt.gpu_ids is not None:
        raise UserError('--device and --gpu_ids both choose the device; drop one of them')
    place = find_networks(place_of(opt.name, opt.checkpoints_dir), opt.epoch).path
    missing = [path for path in opt.style_image if not Path(path).is_file()]
    if missing:
        raise UserError(f'there is no file {Path(missing[0]).absolute()}; correct --style_image')
    return place, find_images(opt.inputs, opt.output)


def load(opt, place: Path):
    """The translator on its device."""
    from models import load_translator
    from util.machine.runtime import keep_freed_memory, named_device, start_runtime
    translator = load_translator(place, opt.epoch, opt.direction, averages=not opt.no_ema, evaluate=opt.eval)
    device, gpu_ids = named_device(opt.device)
    gpu_ids = opt.gpu_ids or gpu_ids
    runtime = start_runtime(gpu_ids or '0', opt.cpu_threads, 0, bool(gpu_ids), opt.precision)
    if opt.tile:        # to keep blocks of memory is faster, but takes more of it
        keep_freed_memory(False)
    say(f'device: {device or runtime.description}')
    translator.to(device or runtime.device)
    if opt.winograd:
        translator.winograd()
    return translator.bfloat16() if runtime.precision == 'bf16' else translator


def newest_weights(place: Path, label: str) -> float:
    """When the networks were written, in seconds; 0.0 if that is not known."""
    files = [place] if place.is_file() else [*place.glob(f'{label}_net_G*.pth'), *place.glob('model.*')]
    return max((file.stat().st_mtime for file in files), default=0.0)


def files_of(opt, translator):
    """How images are read and written: as in the training, or as the command line says."""
    from translation.pictures import Files

    from models.translation.kinds import domains_of
    translation, recipe = translator.translation(), translator.recipe()
    given = {name: getattr(opt, name) for name in IMAGE_OPTIONS if getattr(opt, name)}
    training = {name: value for name, value in recipe.training.items() if not (opt.bands and name.startswith('bands'))}
    streaming = opt.output if opt.tile and opt.interpolate not in ('strip', 'gif') else None
    return Files.of_training({**training, **given}, domains_of(recipe.kind, translator.direction),
                             (translation.channels_in, translation.channels_out), opt.save_as, opt.max_pixels,
                             streaming)


def styles_of(opt, translator, files) -> list | None:
    """Functions from a file name to a style, one for each result of an image; [None] for a model without styles."""
    if not translator.styled:
        given = [name for name in ('style_image', 'interpolate') if getattr(opt, name)]
        given += ['num_styles'] if (opt.num_styles or 1) > 1 else []
        given += ['style_seed'] if opt.style_seed is not None else []
        if given:
            raise UserError(f'--{given[0]} is for models with styles; drop it')
        return [None]
    seed = 10 if opt.style_seed is None else opt.style_seed
    fixed = [translator.encode_style(files.read_style(path)) for path in opt.style_image]
    if opt.interpolate:
        if len(fixed) not in (0, 2):
            raise UserError(f'--interpolate needs two style images, or none, not {len(fixed)}')
        ends = fixed or list(translator.random_styles(2, seed))
        fixed = list(translator.interpolated_styles(max(2, opt.num_styles or STEPS), *ends))
    if fixed:
        return [lambda name, style=style: style for style in fixed]
    count = opt.num_styles or 1
    return [lambda name, index=index: translator.random_styles(count, seed, name)[index] for index in range(count)]


def main(argv, console):
    opt = parse(argv)
    stop_as_by_ctrl_c()
    start = time.perf_counter()
    place, images = check(opt)
    from translation.inputs import jobs_of, make_output_folder
    from translation.work import Work
    translator = load(opt, place)
    files = files_of(opt, translator)
    styles = styles_of(opt, translator, files)
    jobs = jobs_of(images, opt.output, (lambda path: '.gif') if opt.interpolate == 'gif' else files.extension)
    make_output_folder(opt.output)

    def translate(images, names):
        results = [translator.many(images, names, style, opt.tile) for style in styles]
        return list(zip(*results, strict=True))
    combine = opt.interpolate if opt.interpolate in ('strip', 'gif') else ''
    work = Work(files, translate, len(styles), combine)
    remaining = [job for job in jobs if opt.overwrite or not work.is_done(job)]
    if len(remaining) < len(jobs):
        say(f'skipping {len(jobs) - len(remaining)} of {counted(len(jobs), "image")}, whose results are in '
            f'{opt.output.absolute()}, of whatever model and options (--overwrite translates them again)')
        if older := work.older_than(newest_weights(place, opt.epoch), jobs):
            warn(f'{counted(older, "image")} in {opt.output.absolute()} had results before these weights were written; '
                 f'--overwrite translates them again')
    work.run(remaining, opt.batch_size)
    seconds = time.perf_counter() - start
    if remaining:
        say(f'translated {work.written} of {counted(len(remaining), "image")} in {seconds:.1f} s '
            f'({work.written / seconds:.2f} images/s, start included); results: {opt.output.absolute()}')
    if files.source.clipped[0]:
        warn(f'{files.source.clipped[0]} of {files.source.clipped[1]} values were outside the range and were clipped')
    for line in files.left_out():
        note(line)
    for message in work.failures:
        console.message('error', message)
    if not work.failures:
        return 0
    return 6 if len(work.failures) < len(jobs) else 2


if __name__ == '__main__':
    sys.exit(run(main))
