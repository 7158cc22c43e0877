"""A network as a graph of feature maps, which are computed one after the other, each region by region."""
import torch
from torch import nn

from models.nets.generators import ResnetBlock, ResnetGenerator, UnetGenerator, UnetLevel
from models.nets.layers import BatchNorm2d, ConvBlock, Dropout
from models.nets.methods.munit import ContentResBlock, ContentResBlocks, MunitGenerator
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
        self.style = style          # AdaIN parameters, (1, number)
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
        return self.add(Local([layer], x, x.channels, x.scale // int(layer.scale_factor), self.size, stored=False))

    def pointwise(self, function, *inputs: Map, **settings) -> Map:
        return self.add(Pointwise(function, *inputs, **settings))

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
        if not level.skips:
            return y
        return self.pointwise(lambda *parts: torch.cat(parts, 1), x, y, channels=x.channels + y.channels)

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
    nn.Upsample: Graph.upsampling,
    BatchNorm2d: Graph.batch_norm,
    InstanceNorm2d: Graph.instance_norm,
    DecoderLayerNorm: Graph.layer_norm,
    Dropout: Graph.dropout,
    nn.Identity: lambda graph, layer, x: x,
    (nn.ReLU, nn.LeakyReLU, nn.Tanh): Graph.pointwise,
    ResnetGenerator: lambda graph, net, x: graph.extend(net.model, x),
    UnetGenerator: lambda graph, net, x: graph.extend(net.model.model, x),
    MunitGenerator: lambda graph, net, x: graph.sequence([*net.enc_content.model, *net.dec.model], x),
}
