"""BicycleGAN (Zhu et al. 2017, section 4): a U-Net that takes a latent code, and an encoder of images to codes."""
import torch
import torch.nn.functional as F
from torch import nn

from ..convolutions import DoublingConv2d, HalvingConv2d, OutputConvTranspose2d
from ..layers import NORM_LAYERS, Dropout, leaky
from ..norms import full_precision


class LatentUnet(nn.Module):
    """A U-Net of `n_levels` that sees the code z at its input, or with `where` 'all' at each level of its encoder.

    z is repeated at all places and appended to the channels (section 4, figure 3). Both sides of the image must be
    multiples of 2**n_levels.
    """

    def __init__(self, input_nc: int, output_nc: int, nz: int, ngf: int = 64, norm: str = 'instance',
                 dropout: bool = False, n_levels: int = 8, where: str = 'all'):
        super().__init__()
        bias, norm_layer = norm == 'instance', NORM_LAYERS[norm]
        self.multiple = self.smallest = 2**n_levels
        widths = [ngf * min(2**level, 8) for level in range(n_levels)]
        self.codes = [nz if where == 'all' or level == 0 else 0 for level in range(n_levels)]
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        for level, (before, width) in enumerate(zip([input_nc, *widths], widths, strict=False)):
            outer, last = level == 0, level == n_levels - 1
            layers = [HalvingConv2d(before + self.codes[level], width, bias or outer)]
            plain = outer or last       # no norm at the bottleneck: with one value per channel, it would return 0
            self.downs.append(nn.Sequential(*([] if outer else [leaky()]), *layers,
                                            *([] if plain else [norm_layer(width)])))
            joined = width if last else 2 * width
            if outer:
                up = [nn.ReLU(), OutputConvTranspose2d(joined, output_nc, 4, 2, 1), nn.Tanh()]
            else:
                up = [nn.ReLU(), DoublingConv2d(joined, before, bias), norm_layer(before)]
                up += [Dropout(0.5)] if dropout and 4 <= level <= n_levels - 2 else []
            self.ups.append(nn.Sequential(*up))

    def forward(self, image, z):
        """`image` (N, C, H, W) and code `z` (N, nz) to an image."""
        x, skips = image, []
        for down, code in zip(self.downs, self.codes, strict=True):
            if code:
                x = torch.cat([x, z[:, :, None, None].to(x.dtype).expand(-1, -1, *x.shape[2:])], 1)
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up in reversed(self.ups[1:]):
            x = torch.cat([skips.pop(), up(x)], 1)
        return self.ups[0](x)

    def encoder_layers(self) -> list[nn.Module]:
        return [self.downs]


class LatentEncoder(nn.Module):
    """Image to mean and log variance of its code, (N, nz) each: a ResNet that halves the size in each block."""

    def __init__(self, input_nc: int, nz: int, nef: int = 64, norm: str = 'instance', n_blocks: int = 4):
        super().__init__()
        self.smallest = 2**(n_blocks + 1)
        widths = [nef * min(2**n, 4) for n in range(n_blocks + 1)]
        self.first = nn.Conv2d(input_nc, nef, 4, 2, 1)
        self.blocks = nn.Sequential(*(EncoderBlock(before, after, norm)
                                      for before, after in zip(widths, widths[1:], strict=False)), leaky())
        self.mean = nn.Linear(widths[-1], nz)
        self.log_variance = nn.Linear(widths[-1], nz)

    def forward(self, image):
        x = self.blocks(self.first(image)).mean((2, 3))
        with full_precision(image.device):
            x = x.to(self.mean.weight.dtype)
            return self.mean(x), self.log_variance(x)


class EncoderBlock(nn.Module):
    """Two convolutions, norms before them, and a sum with a 1x1 convolution of the input; averages 2x2 pixels."""

    def __init__(self, before: int, after: int, norm: str):
        super().__init__()
        self.model = nn.Sequential(
            NORM_LAYERS[norm](before), leaky(), nn.Conv2d(before, before, 3, 1, 1),
            NORM_LAYERS[norm](before), leaky(), nn.Conv2d(before, after, 3, 1, 1))
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x):
        return F.avg_pool2d(self.model(x), 2) + self.shortcut(F.avg_pool2d(x, 2))
