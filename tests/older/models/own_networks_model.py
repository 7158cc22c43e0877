"""Networks of its own, built from those of the reference; values of its own for options; schedulers of its own."""
import functools

import torch
import torch.nn as nn

from . import networks
from .base_model import BaseModel
from .networks import NLayerDiscriminator, ResnetBlock, ResnetGenerator, init_net


class LayerNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, x):
        return self.norm(x)


class FeatureGenerator(ResnetGenerator):
    """Gives the features of some layers, too."""

    def __init__(self, *args, **kwargs):
        super(FeatureGenerator, self).__init__(*args, **kwargs)
        self.extra = ResnetBlock(3, padding_type='replicate', norm_layer=LayerNorm, use_dropout=False, use_bias=True)

    def forward(self, x, layers=()):
        features = []
        for index, layer in enumerate(self.model):
            x = layer(x)
            if index in layers:
                features.append(x)
        return features if layers else self.extra(x)


def make_D(name, input_nc, ndf):
    if name != 'small':
        raise NotImplementedError(name)
    return NLayerDiscriminator(input_nc, ndf, n_layers=1, norm_layer=nn.BatchNorm2d)


class OwnNetworksModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(dataset_mode='unaligned', netG='feature', netD='small', load_size=37, crop_size=30)
        if is_train:
            parser.set_defaults(gan_mode='hinge')
            parser.add_argument('--layers', type=str, default='0,4', help='whose features are compared')
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.loss_names = ['D', 'G', 'penalty']
        self.visual_names = ['real_A', 'fake_B']
        self.model_names = ['G', 'D'] if self.isTrain else ['G']
        norm_layer = functools.partial(nn.InstanceNorm2d, affine=True, track_running_stats=False)
        self.netG = init_net(FeatureGenerator(opt.input_nc, opt.output_nc, opt.ngf, norm_layer, False, 1, 'zero'),
                             gpu_ids=self.gpu_ids)
        if self.isTrain:
            self.netD = init_net(make_D(opt.netD, opt.output_nc, opt.ndf), gpu_ids=self.gpu_ids)
            self.optimizer_G = torch.optim.AdamW(self.netG.parameters(), lr=opt.lr)
            self.optimizer_D = torch.optim.RMSprop(self.netD.parameters(), lr=opt.lr * 4)
            self.optimizers = [self.optimizer_G, self.optimizer_D]

    def setup(self, opt):
        BaseModel.setup(self, opt)
        if self.isTrain:
            self.schedulers = [torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
                               for optimizer in self.optimizers]

    def set_input(self, input):
        AtoB = self.opt.direction == 'AtoB'
        self.real_A = input['A' if AtoB else 'B'].to(self.device)
        self.real_B = input['B' if AtoB else 'A'].to(self.device)
        self.image_paths = input['A_paths' if AtoB else 'B_paths']

    def forward(self):
        self.fake_B = self.netG(self.real_A)

    def optimize_parameters(self):
        self.forward()
        self.set_requires_grad(self.netD, True)
        self.optimizer_D.zero_grad()
        self.loss_penalty, gradients = networks.cal_gradient_penalty(self.netD, self.real_B, self.fake_B.detach(),
                                                                     self.device, type='mixed', lambda_gp=0.1)
        assert gradients.shape[0] == self.real_B.shape[0]
        self.loss_D = (torch.relu(1 - self.netD(self.real_B)).mean() + self.loss_penalty
                       + torch.relu(1 + self.netD(self.fake_B.detach())).mean())
        self.loss_D.backward()
        self.optimizer_D.step()
        self.set_requires_grad(self.netD, False)
        self.optimizer_G.zero_grad()
        features = self.netG(self.real_A, [int(index) for index in self.opt.layers.split(',')])
        self.loss_G = -self.netD(self.fake_B).mean() + 0.01 * sum(feature.pow(2).mean() for feature in features)
        self.loss_G.backward()
        self.optimizer_G.step()
