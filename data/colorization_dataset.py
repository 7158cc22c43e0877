"""Color photos in <dataroot>/<phase>, split into lightness and color."""
import numpy as np
import torch

from util.images import rgb_to_lab

from .base_dataset import BaseDataset
from .domain import Domain


class ColorizationDataset(BaseDataset):
    """A is L / 50 - 1, (1, H, W); B is ab / 110, (2, H, W), of CIELAB."""

    fixed = ('input_nc', 'output_nc', 'direction')
    defaults = {'input_nc': 1, 'output_nc': 2, 'direction': 'AtoB'}

    def __init__(self, opt):
        super().__init__(opt)
        self.photos = Domain.of_options('A', 3, opt.as_dict())
        self.paths = self.list_folder(self.phase)

    @property
    def image_domains(self):
        """Files hold A and B together, in RGB."""
        return {}

    @property
    def stored_domains(self):
        return (self.photos,)

    def load(self, index, rng):
        path = self.paths[index]
        levels = self.prepare.window(self.picture(path, self.photos), rng, path)
        rgb = np.ascontiguousarray(levels.permute(1, 2, 0))
        if rgb.dtype != np.uint8:       # of more bits, in [-1, 1]
            rgb = (rgb + 1) / 2
        lab = torch.from_numpy(rgb_to_lab(rgb)).permute(2, 0, 1).contiguous()
        return {'A': lab[:1] / 50 - 1, 'B': lab[1:] / 110, 'A_paths': path, 'B_paths': path}

    def photos_hint(self, name):
        return f'move them into a sub-folder {name} (or another, named with --phase)'
