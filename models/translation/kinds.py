"""How networks translate an image: (N, C, H, W) in [-1, 1] to the same, of any size.

A model names its kind in `translation`. A translation holds one network, whose state dict is what is exported, and for
some an encoder of styles, which has a file of its own.
"""
import torch
from torch import nn

from models import catalog
from models.nets.classes import class_colors, class_planes
from models.nets.factory import create_generator, spectral_norms
from models.nets.methods.bicycle import LatentEncoder, LatentUnet
from models.nets.methods.munit import MunitGenerator
from models.nets.methods.pix2pixhd import create_pyramid
from models.nets.methods.spade import SpadeGenerator
from util import lab
from util.errors import UserError

from .fitting import fitted


class Translation(nn.Module):
    """One generator from image to image."""

    styled = False      # does it need a style code?

    def __init__(self, net: nn.Module, channels: tuple[int, int], encoder: nn.Module | None = None):
        super().__init__()
        self.net = net
        self.encoder = encoder      # of styles, if it is no part of the network
        self.channels_in, self.channels_out = channels
        self.channels_seen = self.channels_in       # by the network

    def forward(self, image, style=None):
        """The translation in the size of the image; `style` is a code (N, style_dim, 1, 1) if it is `styled`."""
        height, width = image.shape[-2:]
        image = fitted(image, self.net.multiple, self.net.smallest)
        return self.translate(image, style).narrow(2, 0, height).narrow(3, 0, width)

    def translate(self, image, style):
        """The translation of an image whose size fits the network."""
        seen = self.prepared(image)
        return self.completed(seen, self.apply_net(seen, style))

    def prepared(self, image):
        """What the network sees of an image."""
        return image

    def apply_net(self, seen, style):
        return self.net(seen)

    def completed(self, seen, made):
        """The image for what the network has seen and made."""
        return made

    def parameters_of(self, style):
        """What the network makes of a style, (N, number)."""
        return style.flatten(1)


class Colorization(Translation):
    """RGB to RGB of the same lightness, with the colors of a generator."""

    def __init__(self, net, channels):
        super().__init__(net, channels)
        self.channels_seen = 1

    def prepared(self, image):
        return lab.lightness(image).contiguous(memory_format=memory_format(image))

    def completed(self, seen, made):
        return lab.rgb(seen, made)


class StyledTranslation(Translation):
    """Content of one domain, decoded with a style of the other.

    The network has the content encoder of the source domain, and everything else of the target domain.
    """

    styled = True

    def apply_net(self, seen, style):
        return self.net.decode(self.net.enc_content(seen), style)

    def encode_style(self, image):
        """The style code (N, style_dim, 1, 1) of images of the target domain."""
        return self.net.enc_style(fitted(image, self.net.multiple, self.net.smallest))

    def parameters_of(self, style):
        return self.net.mlp(style)

    @property
    def style_dim(self) -> int:
        return self.net.mlp.model[0].fc.in_features


class CodedTranslation(Translation):
    """By a generator that takes a code z (N, nz), which an encoder of images of the target domain finds."""

    styled = True

    def apply_net(self, seen, style):
        return self.net(seen, self.parameters_of(style))

    def encode_style(self, image):
        """The mean of the code, (N, nz, 1, 1), of images of the target domain."""
        smallest = max(self.net.smallest, self.encoder.smallest)
        return self.encoder(fitted(image, self.net.multiple, smallest))[0][:, :, None, None]

    @property
    def style_dim(self) -> int:
        return self.net.codes[0]


class LabelTranslation(Translation):
    """From label maps, which the network sees as a plane for each class; without `colors` from any image.

    Networks always use running statistics, as in test.py.
    """

    def __init__(self, net, channels, colors):
        super().__init__(net, channels)
        self.colors = colors
        self.channels_seen = channels[0] if colors is None else len(colors)

    def prepared(self, image):
        return class_planes(image, self.colors)

    def train(self, mode=True):
        return super().train(False)


class PyramidTranslation(LabelTranslation):
    pass


class SpadeTranslation(LabelTranslation):
    pass


def memory_format(image: torch.Tensor) -> torch.memory_format:
    """The memory format of the tensors that a network gets: channels_last is faster on a CPU."""
    return torch.channels_last if image.device.type == 'cpu' else torch.contiguous_format


def build_generator(options: dict) -> Translation:
    net = create_generator(options['netG'], options['input_nc'], options['output_nc'], options['ngf'], options['norm'],
                           not options['no_dropout'], options['antialias'], options.get('upsample', 'transposed'),
                           **{name: options[name] for name in catalog.options_of_net(options['netG'])})
    if options.get('spectral_norm_G'):
        spectral_norms(net)
    return Translation(net, (options['input_nc'], options['output_nc']))


