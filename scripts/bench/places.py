"""Where images are: how a training starts on very many files, and how fast files and tars are read.

    python scripts/benchmark_listing.py --names 1000000 --folder /tmp/names

The files are hard links to a few small JPEGs, in sub-folders of <folder>/train. Each start is a process of its own. The
first start finds no stored list, and the second one that of the first.
"""
import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from util.cli import Parser
from util.places import files

LINKS = 60_000      # to one file; file systems allow about 65,000
READ = 20_000       # names that a worker looks at


def make_names(folder: Path, count: int):
    """`count` image files in sub-folders, if they are not there yet."""
    if (folder / name_of(count - 1)).exists():
        return
    rng = np.random.default_rng(0)
    for first in range(0, count, LINKS):
        (folder / name_of(first)).parent.mkdir(parents=True, exist_ok=True)
        source = folder.parent / f'source_{first}.jpg'
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(source)
        for number in range(first, min(count, first + LINKS)):
            os.link(source, folder / name_of(number))


def name_of(number: int) -> str:
    return f'part_{number // LINKS}/img_{number}.jpg'


def memory(field: str, pid='self') -> float:
    """MB of a process, by /proc/<pid>/smaps_rollup."""
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='utf-8').splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def start(folder: Path) -> dict:
    """One start: seconds until samples can be read, and MB of memory of this process and of a worker."""
    import torch  # it takes seconds to import, whatever the number of files

    import data
    from data.loading.sampler import EpochSampler
    from options import TrainOptions
    from util.console import Console
    Console().attach()
    torch.set_num_threads(1)
    words = '--model colorization --name x --load_size 32 --crop_size 32 --netG unet_32 --gpu_ids -1 --seed 1'
    opt = TrainOptions().parse(['--dataroot', str(folder), *words.split()])
    before = memory('Private')
    begin, cpu = time.monotonic(), time.process_time()
    dataset = data.create_dataset(opt)
    sampler = EpochSampler(len(dataset), True, 1)
    next(iter(sampler))
    seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        rng = random.Random(0)
        first = memory('Private')
        for _ in range(READ):
            str(dataset.paths[rng.randrange(len(dataset))])
        os.write(write_end, json.dumps(memory('Private') - first).encode())
        os._exit(0)
    worker = json.loads(os.read(read_end, 100))
    return dict(files=len(dataset), seconds=seconds, cpu=cpu, peak=peak, main=memory('Private') - before, worker=worker)


def measure(folder: Path, starts: int = 2) -> list[dict]:
    """Starts in processes of their own; the first one finds no cache."""
    caches = folder / f'caches_{time.time_ns()}'
    found = []
    for _ in range(starts):
        done = subprocess.run([sys.executable, sys.argv[0], '--start', str(folder)], check=True, stdout=subprocess.PIPE,
                              env={**os.environ, 'XDG_CACHE_HOME': str(caches)})
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


# ---- files against tars

def drop_from_memory(paths: list[str]):
    """Let the system forget the content of files, so that the disk is read; what it knows of folders stays."""
    for path in paths:
        with open(path, 'rb') as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_places(places: dict[str, Path], open_dataset, workers: list[int], rounds: int) -> list[dict]:
    """Seconds of an epoch from each place, {'files': folder, 'tars': folder}, in alternating rounds, cold and warm.

    0 workers: only the bytes are read, in the order of an epoch, by one process.
    """
    datasets = {name: open_dataset(place) for name, place in places.items()}
    stored = {name: [str(path) for path in place.rglob('*') if path.is_file()] for name, place in places.items()}
    rows = []
    for count in workers:
        works = {name: Epoch(dataset, count) for name, dataset in datasets.items()}
        for work in works.values():
            work()
        for state in ('warm', 'cold'):
            times = {name: [] for name in works}
            for number in range(rounds):
                for name in list(works)[::-1 if number % 2 else 1]:
                    if state == 'cold':
                        drop_from_memory(stored[name])
                    begin = time.perf_counter()
                    works[name]()
                    times[name].append(time.perf_counter() - begin)
            rows.append(dict(workers=count, state=state, samples=len(datasets['files']), **times))
        for work in works.values():
            work.close()
    return rows


class Epoch:
    """Called: reads an epoch of a dataset, always in the same order."""

    def __init__(self, dataset, workers: int):
        from data.loading.loader import Loader
        from data.loading.sampler import EpochSampler
        self.dataset = dataset
        self.loader = Loader(dataset, EpochSampler(len(dataset), True, 1), workers, 0, False)
        self.loader.n_workers = workers     # also more than there are cores

    def __call__(self):
        if self.loader.n_workers:
            for _ in self.loader:
                pass
            return
        for index, _ in self.loader.sampler:
            with files.open_file(self.dataset.paths[index]) as file:
                file.read()

    def close(self):
        self.loader.end_workers()


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('--names', type=int, default=100_000, help='number of files')
    parser.add_argument('--folder', type=Path, default=Path('names'), help='where they are made')
    parser.add_argument('--start', type=Path, help=argparse.SUPPRESS)
    opt = parser.parse_args(argv)
    if opt.start:
        print(json.dumps(start(opt.start)))
        return 0
    make_names(opt.folder / 'train', opt.names)
    for number, row in enumerate(measure(opt.folder), 1):
        print(f'start {number}: {row["files"]} files, {row["seconds"]:.1f} s ({row["cpu"]:.1f} s of the processor), '
              f'main process {row["main"]:.0f} MB more than before (peak {row["peak"]:.0f} MB), each worker process '
              f'{row["worker"]:.1f} MB')
    return 0

