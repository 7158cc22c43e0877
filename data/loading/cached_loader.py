"""Batches of images that are kept in memory; those that are not there yet are read ahead by threads."""
import os
from collections import deque
from itertools import islice
from multiprocessing.pool import ThreadPool

import torch

from data.base_dataset import collate

from .loader import Loader

AHEAD = 4           # batches that each thread has read before they are asked for


class CachedLoader(Loader):
    """As `Loader`, without processes: samples are cut from what `dataset.cache` keeps.

    Threads help as long as the epoch before, or the first one, found something missing.
    """

    def __init__(self, dataset, sampler, batch_size: int, num_threads: int, timeout: float, pin_memory: bool):
        super().__init__(dataset, sampler, batch_size, 0, timeout, pin_memory and dataset.cache.device.type == 'cpu')
        self.threads = min(num_threads, os.cpu_count() or 1)
        self.misses = -1        # of the cache when the last epoch began

    def begin(self):
        """Start an epoch."""
        groups = iter(self.groups())
        complete, self.misses = self.misses == self.dataset.cache.misses, self.dataset.cache.misses
        return map(self.batch, groups) if complete or not self.threads else self.read_ahead(groups)

    def groups(self):
        """The keys of each batch."""
        keys = iter(self.sampler)
        while group := list(islice(keys, self.batch_size)):
            yield group

    def batch(self, keys: list) -> dict:
        batch = collate([self.dataset[key] for key in keys])
        if not self.pin_memory:
            return batch
        return {name: value.pin_memory() if torch.is_tensor(value) else value for name, value in batch.items()}

    def read_ahead(self, groups):
        """Batches in their order, made by threads; the threads do not keep the program from ending."""
        pool, waiting = ThreadPool(self.threads), deque()
        try:
            for keys in groups:
                waiting.append(pool.apply_async(self.batch, (keys,)))
                if len(waiting) > AHEAD * self.threads:
                    yield waiting.popleft().get()
            while waiting:
                yield waiting.popleft().get()
        finally:
            pool.terminate()
