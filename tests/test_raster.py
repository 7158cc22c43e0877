"""Images of every depth, number of bands and layout: what a file holds, reading it and writing it, value for value."""
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from util.errors import UserError
from util.raster import labels, ranges
from util.raster.kinds import kind_of
from util.raster.ranges import Range, Values
from util.raster.read import ImageError, read_pixels
from util.raster.write import can_hold, extension_for, write_pixels

TYPES = ('bool', 'uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'float16', 'float32', 'float64')
LOSSLESS = ('.png', '.tif', '.npy', '.npz', '.webp', '.bmp', '.ppm', '.pgm')
HELD = [(extension, dtype, channels) for extension in LOSSLESS for dtype in TYPES for channels in (1, 2, 3, 4, 5, 13)
        if can_hold(extension, dtype, channels)]


def noise(dtype: str, channels: int, height: int = 18, width: int = 21) -> np.ndarray:
    values = np.random.default_rng(0).random((height, width, channels))
    return values > 0.5 if dtype == 'bool' else (values * 120).astype(dtype)


@pytest.mark.parametrize(('extension', 'dtype', 'channels'), HELD)
def test_what_is_written_is_read(tmp_path, extension, dtype, channels):
    pixels = noise(dtype, channels)
    path = str(tmp_path / f'image{extension}')
    write_pixels(path, pixels)
    found = read_pixels(path)
    assert found.dtype == pixels.dtype and np.array_equal(found, pixels)
    kind = kind_of(path)
    assert (kind.dtype, kind.channels, kind.width, kind.height) == (dtype, channels, 21, 18)


def write_tiff(path, pixels, **settings):
    tifffile.imwrite(path, pixels, metadata=None, **settings)


TIFFS = {
    'big-endian': dict(byteorder='>'), 'BigTIFF': dict(bigtiff=True),
    'big-endian BigTIFF': dict(byteorder='>', bigtiff=True), 'tiled': dict(tile=(16, 16)),
    'lzw': dict(compression='lzw'), 'deflate': dict(compression='zlib'),
    'packbits': dict(compression='packbits'), 'zstd': dict(compression='zstd'),
    'predictor': dict(compression='lzw', predictor=True), 'strips': dict(rowsperstrip=3),
}


@pytest.mark.parametrize('how', TIFFS)
@pytest.mark.parametrize(('dtype', 'channels'), [('uint8', 3), ('uint16', 3), ('uint16', 5), ('float32', 1)])
def test_ways_of_storing_a_tiff(tmp_path, how, dtype, channels):
    pixels = noise(dtype, channels)
    photometric = 'rgb' if channels == 3 else 'minisblack'
    settings = {} if channels == 1 else dict(planarconfig='contig')
    write_tiff(tmp_path / 'a.tif', pixels[..., 0] if channels == 1 else pixels, photometric=photometric, **settings,
               **TIFFS[how])
    assert np.array_equal(read_pixels(str(tmp_path / 'a.tif')), pixels)


def test_planes_of_a_tiff(tmp_path):
    pixels = noise('uint16', 5)
    write_tiff(tmp_path / 'a.tif', np.ascontiguousarray(np.moveaxis(pixels, 2, 0)), photometric='minisblack',
               planarconfig='separate')
    assert np.array_equal(read_pixels(str(tmp_path / 'a.tif')), pixels)


def test_white_is_0(tmp_path):
    pixels = noise('uint8', 1)
    write_tiff(tmp_path / 'a.tif', pixels[..., 0], photometric='miniswhite')
    assert np.array_equal(read_pixels(str(tmp_path / 'a.tif')), 255 - pixels)


def test_pages_are_channels(tmp_path):
    stack = np.moveaxis(noise('uint8', 5), 2, 0)
    write_tiff(tmp_path / 'a.tif', stack, photometric='minisblack')
    assert kind_of(str(tmp_path / 'a.tif')).pages == 5
    assert np.array_equal(read_pixels(str(tmp_path / 'a.tif')), np.moveaxis(stack[:1], 0, 2))
    assert np.array_equal(read_pixels(str(tmp_path / 'a.tif'), all_pages=True), np.moveaxis(stack, 0, 2))


@pytest.mark.parametrize('largest', [255, 1400, 4095, 65535])
@pytest.mark.parametrize('channels', [1, 3])
def test_netpbm_keeps_its_values(tmp_path, largest, channels):
    pixels = (noise('float64', channels) / 120 * largest).astype('>u2')
    data = pixels.tobytes() if largest > 255 else pixels.astype('u1').tobytes()
    path = tmp_path / ('a.pgm' if channels == 1 else 'a.ppm')
    path.write_bytes(f'P{5 if channels == 1 else 6}\n21 18\n{largest}\n'.encode() + data)
    assert np.array_equal(read_pixels(str(path)), pixels)


def test_jpeg_2000_of_16_bits(tmp_path):
    imagecodecs = pytest.importorskip('imagecodecs')
    pixels = noise('uint16', 3) * 300
    (tmp_path / 'a.jp2').write_bytes(imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True))
    assert kind_of(str(tmp_path / 'a.jp2')).dtype == 'uint16'
    assert np.array_equal(read_pixels(str(tmp_path / 'a.jp2')), pixels)


