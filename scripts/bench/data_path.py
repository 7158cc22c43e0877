"""Measure what loading images costs: CPU time of one thread, with the methods alternating in one process.

    python scripts/benchmark_data.py --out docs/benchmarks/data

Pairs side by side in one 512x256 JPEG are resized to 286 and cropped to 256, as pix2pix does. `reference` does what the
original programs do. The files are drawn in a temporary folder, or taken from the folder `train` of --dataroot.
"""
import importlib
import json
import platform
import random
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps
from torch.utils.data import default_collate

from bench import measure, places
from bench.steps import processor
from data import create_dataset
from data.loading.cache import Cache
from data.loading.collate import collate
from data.loading.loader import Loader
from data.loading.sampler import EpochSampler
from options import TrainOptions
from util.cli import Parser
from util.images import as_numbers

LOAD, CROP = 286, 256
FILES = 2000            # of the comparison with tars
WORKERS = [0, 1, 2, 3, 4]


# ---- files, and the reference

def draw_pairs(folder: Path, count: int):
    """Write pairs with about as much detail as photos: noise of all scales, stronger for larger scales."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(count):
        image = np.full((256, 512, 3), 128.0)
        for side in (4, 8, 16, 32, 64, 128, 256):
            noise = Image.fromarray(rng.integers(0, 256, (side, 2 * side, 3), dtype=np.uint8))
            image += (np.asarray(noise.resize((512, 256), Image.Resampling.BICUBIC), float) - 128) * 1.5 / side**0.5
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f'{number:04}.jpg', quality=75)


def reference_numbers(image: Image.Image, draw) -> torch.Tensor:
    """Resize, crop, flip, convert and normalize, step by step."""
    image = image.resize((LOAD, LOAD), Image.Resampling.BICUBIC)
    image = image.crop((draw.x, draw.y, draw.x + CROP, draw.y + CROP))
    if draw.flip:
        image = ImageOps.mirror(image)
    tensor = torch.from_numpy(np.array(image, copy=True)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    mean = std = torch.full((3, 1, 1), 0.5)
    return tensor.clone().sub_(mean).div_(std)


def reference_batch(dataset, index: int, seed: int) -> dict:
    path = dataset.paths[index]
    pair = Image.open(path).convert('RGB')
    middle = pair.width // 2
    draw = dataset.prepare.draw((LOAD, LOAD), random.Random(seed))
    A = reference_numbers(pair.crop((0, 0, middle, pair.height)), draw)
    B = reference_numbers(pair.crop((middle, 0, *pair.size)), draw)
    return default_collate([{'A': A, 'B': B, 'A_paths': path, 'B_paths': path}])


def our_batch(dataset, index: int, seed: int) -> dict:
    return collate([dataset[index, seed]])


def normalized_batch(dataset, index: int, seed: int) -> dict:
    """With the normalization, which the GPU does if there is one."""
    batch = our_batch(dataset, index, seed)
    return {**batch, 'A': as_numbers(batch['A']), 'B': as_numbers(batch['B'])}


def open_dataset(root, **changes):
    opt = TrainOptions().parse(['--dataroot', str(root), '--model', 'pix2pix', '--seed', '1'])
    return create_dataset(opt.replace(**changes))


# ---- measuring

def alternate(functions: dict, rounds: int) -> dict:
    return measure.alternate(measure.Clock(torch.device('cpu')), functions, rounds)


def row(name: str, seconds: list[float], base: list[float], count: int, **more) -> dict:
    """Milliseconds per sample and speed-up over `base`: median and range of the rounds."""
    ratios = sorted(slow / fast for slow, fast in zip(base, seconds, strict=True))
    return dict(name=name, ms=1000 * median(seconds) / count, ms_range=[1000 * min(seconds) / count,
                1000 * max(seconds) / count], per_second=count / median(seconds), times=median(ratios),
                times_range=[ratios[0], ratios[-1]], **more)


def difference(batches, expected) -> str:
    """How the pixels differ from those of the reference."""
    apart = torch.cat([(as_numbers(ours[domain]) - theirs[domain]).abs().flatten()
                       for ours, theirs in zip(batches, expected, strict=True) for domain in 'AB'])
    if not apart.any():
        return 'equal'
    return f'{100 * (apart > 0).float().mean():.2g} % differ, by at most {round(apart.max().item() * 127.5)} levels'


def measure_pairs(root, rounds: int, count: int) -> list[dict]:
    """Batches of one pair, as the training gets them."""
    plain, cached = open_dataset(root), open_dataset(root)
    fast = open_dataset(root, fast_resize=True)
    cached.cache = Cache(torch.device('cpu'), float('inf'))
    ways = {'reference': (reference_batch, plain), 'stream': (our_batch, plain),
            'stream --fast_resize': (our_batch, fast), 'cached': (our_batch, cached),
            'cached, then the table on the CPU': (normalized_batch, cached)}
    keys = [(index % len(plain), index) for index in range(count)]
    batches = {name: lambda way=way, dataset=dataset: (way(dataset, *key) for key in keys)
               for name, (way, dataset) in ways.items()}
    times = alternate({name: lambda make=make: exhaust(make()) for name, make in batches.items()}, rounds)
    return [row(name, times[name], times['reference'], count, pixels=difference(make(), batches['reference']()))
            for name, make in batches.items()]


def measure_shards(root, rounds: int) -> list[dict]:
    """An epoch from the files in `root`/train and from tars of them."""
    import make_shards
    with tempfile.TemporaryDirectory() as folder:
        make_shards.main(['--dataroot', str(root), '--out', folder, '--images', '200'], None)
        rows = places.measure_places({'files': Path(root), 'tars': Path(folder)}, open_dataset, WORKERS, rounds)
    for row in rows:
        ratios = sorted(slow / fast for slow, fast in zip(row['files'], row['tars'], strict=True))
        row.update(times=median(ratios), times_range=[ratios[0], ratios[-1]])
    return rows


def exhaust(batches):
    """Drop each batch before the next one, as in training, so that its memory is reused."""
    for _ in batches:
        pass


def measure_decoders(root, rounds: int, count: int) -> list[dict]:
    """From the bytes of a JPEG to an RGB array, with the decoders that are installed."""
    import io
    files = [path.read_bytes() for path in sorted(Path(root, 'train').iterdir())[:count]]
    decoders = {'Pillow': lambda data: np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))}
    if simplejpeg := installed('simplejpeg'):
        decoders['simplejpeg'] = simplejpeg.decode_jpeg
    if torchvision_io := installed('torchvision.io'):
        decoders['torchvision'] = lambda data: torchvision_io.decode_jpeg(
            torch.frombuffer(bytearray(data), dtype=torch.uint8)).permute(1, 2, 0).numpy()
    times = alternate({name: lambda decode=decode: exhaust(decode(data) for data in files)
                       for name, decode in decoders.items()}, rounds)
    same = {name: all(np.array_equal(decode(data), decoders['Pillow'](data)) for data in files)
            for name, decode in decoders.items()}
    return [row(name, times[name], times['Pillow'], len(files), pixels='equal' if same[name] else 'differ')
            for name in decoders]


def installed(name: str):
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):
        return None


class ReadySamples:
    """Samples that cost nothing to make, to measure what sending them costs."""

    dataroot, n_files = '.', 0

    def __init__(self, count: int, dtype: torch.dtype):
        self.count = count
        self.sample = {name: torch.zeros(3, CROP, CROP, dtype=dtype) for name in 'AB'} | {'A_paths': '', 'B_paths': ''}

    def __len__(self):
        return self.count

    def __getitem__(self, key):
        return dict(self.sample)


def measure_messages(rounds: int, count: int) -> list[dict]:
    """CPU time of the main process to receive samples from one worker process, in batches of one."""
    kinds = {'float32, a batch in a message': (torch.float32, 1), 'uint8, a batch in a message': (torch.uint8, 1),
             'uint8, 8 batches in a message': (torch.uint8, 8)}
    loaders = {}
    for name, (dtype, size) in kinds.items():
        loaders[name] = Loader(ReadySamples(count, dtype), EpochSampler(count, shuffle=False, seed=1), num_threads=1,
                               timeout=0, pin_memory=False)
        loaders[name].samples_per_message = size
        exhaust(loaders[name])
    times = alternate({name: lambda loader=loader: exhaust(loader) for name, loader in loaders.items()}, rounds)
    for loader in loaders.values():
        loader.end_workers()
    first = next(iter(kinds))
    return [row(name, times[name], times[first], count) for name in kinds]


# ---- results

def measure_all(root, rounds: int = 9, count: int = 40, parts=('pairs', 'decoders', 'messages')) -> dict:
    """Measurements on the pairs in `root`/train, with one thread of torch."""
    works = {'pairs': lambda: measure_pairs(root, rounds, count),
             'decoders': lambda: measure_decoders(root, rounds, count),
             'messages': lambda: measure_messages(rounds, 10 * count), 'shards': lambda: measure_shards(root, rounds)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return dict(machine=dict(cpu=processor(), python=platform.python_version(), torch=torch.__version__,
                                 pillow=PIL.__version__), rounds=rounds, count=count,
                    **{part: works[part]() for part in parts})
    finally:
        torch.set_num_threads(threads)


TITLES = {'pairs': 'Aligned pairs: from the file to a batch of one pair',
          'decoders': 'Decoders: from the bytes of a JPEG to an array',
          'messages': 'Messages: time of the main process to receive a sample from a worker process'}


def as_markdown(results: dict) -> str:
    machine = ', '.join(f'{name} {value}' for name, value in results['machine'].items())
    lines = ['# Loading images', '', f'{machine}. CPU time of one thread: median of {results["rounds"]} alternating '
             f'rounds of {results["count"]} samples, with the range in brackets. Measured by '
             f'`python scripts/benchmark_data.py`.']
    for part, title in TITLES.items():
        if part not in results:
            continue
        lines += ['', f'## {title}', '', '| method | ms | per second | speed-up | pixels |', '|---|---|---|---|---|']
        for entry in results[part]:
            low, high = entry['ms_range']
            slow, fast = entry['times_range']
            lines.append(f'| {entry["name"]} | {entry["ms"]:.3f} [{low:.3f}, {high:.3f}] | {entry["per_second"]:.0f} | '
                         f'{entry["times"]:.2f} [{slow:.2f}, {fast:.2f}] | {entry.get("pixels", "")} |')
    if 'shards' in results:
        lines += shards_as_markdown(results['shards'])
    return '\n'.join(lines) + '\n'


def shards_as_markdown(rows: list[dict]) -> list[str]:
    lines = ['', '## An epoch from files and from tars', '',
             f'{rows[0]["samples"]} JPEGs of 512x256, and tars of 200 of them. Seconds on the clock: median of '
             f'{len(rows[0]["files"])} rounds, alternating. Cold: the content of all files is dropped from memory '
             f'before (`posix_fadvise`), not what the system knows of folders. Bytes only: one process reads them, and '
             f'decodes nothing. Measured by `python scripts/benchmark_data.py --parts shards`.',
             '', '| workers | | files | tars | files / tars |', '|---|---|---|---|---|']
    for row in rows:
        slow, fast = row['times_range']
        lines.append(f'| {row["workers"] or "bytes only"} | {row["state"]} | {median(row["files"]):.2f} s | '
                     f'{median(row["tars"]):.2f} s | {row["times"]:.2f} [{slow:.2f}, {fast:.2f}] |')
    return lines


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('--dataroot', help='folder with pairs side by side in its folder `train` (default: draw pairs)')
    parser.add_argument('--out', help='write <out>.json and <out>.md')
    parser.add_argument('--rounds', type=int, default=9, help='number of rounds (default: 9)')
    parser.add_argument('--count', type=int, default=40, help='samples per round (default: 40)')
    parser.add_argument('--parts', nargs='+', default=['pairs', 'decoders', 'messages'], choices=[*TITLES, 'shards'],
                        metavar='PART', help='what is measured: pairs, decoders, messages (default) or shards, which '
                                             'takes minutes; other results in <out>.json are kept')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        if not args.dataroot:
            draw_pairs(Path(folder, 'train'), FILES if 'shards' in args.parts else args.count)
        results = measure_all(args.dataroot or folder, args.rounds, args.count, args.parts)
    if args.out and Path(f'{args.out}.json').exists():
        results = {**json.loads(Path(f'{args.out}.json').read_text(encoding='utf-8')),
                   **{part: results[part] for part in args.parts}}
    text = as_markdown(results)
    print(text)
    if args.out:
        Path(f'{args.out}.json').write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
        Path(f'{args.out}.md').write_text(text, encoding='utf-8')
