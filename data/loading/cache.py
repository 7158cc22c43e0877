"""Images that are kept between epochs (--loader), decoded and resized, in main memory or on the GPU."""
import os
import threading
from pathlib import Path

import torch

from data.transforms import to_levels
from util.console import say, warn
from util.machine.launch import local_world_size

BLOCK = 64 * 2**20          # bytes taken at a time: many small pieces would be too many for the system
RESERVE = 2**30             # bytes that stay free, whatever else happens
UNKNOWN = 4 * 2**30         # free memory where the system does not tell
# shares of the free memory: where `auto` chooses a place, and what is filled at most
COMFORT = {'cache_gpu': 0.4, 'cache_ram': 0.5}
MOST = {'cache_gpu': 0.6, 'cache_ram': 0.8}


class Cache:
    """What `dataset.kept` was asked for, as levels (C, H, W) on `device`, up to `limit` bytes; then it is full.

    Nothing is thrown out, and files that change on the disk are not noticed. Several threads may ask.
    """

    def __init__(self, device: torch.device, limit: float):
        self.device, self.limit = device, limit
        self.entries, self.lock = {}, threading.Lock()
        self.size = self.misses = self.used = 0
        self.block = torch.empty(0, dtype=torch.uint8, device=device)
        self.full = False

    def get(self, read, *args) -> tuple[torch.Tensor, ...]:
        """`read(*args)` as levels, called for the first time only."""
        key = (read.__name__, *args)
        found = self.entries.get(key)
        if found is None:
            images = [to_levels(image).contiguous() for image in read(*args)]
            with self.lock:
                found = self.entries.get(key) or self.keep(key, images)
        return found

    def keep(self, key, images: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        self.misses += 1
        room = None if self.full else self.room(sum(image.numel() for image in images))
        if room is None:
            return tuple(image.to(self.device) for image in images)
        places = room.split([image.numel() for image in images])
        self.entries[key] = tuple(place.view(image.shape).copy_(image)
                                  for place, image in zip(places, images, strict=True))
        return self.entries[key]

    def room(self, size: int) -> torch.Tensor | None:
        """The next `size` bytes, or None when there are no more."""
        if self.used + size > len(self.block):
            wanted = max(BLOCK, size)
            if self.size + size > self.limit or free_memory(self.device) - wanted < RESERVE:
                self.full = True
                warn(f'--loader: {self.size / 2**30:.1f} GiB of images are kept and no more fit into the memory of '
                     f'{self.device}; the others are read anew each time')
                return None
            self.block, self.used = torch.empty(wanted, dtype=torch.uint8, device=self.device), 0
        self.used += size
        self.size += size
        return self.block[self.used - size:self.used]


def create_cache(wanted: str, dataset, device: torch.device) -> Cache | None:
    """The cache that --loader asks for and that `device` and `dataset` allow, told in one line; None: no cache."""
    main = torch.device('cpu')
    devices = {'cache_gpu': device, 'cache_ram': main}
    if device.type == 'cpu' or not dataset.any_device:
        devices.pop('cache_gpu')
    if wanted == 'cache_gpu' and wanted not in devices:
        why = 'there is no GPU' if device.type == 'cpu' else f'{type(dataset).__name__} prepares images on the CPU'
        warn(f'--loader cache_gpu: {why}; going on with cache_ram')
        wanted = 'cache_ram'
    free = {name: free_memory(place) for name, place in devices.items()}
    if wanted == 'auto':
        wanted = next((name for name in devices if 0 < dataset.n_bytes < COMFORT[name] * free[name]), 'stream')
    if wanted == 'stream':
        return None
    say(f'--loader {wanted}: {dataset.n_bytes / 2**30:.2f} GiB of resized images, {free[wanted] / 2**30:.1f} GiB free')
    return Cache(devices[wanted], MOST[wanted] * free[wanted])


def free_memory(device: torch.device) -> int:
    """Bytes that can be had: of a GPU, or this process's share of the main memory and the limits of the container."""
    if device.type != 'cpu':
        return torch.get_device_module(device).mem_get_info(device)[0]
    return min([free_main_memory(), *control_group_rooms()]) // local_world_size()


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


def control_group_rooms(root='/sys/fs/cgroup', groups='/proc/self/cgroup') -> list[int]:
    """Bytes left below each memory limit of the control groups (versions 2 and 1) this process is in."""
    try:
        lines = [line.split(':', 2) for line in Path(groups).read_text(encoding='utf-8').splitlines()]
    except OSError:
        return []
    rooms = []
    for _, controllers, path in lines:
        if controllers not in ('', 'memory'):
            continue
        top, names = (Path(root, 'memory'), ('memory.limit_in_bytes', 'memory.usage_in_bytes')) if controllers else (
            Path(root), ('memory.max', 'memory.current'))
        place = top / path.lstrip('/')
        for folder in (place, *(parent for parent in place.parents if parent.is_relative_to(top))):
            rooms += room_below(folder, *names)
    return rooms


def room_below(folder: Path, limit_name: str, usage_name: str) -> list[int]:
    """[bytes left], file cache that can be dropped counted as free; [] where there is no limit."""
    try:
        limit, usage = (int((folder / name).read_text(encoding='utf-8')) for name in (limit_name, usage_name))
        statistics = dict(line.split() for line in (folder / 'memory.stat').read_text(encoding='utf-8').splitlines())
    except (OSError, ValueError):
        return []
    return [max(0, limit - usage + int(statistics.get('inactive_file', 0)))]
