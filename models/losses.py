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


GAN_LOSSES = {'vanilla': vanilla, 'lsgan': lsgan, 'wgangp': wgangp}


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


def patch_nce(queries: torch.Tensor, keys: torch.Tensor, temperature: float = 0.07) -> torch.Tensor:
    """Cross-entropy of finding, among the keys of an image, the one at the place of the query (CUT, eq. 3).

    `queries` and `keys` are (N, P, C): P patches of each image, as vectors of length 1.
    """
    with full_precision(queries.device):
        similarity = exact(queries) @ exact(keys).transpose(1, 2) / temperature     # (N, P, P)
    places = torch.arange(similarity.shape[1], device=queries.device).expand(similarity.shape[:2])
    return F.cross_entropy(similarity.flatten(0, 1), places.flatten())


def perceptual_loss(vgg: VggFeatures, image: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of instance-normalized VGG features (MUNIT, section 5.1)."""
    return F.mse_loss(instance_norm(exact(vgg(image))), instance_norm(exact(vgg(source))))
