"""Batches from worker processes that may die or hang: none lost, none twice, and the run can save before it ends."""
import contextlib
import errno
import itertools
import multiprocessing.connection
import os
import shutil
import signal
import threading
import time

import torch
from torch.utils.data import DataLoader

from data.image_folder import is_image
from util.console import warn
from util.errors import ResourceError, UserError
from util.machine.launch import local_world_size
from util.machine.signals import ignore_signals, signals_blocked

from .messages import Messages, MessageSampler, batches_of

SHARED_MEMORY = '/dev/shm'
PREFETCH = 2            # messages that each worker has ready
SAMPLES_PER_MESSAGE = 8     # a message costs the main process as much as a sample
MESSAGES_PER_WORKER = 8     # in an epoch, at least: else no worker has much to do, and the others wait
MOST_THREADS = 16           # of --num_threads auto
SECONDS_BETWEEN_DEATHS = 60
SECONDS_TO_DIE = 1          # from the first sign of a death to the death
CURE = 'use less --num_threads (0: no worker processes), or give this run more memory'


class Loader:
    """An iterable of batches; `sampler.set_epoch(epoch, start)` chooses which.

    What a sample is depends on (seed, epoch, index) alone, so new workers go on exactly where dead ones were.
    Raises a `ResourceError` when workers die again within a minute, or give nothing for `timeout` seconds (0: never).
    """

    def __init__(self, dataset, sampler, batch_size: int, num_threads: int, timeout: float, pin_memory: bool):
        self.dataset, self.sampler, self.batch_size = dataset, sampler, batch_size
        self.timeout, self.pin_memory = timeout, pin_memory
        self.n_workers = min(num_threads, len(self), os.cpu_count() or 1)
        self.batches_per_message = 1
        self.loader = self.last_death = None

    def __len__(self):
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self):
        start = self.sampler.start
        try:
            yield from self.batches()
        finally:
            self.sampler.start = start

    def batches(self):
        """The batches of the epoch from `sampler.start`, which moves on when workers are replaced."""
        given = 0
        while True:
            try:
                with self.time_limit():
                    iterator = self.begin()
                while True:
                    with self.time_limit():
                        batch = next(iterator, None)
                    if batch is None:
                        return
                    given += 1
                    self.tell(batch.pop('replaced', ()))
                    yield batch
            except (RuntimeError, OSError, EOFError, MemoryError) as error:
                self.sampler.start += given * self.batch_size * self.sampler.processes
                given = 0
                self.recover(error)
                if not len(self.sampler):
                    return

    def begin(self):
        """Start reading the epoch, with the workers of the last one if they are there."""
        if self.loader is None:
            self.n_workers, self.batches_per_message = self.that_fit(self.n_workers)
            sampler = MessageSampler(self.sampler, self.batch_size, self.batches_per_message)
            # a generator of its own: else every epoch would draw from, and change, the generator of the training
            self.loader = DataLoader(
                Messages(self.dataset), batch_size=None, sampler=sampler, num_workers=self.n_workers,
                collate_fn=as_it_is, pin_memory=self.pin_memory, persistent_workers=self.n_workers > 0,
                generator=torch.Generator(), prefetch_factor=PREFETCH if self.n_workers else None,
                worker_init_fn=ignore_signals)
        with deaths_as_return_values(), signals_blocked():
            return batches_of(iter(self.loader))

    def tell(self, replaced):
        for sentence in replaced:
            self.dataset.bad_images.replace(sentence, self.dataset.n_files or len(self.dataset))

    # ---- trouble

    @property
    def workers(self) -> list:
        return getattr(getattr(self.loader, '_iterator', None), '_workers', [])

    def dead_workers(self) -> dict[int, int]:
        """{pid: exit code}. A process that dies closes its connections, which may be the error, and then its sentinel;
        only afterwards it is dead."""
        closed = self.workers and multiprocessing.connection.wait([worker.sentinel for worker in self.workers],
                                                                  SECONDS_TO_DIE)
        dead = [worker for worker in self.workers if worker.sentinel in closed]
        for worker in dead:
            worker.join()
        return {worker.pid: worker.exitcode for worker in dead}

    def recover(self, error: Exception):
        """Get ready to go on after an error of the worker processes; other errors are raised again."""
        dead = self.dead_workers()
        self.end_workers()
        if isinstance(error, MemoryError):
            raise ResourceError(f'out of memory while loading images; {CURE}')
        if self.n_workers and (-signal.SIGBUS in dead.values() or is_about_shared_memory(error)):
            self.n_workers = 0
            warn(f'{SHARED_MEMORY} is full ({free_shared_memory()} MB free): images are loaded in the main process '
                 f'from here on; with docker add --shm-size=1g')
            return
        if not dead:
            raise error
        who = ', '.join(f'pid {pid} {how_it_ended(code)}' for pid, code in dead.items())
        now = time.monotonic()
        if self.last_death is not None and now - self.last_death < SECONDS_BETWEEN_DEATHS:
            raise ResourceError(f'processes that load images died twice within {SECONDS_BETWEEN_DEATHS} seconds '
                                f'({who}), probably for lack of memory; {CURE}')
        self.last_death = now
        warn(f'a process that loads images died ({who}); new ones go on with the next image. '
             f'If memory is short, {CURE}')

    def end_workers(self):
        workers, iterator = self.workers, getattr(self.loader, '_iterator', None)
        for worker in workers:
            worker.kill()
        if workers:
            iterator._shutdown_workers()
        self.loader = None

    def that_fit(self, wanted: int) -> tuple[int, int]:
        """As many workers, and batches in a message, as `SHARED_MEMORY` has room for, with a notice if it is little."""
        samples = self.sampler.size // max(1, wanted * MESSAGES_PER_WORKER)
        batches = max(1, min(SAMPLES_PER_MESSAGE, samples) // self.batch_size) if wanted else 1
        if not wanted or not os.path.isdir(SHARED_MEMORY):
            return wanted, batches
        try:
            batch = self.batch_size * bytes_of(self.dataset[next(iter(self.sampler))])
        except (StopIteration, UserError):
            return wanted, batches      # told when its turn comes
        free = shutil.disk_usage(SHARED_MEMORY).free
        room = int(0.8 * free / batch) if batch else (PREFETCH * wanted + 2) * batches
        workers = (room - 2) // PREFETCH
        if workers >= wanted:
            return wanted, max(1, min(batches, room // (PREFETCH * wanted + 2)))
        warn(f'{SHARED_MEMORY} has {free / 2**20:.1f} MB free, and {wanted} processes that load images need '
             f'{(PREFETCH * wanted + 2) * batch / 0.8 / 2**20:.1f} MB: {max(0, workers)} are used; with docker add '
             f'--shm-size=1g')
        return max(0, workers), 1

    @contextlib.contextmanager
    def time_limit(self):
        """A `ResourceError` if the work inside takes longer than `timeout`; only in the main thread, not on Windows.

        The alarm must ring twice, so that a program that was halted has half of the time left.
        """
        main = threading.current_thread() is threading.main_thread()
        if not (self.timeout and main and hasattr(signal, 'setitimer')):
            yield
            return
        rings = []
        before = signal.signal(signal.SIGALRM, lambda *_: self.give_up() if rings else rings.append(1))
        outer = signal.setitimer(signal.ITIMER_REAL, self.timeout / 2, self.timeout / 2)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *outer)
            signal.signal(signal.SIGALRM, before)

    def give_up(self):
        """Called while a read hangs."""
        pids = [worker.pid for worker in self.workers] or [os.getpid()]
        paths = [path for pid in pids for path in files_being_read(pid)]
        hanging = f' (being read: {", ".join(paths[:3])})' if paths else ''
        raise ResourceError(f'no image for {self.timeout:g} seconds{hanging}: is the disk or server of '
                            f'{os.path.abspath(self.dataset.dataroot)} alive? --data_timeout N waits longer')


def count_of_threads(num_threads: int | str) -> int:
    """--num_threads; auto: this process's share of the cores but one, which is for the training."""
    if num_threads != 'auto':
        return num_threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, min(MOST_THREADS, cores // local_world_size() - 1))


def as_it_is(message):
    return message


def updates_of(batches, parts: int):
    """What updates are made of: batches, or as many of them together as --accumulate says ('parts')."""
    if parts == 1:
        yield from batches
        return
    batches = iter(batches)
    while group := list(itertools.islice(batches, parts)):
        paths = {name: [path for batch in group for path in batch.get(name, ())] for name in ('A_paths', 'B_paths')}
        yield {'parts': group, **paths}


@contextlib.contextmanager
def deaths_as_return_values():
    """Torch raises an error wherever the program is when a worker dies, be it in a training step; here it must wait.

    Then the death is found when the next batch is asked for.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD) if main and hasattr(signal, 'SIGCHLD') else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGCHLD, before)


def bytes_of(sample) -> int:
    """Memory of the tensors of a sample."""
    values = sample.values() if isinstance(sample, dict) else ()
    return sum(value.numel() * value.element_size() for value in values if torch.is_tensor(value))


def is_about_shared_memory(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOSPC or 'shared memory' in str(error)


def free_shared_memory() -> str:
    return f'{shutil.disk_usage(SHARED_MEMORY).free / 2**20:.1f}' if os.path.isdir(SHARED_MEMORY) else '0'


def how_it_ended(code: int) -> str:
    """Of an exit code of multiprocessing, in words."""
    return f'was killed by {signal.Signals(-code).name}' if code < 0 else f'ended with exit code {code}'


def files_being_read(pid: int) -> list[str]:
    """Images that a process has open; Linux only."""
    links = []
    with contextlib.suppress(OSError):
        for entry in os.listdir(f'/proc/{pid}/fd'):
            with contextlib.suppress(OSError):      # closed meanwhile
                links.append(os.readlink(f'/proc/{pid}/fd/{entry}'))
    return sorted(link for link in links if is_image(os.path.basename(link)))
