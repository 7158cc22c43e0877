"""Get the browser files that visdom's page needs, for this machine or to carry to one without internet.

    python scripts/visdom_assets.py                              # into this user's cache
    python scripts/visdom_assets.py --out visdom_files           # into a folder, for another machine
    python scripts/visdom_assets.py --visdom_assets visdom_files # there: from the folder into the cache
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import run
from util.errors import UserError
from util.monitors.visdom_assets import ASSETS, LOGIN_ASSETS, assets_folder, complete, missing_assets, page_folder


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=page_folder(), help='where the files go (default: the cache)')
    parser.add_argument('--visdom_assets', metavar='DIR', help='take them, or the .tgz archives of npm, from a folder')
    parser.add_argument('--verbose', action='store_true', help='show where an error comes from')
    return parser.parse_args(argv)


def main(argv, console):
    opt = parse(argv)
    wanted = (*ASSETS, *LOGIN_ASSETS)
    problems = complete(opt.out, assets_folder(opt.visdom_assets), wanted)
    if missing_assets(opt.out, ASSETS):
        raise UserError(*(f'{problem}; get it by other means and name its folder with --visdom_assets DIR'
                          for problem in problems))
    login = '' if not missing_assets(opt.out, LOGIN_ASSETS) else f'; without {LOGIN_ASSETS[0].path} for the login page'
    print(f'{len(ASSETS)} files of the visdom page are in {opt.out.absolute()}{login}')


if __name__ == '__main__':
    sys.exit(run(main))
