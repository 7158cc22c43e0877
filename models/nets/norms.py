"""Instance norm and similar norms, with the operations that follow them: activation, residual, padding.

Our instance norm has no keys, the numbers of `nn.InstanceNorm2d`, and correct gradients in every memory format. (On a
CPU with batch size 1, those of PyTorch are wrong if the incoming gradient is channels_last.) With a `kernel` (see
`fuse_norms`), norm, activation, residual and padding are computed in one pass over the image; without one, by PyTorch's
operations.

Under autocast, statistics are computed in float32, and the result has the dtype of the input.
"""
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-5
SLOPES = {nn.ReLU: lambda layer: 0.0, nn.LeakyReLU: lambda layer: layer.negative_slope}


def full_precision(device: torch.device):
    """Disable autocast inside the context."""
    if device.type == 'meta' or not torch.is_autocast_enabled(device.type):
        return nullcontext()        # entering a context takes microseconds, and a step does it hundreds of times
    return torch.autocast(device.type, enabled=False)


def instance_norm(x, scale=None, shift=None, slope=1.0, residual=None, padding=0, eps=EPS, kernel=None):
    """Normalize each plane of x (N, C, H, W) to mean 0 and deviation 1; apply `scale` and `shift`, (N, C) each.

    Then apply an activation (`slope` for values below 0; 1 for none), or add `residual`; then pad with `padding` pixels
    of reflection. `kernel` is a function with the same arguments that does all of this in one pass.
    """
    if x.shape[-1] * x.shape[-2] == 1:
        raise ValueError(f'an instance norm needs more than 1 spatial element, not {tuple(x.shape)}')
    if fusible(x, kernel):
        return kernel(x, scale, shift, slope, residual, padding, eps)
    with full_precision(x.device):
        y = F.group_norm(x, int(x.shape[1]), eps=eps)      # int: a trace has a tensor here
    if scale is not None:
        y = (y * scale[..., None, None] + shift[..., None, None]).to(x.dtype)
    if slope != 1:
        y = F.relu(y) if slope == 0 else F.leaky_relu(y, slope)
    if residual is not None:
        y = residual + y
    return F.pad(y, (padding,) * 4, mode='reflect') if padding else y


class Fusible(nn.Module):
    """A layer that runs as one kernel with the layers after it if `fuse_norms` has set its `kernel`."""

    kernel = None


def fusible(x: torch.Tensor, kernel) -> bool:
    return kernel is not None and x.is_cuda and x.ndim == 4 and not torch.compiler.is_compiling()


def fuse_norms(net: nn.Module, kernel):
    """Make all norms of `net` use `kernel`, a function with the arguments of `instance_norm`; None for plain norms."""
    for module in net.modules():
        if isinstance(module, Fusible):
            module.kernel = kernel


@contextmanager
def plain_norms(net):
    """Use PyTorch's operations for the norms of `net` inside the context; they can be differentiated twice."""
    modules = net.modules() if isinstance(net, nn.Module) else ()
    kernels = {module: module.kernel for module in modules if isinstance(module, Fusible)}
    for module in kernels:
        module.kernel = None
    try:
        yield
    finally:
        for module, kernel in kernels.items():
            module.kernel = kernel


class InstanceNorm2d(nn.InstanceNorm2d, Fusible):
    """Without parameters or running statistics, which is the only kind in the checkpoints."""

    def __init__(self, channels: int):
        super().__init__(channels, EPS, affine=False, track_running_stats=False)

    def forward(self, x, slope=1.0, residual=None, padding=0):
        return instance_norm(x, None, None, slope, residual, padding, self.eps, self.kernel)


def adain(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, slope: float = 1.0, residual=None, kernel=None):
    """Adaptive instance norm (eq. 7): each channel of (N, C, H, W) gets mean `shift` and standard deviation `scale`."""
    return instance_norm(x, scale, shift, slope, residual, kernel=kernel)


class AdaptiveNorm2d(Fusible):
    """`adain` as a layer, with its kernel; it has no keys."""

    def forward(self, x, shift, scale, slope=1.0, residual=None):
        return adain(x, shift, scale, slope, residual, self.kernel)


class DecoderLayerNorm(nn.Module):
    """(x - mean) / (std + eps) over C, H, W of each image, then a scale and a shift for each channel.

    Unlike GroupNorm(1), it uses the unbiased standard deviation, and adds eps to that instead of the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.rand(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        exact = x.to(self.gamma.dtype)
        flat = exact.flatten(1)
        mean, std = flat.mean(1)[:, None, None, None], flat.std(1)[:, None, None, None]
        y = (exact - mean) / (std + self.eps) * self.gamma[:, None, None] + self.beta[:, None, None]
        return y.to(x.dtype)


class Chain(nn.Sequential, Fusible):
    """Layers in sequence; `residual`, if given, is added to the result.

    With a kernel, an instance norm also computes the activation and padding after it, and adds the residual at the end.
    """

    def forward(self, x, residual=None):
        if not fusible(x, self.kernel):
            x = super().forward(x)
            return x if residual is None else residual + x
        groups = fused_groups(list(self))
        for index, (layer, slope, padding) in enumerate(groups):
            if not isinstance(layer, InstanceNorm2d):
                x = layer(x)
            elif index == len(groups) - 1:
                return layer(x, slope, residual, padding)
            else:
                x = layer(x, slope, None, padding)
        return x if residual is None else residual + x


def fused_groups(layers: list[nn.Module]) -> list[tuple[nn.Module, float, int]]:
    """[(layer, slope, padding), ...]: what each layer computes for the layers after it; (layer, 1.0, 0) if nothing."""
    groups, index = [], 0
    while index < len(layers):
        layer = layers[index]
        slope = 1.0
        padding = 0
        index += 1
        if isinstance(layer, InstanceNorm2d):
            if index < len(layers) and type(layers[index]) in SLOPES:
                slope = SLOPES[type(layers[index])](layers[index])
                index += 1
            if index < len(layers) and isinstance(layers[index], nn.ReflectionPad2d):
                padding = layers[index].padding[0]
                index += 1
        groups.append((layer, slope, padding))
    return groups
