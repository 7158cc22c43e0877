"""Device, precision, threads and seed of a run, chosen once and passed down. Only this module selects a GPU."""
import ctypes
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from util.console import counted, warn
from util.errors import UserError
from util.machine import distributed, launch
from util.machine.cores import usable_cores
from util.machine.seeding import seed_everything


@dataclass(frozen=True)
class Runtime:
    device: torch.device
    description: str
    precision: str = 'fp32'
    group: distributed.Group = field(default_factory=distributed.Group)     # the processes that train together

    def autocast(self):
        """Autocast context for --precision bf16, otherwise disabled; weights stay in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == 'bf16')


def start_runtime(gpu_ids: str = '0', cpu_threads: int = 0, seed: int = 0, gpu_wanted: bool = False,
                  precision: str = 'auto', deterministic: bool = False, argv: list | None = None,
                  comm_timeout: float = 300.0) -> Runtime:
    """Choose device and precision, connect the processes, set the number of threads and seed all generators.

    Args:
        gpu_wanted: --gpu_ids was given, so a missing GPU is an error instead of a fallback to the CPU.
        deterministic: runs on the same machine are bit-identical; operations that cannot be are errors.
        argv: command line of a training, to suggest the torchrun command when several GPUs are requested.
        comm_timeout: seconds to wait for another process before aborting.
    """
    if deterministic:       # cuBLAS reads this at startup
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    device, description = choose_device(gpu_ids, gpu_wanted, argv)
    group = distributed.start_group(device, comm_timeout)
    threads = cpu_threads or default_threads(device)
    if threads:
        torch.set_num_threads(threads)
    if device.type == 'cpu':
        keep_freed_memory()
    seed_everything(group.first(lambda: seed))      # if the seed is random, all use that of the main process
    torch.backends.cudnn.benchmark = device.type == 'cuda' and not deterministic
    torch.use_deterministic_algorithms(deterministic)
    precision = choose_precision(precision, device)
    if precision == 'bf16' and device.type == 'cpu' and (gain := gain_of_bf16()) < 1:
        warn(f'a convolution in bf16 is {gain:.2f} times as fast as in fp32 on this processor, so it is slower; drop '
             f'--precision bf16')
    description = f'{description}, {counted(torch.get_num_threads(), "CPU thread")}, {precision}'
    if group.size > 1:
        description = f'{group.size} processes, rank 0 on {description}'
    return Runtime(device, description, precision, group)


def keep_freed_memory(keep: bool = True):
    """Keep memory freed by one step for the next one, instead of returning it to the system. Only with glibc.

    By default glibc returns large blocks, and a CPU step spends up to a fifth of its time on page faults to get them
    back. Peak memory does not change. `keep=False` sets the thresholds that glibc's own heuristic reaches in a pix2pix
    step. MALLOC_* or GLIBC_TUNABLES in the environment take precedence.
    """
    if any(name.startswith('MALLOC_') for name in os.environ) or 'GLIBC_TUNABLES' in os.environ:
        return
    trim_threshold, mmap_threshold = -1, -3     # parameter numbers, see mallopt(3)
    with suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(trim_threshold, 2**31 - 1 if keep else 2**25)
        libc.mallopt(mmap_threshold, 2**30 if keep else 2**24)
        if not keep:
            libc.malloc_trim(0)


def choose_precision(wanted: str, device: torch.device) -> str:
    """The precision that the device supports: fp32, tf32 or bf16. Sets both of PyTorch's TF32 switches.

    auto: tf32 on a GPU of compute capability 8.0 or higher, otherwise fp32 (docs/performance.md).
    """
    on_gpu = device.type == 'cuda'
    has_tensor_cores = on_gpu and torch.cuda.get_device_capability(device) >= (8, 0)
    if wanted == 'auto':
        precision = 'tf32' if has_tensor_cores else 'fp32'
    elif (wanted == 'tf32' and not has_tensor_cores) or (wanted == 'bf16' and on_gpu and not has_tensor_cores):
        warn(f'--precision {wanted} is not supported by {"this GPU" if on_gpu else device.type}; using fp32')
        precision = 'fp32'
    else:
        precision = wanted
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != 'fp32'
    return precision


def gain_of_bf16(seconds: float = 0.5) -> float:
    """How many times as fast a convolution of a generator is in bf16 as in fp32 on this CPU, measured now.

    Processors without instructions for bf16 convert every number, and lose time.
    """
    x, weight = torch.ones(1, 64, 32, 32), torch.ones(64, 64, 3, 3)
    times = {torch.float32: [], torch.bfloat16: []}
    end = time.perf_counter() + seconds
    with torch.inference_mode():
        while time.perf_counter() < end or len(times[torch.bfloat16]) < 2:
            for dtype, found in times.items():
                start = time.perf_counter()
                torch.nn.functional.conv2d(x.to(dtype), weight.to(dtype), padding=1)
                found.append(time.perf_counter() - start)
    return min(times[torch.float32][1:]) / min(times[torch.bfloat16][1:])     # the first calls prepare


def choose_device(gpu_ids: str, gpu_wanted: bool, argv: list | None = None) -> tuple[torch.device, str]:
    """The device of this process and its description for the log; a `UserError` if a GPU in `gpu_ids` is missing."""
    if gpu_ids[:1].isalpha():
        if launch.world_size() > 1:
            raise UserError(f'--gpu_ids {gpu_ids}: several processes need CUDA GPUs, or --gpu_ids -1 for the CPU')
        return named_device(gpu_ids)[0], f'{gpu_ids} (PyTorch {torch.__version__})'
    wanted = [int(index) for index in gpu_ids.split(',') if int(index) >= 0]
    if not wanted:
        return torch.device('cpu'), 'cpu (--gpu_ids -1)'
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found == 0:
        if gpu_wanted:
            raise UserError(f'there is no GPU {gpu_ids}: PyTorch {torch.__version__} finds no CUDA GPU; use --gpu_ids '
                            f'-1, or --device cpu, to run on the CPU')
        return torch.device('cpu'), f'cpu (PyTorch {torch.__version__} finds no CUDA GPU)'
    absent = [index for index in wanted if index >= found]
    if absent:
        raise UserError(f'--gpu_ids {gpu_ids}: there is no GPU {absent[0]}; this machine has GPU '
                        f'{", ".join(map(str, range(found)))}')
    index = choose_gpu(wanted, found, gpu_wanted, argv)
    torch.cuda.set_device(index)
    return torch.device('cuda', index), f'cuda:{index} ({torch.cuda.get_device_name(index)})'


def named_device(name: str) -> tuple[torch.device | None, str]:
    """A --device as (device, ''), or as (None, the --gpu_ids that mean the same); (None, '') for an empty name.

    `cpu`, `cuda`, `cuda:1`, or another kind that PyTorch finds here: `mps` (Apple) or `xpu` (Intel). A `UserError` for
    others.
    """
    if name in ('', 'cpu', 'cuda'):
        return None, {'cpu': '-1', 'cuda': '0'}.get(name, '')
    kind, _, index = name.partition(':')
    if kind == 'cuda' and index.isdigit():
        return None, index
    try:
        device = torch.device(name)
        found = torch.get_device_module(device).is_available()
    except (AttributeError, RuntimeError):
        found = False
    if not found:
        raise UserError(f'--device {name}: PyTorch {torch.__version__} finds no such device; use cpu, or what this '
                        f'machine has of cuda, mps and xpu')
    return device, ''


def usable_device(name) -> torch.device:
    """The device of this name, or a number of a GPU; a `UserError` if PyTorch cannot use it here."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise UserError(f'PyTorch {torch.__version__} finds no device {name} here; use cpu, or what this machine has '
                        f'of cuda, mps and xpu') from error
    return device


