"""Image files of scripts/translate.py: read as 8-bit RGB, written completely or not at all."""
from pathlib import Path

from PIL import Image

from data.image_folder import read_image
from util.files import atomic_write

JPEG_QUALITY = 95


def read(path: Path, max_pixels: int) -> Image.Image:
    """The image as 8-bit RGB, upright. Raises an `ImageError`."""
    return read_image(str(path), max_pixels)


def write(path: Path, image: Image.Image):
    """Write an image as the file type of its extension."""
    form = Image.registered_extensions()[path.suffix.lower()]
    with atomic_write(path, 'wb', durable=False) as file:
        image.save(file, format=form, quality=JPEG_QUALITY)


def write_animation(path: Path, images: list[Image.Image], seconds: float = 0.1):
    """Write images as a GIF that never ends."""
    with atomic_write(path, 'wb', durable=False) as file:
        images[0].save(file, format='GIF', save_all=True, append_images=images[1:], duration=1000 * seconds, loop=0)


def strip(images: list[Image.Image]) -> Image.Image:
    """Images of one size side by side."""
    width, height = images[0].size
    joined = Image.new(images[0].mode, (width * len(images), height))
    for index, image in enumerate(images):
        joined.paste(image, (index * width, 0))
    return joined
