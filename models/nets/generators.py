"""The generators of CycleGAN, pix2pix and colorization: ResNet and U-Net.

Layers, their order and the state_dict keys are those of the public checkpoints. Images are (N, C, H, W) in [-1, 1].
In these checkpoints, a convolution before a norm has a bias only if the norm is 'instance'. Activations are not in
place: after an instance norm, an in-place activation costs five more kernels in backward. Under autocast the last
layer runs in full precision, so that images are float32.
"""
from collections import OrderedDict
from itertools import pairwise, takewhile

import torch
from torch import nn

from .convolutions import (
    DoublingConv2d,
    Downsample,
    HalvingConv2d,
    OutputConv2d,
    OutputConvTranspose2d,
    ReflectionPad2d,
    Upsample,
)
from .layers import Dropout, leaky, norm_rule
from .norms import Chain
from .recompute import Block, Segments


class ResnetGenerator(nn.Module):
    """Two strided convolutions, `n_blocks` residual blocks, two transposed convolutions (Johnson et al. 2016).

    CycleGAN, appendix 7.2: 6 blocks for 128 px, 9 for 256 px and more. Accepts any size; the output has the size of
    the input if both sides are multiples of 4. `antialias` filters before and after the sizes change (CUT, appendix C).
    pix2pixHD has 4 convolutions of each kind, `n_downsample`. `upsample` 'resize' has `resized_convolution`s instead of
    transposed ones.
    """

    def __init__(self, input_nc: int, output_nc: int, ngf: int = 64, norm: str = 'instance',
                 dropout: bool = False, n_blocks: int = 9, antialias: bool = False, n_downsample: int = 2,
                 upsample: str = 'transposed'):
        super().__init__()
        norm_layer, bias = norm_rule(norm)
        self.multiple = 2**n_downsample
        self.smallest = 2 * self.multiple   # the blocks pad by reflection, and norms need more than one value
        widths = [ngf * 2**n for n in range(n_downsample + 1)]

        def activated(conv, channels):
            return [conv, norm_layer(channels), nn.ReLU()]

        def down(before, after):
            layers = activated(nn.Conv2d(before, after, 3, 1 if antialias else 2, 1, bias=bias), after)
            return [*layers, Downsample(after)] if antialias else layers

        def up(before, after):
            if antialias:
                return [Upsample(before), *activated(nn.Conv2d(before, after, 3, 1, 1, bias=bias), after)]
            if upsample == 'resize':
                *resize, conv = resized_convolution(before, after, bias)
                return [*resize, *activated(conv, after)]
            return activated(nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1, bias=bias), after)

        self.model = Segments(
            ReflectionPad2d(3),
            *activated(nn.Conv2d(input_nc, ngf, 7, bias=bias), ngf),
            *[layer for before, after in pairwise(widths) for layer in down(before, after)],
            *[ResnetBlock(widths[-1], norm, dropout) for _ in range(n_blocks)],
            *[layer for before, after in pairwise(widths[::-1]) for layer in up(before, after)],
            ReflectionPad2d(3),
            OutputConv2d(ngf, output_nc, 7),
            nn.Tanh())

    def forward(self, image):
        return self.model(image)

    def features(self, image, layers: tuple[int, ...]) -> list[torch.Tensor]:
        """The outputs of some layers, whose indices rise; layers after the last one are not computed."""
        found = [image]
        for start, stop in pairwise((0, *(index + 1 for index in layers))):
            part = self.model[start:stop]
            part.recomputed = self.model.recomputed
            part.kernel = self.model.kernel
            found.append(part(found[-1]))
        return found[1:]

    def encoder_layers(self) -> list[nn.Module]:
        """The layers before the residual blocks."""
        return list(takewhile(lambda layer: not isinstance(layer, Block), self.model))

    def channels(self, layers: tuple[int, ...]) -> list[int]:
        """The channels of these features."""
        convs = (nn.Conv2d, nn.ConvTranspose2d)
        widths = [layer.out_channels if isinstance(layer, convs) else None for layer in self.model]
        first = self.model[1].in_channels
        return [next((width for width in reversed(widths[:index + 1]) if width), first) for index in layers]


