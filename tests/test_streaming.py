"""Files larger than memory: windows of them are read, results are written in tiles, numbers are those of the whole."""
import errno
import io
import sys
import tempfile

import numpy as np
import pytest
import tifffile
from test_cli_train import ROOT, files
from test_tiles import network, save

from util.cli import run
from util.raster.read import read_pixels
from util.raster.windows import Scratch, TiffWindows, Windows, open_windows
from util.raster.write import write_pixels, write_windows

sys.path.insert(0, str(ROOT / 'scripts'))
import translate

WAYS = {'strips': {'rowsperstrip': 10}, 'one strip': {}, 'tiles': {'tile': (32, 48)}, 'big-endian': {'byteorder': '>'},
        'planes': {'planarconfig': 'separate'}, 'planes in tiles': {'planarconfig': 'separate', 'tile': (16, 32)}}
SHAPES = {(67, 91, 1): 'uint8', (67, 91, 3): 'uint16', (67, 91, 5): 'float32'}
HIGHEST = {'uint8': 255, 'uint16': 65535, 'float32': 1}


def values(shape: tuple, dtype: str) -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * HIGHEST[dtype]).astype(dtype)


def save_tiff(path, pixels: np.ndarray, **settings):
    channels = pixels.shape[2]
    if settings.get('planarconfig') == 'separate' and channels > 1:
        pixels = pixels.transpose(2, 0, 1)
    elif channels > 1:
        settings['planarconfig'] = 'contig'
    else:
        settings.pop('planarconfig', None)
        pixels = pixels[:, :, 0]
    tifffile.imwrite(path, pixels, photometric='rgb' if channels == 3 else 'minisblack', metadata=None, **settings)


def spans(shape: tuple, step: int = 40):
    for top in range(0, shape[0], step):
        for left in range(0, shape[1], step):
            yield slice(top, min(top + step, shape[0])), slice(left, min(left + step, shape[1]))


def together(windows) -> np.ndarray:
    whole = np.empty(windows.shape, windows.dtype)
    for span in spans(windows.shape):
        whole[span] = windows.read(*span)
    return whole


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('compression', [None, 'zlib', 'lzw'])
def test_windows_of_a_tiff(way, compression, tmp_path):
    for shape, dtype in SHAPES.items():
        pixels = values(shape, dtype)
        save_tiff(tmp_path / 'image.tif', pixels, compression=compression, **WAYS[way])
        windows = open_windows(str(tmp_path / 'image.tif'))
        assert (windows.shape, windows.dtype) == (pixels.shape, pixels.dtype)
        assert np.array_equal(together(windows), pixels)
        assert np.array_equal(np.concatenate(list(windows.blocks(500))), pixels)


def test_windows_of_a_photo_in_a_tiff(tmp_path):
    save_tiff(tmp_path / 'image.tif', values((67, 91, 3), 'uint8'), compression='jpeg', tile=(32, 32))
    assert np.array_equal(together(open_windows(str(tmp_path / 'image.tif'))), read_pixels(str(tmp_path / 'image.tif')))


@pytest.mark.parametrize('order', 'CF')
@pytest.mark.parametrize('shape', [(67, 91), (67, 91, 3), (3, 67, 91), (1, 67, 91), (67, 91, 1)])
def test_windows_of_an_array_and_results_in_its_layout(order, shape, tmp_path):
    stored = np.asarray(values(shape, 'uint16'), order=order)
    np.save(tmp_path / 'image.npy', stored)
    windows = open_windows(str(tmp_path / 'image.npy'))
    pixels = together(windows)
    assert np.array_equal(pixels, read_pixels(str(tmp_path / 'image.npy')))
    write_pixels(tmp_path / 'whole.npy', pixels, str(tmp_path / 'image.npy'))
    with_parts(pixels, lambda scratch: write_windows(tmp_path / 'parts.npy', scratch, str(tmp_path / 'image.npy')))
    for name in ('whole', 'parts'):
        assert np.array_equal(np.load(tmp_path / f'{name}.npy'), stored), name


def with_parts(pixels: np.ndarray, write):
    scratch = Scratch(pixels.shape, pixels.dtype)
    for span in spans(pixels.shape):
        scratch.write(*span, pixels[span])
    write(scratch)
    scratch.close()


@pytest.mark.parametrize('channels', [1, 3, 5])
def test_results_are_tiff_files_in_tiles(channels, tmp_path):
    pixels = values((530, 40, channels), 'uint16')
    with_parts(pixels, lambda scratch: write_windows(tmp_path / 'image.tif', scratch))
    assert np.array_equal(read_pixels(str(tmp_path / 'image.tif')), pixels)
    with tifffile.TiffFile(tmp_path / 'image.tif') as file:
        assert file.pages[0].is_tiled and len(file.pages) == 1


def test_damaged_and_unusual_files_are_not_read_in_windows(tmp_path):
    path = tmp_path / 'image.tif'
    save_tiff(path, values((67, 91, 3), 'uint8'))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises((ValueError, OSError)):
        open_windows(str(path))
    tifffile.imwrite(path, values((67, 91), 'uint8'), photometric='miniswhite')
    assert open_windows(str(path)) is None
    tifffile.imwrite(path, values((67, 91), 'uint8'), extratags=[(274, 'H', 1, 6, True)])     # turned
    assert open_windows(str(path)) is None


# ---- the command

@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'checkpoints' / 'shoes').mkdir(parents=True)
    save(network('resnet_1blocks', 'instance'), tmp_path / 'checkpoints' / 'shoes')
    (tmp_path / 'scans').mkdir()
    return tmp_path


