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
