"""Translating an image in tiles: memory is bounded by a tile, the result is that of the whole image."""
from numbers import Integral

import torch

from util.console import note
from util.errors import UserError
from util.machine.memory import free_memory, memory_explained, out_of_memory

from .fitting import fitting, mirrored
from .graph import Graph
from .maps import FileStore, Image, MemoryStore

DEFAULT_TILE, SMALLEST_TILE = 512, 64
WHOLE = 2**30           # side of the tiles of an image that is not divided
MEMORY_SHARE = 0.25     # of the free memory, for stored maps; the others go to temporary files
MOST_MEMORY = 2**28     # bytes of stored maps on a CPU; the system keeps files in memory that is free
WHOLE_COST = 6          # largest map of a network -> peak memory of a whole translation, measured


class Tiling:
    """How large tiles are. It remembers when memory ran out: later images begin with what was enough."""

    def __init__(self):
        self.limit = WHOLE

    def translate(self, translation, picture, whole, tile, code, device: torch.device, seed: int):
        """Translate `picture`, a source and target of `pixels.py`.

        Args:
            whole: function that translates the whole picture, without tiles.
            tile: the side of the tiles in pixels, or 'auto': the whole picture if it fits into the free memory. If
                memory runs out, tiles are halved, down to 64 pixels.
        """
        side = min(tile_side(translation, picture.size, tile, device), self.limit)
        with memory_explained(device, cures='another device, or bfloat16', tile=SMALLEST_TILE):
            while True:
                try:
                    if side == WHOLE:
                        whole()
                    else:
                        translate_in_tiles(translation, picture, code, side, device, seed)
                    return
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error) or side // 2 < SMALLEST_TILE:
                        raise
                side = self.reduced(side)   # after the error, which keeps tensors alive

    def reduced(self, side: int) -> int:
        """The side of the tiles after memory ran out."""
        if side == WHOLE:
            smaller, what = DEFAULT_TILE, 'the whole image'
        else:
            smaller, what = side // 32 * 16, f'tiles of {side} pixels'      # still a multiple of 16
        if self.limit == WHOLE:
            note(f'memory ran out with {what}; continuing with tiles of {smaller}, or smaller ones where needed')
        self.limit = min(self.limit, smaller)
        return smaller


def tile_side(translation, size: tuple[int, int], tile, device: torch.device) -> int:
    """The side of the tiles in pixels, a multiple of 16; for 'auto', `WHOLE` if the image fits into memory."""
    if tile == 'auto':
        largest = max(4 * found.channels / found.scale**2 for found in graph_of(translation, size, device).maps)
        whole = WHOLE_COST * largest * size[0] * size[1]
        return WHOLE if whole < free_memory(device) / 2 else DEFAULT_TILE
    if not isinstance(tile, Integral) or tile < SMALLEST_TILE and tile < max(size):
        raise UserError(f"tile {tile}: needs a whole number of at least {SMALLEST_TILE}, or 'auto'")
    return -(-int(tile) // 16) * 16


def graph_of(translation, size: tuple[int, int], device: torch.device, read=None, code=None, seed: int = 0) -> Graph:
    net = translation.net
    sides = tuple(fitting(side, net.multiple, net.smallest) for side in size)
    style = torch.zeros(1, 2**20, device='meta') if code is None else translation.parameters_of(code)
    graph = Graph(sides, device, style, seed)
    output = graph.extend(net, graph.add(Image(read, translation.channels_seen)))
    output.inputs[0].stored = False     # only the output asks for it
    return graph


def translate_in_tiles(translation, picture, code, tile: int, device: torch.device, seed: int):
    height, width = picture.size
    budget = MEMORY_SHARE * free_memory(device)
    if device.type == 'cpu':
        budget = min(budget, MOST_MEMORY)
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
