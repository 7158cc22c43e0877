"""Worker processes of the loader: how many, what their shared memory holds, and what happened to them."""
import contextlib
import errno
import os
import shutil
import signal
import threading

from data.image_folder import is_image
from util.console import warn
from util.machine.launch import local_world_size

SHARED_MEMORY = '/dev/shm'
SHARE_OF_SHARED_MEMORY = 0.8
PREFETCH = 2                # messages that each worker prepares ahead
MAX_WORKERS = 16            # of --num_threads auto


def worker_count(num_threads: int | str) -> int:
    """The number for --num_threads; 'auto': this process's share of the cores, minus one for the training."""
    if num_threads != 'auto':
        return num_threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, min(MAX_WORKERS, cores // local_world_size() - 1))


def workers_that_fit_shm(workers: int, batches_per_message: int, batch_bytes: int) -> tuple[int, int]:
    """Reduce the workers and the batches per message to what /dev/shm can hold; warn if there are fewer workers."""
    if not workers or not batch_bytes or not os.path.isdir(SHARED_MEMORY):
        return workers, batches_per_message
    free = shutil.disk_usage(SHARED_MEMORY).free
    batches = int(SHARE_OF_SHARED_MEMORY * free / batch_bytes)
    messages = PREFETCH * workers + 2       # 2 are being received and used
    if batches >= messages:
        return workers, min(batches_per_message, batches // messages)
    fitting = max(0, (batches - 2) // PREFETCH)
    needed = messages * batch_bytes / SHARE_OF_SHARED_MEMORY
    warn(f'{SHARED_MEMORY} has {free / 2**20:.1f} MB free, but {workers} worker processes (--num_threads) need '
         f'{needed / 2**20:.1f} MB; using {fitting}. With docker, add --shm-size=1g')
    return fitting, 1


def is_shm_error(error: Exception) -> bool:
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or 'shared memory' in str(error)


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def without_sigchld_errors():
    """Keep PyTorch's SIGCHLD handler from being installed.

    When a worker dies, it would raise an error in whatever code is running, such as a training step. Without it the
    death is noticed when the next batch is requested.
    """
    before = signal.getsignal(signal.SIGCHLD) if in_main_thread() and hasattr(signal, 'SIGCHLD') else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGCHLD, before)


@contextlib.contextmanager
def time_limit(seconds: float, give_up):
    """Call `give_up()`, which raises, if the block takes longer than `seconds` (0: no limit).

    Works in the main thread only, and not on Windows. The alarm rings at half the time first: a program that was
    paused for long then still has the other half.
    """
    if not (seconds and in_main_thread() and hasattr(signal, 'setitimer')):
        yield
        return
    rung = False

    def ring(*_):
        nonlocal rung
        if rung:
            give_up()
        rung = True
    handler = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds / 2, seconds / 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def how_it_ended(exit_code: int) -> str:
    """An exit code of multiprocessing, in words."""
    if exit_code < 0:
        return f'killed by {signal.Signals(-exit_code).name}'
    return f'exit code {exit_code}'


def open_images(pid: int) -> list[str]:
    """Images that a process has open; empty where there is no /proc."""
    links = []
    with contextlib.suppress(OSError):
        for entry in os.listdir(f'/proc/{pid}/fd'):
            with contextlib.suppress(OSError):      # closed in the meantime
                links.append(os.readlink(f'/proc/{pid}/fd/{entry}'))
    return sorted(link for link in links if is_image(os.path.basename(link)))