@pytest.mark.parametrize(('dtype', 'channels'), [
    (dtype, channels) for dtype in ('float16', 'float32', 'uint32') for channels in (1, 3, 4, 5)])
def test_openexr(tmp_path, dtype, channels):
    pytest.importorskip('OpenEXR')
    test_what_is_written_is_read(tmp_path, '.exr', dtype, channels)


def test_a_cut_off_openexr_file_is_one_error(tmp_path):
    pytest.importorskip('OpenEXR')
    path = tmp_path / 'a.exr'
    write_pixels(path, noise('float32', 3))
    data = path.read_bytes()
    for length in (3, 200, len(data) // 2, len(data) - 20):
        path.write_bytes(data[:length])
        with pytest.raises(ImageError, match=r'a\.exr'):
            read_pixels(str(path))


def test_heic(tmp_path):
    heif = pytest.importorskip('pillow_heif')
    gradient = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 4, np.arange(48) * 5, 128), 2).astype(np.uint8)
    heif.from_pillow(Image.fromarray(gradient)).save(tmp_path / 'a.heic', quality=95)
    assert kind_of(str(tmp_path / 'a.heic')).signature == 'uint8 RGB'
    assert np.abs(read_pixels(str(tmp_path / 'a.heic')).astype(int) - gradient).mean() < 3


def test_complex_values_are_refused(tmp_path):
    write_tiff(tmp_path / 'a.tif', np.ones((18, 21), 'complex64'))
    with pytest.raises(ImageError, match='complex64'):
        read_pixels(str(tmp_path / 'a.tif'))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation_of_deep_images(tmp_path, orientation):
    """As Pillow turns 8-bit images."""
    pixels = noise('uint8', 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / 'a.png', exif=exif)
    from PIL import ImageOps
    with Image.open(tmp_path / 'a.png') as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_pixels(str(tmp_path / 'a.png')), expected)
    write_tiff(tmp_path / 'a.tif', pixels.astype(np.uint16), extratags=[(0x0112, 'H', 1, orientation, True)])
    assert np.array_equal(read_pixels(str(tmp_path / 'a.tif')), expected)
    assert (kind_of(str(tmp_path / 'a.tif')).width, kind_of(str(tmp_path / 'a.tif')).height) == expected.shape[1::-1]


DAMAGED = [b'', b'II*\0', b'MM\0*' + b'\xff' * 40, b'\x93NUMPY\x01\0', b'PK\x03\x04' + b'0' * 40]


