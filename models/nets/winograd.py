"""3x3 convolutions with a quarter of the multiplications, in float32 on a CPU.

F(4x4, 3x3) of Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.3: tiles of 6x6
pixels become 36 sums, of which each is multiplied by a matrix of channels, and the products become 4x4 pixels. Rounding
errors are about five times those of a plain convolution. On a GPU, cuDNN chooses such methods itself.
"""
import torch
import torch.nn.functional as F
from torch import nn

from .convolutions import PaddedConv2d

ROWS = 8        # of tiles, that are computed at once: their sums fit into the cache of a core
FEWEST = 32     # channels; with fewer, the sums cost more than they save
# the transform of a filter, (6, 3)
FILTER = ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6), (1 / 24, 1 / 12, 1 / 6),
          (1 / 24, -1 / 12, 1 / 6), (0, 0, 1))


def filter_sums(weight: torch.Tensor) -> torch.Tensor:
    """A weight (K, C, 3, 3) as 36 matrices (36, C, K)."""
    filters = weight.detach().permute(2, 3, 1, 0).reshape(9, -1)
    return (filter_transform(weight.dtype) @ filters).view(36, weight.shape[1], weight.shape[0])


def filter_transform(dtype: torch.dtype) -> torch.Tensor:
    """From 3x3 to 6x6 numbers, (36, 9)."""
    transform = torch.tensor(FILTER, dtype=torch.float64)
    return torch.kron(transform, transform).to(dtype)


# ---- the three transforms of one axis: slices of maps, one for each place in a tile

def input_sums(d, out):
    """6 places of the input to 6 sums."""
    even, odd = d[4] - d[2], d[3] - d[1]
    torch.add(even, d[0] - d[2], alpha=4, out=out[0])
    a, b = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(a, b, out=out[1])
    torch.sub(a, b, out=out[2])
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.sub(d[5] - d[3], odd, alpha=4, out=out[5])


def output_values(m, out):
    """6 products to the 4 places of the output."""
    sum_1, difference_1 = m[1] + m[2], m[1] - m[2]
    sum_2, difference_2 = m[3] + m[4], m[3] - m[4]
    torch.add(m[0] + sum_1, sum_2, out=out[0])
    torch.add(difference_1, difference_2, alpha=2, out=out[1])
    torch.add(sum_1, sum_2, alpha=4, out=out[2])
    torch.add(difference_1 + m[5], difference_2, alpha=8, out=out[3])


def output_sums(y, out):
    """4 places of the output to 6 sums, for the gradient of the filters: `output_values`, transposed."""
    even, odd = y[0] + y[2], y[1] + y[3]
    a, b = torch.add(y[0], y[2], alpha=4), torch.add(2 * y[1], y[3], alpha=8)
    out[0].copy_(y[0])
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.add(a, b, out=out[3])
    torch.sub(a, b, out=out[4])
    out[5].copy_(y[3])


# ---- maps, with the channels last: (H, W, C)

def tiled(x: torch.Tensor, padding: int) -> torch.Tensor:
    """(N, C, H, W) as (N, 4 rows + 2, 4 columns + 2, C), with zeros around the image and up to a whole tile."""
    height, width = (side + 2 * padding - 2 for side in x.shape[-2:])
    more_rows, more_columns = -height % 4, -width % 4
    if padding or more_rows or more_columns:
        x = F.pad(x, (padding, padding + more_columns, padding, padding + more_rows))
    return x.permute(0, 2, 3, 1).contiguous()


def strips(x: torch.Tensor, y: torch.Tensor):
    """Rows of tiles that are computed at once: of the input (4 rows + 2, ...) and of the output (4 rows, ...)."""
    for image, result in zip(x, y, strict=True):
        for top in range(0, len(result), 4 * ROWS):
            yield image[top:top + 4 * ROWS + 2], result[top:top + 4 * ROWS]


def sums_of_input(x: torch.Tensor) -> torch.Tensor:
    """(4 rows + 2, 4 columns + 2, C) as (36, rows * columns, C)."""
    rows, columns = x.shape[0] // 4, x.shape[1] // 4
    half = x.new_empty(6, rows, *x.shape[1:])
    input_sums([x[place:place + 4 * rows - 3:4] for place in range(6)], half)
    sums = x.new_empty(6, 6, rows, columns, x.shape[2])
    input_sums([half[:, :, place:place + 4 * columns - 3:4] for place in range(6)], sums.unbind(1))
    return sums.view(36, rows * columns, -1)