def call(*words) -> int:
    return run(translate.main, [*map(str, words), '--device', 'cpu'])


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_the_result_is_that_of_the_whole_file(dtype, place):
    pixels = values((150, 190, 3), dtype)
    save_tiff(place / 'scans' / 'a.tif', pixels, compression='zlib', tile=(32, 32))
    save_tiff(place / 'scans' / 'gray.tif', pixels[:, :, :1], rowsperstrip=20)
    np.save(place / 'scans' / 'b.npy', pixels)
    np.save(place / 'scans' / 'c.npy', pixels.transpose(2, 0, 1))
    assert call('shoes', 'scans', '--output', 'whole') == 0
    assert call('shoes', 'scans', '--output', 'tiled', '--tile', 64) == 0
    assert files(place / 'tiled') == files(place / 'whole') == ['a.tif', 'b.npy', 'c.npy', 'gray.tif']
    one_level = {'uint8': 1, 'uint16': 70, 'float32': 1e-3}[dtype]
    for name in files(place / 'whole'):
        whole, tiled = (read_pixels(str(place / folder / name)) for folder in ('whole', 'tiled'))
        assert (whole.dtype, whole.shape) == (tiled.dtype, tiled.shape) and whole.std() > one_level
        assert abs(whole.astype(float) - tiled).max() <= one_level, name
    assert np.load('tiled/b.npy').shape == (150, 190, 3) and np.load('tiled/c.npy').shape == (3, 150, 190)
    assert np.load('tiled/b.npy').dtype == dtype


def test_windows_are_small_and_there_is_no_limit_of_pixels(place, monkeypatch):
    """Measured for a gigapixel image in docs/benchmarks/translation.md."""
    np.save('scans/a.npy', values((700, 300, 3), 'uint8'))
    save_tiff('scans/b.tif', values((700, 300, 3), 'uint8'), compression='zlib', rowsperstrip=16)
    monkeypatch.setattr('translation.pictures.MAX_PIXELS', 1000)
    assert call('shoes', 'scans', '--output', 'out') == 2
    largest, cached = [], []

    def spy(kind):
        read = kind.read

        def counted(self, rows, columns):
            window = read(self, rows, columns)
            largest.append(window.shape[:2])
            cached.append(sum(map(np.size, getattr(self, 'decoded', {}).values())))
            return window
        monkeypatch.setattr(kind, 'read', counted)
    for kind in (*Windows.__subclasses__(), Scratch):
        spy(kind)
    monkeypatch.setattr(Windows, 'blocks', lambda self: [self.read(slice(0, 9), slice(0, 9))])
    assert call('shoes', 'scans', '--output', 'out', '--tile', 64) == 0
    assert max(max(size) for size in largest if size[0] > 1) <= 512      # the tiles of a TIFF
    assert 0 < max(cached) < 700 * 300 * 3 / 3
    assert call('shoes', 'scans', '--output', 'other', '--tile', 64, '--max_pixels', 1000) == 2


def test_a_range_is_judged_for_the_whole_file_and_clipped_values_are_counted_once(place, capsys):
    """A corner outside the range is no mistake, unlike a whole file."""
    pixels = values((150, 190, 3), 'float32')
    pixels[:64, :64] = 5
    np.save('scans/a.npy', pixels)
    words = ['--range_A', '0,1', '--range_B', '0,1']
    assert call('shoes', 'scans', '--output', 'whole', *words) == 0
    whole = capsys.readouterr().err
    assert call('shoes', 'scans', '--output', 'tiled', '--tile', 64, *words) == 0
    assert str(64 * 64 * 3) in whole and capsys.readouterr().err == whole
    assert abs(np.load('whole/a.npy') - np.load('tiled/a.npy')).max() < 1e-3
    np.save('scans/a.npy', pixels + 5)
    assert call('shoes', 'scans', '--output', 'bad', '--tile', 64, *words) == 2
    pixels[100, 100] = np.nan
    np.save('scans/a.npy', pixels)
    assert call('shoes', 'scans', '--output', 'bad', '--tile', 64, *words) == 2
    assert not files(place / 'bad')


def test_several_styles_of_a_streamed_image(place):
    from models.networks import MunitGenerator, init_weights
    (place / 'checkpoints' / 'styled').mkdir()
    for name in ('G_A', 'G_B'):
        save(init_weights(MunitGenerator(3, 2), 'kaiming'), place / 'checkpoints' / 'styled', name)
    np.save('scans/a.npy', values((70, 80, 3), 'uint8'))
    assert call('styled', 'scans', '--output', 'out', '--tile', 64, '--num_styles', 2) == 0
    assert files(place / 'out') == ['a_0.npy', 'a_1.npy']
    assert not np.array_equal(np.load('out/a_0.npy'), np.load('out/a_1.npy'))


def test_strips_are_decoded_once_for_a_row_of_tiles(tmp_path, monkeypatch):
    save_tiff(tmp_path / 'image.tif', values((67, 91, 3), 'uint8'), compression='zlib', rowsperstrip=8)
    windows = open_windows(str(tmp_path / 'image.tif'))
    decoded = []
    segment = TiffWindows.segment
    monkeypatch.setattr(TiffWindows, 'segment',
                        lambda self, file, *place: (decoded.append(place), segment(self, file, *place))[1])
    for left in range(0, 90, 30):
        windows.read(slice(5, 30), slice(left, left + 30))
    assert len(decoded) == 4 == len(windows.decoded)


def test_a_full_disk_is_an_error_with_its_place(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def flush(self):
            raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(tempfile, 'TemporaryFile', lambda dir: Full())
    with pytest.raises(OSError) as caught:
        Scratch((2, 3, 1), 'uint8', tmp_path).write(slice(0, 1), slice(0, 2), np.zeros((1, 2, 1), np.uint8))
    assert caught.value.filename == str(tmp_path)
