"""Less memory for more time: layers that recompute their activations in backward instead of storing them."""
from contextlib import contextmanager
from itertools import groupby

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils.checkpoint import checkpoint

from .norms import Chain


class Recomputable(nn.Module):
    """A layer that stores only its inputs if `recomputed` is set. It must not use random numbers."""

    recomputed = False

    def __call__(self, *inputs, **named):
        if self.recomputed and torch.is_grad_enabled():
            return checkpoint(super().__call__, *inputs, use_reentrant=False, preserve_rng_state=False,
                              **contexts_for(self), **named)
        return super().__call__(*inputs, **named)


class Segments(Chain):
    """A chain of layers and blocks; if `recomputed` is set, it stores only the input of each segment."""

    recomputed = False

    def forward(self, x):
        if not (self.recomputed and torch.is_grad_enabled()):
            return super().forward(x)
        for segment in self.segments():
            x = checkpoint(segment, x, use_reentrant=False, preserve_rng_state=has_dropout(segment),
                           **contexts_for(segment))
        return x

    def segments(self) -> list[Chain]:
        """Each block, and the layers before and after the blocks."""
        def block(item):
            index, layer = item
            return index if isinstance(layer, Block) else -1
        chains = [Chain(*(layer for _, layer in group)) for _, group in groupby(enumerate(self), key=block)]
        for chain in chains:
            chain.kernel = self.kernel
        return chains


class Block(nn.Module):
    """A part of a network that is a segment by itself."""


def contexts_for(net: nn.Module) -> dict:
    """The contexts of the first and of later computations; {} if they need none."""
    norms = [module for module in net.modules() if isinstance(module, ParametrizationList)]
    if not norms:
        return {}

    def contexts():
        again = SameSpectralNorms(net, norms)
        return again.first(), again
    return {'context_fn': contexts}


class SameSpectralNorms:
    """Inside, spectral norms compute what they did in `first`, whatever calls there were since, and do not iterate.

    Parameters that took no gradients then take none. It can be entered again: a gradient penalty needs the activations
    twice.
    """

    def __init__(self, net: nn.Module, norms: list[ParametrizationList]):
        self.norms = norms
        self.weights = list(net.parameters())
        self.took_gradients = [weight.requires_grad for weight in self.weights]

    @contextmanager
    def first(self):
        yield
        self.vectors = self.copied_vectors()

    def __enter__(self):
        self.training = [norm.training for norm in self.norms]
        self.now = self.copied_vectors(), [weight.requires_grad for weight in self.weights]
        for norm in self.norms:
            norm.eval()
        self.set(self.vectors, self.took_gradients)

    def __exit__(self, *_):
        for norm, training in zip(self.norms, self.training, strict=True):
            norm.train(training)
        self.set(*self.now)

    def copied_vectors(self) -> list[torch.Tensor]:
        return [vector.clone() for norm in self.norms for vector in norm.buffers()]

    @torch.no_grad()
    def set(self, vectors: list[torch.Tensor], take_gradients: list[bool]):
        there = (vector for norm in self.norms for vector in norm.buffers())
        for vector, value in zip(there, vectors, strict=True):
            vector.copy_(value)
        for weight, takes in zip(self.weights, take_gradients, strict=True):
            weight.requires_grad_(takes)


def has_dropout(net: nn.Module) -> bool:
    return any(isinstance(module, nn.Dropout) and module.training for module in net.modules())


def recompute(net: nn.Module) -> bool:
    """Make the layers of `net` recompute their activations; False if none of them can.

    A network with batch norms cannot: their running statistics would count every image twice.
    """
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
        return False
    able = [module for module in net.modules() if isinstance(module, (Recomputable, Segments))]
    for module in able:
        module.recomputed = True
    return bool(able)
