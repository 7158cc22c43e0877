"""Discriminators: PatchGAN, PixelGAN, and one for several image sizes.

They return logits, in float32 even under autocast. Biases before norms follow the rule in generators.py.
"""
from torch import nn

from .convolutions import Downsample, OutputConv2d
from .layers import ConvBlock, leaky, norm_rule
from .norms import Chain


class PatchDiscriminator(nn.Module):
    """PatchGAN: one logit for each overlapping patch (pix2pix, section 3.3).

    The receptive field of 1, 3 and 5 layers is 16, 70 and 286 px; a side of 256 px gives 126, 30 and 6 patches.
    `antialias` filters before sizes are halved (CUT, appendix C).
    """

    def __init__(self, input_nc: int, ndf: int = 64, n_layers: int = 3, norm: str = 'instance',
                 antialias: bool = False):
        super().__init__()
        norm_layer, bias = norm_rule(norm)
        halving = 1 if antialias else 2
        layers = [nn.Conv2d(input_nc, ndf, 4, halving, 1), leaky(), *([Downsample(ndf)] if antialias else [])]
        width = ndf
        for n in range(1, n_layers + 1):
            before, width = width, ndf * min(2**n, 8)
            stride = halving if n < n_layers else 1
            layers += [nn.Conv2d(before, width, 4, stride, 1, bias=bias), norm_layer(width), leaky()]
            if antialias and n < n_layers:
                layers.append(Downsample(width))
        self.model = Chain(*layers, OutputConv2d(width, 1, 4, 1, 1))

    def forward(self, image):
        return self.model(image)

    def features(self, image) -> list[list]:
        """The features after each activation, for feature matching."""
        return [activations(self.model, image)]


def activations(layers: nn.Sequential, x) -> list:
    found = []
    for layer in layers:
        x = layer(x)
        if isinstance(layer, (nn.LeakyReLU, ConvBlock)):
            found.append(x)
    return found


class PixelDiscriminator(nn.Module):
    """One logit for each pixel, from 1x1 convolutions (PixelGAN; pix2pix, section 4.4)."""

    def __init__(self, input_nc: int, ndf: int = 64, norm: str = 'instance'):
        super().__init__()
        norm_layer, bias = norm_rule(norm)
        self.net = Chain(
            nn.Conv2d(input_nc, ndf, 1), leaky(),
            nn.Conv2d(ndf, 2 * ndf, 1, bias=bias), norm_layer(2 * ndf), leaky(),
            OutputConv2d(2 * ndf, 1, 1, bias=bias))

    def forward(self, image):
        return self.net(image)

    def features(self, image) -> list[list]:
        return [activations(self.net, image)]


class PatchScales(nn.Module):
    """A PatchGAN for each of several image sizes, from full size down by halves; returns a list of their maps.

    pix2pixHD, section 3.2. `narrower`: half the channels for each halving (BicycleGAN).
    """

    def __init__(self, input_nc: int, ndf: int = 64, n_layers: int = 3, norm: str = 'instance', num_scales: int = 2,
                 narrower: bool = False):
        super().__init__()
        widths = [max(1, ndf // 2**scale) if narrower else ndf for scale in range(num_scales)]
        self.scales = nn.ModuleList(PatchDiscriminator(input_nc, width, n_layers, norm) for width in widths)
        self.downsample = nn.AvgPool2d(3, 2, 1, count_include_pad=False)

    def forward(self, image):
        return self.over_scales(image, lambda netD, image: netD(image))

    def features(self, image) -> list[list]:
        """The features after each activation, of each scale."""
        return self.over_scales(image, lambda netD, image: netD.features(image)[0])

    def over_scales(self, image, work) -> list:
        found = []
        for netD in self.scales:
            found.append(work(netD, image))
            image = self.downsample(image)
        return found


class MultiscaleDiscriminator(nn.Module):
    """A discriminator for each of `num_scales` image sizes; returns a list of their maps."""

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

    def features(self, image) -> list[list]:
        """The features after each activation, of each scale."""
        found = []
        for cnn in self.cnns:
            found.append(activations(cnn, image))
            image = self.downsample(image)
        return found
