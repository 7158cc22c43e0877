"""Batches from cached images; images that are not cached yet are read ahead by threads."""
import os
from collections import deque
from multiprocessing.pool import ThreadPool

import torch

from .collate import collate
from .loader import Loader

BATCHES_AHEAD = 4       # of each thread


class CachedLoader(Loader):
    """As `Loader`, without worker processes: samples are cropped from the images in `dataset.cache`.

    Threads are used until an epoch finds all its images in the cache.
    """

    def __init__(self, dataset, sampler, num_threads: int, timeout: float, pin_memory: bool):
        super().__init__(dataset, sampler, 0, timeout, pin_memory and dataset.cache.device.type == 'cpu')
        self.threads = min(num_threads, os.cpu_count() or 1)
        self.misses = -1        # of the cache when the last epoch began

    def begin(self):
        key_batches = self.sampler.batches()
        all_cached = self.misses == self.dataset.cache.misses
        self.misses = self.dataset.cache.misses
        if all_cached or not self.threads:
            return map(self.batch, key_batches)
        return self.read_ahead(key_batches)

    def batch(self, keys: list) -> dict:
        batch = collate([self.dataset[key] for key in keys])
        if not self.pin_memory:
            return batch
        return {name: value.pin_memory() if torch.is_tensor(value) else value for name, value in batch.items()}

    def read_ahead(self, key_batches):
        """Batches in order, made by threads. They are daemons, so they do not keep the program from exiting."""
        pool = ThreadPool(self.threads)
        waiting = deque()
        try:
            for keys in key_batches:
                waiting.append(pool.apply_async(self.batch, (keys,)))
                if len(waiting) > BATCHES_AHEAD * self.threads:
                    yield waiting.popleft().get()
            while waiting:
                yield waiting.popleft().get()
        finally:
            pool.terminate()
