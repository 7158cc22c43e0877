"""Get the browser files that visdom's page needs, for this machine or for one without internet.

    python scripts/visdom_assets.py                              # for the servers of this user
    python scripts/visdom_assets.py --out visdom_files           # into a folder, for another machine
    python scripts/visdom_assets.py --visdom_assets visdom_files # there: from that folder
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import Parser, run
from util.monitors.visdom_server import ENVIRONMENTS, complete


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('--out', type=Path, default=ENVIRONMENTS / 'page', help='where they go (~/.visdom/page)')
    parser.add_argument('--visdom_assets', default='', metavar='DIR', help='folder with them, or with the .tgz of npm')
    parser.add_argument('--verbose', action='store_true', help='print the traceback of an error')
    opt = parser.parse_args(argv)
    complete(opt.out, opt.visdom_assets)
    print(f'the browser files of visdom are in {opt.out.absolute()}')


if __name__ == '__main__':
    sys.exit(run(main))
