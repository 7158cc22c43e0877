"""Images kept between epochs (--loader), decoded and resized, in main memory or on the GPU."""
import os
import threading
from pathlib import Path

import torch

from data.transforms import to_levels
from util.console import say, warn
from util.machine.launch import local_world_size

BLOCK = 64 * 2**20          # bytes per allocation: one allocation for each small image would be slow
ALIGNED = 8                 # bytes, for images of float32
RESERVE = 2**30             # bytes that always stay free
UNKNOWN = 4 * 2**30         # assumed free memory where the system does not report it
# shares of the free memory: up to which `auto` chooses a place, and how much is filled at most
AUTO_SHARE = {'cache_gpu': 0.4, 'cache_ram': 0.5}
MAX_SHARE = {'cache_gpu': 0.6, 'cache_ram': 0.8}


class Cache:
    """Results of `dataset.kept` as uint8 or float32 (C, H, W) on `device`, up to `limit` bytes. Thread-safe.

    Nothing is evicted: when the cache is full, further images are read each time. Files that change on disk are not
    noticed.
    """

    def __init__(self, device: torch.device, limit: float):
        self.device = device
        self.limit = limit
        self.entries = {}
        self.lock = threading.Lock()
        self.block = torch.empty(0, dtype=torch.uint8, device=device)
        self.used = 0       # bytes of `block`
        self.size = 0       # bytes of all entries
        self.misses = 0
        self.full = False

    def get(self, read, *args) -> tuple[torch.Tensor, ...]:
        """`read(*args)` as tensors; `read` is called once only, unless the cache is full."""
        key = (read.__name__, *args)
        found = self.entries.get(key)
        if found is None:
            images = [to_levels(image).contiguous() for image in read(*args)]
            with self.lock:
                found = self.entries.get(key) or self.add(key, images)
        return found

    def add(self, key: tuple, images: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        self.misses += 1
        sizes = [-(-image.nbytes // ALIGNED) * ALIGNED for image in images]
        memory = None if self.full else self.allocate(sum(sizes))
        if memory is None:
            return tuple(image.to(self.device) for image in images)
        self.entries[key] = tuple(part[:image.nbytes].view(image.dtype).view(image.shape).copy_(image)
                                  for part, image in zip(memory.split(sizes), images, strict=True))
        return self.entries[key]

    def allocate(self, size: int) -> torch.Tensor | None:
        """The next `size` bytes, or None if the cache is full."""
        if self.used + size > len(self.block):
            new_block = max(BLOCK, size)
            if self.size + size > self.limit or free_memory(self.device) - new_block < RESERVE:
                self.full = True
                warn(f'--loader: the cache on {self.device} is full with {self.size / 2**30:.1f} GiB of images; the '
                     f'other images are read in each epoch')
                return None
            self.block = torch.empty(new_block, dtype=torch.uint8, device=self.device)
            self.used = 0
        self.used += size
        self.size += size
        return self.block[self.used - size:self.used]


def create_cache(kind: str, n_bytes: int, any_device: bool, device: torch.device) -> Cache | None:
    """The cache for a value of --loader, announced in one line; None to stream.

    `n_bytes`: size of all resized images (0: unknown). `any_device`: the dataset can crop its images on a GPU.
    """
    devices = {'cache_gpu': device, 'cache_ram': torch.device('cpu')}
    if device.type == 'cpu' or not any_device:
        del devices['cache_gpu']
    if kind == 'cache_gpu' and kind not in devices:
        why = 'there is no GPU' if device.type == 'cpu' else 'this dataset prepares its images on the CPU'
        warn(f'--loader cache_gpu: {why}; using cache_ram instead')
        kind = 'cache_ram'
    free = {name: free_memory(place) for name, place in devices.items()}
    if kind == 'auto':
        kind = next((name for name in devices if 0 < n_bytes < AUTO_SHARE[name] * free[name]), 'stream')
    if kind == 'stream':
        return None
    say(f'--loader {kind}: {n_bytes / 2**30:.2f} GiB of resized images, {free[kind] / 2**30:.1f} GiB free')
    return Cache(devices[kind], MAX_SHARE[kind] * free[kind])


def free_memory(device: torch.device) -> int:
    """Free bytes of a GPU, or this process's share of what main memory and the limits of the container leave."""
    if device.type not in ('cpu', 'mps'):       # Apple's GPUs have the memory of the machine
        return torch.get_device_module(device).mem_get_info(device)[0]
    return min([free_main_memory(), *free_in_control_groups()]) // local_world_size()


def free_main_memory() -> int:
    try:
        lines = Path('/proc/meminfo').read_text(encoding='utf-8').splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith('MemAvailable'))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    except (AttributeError, ValueError, OSError):       # Windows, macOS
        return UNKNOWN


def free_in_control_groups(root='/sys/fs/cgroup', groups='/proc/self/cgroup') -> list[int]:
    """Bytes left under each memory limit of this process's control groups (cgroups, versions 1 and 2)."""
    try:
        lines = [line.split(':', 2) for line in Path(groups).read_text(encoding='utf-8').splitlines()]
    except OSError:
        return []
    free = []
    for _, controllers, path in lines:
        if controllers == 'memory':     # version 1
            top, names = Path(root, 'memory'), ('memory.limit_in_bytes', 'memory.usage_in_bytes')
        elif not controllers:           # version 2
            top, names = Path(root), ('memory.max', 'memory.current')
        else:
            continue
        group = top / path.lstrip('/')
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(top))):
            free += free_in_control_group(folder, *names)
    return free


def free_in_control_group(folder: Path, limit_name: str, usage_name: str) -> list[int]:
    """[bytes left], counting the file cache as free; [] where there is no limit."""
    try:
        limit = int((folder / limit_name).read_text(encoding='utf-8'))
        usage = int((folder / usage_name).read_text(encoding='utf-8'))
        statistics = dict(line.split() for line in (folder / 'memory.stat').read_text(encoding='utf-8').splitlines())
    except (OSError, ValueError):
        return []
    return [max(0, limit - usage + int(statistics.get('inactive_file', 0)))]
