"""Generators and discriminators of CycleGAN, pix2pix and colorization.

The layers, their order and so the state_dict keys are those of the public checkpoints. Networks know no
options: they are built from explicit arguments and work in a notebook. Images are (N, C, H, W) in [-1, 1].

Convolutions followed by a norm have a bias only when the norm is 'instance', a rule of the checkpoints.
Activations are out of place: after an instance norm an in-place one costs five more kernels in backward.
"""
import functools
import re

import torch
from torch import nn

from .catalog import parse_netG, patch_layers

NORM_LAYERS = {
    'batch': functools.partial(nn.BatchNorm2d, affine=True, track_running_stats=True),
    'syncbatch': functools.partial(nn.SyncBatchNorm, affine=True, track_running_stats=True),
    'instance': functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False),
    'none': lambda channels: nn.Identity(),
}


def leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)


class ResnetGenerator(nn.Module):
    """Two strided convolutions, `n_blocks` residual blocks, two transposed ones (Johnson et al. 2016).

    CycleGAN, appendix 7.2: 6 blocks for 128 px, 9 for 256 px and more. Works on any size; the output has the
    size of the input when both sides are multiples of 4.
    """

    def __init__(self, input_nc: int, output_nc: int, ngf: int = 64, norm: str = 'instance',
                 dropout: bool = False, n_blocks: int = 9):
        super().__init__()
        bias, norm_layer = norm == 'instance', NORM_LAYERS[norm]

        def activated(conv, channels):
            return [conv, norm_layer(channels), nn.ReLU()]

        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *activated(nn.Conv2d(input_nc, ngf, 7, bias=bias), ngf),
            *activated(nn.Conv2d(ngf, 2 * ngf, 3, 2, 1, bias=bias), 2 * ngf),
            *activated(nn.Conv2d(2 * ngf, 4 * ngf, 3, 2, 1, bias=bias), 4 * ngf),
            *[ResnetBlock(4 * ngf, norm, dropout) for _ in range(n_blocks)],
            *activated(nn.ConvTranspose2d(4 * ngf, 2 * ngf, 3, 2, 1, output_padding=1, bias=bias), 2 * ngf),
            *activated(nn.ConvTranspose2d(2 * ngf, ngf, 3, 2, 1, output_padding=1, bias=bias), ngf),
            nn.ReflectionPad2d(3),
            nn.Conv2d(ngf, output_nc, 7),
            nn.Tanh())

    def forward(self, image):
        return self.model(image)


class ResnetBlock(nn.Module):
    """x + f(x), f of two reflection-padded 3x3 convolutions; no activation after the sum."""

    def __init__(self, channels: int, norm: str, dropout: bool):
        super().__init__()
        bias, norm_layer = norm == 'instance', NORM_LAYERS[norm]
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm_layer(channels), nn.ReLU(),
            *([nn.Dropout(0.5)] if dropout else []),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm_layer(channels))

    def forward(self, x):
        return x + self.conv_block(x)


class UnetGenerator(nn.Module):
    """`n_levels` halvings down to a bottleneck and up again, with skips between levels of one size.

    pix2pix, section 3.2 and appendix 6.1. With `skips=False` the same layers without the skips: the paper's
    encoder-decoder. Both sides of the image must be multiples of 2**n_levels.
    """

    def __init__(self, input_nc: int, output_nc: int, ngf: int = 64, norm: str = 'batch',
                 dropout: bool = False, n_levels: int = 8, skips: bool = True):
        super().__init__()
        self.multiple = 2**n_levels
        widths = [ngf * min(2**level, 8) for level in range(n_levels)]
        inner = None
        for level in reversed(range(1, n_levels)):
            inner = UnetLevel(widths[level - 1], widths[level], inner, norm, skips,
                              dropout=dropout and 4 <= level <= n_levels - 2)
        bias, doubled = norm == 'instance', 2 if skips else 1
        # one wrapper more than needed: the checkpoints' keys begin with model.model
        self.model = nn.Module()
        self.model.model = nn.Sequential(
            nn.Conv2d(input_nc, ngf, 4, 2, 1, bias=bias), inner,
            nn.ReLU(), nn.ConvTranspose2d(doubled * ngf, output_nc, 4, 2, 1), nn.Tanh())

    def forward(self, image):
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f'a U-Net of this depth needs images whose sides are multiples of {self.multiple}, '
                             f'not {width}x{height}')
        return self.model.model(image)


class UnetLevel(nn.Module):
    """Halve, go through the level inside, double; the result is joined behind the input along channels."""

    def __init__(self, outer: int, width: int, inside: nn.Module | None, norm: str, skips: bool, dropout: bool):
        super().__init__()
        bias, norm_layer = norm == 'instance', NORM_LAYERS[norm]
        self.skips = skips
        down = [leaky(), nn.Conv2d(outer, width, 4, 2, 1, bias=bias)]
        if inside is not None:      # the bottleneck has no norm: with one value per channel it would be zero
            down += [norm_layer(width), inside]
        joined = width * (2 if skips and inside is not None else 1)
        up = [nn.ReLU(), nn.ConvTranspose2d(joined, outer, 4, 2, 1, bias=bias), norm_layer(outer)]
        self.model = nn.Sequential(*down, *up, *([nn.Dropout(0.5)] if dropout else []))

    def forward(self, x):
        return torch.cat([x, self.model(x)], 1) if self.skips else self.model(x)


class PatchDiscriminator(nn.Module):
    """PatchGAN: one logit for each overlapping patch (pix2pix, section 3.3).

    Receptive field of 1, 3 and 5 layers: 16, 70 and 286 px; 256 px give 126, 30 and 6 patches a side.
    """

    def __init__(self, input_nc: int, ndf: int = 64, n_layers: int = 3, norm: str = 'instance'):
        super().__init__()
        bias, norm_layer = norm == 'instance', NORM_LAYERS[norm]
        layers = [nn.Conv2d(input_nc, ndf, 4, 2, 1), leaky()]
        width = ndf
        for n in range(1, n_layers + 1):
            before, width = width, ndf * min(2**n, 8)
            stride = 2 if n < n_layers else 1
            layers += [nn.Conv2d(before, width, 4, stride, 1, bias=bias), norm_layer(width), leaky()]
        self.model = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 1))

    def forward(self, image):
        return self.model(image)


class PixelDiscriminator(nn.Module):
    """One logit for each pixel, from 1x1 convolutions (PixelGAN; pix2pix, section 4.4)."""

    def __init__(self, input_nc: int, ndf: int = 64, norm: str = 'instance'):
        super().__init__()
        bias, norm_layer = norm == 'instance', NORM_LAYERS[norm]
        self.net = nn.Sequential(
            nn.Conv2d(input_nc, ndf, 1), leaky(),
            nn.Conv2d(ndf, 2 * ndf, 1, bias=bias), norm_layer(2 * ndf), leaky(),
            nn.Conv2d(2 * ndf, 1, 1, bias=bias))

    def forward(self, image):
        return self.net(image)


def create_generator(netG: str, input_nc: int, output_nc: int, ngf: int = 64, norm: str = 'instance',
                     dropout: bool = False) -> nn.Module:
    """The generator of a name such as 'resnet_9blocks', 'unet_256' or 'encdec_256'; ValueError for others."""
    family, depth = parse_netG(netG)
    if family == 'resnet':
        return ResnetGenerator(input_nc, output_nc, ngf, norm, dropout, n_blocks=depth)
    return UnetGenerator(input_nc, output_nc, ngf, norm, dropout, n_levels=depth, skips=family == 'unet')


def create_discriminator(netD: str, input_nc: int, ndf: int = 64, n_layers_D: int = 3,
                         norm: str = 'instance') -> nn.Module:
    """'pixel', 'n_layers' with `n_layers_D`, or a PatchGAN named in `catalog.PATCH_LAYERS`."""
    if netD == 'pixel':
        return PixelDiscriminator(input_nc, ndf, norm)
    return PatchDiscriminator(input_nc, ndf, patch_layers(netD, n_layers_D), norm)


INITIALISERS = {
    'normal': lambda weight, gain: nn.init.normal_(weight, 0.0, gain),
    'xavier': lambda weight, gain: nn.init.xavier_normal_(weight, gain=gain),
    'kaiming': lambda weight, gain: nn.init.kaiming_normal_(weight, a=0, mode='fan_in'),
    'orthogonal': lambda weight, gain: nn.init.orthogonal_(weight, gain=gain),
}


def init_weights(net: nn.Module, init_type: str = 'normal', init_gain: float = 0.02) -> nn.Module:
    """Draw the weights of all convolutions and linear layers; scales of batch norms from N(1, init_gain)."""
    def init(module):
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            INITIALISERS[init_type](module.weight, init_gain)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.normal_(module.weight, 1.0, init_gain)
        else:
            return
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return net.apply(init)


def mixes_batch(net: nn.Module) -> bool:
    """Does an image's output depend on the others of its batch, or on noise drawn for the whole batch?"""
    noisy = (nn.Dropout, nn.modules.batchnorm._BatchNorm)
    return any(isinstance(module, noisy) and module.training for module in net.modules())


def describe_generator(weights: dict) -> dict | None:
    """The options that build the generator these weights belong to, or None if it is none of ours.

    Gives netG, input_nc, output_nc, ngf, norm and, where the keys tell it (ResNet), no_dropout.
    """
    convs = {key: value.shape for key, value in weights.items() if key.endswith('.weight') and value.ndim == 4}
    blocks = {key.split('.')[1] for key in convs if '.conv_block.' in key}
    if blocks and 'model.1.weight' in convs:
        first, last = convs['model.1.weight'], list(convs.values())[-1]
        norm = 'batch' if 'model.2.weight' in weights else 'instance' if 'model.1.bias' in weights else 'none'
        return dict(netG=f'resnet_{len(blocks)}blocks', input_nc=first[1], output_nc=last[0], ngf=first[0],
                    norm=norm, no_dropout=not any(re.search(r'conv_block\.6\.weight', key) for key in convs))
    if {'model.model.0.weight', 'model.model.3.weight'} <= convs.keys():
        first, last = convs['model.model.0.weight'], convs['model.model.3.weight']
        norms = any(value.ndim == 1 and key.endswith('.weight') for key, value in weights.items())
        norm = 'batch' if norms else 'instance' if 'model.model.0.bias' in weights else 'none'
        family = 'unet' if last[0] == 2 * first[0] else 'encdec'
        return dict(netG=f'{family}_{2 ** (len(convs) // 2)}', input_nc=first[1], output_nc=last[1],
                    ngf=first[0], norm=norm)
    return None
