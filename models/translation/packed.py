"""Convolutions whose weights are kept in the layout that oneDNN computes with, on a CPU: the same numbers, sooner.

PyTorch converts the weights to that layout for every image. For a U-Net that takes longer than many of its
convolutions. The operators are those that `torch.compile` uses for frozen networks.
"""
import torch
from torch import nn

from models.nets.convolutions import OutputConv2d, OutputConvTranspose2d

from .copies import copy_sharing_weights


class Packing:
    """The converted weights of a layer for images of one size. Copies of a network share it."""

    def __init__(self):
        self.current = None, None       # of what, the weights: set together, as threads share it

    def __deepcopy__(self, memo):
        return self

    def of(self, weight: torch.Tensor, x: torch.Tensor, convert) -> torch.Tensor | None:
        """`convert()`, again only for another size or if the weights have been changed."""
        wanted = x.shape, weight.data_ptr(), weight._version
        found, converted = self.current
        if found != wanted:
            converted = convert()
            self.current = wanted, converted
        return converted


class Packed(nn.Module):
    """A convolution `conv`. Inputs that PyTorch computes in another way go to the layer itself."""

    transposed = False

    def __init__(self, conv: nn.Module):
        super().__init__()
        self.conv = conv
        self.packing = Packing()

    def forward(self, x):
        weight = self.packing.of(self.conv.weight, x, lambda: self.convert(x)) if suits(x) else None
        return self.conv(x) if weight is None else self.compute(x, weight)

    def convert(self, x) -> torch.Tensor | None:
        """The weights for inputs of the size of x; None if PyTorch does not use oneDNN for them."""
        conv = self.conv
        backend = torch._C._select_conv_backend(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation,
                                                self.transposed, conv.output_padding, conv.groups, None)
        return self.converted(x.shape) if 'Mkldnn' in str(backend) else None

    def converted(self, size):
        return torch._C._nn.mkldnn_reorder_conv2d_weight(self.conv.weight.to_mkldnn(), *self.places(), size)

    def places(self) -> tuple:
        conv = self.conv
        return conv.padding, conv.stride, conv.dilation, conv.groups

    def compute(self, x, weight):
        return torch.ops.mkldnn._convolution_pointwise(x, weight, self.conv.bias, *self.places(), 'none', [], '')


class PackedTransposed(Packed):
    """A transposed convolution."""

    transposed = True

    def converted(self, size):
        return torch.ops.mkldnn._reorder_convolution_transpose_weight(self.conv.weight, *self.places(), size)

    def places(self):
        conv = self.conv
        return conv.padding, conv.output_padding, conv.stride, conv.dilation, conv.groups

    def compute(self, x, weight):
        return torch.ops.mkldnn._convolution_transpose_pointwise(x, weight, self.conv.bias, *self.places(), 'none', [],
                                                                 '')


def suits(x: torch.Tensor) -> bool:
    return (x.dtype == torch.float32 and x.device.type == 'cpu' and x.is_contiguous(memory_format=torch.channels_last)
            and not torch.is_grad_enabled() and not torch.is_autocast_enabled('cpu'))


def packed(net: nn.Module) -> nn.Module:
    """A copy of `net` with packed convolutions; `net` itself where PyTorch was built without oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return net

    def with_zeros(kind):
        return lambda conv: kind(conv) if conv.padding_mode == 'zeros' else conv
    return copy_sharing_weights(net, {
        nn.Conv2d: with_zeros(Packed), OutputConv2d: with_zeros(Packed),
        nn.ConvTranspose2d: with_zeros(PackedTransposed), OutputConvTranspose2d: with_zeros(PackedTransposed)})
