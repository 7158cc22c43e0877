"""Losses that compare features or neighboring pixels of two images, each from its paper."""
import torch
import torch.nn.functional as F

from models.losses import exact, l1_loss
from models.nets.norms import full_precision
from models.nets.vgg import VggPyramid


def feature_matching(features: list[list], expected: list[list]) -> torch.Tensor:
    """L1 distance of the features of D, summed over layers, mean over scales (pix2pixHD, eq. 4)."""
    return sum(l1_loss(x, y) for scale, wanted in zip(features, expected, strict=True)
               for x, y in zip(scale, wanted, strict=True)) / len(features)


def total_variation(image: torch.Tensor) -> torch.Tensor:
    """Mean difference of neighboring pixels (Rudin et al. 1992)."""
    down, right = steps(image)
    return down.mean() + right.mean()


def gradient_difference(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How much the differences of neighboring pixels differ from those of the target (Mathieu et al. 2016, eq. 6)."""
    return sum(l1_loss(ours, theirs) for ours, theirs in zip(steps(image), steps(target), strict=True))


def steps(image):
    """Differences of neighbors, down and to the right."""
    image = exact(image)
    return (image[:, :, 1:] - image[:, :, :-1]).abs(), (image[..., 1:] - image[..., :-1]).abs()


def pyramid_loss(vgg: VggPyramid, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 distance of VGG features of five sizes (pix2pixHD, section 3.3; weights of its appendix)."""
    with torch.no_grad():
        expected = vgg(target)
    return sum(weight * l1_loss(x, y) for weight, x, y in zip(vgg.WEIGHTS, vgg(image), expected, strict=True))


def lpips_loss(lpips, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """LPIPS 0.1 (Zhang et al. 2018, eq. 1), the mean over the images; gray images are seen as RGB."""
    with full_precision(image.device):
        image, target = (exact(x).expand(-1, 3, -1, -1) for x in (image, target))
        with torch.no_grad():
            expected = lpips.features(target)
        return lpips.distance(lpips.features(image), expected).mean()


def patch_nce(queries: torch.Tensor, keys: torch.Tensor, temperature: float = 0.07) -> torch.Tensor:
    """Cross-entropy of finding, among the keys of an image, the one at the place of the query (CUT, eq. 3).

    `queries` and `keys` are (N, P, C): P patches of each image, as vectors of length 1.
    """
    with full_precision(queries.device):
        similarity = exact(queries) @ exact(keys).transpose(1, 2) / temperature     # (N, P, P)
    places = torch.arange(similarity.shape[1], device=queries.device).expand(similarity.shape[:2])
    return F.cross_entropy(similarity.flatten(0, 1), places.flatten())
