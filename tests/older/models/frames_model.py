"""Batches that are no dict of images: lists, dicts and names; visuals of several kinds."""
import numpy as np
import torch

from util import util

from . import networks
from .base_model import BaseModel


class FramesModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(dataset_mode='frames', input_nc=1, output_nc=1)
        if is_train:
            parser.set_defaults(batch_size=2)
        return parser

    def __init__(self, opt):
        BaseModel.__init__(self, opt)
        self.loss_names = ['l1', 'brightness']
        self.visual_names = ['first', 'second']
        self.model_names = ['G']
        self.netG = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, 'unet_32', 'instance', gpu_ids=self.gpu_ids)
        if self.isTrain:
            self.optimizer = torch.optim.Adam(self.netG.parameters(), lr=opt.lr)
            self.optimizers = [self.optimizer]

    def set_input(self, data):
        self.first, self.target = (frame.to(self.device) for frame in data['frames'])
        assert isinstance(data['name'], list) and len(data['meta']['index']) == len(self.first)
        self.image_paths = data['name']

    def forward(self):
        self.second = self.netG(self.first)

    def optimize_parameters(self):
        self.forward()
        self.optimizer.zero_grad()
        self.loss_l1 = (self.second - self.target).abs().mean(dim=(1, 2, 3)).mean()
        self.loss_brightness = float(self.second.mean())
        self.loss_l1.backward()
        self.optimizer.step()

    def get_current_visuals(self):
        visuals = BaseModel.get_current_visuals(self)
        visuals['both'] = np.concatenate([util.tensor2im(self.first), util.tensor2im(self.second)], 1)
        return visuals
