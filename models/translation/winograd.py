"""3x3 convolutions with a quarter of the multiplications, in float32 on a CPU.

F(4x4, 3x3) of Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.3: tiles of 6x6
pixels become 36 sums, of which each is multiplied by a matrix of channels, and the products become 4x4 pixels. Rounding
errors are about five times those of a plain convolution. On a GPU, cuDNN chooses such methods itself.
"""
import torch
import torch.nn.functional as F
from torch import nn

from models.nets.convolutions import PaddedConv2d

ROWS = 8        # of tiles, that are computed at once: their sums fit into the cache of a core
FEWEST = 32     # channels; with fewer, the sums cost more than they save
# the transform of a filter, (6, 3)
FILTER = ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6), (1 / 24, 1 / 12, 1 / 6),
          (1 / 24, -1 / 12, 1 / 6), (0, 0, 1))


def filter_sums(weight: torch.Tensor) -> torch.Tensor:
    """A weight (K, C, 3, 3) as 36 matrices (36, C, K)."""
    transform = torch.tensor(FILTER, dtype=torch.float64)
    transform = torch.kron(transform, transform).to(weight.dtype)       # of 3x3 to 6x6 numbers
    filters = weight.detach().permute(2, 3, 1, 0).reshape(9, -1)
    return (transform @ filters).view(36, weight.shape[1], weight.shape[0])


def input_sums(d, out):
    """6 slices of the input, one for each place in a tile, to 6 sums."""
    even, odd = d[4] - d[2], d[3] - d[1]
    torch.add(even, d[0] - d[2], alpha=4, out=out[0])
    a, b = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(a, b, out=out[1])
    torch.sub(a, b, out=out[2])
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.sub(d[5] - d[3], odd, alpha=4, out=out[5])


def output_values(m, out):
    """6 products to the slices of the output, one for each of the 4 places in a tile."""
    sum_1, difference_1 = m[1] + m[2], m[1] - m[2]
    sum_2, difference_2 = m[3] + m[4], m[3] - m[4]
    torch.add(m[0] + sum_1, sum_2, out=out[0])
    torch.add(difference_1, difference_2, alpha=2, out=out[1])
    torch.add(sum_1, sum_2, alpha=4, out=out[2])
    torch.add(difference_1 + m[5], difference_2, alpha=8, out=out[3])


def convolve(x: torch.Tensor, filters: torch.Tensor, padding: int = 0) -> torch.Tensor:
    """The convolution of (N, C, H, W) with `filter_sums`, with zeros around the image; the result is channels last."""
    height, width = (side + 2 * padding - 2 for side in x.shape[-2:])
    more_rows, more_columns = -height % 4, -width % 4
    if padding or more_rows or more_columns:
        x = F.pad(x, (padding, padding + more_columns, padding, padding + more_rows))
    x = x.permute(0, 2, 3, 1).contiguous()
    y = x.new_empty(len(x), (height + more_rows) // 4, 4, (width + more_columns) // 4, 4, filters.shape[2])
    for image, result in zip(x, y, strict=True):
        for top in range(0, len(result), ROWS):
            convolve_rows(image[4 * top:4 * (top + ROWS) + 2], filters, result[top:top + ROWS])
    return y.view(len(x), height + more_rows, width + more_columns, -1).permute(0, 3, 1, 2)[..., :height, :width]


def convolve_rows(x, filters, result):
    """Rows of tiles: `x` (4 rows + 2, 4 columns + 2, C) to `result` (rows, 4, columns, 4, K)."""
    rows, columns = result.shape[0], result.shape[2]
    channels = x.shape[2]
    half = x.new_empty(6, rows, x.shape[1], channels)
    input_sums([x[place:place + 4 * rows - 3:4] for place in range(6)], half)
    sums = x.new_empty(6, 6, rows, columns, channels)
    input_sums([half[:, :, place:place + 4 * columns - 3:4] for place in range(6)], sums.unbind(1))
    products = torch.bmm(sums.view(36, rows * columns, channels), filters).view(6, 6, rows, columns, -1)
    half = x.new_empty(4, 6, rows, columns, products.shape[-1])
    output_values(products, half)
    output_values(half.unbind(1), result.permute(1, 3, 0, 2, 4).unbind(1))


class WinogradConv2d(PaddedConv2d):
    """A convolution that `fits`, with its parameters and keys; in another dtype, or on a GPU, it is a plain one.

    The weights must not change any more. Training gains nothing: the gradient of the weights is as slow as before, and
    filters are transformed in each step.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv.in_channels, conv.out_channels, 3, padding=conv.padding, bias=False, device='meta',
                         padding_mode=conv.padding_mode)
        self.weight, self.bias = conv.weight, conv.bias
        self.train(conv.training)
        self.register_buffer('filters', filter_sums(conv.weight), persistent=False)

    def convolved(self, x, weight, padding):
        if x.device.type != 'cpu' or x.dtype != torch.float32 or torch.is_autocast_enabled('cpu'):
            return super().convolved(x, weight, padding)
        y = convolve(x, self.filters, padding[0])
        return y if self.bias is None else y.add_(self.bias[:, None, None])


def fits(layer: nn.Module) -> bool:
    """True for plain 3x3 convolutions of enough channels: those with spectral norm are of another class."""
    return (type(layer) in (nn.Conv2d, PaddedConv2d) and layer.kernel_size == (3, 3) and layer.stride == (1, 1)
            and layer.dilation == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), (1, 1))
            and min(layer.in_channels, layer.out_channels) >= FEWEST)


def use_winograd(net: nn.Module) -> nn.Module:
    """Replace all convolutions that `fits`; the state dict stays the same."""
    for parent in list(net.modules()):
        for name, layer in list(parent.named_children()):
            if fits(layer):
                setattr(parent, name, WinogradConv2d(layer))
    return net
