"""How fast samples of each file type are loaded, and headers read: alternating rounds, CPU time of one thread."""
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
import torch
from PIL import Image

from data import create_dataset
from data.checking.headers import read_header
from options import TrainOptions
from util.cli import Parser

SIDE, IMAGES = 512, 20
WRITERS = {
    '8-bit JPEG': ('.jpg', lambda path, pixels: Image.fromarray(pixels).save(path, quality=92)),
    '8-bit PNG': ('.png', lambda path, pixels: Image.fromarray(pixels).save(path)),
    '16-bit TIFF': ('.tif', lambda path, pixels: tifffile.imwrite(path, pixels.astype(np.uint16) * 257)),
    'float TIFF': ('.tif', lambda path, pixels: tifffile.imwrite(path, pixels.astype(np.float32) / 255)),
    'NPY': ('.npy', lambda path, pixels: np.save(path, pixels.astype(np.uint16))),
}


def draw(root: Path, extension: str, write):
    rng = np.random.default_rng(0)
    for domain in ('trainA', 'trainB'):
        (root / domain).mkdir(parents=True)
        for index in range(IMAGES):
            coarse = Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
            pixels = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
            write(root / domain / f'{index}{extension}', pixels)


def dataset_of(root: Path):
    opt = TrainOptions().parse(['--dataroot', str(root), '--name', 'formats', '--checkpoints_dir', str(root / 'runs'),
                                '--gpu_ids', '-1'])
    return create_dataset(opt)


def milliseconds(function, calls) -> float:
    start = time.process_time()
    for call in calls:
        function(call)
    return 1000 * (time.process_time() - start) / len(calls)


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path, help='write the numbers as JSON')
    opt = parser.parse_args(argv)
    torch.set_num_threads(1)
    times = {name: {'sample': [], 'header': []} for name in WRITERS}
    with tempfile.TemporaryDirectory() as place:
        datasets, files = {}, {}
        for name, (extension, write) in WRITERS.items():
            root = Path(place) / name.replace(' ', '_')
            draw(root, extension, write)
            datasets[name] = dataset_of(root)
            files[name] = [str(path) for path in root.glob(f'*/*{extension}')]
        for _ in range(opt.rounds + 1):
            for name, dataset in datasets.items():
                times[name]['sample'].append(milliseconds(dataset.__getitem__, [(n % IMAGES, n) for n in range(40)]))
                times[name]['header'].append(milliseconds(read_header, 10 * files[name]))
    numbers = {}
    for name, kinds in times.items():
        numbers[name] = {kind: dict(median=round(statistics.median(values[1:]), 4), least=round(min(values[1:]), 4),
                                    most=round(max(values[1:]), 4)) for kind, values in kinds.items()}
        sample, header = numbers[name]['sample'], numbers[name]['header']
        print(f'{name:12} sample {sample["median"]:7.2f} ms ({sample["least"]:.2f} to {sample["most"]:.2f}), header '
              f'{1000 * header["median"]:6.1f} us ({1000 * header["least"]:.1f} to {1000 * header["most"]:.1f})')
    if opt.out:
        opt.out.write_text(json.dumps(numbers, indent=1) + '\n', encoding='utf-8')
    return 0
