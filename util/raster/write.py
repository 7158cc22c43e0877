"""Writing arrays as image files of the kind of their source: type, channels, file type, color profile and position."""
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from util.errors import UserError
from util.files import atomic_write

from . import exr
from .kinds import ARRAYS, EXR, GRAY_ALPHA, JPEG, RGBA, array_header, is_tiff, kind_of, layout, open_image, open_tiff
from .windows import Scratch

JPEG_QUALITY = 95
TIFF_TILE = 512             # pixels, of the files that are written in tiles
GEOTAGS = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113)     # GeoTIFF 1.1, section 7.2, and GDAL
ICC = 34675
EIGHT_BIT = {'.jpg': (1, 3), '.jpeg': (1, 3), '.jfif': (1, 3), '.webp': (3, 4), '.bmp': (1, 3), '.ppm': (3,),
             '.pgm': (1,)}
BLURRING = (*JPEG, '.webp')     # values come back nearly


def can_hold(extension: str, dtype: str, channels: int) -> bool:
    """True if a file of this type keeps such values; JPEG and WebP keep them nearly."""
    extension = extension.lower()
    if extension in ('.npy', '.npz'):
        return True
    if extension in ('.tif', '.tiff'):
        return dtype != 'bool' or channels == 1
    if extension in EXR:
        return dtype in exr.TYPES
    if extension == '.png':
        return channels <= 4 and dtype in ('uint8', 'uint16') or (dtype, channels) == ('bool', 1)
    return dtype == 'uint8' and channels in EIGHT_BIT.get(extension, ())


def extension_for(source: str, dtype: str, channels: int, save_as: str = '', exact: bool = False) -> str:
    """The extension of a result: `save_as` ('png', ...), else that of the source if it can hold it, else .png or .tif.

    `exact`: the values are classes, which JPEG and WebP would blur; they are for those who choose them by `save_as`.

    Raises a `UserError` if `save_as` cannot hold the values.
    """
    wanted = f'.{save_as}' if save_as else Path(source).suffix
    if can_hold(wanted, dtype, channels) and (save_as or not exact or wanted.lower() not in BLURRING):
        return wanted
    fallback = '.png' if can_hold('.png', dtype, channels) else '.tif'
    if save_as:
        raise UserError(f'--save_as {save_as} cannot hold the result of {source}, {channels} channels of type '
                        f'{dtype}; use --save_as {fallback[1:]} or npy')
    return fallback


def write_pixels(path, pixels: np.ndarray, source: str | None = None):
    """Write (H, W, C) of any type; the file type follows from the extension. Never leaves a partial file.

    The color profile of the file `source`, its position on the earth (GeoTIFF), and the order of the axes of an array
    are passed on where the file type has a place for them.
    """
    path = Path(path)
    extension = path.suffix.lower()
    data = io.BytesIO()
    if extension in ('.tif', '.tiff'):
        channels = pixels.shape[2]
        write_tiff(data, pixels if channels > 1 else pixels[:, :, 0], source, channels)
    elif extension in EXR:
        data.write(exr.encode(pixels))
    elif extension == '.npy':
        np.save(data, as_array(pixels, source))
    elif extension == '.npz':
        np.savez_compressed(data, image=as_array(pixels, source))
    elif extension == '.png' and pixels.dtype == np.uint16 and pixels.shape[2] > 1:
        import imagecodecs
        data.write(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    else:
        write_with_pillow(data, pixels, extension, source)
    with atomic_write(path, 'wb') as file:
        file.write(data.getbuffer())


def write_windows(path, stored: Scratch, source: str | None = None):
    """Write an image that is larger than memory as .npy, or as .tif in tiles; see `write_pixels`."""
    with atomic_write(path, 'wb') as file:
        if Path(path).suffix.lower() == '.npy':
            write_array(file, stored, source)
        else:
            shape = stored.shape if stored.shape[2] > 1 else stored.shape[:2]
            tiles = (tile.reshape(*tile.shape[:2], *shape[2:]) for tile in stored.windows(TIFF_TILE))
            write_tiff(file, tiles, source, stored.shape[2], shape=shape, dtype=stored.dtype,
                       tile=(TIFF_TILE, TIFF_TILE), bigtiff=stored.nbytes > 2**31)


def write_array(file, stored: Scratch, source: str | None):
    """Write an .npy file row by row, or, with channels first, channel by channel."""
    height, width, channels = stored.shape
    first = channels_first(source)
    shape = (channels, height, width) if first else array_shape(stored.shape, source)
    header = dict(descr=np.lib.format.dtype_to_descr(stored.dtype), fortran_order=False, shape=shape)
    np.lib.format.write_array_header_2_0(file, header)
    for part in range(channels) if first else [slice(None)]:
        for row in range(height):
            file.write(np.ascontiguousarray(stored.read(slice(row, row + 1), slice(0, width))[..., part]).data)


def as_array(pixels: np.ndarray, source: str | None) -> np.ndarray:
    """(H, W, C) with the axes of an array file `source`: (H, W), (H, W, C) or (C, H, W)."""
    if channels_first(source):
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return pixels.reshape(array_shape(pixels.shape, source))


def array_shape(shape: tuple, source: str | None) -> tuple:
    """(H, W, C) without C if it is 1, unless the array file `source` has it."""
    return shape if shape[2] > 1 or shape_of(source)[2:] == (1,) else shape[:2]


def channels_first(source: str | None) -> bool:
    shape = shape_of(source)
    return len(shape) == 3 and layout(shape) != shape


def shape_of(source: str | None) -> tuple:
    """The shape of an array file; () for other files."""
    try:
        return array_header(source)[0] if source and source.lower().endswith(ARRAYS) else ()
    except (OSError, ValueError):
        return ()


def write_with_pillow(data, pixels: np.ndarray, extension: str, source: str | None):
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
    kind = Image.registered_extensions()[extension]
    settings = {'JPEG': dict(quality=JPEG_QUALITY), 'WEBP': dict(lossless=True, exact=True)}.get(kind, {})
    if profile := profile_of(source):
        settings['icc_profile'] = profile
    image.save(data, kind, **settings)


def write_tiff(data, pixels, source: str | None, channels: int, **settings):
    """`pixels` is (H, W), (H, W, C), or an iterator of tiles; `settings` are those of tifffile."""
    import tifffile
    alpha = channels in (2, 4) and colors_of(source) == {2: GRAY_ALPHA, 4: RGBA}[channels]
    if channels > 1:
        settings['planarconfig'] = 'contig'
    if alpha:
        settings['extrasamples'] = ['unassalpha']
    photometric = 'rgb' if channels == 3 or channels == 4 and alpha else 'minisblack'
    tifffile.imwrite(data, pixels, photometric=photometric, compression='zlib', metadata=None,
                     iccprofile=profile_of(source), extratags=position_of(source), **settings)


def colors_of(source: str | None) -> str:
    try:
        return kind_of(source).colors if source else ''
    except (OSError, ValueError):
        return ''


def profile_of(source: str | None) -> bytes | None:
    """The ICC profile of a file, if it has one."""
    try:
        with open_image(os.fspath(source)) as image:
            return image.info.get('icc_profile')
    except (OSError, ValueError, TypeError):
        return None


def position_of(source: str | None) -> list[tuple]:
    """The tags of a GeoTIFF that say where it is on the earth, for tifffile."""
    try:
        if not source or not is_tiff(source):
            return []
        with open_tiff(source) as file:
            tags = [file.pages[0].tags.get(code) for code in GEOTAGS]
            return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in tags if tag]
    except (OSError, ValueError):
        return []
