"""Reading image files as arrays of the stored type, with all bands."""
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from util.errors import UserError
from util.places import files

from . import exr, kinds
from .kinds import ARRAYS, EXR, FORMATS, MAX_PIXELS, ORIENTATION, Kind, kind_of, open_image

Image.MAX_IMAGE_PIXELS = None   # `open_image` has its own limit, --max_pixels


class ImageError(UserError):
    """A file that cannot be read as an image; others in the folder may be fine."""


def reason(error: Exception) -> str:
    """Why an image could not be read, without its path."""
    if isinstance(error, UnidentifiedImageError):
        return f'damaged, or not one of {", ".join(FORMATS)}'
    return getattr(error, 'strerror', None) or str(error) or type(error).__name__


def image_error(path: str, error: Exception) -> ImageError:
    why = reason(error)
    cure = 'repair or remove it, or raise --max_pixels' if '--max_pixels' in why else 'repair or remove it'
    if 'pip install' in why or '; ' in why or isinstance(error, ImportError):      # it says itself what to do
        return ImageError(f'cannot read the image {files.shown(path)} ({why})')
    return ImageError(f'cannot read the image {files.shown(path)} ({why}); {cure}')


def read_pixels(path: str, max_pixels: int = MAX_PIXELS, all_pages: bool = False) -> np.ndarray:
    """All values of an image as they are stored, upright: (H, W, C).

    Palettes and CMYK become RGB. With `all_pages`, the pages of a TIFF and the frames of a GIF are stacked as channels.
    Raises an `ImageError` with the path for anything that cannot be read.
    """
    try:
        kind = kind_of(path, max_pixels)
        pixels = upright(*read_stored(path, kind, max_pixels, all_pages))
        if pixels.shape[:2] != (kind.height, kind.width):
            raise ValueError(f'it has {pixels.shape} values, but its header says {kind.width}x{kind.height}')
        return pixels
    except ImageError:
        raise
    except Exception as error:
        raise image_error(path, error) from error


def read_stored(path: str, kind: Kind, max_pixels: int, all_pages: bool) -> tuple[np.ndarray, int]:
    """(pixels as they are in the file, EXIF orientation)."""
    lower = path.lower()
    if lower.endswith(ARRAYS):
        return read_array(path), 1
    if lower.endswith(EXR):
        return exr.read(path), 1
    if kinds.is_tiff(path) and not (kinds.is_8_bit(kind.dtype, kind.colors) and kind.pages == 1 and kind.mode):
        return read_tiff(path, all_pages)
    with open_image(path, max_pixels) as image:
        if kind.dtype == 'uint16' and (kind.channels > 1 or image.format in ('JPEG2000', 'PPM')):
            return read_deep(path, image, kind), image.getexif().get(ORIENTATION, 1)
        pixels = read_frames(image, kind, all_pages)
        return pixels, image.getexif().get(ORIENTATION, 1)      # asked last: Pillow itself turns TIFF files upright


def read_frames(image: Image.Image, kind: Kind, all_pages: bool) -> np.ndarray:
    frames = []
    for number in range(kind.pages if all_pages else 1):
        if number:
            image.seek(number)
        frames.append(pixels_of(image, kind))
    return np.concatenate(frames, 2)


def pixels_of(image: Image.Image, kind: Kind) -> np.ndarray:
    if image.mode in ('P', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'PA', 'RGBX'):
        image = image.convert('RGBA' if 'transparency' in image.info or image.mode == 'PA' else 'RGB')
    pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return pixels.astype(kind.dtype) if image.mode in ('I', '1') else pixels


def read_array(path: str) -> np.ndarray:
    loaded = np.load(files.source(path), allow_pickle=False)
    pixels = loaded[loaded.files[0]] if path.lower().endswith('.npz') else loaded
    if pixels.ndim == 3 and pixels.shape[0] < min(pixels.shape[1:]):
        pixels = pixels.transpose(1, 2, 0)
    return np.ascontiguousarray(pixels[:, :, None] if pixels.ndim == 2 else pixels).astype(
        pixels.dtype.newbyteorder('='), copy=False)


def read_tiff(path: str, all_pages: bool) -> tuple[np.ndarray, int]:
    with kinds.open_tiff(path) as file:
        pages = kinds.full_pages(file) if all_pages else [file.pages[0]]
        stack = [channels_last(page.asarray(), page.axes) for page in pages]
        if len({pixels.shape[:2] for pixels in stack}) > 1:
            raise ValueError('its pages have different sizes; use --pages first')
        tag = file.pages[0].tags.get(ORIENTATION)
        pixels = np.concatenate(stack, 2) if len(stack) > 1 else stack[0]
        if file.pages[0].photometric == 0 and pixels.dtype.kind in 'bu':    # white is 0
            pixels = ~pixels if pixels.dtype.kind == 'b' else np.iinfo(pixels.dtype).max - pixels
        return pixels, tag.value if tag else 1


def channels_last(pixels: np.ndarray, axes: str) -> np.ndarray:
    if axes == 'YX':
        return pixels[:, :, None]
    if axes not in ('YXS', 'SYX'):
        raise ValueError(f'a TIFF page of axes {axes}')
    return np.moveaxis(pixels, 0, 2) if axes == 'SYX' else pixels


def read_deep(path: str, image: Image.Image, kind: Kind) -> np.ndarray:
    """16-bit color PNG, JPEG 2000, PGM and PPM, which Pillow reads as 8 bits or scales."""
    with files.open_file(path) as file:
        data = file.read()
    shape = (kind.height, kind.width, kind.channels)
    if image.format == 'PPM' and data[:2] in (b'P5', b'P6'):
        return np.frombuffer(data, '>u2', kind.height * kind.width * kind.channels, image.tile[0][2]).reshape(shape)
    if image.format == 'PPM':       # as text
        return np.array(data[image.tile[0][2]:].split(), np.uint16).reshape(shape)
    import imagecodecs
    pixels = imagecodecs.png_decode(data) if image.format == 'PNG' else imagecodecs.jpeg2k_decode(data)
    return pixels.reshape(shape)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, C) turned and mirrored as the EXIF orientation says."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1] if orientation in (2, 5, 7) else pixels[::-1]
    turns = {3: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, turns) if turns else pixels


def read_rgb(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An 8-bit image as RGB, upright, with transparency shown on white.

    Raises the errors of the system and of Pillow as they are.
    """
    with open_image(path, max_pixels) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, 'white')
        return Image.alpha_composite(white, image).convert('RGB')
    return image if image.mode == 'RGB' else image.convert('RGB')
