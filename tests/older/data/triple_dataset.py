"""Three images a sample, from <phase>A, <phase>B and <phase>C."""
import os.path
import random

from PIL import Image

from data.base_dataset import BaseDataset, get_transform
from data.image_folder import make_dataset


class TripleDataset(BaseDataset):
    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.paths = {}
        for letter in 'ABC':
            folder = os.path.join(self.root, opt.phase + letter)
            self.paths[letter] = sorted(make_dataset(folder, opt.max_dataset_size))
        btoA = self.opt.direction == 'BtoA'
        input_nc = self.opt.output_nc if btoA else self.opt.input_nc
        self.transform = get_transform(self.opt, grayscale=(input_nc == 1))

    def __getitem__(self, index):
        sample = {}
        for letter in 'ABC':
            paths = self.paths[letter]
            path = paths[index % len(paths)] if letter == 'A' else paths[random.randint(0, len(paths) - 1)]
            sample[letter] = self.transform(Image.open(path).convert('RGB'))
            sample[letter + '_paths'] = path
        return sample

    def __len__(self):
        return max(len(self.paths[letter]) for letter in 'ABC')
