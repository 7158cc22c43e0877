"""From an image file's pixels to a tensor: geometry with explicit random draws, then [-1, 1]."""
import os
import random
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps

from util.cli import UserError

PREPROCESS = ('resize_and_crop', 'crop', 'scale_width', 'scale_width_and_crop', 'none', 'resize', 'scale_shortside',
              'scale_shortside_and_crop')


@dataclass(frozen=True)
class Draw:
    """Where to cut and whether to mirror: one draw can be shared by A and B."""
    x: int
    y: int
    flip: bool


@dataclass(frozen=True)
class Preparation:
    """The geometry of `--preprocess`: resize, then cut a window, then mirror.

    resize_and_crop: to load_size x load_size, then a window of crop_size x crop_size; crop: the window alone;
    scale_width: to a width of load_size and a height of at least crop_size; scale_width_and_crop: then the
    window; resize: to load_size x load_size; none: each side to the nearest multiple of 4. All of these are
    bicubic. MUNIT's scale_shortside: the shorter side to load_size, bilinear; scale_shortside_and_crop: then the
    window. See section 6.1 of the pix2pix paper for jitter and mirroring.
    """

    preprocess: str
    load_size: int
    crop_size: int
    flip: bool = True

    def resize(self, image: Image.Image) -> Image.Image:
        """The image at the size it is cut from."""
        size = self.resized(*image.size)
        filter = Image.Resampling.BILINEAR if 'shortside' in self.preprocess else Image.Resampling.BICUBIC
        return image if size == image.size else image.resize(size, filter)

    def resized(self, width: int, height: int) -> tuple[int, int]:
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

    def draw(self, size: tuple[int, int], rng: random.Random) -> Draw:
        """A random window and mirroring for an image of `size` (width, height) after `resize`.

        Three numbers are always drawn, whether or not they are used.
        """
        x = rng.randint(0, max(0, size[0] - self.crop_size))
        y = rng.randint(0, max(0, size[1] - self.crop_size))
        return Draw(x, y, rng.random() > 0.5)

    def cut(self, image: Image.Image, draw: Draw, path: str) -> Image.Image:
        """The drawn window of a resized image, mirrored if drawn; `path` is for the message if it is too small."""
        side = self.crop_size
        if 'crop' in self.preprocess and image.size != (side, side):
            if min(image.size) < side:
                raise UserError(f'{os.path.abspath(path)} is {image.width}x{image.height} where a window of '
                                f'--crop_size {side} is cut; use a smaller --crop_size or --preprocess resize_and_crop')
            image = image.crop((draw.x, draw.y, draw.x + side, draw.y + side))
        return ImageOps.mirror(image) if self.flip and draw.flip else image

    def apply(self, image: Image.Image, rng: random.Random, path: str, channels: int = 3) -> torch.Tensor:
        """All steps for an image with a draw of its own, (channels, H, W) in [-1, 1]."""
        return to_tensor(self.window(as_channels(image, channels), rng, path))

    def window(self, image: Image.Image, rng: random.Random, path: str) -> Image.Image:
        """The image resized, and a window of it with a draw of its own."""
        image = self.resize(image)
        return self.cut(image, self.draw(image.size, rng), path)


def multiple_of_4(side: int) -> int:
    """The nearest multiple of 4, ties to the even one, at least 4."""
    return max(4, round(side / 4) * 4)


def as_channels(image: Image.Image, channels: int) -> Image.Image:
    """RGB, or grey (ITU-R 601) for one channel."""
    return image.convert('L') if channels == 1 else image


def to_tensor(image: Image.Image) -> torch.Tensor:
    """8-bit pixels as float32 (C, H, W) in [-1, 1]."""
    pixels = np.array(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    levels = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    return levels.float().div(255).sub(0.5).div(0.5)
