"""Images of users as tensors in [-1, 1] and back: Pillow images, NumPy arrays, torch tensors.

Range of values of arrays: that of the training where it is stored (--range_A); else 0..255 for uint8, 0..65535 for
uint16, 0..1 for floats and booleans. Tensors are in -1..1.
"""
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps

from util.errors import UserError
from util.raster import channels as raster_channels
from util.raster import ranges
from util.raster.kinds import GRAY, GRAY_ALPHA, RGB, RGBA
from util.raster.ranges import Range
from util.raster.read import to_rgb

USUAL = ('bool', 'uint8', 'uint16', 'float16', 'float32', 'float64')    # types whose range is known
COLORS = {1: GRAY, 2: GRAY_ALPHA, 3: RGB, 4: RGBA}      # how the channels of an array are meant


@dataclass(frozen=True)
class Values:
    """What the values of arrays mean, as in the training: ranges, and the type of a result ('': as the input).

    `refused`: an option of the training that only scripts/translate.py and test.py follow.
    """

    source: Range | None = None
    target: Range | None = None
    dtype: str = ''
    refused: str = ''

    def of_target(self) -> 'Values':
        """Those of an image of the target domain."""
        return Values(self.target, refused=self.refused)


def values_of(training: dict, names: tuple[str, str]) -> Values:
    """From the options of a training; `names` are the domains of the image and of the result."""
    texts = [training.get(f'range_{name}', 'auto') for name in names]
    special = [f'folder_{name}' for name, text in zip(names, texts, strict=True) if ':' in text]
    for name in names:
        special += [option for option in (f'labels_{name}', f'bands_{name}', 'bands') if training.get(option)]
    if special:
        return Values(refused=special[0])
    return Values(*map(ranges.parse, texts), training.get(f'dtype_{names[1]}', '').partition(',')[0])


class Picture:
    """The source of a translation, and its target: windows of it are read and written in any order, and repeatedly.

    Attributes:
        size: (height, width).
    """

    size: tuple[int, int]

    def read(self, rows=slice(None), columns=slice(None)) -> torch.Tensor:
        """A window as (N, C, h, w) in [-1, 1]."""
        raise NotImplementedError

    def start(self, channels: int, out=None):
        """Make the target, of `channels` channels; `out` if the user gives it."""
        raise NotImplementedError

    def write(self, rows: slice, columns: slice, image: torch.Tensor):
        """Set a window of the target to (N, C, h, w) in [-1, 1]."""
        raise NotImplementedError

    def finish(self):
        """The target for the user."""
        raise NotImplementedError


class ArrayImage(Picture):
    """An array (H, W, C) as source, and an array as target, of the same type unless the training says otherwise."""

    def __init__(self, pixels: np.ndarray, channels: int, values: Values = Values()):
        if values.refused:
            raise UserError(f'this run was trained with --{values.refused}; give a tensor in [-1, 1] as the networks '
                            f'see it, or use scripts/translate.py')
        if isinstance(pixels, np.ma.MaskedArray):
            raise UserError('a masked array has values that do not count; give array.filled(value)')
        pixels = np.asarray(pixels)     # a np.matrix cannot have three axes
        self.values = values
        self.pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        self.is_flat = pixels.ndim == 2
        self.channels = channels
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise UserError(f'an array of shape {pixels.shape} is not an image; give (H, W) or (H, W, C)')
        if pixels.dtype.name not in USUAL and not (values.source and pixels.dtype.kind in 'iuf'):
            raise UserError(f'images of type {pixels.dtype} have no usual range; use one of {", ".join(USUAL)}')
        self.read(slice(0, 1), slice(0, 1))     # refuses other numbers of channels before any work

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[:2]

    def read(self, rows=slice(None), columns=slice(None)) -> torch.Tensor:
        window = self.pixels[rows, columns]
        if window.dtype == np.uint8 and window.shape[2] == 3 and self.channels == 1:
            window = np.asarray(Image.fromarray(np.ascontiguousarray(window)).convert('L'))[:, :, None]   # as test.py
        try:
            unit = raster_channels.seen(window, self.channels, COLORS.get(window.shape[2], ''), self.to_unit)
        except ValueError as error:
            raise UserError(str(error)) from error
        return torch.from_numpy(np.ascontiguousarray(unit.transpose(2, 0, 1)))[None]

    def to_unit(self, window: np.ndarray) -> np.ndarray:
        ranges.check_finite(window)
        if self.values.source:
            return self.values.source.to_unit(window)
        usual = ranges.of_type(window.dtype.name)
        if window.dtype.kind == 'f':
            check_values(window.min(), window.max(), usual, 'the array', 'floats must be in 0..1')
        return usual.to_unit(window)

    def start(self, channels: int, out: np.ndarray | None = None):
        shape, dtype = (*self.size, channels), np.dtype(self.values.dtype or self.pixels.dtype)
        if out is not None and not isinstance(out, np.ndarray):
            raise UserError(f'out is a {type(out).__name__}; give a NumPy array {shape} {dtype}')
        if out is not None and not out.flags.writeable:
            raise UserError('out is read-only; give an array that can be written to, such as np.load(..., mmap_mode='
                            "'r+')")
        if out is not None and (out.shape, out.dtype) != (shape, dtype):
            raise UserError(f'out is {out.shape} {out.dtype}, but the result is {shape} {dtype}')
        self.given = out
        self.result = np.empty(shape, dtype) if out is None else out

    def write(self, rows: slice, columns: slice, image: torch.Tensor):
        dtype = self.result.dtype.name
        unit = image[0].detach().float().cpu().permute(1, 2, 0).numpy()
        self.result[rows, columns] = (self.values.target or ranges.of_type(dtype)).to_stored(unit, dtype)

    def finish(self) -> np.ndarray:
        if self.given is not None:
            return self.given
        return self.result[:, :, 0] if self.is_flat and self.result.shape[2] == 1 else self.result


