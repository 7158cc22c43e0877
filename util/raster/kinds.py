"""What an image file holds: its type of values, channels and pages, seen in its header."""
import logging
import os
import stat
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from util.places import files

from . import exr

MAX_PIXELS = 50_000_000     # 150 MB as RGB: a small file can claim any size
MAX_CHANNELS = 1024
ORIENTATION = 0x0112        # of EXIF
ARRAYS = ('.npy', '.npz')
FORMATS = ('JPEG', 'PNG', 'PPM', 'BMP', 'TIFF', 'WEBP', 'GIF', 'JPEG2000', 'AVIF')   # no other decoder is tried
HEIF = ('.heic', '.heif')
EXR = ('.exr',)
OPTIONAL = {**dict.fromkeys(HEIF, 'pillow_heif'), **dict.fromkeys(EXR, 'OpenEXR')}     # {extension: package to install}
JPEG = ('.jpg', '.jpeg', '.jfif')
EXTENSIONS = (*JPEG, '.png', '.ppm', '.pgm', '.pbm', '.pnm', '.bmp', '.tif', '.tiff', '.webp',
              '.gif', '.jp2', '.j2k', '.avif', *ARRAYS)
for library in ('tifffile', 'PIL.TiffImagePlugin'):     # they report what one of them can read nevertheless
    logging.getLogger(library).setLevel(logging.CRITICAL)
# how the channels of an image are meant
GRAY, GRAY_ALPHA, RGB, RGBA, BANDS = 'gray', 'gray+alpha', 'RGB', 'RGBA', 'bands'
COLORS = {GRAY: 1, GRAY_ALPHA: 2, RGB: 3, RGBA: 4}
OF_MODE = {'1': GRAY, 'L': GRAY, 'I': GRAY, 'F': GRAY, 'LA': GRAY_ALPHA, 'La': GRAY_ALPHA, 'PA': RGBA, 'RGBA': RGBA,
           'RGBa': RGBA}
PLAIN = {'RGB': (3, RGB), 'L': (1, GRAY)}
SAMPLE_FORMATS = {1: 'uint', 2: 'int', 3: 'float', 4: 'uint'}       # tag 339 of TIFF


class Kind(NamedTuple):
    """What a file holds.

    Attributes:
        width, height: in pixels, after rotation by EXIF.
        dtype: NumPy's name of the type of a value: 'bool', 'uint8', 'uint16', 'int16', 'float32', ...
        channels: of one page.
        colors: how the channels are meant: 'gray', 'gray+alpha', 'RGB', 'RGBA', or 'bands' of any number.
        pages: images in the file: pages of a TIFF, frames of a GIF.
        mode: of Pillow ('RGB', 'L', 'P', 'I;16', ...); '' if another library reads the file.
    """

    width: int
    height: int
    dtype: str = 'uint8'
    channels: int = 3
    colors: str = RGB
    pages: int = 1
    mode: str = 'RGB'
    turned: bool = False
    transparent: bool = False

    @property
    def signature(self) -> str:
        """Type and channels in a few words: 'uint16 gray', 'float32, 5 bands'."""
        return f'{self.dtype}, {self.channels} bands' if self.colors == BANDS else f'{self.dtype} {self.colors}'


def is_8_bit(dtype: str, colors: str) -> bool:
    """True for the images that Pillow reads as 8-bit gray or RGB without a loss."""
    return dtype in ('bool', 'uint8') and colors != BANDS


def is_jpeg(path) -> bool:
    """True by the name of a file: its values are not exactly those that were saved."""
    return os.path.splitext(path)[1].lower() in JPEG


@cache
def known_extensions() -> tuple[str, ...]:
    """Extensions of the files that can be read with the packages that are installed."""
    return EXTENSIONS + tuple(extension for extension, package in OPTIONAL.items() if find_spec(package))


def check_file(path: str):
    """Raise OSError or ValueError if `path` is no file with content.

    A pipe, socket or device is not opened, as reading it could block forever.
    """
    if files.is_packed(path):
        return files.check_packed(path)
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError('not a regular file')
    if not status.st_size:
        raise ValueError('0 bytes')


def check_size(width: int, height: int, max_pixels: int, channels: int = 1):
    if width < 1 or height < 1 or channels < 1:
        raise ValueError(f'{width}x{height} with {channels} channels has no pixels')
    if width * height > max_pixels:
        raise ValueError(f'{width}x{height} = {width * height} pixels, more than --max_pixels {max_pixels}')
    if channels > MAX_CHANNELS:
        raise ValueError(f'{channels} channels, more than {MAX_CHANNELS}')


def check_type(dtype: np.dtype):
    if dtype.kind not in 'buif':
        raise ValueError(f'values of type {dtype}; integers or floats are needed')


