"""The order of the samples in an epoch, and the seed of the augmentation of each."""
from collections.abc import Iterable, Iterator
from itertools import islice

import torch

from util.machine.seeding import derive_seed


class EpochSampler:
    """Yields (index, seed); both depend on (seed, epoch) only, so an interrupted epoch can be continued.

    With several processes, process `rank` gets the `rank`-th part of every `global_batch_size` samples. All processes
    have the same number of batches: one that has no sample left for the last batch repeats one, which does not count.
    """

    def __init__(self, size: int, shuffle: bool, seed: int, batch_size: int = 1, rank: int = 0, processes: int = 1):
        self.size = size
        self.shuffle = shuffle
        self.seed = seed
        self.batch_size = batch_size
        self.rank = rank
        self.global_batch_size = processes * batch_size
        self.epoch = 1
        self.start = 0

    def set_epoch(self, epoch: int, start: int = 0):
        """Choose the epoch; its first `start` samples are skipped, as they were used before an interruption."""
        self.epoch = epoch
        self.start = start

    def __len__(self):
        """Number of samples of this process."""
        full_batches, rest = divmod(max(0, self.size - self.start), self.global_batch_size)
        last_batch = min(self.batch_size, max(1, rest - self.rank * self.batch_size)) if rest else 0
        return full_batches * self.batch_size + last_batch

    def __iter__(self):
        order = range(self.size)
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
            order = torch.randperm(self.size, generator=generator).tolist()
        first = self.rank * self.batch_size
        for begin in range(self.start, self.size, self.global_batch_size):
            global_batch = order[begin:begin + self.global_batch_size]
            for index in global_batch[first:first + self.batch_size] or global_batch[:1]:
                yield index, derive_seed(self.seed, self.epoch, index)


def chunks(items: Iterable, size: int) -> Iterator[list]:
    """Lists of `size` items; the last one may be shorter."""
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk
