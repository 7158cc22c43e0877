"""The networks and losses under the names and with the arguments of the reference's `networks.py`.

Files written for it find this module in place of `models.networks` (see reference_adapter.py). The networks are ours;
`norm_layer` is a name, a class such as `nn.BatchNorm2d`, or a partial of one.
"""
import functools

import torch
from torch import nn
from torch.nn import init
from torch.optim import lr_scheduler

from models.catalog import NET_D
from models.losses import GAN_LOSSES
from models.nets import discriminators, factory, generators
from models.nets.layers import norm_rule
from models.nets.norms import full_precision, plain_norms
from models.training.schedule import lr_multiplier

__all__ = ['GANLoss', 'Identity', 'NLayerDiscriminator', 'PixelDiscriminator', 'ResnetBlock', 'ResnetGenerator',
           'UnetGenerator', 'UnetSkipConnectionBlock', 'cal_gradient_penalty', 'define_D', 'define_G', 'functools',
           'get_norm_layer', 'get_scheduler', 'init', 'init_net', 'init_weights', 'lr_scheduler', 'nn', 'torch']

Identity = nn.Identity
PADDINGS = {'reflect': nn.ReflectionPad2d, 'replicate': nn.ReplicationPad2d}


def get_norm_layer(norm_type='instance'):
    if norm_type in ('batch', 'syncbatch'):
        return functools.partial(nn.BatchNorm2d, affine=True, track_running_stats=True)
    if norm_type == 'instance':
        return functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    if norm_type == 'none':
        return lambda channels: Identity()
    raise NotImplementedError(f'normalization layer [{norm_type}] is not found')


def plain_name(norm_layer):
    """The name of a norm with the default settings, which is one of ours; any other norm as it is."""
    kind, settings = getattr(norm_layer, 'func', norm_layer), getattr(norm_layer, 'keywords', {})
    for name, ours in (('batch', nn.BatchNorm2d), ('instance', nn.InstanceNorm2d)):
        usual = dict.fromkeys(('affine', 'track_running_stats'), name == 'batch')
        if kind is ours and {**usual, **settings} == usual:
            return name
    return norm_layer


# ---- networks

class ResnetBlock(generators.Block):
    """A residual block with the padding reflect, replicate or zero."""

    def __init__(self, dim, padding_type, norm_layer, use_dropout, use_bias):
        super().__init__()
        self.conv_block = self.build_conv_block(dim, padding_type, norm_layer, use_dropout, use_bias)

    def build_conv_block(self, dim, padding_type, norm_layer, use_dropout, use_bias):
        norm, _ = norm_rule(plain_name(norm_layer))

        def convolution():
            if padding_type == 'zero':
                return [nn.Conv2d(dim, dim, 3, padding=1, bias=use_bias), norm(dim)]
            if padding_type not in PADDINGS:
                raise NotImplementedError(f'padding [{padding_type}] is not implemented')
            return [PADDINGS[padding_type](1), nn.Conv2d(dim, dim, 3, bias=use_bias), norm(dim)]
        dropout = [nn.Dropout(0.5)] if use_dropout else []
        return nn.Sequential(*convolution(), nn.ReLU(True), *dropout, *convolution())

    def forward(self, x):
        return x + self.conv_block(x)


class ResnetGenerator(generators.ResnetGenerator):
    def __init__(self, input_nc, output_nc, ngf=64, norm_layer=nn.BatchNorm2d, use_dropout=False, n_blocks=6,
                 padding_type='reflect'):
        norm = plain_name(norm_layer)
        super().__init__(input_nc, output_nc, ngf, norm, use_dropout, n_blocks)
        if padding_type != 'reflect':
            for index, layer in enumerate(self.model):
                if isinstance(layer, generators.ResnetBlock):
                    self.model[index] = ResnetBlock(4 * ngf, padding_type, norm, use_dropout, norm_rule(norm)[1])


class UnetSkipConnectionBlock(nn.Module):
    """A level of a U-Net around `submodule`, the level below."""

    def __init__(self, outer_nc, inner_nc, input_nc=None, submodule=None, outermost=False, innermost=False,
                 norm_layer=nn.BatchNorm2d, use_dropout=False):
        super().__init__()
        self.outermost = outermost
        norm = plain_name(norm_layer)
        if outermost:
            down = nn.Conv2d(input_nc or outer_nc, inner_nc, 4, 2, 1, bias=norm_rule(norm)[1])
            up = nn.ConvTranspose2d(2 * inner_nc, outer_nc, 4, 2, 1)
            self.model = nn.Sequential(down, submodule, nn.ReLU(), up, nn.Tanh())
        else:
            inside = None if innermost else submodule
            self.model = generators.UnetLevel(outer_nc, inner_nc, inside, norm, True, use_dropout).model

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class UnetGenerator(generators.UnetGenerator):
    def __init__(self, input_nc, output_nc, num_downs, ngf=64, norm_layer=nn.BatchNorm2d, use_dropout=False):
        super().__init__(input_nc, output_nc, ngf, plain_name(norm_layer), use_dropout, num_downs)


