"""Randomness as a function of what it is for, not of how often something was drawn before.

The order of an epoch depends on (seed, epoch), the augmentation of a sample on (seed, epoch, index): neither
the number of workers nor an interruption changes them.
"""
import hashlib
import random


def derive_seed(*keys) -> int:
    """A 63-bit seed from any numbers and strings."""
    digest = hashlib.blake2b(repr(keys).encode('utf-8', 'surrogateescape'), digest_size=8).digest()
    return int.from_bytes(digest, 'big') >> 1


def seed_everything(seed: int):
    """Seed python, numpy and torch (all devices)."""
    import numpy
    import torch
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state() -> dict:
    """The state of all generators, of plain types and tensors only."""
    import numpy
    import torch
    name, keys, *rest = numpy.random.get_state()
    return dict(python=random.getstate(), numpy=(name, torch.from_numpy(keys.astype('int64')), *rest),
                torch=torch.get_rng_state(), cuda=torch.cuda.get_rng_state_all())


def restore_rng_state(state: dict):
    """Set all generators to a state of `rng_state`; GPUs that are not there are left out."""
    import numpy
    import torch
    random.setstate(state['python'])
    name, keys, *rest = state['numpy']
    numpy.random.set_state((name, keys.numpy().astype('uint32'), *rest))
    torch.set_rng_state(state['torch'])
    for device, rng in zip(range(torch.cuda.device_count()), state['cuda'], strict=False):
        torch.cuda.set_rng_state(rng, device)


def random_state(device) -> tuple:
    """The state of torch's generators on the host and on `device`: those that a step draws from, for little time."""
    import torch
    on_device = None if device.type == 'cpu' else torch.get_device_module(device).get_rng_state(device)
    return torch.get_rng_state(), on_device


def set_random_state(state: tuple, device):
    import torch
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.get_device_module(device).set_rng_state(state[1], device)
