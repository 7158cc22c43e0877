"""Image files of scripts/translate.py: any kind is read, results have the kind of their domain."""
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.domain import Domain
from data.transforms import to_levels
from util.errors import UserError
from util.files import atomic_write
from util.images import as_numbers, tensor_to_image
from util.raster.kinds import BANDS, MAX_PIXELS, kind_of
from util.raster.read import image_error
from util.raster.windows import Scratch, can_stream, open_windows
from util.raster.write import extension_for, write_pixels, write_windows

from .streaming import StreamedImage

UNLIMITED = 2**62       # pixels


class Files:
    """Reads images of the domain that is translated, and writes those of the other one.

    An image is a Pillow image if both domains have 8-bit gray or RGB, else a tensor (1, C, H, W) in [-1, 1]. Large
    ones are a `StreamedImage` if the file types of image and result are read and written in windows.

    Attributes:
        streaming: folder for the temporary files of streamed images; None: all images are read whole.
        partial: {path: kind} of the images that were read, but have more pages or bands than the networks see.
        max_pixels: larger images are refused, unless they are streamed; None: usual, and no limit for streamed ones.
    """

    def __init__(self, source: Domain, target: Domain, save_as: str = '', max_pixels: int | None = None,
                 streaming: Path | None = None):
        self.source, self.target = source, target
        self.save_as = save_as
        self.max_pixels = max_pixels or MAX_PIXELS
        self.streaming = streaming
        self.partial = {}
        for domain in (source, target):
            domain.max_pixels = max_pixels or (UNLIMITED if streaming else MAX_PIXELS)

    @classmethod
    def of_training(cls, options: dict, names: tuple[str, str], channels: tuple[int, int],
                    *settings) -> 'Files':
        """`options` of the training, {} if unknown; domains and channels of what is translated, and of the result."""
        source, target = (Domain.of_options(name, count, options) for name, count in zip(names, channels, strict=True))
        return cls(source, target, *settings)

    def read(self, path: Path) -> Image.Image | torch.Tensor | StreamedImage:
        """Raises an `ImageError`."""
        image = self.read_any(path)
        kind = kind_of(str(path), UNLIMITED)
        if kind.pages > 1 or kind.colors == BANDS:
            self.partial[str(path)] = kind
        return image

    def left_out(self) -> list[str]:
        """Lines about what the images have and the networks have not seen."""
        def line(found, what, cure=''):
            return [f'{len(found)} images have {what}, such as {found[0]}{cure}'] if found else []
        paged = [path for path, kind in self.partial.items() if kind.pages > 1 and not self.source.all_pages]
        wide = [path for path, kind in self.partial.items() if kind.channels > self.source.channels
                and not (self.source.bands or self.source.all_pages or self.source.palette)]
        return [*line(paged, 'several pages or frames, of which the first one was translated'),
                *line(wide, f'more bands than the networks, which saw the first {self.source.channels}',
                      '; --bands chooses others')]

    def read_any(self, path: Path) -> Image.Image | torch.Tensor | StreamedImage:
        if self.streaming:
            streamed = self.streamed(path)
            if streamed:
                return streamed
            self.check_size(path)
        image = self.source.open(str(path))
        if isinstance(image, Image.Image) and not self.target.is_wide:
            return image
        return as_numbers(to_levels(image))[None]

    def streamed(self, path: Path) -> StreamedImage | None:
        if self.source.all_pages or not (can_stream(path.suffix) and can_stream(self.extension(path))):
            return None
        try:
            windows = open_windows(str(path))
            return windows and StreamedImage(path, windows, self.source, lambda image: self.stored(image, path),
                                             self.streaming)
        except UserError:
            raise
        except Exception as error:
            raise image_error(str(path), error) from error

    def check_size(self, path: Path):
        """Refuse an image that is too large to be read as a whole."""
        try:
            kind_of(str(path), self.max_pixels)
        except (OSError, ValueError) as error:
            raise image_error(str(path), error) from error

    def read_style(self, path: Path) -> Image.Image | torch.Tensor:
        self.check_size(path)
        image = self.target.open(str(path))
        return image if isinstance(image, Image.Image) else image[None]

    def extension(self, source: Path) -> str:
        """The file type of the result of an image: its own where that can hold the values."""
        dtype, channels = self.target.stored_type(str(source)) or ('uint8', self.target.channels)
        return extension_for(str(source), dtype, channels or self.target.channels, self.save_as,
                             self.target.palette is not None)

    def stored(self, image: Image.Image | torch.Tensor, source: Path) -> np.ndarray:
        """The values (H, W, C) of the file for a result of the image `source`."""
        stored = self.target.stored_type(str(source))
        if stored and isinstance(image, torch.Tensor):
            return self.target.to_stored(image[0], *stored)
        pixels = np.asarray(as_picture(image))
        return pixels if pixels.ndim == 3 else pixels[:, :, None]

    def write(self, path: Path, image: Image.Image | torch.Tensor | Scratch, source: Path):
        if isinstance(image, Scratch):
            write_windows(path, image, str(source))
            image.close()
        else:
            write_pixels(path, self.stored(image, source), str(source))


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
