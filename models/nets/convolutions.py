"""Convolutions and padding that keep their precision under autocast."""
import torch
import torch.nn.functional as F
from torch import nn

from .norms import full_precision


class ChannelsLast(torch.autograd.Function):
    """In another precision and with channels last; the gradient comes back in the precision of x, channels first."""

    @staticmethod
    def forward(ctx, x, dtype):
        ctx.dtype = x.dtype
        return x.to(dtype, memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.to(ctx.dtype, memory_format=torch.contiguous_format), None


class OutputConv2d(nn.Conv2d):
    """The last convolution of a network, in full precision under autocast too, so that its images are.

    On a CPU such a convolution to few channels is a quarter faster with channels last; the layers around it are not.
    """

    def forward(self, x):
        dtype = self.weight.dtype
        with full_precision(x.device):
            if x.device.type == 'cpu' and x.dtype != dtype:
                return super().forward(ChannelsLast.apply(x, dtype)).contiguous()
            return super().forward(x.to(dtype))


class OutputConvTranspose2d(nn.ConvTranspose2d):
    """The same, doubling the size."""

    def forward(self, x):
        with full_precision(x.device):
            return super().forward(x.to(self.weight.dtype))


class ReflectedByRows(torch.autograd.Function):
    """Reflection padding whose gradient folds whole rows and columns, in a fixed order."""

    @staticmethod
    def forward(ctx, x, padding):
        ctx.padding = padding
        return F.pad(x, (padding,) * 4, mode='reflect')

    @staticmethod
    def backward(ctx, gradient):
        p = ctx.padding
        for axis in (2, 3):
            size = gradient.shape[axis]
            inner = gradient.narrow(axis, p, size - 2 * p).clone()
            inner.narrow(axis, 1, p).add_(gradient.narrow(axis, 0, p).flip(axis))
            inner.narrow(axis, size - 3 * p - 1, p).add_(gradient.narrow(axis, size - p, p).flip(axis))
            gradient = inner
        return gradient, None


def reflection_pad(x, padding: int):
    """`padding` pixels of reflection, in the precision of x where autocast is off.

    The gradient of PyTorch's own goes pixel by pixel on a CPU, and is not the same twice on a GPU.
    """
    if x.device.type == 'cpu' or torch.are_deterministic_algorithms_enabled():
        return ReflectedByRows.apply(x, padding)
    return F.pad(x, (padding,) * 4, mode='reflect')


class ReflectionPad2d(nn.ReflectionPad2d):
    """In the precision of its input: under autocast PyTorch's goes through float32 on a CPU, and back."""

    def forward(self, x):
        with full_precision(x.device):
            return reflection_pad(x, self.padding[0])


class PaddedConv2d(nn.Conv2d):
    """A convolution that pads in the precision of its input, and takes weights that are computed (spectral norm) as
    exactly as they are."""

    def forward(self, x):
        padding = self.padding
        with full_precision(x.device):
            weight = self.weight
            if self.padding_mode == 'reflect' and padding[0] > 0:
                x, padding = reflection_pad(x, padding[0]), 0
            elif self.padding_mode != 'zeros':
                x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0
        return F.conv2d(x, weight, self.bias, self.stride, padding, self.dilation, self.groups)
