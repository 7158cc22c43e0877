"""The order of the samples in an epoch, and the seed of the augmentation of each."""
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import torch

from util.machine.seeding import derive_seed


class EpochSampler:
    """Yields (index, seed); both depend on (seed, epoch) only, so an interrupted epoch can be continued.

    With several processes, process `rank` gets the `rank`-th part of every `global_batch_size` samples. All processes
    have the same number of batches: one that has no sample left for the last batch repeats one, which does not count.
    An update of `update_size` samples that full batches do not make up ends with a smaller one, as an epoch does.
    """

    def __init__(self, size: int, shuffle: bool, seed: int, batch_size: int = 1, rank: int = 0, processes: int = 1,
                 update_size: int = 0):
        self.size = size
        self.shuffle = shuffle
        self.seed = seed
        self.batch_size = batch_size
        self.rank = rank
        self.global_batch_size = processes * batch_size
        self.update_size = update_size or self.global_batch_size
        self.set_epoch(1)

    def set_epoch(self, epoch: int, start: int = 0):
        """Choose the epoch; its first `start` samples are skipped, as they were used before an interruption."""
        self.epoch = epoch
        self.start = self.first_update = start

    @property
    def n_batches(self) -> int:
        """Number of batches from `start` on."""
        return self.count(lambda samples: -(-samples // self.global_batch_size))

    def __len__(self):
        """Number of samples of this process from `start` on."""
        def held(samples):
            full_batches, rest = divmod(samples, self.global_batch_size)
            last_batch = min(self.batch_size, max(1, rest - self.rank * self.batch_size)) if rest else 0
            return full_batches * self.batch_size + last_batch
        return self.count(held)

    def count(self, of_update) -> int:
        """Sum over the updates from `start` on; `of_update(n)` is the value of one with n samples."""
        def until(end):
            full_updates, rest = divmod(max(0, end - self.first_update), self.update_size)
            return full_updates * of_update(self.update_size) + of_update(rest)
        return max(0, until(self.size) - until(self.start))

    def end_of(self, begin: int) -> int:
        """Where the batch of all processes that begins with sample `begin` of the order ends."""
        end_of_update = begin + self.update_size - (begin - self.first_update) % self.update_size
        return min(begin + self.global_batch_size, end_of_update, self.size)

    def advance(self):
        """Skip one batch."""
        self.start = self.end_of(self.start)

    def __iter__(self):
        return chain.from_iterable(self.batches())

    def batches(self) -> Iterator[list[tuple[int, int]]]:
        order = torch.arange(self.size)
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
            order = torch.randperm(self.size, generator=generator)
        first, begin = self.rank * self.batch_size, self.start
        while begin < self.size:
            end = self.end_of(begin)
            global_batch = order[begin:end].tolist()
            own = global_batch[first:first + self.batch_size] or global_batch[:1]
            yield [(index, derive_seed(self.seed, self.epoch, index)) for index in own]
            begin = end


def chunks(items: Iterable, size: int) -> Iterator[list]:
    """Lists of `size` items; the last one may be shorter."""
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk
