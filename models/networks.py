"""Generators and discriminators of CycleGAN, pix2pix and colorization.

The layers, their order and so the state_dict keys are those of the public checkpoints. Networks know no
options: they are built from explicit arguments and work in a notebook. Images are (N, C, H, W) in [-1, 1].

Convolutions followed by a norm have a bias only when the norm is 'instance', a rule of the checkpoints.
Activations are out of place: after an instance norm an in-place one costs five more kernels in backward.
Under autocast the last layer of every network works in full precision: images, logits and codes are float32.
"""
import re

import torch
from torch import nn

from .catalog import parse_netG, patch_layers
from .nets.layers import BatchNorm2d, Dropout
from .nets.norms import (
    SLOPES,
    Chain,
    DecoderLayerNorm,
    InstanceNorm2d,
    OutputConv2d,
    OutputConvTranspose2d,
    PaddedConv2d,
    ReflectionPad2d,
    adain,
    full_precision,
)
from .nets.recompute import Block, Recomputable, Segments

NORM_LAYERS = {
    'batch': BatchNorm2d,
    'syncbatch': BatchNorm2d,       # the same: statistics are always of all processes
    'instance': InstanceNorm2d,
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

        self.model = Segments(
            ReflectionPad2d(3),
            *activated(nn.Conv2d(input_nc, ngf, 7, bias=bias), ngf),
            *activated(nn.Conv2d(ngf, 2 * ngf, 3, 2, 1, bias=bias), 2 * ngf),
            *activated(nn.Conv2d(2 * ngf, 4 * ngf, 3, 2, 1, bias=bias), 4 * ngf),
            *[ResnetBlock(4 * ngf, norm, dropout) for _ in range(n_blocks)],
            *activated(nn.ConvTranspose2d(4 * ngf, 2 * ngf, 3, 2, 1, output_padding=1, bias=bias), 2 * ngf),
            *activated(nn.ConvTranspose2d(2 * ngf, ngf, 3, 2, 1, output_padding=1, bias=bias), ngf),
            ReflectionPad2d(3),
            OutputConv2d(ngf, output_nc, 7),
            nn.Tanh())

    def forward(self, image):
        return self.model(image)


class ResnetBlock(Block):
    """x + f(x), f of two reflection-padded 3x3 convolutions; no activation after the sum."""

    def __init__(self, channels: int, norm: str, dropout: bool):
        super().__init__()
        bias, norm_layer = norm == 'instance', NORM_LAYERS[norm]
        self.conv_block = Chain(
            ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm_layer(channels), nn.ReLU(),
            *([Dropout(0.5)] if dropout else []),
            ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm_layer(channels))

    def forward(self, x):
        return self.conv_block(x, residual=x)


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
            nn.ReLU(), OutputConvTranspose2d(doubled * ngf, output_nc, 4, 2, 1), nn.Tanh())

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
        self.model = Chain(*down, *up, *([Dropout(0.5)] if dropout else []))

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
        self.model = Chain(*layers, OutputConv2d(width, 1, 4, 1, 1))

    def forward(self, image):
        return self.model(image)


class PixelDiscriminator(nn.Module):
    """One logit for each pixel, from 1x1 convolutions (PixelGAN; pix2pix, section 4.4)."""

    def __init__(self, input_nc: int, ndf: int = 64, norm: str = 'instance'):
        super().__init__()
        bias, norm_layer = norm == 'instance', NORM_LAYERS[norm]
        self.net = Chain(
            nn.Conv2d(input_nc, ndf, 1), leaky(),
            nn.Conv2d(ndf, 2 * ndf, 1, bias=bias), norm_layer(2 * ndf), leaky(),
            OutputConv2d(2 * ndf, 1, 1, bias=bias))

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


def together(net: nn.Module, *inputs: torch.Tensor) -> list:
    """`net` of each input: in one call where that gives the same as several, in their order where it does not."""
    unlike = len({x.shape[1:] for x in inputs}) > 1
    if unlike or mixes_batch(net) or any(nn.utils.parametrize.is_parametrized(module) for module in net.modules()):
        return [net(x) for x in inputs]     # a spectral norm moves with every call
    sizes, outputs = [len(x) for x in inputs], net(torch.cat(inputs))
    if isinstance(outputs, list):           # of several scales
        return [list(scales) for scales in zip(*(output.split(sizes) for output in outputs), strict=True)]
    return list(outputs.split(sizes))


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


# ---- MUNIT (Huang et al. 2018, appendix B.2): an auto-encoder of content and style for each domain


class ConvBlock(Recomputable):
    """Padded convolution, norm, activation. The norm is registered first: the order of the original's keys."""

    def __init__(self, input_nc: int, output_nc: int, kernel: int, stride: int = 1, padding: int = 0,
                 norm: str = 'none', activation: nn.Module | None = None, pad_type: str = 'reflect',
                 conv: type = PaddedConv2d):
        super().__init__()
        self.norm = {'none': nn.Identity, 'instance': lambda: InstanceNorm2d(output_nc),
                     'layer': lambda: DecoderLayerNorm(output_nc), 'batch': lambda: BatchNorm2d(output_nc),
                     'adain': nn.Identity}[norm]()
        self.adaptive = norm == 'adain'
        self.activation = activation or nn.Identity()
        self.slope = SLOPES[type(activation)](activation) if type(activation) in SLOPES else 1.0
        self.conv = conv(input_nc, output_nc, kernel, stride, padding,
                         padding_mode='zeros' if pad_type == 'zero' else pad_type)

    def forward(self, x, style=None, residual=None):
        """`style`: (shift, scale), (N, C) each, for an adaptive norm; `residual` is added behind an instance norm."""
        x = self.conv(x)
        if self.adaptive:
            return adain(x, *style, self.slope, residual)
        if isinstance(self.norm, InstanceNorm2d):
            return self.norm(x, self.slope, residual)
        return self.activation(self.norm(x))


class ContentResBlock(nn.Module):
    """x + f(x), f of two 3x3 convolutions; no activation after the sum."""

    def __init__(self, channels: int, norm: str, pad_type: str):
        super().__init__()
        self.model = nn.ModuleList([
            ConvBlock(channels, channels, 3, 1, 1, norm, nn.ReLU(), pad_type),
            ConvBlock(channels, channels, 3, 1, 1, norm, None, pad_type)])

    def forward(self, x, styles=(None, None)):
        return self.model[1](self.model[0](x, styles[0]), styles[1], x)


class ContentResBlocks(nn.Module):
    def __init__(self, channels: int, n_res: int, norm: str, pad_type: str):
        super().__init__()
        self.model = nn.ModuleList(ContentResBlock(channels, norm, pad_type) for _ in range(n_res))

    def forward(self, x, styles=None):
        """`styles`: for each convolution in order its (shift, scale), if the norms are adaptive."""
        for index, block in enumerate(self.model):
            x = block(x, styles[2 * index:2 * index + 2]) if styles else block(x)
        return x


class ContentEncoder(nn.Module):
    """Image (N, 3, H, W) to content code (N, ngf * 2**n_downsample, H / 2**n_downsample, ...)."""

    def __init__(self, input_nc: int, ngf: int, n_downsample: int, n_res: int, pad_type: str):
        super().__init__()
        widths = [ngf * 2**level for level in range(n_downsample + 1)]
        self.model = nn.Sequential(
            ConvBlock(input_nc, ngf, 7, 1, 3, 'instance', nn.ReLU(), pad_type),
            *[ConvBlock(before, after, 4, 2, 1, 'instance', nn.ReLU(), pad_type)
              for before, after in zip(widths, widths[1:], strict=False)],
            ContentResBlocks(widths[-1], n_res, 'instance', pad_type))

    def forward(self, image):
        return self.model(image)


class StyleEncoder(nn.Module):
    """Image to style code (N, style_dim, 1, 1). No norms: they would take the style away."""

    def __init__(self, input_nc: int, ngf: int, style_dim: int, n_downsample: int, pad_type: str):
        super().__init__()
        widths = [ngf * min(2**level, 4) for level in range(n_downsample + 1)]
        self.model = nn.Sequential(
            ConvBlock(input_nc, ngf, 7, 1, 3, 'none', nn.ReLU(), pad_type),
            *[ConvBlock(before, after, 4, 2, 1, 'none', nn.ReLU(), pad_type)
              for before, after in zip(widths, widths[1:], strict=False)],
            nn.AdaptiveAvgPool2d(1),
            OutputConv2d(widths[-1], style_dim, 1))

    def forward(self, image):
        return self.model(image)


class StyleDecoder(nn.Module):
    """Content code and AdaIN parameters to an image in [-1, 1]."""

    def __init__(self, output_nc: int, ngf: int, n_downsample: int, n_res: int, pad_type: str):
        super().__init__()
        widths = [ngf * 2**level for level in reversed(range(n_downsample + 1))]
        ups = []
        for before, after in zip(widths, widths[1:], strict=False):
            ups += [nn.Upsample(scale_factor=2), ConvBlock(before, after, 5, 1, 2, 'layer', nn.ReLU(), pad_type)]
        self.model = nn.Sequential(
            ContentResBlocks(widths[0], n_res, 'adain', pad_type), *ups,
            ConvBlock(ngf, output_nc, 7, 1, 3, 'none', nn.Tanh(), pad_type, OutputConv2d))

    def forward(self, content, parameters):
        """`parameters`: (N, 4 * n_res * C); for each norm in order C shifts, then C scales, used as they are."""
        halves = parameters.split(content.shape[1], dim=1)
        x = self.model[0](content, list(zip(halves[0::2], halves[1::2], strict=True)))
        for layer in self.model[1:]:
            x = layer(x)
        return x


class LinearBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, activation: nn.Module | None = None):
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)
        self.activation = activation or nn.Identity()

    def forward(self, x):
        return self.activation(self.fc(x))


class StyleMLP(nn.Module):
    """Style code (N, style_dim, 1, 1) to all AdaIN parameters (N, outputs)."""

    def __init__(self, style_dim: int, width: int, outputs: int):
        super().__init__()
        self.model = nn.Sequential(LinearBlock(style_dim, width, nn.ReLU()), LinearBlock(width, width, nn.ReLU()),
                                   LinearBlock(width, outputs))

    def forward(self, style):
        with full_precision(style.device):
            return self.model(style.flatten(1))


class MunitGenerator(nn.Module):
    """The auto-encoder of one domain: `encode` its images, `decode` any content with a style of the domain.

    Sides must be multiples of 2**n_downsample for the output to have the size of the input.
    """

    def __init__(self, nc: int = 3, ngf: int = 64, style_dim: int = 8, mlp_dim: int = 256, n_downsample: int = 2,
                 n_downsample_style: int = 4, n_res: int = 4, pad_type: str = 'reflect'):
        super().__init__()
        width = ngf * 2**n_downsample
        self.enc_style = StyleEncoder(nc, ngf, style_dim, n_downsample_style, pad_type)
        self.enc_content = ContentEncoder(nc, ngf, n_downsample, n_res, pad_type)
        self.dec = StyleDecoder(nc, ngf, n_downsample, n_res, pad_type)
        self.mlp = StyleMLP(style_dim, mlp_dim, 4 * n_res * width)

    def encode(self, image):
        """Content and style code of an image."""
        return self.enc_content(image), self.enc_style(image)

    def decode(self, content, style):
        return self.dec(content, self.mlp(style))

    def forward(self, image):
        return self.decode(*self.encode(image))


class MultiscaleDiscriminator(nn.Module):
    """A discriminator for each of `num_scales` sizes of the image; returns their maps as a list."""

    def __init__(self, input_nc: int = 3, ndf: int = 64, n_layers: int = 4, num_scales: int = 3, norm: str = 'none',
                 pad_type: str = 'reflect'):
        super().__init__()
        self.cnns = nn.ModuleList(self.one_scale(input_nc, ndf, n_layers, norm, pad_type) for _ in range(num_scales))
        self.downsample = nn.AvgPool2d(3, 2, 1, count_include_pad=False)

    @staticmethod
    def one_scale(input_nc, ndf, n_layers, norm, pad_type):
        widths = [ndf * 2**layer for layer in range(n_layers)]
        layers = [ConvBlock(input_nc, ndf, 4, 2, 1, 'none', leaky(), pad_type)]
        layers += [ConvBlock(before, after, 4, 2, 1, 'none' if norm == 'spectral' else norm, leaky(), pad_type)
                   for before, after in zip(widths, widths[1:], strict=False)]
        if norm == 'spectral':
            for layer in layers[1:]:
                nn.utils.parametrizations.spectral_norm(layer.conv)
        return nn.Sequential(*layers, OutputConv2d(widths[-1], 1, 1))

    def forward(self, image):
        maps = []
        for cnn in self.cnns:
            maps.append(cnn(image))
            image = self.downsample(image)
        return maps
