"""The machine a run has: device, precision, threads and seed, made once and passed down; nobody else says 'cuda'."""
import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from util.console import warn
from util.errors import UserError
from util.machine import distributed, launch
from util.machine.seeding import seed_everything


@dataclass(frozen=True)
class Runtime:
    device: torch.device
    description: str
    precision: str = 'fp32'
    group: distributed.Group = field(default_factory=distributed.Group)     # of processes that train together

    def autocast(self):
        """Inside, convolutions and linear layers work in the precision of the run; weights stay in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == 'bf16')


def start_runtime(gpu_ids: str = '0', cpu_threads: int = 0, seed: int = 0, gpu_wanted: bool = False,
                  precision: str = 'auto', deterministic: bool = False, argv: list | None = None,
                  comm_timeout: float = 300.0) -> Runtime:
    """Choose the device and the precision, set the number of threads and seed all generators.

    `gpu_wanted`: a GPU was asked for, so its absence is an error and not a reason to use the CPU.
    `deterministic`: two runs on one machine are the same to the last bit; an operation that cannot be is an error.
    `argv`: the command line of a training, for which several GPUs are several processes.
    """
    if deterministic:       # cuBLAS reads this when it begins
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    device, description = choose_device(gpu_ids, gpu_wanted, argv)
    group = distributed.start_group(device, comm_timeout)
    threads = cpu_threads or default_threads(device)
    if threads:
        torch.set_num_threads(threads)
    if device.type == 'cpu':
        keep_freed_memory()
    seed_everything(group.first(lambda: seed))      # of the first process, where each has drawn its own
    torch.backends.cudnn.benchmark = device.type == 'cuda' and not deterministic
    torch.use_deterministic_algorithms(deterministic)
    precision = choose_precision(precision, device)
    together = f'{group.size} processes, the first on ' if group.size > 1 else ''
    described = f'{together}{description}, {torch.get_num_threads()} CPU threads, {precision}'
    return Runtime(device, described, precision, group)


def keep_freed_memory(keep: bool = True):
    """Whether memory that a step has freed stays with the program for the next one; where there is no glibc, nothing.

    By itself glibc hands large blocks back to the system, and a step on a CPU spends up to a fifth of its time on
    getting them again, page by page. The program takes no more than at its peak. Without `keep` the thresholds are
    those at which glibc's own rule arrives in a step of pix2pix.
    """
    if any(name.startswith('MALLOC_') for name in os.environ) or 'GLIBC_TUNABLES' in os.environ:
        return      # the user has chosen
    trim_threshold, mmap_threshold = -1, -3     # of mallopt(3)
    with suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(trim_threshold, 2**31 - 1 if keep else 2**25)
        libc.mallopt(mmap_threshold, 2**30 if keep else 2**24)
        if not keep:
            libc.malloc_trim(0)


def choose_precision(wanted: str, device: torch.device) -> str:
    """fp32, tf32 or bf16 as the device can do it, with both of torch's switches set; auto: see docs/performance.md."""
    on_gpu = device.type == 'cuda'
    has_tensor_cores = on_gpu and torch.cuda.get_device_capability(device) >= (8, 0)
    if wanted == 'auto':
        precision = 'tf32' if has_tensor_cores else 'fp32'
    elif (wanted == 'tf32' and not has_tensor_cores) or (wanted == 'bf16' and on_gpu and not has_tensor_cores):
        warn(f'--precision {wanted}: {"this GPU" if on_gpu else "a CPU"} has no {wanted}; going on with fp32')
        precision = 'fp32'
    else:
        precision = wanted
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != 'fp32'
    return precision


def choose_device(gpu_ids: str, gpu_wanted: bool, argv: list | None = None) -> tuple[torch.device, str]:
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
    index = choose_gpu(wanted, found, gpu_wanted, argv)
    torch.cuda.set_device(index)
    return torch.device('cuda', index), f'cuda:{index} ({torch.cuda.get_device_name(index)})'


def choose_gpu(wanted: list[int], found: int, gpu_wanted: bool, argv: list | None = None) -> int:
    """The GPU of this process: of several processes of this machine, each has its own."""
    here = int(os.environ.get('LOCAL_WORLD_SIZE', 1)) if launch.n_processes() > 1 else 1
    if here > 1 or (launch.n_processes() > 1 and not gpu_wanted):
        wanted = wanted if gpu_wanted else list(range(found))
        if here > len(wanted):
            raise UserError(f'{here} processes on this machine, and {len(wanted)} GPUs for them ({found} found); use '
                            f'torchrun --nproc_per_node {len(wanted)}, or --gpu_ids -1 to train on the CPU')
        return wanted[launch.local_rank()]
    told = f'--gpu_ids {",".join(map(str, wanted))}: '
    if len(wanted) > 1 and argv is not None:
        raise UserError(f'{told}one process trains on one GPU; for {len(wanted)} GPUs start {len(wanted)} processes: '
                        f'{launch.torchrun_command(len(wanted), argv)}')
    if len(wanted) > 1:
        warn(f'{told}only GPU {wanted[0]} is used; one process works on one GPU')
    return wanted[0]


def default_threads(device: torch.device) -> int:
    """Threads for computing on the CPU; 0 leaves torch's choice, which is right beside a GPU.

    Half of the cores: the other half are often hyper-threads or busy with loading images, and threads that wait for
    each other on busy cores are many times slower than one. Not by the load of the moment, because sums over another
    number of threads are rounded otherwise: two runs of one --seed would differ.
    """
    if device.type == 'cuda' or 'OMP_NUM_THREADS' in os.environ:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, cores // 2)
