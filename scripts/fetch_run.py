"""Get a run from object storage, where train.py --copy_to URL puts its checkpoints, to resume or use it here.

    python train.py --dataroot ./datasets/maps --name maps --model cyclegan --copy_to s3://bucket/maps
    python scripts/fetch_run.py s3://bucket/maps --name maps
    python train.py --name maps --continue_train
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.checkpoint import copies
from util.checkpoint.lock import Lock
from util.cli import Parser, run
from util.errors import UserError


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('url', help='the folder that was --copy_to of train.py; what fsspec reads, such as s3://, gs://')
    parser.add_argument('--name', required=True, help='name of the run here')
    parser.add_argument('--checkpoints_dir', type=Path, default=Path('checkpoints'))
    parser.add_argument('--if_exists', action='store_true', help='exit code 0 if nothing has been copied yet')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def main(argv, console):
    opt = parse(argv)
    folder, url = opt.checkpoints_dir / opt.name, opt.url.rstrip('/')
    try:
        there = copies.sets_at(url)
        if opt.if_exists and not there:
            print(f'{url} holds no checkpoint yet')
            return
        with Lock(folder) as lock:
            lock.acquire()
            label = copies.download(url, folder)
    except OSError as error:
        raise UserError(f'{url} cannot be read: {error}') from None
    print(f'{label} is in {folder.absolute()}; to go on: python train.py --name {opt.name} --checkpoints_dir '
          f'{opt.checkpoints_dir} --continue_train')


if __name__ == '__main__':
    sys.exit(run(main))
