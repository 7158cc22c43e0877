"""Losses that several models share. Each is a mean over all elements, computed in float32 or higher precision."""
import torch
import torch.nn.functional as F

from models.nets.norms import full_precision, instance_norm, plain_norms
from models.nets.vgg import VggFeatures


def exact(x: torch.Tensor) -> torch.Tensor:
    """`x` in float32 if it has lower precision."""
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


def hinge(prediction, real: bool):
    """Hinge loss of D (Lim and Ye 2017): max(0, 1 - D) for real, max(0, 1 + D) for fake; G has that of wgangp."""
    prediction = exact(prediction)
    return F.relu(1 - prediction if real else 1 + prediction).mean()


GAN_LOSSES = {'vanilla': vanilla, 'lsgan': lsgan, 'wgangp': wgangp, 'hinge': hinge}


def gradient_penalty(netD, real: torch.Tensor, fake: torch.Tensor, lambda_gp: float = 10.0,
                     position: torch.Tensor | None = None) -> torch.Tensor:
    """lambda_gp * E[(|grad D(x)| - 1)^2] at random points x between real and fake (Gulrajani et al., eq. 3).

    `real` and `fake` are (N, C, H, W) and take no gradients. `position` in [0, 1] is (N, 1, 1, 1); it is drawn if not
    given. Computed in full precision, because the second derivative amplifies rounding errors.
    """
    if position is None:
        position = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    between = (position * real + (1 - position) * fake).detach().requires_grad_()
    with full_precision(real.device), plain_norms(netD):
        gradient, = torch.autograd.grad(netD(between).sum(), between, create_graph=True)
    norm = (gradient.flatten(1) + 1e-16).norm(2, dim=1)
    return lambda_gp * (norm - 1).square().mean()


def r1_penalty(netD, real: torch.Tensor, lambda_r1: float) -> torch.Tensor:
    """lambda_r1 / 2 * E[|grad D(x)|^2] at real images (Mescheder et al. 2018, eq. 9); D is summed over its patches."""
    real = real.detach().requires_grad_()
    with full_precision(real.device), plain_norms(netD):
        prediction = netD(real)
        scales = prediction if isinstance(prediction, list) else [prediction]
        gradient, = torch.autograd.grad(sum(scale.sum() for scale in scales), real, create_graph=True)
    return lambda_r1 / 2 * gradient.flatten(1).square().sum(1).mean()


def perceptual_loss(vgg: VggFeatures, image: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of instance-normalized VGG features (MUNIT, section 5.1)."""
    return F.mse_loss(instance_norm(exact(vgg(image))), instance_norm(exact(vgg(source))))
