"""Show a run, under way or finished, on a visdom server: its curves, options and newest pictures.

    python scripts/replay_visdom.py maps_cyclegan --display_port 8097
"""

import argparse
import re
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from util.cli import run
from util.errors import UserError
from util.monitors.curves import read_jsonl
from util.monitors.visdom_board import VisdomBoard

SECONDS = 60
PICTURE = re.compile(r'epoch(\d+)_(.+)\.(?:png|jpg)')


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', metavar='NAME', help='name of the run')
    parser.add_argument('--checkpoints_dir', type=Path, default='./checkpoints', help='where runs are saved')
    parser.add_argument('--display_server', default='http://localhost', help='address of the visdom server')
    parser.add_argument('--display_port', type=int, default=8097, help='port of the visdom server')
    parser.add_argument('--display_env', default='', help='visdom environment (default: the name of the run)')
    parser.add_argument('--display_ncols', type=int, default=4, help='pictures in a row; 0: a window for each')
    parser.add_argument('--display_winsize', type=int, default=256, help='width of a picture')
    parser.add_argument('--display_log', action='store_true', help='losses on a logarithmic axis')
    parser.add_argument('--verbose', action='store_true', help='show where an error comes from')
    return parser.parse_args(argv)


def run_folder(opt) -> Path:
    folder = opt.checkpoints_dir / opt.name
    log = folder / 'losses.jsonl'
    if not log.is_file() or next(read_jsonl(log), None) is None:
        raise UserError(f'{log.absolute()} has no losses; correct NAME or --checkpoints_dir')
    return folder


def stored_options(folder) -> dict[str, str]:
    """The options of the run as its text file tells them."""
    path = folder / 'train_opt.txt'
    text = path.read_text(encoding='utf-8', errors='replace') if path.is_file() else ''
    lines = re.findall(r'^\s*(\w+): (.*)$', text, re.MULTILINE)
    return {name: value.partition('\t')[0].strip() for name, value in lines}


def newest_pictures(folder) -> tuple[int, dict[str, np.ndarray]]:
    """The newest epoch that has pictures on the run's page, and those: {label: H x W x 3 uint8}."""
    found = [(int(match[1]), match[2], path) for path in sorted((folder / 'web' / 'images').glob('epoch*'))
             if (match := PICTURE.fullmatch(path.name))]
    newest = max((epoch for epoch, *_ in found), default=0)
    return newest, {label: read(path) for epoch, label, path in found if epoch == newest}


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert('RGB'))


def main(argv, console):
    opt = parse(argv)
    folder, notices = run_folder(opt), []
    epoch, pictures = newest_pictures(folder)
    last = list(read_jsonl(folder / 'losses.jsonl'))[-1]
    board = VisdomBoard(
        opt.name, folder, stored_options(folder), server=opt.display_server, port=opt.display_port,
        env=opt.display_env, ncols=opt.display_ncols, winsize=opt.display_winsize, log_axis=opt.display_log,
        notify=notices.append)
    if pictures:
        board.images(SimpleNamespace(epoch=epoch, total_iters=last['total_iters']), pictures, 'train')
    if not board.close(SECONDS):
        raise UserError(f'{notices[-1].partition(" - ")[0] if notices else "the visdom server does not answer"}; '
                        f'start one with python scripts/visdom_server.py, or correct --display_port')
    print(notices[-1])


if __name__ == '__main__':
    sys.exit(run(main))
