"""Translating an image in tiles: memory is bounded by a tile, the result is that of the whole image."""
import torch
from torch import nn

from models.nets.generators import ResnetBlock, ResnetGenerator, UnetGenerator, UnetLevel
from models.nets.layers import BatchNorm2d, ConvBlock, Dropout
from models.nets.munit import ContentResBlock, ContentResBlocks, MunitGenerator
from models.nets.norms import DecoderLayerNorm, InstanceNorm2d
from util.console import note
from util.errors import UserError
from util.machine.memory import free_memory, memory_explained, out_of_memory

from .copies import SeededDropout
from .fitting import fitting, mirrored
from .maps import FileStore, Image, Local, Map, MemoryStore, Moments, Norm, Pointwise, regions

DEFAULT_TILE, SMALLEST_TILE = 512, 64
MEMORY_SHARE = 0.25     # of the free memory, for stored maps; the others go to temporary files
WHOLE_COST = 6          # largest map of a network -> peak memory of a whole translation, measured


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
        raise UserError(f'{type(module).__name__} layers cannot be computed in tiles; translate without --tile')

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
        return self.pointwise(torch.add, residual, x, stored=True)

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
        return self.pointwise(noise, x, stored=True)

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
    return -(-max(2 * tile, 16 * scale) // (2 * scale)) * 2 * scale


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


def translate_in_tiles(translation, picture, code, tile, device: torch.device, seed: int = 0):
    """Translate `picture`, a source and target of `pixels.py`, in tiles of `tile` x `tile` pixels, or 'auto'.

    If memory runs out, the tiles are halved, down to 64 pixels.
    """
    first = side = tile_side(translation, picture.size, tile, device)
    with memory_explained(device, cures='another device, or bfloat16', tile=SMALLEST_TILE):
        while True:
            try:
                translate_with(translation, picture, code, side, device, seed)
                break
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or side // 2 < SMALLEST_TILE:
                    raise
            side = side // 32 * 16      # still a multiple of 16
    if side < first:
        note(f'memory ran out with tiles of {first} pixels; this image was translated with tiles of {side}')


def tile_side(translation, size: tuple[int, int], tile, device: torch.device) -> int:
    """The side of the tiles in pixels, a multiple of 16; for 'auto' the whole image if it fits into memory."""
    if tile == 'auto':
        largest = max(4 * found.channels / found.scale**2 for found in graph_of(translation, size, device).maps)
        whole = WHOLE_COST * largest * size[0] * size[1]
        tile = max(size) if whole < free_memory(device) / 2 else DEFAULT_TILE
    if not isinstance(tile, int) or tile < SMALLEST_TILE and tile < max(size):
        raise UserError(f"tile {tile}: needs a whole number of at least {SMALLEST_TILE}, or 'auto'")
    return -(-tile // 16) * 16


def graph_of(translation, size: tuple[int, int], device: torch.device, read=None, code=None, seed: int = 0) -> Graph:
    net = translation.net
    sides = tuple(fitting(side, net.multiple, net.smallest) for side in size)
    graph = Graph(sides, device, net.mlp(code) if code is not None else torch.zeros(1, 2**20, device='meta'), seed)
    output = graph.extend(net, graph.add(Image(read, translation.channels_seen)))
    output.inputs[0].stored = False     # only the output asks for it
    return graph


def translate_with(translation, picture, code, tile: int, device: torch.device, seed: int):
    height, width = picture.size
    budget = MEMORY_SHARE * free_memory(device)
    stores = []

    def read(region):
        return translation.prepared(window(picture, region, graph.size).to(device))

    def keep(found):
        size = (found.channels, graph.size[0] // found.scale, graph.size[1] // found.scale)
        used = sum(store.size for store in stores if store.open)
        kind = MemoryStore if used + 4 * size[0] * size[1] * size[2] < budget else FileStore
        stores.append(kind(*size, device))
        return stores[-1]

    def write(region, values):
        rows, columns = slice(region.top, min(region.bottom, height)), slice(region.left, min(region.right, width))
        if rows.start < rows.stop and columns.start < columns.stop:
            image = translation.completed(read(region), values)
            picture.write(rows, columns, image[..., :rows.stop - rows.start, :columns.stop - columns.start])

    graph = graph_of(translation, picture.size, device, read, code, seed)
    try:
        graph.run(graph.maps[-1], tile, write, keep)
    finally:
        graph.close()


def window(picture, region, size: tuple[int, int]) -> torch.Tensor:
    """A region of an image that is extended to `size`, (1, C, h, w) on the CPU."""
    rows = mirrored(picture.size[0], size[0], 'cpu')[region.top:region.bottom]
    columns = mirrored(picture.size[1], size[1], 'cpu')[region.left:region.right]
    top, left = rows.min().item(), columns.min().item()
    part = picture.read(slice(top, rows.max().item() + 1), slice(left, columns.max().item() + 1))
    return part.index_select(2, rows - top).index_select(3, columns - left)