def open_image(path: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image with only its header read, by Pillow. Raises OSError or ValueError with a few words."""
    check_file(path)
    formats = FORMATS
    if path[-5:].lower().endswith(HEIF):
        register_heif()
        formats = ('HEIF',)
    image = Image.open(files.source(path), formats=formats)
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        check_size(width, height, max_pixels)
    return image


def register_heif():
    try:
        import pillow_heif
    except ImportError:
        raise ValueError('to read HEIC and HEIF: pip install pillow-heif') from None
    pillow_heif.register_heif_opener()


def kind_of(path: str, max_pixels: int = MAX_PIXELS) -> Kind:
    """What a file holds, from its header. Raises OSError or ValueError with a few words."""
    extension = path[-4:].lower()
    if extension in ARRAYS:
        return kind_of_array(path, max_pixels)
    if extension in EXR:
        return kind_of_exr(path, max_pixels)
    try:
        with open_image(path, max_pixels) as image:
            return kind_of_image(image, path)
    except UnidentifiedImageError:
        if not is_tiff(path):
            raise
        return kind_of_tiff(path, max_pixels)


def kind_of_image(image: Image.Image, path: str) -> Kind:
    """Of an image that Pillow has opened."""
    mode, info = image.mode, image.info
    if mode in PLAIN and 'exif' not in info and 'transparency' not in info and (
            image.format == 'JPEG' or image.format == 'PNG' and image.tile[0][3] == mode and image.n_frames == 1):
        return Kind(*image.size, 'uint8', *PLAIN[mode], 1, mode)     # most files, and the fastest way for them
    # without this check Pillow would read a whole PNG in search of its orientation
    has_exif = image.format == 'TIFF' or 'exif' in image.info
    orientation = image.getexif().get(ORIENTATION, 1) if has_exif else 1
    size = image.size
    if image.format == 'TIFF':      # some versions of Pillow give the size after rotation
        size = image.tag_v2.get(256, size[0]), image.tag_v2.get(257, size[1])
    width, height = reversed(size) if orientation in (5, 6, 7, 8) else size
    dtype, channels, colors = stored(image)
    return Kind(width, height, dtype, channels, colors, pages_of(image, path), image.mode, orientation in range(2, 9),
                transparent=image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info)


def pages_of(image: Image.Image, path: str) -> int:
    """Pages or frames; smaller copies of the image, such as the overviews of a GeoTIFF, do not count."""
    if image.format not in ('TIFF', 'GIF', 'WEBP', 'PNG', 'AVIF'):
        return 1
    count = getattr(image, 'n_frames', 1)
    if count > 1 and image.format == 'TIFF':
        with open_tiff(path) as file:
            return len(full_pages(file))
    return count


def full_pages(file) -> list:
    return [page for page in file.pages if not page.is_reduced]


def stored(image: Image.Image) -> tuple[str, int, str]:
    """(dtype, channels, colors) of the file. Pillow opens 16-bit color PNG files as 8-bit."""
    if image.format == 'TIFF':
        return stored_tiff(image)
    raw = str(image.tile[0][3]) if image.tile else ''
    colors = GRAY_ALPHA if raw.startswith('LA;16') else OF_MODE.get(image.mode.partition(';')[0], RGB)
    if image.mode == 'P' and 'transparency' in image.info:
        colors = RGBA
    if image.mode == '1':
        dtype = 'bool'
    elif image.mode == 'F':
        dtype = 'float32'
    elif image.mode.startswith('I') or ';16' in raw or (deep_jpeg2000(image) if image.format == 'JPEG2000' else
                                                        image.format == 'PPM' and deep_pnm(image)):
        dtype = 'uint16'
    else:
        dtype = 'uint8'
    return dtype, COLORS[colors], colors


def deep_jpeg2000(image: Image.Image) -> bool:
    """True if a JPEG 2000 file has more than 8 bits: the byte Ssiz of the SIZ marker (ISO 15444-1, A.5.1)."""
    image.fp.seek(0)
    head = image.fp.read(4096)
    place = head.find(b'\xff\x4f\xff\x51')
    return place >= 0 and (head[place + 42] & 0x7f) + 1 > 8


def deep_pnm(image: Image.Image) -> bool:
    """True if a PGM or PPM file has values above 255, which Pillow scales."""
    arguments = image.tile[0][3]
    return isinstance(arguments, tuple) and arguments[-1] > 255


def stored_tiff(image: Image.Image) -> tuple[str, int, str]:
    """(dtype, channels, colors) of a TIFF, from its tags: Pillow drops bands, signs and depth."""
    tags = image.tag_v2
    bits = tags.get(258, (1,))
    bits = max(bits) if isinstance(bits, tuple) else bits
    form = tags.get(339, (1,))
    form = SAMPLE_FORMATS.get(form[0] if isinstance(form, tuple) else form, 'uint')
    extra = tags.get(338, ())
    extra = extra if isinstance(extra, tuple) else (extra,)
    return stored_samples(bits, form, tags.get(277, 1), tags.get(262, 1), extra)


def stored_samples(bits: int, form: str, channels: int, photometric: int, extra: tuple) -> tuple[str, int, str]:
    """(dtype, channels, colors) from the tags of a TIFF (TIFF 6.0, sections 3 to 6 and 18)."""
    alpha = bool(extra) and extra[0] in (1, 2)
    if photometric == 3:                        # palette
        return 'uint8', 3, RGB
    if photometric == 5 and channels == 4:      # CMYK
        return ('uint8', 3, RGB) if bits == 8 else (f'uint{bits}', 4, BANDS)
    colors = BANDS
    if photometric in (0, 1) and (channels == 1 or channels == 2 and alpha):
        colors = GRAY if channels == 1 else GRAY_ALPHA
    elif photometric in (2, 6, 8) and (channels == 3 or channels == 4 and alpha):
        colors = RGB if channels == 3 else RGBA
    if bits == 1:
        return 'bool', channels, colors
    deep = 8 if bits <= 8 else 16 if bits <= 16 else 32 if bits <= 32 else 64
    return f'{form}{deep}', channels, colors


def is_tiff(path: str) -> bool:
    with files.open_file(path) as file:
        return file.read(4) in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')


def open_tiff(path: str):
    """A `tifffile.TiffFile`."""
    import tifffile
    return tifffile.TiffFile(files.source(path))


def kind_of_tiff(path: str, max_pixels: int) -> Kind:
    """Of a TIFF that Pillow does not know."""
    with open_tiff(path) as file:
        page = file.pages[0]
        check_size(page.imagewidth, page.imagelength, max_pixels, page.samplesperpixel)
        if page.dtype is None:
            raise ValueError(f'a TIFF of {page.bitspersample} bits of format {page.sampleformat}')
        check_type(page.dtype)
        alpha = tuple(int(sample) for sample in page.extrasamples)
        form = {'u': 'uint', 'i': 'int', 'f': 'float', 'b': 'uint'}[page.dtype.kind]
        dtype, channels, colors = stored_samples(page.bitspersample, form, page.samplesperpixel, int(page.photometric),
                                                 alpha)
        turned = page.tags[ORIENTATION].value if ORIENTATION in page.tags else 1
        size = (page.imagewidth, page.imagelength)[::-1 if turned in (5, 6, 7, 8) else 1]
        return Kind(*size, str(page.dtype), channels, colors, len(full_pages(file)), '', turned in range(2, 9))


def kind_of_array(path: str, max_pixels: int) -> Kind:
    """Of a NumPy file: (H, W), (H, W, C) or (C, H, W); the shortest side is the channels."""
    check_file(path)
    shape, dtype = array_header(path)
    height, width, channels = layout(shape)
    check_size(width, height, max_pixels, channels)
    check_type(dtype)
    return Kind(width, height, dtype.name, channels, {1: GRAY, 3: RGB}.get(channels, BANDS), 1, '')


def layout(shape: tuple) -> tuple[int, int, int]:
    """(height, width, channels) of an array (H, W), (H, W, C) or (C, H, W), whose shortest side is the channels."""
    if len(shape) == 2:
        return *shape, 1
    if len(shape) != 3:
        raise ValueError(f'an array of shape {shape}; (H, W) or (H, W, C) is needed')
    return (shape[1], shape[2], shape[0]) if shape[0] < min(shape[1:]) else shape


def array_header(path: str) -> tuple[tuple, np.dtype]:
    """(shape, dtype) of an .npy file, or of the only array of an .npz file."""
    if path.lower().endswith('.npy'):
        with files.open_file(path) as file:
            return read_array_header(file)
    import zipfile
    if not zipfile.is_zipfile(files.source(path)):
        raise ValueError('no NPZ file')
    with zipfile.ZipFile(files.source(path)) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise ValueError(f'{len(names)} arrays ({", ".join(sorted(names)[:5])}); one is needed')
        with archive.open(names[0]) as file:
            return read_array_header(file)


def read_array_header(file) -> tuple[tuple, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def kind_of_exr(path: str, max_pixels: int) -> Kind:
    """Of an OpenEXR file; it is read whole, as only that tells the type of the values."""
    check_file(path)
    width, height, channels = exr.header(path)
    check_size(width, height, max_pixels, channels)
    return Kind(width, height, str(exr.read(path).dtype), channels, {1: GRAY, 3: RGB, 4: RGBA}.get(channels, BANDS), 1,
                '')
