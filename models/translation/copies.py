"""Copies of a network that share its weights, with other layers in place of some: for one image, thread or export."""
import copy

import torch
import torch.nn.functional as F
from torch import nn

from models.nets.layers import BatchNorm2d, Dropout


def copy_sharing_weights(net: nn.Module, replacements: dict) -> nn.Module:
    """A copy of the modules of `net`, with the same tensors.

    `replacements` is {class of a layer: function from the layer to the one in its place}.
    """
    tensors = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    clone = copy.deepcopy(net, tensors)
    for parent in list(clone.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in replacements:
                setattr(parent, name, replacements[type(child)](child))
    return clone


class SeededDropout(nn.Module):
    """Dropout with noise from a generator of its own: on a CPU, that of `nn.Dropout` after `torch.manual_seed`."""

    def __init__(self, p: float, generator: torch.Generator):
        super().__init__()
        self.keep = 1 - p
        self.generator = generator

    def forward(self, x):
        noise = torch.empty_like(x).bernoulli_(self.keep, generator=self.generator)
        return x * noise.div_(self.keep)


class BatchNormOfImage(nn.Module):
    """A batch norm in training mode for each image of a batch by itself."""

    def __init__(self, norm: BatchNorm2d):
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.eps = norm.eps

    def forward(self, x):
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


def with_noise(net: nn.Module, seed: int, device: torch.device) -> nn.Module:
    """A copy whose dropout layers draw from a generator with `seed`; `net` itself if it has none that is active."""
    if not any(isinstance(module, Dropout) and module.training for module in net.modules()):
        return net
    generator = torch.Generator(device).manual_seed(seed)
    return copy_sharing_weights(net, {Dropout: lambda layer: SeededDropout(layer.p, generator)})


def without_noise(net: nn.Module) -> nn.Module:
    """A copy without dropout, whose batch norms see one image each: the same image always gives the same result."""
    return copy_sharing_weights(net, {Dropout: lambda layer: nn.Identity(), BatchNorm2d: per_image})


def per_image(norm: BatchNorm2d) -> nn.Module:
    return BatchNormOfImage(norm) if norm.training else norm
