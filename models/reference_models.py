"""The models of the reference in its own contract, for files that extend them (`class MyModel(Pix2PixModel)`).

`--model pix2pix` and `--model cyclegan` are the native models; tests compare the weights of both.
"""
import itertools

import torch

from models import reference_networks as networks
from models.reference_api import BaseModel
from util.image_pool import ImagePool
from util.images import lab_to_rgb


class Pix2PixModel(BaseModel):
    """pix2pix (Isola et al. 2017): `backward_D`, `backward_G` and the losses under the names of the reference."""

    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(norm='batch', netG='unet_256', dataset_mode='aligned')
        if is_train:
            parser.set_defaults(pool_size=0, gan_mode='vanilla')
            parser.add_argument('--lambda_L1', type=float, default=100.0, help='weight of the L1 loss')
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.loss_names = ['G_GAN', 'G_L1', 'D_real', 'D_fake']
        self.visual_names = ['real_A', 'fake_B', 'real_B']
        self.model_names = ['G', 'D'] if self.isTrain else ['G']
        self.netG = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.norm, not opt.no_dropout,
                                 opt.init_type, opt.init_gain, self.gpu_ids)
        if not self.isTrain:
            return
        self.netD = networks.define_D(opt.input_nc + opt.output_nc, opt.ndf, opt.netD, opt.n_layers_D, opt.norm,
                                 opt.init_type, opt.init_gain, self.gpu_ids)
        self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
        self.criterionL1 = torch.nn.L1Loss()
        self.optimizer_G = adam(opt, self.netG)
        self.optimizer_D = adam(opt, self.netD)
        self.optimizers += [self.optimizer_G, self.optimizer_D]

    def set_input(self, input):
        set_both(self, input)

    def forward(self):
        self.fake_B = self.netG(self.real_A)

    def backward_D(self):
        self.loss_D_fake = self.criterionGAN(self.netD(torch.cat((self.real_A, self.fake_B), 1).detach()), False)
        self.loss_D_real = self.criterionGAN(self.netD(torch.cat((self.real_A, self.real_B), 1)), True)
        self.loss_D = (self.loss_D_fake + self.loss_D_real) * 0.5
        self.loss_D.backward()

    def backward_G(self):
        self.loss_G_GAN = self.criterionGAN(self.netD(torch.cat((self.real_A, self.fake_B), 1)), True)
        self.loss_G_L1 = self.criterionL1(self.fake_B, self.real_B) * self.opt.lambda_L1
        self.loss_G = self.loss_G_GAN + self.loss_G_L1
        self.loss_G.backward()

    def optimize_parameters(self):
        self.forward()
        self.set_requires_grad(self.netD, True)
        update(self.optimizer_D, self.backward_D)
        self.set_requires_grad(self.netD, False)
        update(self.optimizer_G, self.backward_G)


class CycleGANModel(BaseModel):
    """CycleGAN (Zhu et al. 2017), with the pools, criteria and `backward_*` of the reference."""

    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(no_dropout=True)
        if is_train:
            parser.add_argument('--lambda_A', type=float, default=10.0, help='weight of the cycle loss A -> B -> A')
            parser.add_argument('--lambda_B', type=float, default=10.0, help='weight of the cycle loss B -> A -> B')
            parser.add_argument('--lambda_identity', type=float, default=0.5, help='weight of the identity loss')
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.loss_names = ['D_A', 'G_A', 'cycle_A', 'idt_A', 'D_B', 'G_B', 'cycle_B', 'idt_B']
        visuals_A, visuals_B = ['real_A', 'fake_B', 'rec_A'], ['real_B', 'fake_A', 'rec_B']
        if self.isTrain and opt.lambda_identity > 0:
            visuals_A.append('idt_B')
            visuals_B.append('idt_A')
        self.visual_names = visuals_A + visuals_B
        self.model_names = ['G_A', 'G_B', 'D_A', 'D_B'] if self.isTrain else ['G_A', 'G_B']
        common = (opt.norm, not opt.no_dropout, opt.init_type, opt.init_gain, self.gpu_ids)
        self.netG_A = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.netG, *common)
        self.netG_B = networks.define_G(opt.output_nc, opt.input_nc, opt.ngf, opt.netG, *common)
        if not self.isTrain:
            return
        common = (opt.ndf, opt.netD, opt.n_layers_D, opt.norm, opt.init_type, opt.init_gain, self.gpu_ids)
        self.netD_A, self.netD_B = networks.define_D(opt.output_nc, *common), networks.define_D(opt.input_nc, *common)
        self.fake_A_pool, self.fake_B_pool = ImagePool(opt.pool_size), ImagePool(opt.pool_size)
        self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
        self.criterionCycle, self.criterionIdt = torch.nn.L1Loss(), torch.nn.L1Loss()
        self.optimizer_G = adam(opt, self.netG_A, self.netG_B)
        self.optimizer_D = adam(opt, self.netD_A, self.netD_B)
        self.optimizers += [self.optimizer_G, self.optimizer_D]

    def set_input(self, input):
        set_both(self, input)

    def forward(self):
        self.fake_B = self.netG_A(self.real_A)
        self.rec_A = self.netG_B(self.fake_B)
        self.fake_A = self.netG_B(self.real_B)
        self.rec_B = self.netG_A(self.fake_A)

    def backward_D_basic(self, netD, real, fake):
        loss_D = (self.criterionGAN(netD(real), True) + self.criterionGAN(netD(fake.detach()), False)) * 0.5
        loss_D.backward()
        return loss_D

    def backward_D_A(self):
        self.loss_D_A = self.backward_D_basic(self.netD_A, self.real_B, self.fake_B_pool.query(self.fake_B))

    def backward_D_B(self):
        self.loss_D_B = self.backward_D_basic(self.netD_B, self.real_A, self.fake_A_pool.query(self.fake_A))

    def backward_G(self):
        opt = self.opt
        self.loss_idt_A = self.loss_idt_B = 0
        if opt.lambda_identity > 0:
            self.idt_A, self.idt_B = self.netG_A(self.real_B), self.netG_B(self.real_A)
            self.loss_idt_A = self.criterionIdt(self.idt_A, self.real_B) * opt.lambda_B * opt.lambda_identity
            self.loss_idt_B = self.criterionIdt(self.idt_B, self.real_A) * opt.lambda_A * opt.lambda_identity
        self.loss_G_A = self.criterionGAN(self.netD_A(self.fake_B), True)
        self.loss_G_B = self.criterionGAN(self.netD_B(self.fake_A), True)
        self.loss_cycle_A = self.criterionCycle(self.rec_A, self.real_A) * opt.lambda_A
        self.loss_cycle_B = self.criterionCycle(self.rec_B, self.real_B) * opt.lambda_B
        self.loss_G = (self.loss_G_A + self.loss_G_B + self.loss_cycle_A + self.loss_cycle_B
                       + self.loss_idt_A + self.loss_idt_B)
        self.loss_G.backward()

    def optimize_parameters(self):
        self.forward()
        self.set_requires_grad([self.netD_A, self.netD_B], False)
        update(self.optimizer_G, self.backward_G)
        self.set_requires_grad([self.netD_A, self.netD_B], True)
        update(self.optimizer_D, self.backward_D_A, self.backward_D_B)


