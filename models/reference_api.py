"""The names that model files import which were written for pytorch-CycleGAN-and-pix2pix (2018 to 2025).

In that older contract a model takes `opt` alone, lists its parts in `loss_names`, `model_names`, `visual_names` and
`optimizers`, and makes a whole step in `optimize_parameters`. Such files run unchanged: while one is imported, this
module takes the place of `models.base_model` and `models.networks` (see reference_adapter.py). Native models know
nothing of it.
"""
import functools
import os
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from models import networks
from models.losses import GAN_LOSSES, gradient_penalty
from models.training.schedule import lr_multiplier
from util.checkpoint import layout
from util.checkpoint.store import load_weights


def __getattr__(name):
    """Everything else that older files import from `models.networks`."""
    return getattr(networks, name)


# ---- networks with the older arguments

def get_norm_layer(norm_type: str = 'instance'):
    return networks.NORM_LAYERS[norm_type]


def norm_name(norm_layer) -> str:
    """The name of a norm that is given as a name, a class or a partial of one, such as `nn.BatchNorm2d`."""
    if isinstance(norm_layer, str):
        return norm_layer
    kind = norm_layer.func if isinstance(norm_layer, functools.partial) else norm_layer
    text = getattr(kind, '__name__', '')
    return 'instance' if 'Instance' in text else 'batch' if 'Batch' in text else 'none'


def ResnetGenerator(input_nc, output_nc, ngf=64, norm_layer=nn.BatchNorm2d, use_dropout=False, n_blocks=6,   # noqa: N802
                    padding_type='reflect'):
    return networks.ResnetGenerator(input_nc, output_nc, ngf, norm_name(norm_layer), use_dropout, n_blocks)


def UnetGenerator(input_nc, output_nc, num_downs, ngf=64, norm_layer=nn.BatchNorm2d, use_dropout=False):     # noqa: N802
    return networks.UnetGenerator(input_nc, output_nc, ngf, norm_name(norm_layer), use_dropout, num_downs)


def NLayerDiscriminator(input_nc, ndf=64, n_layers=3, norm_layer=nn.BatchNorm2d):                            # noqa: N802
    return networks.PatchDiscriminator(input_nc, ndf, n_layers, norm_name(norm_layer))


def PixelDiscriminator(input_nc, ndf=64, norm_layer=nn.BatchNorm2d):                                         # noqa: N802
    return networks.PixelDiscriminator(input_nc, ndf, norm_name(norm_layer))


def init_weights(net, init_type='normal', init_gain=0.02):
    return networks.init_weights(net, init_type, init_gain)


def init_net(net, init_type='normal', init_gain=0.02, gpu_ids=()):
    device = torch.accelerator.current_accelerator() if gpu_ids else torch.device('cpu')
    return init_weights(net.to(device), init_type, init_gain)


def define_G(input_nc, output_nc, ngf, netG, norm='batch', use_dropout=False, init_type='normal',            # noqa: N802
             init_gain=0.02, gpu_ids=()):
    net = networks.create_generator(netG, input_nc, output_nc, ngf, norm, use_dropout)
    return init_net(net, init_type, init_gain, gpu_ids)


def define_D(input_nc, ndf, netD, n_layers_D=3, norm='batch', *init, use_sigmoid=None, **named):              # noqa: N802
    """In 2018 `use_sigmoid` came after the norm; the losses here take logits in any case."""
    net = networks.create_discriminator(netD, input_nc, ndf, n_layers_D, norm)
    return init_net(net, *(init[1:] if init and isinstance(init[0], bool) else init), **named)


class GANLoss(nn.Module):
    """`GANLoss('lsgan')(prediction, True)`; in 2018 `GANLoss(use_lsgan=False)`."""

    def __init__(self, gan_mode='lsgan', target_real_label=1.0, target_fake_label=0.0, use_lsgan=None):
        super().__init__()
        if isinstance(gan_mode, bool) or use_lsgan is not None:
            gan_mode = 'lsgan' if (gan_mode if use_lsgan is None else use_lsgan) else 'vanilla'
        if gan_mode not in GAN_LOSSES:
            raise NotImplementedError(f'gan mode {gan_mode} not implemented')
        self.gan_mode = gan_mode
        self.register_buffer('real_label', torch.tensor(target_real_label))
        self.register_buffer('fake_label', torch.tensor(target_fake_label))

    def forward(self, prediction, target_is_real):
        label = self.real_label if target_is_real else self.fake_label
        if label == float(target_is_real) or self.gan_mode == 'wgangp':
            return GAN_LOSSES[self.gan_mode](prediction, bool(target_is_real))
        loss = nn.functional.mse_loss if self.gan_mode == 'lsgan' else nn.functional.binary_cross_entropy_with_logits
        return loss(prediction, label.expand_as(prediction))


def cal_gradient_penalty(netD, real_data, fake_data, device, type='mixed', constant=1.0, lambda_gp=10.0):
    """The penalty and None; only the usual form, with random mixtures and a norm of 1, is there."""
    if lambda_gp <= 0:
        return 0.0, None
    if type != 'mixed' or constant != 1.0:
        raise NotImplementedError(f'gradient penalty with type={type}, constant={constant}; use mixed and 1.0')
    return gradient_penalty(netD, real_data, fake_data.detach(), lambda_gp), None


def get_scheduler(optimizer, opt):
    """The schedule of the options as a scheduler of PyTorch, stepped once in each epoch."""
    if opt.lr_policy == 'plateau':
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode='min', factor=0.2, threshold=0.01, patience=5)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: lr_multiplier(
        opt.lr_policy, epoch + opt.epoch_count, opt.n_epochs, opt.n_epochs_decay, opt.lr_decay_iters, opt.lr_gamma))


# ---- the older base class

class BaseModel:
    """What a class in the older contract inherits: its attributes, and the methods that it may override or call."""

    @staticmethod
    def modify_commandline_options(parser, is_train):
        return parser

    def __init__(self, opt=None):
        if opt is not None:
            BaseModel.initialize(self, opt)

    def initialize(self, opt):
        """The constructor of 2018."""
        self.opt = opt
        self.isTrain = opt.isTrain
        self.gpu_ids = opt.gpu_ids
        self.device = opt.device
        self.save_dir = os.path.join(opt.checkpoints_dir, opt.name)
        self.loss_names = []
        self.model_names = []
        self.visual_names = []
        self.optimizers = []
        self.schedulers = []
        self.image_paths = []
        self.metric = 0

    def name(self):
        return type(self).__name__

    def set_requires_grad(self, nets, requires_grad=False):
        for net in nets if isinstance(nets, list) else [nets]:
            if net is not None:
                net.requires_grad_(requires_grad)

    def load_networks(self, epoch):
        """For a model that begins with the weights of a checkpoint in its `save_dir`."""
        for name in self.model_names:
            net = getattr(self, f'net{name}')
            load_weights(layout.network_path(Path(self.save_dir), str(epoch), name), getattr(net, 'module', net))

    def test(self):
        with torch.no_grad():
            self.forward()
            self.compute_visuals()

    def compute_visuals(self):
        """Compute additional images to show."""

    def get_image_paths(self):
        return self.image_paths

    def get_current_visuals(self):
        return OrderedDict((name, getattr(self, name)) for name in self.visual_names if hasattr(self, name))

    def get_current_losses(self):
        return OrderedDict((name, float(getattr(self, f'loss_{name}'))) for name in self.loss_names)

    def eval(self):
        for name in self.model_names:
            getattr(self, f'net{name}').eval()
