"""Convolutions and padding that control their precision under autocast."""
import torch
import torch.nn.functional as F
from torch import nn

from .norms import full_precision


class ChannelsLast(torch.autograd.Function):
    """Convert x to `dtype` and channels last; the gradient is converted back to the dtype of x, channels first."""

    @staticmethod
    def forward(ctx, x, dtype):
        ctx.dtype = x.dtype
        return x.to(dtype, memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.to(ctx.dtype, memory_format=torch.contiguous_format), None


class OutputConv2d(nn.Conv2d):
    """The last convolution of a network; in full precision even under autocast, so that images are float32.

    On a CPU a convolution to few channels is a quarter faster with channels last; the layers around it are not.
    """

    def forward(self, x):
        dtype = self.weight.dtype
        with full_precision(x.device):
            if x.device.type == 'cpu' and x.dtype != dtype:
                return super().forward(ChannelsLast.apply(x, dtype)).contiguous()
            return super().forward(x.to(dtype))


class OutputConvTranspose2d(nn.ConvTranspose2d):
    """The same for a transposed convolution."""

    def forward(self, x):
        with full_precision(x.device):
            return super().forward(x.to(self.weight.dtype))


class SpectralConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that computes its weight (spectral norm) in full precision."""

    def forward(self, x):
        with full_precision(x.device):
            weight = self.weight
        return self.convolved(x, weight)

    def convolved(self, x, weight):
        return F.conv_transpose2d(x, weight, self.bias, self.stride, self.padding, self.output_padding, self.groups,
                                  self.dilation)


class ReflectedByRows(torch.autograd.Function):
    """Reflection padding; its gradient adds whole rows and columns, in a fixed order."""

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
    """Add `padding` pixels of reflection on each side, in the dtype of x if autocast is off.

    PyTorch's own gradient works pixel by pixel on a CPU, and is not deterministic on a GPU. Without a gradient this is
    a plain operation, which can be exported.
    """
    if x.requires_grad and (x.device.type == 'cpu' or torch.are_deterministic_algorithms_enabled()):
        return ReflectedByRows.apply(x, padding)
    return F.pad(x, (padding,) * 4, mode='reflect')


class ReflectionPad2d(nn.ReflectionPad2d):
    """Keeps the dtype of its input: under autocast on a CPU, PyTorch's layer converts to float32 and back."""

    def forward(self, x):
        with full_precision(x.device):
            return reflection_pad(x, self.padding[0])


class Downsample(nn.Module):
    """Half the size without aliasing: a [1, 2, 1] filter, then every second pixel (Zhang 2019, section 3.2).

    `filt` is (C, 1, 3, 3); it is a buffer because public checkpoints of CUT contain it.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer('filt', binomial([1., 2., 1.]).repeat(channels, 1, 1, 1))

    def forward(self, x):
        with full_precision(x.device):
            x = reflection_pad(x, 1)
        return F.conv2d(x, self.filt, stride=2, groups=x.shape[1])


class Upsample(nn.Module):
    """Twice the size without checkerboards. Filling in pixels with the filter [1, 3, 3, 1] is bilinear interpolation.

    `filt`, (C, 1, 4, 4), is only there because public checkpoints of CUT contain it.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer('filt', 4 * binomial([1., 3., 3., 1.]).repeat(channels, 1, 1, 1))

    def forward(self, x):
        return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)


def binomial(row: list[float]) -> torch.Tensor:
    """The filter with these rows and columns and the sum 1, (1, 1, K, K)."""
    row = torch.tensor(row)
    square = row[:, None] * row
    return (square / square.sum())[None, None]


class PaddedConv2d(nn.Conv2d):
    """A convolution that pads in the dtype of its input, and computes its weight (spectral norm) in full precision."""

    def forward(self, x):
        padding = self.padding
        with full_precision(x.device):
            weight = self.weight
            if self.padding_mode == 'reflect' and padding[0] > 0:
                x, padding = reflection_pad(x, padding[0]), (0, 0)
            elif self.padding_mode != 'zeros':
                x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode), (0, 0)
        return self.convolved(x, weight, padding)

    def convolved(self, x, weight, padding: tuple[int, int]):
        """The convolution with zeros around the image."""
        return F.conv2d(x, weight, self.bias, self.stride, padding, self.dilation, self.groups)


# ---- the innermost levels of a U-Net

SMALL_MAP = 64      # pixels, of all images together


def is_product(x, weight, pixels: int) -> bool:
    """True if a convolution with a map of so few pixels should be one matrix product.

    That is in networks that translate in float32 on a CPU, whose weights have the channels last: PyTorch's convolutions
    bring the weights into another order each time, which takes most of their time here. In training they gain less.
    """
    return (weight.is_contiguous(memory_format=torch.channels_last) and x.device.type == 'cpu'
            and x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled('cpu')
            and pixels <= SMALL_MAP)        # asked last: exported graphs, whose channels are first, are for any size


class HalvingConv2d(PaddedConv2d):
    """A 4x4 convolution to half the size."""

    def __init__(self, before: int, after: int, bias: bool = True):
        super().__init__(before, after, 4, 2, 1, bias=bias)

    def convolved(self, x, weight, padding):
        images, _, height, width = x.shape
        if not is_product(x, weight, images * (height // 2) * (width // 2)):
            return super().convolved(x, weight, padding)
        patches = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1).unfold(1, 4, 2).unfold(2, 4, 2)
        patches = patches.permute(0, 1, 2, 4, 5, 3)         # (N, H / 2, W / 2, 4, 4, C)
        y = (patches.flatten(3) @ weight.permute(0, 2, 3, 1).flatten(1).T).permute(0, 3, 1, 2)
        return y if self.bias is None else y + self.bias[:, None, None]


class DoublingConv2d(SpectralConvTranspose2d):
    """A transposed 4x4 convolution to twice the size."""

    def __init__(self, before: int, after: int, bias: bool = True):
        super().__init__(before, after, 4, 2, 1, bias=bias)

    def convolved(self, x, weight):
        images, _, height, width = x.shape
        if not is_product(x, weight, images * height * width):
            return super().convolved(x, weight)
        parts = x.permute(0, 2, 3, 1) @ weight.permute(0, 2, 3, 1).flatten(1)
        parts = parts.unflatten(3, (4, 4, -1))              # (N, H, W, 4, 4, K): what each pixel adds to 4x4 others
        y = x.new_zeros(images, 2 * height + 2, 2 * width + 2, parts.shape[-1])
        for row in range(4):
            for column in range(4):
                y[:, row:row + 2 * height:2, column:column + 2 * width:2] += parts[:, :, :, row, column]
        y = y[:, 1:-1, 1:-1].permute(0, 3, 1, 2)
        return y if self.bias is None else y + self.bias[:, None, None]
