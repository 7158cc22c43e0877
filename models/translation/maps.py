"""Feature maps that are computed region by region, with the numbers that the whole image gives.

A network is a graph of maps. A convolution asks for a region of its input that is a little larger than its own, and
cuts off what the border of the region has spoiled. A norm asks for the statistics of its whole input. So a tile has no
seam, whatever the norm, and however far a U-Net sees.
"""
from dataclasses import dataclass

import torch

from util.raster.windows import Scratch

HALO = 4            # pixels of the coarser of two maps: a 7x7 convolution, the largest, sees 3 around its own
LARGEST_STORED = 128    # bytes for each pixel of the image: larger maps are computed again when they are needed


@dataclass(frozen=True)
class Region:
    """Rows and columns of the image, in pixels."""

    top: int
    bottom: int
    left: int
    right: int

    def index(self, scale: int) -> tuple:
        """The index of this region in a map whose pixels have `scale` pixels of the image on a side."""
        return (..., slice(self.top // scale, self.bottom // scale), slice(self.left // scale, self.right // scale))

    def extended(self, margin: int, size: tuple[int, int]) -> 'Region':
        """With `margin` more pixels on each side, within the image."""
        return Region(max(0, self.top - margin), min(size[0], self.bottom + margin),
                      max(0, self.left - margin), min(size[1], self.right + margin))

    def inside(self, other: 'Region', scale: int) -> tuple:
        """The index of this region in a map of the region `other`."""
        return Region(self.top - other.top, self.bottom - other.top,
                      self.left - other.left, self.right - other.left).index(scale)


def regions(size: tuple[int, int], side: int):
    """Regions of up to `side` x `side` pixels that cover the image once."""
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            yield Region(top, min(top + side, size[0]), left, min(left + side, size[1]))


class Map:
    """A feature map of `channels` channels; a pixel of it is `scale` pixels of the image wide.

    Attributes:
        stored: is it kept, because others ask for it more than once? 'always': also if it is large, because its values
            are drawn at random, or because it would be computed again and again.
        measured: are its statistics needed, over planes ('planes') or over all values ('all')?
    """

    def __init__(self, inputs: tuple, channels: int, scale: int, stored: bool | str = False):
        self.inputs, self.channels = inputs, channels
        self.scale = scale
        self.stored = stored == 'always' or bool(stored) and 4 * channels / scale**2 <= LARGEST_STORED
        self.measured = ''
        self.store = None
        self.statistics = None

    def region(self, region: Region) -> torch.Tensor:
        """Values (1, C, h, w) of a region."""
        return self.compute(region) if self.store is None else self.store.read(region.index(self.scale))

    def compute(self, region: Region) -> torch.Tensor:
        raise NotImplementedError


class Image(Map):
    """What the network sees: `read(region)` gives (1, C, h, w)."""

    def __init__(self, read, channels: int):
        super().__init__((), channels, 1)
        self.compute = read


class Local(Map):
    """Layers that see a few pixels around each pixel: a convolution with its padding, or an upsampling."""

    def __init__(self, layers: list, source: Map, channels: int, scale: int, size: tuple[int, int],
                 stored: bool = True):
        super().__init__((source,), channels, scale, stored)
        self.layers, self.size = layers, size

    def compute(self, region):
        source, = self.inputs
        wide = region.extended(HALO * max(self.scale, source.scale), self.size)
        x = source.region(wide)
        for layer in self.layers:
            x = layer(x)
        return x[region.inside(wide, self.scale)]


class Pointwise(Map):
    """A function of each pixel of other maps: an activation, a sum, a concatenation."""

    def __init__(self, function, *inputs: Map, channels: int = 0, stored: bool = False):
        super().__init__(inputs, channels or inputs[0].channels, inputs[0].scale, stored)
        self.function = function

    def compute(self, region):
        return self.function(*(source.region(region) for source in self.inputs))


class Norm(Map):
    """A map with the mean 0 and deviation 1 of its whole input, then `after(y)`: scales and shifts.

    `unbiased`: divide by the unbiased deviation plus eps, as `DecoderLayerNorm` does.
    """

    def __init__(self, source: Map, eps: float, over: str = 'planes', unbiased: bool = False, after=None):
        super().__init__((source,), source.channels, source.scale)
        source.measured = over
        self.eps, self.unbiased = eps, unbiased
        self.after = after

    def compute(self, region):
        source, = self.inputs
        x = source.region(region)
        mean, variance, count = source.statistics
        if self.unbiased:
            deviation = (variance * count / (count - 1)).sqrt() + self.eps
        else:
            deviation = (variance + self.eps).sqrt()
        y = (x.float() - mean.float()) / deviation.float()
        return (self.after(y) if self.after else y).to(x.dtype)


class Moments:
    """Sums over the regions of a map, in float64 where there is one."""

    def __init__(self, over: str):
        self.axes = (2, 3) if over == 'planes' else (1, 2, 3)
        self.count = 0
        self.sum = self.squares = 0.0

    def add(self, x: torch.Tensor):
        exact = x.float() if x.device.type == 'mps' else x.double()
        self.count += exact[0, 0].numel() if len(self.axes) == 2 else exact[0].numel()
        self.sum = self.sum + exact.sum(self.axes, keepdim=True)
        self.squares = self.squares + (exact * exact).sum(self.axes, keepdim=True)     # faster than square()

    def result(self) -> tuple:
        """(mean, variance, number of values)."""
        mean = self.sum / self.count
        return mean, (self.squares / self.count - mean.square()).clamp(min=0), self.count


# ---- where maps are kept

class MemoryStore:
    """A map in memory, on a device."""

    def __init__(self, channels: int, height: int, width: int, device: torch.device):
        self.values = torch.empty(1, height, width, channels, device=device).permute(0, 3, 1, 2)
        self.size = self.values.numel() * 4
        self.open = True

    def read(self, index):
        return self.values[index]

    def write(self, index, x):
        self.values[index] = x.to(self.values)

    def close(self):
        self.values = None
        self.open = False


class FileStore:
    """A map in a temporary file, row by row, with the channels of a pixel together."""

    def __init__(self, channels: int, height: int, width: int, device: torch.device):
        self.scratch = Scratch((height, width, channels), 'float32')
        self.device = device
        self.size = 0               # in memory
        self.open = True

    def read(self, index):
        return torch.from_numpy(self.scratch.read(*index[1:])).permute(2, 0, 1)[None].to(self.device)

    def write(self, index, x):
        self.scratch.write(*index[1:], x[0].float().permute(1, 2, 0).cpu().numpy())

    def close(self):
        self.scratch.close()
        self.open = False
