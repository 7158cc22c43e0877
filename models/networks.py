"""The networks under the path that users import: `from models.networks import create_generator`.

They know no options, only explicit arguments, and work in a notebook. The code is in models/nets/.
"""
from models.nets.classes import class_colors, class_planes
from models.nets.discriminators import (
    MultiscaleDiscriminator,
    PatchDiscriminator,
    PatchScales,
    PixelDiscriminator,
)
from models.nets.factory import (
    INITIALISERS,
    create_discriminator,
    create_generator,
    describe,
    describe_generator,
    fix_spectral_norms,
    init_weights,
    mixes_batch,
    spectral_norms,
    together,
)
from models.nets.generators import (
    ResnetBlock,
    ResnetGenerator,
    UnetGenerator,
    UnetLevel,
)
from models.nets.layers import (
    NORM_LAYERS,
    BatchNorm2d,
    ConvBlock,
    Dropout,
)
from models.nets.methods.bicycle import LatentEncoder, LatentUnet
from models.nets.methods.cut import PatchSampler
from models.nets.methods.munit import (
    ContentEncoder,
    ContentResBlock,
    ContentResBlocks,
    LinearBlock,
    MunitGenerator,
    StyleDecoder,
    StyleEncoder,
    StyleMLP,
)
from models.nets.methods.pix2pixhd import EnhancedGenerator, ScaleDiscriminators, create_pyramid
from models.nets.methods.spade import Spade, SpadeBlock, SpadeGenerator
from models.nets.norms import (
    DecoderLayerNorm,
    InstanceNorm2d,
    adain,
)

__all__ = [
    'BatchNorm2d',
    'ContentEncoder',
    'ContentResBlock',
    'ContentResBlocks',
    'ConvBlock',
    'DecoderLayerNorm',
    'Dropout',
    'EnhancedGenerator',
    'INITIALISERS',
    'InstanceNorm2d',
    'LatentEncoder',
    'LatentUnet',
    'LinearBlock',
    'MultiscaleDiscriminator',
    'MunitGenerator',
    'NORM_LAYERS',
    'PatchDiscriminator',
    'PatchSampler',
    'PatchScales',
    'PixelDiscriminator',
    'ResnetBlock',
    'ResnetGenerator',
    'ScaleDiscriminators',
    'Spade',
    'SpadeBlock',
    'SpadeGenerator',
    'StyleDecoder',
    'StyleEncoder',
    'StyleMLP',
    'UnetGenerator',
    'UnetLevel',
    'adain',
    'class_colors',
    'class_planes',
    'create_discriminator',
    'create_generator',
    'create_pyramid',
    'describe',
    'describe_generator',
    'fix_spectral_norms',
    'init_weights',
    'mixes_batch',
    'spectral_norms',
    'together',
]


def __getattr__(name):
    """Names of the reference, such as `define_G`, for scripts written for it."""
    from models import reference_networks
    return getattr(reference_networks, name)
