"""Finding image files, and reading them as 8-bit RGB."""
import math
import os
import stat
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from util.errors import UserError

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.tif', '.tiff', '.webp', '.gif')
FORMATS = ('JPEG', 'PNG', 'PPM', 'BMP', 'TIFF', 'WEBP', 'GIF')  # no other decoder is tried, whatever the file name
ORIENTATION = 0x0112        # of EXIF
MAX_PIXELS = 50_000_000     # 150 MB as RGB: a small file can claim any size
Image.MAX_IMAGE_PIXELS = None   # `open_image` has its own limit, --max_pixels


class ImageError(UserError):
    """A file that cannot be read as an image; others in the folder may be fine."""


def list_images(folder, limit: float = float('inf')) -> list[str]:
    """Image files in `folder` and its sub-folders, sorted by path; hidden files and linked folders are skipped.

    Raises a `UserError` that says what is there if there is no such folder or no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f'there is no folder {folder.absolute()} ({contents(folder.parent)})')
    found = [os.path.join(place, name)
             for place, folders, names in os.walk(folder) if not hidden(folder, place)
             for name in names if is_image(name)]
    if not found:
        raise UserError(f'no images in {folder.absolute()} ({contents(folder)}; '
                        f'known extensions: {", ".join(EXTENSIONS)})')
    return sorted(found)[:int(min(limit, len(found)))]


def ignored(folder) -> str:
    """Other files in a folder, counted by extension: '3 .heic, 1 .txt'; '' if there are none."""
    names = [name for place, _, names in os.walk(folder) if not hidden(Path(folder), place) for name in names]
    extensions = Counter(Path(name).suffix.lower() or name for name in names
                         if not (is_image(name) or name.startswith('.') or name == 'Thumbs.db'))
    return ', '.join(f'{count} {extension}' for extension, count in extensions.most_common(6))


def is_image(name: str) -> bool:
    return not name.startswith('.') and name.lower().endswith(EXTENSIONS)


def hidden(root: Path, place: str) -> bool:
    """True if `place`, or a folder between it and `root`, is hidden."""
    parts = Path(place).relative_to(root).parts
    return any(part.startswith('.') or part == '__MACOSX' for part in parts)


def contents(folder) -> str:
    """What a folder contains, in a few words for a message."""
    folder = Path(folder)
    if not folder.is_dir():
        return f'there is no folder {folder.absolute()} either; correct --dataroot'
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith('.'))
    folders = [f'{entry.name}/' for entry in entries if entry.is_dir()]
    extensions = Counter(entry.suffix or entry.name for entry in entries if entry.is_file())
    names = (folders + [f'{count} {extension}' for extension, count in extensions.items()])[:12]
    return f'{folder.absolute()} contains: {", ".join(names)}' if names else f'{folder.absolute()} is empty'


def open_image(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image with only its header read. Raises OSError or ValueError with a few words.

    A pipe, socket or device is not opened, as reading it could block forever.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError('not a regular file')
    if not status.st_size:
        raise ValueError('0 bytes')
    image = Image.open(path, formats=FORMATS)
    if image.width * image.height > max_pixels:
        image.close()
        raise ValueError(f'{image.width}x{image.height} = {image.width * image.height} pixels, more than '
                         f'--max_pixels {max_pixels}')
    return image


def reason(error: Exception) -> str:
    """Why an image could not be read, without its path."""
    if isinstance(error, UnidentifiedImageError):
        return f'damaged, or not one of {", ".join(FORMATS)}'
    return getattr(error, 'strerror', None) or str(error) or type(error).__name__


def read_image(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image as 8-bit RGB, rotated upright according to its EXIF orientation.

    16-bit gray is scaled by its full range, transparency is shown on white. Float images must be in 0..1 or 0..255.
    Raises an `ImageError` with the path for anything that cannot be read.
    """
    try:
        return decoded(path, max_pixels)
    except Exception as error:
        why = reason(error)
        cure = 'repair or remove it, or raise --max_pixels' if '--max_pixels' in why else 'repair or remove it'
        raise ImageError(f'cannot read the image {os.path.abspath(path)} ({why}); {cure}')


def decoded(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """As `read_image`, but raises the errors of the system, of Pillow and of `to_8_bit` as they are."""
    with open_image(path, max_pixels) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image)


def read_levels(path: str, max_pixels: int = MAX_PIXELS):
    """As `read_image`, but faster for plain color JPEGs if torchvision is installed: a uint8 tensor (3, H, W).

    The pixels are the same; they are not copied out of Pillow. Pillow reads everything else and everything that fails.
    """
    decode = jpeg_decoder()
    try:
        with open_image(path, max_pixels) as image:
            plain = image.format == 'JPEG' and image.mode == 'RGB' and image.getexif().get(ORIENTATION, 1) == 1
        return decode(path) if decode and plain else read_image(path, max_pixels)
    except Exception:
        return read_image(path, max_pixels)


@cache
def jpeg_decoder():
    """A function from a path to uint8 (3, H, W), or None if there is no torchvision or it has no decoder."""
    try:
        import torch
        from torchvision.io import decode_jpeg
    except (ImportError, OSError, RuntimeError):    # or its shared libraries are missing
        return None

    def decode(path):
        with open(path, 'rb') as file:
            return decode_jpeg(torch.frombuffer(bytearray(file.read()), dtype=torch.uint8))
    return decode


def to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith('I') or image.mode == 'F':
        return Image.fromarray(to_8_bit(np.asarray(image))).convert('RGB')
    if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, 'white')
        return Image.alpha_composite(white, image).convert('RGB')
    return image if image.mode == 'RGB' else image.convert('RGB')


def to_8_bit(values: np.ndarray) -> np.ndarray:
    """Gray values of 16-bit (0..65535) or float (0..1 or 0..255) images as uint8; a ValueError for other ranges."""
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in 'iu':
        white = 65535.0
    else:
        white = 1.0 if high <= 1 else 255.0
    if not (low >= 0 and high <= white):
        found = 'it contains NaN' if math.isnan(low) else f'its values are from {low:g} to {high:g}'
        raise ValueError(f'{found}; they must be in 0..65535 (integers), 0..1 or 0..255 (floats)')
    return np.rint(values * (255.0 / white)).astype(np.uint8)