class ColorizationModel(Pix2PixModel):
    """pix2pix from L to a, b of CIELAB; `lab2rgb` shows them."""

    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        Pix2PixModel.modify_commandline_options(parser, is_train)
        parser.set_defaults(dataset_mode='colorization')
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.visual_names = ['real_A', 'real_B_rgb', 'fake_B_rgb']

    def lab2rgb(self, L, AB):                                                                                # noqa: N803
        """The first image of a batch, as an array (H, W, 3) in 0..255."""
        rgb = lab_to_rgb(torch.cat([L, AB], 1).detach()[:1])
        return ((rgb[0] + 1) * 127.5).permute(1, 2, 0).cpu().numpy()

    def compute_visuals(self):
        self.real_B_rgb = self.lab2rgb(self.real_A, self.real_B)
        self.fake_B_rgb = self.lab2rgb(self.real_A, self.fake_B)


class TemplateModel(BaseModel):
    """A regression: the start of a new model."""

    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(dataset_mode='aligned')
        if is_train:
            parser.add_argument('--lambda_regression', type=float, default=1.0, help='weight of the regression loss')
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.loss_names = ['G']
        self.visual_names = ['data_A', 'data_B', 'output']
        self.model_names = ['G']
        self.netG = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.netG, gpu_ids=self.gpu_ids)
        if self.isTrain:
            self.criterionLoss = torch.nn.L1Loss()
            self.optimizer = adam(opt, self.netG)
            self.optimizers = [self.optimizer]

    def set_input(self, input):
        set_both(self, input, 'data')

    def forward(self):
        self.output = self.netG(self.data_A)

    def backward(self):
        self.loss_G = self.criterionLoss(self.output, self.data_B) * self.opt.lambda_regression
        self.loss_G.backward()

    def optimize_parameters(self):
        self.forward()
        update(self.optimizer, self.backward)


class TestModel(BaseModel):
    """One generator on single images."""

    __test__ = False    # not a test class for pytest

    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(dataset_mode='single')
        parser.add_argument('--model_suffix', type=str, default='', help='_A loads <epoch>_net_G_A.pth')
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.visual_names = ['real', 'fake']
        self.model_names = ['G' + opt.model_suffix]
        self.netG = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.norm, not opt.no_dropout,
                                 opt.init_type, opt.init_gain, self.gpu_ids)
        setattr(self, 'netG' + opt.model_suffix, self.netG)

    def set_input(self, input):
        self.real = input['A'].to(self.device)
        self.image_paths = input['A_paths']

    def forward(self):
        self.fake = self.netG(self.real)

    def optimize_parameters(self):
        """It only translates."""


def adam(opt, *nets):
    parameters = itertools.chain(*(net.parameters() for net in nets))
    return torch.optim.Adam(parameters, lr=opt.lr, betas=(opt.beta1, 0.999))


def update(optimizer, *backwards):
    optimizer.zero_grad()
    for backward in backwards:
        backward()
    optimizer.step()


def set_both(model, batch, name='real'):
    a, b = ('A', 'B') if model.opt.direction == 'AtoB' else ('B', 'A')
    for domain, key in (('A', a), ('B', b)):
        setattr(model, f'{name}_{domain}', batch[key].to(model.device))
    model.image_paths = batch[f'{a}_paths']
