"""Finding and reading image files, so that nothing in them is lost without a word."""
import os
import stat
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from util.cli import UserError

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.tif', '.tiff', '.webp', '.gif')


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
             for name in names if is_image(name) and not is_special(os.path.join(place, name))]
    if not found:
        raise UserError(f'no images in {folder.absolute()} ({contents(folder)}; '
                        f'images are {", ".join(EXTENSIONS)})')
    return sorted(found)[:int(min(limit, len(found)))]


def is_image(name: str) -> bool:
    return not name.startswith('.') and name.lower().endswith(EXTENSIONS)


def is_special(path: str) -> bool:
    """A pipe, socket or device: reading it could wait for ever. (A broken link is not: reading it tells so.)"""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


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


def read_image(path: str) -> Image.Image:
    """The image as 8-bit RGB, upright as its EXIF orientation says.

    16-bit grey is scaled by its full range, transparency is shown on white. Float images must lie in 0..1 or
    0..255. Raises a `UserError` with the path for anything that cannot be read.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return to_rgb(ImageOps.exif_transpose(image), path)
    except UserError:
        raise
    except Exception as error:
        raise ImageError(f'cannot read the image {os.path.abspath(path)} ({error or type(error).__name__}); '
                        f'repair or remove it')


def to_rgb(image: Image.Image, path: str) -> Image.Image:
    if image.mode.startswith('I') or image.mode == 'F':
        return Image.fromarray(to_8_bit(np.asarray(image), path)).convert('RGB')
    if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, 'white')
        return Image.alpha_composite(white, image).convert('RGB')
    return image.convert('RGB')


def to_8_bit(values: np.ndarray, path: str) -> np.ndarray:
    """Grey levels of 16-bit (0..65535) or float (0..1 or 0..255) images as uint8."""
    low, high = float(values.min()), float(values.max())
    full = 65535.0 if values.dtype.kind in 'iu' else 1.0 if high <= 1 else 255.0
    if not (low >= 0 and high <= full):
        raise ImageError(f'{os.path.abspath(path)} has values from {low:g} to {high:g}; images with more than 8 bits '
                        f'must lie in 0..65535 (integers), 0..1 or 0..255 (floats): convert the file')
    return np.rint(values * (255.0 / full)).astype(np.uint8)
