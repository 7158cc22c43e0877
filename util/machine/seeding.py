"""Random seeds derived from what they are used for, and the states of all random number generators.

The order of an epoch depends on (seed, epoch) alone, the augmentation of a sample on (seed, epoch, index): neither the
number of workers nor an interruption changes them.
"""
import hashlib
import random


def derive_seed(*keys) -> int:
    """A 63-bit seed computed from any numbers and strings."""
    digest = hashlib.blake2b(repr(keys).encode('utf-8', 'surrogateescape'), digest_size=8).digest()
    return int.from_bytes(digest, 'big') >> 1


def seed_everything(seed: int):
    """Seed Python, NumPy and PyTorch (all devices)."""
    import numpy
    import torch
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state() -> dict:
    """The states of all random number generators, as plain types and tensors."""
    import numpy
    import torch
    name, keys, *rest = numpy.random.get_state()
    return dict(python=random.getstate(), numpy=(name, torch.from_numpy(keys.astype('int64')), *rest),
                torch=torch.get_rng_state(), cuda=torch.cuda.get_rng_state_all(),
                other=other_gpu() and other_gpu().get_rng_state())


def restore_rng_state(state: dict):
    """Restore what `rng_state` returned; states of GPUs that do not exist here are ignored."""
    import numpy
    import torch
    random.setstate(state['python'])
    name, keys, *rest = state['numpy']
    numpy.random.set_state((name, keys.numpy().astype('uint32'), *rest))
    torch.set_rng_state(state['torch'])
    for device, rng in zip(range(torch.cuda.device_count()), state['cuda'], strict=False):
        torch.cuda.set_rng_state(rng, device)
    if state.get('other') is not None and other_gpu():
        other_gpu().set_rng_state(state['other'])


def other_gpu():
    """PyTorch's module for a GPU here that is not CUDA's: `torch.mps` or `torch.xpu`; None without one."""
    import torch
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return None if found is None or found.type == 'cuda' else torch.get_device_module(found)


def random_state(device) -> tuple:
    """The states of PyTorch's CPU generator and that of `device`: all that a step draws from. Cheap."""
    import torch
    on_device = None if device.type == 'cpu' else torch.get_device_module(device).get_rng_state(device)
    return torch.get_rng_state(), on_device


def set_random_state(state: tuple, device):
    """Restore what `random_state` returned."""
    import torch
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.get_device_module(device).set_rng_state(state[1], device)
