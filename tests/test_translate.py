"""scripts/translate.py: every input becomes one file of its name and size; what fails is listed, the rest is done."""
import io
import os
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_images
from PIL import Image
from test_cli_train import ROOT, files
from test_tiles import network, save

from models import load_translator
from models.networks import MunitGenerator, init_weights
from util.cli import run

sys.path.insert(0, str(ROOT / 'scripts'))
import translate
from translation import pictures
from translation.work import batches


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working folder with a run `shoes` and images in photos/ and photos/more/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'checkpoints' / 'shoes').mkdir(parents=True)
    save(network('resnet_1blocks', 'instance'), tmp_path / 'checkpoints' / 'shoes')
    draw_images(tmp_path / 'photos', 3, (37, 50))
    draw_images(tmp_path / 'photos' / 'more', 2, (41, 30))
    Image.open('photos/2.png').save('photos/2.jpg')
    (tmp_path / 'photos' / '2.png').unlink()
    return tmp_path


@pytest.fixture
def styled(place) -> Path:
    folder = place / 'checkpoints' / 'styled'
    folder.mkdir()
    for name in ('G_A', 'G_B'):
        save(init_weights(MunitGenerator(3, 2), 'kaiming'), folder, name)
    return place


def call(*words) -> int:
    return run(translate.main, [*map(str, words), '--device', 'cpu'])


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert('RGB'))


def test_a_folder_keeps_its_tree_names_sizes_and_types(place):
    assert call('shoes', 'photos', '--output', 'out') == 0
    assert files(place / 'out') == ['0.png', '1.png', '2.jpg', 'more/0.png', 'more/1.png']
    function = load_translator('checkpoints/shoes')
    for name in files(place / 'out'):
        expected = function(pixels(place / 'photos' / name))
        found = pixels(place / 'out' / name)
        assert found.shape == expected.shape
        assert np.array_equal(found, expected) or name == '2.jpg'


def test_the_same_by_test_py(place):
    import test as test_program
    assert call('shoes', 'photos', '--output', 'a') == 0
    assert run(test_program.main, ['--name', 'shoes', '--input', 'photos', '--output', 'b', '--tile', '64',
                                   '--tile_overlap', '16']) == 0
    assert files(place / 'a') == files(place / 'b') != []
    for name in files(place / 'a'):
        assert abs(pixels(f'a/{name}').astype(int) - pixels(f'b/{name}')).max() <= (20 if name == '2.jpg' else 1)


@pytest.mark.parametrize('words', [
    ['--input', 'photos', '--output', 'out'], ['--name', 'shoes', '--input', 'photos'],
    ['--name', 'shoes', '--output', 'out']])
def test_by_test_py_what_is_missing_is_said_in_a_sentence(words, place, capsys):
    import test as test_program
    assert run(test_program.main, words) == 2
    message, = capsys.readouterr().err.splitlines()
    assert {'--name', '--input', '--output'} - set(words) <= set(message.replace(';', '').split())


def test_files_patterns_and_lists(place, monkeypatch):
    assert call('shoes', 'photos/1.png', 'photos/**/0.png', '--output', 'a') == 0
    assert files(place / 'a') == ['0.png', '1.png', 'more/0.png']
    monkeypatch.setattr(sys, 'stdin', io.StringIO('\ufeffphotos/1.png\r\n\nphotos/more/0.png\n'))
    assert call('shoes', '-', '--output', 'b', '--save_as', 'jpg') == 0
    assert files(place / 'b') == ['0.jpg', '1.jpg']


def test_what_is_there_is_skipped(place, monkeypatch, capsys):
    assert call('shoes', 'photos', '--output', 'out') == 0
    (place / 'out' / '1.png').unlink()
    written = []
    write = pictures.write_pixels
    monkeypatch.setattr(pictures, 'write_pixels', lambda path, *args: (written.append(path.name), write(path, *args)))
    assert call('shoes', 'photos', '--output', 'out') == 0 and written == ['1.png']
    assert 'warning' not in capsys.readouterr().err
    os.utime('checkpoints/shoes/latest_net_G.pth', (2e9, 2e9))     # trained further
    assert call('shoes', 'photos', '--output', 'out') == 0 and len(written) == 1
    assert 'warning: 5 images' in capsys.readouterr().err
    assert call('shoes', 'photos', '--output', 'out', '--overwrite') == 0 and len(written) == 6
    assert 'warning' not in capsys.readouterr().err


def test_failures_are_listed_at_the_end_and_the_rest_is_done(place, capsys):
    (place / 'photos' / '0.png').write_bytes(b'no image')
    (place / 'photos' / 'empty.png').touch()
    assert call('shoes', 'photos', '--output', 'out') == 6
    assert files(place / 'out') == ['1.png', '2.jpg', 'more/0.png', 'more/1.png']
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(errors) == 2 and '0.png' in errors[0] and 'empty.png' in errors[1]
    assert call('shoes', 'photos', '--output', 'out') == 6      # the others are there
    assert call('shoes', 'photos/empty.png', '--output', 'other') == 2


