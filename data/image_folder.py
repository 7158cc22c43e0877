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
from util.places import files, listing, shards, tar_names
from util.places.files import is_packed, shown
from util.places.paths import are_many, natural, sorted_paths
from util.places.remote import is_remote
from util.raster import ranges
from util.raster.kinds import MAX_PIXELS, OPTIONAL, ORIENTATION, is_8_bit, known_extensions, open_image, stored
from util.raster.read import ImageError, image_error, read_pixels, to_rgb

COMPRESSED = ('.tar.gz', '.tgz', '.tar.bz2', '.tar.xz', '.tar.zst')
LISTED = 6      # extensions of files that are no images
LINKED = '/'    # ends the names of linked folders among them
LISTED_BY = 'images ' + ' '.join(known_extensions())      # lists of other extensions are outdated


class DeepImage(ValueError):
    """An image that has more than 8-bit gray or RGB."""


def list_images(folder, limit: float = float('inf')) -> Sequence[str]:
    """Image files in `folder` and its sub-folders, in natural order; hidden files and linked folders are skipped.

    `folder` may also name tars (`tar_names.is_set`), or have images in tars only: they are in the same order as if they
    were unpacked. A list of very many is stored, and used again if no folder and no tar has changed since.

    Raises a `UserError` that says what is there if there is no such folder or no image.
    """
    folder = Path(folder)
    if not (folder.is_dir() or tar_names.is_set(folder)):
        raise UserError(f'there is no folder {os.path.abspath(folder)} ({contents(folder.parent)})')
    base = tar_names.base_of(folder)
    stored = listing.load(folder, base, LISTED_BY)
    if stored:
        paths, head = stored
        say(f'{len(paths)} images in {shown(folder)}, listed on {head["date"]}; nothing has changed since')
        return paths[:int(min(limit, len(paths)))]
    found, others, versions = find(folder, base)
    if not found:
        there = 'its tars have none' if tar_names.is_set(folder) else contents(folder)
        if any(name.endswith(COMPRESSED) for name in others):
            there += '; tars must not be compressed, unpack them with gunzip or zstd -d'
        elif any(map(tar_names.is_tar, versions)):
            there += ', but no images in the tars, apart from names outside of them such as /1.jpg or ../1.jpg'
        raise UserError(f'no images in {shown(folder)} ({there}; known extensions: {", ".join(known_extensions())})')
    if not are_many(len(found)):
        return sorted(found, key=natural_as_unpacked)[:int(min(limit, len(found)))]
    prefix = len(os.path.join(base, ''))
    unpacked = (lambda name: shards.as_if_unpacked(os.path.join(base, name))[prefix:]) if is_packed(found[0]) else None
    paths = sorted_paths(base, (path[prefix:] for path in found), unpacked)
    if versions and all(listing.version_of(os.path.join(base, name)) == version for name, version in versions.items()):
        listing.save(folder, LISTED_BY, paths, versions, ignored=counted(others))
    return paths[:int(min(limit, len(paths)))]


def find(folder: Path, base: str) -> tuple[list[str], list[str], dict]:
    """(images, names of other files, versions of all folders and tars by their names in `base`).

    There are no versions if something could not be read, or is not here.
    """
    found, others = [], []
    failed, tars = [], []
    versions = {}
    if tar_names.is_set(folder):
        tars = tar_names.expand(folder)
    else:
        for place, folders, names in os.walk(folder, onerror=failed.append):
            if not hidden(folder, place):
                versions[os.path.relpath(place, base)] = listing.version_of(place)
                found += [os.path.join(place, name) for name in names if is_image(name)]
                others += [name for name in names if not is_image(name)]
                others += [f'{name}{LINKED}' for name in folders if os.path.islink(os.path.join(place, name))]
                tars += [os.path.join(place, name) for name in names if tar_names.is_tar(name)]
    if found or not tars:
        return found, others, {} if failed else versions
    others = [name for name in others if not (tar_names.is_tar(name) or tar_names.is_index(name))]
    versions.update((os.path.relpath(tar, base), listing.version_of(tar)) for tar in tars if not is_remote(tar))
    for tar, index in zip(tars, shards.indices_of(tars), strict=True):
        names = [name for name in index.names if is_inside(os.path.dirname(name))]
        found += [os.path.join(tar, name) for name in names if is_image(os.path.basename(name))]
        others += [name for name in names if not is_image(os.path.basename(name))]
    return found, others, {} if failed or any(map(is_remote, tars)) else versions


def is_inside(folder: str) -> bool:
    """False for a hidden folder of a tar, and for one that would be outside if the tar were unpacked."""
    return not folder or not (Path(folder).anchor or hidden(Path(), folder))


def natural_as_unpacked(path: str) -> tuple:
    return natural(shards.as_if_unpacked(path)), path


def ignored(folder) -> str:
    """Other files in a folder, counted by extension: '3 .heic, 1 .txt'; '' if there are none."""
    folder, base = Path(folder), tar_names.base_of(folder)
    stored = listing.load(folder, base, LISTED_BY)
    return stored[1]['ignored'] if stored else counted(find(folder, base)[1])


def counted(names: list[str]) -> str:
    linked = [name for name in names if name.endswith(LINKED)]
    names = [name for name in names if not name.endswith(LINKED)]
    extensions = Counter(Path(name).suffix.lower() or 'without an extension' for name in map(os.path.basename, names)
                         if not (name.startswith('.') or name == 'Thumbs.db'))
    cures = {extension: f' (pip install {package})' for extension, package in OPTIONAL.items()}
    listed = [f'{count} {extension}{cures.get(extension, "")}' for extension, count in extensions.most_common(LISTED)]
    rest = sum(extensions.values()) - sum(count for _, count in extensions.most_common(LISTED))
    links = [f'{len(linked)} linked folder{"s" if len(linked) > 1 else ""} (give the real one)'] if linked else []
    return ', '.join([*listed, *([f'{rest} others'] if rest else []), *links])


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
        with files.open_file(path) as file:
            return decode_jpeg(torch.frombuffer(bytearray(file.read()), dtype=torch.uint8))
    return decode