@pytest.mark.parametrize('content', DAMAGED)
@pytest.mark.parametrize('name', ['a.tif', 'a.png', 'a.npy', 'a.npz', 'a.jp2'])
def test_damaged_files_are_one_error(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings(), pytest.raises(ImageError, match=name):
        warnings.simplefilter('error')
        read_pixels(str(tmp_path / name))


def test_arrays_that_are_no_images(tmp_path):
    for name, array in {'flat': np.zeros(5), 'text': np.array([['a']]), 'deep': np.zeros((2, 2, 2, 2))}.items():
        np.save(tmp_path / f'{name}.npy', array)
        with pytest.raises(ImageError, match=name):
            read_pixels(str(tmp_path / f'{name}.npy'))
    np.save(tmp_path / 'objects.npy', np.array([{}], object), allow_pickle=True)
    with pytest.raises(ImageError):
        read_pixels(str(tmp_path / 'objects.npy'))


# ---- ranges

@pytest.mark.parametrize(('dtype', 'lo', 'hi'), [
    ('uint8', 0, 255), ('uint16', 0, 65535), ('uint16', 27, 1350), ('int16', -943, 2927), ('uint32', 0, 100000)])
def test_every_integer_comes_back(dtype, lo, hi):
    values = np.arange(lo, hi + 1).astype(dtype)
    value_range = Range(lo, hi)
    unit = value_range.to_unit(values)
    assert unit.dtype == np.float32 and unit.min() == -1 and unit.max() == 1
    assert np.array_equal(value_range.to_stored(unit, dtype), values)


def test_floats_come_back_to_float32_precision():
    values = np.linspace(-3, 7, 1001, dtype=np.float32)
    found = Range(-3, 7).to_stored(Range(-3, 7).to_unit(values), 'float32')
    assert np.abs(found - values).max() < 1e-6


def test_8_bit_levels_have_the_numbers_of_8_bit_images():
    import torch

    from util.images import as_numbers
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(Range(0, 255).to_unit(levels), as_numbers(torch.from_numpy(levels)).numpy())


@pytest.mark.parametrize(('dtype', 'lo', 'hi', 'expected'), [
    ('float32', 0.02, 1.02, '0,1'), ('float32', 0, 0.97, '0,1'), ('float32', -0.01, 1, '0,1'),
    ('float32', -1, 1, '-1,1'), ('float64', 0, 255, '0,255'), ('float32', 0, 360, '0,360'),
    ('float32', 0, 0.3, '0,0.3'),
    ('uint16', 27, 1350, '27,1350'), ('int16', -943, 2927, '-943,2927'), ('uint8', 3, 9, '0,255'),
    ('uint16', 5, 5, '5,6')])
def test_range_of_a_dataset(dtype, lo, hi, expected):
    assert str(ranges.usual(dtype, lo, hi)) == expected


def test_percentiles():
    values = Values('uint16')
    values.add(np.arange(1001, dtype=np.uint16).reshape(-1, 7, 1))
    assert (values.percentile(1), values.percentile(99)) == (10, 990)
    assert ranges.parse('1%,99%') == (1.0, 99.0) and ranges.parse('auto') is None


# ---- labels

def test_classes_come_back():
    palette = labels.parse('0 = 255 0 0, 7 = 0 255 0, 9 = 0 0 255')
    classes = np.array([[0, 7], [9, 7]], np.uint16)[..., None]
    colors = palette.to_colors(classes)
    assert colors[1, 0].tolist() == [0, 0, 255]
    noisy = np.clip(colors.astype(int) + [40, -30, 20], 0, 255).astype(np.uint8)
    assert np.array_equal(palette.to_classes(noisy, 'uint16'), classes)
    assert np.array_equal(palette.snapped(noisy), colors)
    assert np.array_equal(labels.parse(str(palette)).colors, palette.colors)
    with pytest.raises(ValueError, match='3'):
        palette.to_colors(np.full((1, 1, 1), 3))


@pytest.mark.parametrize('entry', ['1-2 = 0 0 0', 'e = 0 0 0', '1.2.3 = 0 0 0', '= 0 0 0', '1 = 0 0', '1 = 0 0 256'])
def test_what_is_no_class(entry):
    with pytest.raises(ValueError, match='is not a class'):
        labels.parse(entry)


@pytest.mark.parametrize(('dtype', 'channels'), [('uint8', 1), ('uint8', 3), ('uint8', 4), ('uint16', 3), ('int16', 2)])
def test_distinct_values(dtype, channels):
    pixels = (noise(dtype, channels) // 40).astype(dtype)
    found, index = labels.distinct(pixels)
    assert np.array_equal(found[index].reshape(pixels.shape), pixels)
    assert len({tuple(row) for row in found.tolist()}) == len(found)


def test_color_maps_keep_their_colors():
    maps = np.array([[[0, 0, 170], [255, 85, 0]]], np.uint8)
    palette = labels.found_in([maps, maps])
    assert np.array_equal(palette.to_colors(maps), maps) and str(palette) == '0 0 170,255 85 0'


def test_photos_are_no_label_maps():
    with pytest.raises(ValueError, match='256'):
        labels.found_in([noise('uint8', 3, 64, 64)])


# ---- file types

def test_extension_of_a_result():
    assert extension_for('a.jpg', 'uint8', 3) == '.jpg' and extension_for('a.jpg', 'uint16', 1) == '.png'
    assert extension_for('a.png', 'float32', 1) == '.tif' and extension_for('a.TIF', 'int16', 1) == '.TIF'
    assert extension_for('a.png', 'uint8', 5) == '.tif' and extension_for('a.tif', 'uint8', 3, 'npy') == '.npy'
    with pytest.raises(UserError, match='--save_as tif'):
        extension_for('a.png', 'float32', 1, 'jpg')


def test_color_profile_and_position_are_passed_on(tmp_path):
    profile = b'a color profile' * 20
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png', icc_profile=profile)
    write_pixels(tmp_path / 'b.tif', noise('uint16', 3), str(tmp_path / 'a.png'))
    with tifffile.TiffFile(tmp_path / 'b.tif') as file:
        assert file.pages[0].tags[34675].value == profile
    scale = (10.0, 10.0, 0.0)
    write_tiff(tmp_path / 'geo.tif', noise('uint16', 1)[..., 0], extratags=[(33550, 'd', 3, scale, True)])
    write_pixels(tmp_path / 'c.tif', noise('float32', 2), str(tmp_path / 'geo.tif'))
    with tifffile.TiffFile(tmp_path / 'c.tif') as file:
        assert tuple(file.pages[0].tags[33550].value) == scale
