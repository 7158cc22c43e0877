"""Objectives that several models share. Each term is a mean over all elements, taken in at least float32."""
import torch
import torch.nn.functional as F

from .nets.norms import full_precision, instance_norm, plain_norms


def exact(x: torch.Tensor) -> torch.Tensor:
    """In float32, if it comes from a layer of lower precision."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def l1_loss(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.l1_loss(exact(x), exact(target))


def vanilla(prediction, real: bool):
    """Cross-entropy on logits (Goodfellow et al. 2014): softplus(-D) for real, softplus(D) for fake."""
    prediction = exact(prediction)
    return F.softplus(-prediction if real else prediction).mean()


def lsgan(prediction, real: bool):
    """Least squares (Mao et al. 2017): (D - 1)^2 for real, D^2 for fake."""
    return (exact(prediction) - float(real)).square().mean()


def wgangp(prediction, real: bool):
    """Wasserstein critic (Gulrajani et al. 2017): -D for real, D for fake; needs `gradient_penalty`."""
    return -exact(prediction).mean() if real else exact(prediction).mean()


GAN_LOSSES = {'vanilla': vanilla, 'lsgan': lsgan, 'wgangp': wgangp}


def gradient_penalty(netD, real: torch.Tensor, fake: torch.Tensor, lambda_gp: float = 10.0,
                     position: torch.Tensor | None = None) -> torch.Tensor:
    """lambda_gp * E[(|grad D(x)| - 1)^2] on random lines between real and fake (Gulrajani et al., eq. 3).

    One uniform `position` (N, 1, 1, 1) per sample, drawn here if not given. `real` and `fake` are (N, C, H, W),
    constants to the penalty. In full precision: a second derivative of roundings is noise.
    """
    if position is None:
        position = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    between = (position * real + (1 - position) * fake).detach().requires_grad_()
    with full_precision(real.device), plain_norms():
        gradient, = torch.autograd.grad(netD(between).sum(), between, create_graph=True)
    norm = (gradient.flatten(1) + 1e-16).norm(2, dim=1)
    return lambda_gp * (norm - 1).square().mean()


class VggFeatures(torch.nn.Module):
    """Feature maps of VGG16, for images (N, 3, H, W) in [-1, 1]; frozen.

    The network of the MUNIT paper's domain-invariant perceptual loss: pooling after blocks 1, 2 and 3 only, maps
    at 1/8 of the image. `weights` are those of a Caffe VGG16 (`conv1_1.weight`, ..., images in BGR, 0..255) or of
    torchvision (`features.0.weight`, ..., images in RGB, normalised): told apart by their keys.
    """

    BLOCKS = (2, 2, 3, 3, 3)

    def __init__(self, weights: dict, layer: str = 'relu5_3'):
        super().__init__()
        self.caffe = 'conv1_1.weight' in weights
        names = [f'{block}_{n}' for block, size in enumerate(self.BLOCKS, 1) for n in range(1, size + 1)]
        ours = [f'conv{name}.{kind}' for name in names for kind in ('weight', 'bias')]
        if not self.caffe:
            theirs = sorted((key for key in weights if key.startswith('features.')),
                            key=lambda key: (int(key.split('.')[1]), key.endswith('bias')))
            weights = dict(zip(ours, (weights[key] for key in theirs), strict=True))
        self.names = names[:names.index(layer.removeprefix('relu')) + 1]
        for name in self.names:
            for kind in ('weight', 'bias'):
                self.register_buffer(f'{kind}{name}', weights[f'conv{name}.{kind}'].clone())

    def forward(self, image):
        x = self.normalised(image)
        for name in self.names:
            if name in ('2_1', '3_1', '4_1'):
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, getattr(self, f'weight{name}'), getattr(self, f'bias{name}'), padding=1))
        return x

    def normalised(self, image):
        if self.caffe:
            return (image.flip(1) + 1) * 127.5 - image.new_tensor([103.939, 116.779, 123.680])[:, None, None]
        mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        mean, std = (image.new_tensor(numbers)[:, None, None] for numbers in (mean, std))
        return ((image + 1) / 2 - mean) / std


def perceptual_loss(vgg: VggFeatures, image: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of instance-normalised features (MUNIT, section 5.1)."""
    return F.mse_loss(instance_norm(exact(vgg(image))), instance_norm(exact(vgg(source))))
