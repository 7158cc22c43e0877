"""Objectives that several models share. Each term is a mean over all elements."""
import torch
import torch.nn.functional as F


def vanilla(prediction, real: bool):
    """Cross-entropy on logits (Goodfellow et al. 2014): softplus(-D) for real, softplus(D) for fake."""
    return F.softplus(-prediction if real else prediction).mean()


def lsgan(prediction, real: bool):
    """Least squares (Mao et al. 2017): (D - 1)^2 for real, D^2 for fake."""
    return (prediction - float(real)).square().mean()


def wgangp(prediction, real: bool):
    """Wasserstein critic (Gulrajani et al. 2017): -D for real, D for fake; needs `gradient_penalty`."""
    return -prediction.mean() if real else prediction.mean()


GAN_LOSSES = {'vanilla': vanilla, 'lsgan': lsgan, 'wgangp': wgangp}


def gradient_penalty(netD, real: torch.Tensor, fake: torch.Tensor, lambda_gp: float = 10.0) -> torch.Tensor:
    """lambda_gp * E[(|grad D(x)| - 1)^2] on random lines between real and fake (Gulrajani et al., eq. 3).

    One uniform position per sample. `real` and `fake` are (N, C, H, W), constants to the penalty.
    """
    position = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    between = (position * real + (1 - position) * fake).detach().requires_grad_()
    gradient, = torch.autograd.grad(netD(between).sum(), between, create_graph=True)
    norm = (gradient.flatten(1) + 1e-16).norm(2, dim=1)
    return lambda_gp * (norm - 1).square().mean()
