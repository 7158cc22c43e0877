"""Finding image files, and reading the ordinary ones as 8-bit RGB."""
import os
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from util.console import say
from util.errors import UserError
from util.places import listing
from util.places.paths import are_many, natural, sorted_paths
from util.raster import ranges
from util.raster.kinds import MAX_PIXELS, OPTIONAL, ORIENTATION, is_8_bit, known_extensions, open_image, stored
from util.raster.read import ImageError, image_error, read_pixels, to_rgb

LISTED = 6      # extensions of files that are no images
LISTED_BY = 'images ' + ' '.join(known_extensions())      # lists of other extensions are outdated


class DeepImage(ValueError):
    """An image that has more than 8-bit gray or RGB."""


def list_images(folder, limit: float = float('inf')) -> Sequence[str]:
    """Image files in `folder` and its sub-folders, in natural order; hidden files and linked folders are skipped.

    A list of very many is stored, and used again if no folder has changed since.

    Raises a `UserError` that says what is there if there is no such folder or no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f'there is no folder {os.path.abspath(folder)} ({contents(folder.parent)})')
    stored = listing.load(folder, LISTED_BY)
    if stored:
        paths, head = stored
        say(f'{len(paths)} images in {os.path.abspath(folder)}, listed on {head["date"]}; no folder has changed since')
        return paths[:int(min(limit, len(paths)))]
    versions = {}
    found, failed = [], []
    for place, _, names in os.walk(folder, onerror=failed.append):
        if not hidden(folder, place):
            versions[os.path.relpath(place, folder)] = listing.folder_version(place)
            found += [os.path.join(place, name) for name in names if is_image(name)]
    if not found:
        raise UserError(f'no images in {os.path.abspath(folder)} ({contents(folder)}; '
                        f'known extensions: {", ".join(known_extensions())})')
    if not are_many(len(found)):
        return sorted(found, key=natural)[:int(min(limit, len(found)))]
    prefix = len(os.path.join(folder, ''))
    paths = sorted_paths(str(folder), (path[prefix:] for path in found))
    if not failed and all(listing.folder_version(folder / place) == version for place, version in versions.items()):
        listing.save(folder, LISTED_BY, paths, versions, ignored=count_ignored(folder))
    return paths[:int(min(limit, len(paths)))]


def ignored(folder) -> str:
    """Other files in a folder, counted by extension: '3 .heic, 1 .txt'; '' if there are none."""
    stored = listing.load(folder, LISTED_BY)
    return stored[1]['ignored'] if stored else count_ignored(folder)


def count_ignored(folder) -> str:
    names = [name for place, _, names in os.walk(folder) if not hidden(Path(folder), place) for name in names]
    extensions = Counter(Path(name).suffix.lower() or 'without an extension' for name in names
                         if not (is_image(name) or name.startswith('.') or name == 'Thumbs.db'))
    cures = {extension: f' (pip install {package})' for extension, package in OPTIONAL.items()}
    listed = [f'{count} {extension}{cures.get(extension, "")}' for extension, count in extensions.most_common(LISTED)]
    rest = sum(extensions.values()) - sum(count for _, count in extensions.most_common(LISTED))
    return ', '.join(listed + [f'{rest} others'] if rest else listed)


def is_image(name: str) -> bool:
    return not name.startswith('.') and name.lower().endswith(known_extensions())


def hidden(root: Path, place: str) -> bool:
    """True if `place`, or a folder between it and `root`, is hidden."""
    parts = Path(place).relative_to(root).parts
    return any(part.startswith('.') or part == '__MACOSX' for part in parts)


def is_visible_folder(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith('.') and entry.name != '__MACOSX'


def contents(folder) -> str:
    """What a folder contains, in a few words for a message."""
    folder = Path(os.path.abspath(folder))
    if not folder.is_dir():
        return f'there is no folder {folder} either; correct --dataroot'
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith('.'))
    folders = [f'{entry.name}/' for entry in entries if entry.is_dir()]
    extensions = Counter(entry.suffix or entry.name for entry in entries if entry.is_file())
    names = (folders + [f'{count} {extension}' for extension, count in extensions.items()])[:12]
    return f'{folder} contains: {", ".join(names)}' if names else f'{folder} is empty'


def is_deep(error: Exception | None) -> bool:
    """True if Pillow, as `read_image` uses it, cannot read a file without a loss, or not at all."""
    return isinstance(error, (DeepImage, UnidentifiedImageError))


def read_image(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image as 8-bit RGB, rotated upright according to its EXIF orientation; transparency is shown on white.

    Raises an `ImageError` with the path for anything that cannot be read; its cause is a `DeepImage` if the file holds
    more than that, which `Domain.read` reads.
    """
    try:
        return decoded(path, max_pixels)
    except Exception as error:
        raise image_error(path, error) from error


def read_picture(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Any image as 8-bit RGB, to look at: more bits are scaled by the range of their type, floats by a usual range."""
    try:
        return read_image(path, max_pixels)
    except ImageError as error:
        if not is_deep(error.__cause__):
            raise
    return as_picture(read_pixels(path, max_pixels))


def as_picture(pixels: np.ndarray) -> Image.Image:
    """(H, W, C) of any type as 8-bit RGB: the first three channels, or the first one as gray."""
    shown = np.nan_to_num(pixels[..., :3 if pixels.shape[2] >= 3 else 1])
    white = ranges.usual(str(shown.dtype), float(shown.min()), float(shown.max())) if shown.dtype.kind == 'f' else (
        ranges.of_type(str(shown.dtype)))
    levels = np.rint((white.to_unit(shown) + 1) * 127.5).astype(np.uint8)
    return Image.fromarray(levels if levels.shape[2] == 3 else levels[..., 0]).convert('RGB')


def decoded(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """As `read_image`, but raises the errors of the system and of Pillow as they are."""
    with open_image(path, max_pixels) as image:
        refuse_deep(image)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image)


def refuse_deep(image: Image.Image):
    """Raise `DeepImage` for more than 8-bit gray or RGB; costs nothing for JPEG."""
    if image.format == 'JPEG':
        return
    dtype, channels, colors = stored(image)
    if not is_8_bit(dtype, colors):
        raise DeepImage(f'{channels} channels of type {dtype}, more than 8-bit RGB')


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
