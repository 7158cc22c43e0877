"""Images of one domain in the dataroot itself, including its sub-folders; there is no target."""
from .base_dataset import BaseDataset


class SingleDataset(BaseDataset):
    one_domain = True
    any_device = True

    def __init__(self, opt):
        super().__init__(opt)
        self.domain = self.domains['A']
        self.paths = self.list_folder('', self.domain.name)

    def load(self, index, rng):
        path = self.paths[index]
        return {'A': self.prepare.window(self.picture(path, self.domain), rng, path), 'A_paths': path}

    @property
    def folder_A(self):
        return self.dataroot