class NLayerDiscriminator(discriminators.PatchDiscriminator):
    def __init__(self, input_nc, ndf=64, n_layers=3, norm_layer=nn.BatchNorm2d):
        super().__init__(input_nc, ndf, n_layers, plain_name(norm_layer))


class PixelDiscriminator(discriminators.PixelDiscriminator):
    def __init__(self, input_nc, ndf=64, norm_layer=nn.BatchNorm2d):
        super().__init__(input_nc, ndf, plain_name(norm_layer))


def init_weights(net, init_type='normal', init_gain=0.02):
    return factory.init_weights(net, init_type, init_gain)


def init_net(net, init_type='normal', init_gain=0.02, gpu_ids=()):
    if isinstance(init_gain, (list, tuple)):    # in 2018 there was no gain
        return init_net(net, init_type, gpu_ids=init_gain)
    device = torch.accelerator.current_accelerator() if gpu_ids else torch.device('cpu')
    if gpu_ids and not hasattr(net, 'module'):
        object.__setattr__(net, 'module', net)      # on a GPU it was wrapped: files ask for `netG.module`
    return init_weights(net.to(device), init_type, init_gain)


def define_G(input_nc, output_nc, ngf, netG, norm='batch', use_dropout=False, init_type='normal',            # noqa: N802
             init_gain=0.02, gpu_ids=()):
    net = factory.create_generator(netG, input_nc, output_nc, ngf, norm, use_dropout)
    return init_net(net, init_type, init_gain, gpu_ids)


def define_D(input_nc, ndf, netD, n_layers_D=3, norm='batch', *init, use_sigmoid=None, **named):              # noqa: N802
    """In 2018 `use_sigmoid` came after the norm; the losses here take logits in any case."""
    if netD not in NET_D:
        raise NotImplementedError(f'Discriminator model name [{netD}] is not recognized')
    net = factory.create_discriminator(netD, input_nc, ndf, n_layers_D, norm)
    return init_net(net, *(init[1:] if init and isinstance(init[0], bool) else init), **named)


# ---- losses and schedules

class GANLoss(nn.Module):
    """`GANLoss('lsgan')(prediction, True)`; in 2018 `GANLoss(use_lsgan=False)`."""

    def __init__(self, gan_mode='lsgan', target_real_label=1.0, target_fake_label=0.0, use_lsgan=None,
                 tensor=None):
        super().__init__()
        if isinstance(gan_mode, bool) or use_lsgan is not None:
            gan_mode = 'lsgan' if (gan_mode if use_lsgan is None else use_lsgan) else 'vanilla'
        if gan_mode not in GAN_LOSSES:
            raise NotImplementedError(f'gan mode {gan_mode} not implemented')
        self.gan_mode = gan_mode
        self.loss = {'lsgan': nn.MSELoss(), 'vanilla': nn.BCEWithLogitsLoss(), 'wgangp': None}[gan_mode]
        self.register_buffer('real_label', torch.tensor(target_real_label))
        self.register_buffer('fake_label', torch.tensor(target_fake_label))

    def get_target_tensor(self, prediction, target_is_real):
        return (self.real_label if target_is_real else self.fake_label).expand_as(prediction)

    def forward(self, prediction, target_is_real):
        label = self.real_label if target_is_real else self.fake_label
        if label == float(target_is_real) or self.gan_mode == 'wgangp':
            return GAN_LOSSES[self.gan_mode](prediction, bool(target_is_real))
        return self.loss(prediction, self.get_target_tensor(prediction, target_is_real))


def cal_gradient_penalty(netD, real_data, fake_data, device, type='mixed', constant=1.0, lambda_gp=10.0):
    """The penalty for gradients with another norm than `constant` at real, fake or mixed points; and the gradients."""
    if lambda_gp <= 0:
        return 0.0, None
    position = {'real': 1.0, 'fake': 0.0, 'mixed': torch.rand(len(real_data), 1, 1, 1, device=real_data.device)}[type]
    points = (position * real_data + (1 - position) * fake_data).detach().requires_grad_()
    with full_precision(points.device), plain_norms(netD):
        gradients, = torch.autograd.grad(netD(points).sum(), points, create_graph=True)
    gradients = gradients.flatten(1)
    return lambda_gp * ((gradients + 1e-16).norm(2, dim=1) - constant).square().mean(), gradients


def get_scheduler(optimizer, opt):
    """The schedule of the options as a scheduler of PyTorch, stepped once in each epoch."""
    if opt.lr_policy == 'plateau':
        return lr_scheduler.ReduceLROnPlateau(optimizer, mode='min', factor=0.2, threshold=0.01, patience=5)
    return lr_scheduler.LambdaLR(optimizer, lambda epoch: lr_multiplier(
        opt.lr_policy, epoch + opt.epoch_count, opt.n_epochs, opt.n_epochs_decay, opt.lr_decay_iters, opt.lr_gamma))
