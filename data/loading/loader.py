"""Batches from worker processes. If workers die or hang, no sample is lost or repeated, and the run can be saved."""
import multiprocessing.connection
import os
import signal
import time
import weakref

import torch
from torch.utils.data import DataLoader

from util.console import warn
from util.errors import ResourceError, UserError
from util.machine.signals import ignore_signals, signals_blocked

from .messages import Messages, MessageSampler, batches_of
from .sampler import EpochSampler, chunks
from .workers import (
    PREFETCH,
    SHARED_MEMORY,
    how_it_ended,
    is_shm_error,
    open_images,
    time_limit,
    without_sigchld_errors,
    workers_that_fit_shm,
)

SECONDS_BETWEEN_DEATHS = 60
SECONDS_TO_DIE = 1          # a dying process closes its pipes, which raises an error here, a moment before it is dead
LESS_MEMORY = 'use fewer --num_threads (0: no worker processes), or give this run more memory'


class Loader:
    """An iterable of batches; `sampler.set_epoch(epoch, start)` chooses which.

    A sample depends on (seed, epoch, index) only, so new workers continue exactly where dead ones stopped. Raises a
    `ResourceError` if workers die twice within a minute, or if no batch arrives for `timeout` seconds (0: no limit).
    """

    samples_per_message = 8     # receiving a message costs the main process as much as receiving a sample
    messages_per_worker = 8     # in an epoch, at least: with fewer, some workers would have nothing to do

    def __init__(self, dataset, sampler: EpochSampler, num_threads: int, timeout: float, pin_memory: bool):
        self.dataset = dataset
        self.sampler = sampler
        self.timeout = timeout
        self.pin_memory = pin_memory
        self.n_workers = min(num_threads, len(self), os.cpu_count() or 1)
        self.batches_per_message = 1
        self.loader = None          # the DataLoader, once it is needed
        self.messages = None        # its iterator
        self.last_death = None

    def __len__(self):
        return self.sampler.n_batches

    def __iter__(self):
        start = self.sampler.start
        try:
            yield from self.batches()
        finally:
            self.sampler.start = start

    def epoch(self, epoch: int, start: int = 0, accumulate: int = 1):
        """The batches of an epoch, without its first `start` samples; `accumulate` of them together as 'parts'."""
        self.sampler.set_epoch(epoch, start=start)
        return grouped(self, accumulate)

    def batches(self):
        """The batches from `sampler.start` on, which moves on with them, so that new workers continue from there."""
        while True:
            try:
                with time_limit(self.timeout, self.give_up):
                    batches = self.begin()
                while (batch := self.next_of(batches)) is not None:
                    yield batch
                return
            except (RuntimeError, OSError, EOFError, MemoryError) as error:
                self.recover(error)
                if not len(self.sampler):
                    return

    def begin(self):
        """An iterator over the batches of the epoch; the workers of the last epoch are used again."""
        if self.loader is None:
            self.loader = self.create_loader()
        before = self.messages
        with without_sigchld_errors(), signals_blocked():
            self.messages = iter(self.loader)
        if self.messages is not before:
            # As part of a cycle, such as that of a traceback, it would wait 5 s and more for each worker: Python closes
            # the queues to them first.
            weakref.finalize(self.messages, kill_own_workers, self.workers, os.getpid()).atexit = False
        return batches_of(self.messages)

    def create_loader(self) -> DataLoader:
        self.n_workers, self.batches_per_message = workers_that_fit_shm(
            self.n_workers, self.wanted_batches_per_message(), self.batch_bytes())
        return DataLoader(
            Messages(self.dataset), batch_size=None, sampler=MessageSampler(self.sampler, self.batches_per_message),
            num_workers=self.n_workers, collate_fn=unchanged, pin_memory=self.pin_memory,
            persistent_workers=self.n_workers > 0, prefetch_factor=PREFETCH if self.n_workers else None,
            worker_init_fn=ignore_signals,
            generator=torch.Generator())    # DataLoader draws a seed per epoch: not from the generator of the training

    def wanted_batches_per_message(self) -> int:
        if not self.n_workers:
            return 1
        samples = min(self.samples_per_message, self.sampler.size // (self.n_workers * self.messages_per_worker))
        return max(1, samples // self.sampler.batch_size)

    def batch_bytes(self) -> int:
        """Memory of the tensors of a batch; 0 if there is no sample or it cannot be read."""
        try:
            sample = self.dataset[next(iter(self.sampler))] if self.n_workers else {}
        except (StopIteration, UserError):      # it is reported when its batch is requested
            return 0
        tensors = [value for value in sample.values() if torch.is_tensor(value)] if isinstance(sample, dict) else []
        return self.sampler.batch_size * sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def next_of(self, batches) -> dict | None:
        with time_limit(self.timeout, self.give_up):
            batch = next(batches, None)
        if batch is not None:
            self.sampler.advance()
            for message in batch.pop('replaced', ()):
                self.dataset.bad_images.add_replaced(message, self.dataset.n_files or len(self.dataset))
        return batch

    # ---- failures

    @property
    def workers(self) -> list:
        """The worker processes. DataLoader has no public way to them."""
        return getattr(self.messages, '_workers', [])

    def dead_workers(self) -> dict[int, int]:
        """{pid: exit code} of the workers that died."""
        if not self.workers:
            return {}
        closed = multiprocessing.connection.wait([worker.sentinel for worker in self.workers], SECONDS_TO_DIE)
        dead = [worker for worker in self.workers if worker.sentinel in closed]
        for worker in dead:
            worker.join()
        return {worker.pid: worker.exitcode for worker in dead}

    def end_workers(self):
        for worker in self.workers:
            worker.kill()
        self.messages = None
        self.loader = None      # with its iterator, DataLoader gives up its queues and threads

    def recover(self, error: Exception):
        """Prepare to continue if workers failed; raise a `ResourceError`, or `error` again, if that is no use."""
        dead = self.dead_workers()
        self.end_workers()
        if isinstance(error, MemoryError):
            raise ResourceError(f'out of memory while loading images; {LESS_MEMORY}')
        if self.n_workers and (-signal.SIGBUS in dead.values() or is_shm_error(error)):
            self.n_workers = 0
            warn(f'{SHARED_MEMORY} is full; from now on the main process loads the images. With docker, add '
                 f'--shm-size=1g')
        elif not dead:
            raise error
        else:
            self.after_deaths(', '.join(f'pid {pid}: {how_it_ended(code)}' for pid, code in dead.items()))

    def after_deaths(self, dead: str):
        now = time.monotonic()
        if self.last_death is not None and now - self.last_death < SECONDS_BETWEEN_DEATHS:
            raise ResourceError(f'worker processes that load images died twice within {SECONDS_BETWEEN_DEATHS} seconds '
                                f'({dead}), probably because memory is short; {LESS_MEMORY}')
        self.last_death = now
        warn(f'a worker process that loads images died ({dead}); new ones continue with the next image. If memory is '
             f'short, {LESS_MEMORY}')

    def give_up(self):
        """Called when no batch has arrived in time."""
        pids = [worker.pid for worker in self.workers] or [os.getpid()]
        paths = [path for pid in pids for path in open_images(pid)]
        self.end_workers()
        reading = f' (reading {", ".join(paths[:3])})' if paths else ''
        raise ResourceError(f'no image arrived for {self.timeout:g} seconds{reading}; check the disk or server of '
                            f'{os.path.abspath(self.dataset.dataroot)}, or wait longer with --data_timeout N')


def kill_own_workers(workers: list, owner: int):
    """In the process that started them: others have copies of the objects."""
    for worker in workers if os.getpid() == owner else ():
        worker.kill()


def unchanged(message):
    return message


def grouped(batches, parts: int):
    """The batches, or with --accumulate that many of them together as 'parts'."""
    if parts == 1:
        yield from batches
        return
    for group in chunks(batches, parts):
        paths = {name: [path for batch in group for path in batch.get(name, ())] for name in ('A_paths', 'B_paths')}
        yield {'parts': group, **paths}
