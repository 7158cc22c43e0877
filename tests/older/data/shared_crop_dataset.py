"""Pairs with one crop and one flip for both halves, an option of its own, and a default for another one."""
import os

import numpy as np
from PIL import Image

from data.base_dataset import BaseDataset, get_params, get_transform
from data.image_folder import make_dataset


class SharedCropDataset(BaseDataset):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.add_argument('--noise_level', type=float, default=0.0, help='noise on the input')
        parser.set_defaults(max_dataset_size=4, noise_level=0.1)
        return parser

    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.dir_AB = os.path.join(opt.dataroot, opt.phase)
        self.AB_paths = sorted(make_dataset(self.dir_AB, opt.max_dataset_size))
        assert self.opt.load_size >= self.opt.crop_size
        self.input_nc = self.opt.output_nc if self.opt.direction == 'BtoA' else self.opt.input_nc
        self.output_nc = self.opt.input_nc if self.opt.direction == 'BtoA' else self.opt.output_nc

    def __getitem__(self, index):
        AB_path = self.AB_paths[index]
        AB = Image.open(AB_path).convert('RGB')
        w, h = AB.size
        A = AB.crop((0, 0, w // 2, h))
        B = AB.crop((w // 2, 0, w, h))
        transform_params = get_params(self.opt, A.size)
        A = get_transform(self.opt, transform_params, grayscale=(self.input_nc == 1))(A)
        B = get_transform(self.opt, transform_params, grayscale=(self.output_nc == 1))(B)
        A = A + float(np.random.randn()) * self.opt.noise_level
        return {'A': A, 'B': B, 'A_paths': AB_path, 'B_paths': AB_path}

    def __len__(self):
        return len(self.AB_paths)
