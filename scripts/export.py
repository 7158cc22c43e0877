"""Write a trained model for other programs: ONNX, TorchScript, torch.export, safetensors, or a page for browsers.

    python scripts/export.py shoes --format onnx
    python scripts/export.py shoes --format onnx --with_pre_post --output shoes_onnx
    python scripts/export.py shoes --format web

NAME is a run in --checkpoints_dir, or a folder or .pth file. The output is a folder with the model, config.json and a
model card (README.md). The model takes images of any size. What was written is run on five images and compared with
PyTorch; a difference over 1e-4 ends the program with exit code 1.
"""
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import Parser, run
from util.errors import UserError
from util.files import first_free

FORMATS = ('onnx', 'torchscript', 'torchexport', 'safetensors', 'web')


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('name', metavar='NAME', help='run, folder or .pth file')
    parser.add_argument('--format', required=True, choices=FORMATS)
    parser.add_argument('--output', type=Path, metavar='DIR', help='new folder; default: exports/NAME_FORMAT')
    parser.add_argument('--overwrite', action='store_true', help='replace an export that is there')
    parser.add_argument('--direction', default='', choices=('AtoB', 'BtoA'), help='default: that of the training')
    parser.add_argument('--half', action='store_true', help='weights and computation in float16')
    parser.add_argument('--with_pre_post', action='store_true', help='the graph takes and returns uint8 pixels, NHWC')
    parser.add_argument('--eval', action='store_true', help='batch norms use their running statistics')
    parser.add_argument('--epoch', default='latest', help='checkpoint')
    parser.add_argument('--no_ema', action='store_true', help='raw weights even if there are moving averages')
    parser.add_argument('--checkpoints_dir', type=Path, default='./checkpoints', metavar='DIR')
    parser.add_argument('--results_dir', type=Path, default='./results', metavar='DIR', help='scores for the card')
    parser.add_argument('--runtime', type=Path, metavar='FILE.tgz', help='npm package of onnxruntime-web, for web')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def check_place(folder: Path, overwrite: bool):
    """A `UserError` for a folder that must not be replaced."""
    if not folder.exists():
        return
    from util.checkpoint.exported import config_of
    place = f'--output {folder.absolute()}'
    if not config_of(folder):
        raise UserError(f'{place} exists and is not an export; give the name of a new folder')
    if not overwrite:
        raise UserError(f'{place} exists; add --overwrite, or give another folder')


def main(argv, console):
    opt = parse(argv)
    folder = opt.output or Path('exports') / f'{Path(opt.name).stem}_{opt.format}'
    if opt.runtime and opt.format != 'web':
        raise UserError(f'--runtime is for --format web, not for {opt.format}; drop it')
    if opt.with_pre_post and opt.format == 'safetensors':
        raise UserError('--with_pre_post is for graphs, not for --format safetensors; drop it')
    check_place(folder, opt.overwrite)
    from models.translation.place import find_networks, place_of
    place = find_networks(place_of(opt.name, opt.checkpoints_dir), opt.epoch).path

    from models import load_translator
    from models.exporting import card
    from models.exporting import folder as exporting
    translator = load_translator(place, opt.epoch, averages=not opt.no_ema, evaluate=opt.eval)
    scores = card.mean_scores(opt.results_dir / opt.name / f'test_{opt.epoch}')
    new = first_free(folder)        # complete before it replaces an export
    try:
        if opt.format == 'web':
            differences = exporting.export_page(translator, new, opt.direction, opt.half, scores, opt.runtime)
        else:
            differences = exporting.export(translator, opt.format, new, opt.direction, opt.half, opt.with_pre_post,
                                           scores)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    allowed = exporting.tolerance(opt.half, opt.with_pre_post or opt.format == 'web')
    for file, difference in differences.items():
        print(f'{folder / file}: largest difference to PyTorch on 5 images {difference:.1e} (allowed: {allowed:.1e})')
    wrong = [file for file, difference in differences.items() if not difference <= allowed]
    if wrong:
        console.message('error', f'{", ".join(wrong)} differs from PyTorch by more than {allowed:.1e}; do not use it')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(run(main))
