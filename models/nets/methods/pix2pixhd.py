"""pix2pixHD (Wang et al. 2018, section 3.2): a generator that refines a coarser one; discriminators of several scales.

Keys and shapes are those of the public checkpoints. The coarse generator alone is a `ResnetGenerator` with
`n_downsample` 4.
"""
from torch import nn

from ..convolutions import OutputConv2d, ReflectionPad2d
from ..generators import ResnetBlock, ResnetGenerator
from ..layers import leaky, norm_rule
from ..norms import Chain
from ..recompute import Segments


class EnhancedGenerator(nn.Module):
    """A coarse generator that sees the image at half the size, and an enhancer that adds details at full size.

    Each further enhancer doubles the size and has half the channels; the last one has `ngf`.
    """

    def __init__(self, input_nc: int, output_nc: int, ngf: int = 32, norm: str = 'instance', n_downsample: int = 4,
                 n_blocks: int = 9, n_enhancers: int = 1, n_blocks_enhancer: int = 3):
        super().__init__()
        norm_layer, bias = norm_rule(norm)
        self.multiple = 2**(n_downsample + n_enhancers)
        self.smallest = 2 * self.multiple
        self.n_enhancers = n_enhancers
        coarse = ResnetGenerator(input_nc, output_nc, ngf * 2**n_enhancers, norm, n_blocks=n_blocks,
                                 n_downsample=n_downsample)
        self.model = coarse.model[:-3]      # all but the layers that make an image
        for n in range(1, n_enhancers + 1):
            width = ngf * 2**(n_enhancers - n)
            down = Segments(ReflectionPad2d(3), nn.Conv2d(input_nc, width, 7, bias=bias), norm_layer(width), nn.ReLU(),
                            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=bias), norm_layer(2 * width), nn.ReLU())
            last = [ReflectionPad2d(3), OutputConv2d(width, output_nc, 7), nn.Tanh()] if n == n_enhancers else []
            up = Segments(*(ResnetBlock(2 * width, norm, dropout=False) for _ in range(n_blocks_enhancer)),
                          nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1, bias=bias),
                          norm_layer(width), nn.ReLU(), *last)
            setattr(self, f'model{n}_1', down)
            setattr(self, f'model{n}_2', up)
        self.downsample = nn.AvgPool2d(3, 2, 1, count_include_pad=False)

    def forward(self, image):
        sizes = [image]
        for _ in range(self.n_enhancers):
            sizes.append(self.downsample(sizes[-1]))
        x = self.model(sizes.pop())
        for n in range(1, self.n_enhancers + 1):
            x = getattr(self, f'model{n}_2')(getattr(self, f'model{n}_1')(sizes.pop()) + x)
        return x

    def encoder_layers(self) -> list[nn.Module]:
        return ResnetGenerator.encoder_layers(self)


def create_pyramid(input_nc: int, output_nc: int, ngf: int, norm: str, n_downsample: int, n_blocks: int,
                   n_enhancers: int, n_blocks_enhancer: int) -> nn.Module:
    """The coarse generator (G1), or one with enhancers (G2)."""
    if n_enhancers == 0:
        return ResnetGenerator(input_nc, output_nc, ngf, norm, n_blocks=n_blocks, n_downsample=n_downsample)
    return EnhancedGenerator(input_nc, output_nc, ngf, norm, n_downsample, n_blocks, n_enhancers, n_blocks_enhancer)


class ScaleDiscriminators(nn.Module):
    """A PatchGAN for each of several image sizes, from full size down by halves; returns a list of their maps.

    Convolutions pad 2 pixels, one more than those of `PatchScales`, so that any size is possible.
    """

    def __init__(self, input_nc: int, ndf: int = 64, n_layers: int = 3, norm: str = 'instance', num_scales: int = 3):
        super().__init__()
        self.num_scales = num_scales
        self.n_parts = n_layers + 2
        for scale in range(num_scales):
            for index, part in enumerate(self.parts(input_nc, ndf, n_layers, norm)):
                setattr(self, f'scale{scale}_layer{index}', part)
        self.downsample = nn.AvgPool2d(3, 2, 1, count_include_pad=False)

    @staticmethod
    def parts(input_nc, ndf, n_layers, norm) -> list[nn.Module]:
        norm_layer, _ = norm_rule(norm)
        widths = [ndf * min(2**n, 8) for n in range(n_layers + 1)]
        inner = [Chain(nn.Conv2d(before, after, 4, 2 if n < n_layers else 1, 2), norm_layer(after), leaky())
                 for n, (before, after) in enumerate(zip(widths, widths[1:], strict=False), 1)]
        return [Chain(nn.Conv2d(input_nc, ndf, 4, 2, 2), leaky()), *inner, Chain(OutputConv2d(widths[-1], 1, 4, 1, 2))]

    def forward(self, image):
        return [outputs[-1] for outputs in self.outputs(image)]

    def features(self, image) -> list[list]:
        """The features after each activation, of each scale."""
        return [outputs[:-1] for outputs in self.outputs(image)]

    def outputs(self, image) -> list[list]:
        """What each part returns, for each scale; the last discriminator sees the full size."""
        found = []
        for scale in reversed(range(self.num_scales)):
            outputs = [image]
            for index in range(self.n_parts):
                outputs.append(getattr(self, f'scale{scale}_layer{index}')(outputs[-1]))
            found.append(outputs[1:])
            image = self.downsample(image)
        return found
