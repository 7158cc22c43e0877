"""Metrics of an image against its target: PSNR, SSIM (both by torchmetrics) and L1."""
import numpy as np

NAMES = ('PSNR', 'SSIM', 'L1')
SMALLEST = 6            # smallest image side for SSIM: its window of 11 pixels needs a mirrored border of 5


def compare(image: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """L1 (levels of 255), PSNR (dB, inf for equal images) and SSIM (at most 1) of two images (H, W, C).

    They are uint8, or floats in [0, 255], which is the range of the training for images of more bits. Without SSIM if a
    side is below 6 pixels. Takes about 20 ms for 256 x 256 on one core.
    """
    import torch
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
    if image.shape != target.shape:
        raise ValueError(f'cannot compare an image {image.shape} with a target {target.shape}')
    image, target = (torch.from_numpy(array.copy()).permute(2, 0, 1)[None].double() / 255 for array in (image, target))
    scores = dict(L1=255 * (image - target).abs().mean().item(),
                  PSNR=peak_signal_noise_ratio(image, target, data_range=1.0).item())
    if min(image.shape[2:]) >= SMALLEST:
        scores['SSIM'] = structural_similarity_index_measure(image, target, data_range=1.0).item()
    return scores
