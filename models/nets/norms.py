"""Normalisation layers, together with what follows them in a network: activation, residual, reflection padding.

Instance norm is our own layer: it has no keys, the numbers of `nn.InstanceNorm2d`, and right gradients for every
memory format (PyTorch's are wrong on a CPU at batch 1 when the gradient arrives in channels_last). On a GPU with
Triton norm, activation, residual and padding are one pass over the image; elsewhere they are PyTorch's own layers.

Under autocast the statistics are taken in float32 and the result keeps the type of the input.
"""
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-5
SLOPES = {nn.ReLU: lambda layer: 0.0, nn.LeakyReLU: lambda layer: layer.negative_slope}
_fused = None      # the Triton form, once `use_fused` has let it in
_plain = 0         # how many `plain_norms` are open


def use_fused(function):
    """Let `function`, with the arguments of `instance_norm`, do its work on a GPU; None for the plain form."""
    global _fused
    _fused = function


def fused() -> bool:
    return _fused is not None


@contextmanager
def plain_norms():
    """Inside, norms are PyTorch's operations, which can be differentiated twice and compiled."""
    global _plain
    _plain += 1
    try:
        yield
    finally:
        _plain -= 1


def fuses(x: torch.Tensor) -> bool:
    return _fused is not None and not _plain and x.is_cuda and x.ndim == 4 and not torch.compiler.is_compiling()


def full_precision(device: torch.device):
    """Inside, autocast does nothing."""
    if not torch.is_autocast_enabled(device.type):
        return nullcontext()        # a context costs microseconds, and a step has hundreds
    return torch.autocast(device.type, enabled=False)


def instance_norm(x, scale=None, shift=None, slope=1.0, residual=None, padding=0, eps=EPS):
    """Each plane of x (N, C, H, W) to mean 0 and deviation 1, then `scale` and `shift`, (N, C) each.

    Then comes an activation (`slope` for values below 0; 1: none), or a `residual` is added, then `padding`
    pixels of reflection.
    """
    if x.shape[-1] * x.shape[-2] == 1:
        raise ValueError(f'an instance norm needs more than 1 spatial element, not {tuple(x.shape)}')
    if fuses(x):
        return _fused(x, scale, shift, slope, residual, padding, eps)
    with full_precision(x.device):
        y = F.group_norm(x, x.shape[1], eps=eps)
    if scale is not None:
        y = (y * scale[..., None, None] + shift[..., None, None]).to(x.dtype)
    if slope != 1:
        y = F.relu(y) if slope == 0 else F.leaky_relu(y, slope)
    if residual is not None:
        y = residual + y
    return F.pad(y, (padding,) * 4, mode='reflect') if padding else y


class InstanceNorm2d(nn.InstanceNorm2d):
    """Without parameters and running statistics, the only kind that the checkpoints know."""

    def __init__(self, channels: int):
        super().__init__(channels, EPS, affine=False, track_running_stats=False)

    def forward(self, x, slope=1.0, residual=None, padding=0):
        return instance_norm(x, None, None, slope, residual, padding, self.eps)


def adain(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, slope: float = 1.0, residual=None):
    """Adaptive instance norm (eq. 7): each channel of (N, C, H, W) gets the mean `shift` and deviation `scale`."""
    return instance_norm(x, scale, shift, slope, residual)


class DecoderLayerNorm(nn.Module):
    """(x - mean) / (std + eps) over C, H, W of each image, then a scale and shift for each channel.

    Not GroupNorm(1): the deviation is the unbiased one and eps is added to it, not to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.rand(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        exact = x.to(self.gamma.dtype)
        flat = exact.flatten(1)
        mean, std = flat.mean(1)[:, None, None, None], flat.std(1)[:, None, None, None]
        y = (exact - mean) / (std + self.eps) * self.gamma[:, None, None] + self.beta[:, None, None]
        return y.to(x.dtype)


class Chain(nn.Sequential):
    """Layers one after the other; instance norms take the layers behind them along where they can be fused."""

    def forward(self, x, residual=None):
        if not fuses(x):
            x = super().forward(x)
            return x if residual is None else residual + x
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if isinstance(layer, InstanceNorm2d):
                slope = SLOPES[type(layers[0])](layers.pop(0)) if layers and type(layers[0]) in SLOPES else 1.0
                padding = layers.pop(0).padding[0] if layers and isinstance(layers[0], nn.ReflectionPad2d) else 0
                joined, residual = (None, residual) if layers else (residual, None)
                x = layer(x, slope, joined, padding)
            else:
                x = layer(x)
        return x if residual is None else residual + x


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
