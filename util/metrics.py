"""Distances between an image and its target; torchmetrics computes them, on images in [0, 1]."""
import numpy as np
import torch


def compare(image: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """L1 (levels of 255), PSNR (dB) and SSIM (at most 1) of two uint8 images (H, W, 3) of one size."""
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
    image, target = (torch.from_numpy(array.copy()).permute(2, 0, 1)[None].double() / 255 for array in (image, target))
    return dict(L1=255 * (image - target).abs().mean().item(),
                PSNR=peak_signal_noise_ratio(image, target, data_range=1.0).item(),
                SSIM=structural_similarity_index_measure(image, target, data_range=1.0).item())