def build_colorization(options: dict) -> Translation:
    return Colorization(build_generator({**options, 'input_nc': 1, 'output_nc': 2}).net, (3, 3))


def build_styled(options: dict) -> Translation:
    """A network whose encoder reads images of `input_nc` and whose decoder makes images of `output_nc` channels."""
    def autoencoder(nc):
        return MunitGenerator(nc, *(options[name] for name in STYLED_OPTIONS))
    net = autoencoder(options['output_nc'])
    if options['input_nc'] != options['output_nc']:
        net.enc_content = autoencoder(options['input_nc']).enc_content
    return StyledTranslation(net, (options['input_nc'], options['output_nc']))


def build_coded(options: dict) -> Translation:
    norm, nz = options['norm'], options['nz']
    channels = options['input_nc'], options['output_nc']
    net = LatentUnet(*channels, nz, options['ngf'], norm, not options['no_dropout'],
                     catalog.parse_netG(options['netG'])[1], options['where_add'])
    if options.get('spectral_norm_G'):
        spectral_norms(net)
    return CodedTranslation(net, channels, LatentEncoder(channels[1], nz, options['nef'], norm, options['n_blocks_E']))


def build_pyramid(options: dict) -> Translation:
    return labelled(PyramidTranslation, options, lambda nc: create_pyramid(
        nc, options['output_nc'], options['ngf'], options['norm'], options['n_downsample_global'],
        options['n_blocks_global'], options['n_local_enhancers'], options['n_blocks_local']))


def build_spade(options: dict) -> Translation:
    return labelled(SpadeTranslation, options, lambda nc: SpadeGenerator(
        nc, options['output_nc'], options['ngf'], options['norm_S'], options['n_ups'], options['spade_nc']))


def labelled(kind: type, options: dict, network) -> Translation:
    """A translation of `kind` with `network(channels of its input)`."""
    with torch.device('cpu'):       # colors are no part of the state dict
        colors = class_colors(options['labels']) if options['labels'] else None
    net = network(options['input_nc'] if colors is None else len(colors))
    if options.get('spectral_norm_G'):
        spectral_norms(net)
    return kind(net, (options['input_nc'], options['output_nc']), colors)


STYLED_OPTIONS = ('ngf', 'style_dim', 'mlp_dim', 'n_downsample', 'n_downsample_style', 'n_res', 'pad_type')
CLASSES = {'generator': Translation, 'colors': Colorization, 'styles': StyledTranslation,
           'codes': CodedTranslation, 'pyramid': PyramidTranslation, 'spade': SpadeTranslation}
BUILDERS = {'generator': build_generator, 'colors': build_colorization, 'styles': build_styled,
            'codes': build_coded, 'pyramid': build_pyramid, 'spade': build_spade}
LABELLED_OPTIONS = ('input_nc', 'output_nc', 'ngf', 'spectral_norm_G', 'labels')
NET_OPTIONS = ('netG', 'ngf', 'norm', 'no_dropout', 'antialias', 'upsample', 'spectral_norm_G')
OPTIONS = {'generator': (*NET_OPTIONS, 'input_nc', 'output_nc'),
           'colors': NET_OPTIONS,
           'codes': ('input_nc', 'output_nc', 'netG', 'ngf', 'norm', 'no_dropout', 'spectral_norm_G', 'nz', 'where_add',
                     'nef', 'n_blocks_E'),
           'pyramid': (*LABELLED_OPTIONS, 'norm', 'n_downsample_global', 'n_blocks_global', 'n_local_enhancers',
                       'n_blocks_local'),
           'spade': (*LABELLED_OPTIONS, 'norm_S', 'n_ups', 'spade_nc'),
           'styles': ('input_nc', 'output_nc', *STYLED_OPTIONS)}


def options_of(kind: str, options: dict) -> dict:
    """Those of `options` that a translation is built from, with the options of a network of one's own."""
    own = catalog.options_of_net(options['netG']) if 'netG' in OPTIONS[kind] else {}
    missing = [name for name in own if name not in options]
    if missing:
        raise UserError(f'the network {options["netG"]} has the option {missing[0]}, which the files do not say; use '
                        f'the run folder, or give {missing[0]}=... in Python')
    return {name: options[name] for name in (*OPTIONS[kind], *own)}


def domains_of(kind: str, direction: str) -> tuple[str, str]:
    """The domains of the dataset that an image and its translation belong to. Photos to be colorized are all in A."""
    if kind == 'colors':
        return 'A', 'A'
    return ('B', 'A') if direction == 'BtoA' else ('A', 'B')
