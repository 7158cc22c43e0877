"""How much memory a run takes, and what to do where it does not suffice."""
import re
import sys
from contextlib import contextmanager

import torch

from util.errors import ResourceError, UserError

# what PyTorch says on a CPU: a RuntimeError of "DefaultCPUAllocator: can't allocate memory", or python itself
CPU_MESSAGE = re.compile(r"can't allocate memory|not enough memory|Cannot allocate memory", re.IGNORECASE)
CURES = 'a smaller --batch_size, --crop_size or --ngf, --precision bf16, when training --grad_checkpoint'


def peak_memory(device: torch.device) -> int:
    """The most bytes in use so far: of the GPU's memory by tensors, or of the main memory by this process."""
    if device.type != 'cpu':
        return torch.get_device_module(device).max_memory_allocated(device)
    try:
        import resource
    except ImportError:     # Windows does not tell
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def gigabytes(count: int) -> str:
    return f'{count / 2**30:.2f} GiB'


@contextmanager
def memory_explained(device: torch.device, **sizes):
    """Inside, running out of memory is a `ResourceError` with the sizes, the peak and the flags that help.

    And what cannot be --deterministic is a `UserError` that names the operation.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:     # torch.OutOfMemoryError is a RuntimeError
        if 'deterministic implementation' in str(error):
            raise UserError(f'--deterministic: {str(error).partition(" does not have")[0]} has no deterministic form '
                            f'on {device}; drop --deterministic') from error
        if not (isinstance(error, (torch.OutOfMemoryError, MemoryError)) or CPU_MESSAGE.search(str(error))):
            raise
        words = ', '.join(f'{name} {value}' for name, value in sizes.items())
        raise ResourceError(f'out of memory on {device} with {words}; the peak was {gigabytes(peak_memory(device))}; '
                            f'what helps: {CURES}') from error
