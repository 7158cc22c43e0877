"""Measurements of scripts/benchmark.py: time of alternating runs, memory, FLOPs, and test images to load."""
import itertools
import random
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode


class Clock:
    """Wall time on a GPU; CPU time of this process on a CPU, which other programs do not affect."""

    def __init__(self, device: torch.device):
        self.device = device
        self.backend = None if device.type == 'cpu' else torch.get_device_module(device)

    def seconds(self, work) -> float:
        if self.backend is None:
            start = time.process_time()
            work()
            return time.process_time() - start
        self.backend.synchronize()
        start = time.perf_counter()
        work()
        self.backend.synchronize()
        return time.perf_counter() - start

    def peak_of(self, work) -> float | None:
        """Peak GPU memory in GiB while `work` runs, including what is allocated before; None on a CPU."""
        if self.backend is None:
            work()
            return None
        self.backend.reset_peak_memory_stats()
        work()
        self.backend.synchronize()
        return self.backend.max_memory_allocated() / 2**30


def repeat(work, times: int):
    for _ in range(times):
        work()


def alternate(clock: Clock, works: dict, rounds: int, repeats: int = 1) -> dict[str, list[float]]:
    """Seconds of each work in each round; in every round each runs once, in random order.

    On a CPU each runs once more before it is measured, so that caches and memory hold its own data.
    """
    times, order = {name: [] for name in works}, random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(works), len(works)):
            if clock.backend is None:
                works[name]()
            times[name].append(clock.seconds(partial(repeat, works[name], repeats)) / repeats)
    return times


def summary(times: list[float], plain: list[float]) -> dict:
    """Median, lowest and highest seconds, and speed-up over `plain` in the same rounds."""
    ratios = [b / a for a, b in zip(times, plain, strict=True)]
    return dict(seconds=statistics.median(times), fastest=min(times), slowest=max(times),
                speedup=statistics.median(ratios), speedup_lowest=min(ratios), speedup_highest=max(ratios))


def flops_of(work) -> int:
    """Floating point operations of `work`, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def matrix_rate(clock: Clock, size: int, dtype: torch.dtype) -> float:
    """FLOP/s of a matrix product, the best of ten: the roof of the roofline."""
    a, b = torch.randn(2, size, size, device=clock.device).to(dtype)
    torch.mm(a, b)
    return 2 * size**3 / min(clock.seconds(lambda: torch.mm(a, b)) for _ in range(10))


# ---- loading images

def write_images(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Write smooth random JPEG images to `<folder>/train`, `trainA` and `trainB`; returns the folder."""
    rng = np.random.default_rng(0)
    for name in ('train', 'trainA', 'trainB'):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            wide = (2 * size[0], size[1]) if name == 'train' else size
            coarse.resize(wide, Image.Resampling.BICUBIC).save(folder / name / f'{index}.jpg', quality=90)
    return folder


def plain_pairs(folder: Path, load_size: int, crop_size: int):
    """A function that loads the next aligned pair the usual way: Pillow, then float arithmetic."""
    paths = itertools.cycle(sorted((folder / 'train').iterdir()))

    def prepared(image, left, top, mirrored):
        image = image.resize((load_size, load_size), Image.Resampling.BICUBIC)
        image = image.crop((left, top, left + crop_size, top + crop_size))
        if mirrored:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return tensor.sub(0.5).div(0.5)

    def load():
        pair = Image.open(next(paths)).convert('RGB')
        width, height = pair.size
        left, top = (random.randint(0, load_size - crop_size) for _ in range(2))
        mirrored = random.random() > 0.5
        halves = pair.crop((0, 0, width // 2, height)), pair.crop((width // 2, 0, width, height))
        return [prepared(half, left, top, mirrored) for half in halves]
    return load
