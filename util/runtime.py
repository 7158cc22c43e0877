"""The machine a run has: device, threads and seed, made once and passed down; nobody else says 'cuda'."""
import os
from dataclasses import dataclass

import torch

from util.cli import UserError, warn
from util.seeding import seed_everything


@dataclass(frozen=True)
class Runtime:
    device: torch.device
    description: str


def start_runtime(gpu_ids: str = '0', cpu_threads: int = 0, seed: int = 0, gpu_wanted: bool = False) -> Runtime:
    """Choose the device, set the number of threads and seed all generators.

    `gpu_wanted`: a GPU was asked for, so its absence is an error and not a reason to use the CPU.
    """
    device, description = choose_device(gpu_ids, gpu_wanted)
    threads = cpu_threads or default_threads(device)
    if threads:
        torch.set_num_threads(threads)
    seed_everything(seed)
    torch.backends.cudnn.benchmark = device.type == 'cuda'
    return Runtime(device, f'{description}, {torch.get_num_threads()} CPU threads')


def choose_device(gpu_ids: str, gpu_wanted: bool) -> tuple[torch.device, str]:
    wanted = [int(index) for index in gpu_ids.split(',') if int(index) >= 0]
    if not wanted:
        return torch.device('cpu'), 'cpu (as asked for)'
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found == 0:
        if gpu_wanted:
            raise UserError(f'--gpu_ids {gpu_ids}, but PyTorch {torch.__version__} finds no CUDA GPU here; '
                            f'use --gpu_ids -1 for the CPU')
        return torch.device('cpu'), f'cpu (PyTorch {torch.__version__} finds no CUDA GPU)'
    absent = [index for index in wanted if index >= found]
    if absent:
        raise UserError(f'--gpu_ids {gpu_ids}, but there is no GPU {absent[0]}; '
                        f'{found} here: {", ".join(map(str, range(found)))}')
    if len(wanted) > 1:
        warn(f'--gpu_ids {gpu_ids}: only GPU {wanted[0]} is used; one process trains on one GPU')
    torch.cuda.set_device(wanted[0])
    return torch.device('cuda', wanted[0]), f'cuda:{wanted[0]} ({torch.cuda.get_device_name(wanted[0])})'


def default_threads(device: torch.device) -> int:
    """Threads for computing on the CPU; 0 leaves torch's choice, which is right beside a GPU.

    Threads that wait for each other on busy cores are many times slower than one thread: half of the cores
    that are free now, because the other half are often hyper-threads or busy with loading images.
    """
    if device.type == 'cuda' or 'OMP_NUM_THREADS' in os.environ:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    busy = os.getloadavg()[0] if hasattr(os, 'getloadavg') else 0
    return max(1, min(cores // 2, round(cores - busy)))
