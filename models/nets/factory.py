"""Create networks by name, initialize their weights, and recognize a network from its weights."""
import inspect
import re

import torch
from torch import nn

from models.catalog import own_nets, parse_netG, patch_layers
from util.errors import UserError

from .convolutions import PaddedConv2d, SpectralConvTranspose2d
from .discriminators import PatchDiscriminator, PixelDiscriminator
from .generators import ResnetGenerator, UnetGenerator


def create_generator(netG: str, input_nc: int, output_nc: int, ngf: int = 64, norm: str = 'instance',
                     dropout: bool = False, antialias: bool = False, upsample: str = 'transposed',
                     **own) -> nn.Module:
    """A generator by name, such as 'resnet_9blocks', 'unet_256' or 'encdec_256'; ValueError for other names.

    `antialias` is for a ResNet, `upsample` is one of `catalog.UPSAMPLING`, `own` are the options of a network that is a
    file of its own.
    """
    family, depth = parse_netG(netG)
    if family == 'own':
        net = build_own(netG, 'input_nc, output_nc, ngf, norm, dropout', input_nc, output_nc, ngf, norm, dropout, **own)
        check_first_output(net, output_nc)
        net.multiple, net.smallest = getattr(net, 'size_multiple', 1), getattr(net, 'smallest_side', 1)
        return net
    if family == 'resnet':
        return ResnetGenerator(input_nc, output_nc, ngf, norm, dropout, depth, antialias, upsample=upsample)
    return UnetGenerator(input_nc, output_nc, ngf, norm, dropout, n_levels=depth, skips=family == 'unet',
                         upsample=upsample)


def create_discriminator(netD: str, input_nc: int, ndf: int = 64, n_layers_D: int = 3,
                         norm: str = 'instance', antialias: bool = False, **own) -> nn.Module:
    """A discriminator by name: 'pixel', 'n_layers' with `n_layers_D`, a name in `catalog.PATCH_LAYERS`, or a file."""
    if netD in own_nets.names():
        return build_own(netD, 'input_nc, ndf, n_layers, norm', input_nc, ndf, n_layers_D, norm, **own)
    if netD == 'pixel':
        return PixelDiscriminator(input_nc, ndf, norm)
    return PatchDiscriminator(input_nc, ndf, patch_layers(netD, n_layers_D), norm, antialias)


def build_own(name: str, arguments: str, *values, **options) -> nn.Module:
    """A network from a file of one's own; a `UserError` if its constructor does not take the arguments of a network."""
    kind = own_nets.load(name)
    file = f'{own_nets.folder / name}.py'
    if not issubclass(kind, nn.Module):
        raise UserError(f'{file}: {kind.__name__} is no torch.nn.Module; derive it from nn.Module')
    try:
        inspect.signature(kind).bind(*values, **options)
    except TypeError as error:
        raise UserError(f'{file}: {kind.__name__}.__init__ cannot be called ({error}); it must take '
                        f'{", ".join(["self", arguments, *options])}') from error
    return kind(*values, **options)


def check_first_output(net: nn.Module, output_nc: int):
    """Raise a `UserError` if the first result of a generator of one's own has another shape than an image."""
    def check(net, inputs, output):
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        hook.remove()
        image, *_ = inputs
        expected = (len(image), output_nc, *image.shape[2:])
        if tuple(getattr(output, 'shape', ())) != expected:
            found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise UserError(f'{inspect.getfile(type(net))}: {type(net).__name__} returns {found} for images '
                            f'{tuple(image.shape)}, but must return {expected}; if it needs other sizes, set '
                            f'size_multiple')
    hook = net.register_forward_hook(check)


INITIALISERS = {
    'normal': lambda weight, gain: nn.init.normal_(weight, 0.0, gain),
    'xavier': lambda weight, gain: nn.init.xavier_normal_(weight, gain=gain),
    'kaiming': lambda weight, gain: nn.init.kaiming_normal_(weight, a=0, mode='fan_in'),
    'orthogonal': lambda weight, gain: nn.init.orthogonal_(weight, gain=gain),
}


def init_weights(net: nn.Module, init_type: str = 'normal', init_gain: float = 0.02) -> nn.Module:
    """Initialize all convolutions and linear layers; the scales of batch norms are drawn from N(1, init_gain)."""
    def init(module):
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            INITIALISERS[init_type](module.weight, init_gain)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.normal_(module.weight, 1.0, init_gain)
        else:
            return
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return net.apply(init)


def spectral_norms(net: nn.Module) -> nn.Module:
    """Divide the weight of every convolution by its largest singular value (Miyato et al. 2018)."""
    exact = {nn.Conv2d: PaddedConv2d, nn.ConvTranspose2d: SpectralConvTranspose2d}
    for module in list(net.modules()):
        if isinstance(module, tuple(exact)) and not nn.utils.parametrize.is_parametrized(module):
            # under autocast, the weight is computed in full precision
            module.__class__ = exact.get(type(module), type(module))
            nn.utils.parametrizations.spectral_norm(module)
    return net


def fix_spectral_norms(net: nn.Module):
    """Stop the power iteration of spectral norms, so that the result for an image is always the same."""
    for module in net.modules():
        if isinstance(module, nn.utils.parametrize.ParametrizationList):
            module.eval()


def mixes_batch(net: nn.Module) -> bool:
    """True if the output for an image depends on the rest of its batch, or on noise drawn for the batch."""
    noisy = (nn.Dropout, nn.modules.batchnorm._BatchNorm)
    return any(isinstance(module, noisy) and module.training for module in net.modules())


def together(net: nn.Module, *inputs: torch.Tensor) -> list:
    """`net(x)` for each input: in one call if the results are the same, else one call after the other."""
    unlike = len({x.shape[1:] for x in inputs}) > 1
    if unlike or mixes_batch(net) or any(nn.utils.parametrize.is_parametrized(module) for module in net.modules()):
        return [net(x) for x in inputs]     # a spectral norm is updated by each call
    sizes, outputs = [len(x) for x in inputs], net(torch.cat(inputs))
    if isinstance(outputs, list):           # one map per scale
        return [list(scales) for scales in zip(*(output.split(sizes) for output in outputs), strict=True)]
    return list(outputs.split(sizes))


def describe(nets: dict[str, nn.Module], verbose: bool = False) -> str:
    """Names and sizes of networks, with their structure if `verbose`."""
    lines = ['---------- Networks initialized -------------']
    for name, net in nets.items():
        count = sum(parameter.numel() for parameter in net.parameters())
        if verbose:
            lines.append(str(net))
        lines.append(f'[Network {name}] Total number of parameters : {count / 1e6:.3f} M')
    return '\n'.join([*lines, '-----------------------------------------------'])


def describe_generator(weights: dict) -> dict | None:
    """The options that build the generator of these weights, or None if it is not one of ours.

    Returns netG, input_nc, output_nc, ngf, norm and, for a ResNet, no_dropout and antialias.
    """
    convs = {key: value.shape for key, value in weights.items() if key.endswith('.weight') and value.ndim == 4}
    blocks = {key.split('.')[1] for key in convs if '.conv_block.' in key}
    if blocks and 'model.1.weight' in convs:
        first, last = convs['model.1.weight'], list(convs.values())[-1]
        norm = 'batch' if 'model.2.weight' in weights else 'instance' if 'model.1.bias' in weights else 'none'
        return dict(netG=f'resnet_{len(blocks)}blocks', input_nc=first[1], output_nc=last[0], ngf=first[0],
                    norm=norm, no_dropout=not any(re.search(r'conv_block\.6\.weight', key) for key in convs),
                    antialias='model.7.filt' in weights)
    if {'model.model.0.weight', 'model.model.3.weight'} <= convs.keys():
        first, last = convs['model.model.0.weight'], convs['model.model.3.weight']
        norms = any(value.ndim == 1 and key.endswith('.weight') for key, value in weights.items())
        norm = 'batch' if norms else 'instance' if 'model.model.0.bias' in weights else 'none'
        family = 'unet' if last[0] == 2 * first[0] else 'encdec'
        return dict(netG=f'{family}_{2 ** (len(convs) // 2)}', input_nc=first[1], output_nc=last[1],
                    ngf=first[0], norm=norm)
    return None


def describe_autoencoder(weights: dict) -> dict | None:
    """The arguments of the `MunitGenerator` of these weights except `pad_type`, or None if they are of another one."""
    def count(pattern):
        return sum(re.fullmatch(pattern, key) is not None for key in weights)
    first = weights.get('enc_content.model.0.conv.weight')
    codes = [value for key, value in weights.items() if re.fullmatch(r'enc_style\.model\.\d+\.weight', key)]
    if first is None or not codes or 'mlp.model.0.fc.weight' not in weights:
        return None
    return dict(nc=first.shape[1], ngf=first.shape[0], style_dim=codes[0].shape[0],
                mlp_dim=weights['mlp.model.0.fc.weight'].shape[0],
                n_downsample=count(r'enc_content\.model\.\d+\.conv\.weight') - 1,
                n_downsample_style=count(r'enc_style\.model\.\d+\.conv\.weight') - 1,
                n_res=count(r'enc_content\.model\.\d+\.model\.\d+\.model\.0\.conv\.weight'))
