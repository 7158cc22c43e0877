"""SPADE (Park et al. 2019): a generator whose norms are scaled and shifted at each place as a label map says."""
import torch.nn.functional as F
from torch import nn

from ..convolutions import OutputConv2d, PaddedConv2d
from ..layers import BatchNorm2d
from ..norms import InstanceNorm2d
from ..recompute import Recomputable

NORMS = {'instance': InstanceNorm2d, 'syncbatch': lambda channels: BatchNorm2d(channels, affine=False)}


class Spade(nn.Module):
    """Spatially-adaptive normalization (eq. 1): norm(x) * (1 + gamma) + beta, maps that two convolutions make."""

    def __init__(self, channels: int, label_nc: int, norm: str, hidden: int):
        super().__init__()
        self.norm = NORMS[norm](channels)
        self.shared = nn.Conv2d(label_nc, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x, labels):
        labels = F.relu(self.shared(F.interpolate(labels, size=x.shape[2:], mode='nearest')))
        return self.norm(x) * (1 + self.gamma(labels)) + self.beta(labels)


class SpadeBlock(Recomputable):
    """x + f(x), where f is twice SPADE, leaky ReLU and a 3x3 convolution (figure 4).

    If the number of channels changes, x goes through SPADE and a 1x1 convolution.
    """

    def __init__(self, before: int, after: int, label_nc: int, norm: str, hidden: int):
        super().__init__()
        middle = min(before, after)
        self.norm_0 = Spade(before, label_nc, norm, hidden)
        self.conv_0 = PaddedConv2d(before, middle, 3, padding=1)
        self.norm_1 = Spade(middle, label_nc, norm, hidden)
        self.conv_1 = PaddedConv2d(middle, after, 3, padding=1)
        self.changes = before != after
        if self.changes:
            self.norm_s = Spade(before, label_nc, norm, hidden)
            self.conv_s = PaddedConv2d(before, after, 1, bias=False)

    def forward(self, x, labels):
        y = self.conv_0(F.leaky_relu(self.norm_0(x, labels), 0.2))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, labels), 0.2))
        return y + (self.conv_s(self.norm_s(x, labels)) if self.changes else x)


class SpadeGenerator(nn.Module):
    """Label map (N, label_nc, H, W) to image, from 1 / 2**n_ups of the size up (appendix A).

    Both sides must be multiples of 2**n_ups. The weights are the same for all `n_ups`: with fewer than 5, the first
    blocks work at the same size.
    """

    WIDTHS = (16, 16, 16, 8, 4, 2, 1)       # of the blocks, in units of ngf
    DOUBLED = (6, 5, 4, 3, 1)               # the size is doubled before these blocks: the last ones first

    def __init__(self, label_nc: int, output_nc: int, ngf: int = 64, norm: str = 'instance', n_ups: int = 5,
                 hidden: int = 128):
        super().__init__()
        self.multiple = 2**n_ups
        self.smallest = 2 * self.multiple       # norms need more than one value
        self.doubled = self.DOUBLED[:n_ups]
        widths = [ngf * width for width in self.WIDTHS]
        self.first = nn.Conv2d(label_nc, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(SpadeBlock(before, after, label_nc, norm, hidden)
                                    for before, after in zip([widths[0], *widths], widths, strict=False))
        self.last = OutputConv2d(widths[-1], output_nc, 3, padding=1)

    def forward(self, labels):
        height, width = (side // self.multiple for side in labels.shape[2:])
        x = self.first(F.interpolate(labels, size=(height, width), mode='nearest'))
        for index, block in enumerate(self.blocks):
            if index in self.doubled:
                x = F.interpolate(x, scale_factor=2, mode='nearest')
            x = block(x, labels)
        return self.last(F.leaky_relu(x, 0.2)).tanh()
