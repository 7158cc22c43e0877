"""Its own setup, files in checkpoints, learning rates, printing and test; a U-Net of UnetSkipConnectionBlock."""
import os

import torch
import torch.nn as nn

from . import networks
from .base_model import BaseModel


class SmallUnet(nn.Module):
    def __init__(self, input_nc, output_nc, ngf, norm_layer):
        super(SmallUnet, self).__init__()
        block = networks.UnetSkipConnectionBlock(ngf * 2, ngf * 2, input_nc=None, submodule=None,
                                                 norm_layer=norm_layer, innermost=True)
        block = networks.UnetSkipConnectionBlock(ngf, ngf * 2, input_nc=None, submodule=block, norm_layer=norm_layer)
        self.model = networks.UnetSkipConnectionBlock(output_nc, ngf, input_nc=input_nc, submodule=block,
                                                      outermost=True, norm_layer=norm_layer)

    def forward(self, x):
        return self.model(x)


class OwnHooksModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(dataset_mode='aligned', norm='batch')
        return parser

    def __init__(self, opt):
        BaseModel.__init__(self, opt)
        self.loss_names = ['rec']
        self.visual_names = ['real_A', 'fake_B', 'real_B']
        self.model_names = ['G']
        self.netG = networks.init_net(SmallUnet(opt.input_nc, opt.output_nc, opt.ngf,
                                                networks.get_norm_layer(opt.norm)), gpu_ids=self.gpu_ids)
        self.factor = torch.ones(1)
        self.steps = 0
        if self.isTrain:
            parameters = list(self.netG.parameters())
            self.optimizer = torch.optim.Adam([{'params': parameters[:4], 'lr': opt.lr * 0.1},
                                               {'params': parameters[4:]}], lr=opt.lr)
            self.optimizers.append(self.optimizer)

    def setup(self, opt):
        BaseModel.setup(self, opt)
        print('own setup')

    def print_networks(self, verbose):
        print('own print_networks')

    def save_networks(self, epoch):
        BaseModel.save_networks(self, epoch)
        print('own save_networks %s' % epoch)
        torch.save([self.factor, torch.tensor(self.steps)], os.path.join(self.save_dir, '%s_extra.pth' % epoch))

    def load_networks(self, epoch):
        BaseModel.load_networks(self, epoch)
        print('own load_networks %s' % epoch)
        self.factor, steps = torch.load(os.path.join(self.save_dir, '%s_extra.pth' % epoch))
        self.steps = int(steps)

    def update_learning_rate(self):
        BaseModel.update_learning_rate(self)
        self.factor = self.factor * 0.5
        for group in self.optimizer.param_groups:
            group['lr'] *= float(self.factor)
        print('own update_learning_rate %s' % [group['lr'] for group in self.optimizer.param_groups])

    def eval(self):
        BaseModel.eval(self)
        print('own eval')

    def test(self):
        with torch.enable_grad():       # finds an input, so it needs gradients
            shift = torch.zeros(1, requires_grad=True, device=self.device)
            self.netG(self.real_A + shift).mean().backward()
        self.real_A = self.real_A - shift.grad.sign() * 0
        BaseModel.test(self)
        print('own test')

    def get_current_losses(self):
        losses = BaseModel.get_current_losses(self)
        losses['twice'] = losses['rec'] * 2
        return losses

    def set_input(self, input):
        self.real_A = input['A'].to(self.device)
        self.real_B = input['B'].to(self.device)
        self.image_paths = input['A_paths']

    def forward(self):
        self.fake_B = self.netG(self.real_A)

    def optimize_parameters(self):
        self.steps += 1
        if self.steps == 3:
            for group in self.optimizer.param_groups:       # until the end of the epoch
                group['lr'] *= 0.25
        self.forward()
        self.optimizer.zero_grad()
        self.loss_rec = torch.nn.functional.l1_loss(self.fake_B, self.real_B)
        self.loss_rec.backward()
        self.optimizer.step()
