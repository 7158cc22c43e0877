"""Memory of a run: peak use, and errors that say what to do when it runs out."""
import re
import sys
from contextlib import contextmanager

import torch

from util.errors import ResourceError, UserError

# On a CPU, PyTorch raises RuntimeError("... DefaultCPUAllocator: can't allocate memory"), or Python a MemoryError.
CPU_MESSAGE = re.compile(r"can't allocate memory|not enough memory|Cannot allocate memory", re.IGNORECASE)
CURES = 'a smaller --batch_size, --crop_size or --ngf, --precision bf16, or, for training, --grad_checkpoint'


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes so far: of the tensors on a GPU, or of the whole process on a CPU."""
    if device.type == 'mps':        # has no peak
        return torch.mps.driver_allocated_memory()
    if device.type != 'cpu':
        return torch.get_device_module(device).max_memory_allocated(device)
    try:
        import resource
    except ImportError:     # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated now, on a device or, for a CPU, in this machine; a guess of 4 GiB where none says."""
    try:
        if device.type != 'cpu':
            return torch.get_device_module(device).mem_get_info(device)[0]
        with open('/proc/meminfo', encoding='ascii') as file:
            return 1024 * int(re.search(r'MemAvailable:\s*(\d+)', file.read())[1])
    except (AttributeError, OSError, RuntimeError, TypeError):
        return 4 * 2**30


def pins_memory(device: torch.device) -> bool:
    """Can memory be pinned, so that nothing waits for a copy to or from the device? PyTorch cannot for Apple's GPUs."""
    return device.type not in ('cpu', 'mps')


def out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or CPU_MESSAGE.search(str(error)) is not None


def gigabytes(count: int) -> str:
    return f'{count / 2**30:.2f} GiB'


@contextmanager
def memory_explained(device: torch.device, cures: str = CURES, **sizes):
    """Turn out-of-memory errors into a `ResourceError` that lists `sizes`, the peak, and the `cures`.

    An operation without a deterministic implementation (--deterministic) is a `UserError` that names it.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:     # torch.OutOfMemoryError is a RuntimeError
        if 'deterministic implementation' in str(error):
            operation = str(error).partition(' does not have')[0]
            raise UserError(f'--deterministic: {operation} has no deterministic implementation on {device}; '
                            f'remove --deterministic') from error
        if not out_of_memory(error):
            raise
        settings = ', '.join(f'{name} {value}' for name, value in sizes.items())
        raise ResourceError(f'out of memory on {device} with {settings}; peak memory was '
                            f'{gigabytes(peak_memory(device))}; try {cures}') from error
