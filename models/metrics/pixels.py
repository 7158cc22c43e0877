"""Metrics of pixels: L1, PSNR, SSIM (the numbers of `test.py`) and MS-SSIM."""
import math

import torch

from util.results import metrics

from .base import PerImage

SMALLEST = 176          # pixels: MS-SSIM halves the image four times, and its window has 11 pixels


class Pixels(PerImage):
    """One of the scores of `util.results.metrics`, image by image in double precision on the CPU."""

    def score(self, fake: torch.Tensor, real: torch.Tensor) -> float:
        """The value of float64 images (1, C, H, W) in 0..1."""
        raise NotImplementedError

    def scores(self, fakes, reals):
        fakes, reals = (images.cpu().double() / 255 for images in (fakes, reals))
        return [self.score(fake[None], real[None]) for fake, real in zip(fakes, reals, strict=True)]


class L1(Pixels):
    def score(self, fake, real):
        return metrics.l1(fake, real)


class PSNR(Pixels):
    def score(self, fake, real):
        return metrics.psnr(fake, real)


class SSIM(Pixels):
    def score(self, fake, real):
        return metrics.ssim(fake, real)


class MSSSIM(Pixels):
    def score(self, fake, real):
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
        if min(fake.shape[2:]) < SMALLEST:
            return math.nan
        return multiscale_structural_similarity_index_measure(fake, real, data_range=1.0).item()
