"""Two gray frames in a list, a dict of numbers, and the name of the file."""
import os
import random

import torch

from data.base_dataset import BaseDataset, get_transform
from data.image_folder import default_loader, make_dataset


class FramesDataset(BaseDataset):
    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.paths = sorted(make_dataset(os.path.join(opt.dataroot, opt.phase), opt.max_dataset_size))
        self.transform = get_transform(opt, grayscale=True)
        self.brighter = lambda frame: frame * 0.5 + 0.5

    def __getitem__(self, index):
        image = default_loader(self.paths[index])
        seed = random.randint(0, 2 ** 31)
        frames = []
        for change in (lambda frame: frame, self.brighter):
            torch.manual_seed(seed)
            frames.append(change(self.transform(image)))
        return {'frames': frames, 'meta': {'index': index, 'weight': 0.5}, 'name': os.path.basename(self.paths[index])}

    def __len__(self):
        return len(self.paths)
