"""Damaged files of every type are read, or refused by one error; never a traceback or a hang."""
import random

import numpy as np
import pytest
import tifffile
from PIL import Image

from util.raster.kinds import kind_of
from util.raster.read import ImageError, read_pixels
from util.raster.write import write_pixels

COUNT = 42      # damages of each type


def noise(dtype, channels):
    return (np.random.default_rng(1).random((24, 20, channels)) * 250).astype(dtype)


def compressed(path):
    tifffile.imwrite(path, noise('uint16', 3), photometric='rgb', compression='lzw', metadata=None)


WRITERS = {
    '8-bit.png': lambda path: write_pixels(path, noise('uint8', 3)),
    '16-bit.png': lambda path: write_pixels(path, noise('uint16', 3)),
    'deflate.tif': lambda path: write_pixels(path, noise('uint16', 5)),
    'lzw.tif': compressed,
    'float.tif': lambda path: tifffile.imwrite(path, noise('float32', 1)[..., 0], metadata=None),
    'a.jpg': lambda path: Image.fromarray(noise('uint8', 3)).save(path),
    'a.webp': lambda path: Image.fromarray(noise('uint8', 3)).save(path, lossless=True),
    'a.gif': lambda path: Image.fromarray(noise('uint8', 1)[..., 0]).save(path),
    'a.bmp': lambda path: write_pixels(path, noise('uint8', 3)),
    'a.ppm': lambda path: write_pixels(path, noise('uint8', 3)),
    'a.npy': lambda path: write_pixels(path, noise('int16', 2)),
    'a.npz': lambda path: write_pixels(path, noise('float32', 1)),
}


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Cut short, with bytes changed, with a piece left out or filled with zeros."""
    data = bytearray(data)
    start, length = draw.randrange(len(data)), draw.randrange(1, 40)
    kind = draw.randrange(4)
    if kind == 0:
        return bytes(data[:start])
    if kind == 1:
        for _ in range(draw.randrange(1, 9)):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == 2:
        del data[start:start + length]
    else:
        data[start:start + length] = bytes(len(data[start:start + length]))
    return bytes(data)


@pytest.mark.parametrize('name', WRITERS)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()
    draw = random.Random(name)
    for _ in range(COUNT):
        path.write_bytes(damaged(whole, draw))
        try:
            kind = kind_of(str(path), 10**6)
        except Exception:       # `read_header` and `read_pixels` make it a sentence
            kind = None
        try:
            pixels = read_pixels(str(path), 10**6)
        except ImageError as error:
            assert str(path) in str(error) and '\n' not in str(error)
            continue
        assert kind is not None and pixels.shape[:2] == (kind.height, kind.width) and pixels.size <= 10**7
