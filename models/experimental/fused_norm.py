"""Instance norm with activation, residual and reflection padding as Triton kernels: one pass over the image each way.

Forward: each program takes the moments of a piece of a plane, which are merged pairwise (Chan et al. 1983, no sum of
squares: it would cancel), then the result is written. Backward: two sums for each plane, then the gradient. Padding
is undone by gathering, in a fixed order, so results repeat. Any strides; statistics in float32.
"""
import os

import torch

os.environ.setdefault('TRITON_DEFAULT_FP_FUSION', '1')      # or Triton 3.9 warns that its default will change

import triton  # noqa: E402
import triton.language as tl  # noqa: E402

from models.nets import norms  # noqa: E402

PIECE = 512         # pixels of a plane whose moments one program takes


@triton.jit
def moments_kernel(x, count, mean, m2, channels, width, pixels, pieces, sn, sc, sh, sw,
                   PIECE: tl.constexpr, P: tl.constexpr, C: tl.constexpr):
    """Count, mean and sum of squared deviations of one piece of C planes; the sums (N, pieces, channels)."""
    piece, c = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C)
    n, own = tl.program_id(2), c < channels
    total = tl.zeros([C], tl.float32)
    average = tl.zeros([C], tl.float32)
    deviations = tl.zeros([C], tl.float32)
    for start in range(0, PIECE, P):
        p = piece * PIECE + start + tl.arange(0, P)
        inside = (p < pixels)[:, None] & own[None, :]
        at = n.to(tl.int64) * sn + ((p // width) * sh + (p % width) * sw)[:, None].to(tl.int64) + (c * sc)[None, :]
        values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        here = tl.sum(inside.to(tl.float32), 0)
        local = tl.sum(values, 0) / tl.maximum(here, 1.0)
        centred = tl.where(inside, values - local[None, :], 0.0)
        merged = tl.maximum(total + here, 1.0)
        step = local - average
        deviations += tl.sum(centred * centred, 0) + step * step * total * here / merged
        average += step * here / merged
        total += here
    place = (n * pieces + piece) * channels + c
    tl.store(count + place, total, mask=own)
    tl.store(mean + place, average, mask=own)
    tl.store(m2 + place, deviations, mask=own)


@triton.jit
def reflected(i, size, padding):
    """The row of the image that row i of the padded image shows."""
    i = tl.abs(i - padding)
    return tl.where(i < size, i, 2 * (size - 1) - i)


@triton.jit
def apply_kernel(x, mean, rstd, scale, shift, residual, y, channels, height, width, slope,
                 sn, sc, sh, sw, rn, rc, rh, rw, yn, yc, yh, yw, padding,
                 AFFINE: tl.constexpr, RESIDUAL: tl.constexpr, P: tl.constexpr, C: tl.constexpr):
    """y = activation(normalised x, scaled and shifted) + residual, with its border of reflected pixels."""
    p, c = tl.program_id(0) * P + tl.arange(0, P), tl.program_id(1) * C + tl.arange(0, C)
    n, wide = tl.program_id(2).to(tl.int64), width + 2 * padding
    own = c < channels
    inside = (p < wide * (height + 2 * padding))[:, None] & own[None, :]
    row, column = p // wide, p % wide
    source_row, source_column = reflected(row, height, padding), reflected(column, width, padding)
    plane = n * channels + c
    at = n * sn + (source_row * sh + source_column * sw)[:, None].to(tl.int64) + (c * sc)[None, :]
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    value = (value - tl.load(mean + plane, mask=own, other=0.0)[None, :]) * tl.load(rstd + plane, mask=own,
                                                                                    other=0.0)[None, :]
    if AFFINE:
        value = value * tl.load(scale + plane, mask=own, other=0.0)[None, :]
        value += tl.load(shift + plane, mask=own, other=0.0)[None, :]
    value = tl.where(value > 0, value, value * slope)
    if RESIDUAL:
        at = n * rn + (source_row * rh + source_column * rw)[:, None].to(tl.int64) + (c * rc)[None, :]
        value += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    at = n * yn + (row * yh + column * yw)[:, None].to(tl.int64) + (c * yc)[None, :]
    tl.store(y + at, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def padded_place(i, size, padding, which: tl.constexpr):
    """Position of row i in the padded image: itself (0), or its reflection at the top (1) or bottom (2), if any."""
    if which == 0:
        return i + padding, i >= 0
    if which == 1:
        return padding - i, (i >= 1) & (i <= padding)
    return 2 * (size - 1) - i + padding, (i <= size - 2) & (i >= size - 1 - padding)


@triton.jit
def gathered(g, n, row, column, c, inside, height, width, padding, gn, gc, gh, gw, PADDED: tl.constexpr):
    """The gradients of all places of the padded image that show (row, column)."""
    total = tl.zeros(inside.shape, tl.float32)
    for a in tl.static_range(3 if PADDED else 1):
        i, shown_i = padded_place(row, height, padding, a)
        for b in tl.static_range(3 if PADDED else 1):
            j, shown_j = padded_place(column, width, padding, b)
            at = n * gn + (i * gh + j * gw)[:, None].to(tl.int64) + (c * gc)[None, :]
            total += tl.load(g + at, mask=inside & (shown_i & shown_j)[:, None], other=0.0).to(tl.float32)
    return total


@triton.jit
def sums_kernel(x, g, mean, rstd, scale, shift, sum_g, sum_gx, channels, height, width, slope, pieces,
                sn, sc, sh, sw, gn, gc, gh, gw, padding,
                AFFINE: tl.constexpr, PADDED: tl.constexpr, PIECE: tl.constexpr, P: tl.constexpr, C: tl.constexpr):
    """Of one piece of C planes: sums of the gradient after the norm, and of it times the normalised image."""
    piece, c = tl.program_id(0), tl.program_id(1) * C + tl.arange(0, C)
    n = tl.program_id(2).to(tl.int64)
    own = c < channels
    pixels = height * width
    plane = n * channels + c
    middle = tl.load(mean + plane, mask=own, other=0.0)[None, :]
    factor = tl.load(rstd + plane, mask=own, other=0.0)[None, :]
    total = tl.zeros([C], tl.float32)
    total_x = tl.zeros([C], tl.float32)
    for start in range(0, PIECE, P):
        p = piece * PIECE + start + tl.arange(0, P)
        inside = (p < pixels)[:, None] & own[None, :]
        row, column = p // width, p % width
        at = n * sn + (row * sh + column * sw)[:, None].to(tl.int64) + (c * sc)[None, :]
        hat = (tl.load(x + at, mask=inside, other=0.0).to(tl.float32) - middle) * factor
        grad = gathered(g, n, row, column, c, inside, height, width, padding, gn, gc, gh, gw, PADDED)
        value = hat
        if AFFINE:
            value = hat * tl.load(scale + plane, mask=own, other=0.0)[None, :]
            value += tl.load(shift + plane, mask=own, other=0.0)[None, :]
        grad = tl.where(inside, tl.where(value > 0, grad, grad * slope), 0.0)
        total += tl.sum(grad, 0)
        total_x += tl.sum(grad * hat, 0)
    place = (n * pieces + piece) * channels + c
    tl.store(sum_g + place, total, mask=own)
    tl.store(sum_gx + place, total_x, mask=own)


@triton.jit
def gradient_kernel(x, g, mean, rstd, scale, shift, mean_g, mean_gx, dx, dr, channels, height, width, slope,
                    sn, sc, sh, sw, gn, gc, gh, gw, padding, AFFINE: tl.constexpr, PADDED: tl.constexpr,
                    RESIDUAL: tl.constexpr, P: tl.constexpr, C: tl.constexpr):
    """dx, with the strides of x, and with a padding the gradient of the residual too."""
    p, c = tl.program_id(0) * P + tl.arange(0, P), tl.program_id(1) * C + tl.arange(0, C)
    n, own = tl.program_id(2).to(tl.int64), c < channels
    inside = (p < height * width)[:, None] & own[None, :]
    row = p // width
    column = p % width
    plane = n * channels + c
    factor = tl.load(rstd + plane, mask=own, other=0.0)[None, :]
    at = n * sn + (row * sh + column * sw)[:, None].to(tl.int64) + (c * sc)[None, :]
    hat = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    hat = (hat - tl.load(mean + plane, mask=own, other=0.0)[None, :]) * factor
    grad = gathered(g, n, row, column, c, inside, height, width, padding, gn, gc, gh, gw, PADDED)
    if RESIDUAL:
        tl.store(dr + at, grad.to(dr.dtype.element_ty), mask=inside)
    value = hat
    if AFFINE:
        weight = tl.load(scale + plane, mask=own, other=0.0)[None, :]
        value = hat * weight + tl.load(shift + plane, mask=own, other=0.0)[None, :]
        factor = factor * weight
    grad = tl.where(value > 0, grad, grad * slope)
    grad -= tl.load(mean_g + plane, mask=own, other=0.0)[None, :]
    grad -= hat * tl.load(mean_gx + plane, mask=own, other=0.0)[None, :]
    tl.store(dx + at, (factor * grad).to(dx.dtype.element_ty), mask=inside)


def tile(x) -> dict:
    """Pixels and channels of a program: neighbours in memory side by side."""
    if x.stride(1) == 1 and x.shape[1] > 1:
        channels = min(64, triton.next_power_of_2(x.shape[1]))
        return dict(P=max(32, PIECE // channels), C=channels)
    return dict(P=PIECE, C=1)


def grid(x, pixels: int, step: int, C: int):
    return triton.cdiv(pixels, step), triton.cdiv(x.shape[1], C), x.shape[0]


def moments(x, eps: float):
    """Mean and 1 / deviation of each plane, (N, C) in float32."""
    (n, channels, height, width), shape = x.shape, tile(x)
    pieces = triton.cdiv(height * width, PIECE)
    count, mean, m2 = x.new_empty(3, n, pieces, channels, dtype=torch.float32)
    moments_kernel[grid(x, height * width, PIECE, shape['C'])](
        x, count, mean, m2, channels, width, height * width, pieces, *x.stride(), PIECE=PIECE, **shape)
    total = height * width
    middle = (mean * count).sum(1) / total
    variance = (m2.sum(1) + (count * (mean - middle[:, None]).square()).sum(1)) / total
    return middle.contiguous(), torch.rsqrt(variance + eps).contiguous()


class FusedInstanceNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, shift, slope, residual, padding, eps):
        n, channels, height, width = x.shape
        mean, rstd = moments(x, eps)
        layout = torch.channels_last if x.stride(1) == 1 and channels > 1 else torch.contiguous_format
        y = torch.empty((n, channels, height + 2 * padding, width + 2 * padding), dtype=x.dtype, device=x.device,
                        memory_format=layout)
        scale, shift = (None if value is None else value.float().contiguous() for value in (scale, shift))
        shape, other = tile(x), x if residual is None else residual
        apply_kernel[grid(x, y.shape[2] * y.shape[3], shape['P'], shape['C'])](
            x, mean, rstd, mean if scale is None else scale, mean if shift is None else shift, other, y, channels,
            height, width, slope, *x.stride(), *other.stride(), *y.stride(), padding, AFFINE=scale is not None,
            RESIDUAL=residual is not None, **shape)
        ctx.save_for_backward(x, mean, rstd, scale, shift)
        ctx.slope = slope
        ctx.padding = padding
        ctx.residual = residual is not None
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        x, mean, rstd, scale, shift = ctx.saved_tensors
        (n, channels, height, width), shape = x.shape, tile(x)
        pieces = triton.cdiv(height * width, PIECE)
        affine = scale is not None
        padding = ctx.padding
        weights = (scale, shift) if affine else (mean, mean)
        sums = x.new_empty(2, n, pieces, channels, dtype=torch.float32)
        known = dict(AFFINE=affine, PADDED=padding > 0, **shape)
        sums_kernel[grid(x, height * width, PIECE, shape['C'])](
            x, g, mean, rstd, *weights, sums[0], sums[1], channels, height, width, ctx.slope, pieces, *x.stride(),
            *g.stride(), padding, PIECE=PIECE, **known)
        sum_g, sum_gx = sums.sum(2)
        dx = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
        folds = ctx.residual and padding > 0
        dr = torch.empty_like(dx) if folds else dx
        means = sums.sum(2) / (height * width)
        gradient_kernel[grid(x, height * width, shape['P'], shape['C'])](
            x, g, mean, rstd, *weights, means[0], means[1], dx, dr, channels, height, width, ctx.slope, *x.stride(),
            *g.stride(), padding, RESIDUAL=folds, **known)
        return (dx, sum_gx if affine else None, sum_g if affine else None, None,
                (dr if folds else g) if ctx.residual else None, None, None)


def fused_instance_norm(x, scale, shift, slope, residual, padding, eps):
    """`norms.instance_norm` on a GPU; its gradients cannot be differentiated again."""
    if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
        x = x.contiguous()
    return FusedInstanceNorm.apply(x, scale, shift, slope, residual, padding, eps)


# ---- does it work here?

CASES = [(layout, slope, extra, padding)
         for layout in ('NCHW', 'channels_last') for slope, extra, padding in (
             (1.0, '', 0), (0.0, '', 1), (0.2, '', 3), (1.0, 'residual', 0), (1.0, 'residual', 2),
             (0.0, 'affine', 0), (1.0, 'affine', 1))]


def difference(device: torch.device, case) -> float:
    """The largest deviation from the plain form, of the results and all gradients, relative to their sizes."""
    layout, slope, extra, padding = case
    memory_format = torch.channels_last if layout == 'channels_last' else torch.contiguous_format
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator).to(device)
    inputs = [(3 * drawn(2, 5, 23, 25) + 2).contiguous(memory_format=memory_format)]
    inputs += [drawn(2, 5), drawn(2, 5)] if extra == 'affine' else []
    inputs += [drawn(2, 5, 23, 25)] if extra == 'residual' else []
    gradient = drawn(2, 5, 23 + 2 * padding, 25 + 2 * padding)
    found = []
    for function in (norms.instance_norm, fused_instance_norm):
        leaves = [value.clone().requires_grad_() for value in inputs]
        scale, shift = leaves[1:3] if extra == 'affine' else (None, None)
        residual = leaves[1] if extra == 'residual' else None
        y = function(leaves[0], scale, shift, slope, residual, padding, norms.EPS)
        y.backward(gradient)
        found.append([y.detach(), *(leaf.grad for leaf in leaves)])
    return max(((ours - theirs).abs().max() / theirs.abs().max()).item() for theirs, ours in zip(*found, strict=True))


def trouble(device: torch.device) -> str:
    """Why the kernels cannot be used on a device, by trying them; an empty string if they can."""
    try:
        worst = max(difference(device, case) for case in CASES[::3])
    except Exception as error:      # the compiler has many ways to fail
        return f'{type(error).__name__}: {error}'.splitlines()[0]
    return '' if worst < 1e-3 else f'they differ from the plain form by {worst:.1e}'
