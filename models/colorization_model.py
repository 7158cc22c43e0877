"""Colorization: pix2pix from the lightness L to the color channels a, b of CIELAB (Zhang et al. 2016)."""
import torch

from models.pix2pix_model import Pix2PixModel
from util.images import lab_to_rgb


class ColorizationModel(Pix2PixModel):
    """`real_A` is L / 50 - 1, (N, 1, H, W); `real_B` and `fake_B` are ab / 110, (N, 2, H, W)."""

    defaults = {'dataset_mode': 'colorization'}
    dataset_modes = ('colorization',)
    generator_alone = False     # the generator returns two of the three channels
    translation = 'colors'
    target = ('fake_B_rgb', 'real_B_rgb')

    def get_current_visuals(self):
        """The lightness, and the real and generated color images as RGB in [-1, 1]."""
        return {'real_A': self.real_A,
                'real_B_rgb': self.as_rgb(self.real_B),
                'fake_B_rgb': self.as_rgb(self.fake_B)}

    def as_rgb(self, ab: torch.Tensor) -> torch.Tensor:
        return lab_to_rgb(torch.cat([self.real_A, ab], 1).detach())