def test_what_is_not_translated_is_reported(place, capsys):
    """Files of other types, linked folders, and all pages but the first."""
    (place / 'photos' / 'note.txt').touch()
    (place / 'photos' / 'linked').symlink_to(place / 'photos' / 'more')
    pages = [Image.new('RGB', (20, 10), color) for color in ('red', 'blue')]
    pages[0].save(place / 'photos' / 'pages.tif', save_all=True, append_images=pages[1:])
    assert call('shoes', 'photos', '--output', 'out') == 0
    ignored, paged = [line for line in capsys.readouterr().err.splitlines() if line.startswith('note: ')]
    assert '1 .txt' in ignored and '1 linked folder' in ignored
    assert 'pages.tif' in paged


def test_a_folder_in_the_place_of_a_result_is_not_a_result(place):
    (place / 'out' / '0.png').mkdir(parents=True)
    assert call('shoes', 'photos/0.png', '--output', 'out') == 4


def test_an_interrupted_write_leaves_no_file(place, monkeypatch):
    save_image = Image.Image.save

    def failing(self, file, *args, **settings):
        save_image(self, file, *args, **settings)
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(Image.Image, 'save', failing)
    assert call('shoes', 'photos', '--output', 'out') == 4
    assert files(place / 'out') == []


@pytest.mark.parametrize('words', [
    ['nothing', 'photos', '--output', 'out'], ['shoes', 'nowhere', '--output', 'out'],
    ['shoes', '*.nothing', '--output', 'out'], ['shoes', 'photos', '--output', 'photos'],
    ['shoes', 'photos/0.png', '--output', '.'], ['shoes', 'photos', '--output', 'photos/out'],
    ['shoes', 'photos', '--output', 'photos/0.png'], ['shoes', 'photos', '--output', 'photos/0.png/out'],
    ['shoes', 'photos', '--output', '/proc/out'], ['shoes', '-', '--output', 'out'],
    ['shoes', 'photos/0.png', 'photos/more/0.png', '--output', 'out'],
    *(['shoes', 'photos', '--output', 'out', *more] for more in (
        ['--direction', 'BtoA'], ['--epoch', '3'], ['--num_styles', '3'], ['--style_seed', '3'],
        ['--gpu_ids', '0'], ['--device', 'tea']))])
def test_mistakes_get_a_sentence_and_change_nothing(words, place, capsys, monkeypatch):
    monkeypatch.setattr('sys.stdin', io.StringIO('\n'))
    before = files(place)
    assert run(translate.main, words if {'--device', '--gpu_ids'} & set(words) else [*words, '--device', 'cpu']) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith('error: ')
    assert files(place) == before


@pytest.mark.parametrize('words', [
    ['nothing', 'photos', '--output', 'out'], ['photos', 'photos', '--output', 'out'],
    ['shoes', 'nowhere', '--output', 'out'], ['shoes', 'photos', '--output', 'photos/out'],
    ['shoes', 'photos/0.png', 'photos/more/0.png', '--output', 'out'],
    ['shoes', 'photos', '--output', 'out', '--epoch', '3'], ['shoes', 'photos', '--output', 'photos/0.png/out'],
    ['shoes', 'photos', '--output', 'out', '--style_image', 'nowhere.png']])
def test_mistakes_that_need_no_network_are_found_before_it_is_loaded(words, place, monkeypatch):
    monkeypatch.setattr(translate, 'load', lambda *_: pytest.fail('the network was loaded'))
    assert call(*words) == 2


def test_tiles_and_batches_change_nothing(place):
    assert call('shoes', 'photos', '--output', 'whole') == 0
    for words in (['--tile', 64], ['--tile', 'auto'], ['--batch_size', 2]):
        shutil.rmtree('out', ignore_errors=True)
        assert call('shoes', 'photos', '--output', 'out', *words) == 0
        for name in files(place / 'whole'):
            assert abs(pixels(f'out/{name}').astype(int) - pixels(f'whole/{name}')).max() <= 1


def test_batches_have_one_size_and_keep_the_order():
    images = [Image.new('RGB', size) for size in ((1, 1), (1, 1), (1, 1), (2, 1), (1, 1))]
    found = list(batches(enumerate(images), 2))
    assert [[index for index, _ in batch] for batch in found] == [[0, 1], [2], [3], [4]]


