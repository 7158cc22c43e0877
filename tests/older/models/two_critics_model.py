"""Two discriminators with one optimizer, an encoder of its own, options, defaults, and a computed image."""
import argparse
import itertools
from collections import OrderedDict

import torch
import torch.nn as nn

from util.image_pool import ImagePool

from . import networks
from .base_model import BaseModel


class MaskNet(nn.Module):
    def __init__(self, input_nc, norm_layer):
        super(MaskNet, self).__init__()
        self.model = nn.Sequential(nn.Conv2d(input_nc, 4, 3, padding=1), norm_layer(4), nn.ReLU(True),
                                   nn.Conv2d(4, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, input):
        return self.model(input)


class TwoCriticsModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(norm='batch', netG='unet_32', dataset_mode='triple', no_dropout=True)
        parser.add_argument('--mask_weights', type=float, nargs='+', default=[1.0, 0.5], help='weights of the mask')
        parser.add_argument('--dropout', type=float, default=0.25, help='the name of an option of others')
        if is_train:
            parser.add_argument('--critic', type=str, choices=['both', 'first'], default='both', help='which critics')
            parser.add_argument('--lambda_mask', type=float, default=2.0, help='weight of the mask')
            parser.add_argument('--warm', type=lambda text: [int(word) for word in text.split(',')], default='1,2')
            parser.add_argument('--no_first', action='store_true')
        opt, _ = parser.parse_known_args()
        if is_train and opt.critic == 'first':
            parser.set_defaults(lambda_mask=3.0)
        return parser

    def __init__(self, opt):
        BaseModel.__init__(self, opt)
        self.loss_names = ['G', 'mask', 'D_1', 'D_2']
        self.visual_names = ['real_A', 'fake_B', 'real_B', 'mask']
        if self.isTrain:
            self.model_names = ['G', 'Mask', 'D_1', 'D_2']
        else:
            self.model_names = ['G', 'Mask']
        self.netG = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.norm,
                                      not opt.no_dropout, opt.init_type, opt.init_gain, self.gpu_ids)
        self.netMask = networks.init_net(MaskNet(opt.input_nc, networks.get_norm_layer('instance')), opt.init_type,
                                         opt.init_gain, self.gpu_ids)
        if self.isTrain:
            opt.seen_by_the_model = True
            self.netD_1 = networks.define_D(opt.output_nc, opt.ndf, 'n_layers', 1, opt.norm, opt.init_type,
                                            opt.init_gain, self.gpu_ids)
            self.netD_2 = networks.define_D(opt.output_nc, opt.ndf, 'pixel', gpu_ids=self.gpu_ids)
            self.fake_pool = ImagePool(opt.pool_size)
            self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
            self.criterionL1 = torch.nn.L1Loss(reduction='mean')
            self.optimizer_G = torch.optim.Adam(
                itertools.chain(self.netG.parameters(), self.netMask.parameters()), lr=opt.lr, betas=(opt.beta1, 0.999))
            self.optimizer_D = torch.optim.SGD(
                itertools.chain(self.netD_1.parameters(), self.netD_2.parameters()), lr=opt.lr * 2, momentum=0.9)
            self.optimizers.append(self.optimizer_G)
            self.optimizers.append(self.optimizer_D)

    def set_input(self, input):
        AtoB = self.opt.direction == 'AtoB'
        self.real_A = input['A' if AtoB else 'B'].to(self.device)
        self.real_B = input['B' if AtoB else 'A'].to(self.device)
        self.real_C = input['C'].to(self.device)
        assert self.real_C.dtype == torch.float32
        self.image_paths = input['A_paths' if AtoB else 'B_paths']

    def forward(self):
        self.mask = self.netMask(self.real_A) * self.opt.mask_weights[0]
        self.fake_B = self.netG(self.real_A) * self.mask + self.real_C * (1 - self.mask)

    def backward_D_basic(self, netD, real, fake):
        loss = (self.criterionGAN(netD(real), True) + self.criterionGAN(netD(fake.detach()), False)) * 0.5
        loss.backward()
        return loss

    def optimize_parameters(self):
        self.forward()
        self.set_requires_grad([self.netD_1, self.netD_2], False)
        self.optimizer_G.zero_grad()
        self.loss_mask = self.mask.mean() * self.opt.lambda_mask
        self.loss_G = self.criterionGAN(self.netD_1(self.fake_B), True) + self.criterionL1(self.fake_B, self.real_B)
        (self.loss_G + self.loss_mask).backward()
        self.optimizer_G.step()
        self.set_requires_grad([self.netD_1, self.netD_2], True)
        self.optimizer_D.zero_grad()
        fake = self.fake_pool.query(self.fake_B)
        self.loss_D_1 = self.backward_D_basic(self.netD_1, self.real_B, fake)
        self.loss_D_2 = self.backward_D_basic(self.netD_2, self.real_B, fake) if self.opt.critic == 'both' else 0
        self.optimizer_D.step()

    def compute_visuals(self):
        self.mask = self.mask.repeat(1, 3, 1, 1) * 2 - 1

    def get_current_visuals(self):
        visuals = OrderedDict(BaseModel.get_current_visuals(self))
        visuals['difference'] = (self.fake_B - self.real_B) / 2
        return visuals


if __name__ == '__main__':
    argparse.ArgumentParser()