class ResnetBlock(Block):
    """x + f(x), where f is two reflection-padded 3x3 convolutions; no activation after the sum."""

    def __init__(self, channels: int, norm: str, dropout: bool):
        super().__init__()
        norm_layer, bias = norm_rule(norm)
        self.conv_block = Chain(
            ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm_layer(channels), nn.ReLU(),
            *([Dropout(0.5)] if dropout else []),
            ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm_layer(channels))

    def forward(self, x):
        return self.conv_block(x, residual=x)


class UnetGenerator(nn.Module):
    """`n_levels` downsamplings to a bottleneck, as many upsamplings, and skips between levels of the same size.

    pix2pix, section 3.2 and appendix 6.1. `skips=False` is the encoder-decoder of the paper: the same layers without
    skips. Both sides of the image must be multiples of 2**n_levels.
    """

    def __init__(self, input_nc: int, output_nc: int, ngf: int = 64, norm: str = 'batch',
                 dropout: bool = False, n_levels: int = 8, skips: bool = True, upsample: str = 'transposed'):
        super().__init__()
        self.multiple = self.smallest = 2**n_levels
        widths = [ngf * min(2**level, 8) for level in range(n_levels)]
        inner = None
        for level in reversed(range(1, n_levels)):
            inner = UnetLevel(widths[level - 1], widths[level], inner, norm, skips,
                              dropout=dropout and 4 <= level <= n_levels - 2, upsample=upsample)
        _, bias = norm_rule(norm)
        joined = ngf * (2 if skips else 1)
        last = [OutputConvTranspose2d(joined, output_nc, 4, 2, 1)]
        if upsample == 'resize':
            last = resized_convolution(joined, output_nc, kind=OutputConv2d)
        layers = nn.Sequential(nn.Conv2d(input_nc, ngf, 4, 2, 1, bias=bias), inner, nn.ReLU(), *last, nn.Tanh())
        self.model = nn.Sequential(OrderedDict(model=layers))   # because keys in checkpoints begin with model.model

    def forward(self, image):
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f'a U-Net of this depth needs images whose sides are multiples of {self.multiple}, '
                             f'not {width}x{height}')
        return self.model(image)

    def encoder_layers(self) -> list[nn.Module]:
        """The layers that halve the size."""
        outer, *_ = self.model.model
        levels = [module.model for module in self.modules() if isinstance(module, UnetLevel)]
        return [outer, *(layer for level in levels
                         for layer in takewhile(lambda layer: not isinstance(layer, (UnetLevel, nn.ReLU)), level))]


class UnetLevel(nn.Module):
    """Downsample, apply the inner level, upsample; with `skips`, concatenate input and result along channels."""

    def __init__(self, outer: int, width: int, inside: nn.Module | None, norm: str, skips: bool, dropout: bool,
                 upsample: str = 'transposed'):
        super().__init__()
        norm_layer, bias = norm_rule(norm)
        self.skips = skips
        down = [leaky(), HalvingConv2d(outer, width, bias)]
        if inside is not None:      # no norm in the bottleneck: with one value per channel, it would return 0
            down += [norm_layer(width), inside]
        joined = width * (2 if skips and inside is not None else 1)
        double = [DoublingConv2d(joined, outer, bias)]
        if upsample == 'resize':
            double = resized_convolution(joined, outer, bias)
        up = [nn.ReLU(), *double, norm_layer(outer)]
        self.model = Chain(*down, *up, *([Dropout(0.5)] if dropout else []))

    def forward(self, x):
        return torch.cat([x, self.model(x)], 1) if self.skips else self.model(x)


def resized_convolution(before: int, after: int, bias: bool = True, kind: type = nn.Conv2d) -> list[nn.Module]:
    """Nearest-neighbor resizing to twice the size, then a 3x3 convolution: no checkerboards (Odena et al. 2016)."""
    return [nn.Upsample(scale_factor=2), ReflectionPad2d(1), kind(before, after, 3, bias=bias)]