def test_on_a_gpu_a_batch_is_one_call(place):
    """Pretended: the translator believes that its device is not a CPU."""
    function = load_translator('checkpoints/shoes')
    images = [Image.open(f'photos/{index}.png') for index in range(2)]
    expected = [np.asarray(function(image)).astype(int) for image in images]
    sizes = []
    device = function.device
    function.device = type('Device', (), {'type': 'pretended'})()
    function.precision = lambda: torch.no_grad()
    function.whole = lambda translation, batch, *rest: (sizes.append(len(batch)), translation(batch))[1]
    found = function.many(images, ['0.png', '1.png'])
    function.device = device
    assert sizes == [2]
    assert max(abs(np.asarray(one) - other).max() for one, other in zip(found, expected, strict=True)) <= 1


# ---- styles

def test_styles_are_numbered(styled):
    assert call('styled', 'photos/0.png', '--output', 'out', '--num_styles', 3) == 0
    assert files(styled / 'out') == ['0_0.png', '0_1.png', '0_2.png']
    images = [pixels(f'out/0_{index}.png') for index in range(3)]
    assert images[0].shape == (50, 37, 3) and not np.array_equal(images[0], images[1])
    function = load_translator('checkpoints/styled')
    code = function.random_styles(3, 10, '0.png')[1]
    assert np.array_equal(images[1], function(pixels('photos/0.png'), style=code))
    assert call('styled', 'photos/0.png', '--output', 'other', '--num_styles', 3, '--style_seed', 4) == 0
    assert not np.array_equal(images[0], pixels('other/0_0.png'))


def test_styles_of_images_and_between_them(styled):
    ends = ['--style_image', 'photos/1.png', 'photos/more/0.png']
    assert call('styled', 'photos/0.png', '--output', 'out', *ends) == 0
    function = load_translator('checkpoints/styled')
    expected = [function(pixels('photos/0.png'), style=Image.open(path)) for path in ends[1:]]
    assert all(np.array_equal(pixels(f'out/0_{index}.png'), image) for index, image in enumerate(expected))
    assert call('styled', 'photos/0.png', '--output', 'strip', *ends, '--interpolate', 'strip', '--num_styles', 4) == 0
    strip = pixels('strip/0.png')
    assert strip.shape == (50, 4 * 37, 3)
    assert np.array_equal(strip[:, :37], expected[0]) and np.array_equal(strip[:, -37:], expected[1])
    assert call('styled', 'photos/0.png', '--output', 'gif', '--interpolate', 'gif') == 0
    assert files(styled / 'gif') == ['0.gif'] and Image.open('gif/0.gif').n_frames == 10
    assert call('styled', 'photos/0.png', '--output', 'bad', '--interpolate', 'strip', *ends[:2]) == 2


# ---- videos

def draw_video(path: Path, frames: int, size: tuple[int, int]):
    """A video with growing brightness at uneven times, and a beep."""
    av = pytest.importorskip('av')
    with av.open(str(path), 'w') as file:
        stream = file.add_stream('libx264', rate=10, options={'crf': '1'})
        stream.width, stream.height = size
        stream.pix_fmt = 'yuv444p'
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        sound = file.add_stream('aac', rate=16000, layout='mono')
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 20 * index, np.uint8))
            frame.pts, frame.time_base = 100 * index + 7 * (index % 2), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        wave = np.sin(np.arange(16000) / 20).astype(np.float32)[None]
        beep = av.AudioFrame.from_ndarray(wave, 'fltp', 'mono')
        beep.sample_rate, beep.pts = 16000, 0
        file.mux(sound.encode(beep))
        for last in (stream, sound):
            file.mux(last.encode(None))


def read_video(path) -> tuple[list, list]:
    """(times and pixels of frames, bytes of the packets of sound)."""
    import av
    with av.open(str(path)) as file:
        frames = [(round(float(frame.pts * frame.time_base), 3), frame.to_ndarray(format='rgb24').astype(int))
                  for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        return frames, [bytes(packet) for packet in file.demux(audio=0) if packet.size]


@pytest.mark.parametrize('size', [(64, 48), (37, 51)])
def test_videos_keep_order_times_size_and_sound(size, place):
    draw_video(place / 'film.mp4', 8, size)
    assert call('shoes', 'film.mp4', 'photos/0.png', '--output', 'out') == 0
    assert files(place / 'out') == ['0.png', 'film.mp4']
    (before, sound), (after, copied) = read_video('film.mp4'), read_video('out/film.mp4')
    assert [time for time, _ in after] == [time for time, _ in before] and len(after) == 8
    assert sound == copied and len(sound) > 5
    assert {frame.shape for _, frame in after} == {(size[1], size[0], 3)}


def test_a_broken_video_is_a_failure(place):
    pytest.importorskip('av')
    (place / 'broken.mp4').write_bytes(b'no video')
    assert call('shoes', 'broken.mp4', 'photos/0.png', '--output', 'out') == 6
    assert files(place / 'out') == ['0.png']
