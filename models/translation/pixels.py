"""Images of users as tensors in [-1, 1] and back: Pillow images, NumPy arrays, torch tensors.

Range of values of arrays: that of the training where it is stored (--range_A); else 0..255 for uint8, 0..65535 for
uint16, 0..1 for floats and booleans. Tensors are in -1..1.
"""
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps

from util.errors import UserError
from util.images import as_numbers
from util.raster import ranges
from util.raster.ranges import Range

HIGHEST = {'bool': 1.0, 'uint8': 255.0, 'uint16': 65535.0, 'float16': 1.0, 'float32': 1.0, 'float64': 1.0}
GRAY = (0.299, 0.587, 0.114)        # ITU-R 601


@dataclass(frozen=True)
class Values:
    """What the values of arrays mean, as in the training: ranges, and the type of a result ('': as the input)."""

    source: Range | None = None
    target: Range | None = None
    dtype: str = ''


def values_of(training: dict, direction: str) -> Values:
    """From the options of a training, for a direction of its dataset."""
    names = ('B', 'A') if direction == 'BtoA' else ('A', 'B')
    texts = [training.get(f'range_{name}', 'auto') for name in names]
    source, target = (ranges.parse(text) if ':' not in text else None for text in texts)
    return Values(source, target, training.get(f'dtype_{names[1]}', '').partition(',')[0])


def to_unit(pixels: np.ndarray, value_range: Range | None = None) -> torch.Tensor:
    """Pixels (H, W, C) as float32 (1, C, H, W) in [-1, 1]."""
    if value_range:
        return torch.from_numpy(np.ascontiguousarray(value_range.to_unit(pixels).transpose(2, 0, 1)))[None]
    if pixels.dtype == np.uint8:
        return as_numbers(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])
    highest = HIGHEST[pixels.dtype.name]
    values = torch.from_numpy(pixels.astype(np.float32).transpose(2, 0, 1).copy())[None]
    return values / (highest / 2) - 1


def from_unit(image: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    """An image (C, H, W) in [-1, 1] as pixels (H, W, C); integers are rounded to the nearest level, all are clipped."""
    highest = HIGHEST[np.dtype(dtype).name]
    values = ((image.detach().float() + 1) * (highest / 2)).clamp(0, highest)
    if np.dtype(dtype).kind != 'f':
        values = values.round()
    return values.permute(1, 2, 0).cpu().numpy().astype(dtype)


class ArrayImage:
    """An array (H, W, C) as source, and an array as target, of the same type unless the training says otherwise."""

    def __init__(self, pixels: np.ndarray, channels: int, values: Values = Values()):
        self.values = values
        self.pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        self.is_flat = pixels.ndim == 2
        self.channels = channels
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise UserError(f'an array of shape {pixels.shape} is no image; give (H, W) or (H, W, C)')
        if pixels.dtype.name not in HIGHEST and not (values.source and pixels.dtype.kind in 'iuf'):
            raise UserError(f'images of type {pixels.dtype} have no usual range; use one of {", ".join(HIGHEST)}')
        as_channels(self.pixels[:1, :1], channels)     # refuses other numbers of channels before any work

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[:2]

    def read(self, rows=slice(None), columns=slice(None)) -> torch.Tensor:
        """A window as (1, C, h, w) in [-1, 1] on the CPU."""
        return to_unit(as_channels(self.pixels[rows, columns], self.channels), self.values.source)

    def start(self, channels: int, out: np.ndarray | None = None):
        shape, dtype = (*self.size, channels), np.dtype(self.values.dtype or self.pixels.dtype)
        if out is not None and (out.shape, out.dtype) != (shape, dtype):
            raise UserError(f'out is {out.shape} {out.dtype}, but the result is {shape} {dtype}')
        self.given = out
        self.result = np.empty(shape, dtype) if out is None else out

    def write(self, rows: slice, columns: slice, image: torch.Tensor):
        """Set a window of the result to (1, C, h, w) in [-1, 1]."""
        if self.values.target:
            unit = image[0].detach().float().cpu().permute(1, 2, 0).numpy()
            self.result[rows, columns] = self.values.target.to_stored(unit, self.result.dtype.name)
        else:
            self.result[rows, columns] = from_unit(image[0], self.result.dtype)

    def finish(self) -> np.ndarray:
        if self.given is not None:
            return self.given
        return self.result[:, :, 0] if self.is_flat and self.result.shape[2] == 1 else self.result


class PillowImage(ArrayImage):
    """A Pillow image with 8 bits per channel; transparency is shown on white, as test.py reads files."""

    def __init__(self, image: Image.Image, channels: int):
        if image.mode.startswith(('I', 'F')):
            raise UserError(f'a Pillow image of mode {image.mode} has more than 8 bits; give numpy.asarray(image)')
        image = ImageOps.exif_transpose(image)
        if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
            image = image.convert('RGBA')
            image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
        if image.mode not in ('L', 'RGB'):
            image = image.convert('L' if image.mode == '1' else 'RGB')
        super().__init__(np.asarray(image), channels)

    def finish(self) -> Image.Image:
        if self.result.shape[2] not in (1, 3):
            raise UserError(f'the network makes {self.result.shape[2]} channels, which Pillow cannot hold; give arrays')
        return Image.fromarray(self.result[:, :, 0] if self.result.shape[2] == 1 else self.result)


class TensorImage:
    """Images (N, C, H, W) or (C, H, W) in [-1, 1], on any device; the result has their type."""

    def __init__(self, image: torch.Tensor, channels: int):
        self.single = image.ndim == 3
        self.image = image[None] if self.single else image
        if image.ndim not in (3, 4) or not image.is_floating_point() or 0 in image.shape:
            raise UserError(f'a tensor {tuple(image.shape)} of type {image.dtype} is no image; give floats in [-1, 1], '
                            f'(N, C, H, W) or (C, H, W)')
        if self.image.shape[1] != channels:
            raise UserError(f'the tensor has {self.image.shape[1]} channels, the network takes {channels}')

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


def opened(image, channels: int, values: Values = Values()):
    """The source and target for an image of a user; a `UserError` if it cannot be one of `channels` channels."""
    if isinstance(image, np.ndarray):
        return ArrayImage(image, channels, values)
    for kind, source in ((torch.Tensor, TensorImage), (Image.Image, PillowImage)):
        if isinstance(image, kind):
            return source(image, channels)
    raise UserError(f'{type(image).__name__} is no image; give a Pillow image, a NumPy array or a tensor')


def as_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(H, W, channels): gray is repeated, and RGB becomes gray as Pillow makes it; transparency is shown on white."""
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if found in (2, 4):
        return as_channels(on_white(pixels), channels)
    if found == 1 and channels == 3:
        return np.repeat(pixels, 3, axis=2)
    if found == 3 and channels == 1:
        if pixels.dtype == np.uint8:
            return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert('L'))[:, :, None]
        return (pixels @ np.array(GRAY, np.float32)).round(6).astype(pixels.dtype)[:, :, None]
    raise UserError(f'the image has {found} channels, the network takes {channels}')


def on_white(pixels: np.ndarray) -> np.ndarray:
    """Gray or RGB with transparency as its last channel, shown on white."""
    highest = HIGHEST[pixels.dtype.name]
    alpha = pixels[:, :, -1:].astype(np.float32) / highest
    values = pixels[:, :, :-1] * alpha + highest * (1 - alpha)
    return (values.round() if pixels.dtype.kind != 'f' else values).astype(pixels.dtype)
