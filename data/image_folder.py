"""Finding and reading image files, so that nothing in them is lost without a word."""
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
FORMATS = ('JPEG', 'PNG', 'PPM', 'BMP', 'TIFF', 'WEBP', 'GIF')  # no other decoder starts, whatever a file is named
ORIENTATION = 0x0112        # of EXIF
MAX_PIXELS = 50_000_000     # 150 MB as RGB: a small file can claim any size
Image.MAX_IMAGE_PIXELS = None   # `open_image` has a limit of its own, which the user can choose


class ImageError(UserError):
    """A file that cannot be read as an image: others of the folder may be fine."""


def list_images(folder, limit: float = float('inf')) -> list[str]:
    """Image files below `folder`, sorted by their whole path; hidden files and linked folders are left out.

    Raises a `UserError` that tells what is there instead when there is no folder or no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f'there is no folder {folder.absolute()} ({contents(folder.parent)})')
    found = [os.path.join(place, name)
             for place, folders, names in os.walk(folder) if not hidden(folder, place)
             for name in names if is_image(name)]
    if not found:
        raise UserError(f'no images in {folder.absolute()} ({contents(folder)}; '
                        f'images are {", ".join(EXTENSIONS)})')
    return sorted(found)[:int(min(limit, len(found)))]


def ignored(folder) -> str:
    """Other files below a folder, counted by their endings: '3 .heic, 1 .txt'; '' if there are none."""
    names = [name for place, _, names in os.walk(folder) if not hidden(Path(folder), place) for name in names]
    endings = Counter(Path(name).suffix.lower() or name for name in names
                      if not (is_image(name) or name.startswith('.') or name == 'Thumbs.db'))
    return ', '.join(f'{count} {ending}' for ending, count in endings.most_common(6))


def is_image(name: str) -> bool:
    return not name.startswith('.') and name.lower().endswith(EXTENSIONS)


def hidden(root: Path, place: str) -> bool:
    parts = Path(place).relative_to(root).parts
    return any(part.startswith('.') or part == '__MACOSX' for part in parts)


def contents(folder) -> str:
    """What a folder holds, in a few words for a message."""
    folder = Path(folder)
    if not folder.is_dir():
        return f'there is no folder {folder.absolute()} either; correct --dataroot'
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith('.'))
    folders = [f'{entry.name}/' for entry in entries if entry.is_dir()]
    endings = [entry.suffix or entry.name for entry in entries if entry.is_file()]
    counts = [f'{endings.count(ending)} {ending}' for ending in dict.fromkeys(endings)]
    names = (folders + counts)[:12]
    return f'{folder.absolute()} contains: {", ".join(names)}' if names else f'{folder.absolute()} is empty'


def open_image(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image with its header read and its pixels not. Raises OSError or ValueError with a few words.

    A pipe, socket or device is not opened: reading it could wait for ever.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError('a folder, pipe or device, not a file')
    if not status.st_size:
        raise ValueError('0 bytes')
    image = Image.open(path, formats=FORMATS)
    if image.width * image.height > max_pixels:
        image.close()
        raise ValueError(f'{image.width * image.height} pixels, {image.width}x{image.height}, more than '
                         f'--max_pixels {max_pixels}')
    return image


def reason(error: Exception) -> str:
    """Why an image could not be read, without its path."""
    if isinstance(error, UnidentifiedImageError):
        return f'damaged, or none of {", ".join(FORMATS)}'
    return getattr(error, 'strerror', None) or str(error) or type(error).__name__


def read_image(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image as 8-bit RGB, upright as its EXIF orientation says.

    16-bit grey is scaled by its full range, transparency is shown on white. Float images must lie in 0..1 or
    0..255. Raises an `ImageError` with the path for anything that cannot be read.
    """
    try:
        return decoded(path, max_pixels)
    except Exception as error:
        why = reason(error)
        cure = f'repair or remove it{", or raise --max_pixels" if "--max_pixels" in why else ""}'
        raise ImageError(f'cannot read the image {os.path.abspath(path)} ({why}); {cure}')


def decoded(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """As `read_image`, but with the errors of the system, of Pillow and of `to_8_bit` (see `reason`)."""
    with open_image(path, max_pixels) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image)


def read_levels(path: str, max_pixels: int = MAX_PIXELS):
    """As `read_image`, but a plain colour JPEG as a uint8 tensor (3, H, W) where torchvision is installed.

    Its pixels are the same, sooner: they need not be copied out of Pillow. All else, and all that fails, is left to
    Pillow.
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
    """A function from a path to uint8 (3, H, W), or None without torchvision, or when that has no decoder any more."""
    try:
        import torch
        from torchvision.io import decode_jpeg
    except (ImportError, OSError, RuntimeError):    # or its libraries are missing
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
    """Grey levels of 16-bit (0..65535) or float (0..1 or 0..255) images as uint8; a ValueError for others."""
    low, high = float(values.min()), float(values.max())
    full = 65535.0 if values.dtype.kind in 'iu' else 1.0 if high <= 1 else 255.0
    if not (low >= 0 and high <= full):
        found = 'NaN among its values' if math.isnan(low) else f'values from {low:g} to {high:g}'
        raise ValueError(f'{found}, which must lie in 0..65535 (integers), 0..1 or 0..255 (floats)')
    return np.rint(values * (255.0 / full)).astype(np.uint8)
