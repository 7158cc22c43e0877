"""Image files of scripts/translate.py: any kind is read, results have the kind of their domain."""
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.domain import Domain
from data.transforms import to_levels
from util.files import atomic_write
from util.images import as_numbers, tensor_to_image
from util.raster.write import extension_for, write_pixels


class Files:
    """Reads images of the domain that is translated, and writes those of the other one.

    An image is a Pillow image if both domains have 8-bit gray or RGB, else a tensor (1, C, H, W) in [-1, 1].
    """

    def __init__(self, source: Domain, target: Domain, save_as: str = ''):
        self.source, self.target = source, target
        self.save_as = save_as

    @classmethod
    def of_training(cls, options: dict, names: tuple[str, str], channels: tuple[int, int],
                    save_as: str = '') -> 'Files':
        """`options` of the training, {} if unknown; domains and channels of what is translated, and of the result."""
        source, target = (Domain.of_options(name, count, options) for name, count in zip(names, channels, strict=True))
        return cls(source, target, save_as)

    def read(self, path: Path) -> Image.Image | torch.Tensor:
        """Raises an `ImageError`."""
        image = self.source.open(str(path))
        if isinstance(image, Image.Image) and not self.target.is_wide:
            return image
        return as_numbers(to_levels(image))[None]

    def read_style(self, path: Path) -> Image.Image | torch.Tensor:
        image = self.target.open(str(path))
        return image if isinstance(image, Image.Image) else image[None]

    def extension(self, source: Path) -> str:
        """The file type of the result of an image: its own where that can hold the values."""
        dtype, channels = self.target.stored_type(str(source)) or ('uint8', self.target.channels)
        return extension_for(str(source), dtype, channels or self.target.channels, self.save_as)

    def write(self, path: Path, image: Image.Image | torch.Tensor, source: Path):
        stored = self.target.stored_type(str(source))
        if stored and isinstance(image, torch.Tensor):
            pixels = self.target.to_stored(image[0], *stored)
        else:
            pixels = np.asarray(as_picture(image))
        write_pixels(path, pixels if pixels.ndim == 3 else pixels[:, :, None], str(source))


def as_picture(image: Image.Image | torch.Tensor) -> Image.Image:
    return image if isinstance(image, Image.Image) else Image.fromarray(tensor_to_image(image[0]))


def write_animation(path: Path, images: list[Image.Image], seconds: float = 0.1):
    """Write images as a GIF that never ends."""
    with atomic_write(path, 'wb', durable=False) as file:
        first, *others = map(as_picture, images)
        first.save(file, format='GIF', save_all=True, append_images=others, duration=1000 * seconds, loop=0)


def strip(images: list[Image.Image]) -> Image.Image:
    """Images of one size side by side."""
    images = list(map(as_picture, images))
    width, height = images[0].size
    joined = Image.new(images[0].mode, (width * len(images), height))
    for index, image in enumerate(images):
        joined.paste(image, (index * width, 0))
    return joined
