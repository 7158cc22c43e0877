"""Label maps as networks see them: a plane for each class."""
import torch

from util.raster import labels

from .norms import full_precision


def class_colors(table: str) -> torch.Tensor:
    """The colors of the classes of --labels_A, (K, 3) in [-1, 1]."""
    return torch.from_numpy(labels.parse(table).colors).float() / 127.5 - 1


def class_planes(image: torch.Tensor, colors: torch.Tensor | None) -> torch.Tensor:
    """One-hot planes (N, K, H, W) of the class whose color is nearest to each pixel of `image`, (N, 3, H, W).

    Without `colors`, (K, 3), the image itself: then networks see its colors.
    """
    if colors is None:
        return image
    with full_precision(image.device):
        colors = colors.to(image.device, image.dtype)
        likeness = 2 * torch.einsum('nchw,kc->nkhw', image, colors) - colors.square().sum(1)[:, None, None]
    numbers = torch.arange(len(colors), device=image.device)[:, None, None]
    return (likeness.argmax(1, keepdim=True) == numbers).to(image.dtype)
