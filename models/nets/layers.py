"""Layers that several networks share. Batch norm and dropout treat the batches of all processes as one batch.

In a single process these two are bit-identical to PyTorch's.
"""
import torch
from torch import nn

from util.machine.distributed import Group

from .convolutions import PaddedConv2d
from .norms import SLOPES, AdaptiveNorm2d, DecoderLayerNorm, InstanceNorm2d, full_precision
from .recompute import Recomputable

ALONE = Group()


class AllReduce(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of their gradients. Can be differentiated twice."""

    @staticmethod
    def forward(ctx, x, group):
        ctx.group = group
        return group.sum(x.clone())

    @staticmethod
    def backward(ctx, gradient):
        return AllReduce.apply(gradient.contiguous(), ctx.group), None


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm with statistics over the images of all processes."""

    group = ALONE

    def forward(self, x):
        if self.group.share is None or self.group.size == 1 or not self.training:
            return super().forward(x)
        with full_precision(x.device):
            return self.normalised(x.to(self.running_mean.dtype)).to(x.dtype)

    def normalised(self, x):
        counts = float(self.group.share.count > 0)      # 0: another process counts these images
        planes, axes = x.new_tensor([counts * x.numel() / x.shape[1]]), (0, 2, 3)
        sums = AllReduce.apply(torch.cat([counts * x.sum(axes), planes]), self.group)
        n = sums[-1].detach()
        mean = sums[:-1] / n
        centred = x - mean[:, None, None]
        variance = AllReduce.apply(counts * centred.square().sum(axes), self.group) / n
        if self.track_running_stats:
            self.follow(mean.detach(), variance.detach() * n / (n - 1))
        if not counts:      # the gradients of the statistics are 0, but must be sent: the other processes wait for them
            mean, variance = (shared.detach() + 0 * (shared - shared.detach()) for shared in (mean, variance))
            centred = x - mean[:, None, None]
        if not self.affine:
            return centred * torch.rsqrt(variance + self.eps)[:, None, None]
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def follow(self, mean, variance):
        """Update the running statistics as PyTorch does."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class Dropout(nn.Dropout):
    """Dropout with the noise that a single process would draw for the images of all processes."""

    group = ALONE

    def forward(self, x):
        if self.group.share is None or not self.training:
            return super().forward(x)
        keep = 1 - self.p

        def draw(n):
            return x.new_empty(n, *x.shape[1:]).bernoulli_(keep)
        return x * self.group.rows(draw, len(x)).div_(keep)


def share_batches(net: nn.Module, group: Group) -> nn.Module:
    """Set the processes that share each batch of `net`."""
    for module in net.modules():
        if isinstance(module, (BatchNorm2d, Dropout)):
            module.group = group
    return net


NORM_LAYERS = {
    'batch': BatchNorm2d,
    'syncbatch': BatchNorm2d,       # the same: statistics always include all processes
    'instance': InstanceNorm2d,
    'none': lambda channels: nn.Identity(),
}


def norm_rule(norm) -> tuple:
    """A function from channels to a norm layer, and whether the convolution before that layer has a bias.

    `norm` is a name in `NORM_LAYERS`, or such a function itself: a class or a partial of one.
    """
    if isinstance(norm, str):
        return NORM_LAYERS[norm], norm == 'instance'
    kind = getattr(norm, 'func', norm)
    return norm, isinstance(kind, type) and issubclass(kind, nn.InstanceNorm2d)


def leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)


class ConvBlock(Recomputable):
    """Padded convolution, norm, activation. The norm is registered first, as in the keys of the original code."""

    def __init__(self, input_nc: int, output_nc: int, kernel: int, stride: int = 1, padding: int = 0,
                 norm: str = 'none', activation: nn.Module | None = None, pad_type: str = 'reflect',
                 conv: type = PaddedConv2d):
        super().__init__()
        self.norm = {'none': nn.Identity, 'instance': lambda: InstanceNorm2d(output_nc),
                     'layer': lambda: DecoderLayerNorm(output_nc), 'batch': lambda: BatchNorm2d(output_nc),
                     'adain': AdaptiveNorm2d}[norm]()
        self.adaptive = norm == 'adain'
        self.activation = activation or nn.Identity()
        self.slope = SLOPES[type(activation)](activation) if type(activation) in SLOPES else 1.0
        self.conv = conv(input_nc, output_nc, kernel, stride, padding,
                         padding_mode='zeros' if pad_type == 'zero' else pad_type)

    def forward(self, x, style=None, residual=None):
        """`style` for an adaptive norm: (shift, scale), (N, C) each; `residual` is added after an instance norm."""
        x = self.conv(x)
        if self.adaptive:
            return self.norm(x, *style, self.slope, residual)
        if isinstance(self.norm, InstanceNorm2d):
            return self.norm(x, self.slope, residual)
        return self.activation(self.norm(x))
