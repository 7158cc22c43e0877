"""Images of one domain in the dataroot itself, including its sub-folders; there is no target."""
from .base_dataset import BaseDataset


class SingleDataset(BaseDataset):
    one_domain = True
    any_device = True

    def __init__(self, opt):
        super().__init__(opt)
        self.domain = self.image_domains['A']
        named = self.layout.folders[self.domain.name] or self.layout.lists[self.domain.name]
        self.paths = self.list_domain(self.domain.name) if named else self.list_folder('', self.domain.name)

    def load(self, index, rng):
        path = self.paths[index]
        return {'A': self.prepare.window(self.picture(path, self.domain), rng, path), 'A_paths': path}

    @property
    def folder_A(self):
        return self.layout.domain_folder(self.domain.name) if self.layout.folders[self.domain.name] else self.dataroot