def convolve(x: torch.Tensor, filters: torch.Tensor, padding: int = 0) -> torch.Tensor:
    """The convolution of (N, C, H, W) with `filter_sums`, with zeros around the image; the result is channels last."""
    height, width = (side + 2 * padding - 2 for side in x.shape[-2:])
    x = tiled(x, padding)
    y = x.new_empty(len(x), x.shape[1] - 2, x.shape[2] - 2, filters.shape[2])
    for source, result in strips(x, y):
        rows, columns = len(result) // 4, result.shape[1] // 4
        products = torch.bmm(sums_of_input(source), filters).view(6, 6, rows, columns, -1)
        half = x.new_empty(4, 6, rows, columns, products.shape[-1])
        output_values(products, half)
        places = result.view(rows, 4, columns, 4, -1).permute(1, 3, 0, 2, 4)
        output_values(half.unbind(1), places.unbind(1))
    return y.permute(0, 3, 1, 2)[..., :height, :width]


def filter_gradient(x: torch.Tensor, gradient: torch.Tensor, padding: int = 0) -> torch.Tensor:
    """The gradient (K, C, 3, 3) for that of the output (N, K, H, W)."""
    x, y = tiled(x, padding), tiled(gradient, 1)[:, 1:-1, 1:-1]
    total = x.new_zeros(36, x.shape[-1], y.shape[-1])
    for source, part in strips(x, y):
        rows, columns = len(part) // 4, part.shape[1] // 4
        places = part.unflatten(1, (columns, 4)).unflatten(0, (rows, 4))
        half = x.new_empty(6, rows, columns, 4, y.shape[-1])
        output_sums(places.unbind(1), half)
        sums = x.new_empty(6, 6, rows, columns, y.shape[-1])
        output_sums(half.unbind(3), sums.unbind(1))
        total.baddbmm_(sums_of_input(source).transpose(1, 2), sums.view(36, rows * columns, -1))
    filters = filter_transform(x.dtype).T @ total.flatten(1)
    return filters.view(3, 3, *total.shape[1:]).permute(3, 2, 0, 1).contiguous()


class Convolution(torch.autograd.Function):
    """`convolve` with zeros around the image, whose gradients are computed by the same method."""

    @staticmethod
    def forward(ctx, x, weight, padding):
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return convolve(x, filter_sums(weight), padding).contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            turned = filter_sums(weight.flip(2, 3).transpose(0, 1))
            of_x = convolve(gradient, turned, 2 - ctx.padding).contiguous()
        if ctx.needs_input_grad[1]:
            of_weight = filter_gradient(x, gradient, ctx.padding)
        return of_x, of_weight, None


class WinogradConv2d(PaddedConv2d):
    """A convolution that `fits`, with its parameters and keys; in another dtype, or on a GPU, it is a plain one."""

    def __init__(self, conv: nn.Conv2d, frozen: bool):
        super().__init__(conv.in_channels, conv.out_channels, 3, padding=conv.padding, bias=False, device='meta',
                         padding_mode=conv.padding_mode)
        self.weight, self.bias = conv.weight, conv.bias
        self.train(conv.training)
        self.register_buffer('filters', filter_sums(conv.weight) if frozen else None, persistent=False)

    def convolved(self, x, weight, padding):
        if x.device.type != 'cpu' or x.dtype != torch.float32 or torch.is_autocast_enabled('cpu'):
            return super().convolved(x, weight, padding)
        if self.filters is None:
            y = Convolution.apply(x, weight, padding[0])
        else:
            y = convolve(x, self.filters, padding[0])
        return y if self.bias is None else y + self.bias[:, None, None]

def fits(layer: nn.Module) -> bool:
    """True for plain 3x3 convolutions of enough channels: those with spectral norm are of another class."""
    return (type(layer) in (nn.Conv2d, PaddedConv2d) and layer.kernel_size == (3, 3) and layer.stride == (1, 1)
            and layer.dilation == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), (1, 1))
            and min(layer.in_channels, layer.out_channels) >= FEWEST)


def use_winograd(net: nn.Module, frozen: bool = False) -> nn.Module:
    """Replace all convolutions that `fits`; the state dict stays the same. `frozen`: weights never change again."""
    for parent in list(net.modules()):
        for name, layer in list(parent.named_children()):
            if fits(layer):
                setattr(parent, name, WinogradConv2d(layer, frozen))
    return net