def choose_gpu(wanted: list[int], found: int, gpu_wanted: bool, argv: list | None = None) -> int:
    """The index of this process's GPU: each process on a machine uses another one."""
    local_size = launch.local_world_size() if launch.world_size() > 1 else 1
    if local_size > 1 or (launch.world_size() > 1 and not gpu_wanted):
        wanted = wanted if gpu_wanted else list(range(found))
        if local_size > len(wanted):
            raise UserError(f'{local_size} processes on this machine need {local_size} GPUs, but {len(wanted)} of '
                            f'{found} can be used; use torchrun --nproc_per_node {len(wanted)}, or --gpu_ids -1 to '
                            f'train on the CPU')
        return wanted[launch.local_rank()]
    gpu_ids = ','.join(map(str, wanted))
    if len(wanted) > 1 and argv is not None:
        raise UserError(f'--gpu_ids {gpu_ids}: a process trains on one GPU; to use {len(wanted)} GPUs, start '
                        f'{len(wanted)} processes: {launch.torchrun_command(len(wanted), argv)}')
    if len(wanted) > 1:
        warn(f'--gpu_ids {gpu_ids}: using only GPU {wanted[0]}, because a process runs on one GPU')
    return wanted[0]


def default_threads(device: torch.device) -> int:
    """Number of CPU threads for computing; 0 keeps PyTorch's default, which is right when computing on a GPU.

    The current load is not considered, because the number of threads changes rounding: two runs with the same --seed
    would differ.
    """
    if device.type != 'cpu' or 'OMP_NUM_THREADS' in os.environ:
        return 0
    return max(1, usable_cores() // launch.local_world_size())


def memory_format(runtime, training: bool, norm: str, fused_norms: bool) -> torch.memory_format:
    """channels_last where it is faster; docs/performance.md has the measurements."""
    if runtime.device.type == 'cpu':
        faster = not training
    else:
        faster = runtime.precision != 'fp32' and (norm != 'instance' or fused_norms)
    return torch.channels_last if faster else torch.contiguous_format