def check_values(lo, hi, expected: Range, what: str, needed: str):
    """Refuse values that are meant in another range than `expected`; a little outside is rounding or resizing."""
    room = ranges.OVERSHOOT * (expected.hi - expected.lo)
    if not expected.lo - room <= lo <= hi <= expected.hi + room:     # NaN is not, either
        raise UserError(f'{what} has values from {lo:g} to {hi:g}; {needed}')


class PillowImage(ArrayImage):
    """A Pillow image with 8 bits per channel; transparency is shown on white, as test.py reads files."""

    def __init__(self, image: Image.Image, channels: int, values: Values = Values()):
        if image.mode.startswith(('I', 'F')):
            raise UserError(f'a Pillow image of mode {image.mode} has more than 8 bits; give numpy.asarray(image)')
        image = ImageOps.exif_transpose(image)
        if values.dtype not in ('', 'uint8'):       # deep results become pictures
            values = Values(values.source, None, 'uint8', values.refused)
        super().__init__(np.asarray(image if image.mode == 'L' else to_rgb(image)), channels, values)

    def finish(self) -> Image.Image:
        if self.result.shape[2] not in (1, 3):
            raise UserError(f'the network makes {self.result.shape[2]} channels, which Pillow cannot hold; give arrays')
        return Image.fromarray(self.result[:, :, 0] if self.result.shape[2] == 1 else self.result)


class TensorImage(Picture):
    """Images (N, C, H, W) or (C, H, W) in [-1, 1], on any device; the result has their type."""

    def __init__(self, image: torch.Tensor, channels: int):
        self.single = image.ndim == 3
        self.image = image[None] if self.single else image
        if (image.ndim not in (3, 4) or not image.is_floating_point() or 0 in image.shape
                or image.layout != torch.strided or image.is_meta):
            raise UserError(f'a tensor {tuple(image.shape)} of type {image.dtype} is not an image; give floats in [-1, '
                            f'1], (N, C, H, W) or (C, H, W)')
        if self.image.shape[1] != channels:
            raise UserError(f'the tensor has {self.image.shape[1]} channels, the network takes {channels}')
        lo, hi = (value.item() for value in self.image.detach().aminmax())
        check_values(lo, hi, Range(-1, 1), 'the tensor', 'tensors must be in -1..1')

    @property
    def size(self):
        return tuple(self.image.shape[-2:])

    def read(self, rows=slice(None), columns=slice(None)):
        return self.image[..., rows, columns].detach().float()

    def start(self, channels: int, out=None):
        if out is not None:
            raise UserError('out is for NumPy arrays')
        self.result = self.image.new_empty(len(self.image), channels, *self.size)

    def write(self, rows, columns, image):
        self.result[..., rows, columns] = image.to(self.result)

    def finish(self):
        return self.result[0] if self.single else self.result


def check_separate(image, out):
    """Tiles read the image again after parts of the result are written."""
    if isinstance(image, np.ndarray) and isinstance(out, np.ndarray) and np.may_share_memory(image, out):
        raise UserError('out shares its memory with the image, which tiles read again; give another array')


def opened(image, channels: int, values: Values = Values()):
    """The source and target for an image of a user; a `UserError` if it cannot be one of `channels` channels."""
    if isinstance(image, Picture):
        return image
    if isinstance(image, torch.Tensor):
        return TensorImage(image, channels)
    for kind, source in ((np.ndarray, ArrayImage), (Image.Image, PillowImage)):
        if isinstance(image, kind):
            return source(image, channels, values)
    raise UserError(f'{type(image).__name__} is not an image; give a Pillow image, a NumPy array or a tensor')
