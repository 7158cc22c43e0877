"""A network as a graph of feature maps, which are computed one after the other, each region by region."""
import torch
import torch.nn.functional as F
from torch import nn

from models.nets.convolutions import Downsample, Upsample
from models.nets.generators import ResnetBlock, ResnetGenerator, UnetGenerator, UnetLevel
from models.nets.layers import BatchNorm2d, ConvBlock, Dropout
from models.nets.methods.bicycle import LatentUnet
from models.nets.methods.munit import ContentResBlock, ContentResBlocks, MunitGenerator
from models.nets.methods.pix2pixhd import EnhancedGenerator
from models.nets.methods.spade import Spade, SpadeBlock, SpadeGenerator
from models.nets.norms import DecoderLayerNorm, InstanceNorm2d
from util.errors import UserError

from .copies import SeededDropout
from .maps import Local, Map, Moments, Norm, Pointwise, regions


class Graph:
    """The maps of a network for an image of `size` (height, width) that fits it."""

    def __init__(self, size: tuple[int, int], device: torch.device, style=None, seed: int = 0):
        self.size = size
        self.device = device
        self.seed = seed
        self.style = style          # what the network makes of a style: AdaIN parameters or a code, (1, number)
        self.maps = []              # in the order of computation

    def add(self, found: Map) -> Map:
        self.maps.append(found)
        return found

    def extend(self, module: nn.Module, x: Map, **settings) -> Map:
        """The map that `module` makes of `x`."""
        for kind, build in BUILDERS.items():
            if isinstance(module, kind):
                return build(self, module, x, **settings)
        raise UserError(f'{type(module).__name__} layers cannot be computed in tiles; translate without tiles')

    def sequence(self, layers, x: Map) -> Map:
        padding = []
        for layer in layers:
            if isinstance(layer, nn.ReflectionPad2d):
                padding = [layer]
            else:
                x = self.extend(layer, x, padding=padding) if padding else self.extend(layer, x)
                padding = []
        return x

    def convolution(self, conv, x: Map, padding=()) -> Map:
        stride = conv.stride[0]
        scale = x.scale // stride if isinstance(conv, nn.ConvTranspose2d) else x.scale * stride
        return self.add(Local([*padding, conv], x, conv.out_channels, scale, self.size))

    def upsampling(self, layer, x: Map) -> Map:
        return self.add(Local([layer], x, x.channels, x.scale // 2, self.size, stored=False))

    def downsampling(self, layer, x: Map, factor: int = 2) -> Map:
        return self.add(Local([layer], x, x.channels, x.scale * factor, self.size, stored=False))

    def pointwise(self, function, *inputs: Map, **settings) -> Map:
        return self.add(Pointwise(function, *inputs, **settings))

    def joined(self, x: Map, y: Map) -> Map:
        return self.pointwise(lambda *parts: torch.cat(parts, 1), x, y, channels=x.channels + y.channels)

    def total(self, residual: Map, x: Map) -> Map:
        return self.pointwise(torch.add, residual, x, stored='always')

    def batch_norm(self, norm: BatchNorm2d, x: Map) -> Map:
        if not norm.training:
            return self.pointwise(norm, x)
        return self.add(Norm(x, norm.eps, after=affine(norm.weight, norm.bias)))

    def instance_norm(self, norm, x: Map) -> Map:
        return self.add(Norm(x, norm.eps))

    def layer_norm(self, norm: DecoderLayerNorm, x: Map) -> Map:
        return self.add(Norm(x, norm.eps, 'all', unbiased=True, after=affine(norm.gamma, norm.beta)))

    def dropout(self, layer, x: Map) -> Map:
        """Stored, so that the noise of each pixel is drawn once."""
        if not layer.training:
            return x
        self.seed += 1
        noise = SeededDropout(layer.p, torch.Generator(self.device).manual_seed(self.seed % 2**63))
        return self.pointwise(noise, x, stored='always')

    def residual_block(self, block, x: Map) -> Map:
        return self.total(x, self.extend(block.conv_block, x))

    def unet_level(self, level: UnetLevel, x: Map) -> Map:
        y = self.extend(level.model, x)
        return self.joined(x, y) if level.skips else y

    def latent_unet(self, net: LatentUnet, x: Map) -> Map:
        skips = []
        for down, nz in zip(net.downs, net.codes, strict=True):
            x = self.extend(down, self.with_code(x, nz) if nz else x)
            skips.append(x)
        x = skips.pop()
        for up in reversed(net.ups[1:]):
            x = self.joined(skips.pop(), self.extend(up, x))
        return self.extend(net.ups[0], x)

    def with_code(self, x: Map, nz: int) -> Map:
        code = self.style[:, :nz, None, None]
        return self.pointwise(lambda values: torch.cat([values, code.expand(-1, -1, *values.shape[2:])], 1), x,
                              channels=x.channels + nz)

    # ---- autoencoders with styles

    def conv_block(self, block: ConvBlock, x: Map, style=None) -> Map:
        x = self.convolution(block.conv, x)
        if block.adaptive:
            shift, scale = style
            x = self.add(Norm(x, 1e-5, after=affine(scale[0], shift[0])))
        else:
            x = self.extend(block.norm, x)
        return self.extend(block.activation, x)

    def content_block(self, block: ContentResBlock, x: Map, styles=(None, None)) -> Map:
        first, second = block.model
        return self.total(x, self.conv_block(second, self.conv_block(first, x, styles[0]), styles[1]))

    def content_blocks(self, blocks: ContentResBlocks, x: Map) -> Map:
        parameters = None
        if blocks.model[0].model[0].adaptive:
            halves = self.style.split(x.channels, dim=1)
            parameters = list(zip(halves[0::2], halves[1::2], strict=True))
        for index, block in enumerate(blocks.model):
            x = self.content_block(block, x, parameters[2 * index:2 * index + 2] if parameters else (None, None))
        return x

    # ---- from coarse to fine, and from label maps

    def enhanced(self, net: EnhancedGenerator, image: Map) -> Map:
        sizes = [image]
        for _ in range(net.n_enhancers):
            sizes.append(self.downsampling(net.downsample, sizes[-1]))
        x = self.extend(net.model, sizes.pop())
        for n in range(1, net.n_enhancers + 1):
            down, up = getattr(net, f'model{n}_1'), getattr(net, f'model{n}_2')
            x = self.extend(up, self.total(self.extend(down, sizes.pop()), x))
        return x

    def spade(self, norm: Spade, x: Map, labels: Map) -> Map:
        hidden = self.pointwise(F.relu, self.convolution(norm.shared, self.every(x.scale, labels)))
        maps = (self.convolution(conv, hidden) for conv in (norm.gamma, norm.beta))
        return self.pointwise(lambda y, gamma, beta: y * (1 + gamma) + beta, self.extend(norm.norm, x), *maps)

    def spade_block(self, block: SpadeBlock, x: Map, labels: Map) -> Map:
        y = x
        for norm, conv in ((block.norm_0, block.conv_0), (block.norm_1, block.conv_1)):
            y = self.convolution(conv, self.pointwise(leaky_relu, self.spade(norm, y, labels)))
        if block.changes:
            x = self.convolution(block.conv_s, self.spade(block.norm_s, x, labels))
        return self.total(y, x)

    def spade_generator(self, net: SpadeGenerator, labels: Map) -> Map:
        x = self.convolution(net.first, self.every(net.multiple, labels))
        for index, block in enumerate(net.blocks):
            if index in net.doubled:
                x = self.upsampling(nn.Upsample(scale_factor=2), x)
            x = self.spade_block(block, x, labels)
        return self.pointwise(torch.tanh, self.convolution(net.last, self.pointwise(leaky_relu, x)))

    def every(self, step: int, x: Map) -> Map:
        """Every `step`-th pixel of a map of the size of the image, as nearest-neighbor resizing takes them."""
        return self.downsampling(lambda values: values[..., ::step, ::step], x, step)

    # ---- computing

    def run(self, output: Map, tile: int, write, keep):
        """Compute all maps that are stored or measured, in order, then `output`: `write(region, values)`.

        `keep(map)` returns a new store.
        """
        last_use = {id(source): index for index, found in enumerate(self.maps) for source in self.sources(found)}
        for index, found in enumerate(self.maps[:-1]):
            if found.stored or found.measured:
                self.compute(found, tile, keep(found) if found.stored else None)
            for earlier in self.maps[:index]:
                if earlier.store and last_use.get(id(earlier), 0) <= index:
                    earlier.store.close()
                    earlier.store = None
        for region in regions(self.size, tile):
            write(region, output.region(region))

    def compute(self, found: Map, tile: int, store):
        moments = Moments(found.measured) if found.measured else None
        for region in regions(self.size, side_at(found.scale, tile)):
            x = found.compute(region)
            if store:
                store.write(region.index(found.scale), x)
            if moments:
                moments.add(x)
        found.store = store
        found.statistics = moments.result() if moments else None

    def sources(self, found: Map):
        """The stored maps that are read to compute `found`."""
        for source in found.inputs:
            if source.stored:
                yield source
            else:
                yield from self.sources(source)

    def close(self):
        for found in self.maps:
            if found.store:
                found.store.close()
                found.store = None


def side_at(scale: int, tile: int) -> int:
    """The side of the regions of a map, in pixels of the image; coarse maps have large ones, as margins cost more."""
    if scale <= 2:
        return tile
    return -(-max(tile, 16 * scale) // (2 * scale)) * 2 * scale


def leaky_relu(x):
    return F.leaky_relu(x, 0.2)


def affine(scale: torch.Tensor, shift: torch.Tensor):
    """A function that scales and shifts each channel."""
    return lambda y: y * scale[:, None, None] + shift[:, None, None]


BUILDERS = {        # the first class that fits
    ResnetBlock: Graph.residual_block,
    UnetLevel: Graph.unet_level,
    ContentResBlocks: Graph.content_blocks,
    ContentResBlock: Graph.content_block,
    ConvBlock: Graph.conv_block,
    nn.Sequential: Graph.sequence,
    (nn.Conv2d, nn.ConvTranspose2d): Graph.convolution,
    (nn.Upsample, Upsample): Graph.upsampling,
    Downsample: Graph.downsampling,
    BatchNorm2d: Graph.batch_norm,
    InstanceNorm2d: Graph.instance_norm,
    DecoderLayerNorm: Graph.layer_norm,
    Dropout: Graph.dropout,
    nn.Identity: lambda graph, layer, x: x,
    (nn.ReLU, nn.LeakyReLU, nn.Tanh): Graph.pointwise,
    ResnetGenerator: lambda graph, net, x: graph.extend(net.model, x),
    LatentUnet: Graph.latent_unet,
    EnhancedGenerator: Graph.enhanced,
    SpadeGenerator: Graph.spade_generator,
    UnetGenerator: lambda graph, net, x: graph.extend(net.model.model, x),
    MunitGenerator: lambda graph, net, x: graph.sequence([*net.enc_content.model, *net.dec.model], x),
}
