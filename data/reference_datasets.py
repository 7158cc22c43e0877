"""The datasets of the reference in its own contract, for files that extend them (`class MyDataset(AlignedDataset)`).

`--dataset_mode aligned` and the others are the native datasets.
"""
import os
import random

import numpy as np
import torch

from data.reference_api import BaseDataset, default_loader, get_params, get_transform, make_dataset
from util.images import rgb_to_lab


class AlignedDataset(BaseDataset):
    """Pairs side by side in <phase>."""

    def __init__(self, opt):
        super().__init__(opt)
        self.dir_AB = os.path.join(opt.dataroot, opt.phase)
        self.AB_paths = sorted(make_dataset(self.dir_AB, opt.max_dataset_size))
        self.input_nc, self.output_nc = stored_channels(opt)

    def __getitem__(self, index):
        path = self.AB_paths[index]
        pair = default_loader(path)
        width, height = pair.size
        halves = pair.crop((0, 0, width // 2, height)), pair.crop((width // 2, 0, width, height))
        params = get_params(self.opt, halves[0].size)
        A, B = (get_transform(self.opt, params, grayscale=channels == 1)(half)
                for half, channels in zip(halves, (self.input_nc, self.output_nc), strict=True))
        return {'A': A, 'B': B, 'A_paths': path, 'B_paths': path}

    def __len__(self):
        return len(self.AB_paths)


class UnalignedDataset(BaseDataset):
    """Unpaired images in <phase>A and <phase>B."""

    def __init__(self, opt):
        super().__init__(opt)
        self.dir_A = os.path.join(opt.dataroot, opt.phase + 'A')
        self.dir_B = os.path.join(opt.dataroot, opt.phase + 'B')
        self.A_paths = sorted(make_dataset(self.dir_A, opt.max_dataset_size))
        self.B_paths = sorted(make_dataset(self.dir_B, opt.max_dataset_size))
        self.A_size, self.B_size = len(self.A_paths), len(self.B_paths)
        self.transform_A, self.transform_B = (get_transform(opt, grayscale=channels == 1)
                                              for channels in stored_channels(opt))

    def __getitem__(self, index):
        A_path = self.A_paths[index % self.A_size]
        partner = index % self.B_size if self.opt.serial_batches else random.randint(0, self.B_size - 1)
        B_path = self.B_paths[partner]
        return {'A': self.transform_A(default_loader(A_path)), 'B': self.transform_B(default_loader(B_path)),
                'A_paths': A_path, 'B_paths': B_path}

    def __len__(self):
        return max(self.A_size, self.B_size)


class SingleDataset(BaseDataset):
    """Images in the dataroot itself."""

    def __init__(self, opt):
        super().__init__(opt)
        self.A_paths = sorted(make_dataset(opt.dataroot, opt.max_dataset_size))
        self.transform = get_transform(opt, grayscale=stored_channels(opt)[0] == 1)

    def __getitem__(self, index):
        path = self.A_paths[index]
        return {'A': self.transform(default_loader(path)), 'A_paths': path}

    def __len__(self):
        return len(self.A_paths)


class ColorizationDataset(BaseDataset):
    """Color photos in <phase>: A is L / 50 - 1, B is ab / 110."""

    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.set_defaults(input_nc=1, output_nc=2, direction='AtoB')
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.dir = os.path.join(opt.dataroot, opt.phase)
        self.AB_paths = sorted(make_dataset(self.dir, opt.max_dataset_size))
        self.transform = get_transform(opt, convert=False)

    def __getitem__(self, index):
        path = self.AB_paths[index]
        lab = torch.from_numpy(rgb_to_lab(np.array(self.transform(default_loader(path))))).permute(2, 0, 1)
        return {'A': lab[:1] / 50 - 1, 'B': lab[1:] / 110, 'A_paths': path, 'B_paths': path}

    def __len__(self):
        return len(self.AB_paths)


class TemplateDataset(BaseDataset):
    """The start of a new dataset: images of the dataroot, as A and as B."""

    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.add_argument('--new_dataset_option', type=float, default=1.0, help='an example of an own option')
        parser.set_defaults(max_dataset_size=10, new_dataset_option=2.0)
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.image_paths = sorted(make_dataset(os.path.join(opt.dataroot, opt.phase), opt.max_dataset_size))
        self.transform = get_transform(opt)

    def __getitem__(self, index):
        path = self.image_paths[index]
        image = self.transform(default_loader(path))
        return {'A': image, 'B': image.clone(), 'A_paths': path, 'B_paths': path}

    def __len__(self):
        return len(self.image_paths)


def stored_channels(opt) -> tuple[int, int]:
    """Channels of the stored A and B, which --direction may swap."""
    return (opt.output_nc, opt.input_nc) if opt.direction == 'BtoA' else (opt.input_nc, opt.output_nc)
