"""The clocks and counters of scripts/benchmark.py: times of alternating runs, FLOPs, matrix rate, rate of loading."""
import random
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode


class Clock:
    """Seconds of a GPU, or seconds that this process computes on a CPU, which other programs do not lengthen."""

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
        """GiB that `work` needs at most, with all that is there; None on a CPU, which keeps no such account."""
        if self.backend is None:
            work()
            return None
        self.backend.reset_peak_memory_stats()
        work()
        self.backend.synchronize()
        return self.backend.max_memory_allocated() / 2**30


def alternate(clock: Clock, works: dict, rounds: int, repeats: int = 1) -> dict[str, list[float]]:
    """Seconds of each work in each round; in every round all of them run once, in a new order.

    On a CPU each has a turn before that does not count: what it finds in caches and memory is then its own.
    """
    times, order = {name: [] for name in works}, random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(works), len(works)):
            if clock.backend is None:
                works[name]()
            taken = clock.seconds(lambda work=works[name]: [work() for _ in range(repeats)])
            times[name].append(taken / repeats)
    return times


def summary(times: list[float], plain: list[float]) -> dict:
    """Median seconds with their spread, and how many times faster than `plain` in the same rounds."""
    ratios = [b / a for a, b in zip(times, plain, strict=True)]
    return dict(seconds=statistics.median(times), fastest=min(times), slowest=max(times),
                speedup=statistics.median(ratios), speedup_lowest=min(ratios), speedup_highest=max(ratios))


def flops_of(work) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def matrix_rate(clock: Clock, size: int) -> float:
    """FLOP/s of a bfloat16 matrix product, the best of some: the roof of the roofline."""
    a, b = torch.randn(2, size, size, device=clock.device).bfloat16()
    torch.mm(a, b)
    return 2 * size**3 / min(clock.seconds(lambda: torch.mm(a, b)) for _ in range(10))


# ---- loading images

def write_images(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Smooth random photographs as JPEG, in `<folder>/train`, `trainA` and `trainB`."""
    rng = np.random.default_rng(0)
    for name in ('train', 'trainA', 'trainB'):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            wide = (2 * size[0], size[1]) if name == 'train' else size
            coarse.resize(wide, Image.Resampling.BICUBIC).save(folder / name / f'{index}.jpg', quality=90)
    return folder


def plain_pairs(folder: Path, load_size: int, crop_size: int):
    """A function that loads one aligned pair after the other in the usual way: PIL, then float arithmetic."""
    paths, turn = sorted((folder / 'train').iterdir()), iter(range(10**9))

    def prepared(image, left, top, mirrored):
        image = image.resize((load_size, load_size), Image.Resampling.BICUBIC)
        image = image.crop((left, top, left + crop_size, top + crop_size))
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return tensor.sub(0.5).div(0.5)

    def load():
        pair = Image.open(paths[next(turn) % len(paths)]).convert('RGB')
        width, height = pair.size
        left, top = (random.randint(0, load_size - crop_size) for _ in range(2))
        mirrored = random.random() > 0.5
        halves = pair.crop((0, 0, width // 2, height)), pair.crop((width // 2, 0, width, height))
        return [prepared(half, left, top, mirrored) for half in halves]
    return load
