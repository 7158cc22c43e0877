"""From an image to the uint8 tensor of a sample: resize, crop and flip, with explicit random draws."""
import os
import random
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from util.raster.read import ImageError

PREPROCESS = ('resize_and_crop', 'crop', 'scale_width', 'scale_width_and_crop', 'none', 'resize', 'scale_shortside',
              'scale_shortside_and_crop')


@dataclass(frozen=True)
class Draw:
    """Where to crop and whether to flip; A and B of a pair share one draw."""
    x: int
    y: int
    flip: bool


@dataclass(frozen=True)
class Preparation:
    """The geometry of `--preprocess`: resize, crop, flip.

    resize_and_crop: to load_size x load_size, then crop to crop_size x crop_size; crop: only crop; resize: only
    resize; scale_width: to a width of load_size and a height of at least crop_size; scale_shortside: the shorter side
    to load_size, bilinear; with _and_crop: crop after that; none: each side to the nearest multiple of 4; whole, for
    --whole of test.py: the image as it is. All but scale_shortside are bicubic. For jitter and mirroring see section
    6.1 of https://arxiv.org/abs/1611.07004.

    An image is a Pillow image, a uint8 tensor (C, H, W), or float32 (C, H, W) in [-1, 1]. `fast` resizes 8-bit images
    with torch; about 1 in 200 values then differs by one or two levels.
    """

    preprocess: str
    load_size: int
    crop_size: int
    flip: bool = True
    fast: bool = False

    def resize(self, image: Image.Image | torch.Tensor, nearest: bool = False) -> Image.Image | torch.Tensor:
        """The image at the size it is cropped from; `nearest` makes no new values, for label maps."""
        size = self.resized(*size_of(image))
        bilinear = 'shortside' in self.preprocess
        if size == size_of(image):
            return image
        if nearest:
            return Image.fromarray(np.asarray(image)).resize(size, Image.Resampling.NEAREST)
        if self.fast or isinstance(image, torch.Tensor):
            levels = to_levels(image)[None].contiguous(memory_format=torch.channels_last)   # 3x faster
            resized = interpolate(levels, size[::-1], mode='bilinear' if bilinear else 'bicubic', antialias=True)[0]
            return resized if resized.dtype == torch.uint8 else resized.clamp(-1, 1)    # bicubic overshoots
        return image.resize(size, Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC)

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of an image after `resize`."""
        if 'resize' in self.preprocess:
            return self.load_size, self.load_size
        if 'scale_width' in self.preprocess and not (width == self.load_size and height >= self.crop_size):
            return self.load_size, int(max(self.load_size * height / width, self.crop_size))
        if 'shortside' in self.preprocess:
            short = min(width, height)
            return int(self.load_size * width / short), int(self.load_size * height / short)
        if self.preprocess == 'none':
            return multiple_of_4(width), multiple_of_4(height)
        return width, height

    def final_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of an image after `resize` and `cut`."""
        width, height = self.resized(width, height)
        return (self.crop_size, self.crop_size) if 'crop' in self.preprocess else (width, height)

    def describe(self, sizes: set[tuple[int, int]]) -> str:
        """What happens to images of these sizes: 'are resized to 64x64', or '' if all keep them."""
        steps = [(size, self.resized(*size), self.final_size(*size)) for size in sizes]
        verbs = {'resized': any(before != resized for before, resized, _ in steps),
                 'cropped': any(resized != final for _, resized, final in steps)}
        done = ' and '.join(verb for verb, happens in verbs.items() if happens)
        return f'are {done} to {span({final for *_, final in steps})}' if done else ''

    def draw(self, size: tuple[int, int], rng: random.Random) -> Draw:
        """A random crop and flip for an image of `size` (width, height) after `resize`.

        Three numbers are always drawn, even if they are not used.
        """
        x = rng.randint(0, max(0, size[0] - self.crop_size))
        y = rng.randint(0, max(0, size[1] - self.crop_size))
        return Draw(x, y, rng.random() > 0.5)

    def cut(self, image: Image.Image | torch.Tensor, draw: Draw, path: str) -> torch.Tensor:
        """A tensor (C, H, W), cropped and flipped as drawn. Raises an `ImageError` with `path` if it is too small."""
        side = self.crop_size
        width, height = size_of(image)
        if 'crop' in self.preprocess and (width, height) != (side, side):
            if min(width, height) < side:
                raise ImageError(f'{os.path.abspath(path)} is {width}x{height}, smaller than --crop_size {side}; use a '
                                f'smaller --crop_size or --preprocess resize_and_crop')
            image = crop(image, draw.x, draw.y, side, side)
        levels = to_levels(image)
        return levels.flip(-1) if self.flip and draw.flip else levels

    def window(self, image: Image.Image | torch.Tensor, rng: random.Random, path: str) -> torch.Tensor:
        """`cut` of a resized image, with its own draw."""
        return self.cut(image, self.draw(size_of(image), rng), path)

    def apply(self, image: Image.Image, rng: random.Random, path: str, channels: int = 3) -> torch.Tensor:
        """All steps for an image, with its own draw: uint8 (channels, H, W)."""
        return self.window(self.resize(as_channels(image, channels)), rng, path)


def span(sizes: set[tuple[int, int]]) -> str:
    """'64x48', or '64x48 to 640x480' from the smallest to the largest area."""
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    texts = ['{}x{}'.format(*size) for size in ordered]
    return texts[0] if len(texts) == 1 else f'{texts[0]} to {texts[-1]}'


def size_of(image: Image.Image | torch.Tensor | np.ndarray) -> tuple[int, int]:
    """(width, height)."""
    if isinstance(image, np.ndarray):
        return image.shape[1], image.shape[0]
    return image.size if isinstance(image, Image.Image) else (image.shape[-1], image.shape[-2])


def crop(image: Image.Image | torch.Tensor | np.ndarray, x: int, y: int, width: int, height: int):
    """A window of a Pillow image, a tensor (..., H, W) or an array (H, W, C)."""
    if isinstance(image, Image.Image):
        return image.crop((x, y, x + width, y + height))
    if isinstance(image, np.ndarray):
        return image[y:y + height, x:x + width]
    return image[..., y:y + height, x:x + width]


def multiple_of_4(side: int) -> int:
    """The nearest multiple of 4, ties to the even one, at least 4."""
    return max(4, round(side / 4) * 4)


def as_channels(image: Image.Image | torch.Tensor, channels: int) -> Image.Image | torch.Tensor:
    """RGB, or gray (ITU-R 601) for one channel."""
    if channels != 1:
        return image
    if isinstance(image, torch.Tensor):
        image = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0)))
    return image.convert('L')


def to_levels(image: Image.Image | torch.Tensor) -> torch.Tensor:
    """The pixels of an image as uint8 (C, H, W), in any memory format; a tensor as it is."""
    if isinstance(image, torch.Tensor):
        return image
    pixels = np.array(image)
    return torch.from_numpy(pixels if pixels.ndim == 3 else pixels[:, :, None]).permute(2, 0, 1)
