"""OpenEXR files, by the package OpenEXR if it is installed."""
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from util.places import files

TYPES = ('float16', 'float32', 'uint32')        # of a channel
NAMES = {1: 'Y', 3: 'RGB', 4: 'RGBA'}           # of the channels that are written


def package():
    try:
        import OpenEXR
    except ImportError:
        raise ValueError('to read and write OpenEXR: pip install OpenEXR') from None
    return OpenEXR


@contextmanager
def on_disk(path: str):
    """A file for the package, which reads no bytes: the file itself, or a copy of one in a tar."""
    if not files.is_packed(path):
        yield str(path)
        return
    with tempfile.NamedTemporaryFile(suffix='.exr') as copy, files.open_file(path) as file:
        copy.write(file.read())
        copy.flush()
        yield copy.name


def header(path: str) -> tuple[int, int, int]:
    """(width, height, channels) of the first part. Raises OSError or ValueError."""
    try:
        with on_disk(path) as file:
            found = package().File(file, header_only=True).header()
        low, high = found['dataWindow']
        return *(int(side) for side in high - low + 1), len(found['channels'])
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def read(path: str) -> np.ndarray:
    """(H, W, C) of the first part; red, green, blue and alpha in this order, all others by name."""
    try:
        with on_disk(path) as file:
            channels = package().File(file).channels()
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    stack = [channel.pixels if channel.pixels.ndim == 3 else channel.pixels[:, :, None]
             for _, channel in sorted(channels.items())]
    if len({pixels.shape[:2] for pixels in stack}) != 1:
        raise ValueError('its channels have different sizes')
    return np.concatenate(stack, 2)


def encode(pixels: np.ndarray) -> bytes:
    """A file that holds (H, W, C) of one of the `TYPES`."""
    openexr = package()
    count = pixels.shape[2]
    name = NAMES.get(count)
    if name:
        channels = {name: np.ascontiguousarray(pixels[:, :, 0] if count == 1 else pixels)}
    else:
        channels = {f'band{number:04d}': np.ascontiguousarray(pixels[:, :, number]) for number in range(count)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'image.exr'
        settings = dict(compression=openexr.ZIP_COMPRESSION, type=openexr.scanlineimage)
        with openexr.File(settings, channels) as file:
            file.write(str(path))
        return path.read_bytes()
