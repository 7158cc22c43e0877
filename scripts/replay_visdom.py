"""Show a run, in progress or finished, on a visdom server: its curves, options and newest images.

    python scripts/replay_visdom.py maps_cyclegan --display_port 8097
"""
import re
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from util.cli import Parser, run
from util.errors import UserError
from util.monitors.curves import read_jsonl
from util.monitors.live_page.page import epochs_with_images, image_file
from util.monitors.visdom import VisdomMonitor


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('name', metavar='NAME', help='name of the run')
    parser.add_argument('--checkpoints_dir', type=Path, default='./checkpoints', help='where runs are saved')
    parser.add_argument('--display_server', default='http://localhost', help='address of the visdom server')
    parser.add_argument('--display_port', type=int, default=8097, help='port of the visdom server')
    parser.add_argument('--display_env', default='', help='visdom environment (default: the name of the run)')
    parser.add_argument('--display_ncols', type=int, default=4, help='images per row; 0: a window for each')
    parser.add_argument('--display_winsize', type=int, default=256, help='width of an image')
    parser.add_argument('--display_log', action='store_true', help='losses on a logarithmic axis')
    parser.add_argument('--verbose', action='store_true', help='print the traceback of an error')
    opt, notices = parser.parse_args(argv), []
    folder = opt.checkpoints_dir / opt.name
    log, option_file = folder / 'losses.jsonl', folder / 'train_opt.txt'
    records = list(read_jsonl(log)) if log.is_file() else []
    if not records:
        raise UserError(f'{log.absolute()} has no losses; correct NAME or --checkpoints_dir')
    text = option_file.read_text(encoding='utf-8', errors='replace') if option_file.is_file() else ''
    options = dict(re.findall(r'^\s*(\w+): ([^\t\n]*?) *(?:\t.*)?$', text, re.MULTILINE))    # after a tab: the default
    given = re.findall(r'^\s*(\w+): .*\t\[default: ', text, re.MULTILINE)     # or changed
    history = [*records, *read_jsonl(log, what='metrics')]
    monitor = VisdomMonitor(opt.name, options, history, server=opt.display_server, port=opt.display_port,
                            env=opt.display_env, columns=opt.display_ncols, image_width=opt.display_winsize,
                            log_scale=opt.display_log, given=given, notify=notices.append)
    epochs, labels = epochs_with_images(folder / 'web' / 'images')
    if epochs:
        images = {label: np.array(Image.open(folder / 'web' / image_file(epochs[-1], label)).convert('RGB'))
                  for label in labels}
        monitor.images(SimpleNamespace(epoch=epochs[-1], total_iters=records[-1]['total_iters']), images, 'train')
    monitor.close()
    if not monitor.delivered:
        raise UserError(f'{notices[-1].partition(";")[0]}; start scripts/visdom_server.py, or correct --display_port')
    print(notices[-1])


if __name__ == '__main__':
    sys.exit(run(main))
