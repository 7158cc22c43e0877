"""Images of one domain in the dataroot itself, including its sub-folders; there is no target."""
from .base_dataset import BaseDataset


class SingleDataset(BaseDataset):
    image_channels = (1, 3)
    one_domain = True
    any_device = True

    def __init__(self, opt):
        super().__init__(opt)
        self.paths = self.list_folder('')
        self.channels = opt.input_nc

    def load(self, index, rng):
        path = self.paths[index]
        return {'A': self.prepare.window(self.picture(path, self.channels), rng, path), 'A_paths': path}

    @property
    def folder_A(self):
        return self.dataroot
