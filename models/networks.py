"""The networks under the path that users import: `from models.networks import create_generator`.

They know no options, only explicit arguments, and work in a notebook. The code is in models/nets/.
"""
from models.nets.bicycle import LatentEncoder, LatentUnet
from models.nets.cut import PatchSampler
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
    init_weights,
    mixes_batch,
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
from models.nets.munit import (
    ContentEncoder,
    ContentResBlock,
    ContentResBlocks,
    LinearBlock,
    MunitGenerator,
    StyleDecoder,
    StyleEncoder,
    StyleMLP,
)
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
    'StyleDecoder',
    'StyleEncoder',
    'StyleMLP',
    'UnetGenerator',
    'UnetLevel',
    'adain',
    'create_discriminator',
    'create_generator',
    'describe',
    'describe_generator',
    'init_weights',
    'mixes_batch',
    'together',
]


def __getattr__(name):
    """Names of the reference, such as `define_G`, for scripts written for it."""
    from models import reference_networks
    return getattr(reference_networks, name)
