"""Colorization: pix2pix from the lightness L to the colour channels a, b of CIELAB (Zhang et al. 2016)."""
import torch

from util.images import lab_to_rgb

from .pix2pix_model import Pix2PixModel


class ColorizationModel(Pix2PixModel):
    """`real_A` is L / 50 - 1, (N, 1, H, W); `real_B` and `fake_B` are ab / 110, (N, 2, H, W)."""

    defaults = {'dataset_mode': 'colorization'}
    target = ('fake_B_rgb', 'real_B_rgb')

    def get_current_visuals(self):
        """The lightness and both coloured images, the latter as RGB in [-1, 1]."""
        return {'real_A': self.real_A,
                'real_B_rgb': self.as_rgb(self.real_B),
                'fake_B_rgb': self.as_rgb(self.fake_B)}

    def as_rgb(self, colour: torch.Tensor) -> torch.Tensor:
        return lab_to_rgb(torch.cat([self.real_A, colour], 1).detach())
