"""Datasets: which files, which pairs and which numbers; and one sentence for every file that is not an image."""
import gc
import os
import pickle
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import draw_images
from PIL import Image

import data
from data import create_dataset, create_loader
from data.image_folder import list_images, natural, read_image, read_picture
from data.loading.collate import collate
from data.loading.sampler import EpochSampler
from data.transforms import PREPROCESS, Preparation
from options import Options
from util.errors import UserError
from util.images import as_numbers, lab_to_rgb

ROOT = Path(__file__).resolve().parents[1]
needs_links = pytest.mark.skipif(sys.platform == 'win32', reason='links need a right of their own on Windows')
SETTINGS = dict(phase='train', direction='AtoB', input_nc=3, output_nc=3, max_dataset_size=float('inf'),
                serial_batches=False, preprocess='resize_and_crop', load_size=36, crop_size=32, no_flip=False,
                batch_size=1, num_threads=0, seed=1, isTrain=False, model='pix2pix', max_pixels=50_000_000,
                data_timeout=120.0, allow_unmatched=False, loader='stream', fast_resize=False)


def options(root, mode: str, **changes) -> Options:
    extra = dict(input_nc=1, output_nc=2) if mode == 'colorization' else {}
    return Options({**SETTINGS, 'dataroot': str(root), 'dataset_mode': mode, **extra, **changes})


def dataset_of(root, mode: str, **changes):
    return create_dataset(options(root, mode, **changes))


def loader_of(root, mode: str, **changes):
    opt = options(root, mode, **changes)
    return create_loader(create_dataset(opt), opt)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    pair = Image.new('RGB', (left.width + right.width, left.height))
    pair.paste(left, (0, 0))
    pair.paste(right, (left.width, 0))
    return pair


def folder_with(folder, **images: Image.Image):
    """Write images as <name>.png and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        image.save(folder / f'{name}.png')
    return folder


def numbers(image: Image.Image) -> np.ndarray:
    """The pixels as the reference normalizes them, in float32 with numpy only: (C, H, W)."""
    pixels = np.asarray(image, np.float32).reshape(image.height, image.width, -1) / np.float32(255)
    return ((pixels - np.float32(0.5)) / np.float32(0.5)).transpose(2, 0, 1)


def names(paths) -> list[str]:
    return [os.path.basename(path) for path in paths]


def sentence_of(call, *args) -> str:
    with pytest.raises(UserError) as caught:
        call(*args)
    message, = caught.value.args
    assert '\n' not in message
    return message


# ---- which files

FOUND = ['9.png', '10.jpg', 'Asub/3.png', 'Z.png', 'a.jpeg', 'b.JPG', 'c.Jpg', 'd.webp', 'e.GIF', 'f.ppm', 'g.bmp',
         'h.tif', 'i.TiFF', 'sub/1.png', 'sub/deep/2.png']
LEFT_OUT = ['.hidden.png', '._a.jpg', '.ipynb_checkpoints/a.png', '__MACOSX/a.png', 'sub/__MACOSX/b.png',
            'sub/.deep/c.png', 'notes.txt', 'array.mat', 'png', 'a.png.part', 'Thumbs.db']


@pytest.fixture
def tree(tmp_path):
    for name in reversed(FOUND + LEFT_OUT):
        path = tmp_path / 'tree' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / 'tree'


def listed(folder, **settings) -> list[str]:
    return [os.path.relpath(path, folder).replace(os.sep, '/') for path in list_images(folder, **settings)]


def test_all_images_are_found_in_order(tree):
    assert listed(tree) == FOUND


@pytest.mark.parametrize('limit', [1, 3, 15, 99])
def test_a_limit_takes_the_first(tree, limit):
    assert listed(tree, limit=limit) == FOUND[:limit]


def test_a_dataroot_below_a_hidden_folder(tree):
    hidden = tree.rename(tree.parent / '.cache')
    assert listed(hidden) == FOUND


@needs_links
def test_linked_files_are_used_and_linked_folders_are_not(tree, tmp_path):
    draw_images(tmp_path / 'elsewhere', 1)
    (tree / 'aa.png').symlink_to(tmp_path / 'elsewhere' / '0.png')
    (tree / 'linked').symlink_to(tmp_path / 'elsewhere')
    assert listed(tree) == sorted([*FOUND, 'aa.png'], key=natural)


def test_missing_folder(tmp_path):
    draw_images(tmp_path / 'root' / 'train', 1)
    message = sentence_of(dataset_of, tmp_path / 'root', 'unaligned')
    assert str(tmp_path / 'root' / 'trainA') in message and 'train/' in message


def test_missing_dataroot(tmp_path):
    assert str(tmp_path / 'absent') in sentence_of(dataset_of, tmp_path / 'absent', 'single')


@pytest.mark.parametrize(('mode', 'cure'), [
    ('unaligned', '--dataset_mode single'), ('aligned', '--dataset_mode single'), ('colorization', '--phase')])
def test_photos_without_a_folder_of_a_phase(single_root, mode, cure):
    def message(**settings):
        return sentence_of(lambda: dataset_of(single_root, mode, **settings))
    assert message(phase='test').rpartition(';')[2].find(cure) > 0
    assert '--dataset_mode single' not in message(isTrain=True, bad_images='stop')


def test_the_folder_of_a_phase_as_dataroot(tmp_path):
    draw_images(tmp_path / 'train', 1, (8, 4))
    assert sentence_of(dataset_of, tmp_path / 'train', 'aligned').endswith(f'use --dataroot {tmp_path}')


def test_missing_folder_of_the_second_domain(tmp_path):
    draw_images(tmp_path / 'trainA', 1)
    message = sentence_of(dataset_of, tmp_path, 'unaligned')
    assert str(tmp_path / 'trainB') in message and 'trainA/' in message


@pytest.mark.parametrize('content', [[], ['a.mat', 'b.mat', 'c.heic'], ['.a.png']])
def test_folder_without_images(tmp_path, content):
    (tmp_path / 'train').mkdir()
    for name in content:
        (tmp_path / 'train' / name).touch()
    message = sentence_of(dataset_of, tmp_path, 'aligned')
    assert str(tmp_path / 'train') in message and '.jpg' in message
    assert ('2 .mat' in message) == ('a.mat' in content)
    assert ('is empty' in message) == ('a.mat' not in content)


@pytest.mark.parametrize('mode', ['aligned', 'unaligned', 'single', 'colorization', 'template'])
def test_max_dataset_size(mode, roots):
    assert len(dataset_of(roots[mode], mode, max_dataset_size=2)) == 2


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='needs named pipes')
def test_a_pipe_is_not_read(tmp_path):
    """Reading it would block forever."""
    os.mkfifo(tmp_path / 'pipe.png')
    assert str(tmp_path / 'pipe.png') in sentence_of(dataset_of(tmp_path, 'single').__getitem__, 0)


# ---- which pairs

@pytest.fixture
def five_and_three(tmp_path):
    for domain, count in (('A', 5), ('B', 3)):
        images = {f'{domain.lower()}{n}': noise(40, 40, n) for n in range(count)}
        folder_with(tmp_path / f'train{domain}', **images)
    return tmp_path


def pairs(loader) -> list[str]:
    return [names([a])[0][:2] + names([b])[0][:2] for batch in loader
            for a, b in zip(batch['A_paths'], batch['B_paths'], strict=True)]


def test_serial_pairs(five_and_three):
    loader = loader_of(five_and_three, 'unaligned', serial_batches=True)
    assert pairs(loader) == ['a0b0', 'a1b1', 'a2b2', 'a3b0', 'a4b1']


def test_random_pairs(five_and_three):
    loader = loader_of(five_and_three, 'unaligned')
    epochs = []
    for epoch in range(1, 13):
        loader.sampler.set_epoch(epoch)
        epochs.append(pairs(loader))
    assert all(sorted(pair[:2] for pair in epoch) == ['a0', 'a1', 'a2', 'a3', 'a4'] for epoch in epochs)
    assert {pair for epoch in epochs for pair in epoch} == {f'a{a}b{b}' for a in range(5) for b in range(3)}


def test_a_dataset_is_as_long_as_its_larger_folder(tmp_path):
    draw_images(tmp_path / 'trainA', 2)
    draw_images(tmp_path / 'trainB', 5)
    loader = loader_of(tmp_path, 'unaligned', serial_batches=True)
    assert [(names(b['A_paths'])[0][0], names(b['B_paths'])[0][0]) for b in loader] == \
        [('0', '0'), ('1', '1'), ('0', '2'), ('1', '3'), ('0', '4')]


def test_unaligned_images_are_cropped_independently(tmp_path):
    for domain in 'AB':
        folder_with(tmp_path / f'train{domain}', same=noise(60, 60))
    dataset = dataset_of(tmp_path, 'unaligned', preprocess='crop')
    samples = [dataset[0, seed] for seed in range(8)]
    assert sum(torch.equal(sample['A'], sample['B']) for sample in samples) <= 1


@pytest.mark.parametrize('preprocess', PREPROCESS)
def test_aligned_halves_are_cropped_alike(tmp_path, preprocess):
    half = noise(52, 44)
    folder_with(tmp_path / 'train', pair=side_by_side(half, half))
    dataset = dataset_of(tmp_path, 'aligned', preprocess=preprocess, load_size=40)
    samples = [dataset[0, seed] for seed in range(8)]
    assert all(torch.equal(sample['A'], sample['B']) for sample in samples)
    assert len({sample['A'].numpy().tobytes() for sample in samples}) > 1, 'nothing was drawn'


def test_odd_width_of_a_pair(tmp_path):
    pair = noise(65, 32)
    folder_with(tmp_path / 'train', pair=pair)
    sample = dataset_of(tmp_path, 'aligned', preprocess='none', no_flip=True)[0]
    right = pair.crop((33, 0, 65, 32))
    assert np.array_equal(as_numbers(sample['A']), numbers(pair.crop((0, 0, 32, 32))))
    assert np.array_equal(as_numbers(sample['B']), numbers(right))


@pytest.mark.parametrize('mode', ['aligned', 'unaligned'])
def test_direction_swaps_everything(mode, roots):
    forth = dataset_of(roots[mode], mode, serial_batches=True, input_nc=1)[2, 5]
    back = dataset_of(roots[mode], mode, serial_batches=True, output_nc=1, direction='BtoA')[2, 5]
    assert torch.equal(forth['A'], back['B']) and torch.equal(forth['B'], back['A'])
    assert (forth['A_paths'], forth['B_paths']) == (back['B_paths'], back['A_paths'])
    assert forth['A'].shape == (1, 32, 32) and forth['B'].shape == (3, 32, 32)


@pytest.mark.parametrize(('mode', 'direction', 'folder'), [
    ('unaligned', 'AtoB', 'trainA'), ('unaligned', 'BtoA', 'trainB'), ('aligned', 'BtoA', 'train'),
    ('single', 'AtoB', '')])
def test_folder_that_result_names_are_relative_to(mode, direction, folder, roots):
    dataset = dataset_of(roots[mode], mode, direction=direction)
    assert dataset.folder_A == roots[mode] / folder


def test_single_has_no_target(single_root):
    sample = dataset_of(single_root, 'single')[1]
    assert sample.keys() == {'A', 'A_paths'} and sample['A_paths'] == str(single_root / '1.png')


# ---- which numbers

SIZES = [   # (width, height of the image), how, (width, height for the network); load 286, crop 256
    ((512, 256), 'resize_and_crop', (256, 256)), ((512, 256), 'crop', (256, 256)),
    ((512, 256), 'scale_width', (286, 256)), ((512, 256), 'scale_width_and_crop', (256, 256)),
    ((512, 256), 'none', (512, 256)), ((512, 256), 'resize', (286, 286)),
    ((300, 200), 'resize_and_crop', (256, 256)), ((300, 200), 'scale_width', (286, 256)),
    ((300, 200), 'scale_width_and_crop', (256, 256)), ((300, 200), 'none', (300, 200)),
    ((300, 200), 'resize', (286, 286)), ((200, 300), 'scale_width', (286, 429)),
    ((286, 260), 'scale_width', (286, 260)), ((286, 200), 'scale_width', (286, 256)),
    ((300, 200), 'scale_shortside', (429, 286)), ((200, 300), 'scale_shortside', (286, 429)),
    ((300, 200), 'scale_shortside_and_crop', (256, 256)),
]


@pytest.mark.parametrize(('size', 'preprocess', 'expected'), SIZES)
def test_size(size, preprocess, expected):
    prepare = Preparation(preprocess, 286, 256)
    tensor = prepare.apply(Image.new('RGB', size), random.Random(0), 'x.png')
    assert (tensor.shape[2], tensor.shape[1]) == expected


@pytest.mark.parametrize(('side', 'expected'), [(254, 256), (257, 256), (258, 256), (262, 264), (266, 264), (250, 248),
                                                (256, 256), (2, 4), (1, 4)])
def test_sides_become_multiples_of_4(side, expected):
    tensor = Preparation('none', 286, 256).apply(Image.new('RGB', (side, 64)), random.Random(0), 'x.png')
    assert tensor.shape == (3, 64, expected)


def reference_pixels(image, preprocess, seed, load=36, crop=32, flip=True) -> np.ndarray:
    """Bicubic resize, crop, flip, normalize; drawn in the order x, y, flip."""
    if preprocess in ('resize_and_crop', 'resize'):
        image = image.resize((load, load), Image.Resampling.BICUBIC)
    rng = random.Random(seed)
    x, y = (rng.randint(0, max(0, side - crop)) for side in image.size)
    mirrored = rng.random() > 0.5
    if preprocess.endswith('crop'):
        image = image.crop((x, y, x + crop, y + crop))
    return numbers(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip and mirrored else image)


@pytest.mark.parametrize('preprocess', ['resize_and_crop', 'crop', 'resize', 'none'])
@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('flip', [True, False])
def test_pixels(tmp_path, preprocess, channels, flip):
    image = noise(52, 44)
    root = folder_with(tmp_path, image=image)
    dataset = dataset_of(root, 'single', preprocess=preprocess, input_nc=channels, no_flip=not flip)
    for seed in range(6):
        expected = reference_pixels(image.convert('L') if channels == 1 else image, preprocess, seed, flip=flip)
        found = dataset[0, seed]['A']
        assert found.dtype == torch.uint8 and np.array_equal(as_numbers(found), expected)


def test_aligned_pixels(tmp_path):
    left, right = noise(40, 50, 1), noise(40, 50, 2)
    folder_with(tmp_path / 'train', pair=side_by_side(left, right))
    dataset = dataset_of(tmp_path, 'aligned', output_nc=1)
    for seed in range(6):
        sample = dataset[0, seed]
        A, B = as_numbers(sample['A']), as_numbers(sample['B'])
        assert np.array_equal(A, reference_pixels(left, 'resize_and_crop', seed))
        assert np.array_equal(B, reference_pixels(right.convert('L'), 'resize_and_crop', seed))


def test_colorization_numbers(tmp_path):
    from skimage.color import rgb2lab
    image = noise(40, 36)
    folder_with(tmp_path / 'train', image=image)
    sample = dataset_of(tmp_path, 'colorization', preprocess='none', no_flip=True)[0]
    lab = rgb2lab(np.asarray(image)).astype(np.float32).transpose(2, 0, 1)
    assert np.allclose(sample['A'], lab[:1] / 50 - 1, rtol=0, atol=1e-6)
    assert np.allclose(sample['B'], lab[1:] / 110, rtol=0, atol=1e-6)
    assert sample['A'].dtype == sample['B'].dtype == torch.float32
    assert sample['A_paths'] == sample['B_paths']

    back = lab_to_rgb(torch.cat([sample['A'], sample['B']])[None])[0]
    assert np.abs((back.numpy() + 1) * 127.5 - np.asarray(image).transpose(2, 0, 1)).max() <= 1


def test_impossible_colors_keep_their_lightness():
    from skimage.color import rgb2lab
    lab = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
    rgb = lab_to_rgb(lab)[0].permute(1, 2, 0).numpy() / 2 + 0.5
    lightness = (lab[0, 0].numpy() + 1) * 50
    assert rgb.min() >= 0 and rgb.max() <= 1
    assert np.abs(rgb2lab(rgb)[..., 0] - lightness).max() < 0.2
    gray = torch.stack([torch.linspace(-1, 1, 256), torch.zeros(256), torch.zeros(256)])[None, :, None]
    levels = lab_to_rgb(gray)[0, :, 0]
    assert torch.allclose(levels[0], levels[1], atol=1e-3) and torch.allclose(levels[1], levels[2], atol=1e-3)


# ---- which kinds of files

def read(folder, image: Image.Image, ending: str = 'png', **settings) -> np.ndarray:
    path = folder / f'image.{ending}'
    image.save(path, **settings)
    return np.asarray(read_picture(str(path))).astype(int)


@pytest.mark.parametrize(('orientation', 'stored_by'), [
    (3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270),
    (2, Image.Transpose.FLIP_LEFT_RIGHT)])
def test_exif_orientation(tmp_path, orientation, stored_by):
    upright, exif = noise(20, 12), Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(read(tmp_path, upright.transpose(stored_by), exif=exif), np.asarray(upright))


@pytest.mark.parametrize('ending', ['png', 'tif'])
def test_gray_of_16_bits(tmp_path, ending):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    found = read(tmp_path, Image.fromarray(levels * 257), ending)
    assert np.array_equal(found, np.stack([levels] * 3, axis=2))


def test_transparency_is_shown_on_white(tmp_path):
    colours = [(200, 0, 0, 0), (200, 0, 0, 255), (200, 0, 0, 128)]
    image = Image.new('RGBA', (3, 1))
    image.putdata(colours)
    blend = [round(128 / 255 * value + 127 / 255 * 255) for value in (200, 0, 0)]
    expected = np.array([[255, 255, 255], [200, 0, 0], blend])
    assert np.abs(read(tmp_path, image)[0] - expected).max() <= 1

    palette = Image.new('P', (2, 1))
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.putdata([0, 1])
    assert read(tmp_path, palette, transparency=0)[0].tolist() == [[255, 255, 255], [200, 0, 0]]
    assert read(tmp_path, palette)[0].tolist() == [[10, 20, 30], [200, 0, 0]]

    grey = Image.new('LA', (2, 1))
    grey.putdata([(7, 0), (7, 255)])
    assert read(tmp_path, grey)[0].tolist() == [[255, 255, 255], [7, 7, 7]]


def test_cmyk(tmp_path):
    image = Image.new('CMYK', (3, 1))
    image.putdata([(0, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255)])
    assert read(tmp_path, image, 'tif')[0].tolist() == [[255, 255, 255], [255, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize('full', [1, 255])
def test_float_images(tmp_path, full):
    levels = np.linspace(0, full, 256, dtype=np.float32).reshape(16, 16)
    found = read(tmp_path, Image.fromarray(levels), 'tif')
    assert np.array_equal(found[..., 0], np.arange(256).reshape(16, 16))


def test_one_bit(tmp_path):
    image = Image.new('1', (2, 1))
    image.putdata([0, 255])
    assert read(tmp_path, image)[0].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize('mode', ['L', 'P'])
def test_gray_and_palette_become_rgb(tmp_path, mode):
    image = noise(8, 8).convert(mode)
    assert np.array_equal(read(tmp_path, image), np.asarray(image.convert('RGB')))


@pytest.mark.parametrize('ending', ['webp', 'gif'])
def test_first_frame_of_moving_images(tmp_path, ending):
    frames = [Image.new('RGB', (8, 8), colour) for colour in ('red', 'blue')]
    settings = dict(save_all=True, append_images=frames[1:], **dict(lossless=True) if ending == 'webp' else {})
    assert np.array_equal(read(tmp_path, frames[0], ending, **settings), np.asarray(frames[0]))


# ---- files that are not images, and images of a wrong size

def truncated(path):
    noise(40, 40).save(path)
    path.write_bytes(path.read_bytes()[:1000])


BROKEN = {
    'truncated': truncated,
    'empty': lambda path: path.write_bytes(b''),
    'text': lambda path: path.write_text('no image'),
    'folder': lambda path: path.mkdir(),
}


@pytest.mark.parametrize('kind', BROKEN)
def test_a_file_that_cannot_be_read(tmp_path, monkeypatch, kind):
    BROKEN[kind](tmp_path / 'bad.png')
    monkeypatch.chdir(tmp_path)
    message = sentence_of(read_image, 'bad.png')
    assert str(tmp_path / 'bad.png') in message


def test_a_file_that_a_worker_cannot_read(tmp_path):
    folder_with(tmp_path, **{f'a{n}': noise(40, 40, n) for n in range(3)})
    truncated(tmp_path / 'b.png')
    loader = loader_of(tmp_path, 'single', serial_batches=True, num_threads=2, batch_size=2)
    message = sentence_of(list, loader)
    assert str(tmp_path / 'b.png') in message


def test_a_loader_in_a_cycle_of_objects_does_not_wait_for_its_workers(photo_root):
    """Python closes the queues to them first, so that they do not learn of the end."""
    loader = loader_of(photo_root / 'train', 'single', num_threads=2, batch_size=1)
    assert len(list(loader)) == 5
    workers, holder = loader.workers, SimpleNamespace(loader=loader)
    holder.itself = holder
    del loader, holder
    gc.collect()
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL] * 2


@pytest.mark.parametrize('num_threads', [0, 2])
def test_images_of_different_sizes_in_a_batch(tmp_path, num_threads):
    folder_with(tmp_path, a=noise(40, 40), b=noise(48, 40))
    message = sentence_of(list, loader_of(tmp_path, 'single', preprocess='none', batch_size=2, serial_batches=True,
                                          num_threads=num_threads))
    for part in ('a.png', '40x40', 'b.png', '48x40', '--batch_size 1', '--preprocess resize_and_crop'):
        assert part in message


@pytest.mark.parametrize('mode', ['single', 'unaligned', 'aligned', 'colorization', 'template'])
def test_an_image_smaller_than_the_crop(mode, roots):
    message = sentence_of(lambda: dataset_of(roots[mode], mode, preprocess='crop', crop_size=64)[0])
    for part in ('0.png', '40x40', '--crop_size 64', '--preprocess resize_and_crop'):
        assert part in message


def test_messages_give_absolute_paths(tmp_path, monkeypatch):
    folder_with(tmp_path / 'root', a=noise(40, 40))
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / 'root' / 'a.png') in sentence_of(
        lambda: dataset_of('root', 'single', preprocess='crop', crop_size=64)[0])


# ---- order and randomness

def test_order_is_a_function_of_seed_and_epoch():
    def drawn(seed, epoch):
        sampler = EpochSampler(20, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)
    epochs = {(seed, epoch): drawn(seed, epoch) for seed in (1, 2) for epoch in (1, 2, 3)}
    torch.rand(5)
    random.random()
    assert all(drawn(*key) == keys for key, keys in epochs.items())
    assert all(sorted(index for index, _ in keys) == list(range(20)) for keys in epochs.values())
    assert len({tuple(index for index, _ in keys) for keys in epochs.values()}) == 6
    assert len({seed for keys in epochs.values() for _, seed in keys}) == 120


def test_an_interrupted_epoch_is_continued():
    sampler = EpochSampler(10, shuffle=True, seed=1)
    sampler.set_epoch(3)
    whole = list(sampler)
    sampler.set_epoch(3, start=4)
    assert list(sampler) == whole[4:] and len(sampler) == 6
    sampler.set_epoch(3)
    assert list(sampler) == whole and len(sampler) == 10


def test_without_shuffling_the_order_is_that_of_the_files():
    sampler = EpochSampler(5, shuffle=False, seed=1)
    assert [index for index, _ in sampler] == [0, 1, 2, 3, 4]


def test_loader_of_the_first_samples(single_root):
    opt = options(single_root, 'single', serial_batches=True, batch_size=2)
    loader = create_loader(create_dataset(opt), opt, size=2)
    assert [names(batch['A_paths']) for batch in loader] == [['0.png', '1.png']]


@pytest.mark.parametrize('mode', ['unaligned', 'aligned'])
def test_samples_do_not_depend_on_workers(mode, roots):
    def epoch(num_threads):
        loader = loader_of(roots[mode], mode, num_threads=num_threads, batch_size=2)
        loader.sampler.set_epoch(2)
        return list(loader)
    alone, together = epoch(0), epoch(2)
    assert len(alone) == len(together) == 3 and len(alone[-1]['A']) == 1
    for mine, theirs in zip(alone, together, strict=True):
        assert mine['A_paths'] == theirs['A_paths'] and mine['B_paths'] == theirs['B_paths']
        assert torch.equal(mine['A'], theirs['A']) and torch.equal(mine['B'], theirs['B'])


@pytest.mark.parametrize('kinds', [['plain'], ['plain', 'last'], ['last', 'plain'], ['last', 'last', 'last']])
@pytest.mark.parametrize('channels', [1, 3])
def test_a_batch_has_the_pixels_of_its_images_in_any_memory_format(kinds, channels):
    rng = np.random.default_rng(1)
    images = [torch.from_numpy(rng.integers(0, 256, (channels, 6, 8), dtype=np.uint8)) for _ in kinds]
    kept = [image.permute(1, 2, 0).contiguous().permute(2, 0, 1) if kind == 'last' else image
            for image, kind in zip(images, kinds, strict=True)]
    batch = collate([{'A': image, 'A_paths': f'{number}'} for number, image in enumerate(kept)])
    assert torch.equal(batch['A'], torch.stack(images)) and batch['A_paths'] == [str(n) for n in range(len(kinds))]
    numbers = as_numbers(batch['A'])
    assert numbers.is_contiguous() and torch.equal(numbers, as_numbers(torch.stack(images)))


def test_loading_does_not_change_the_generator_of_the_training(unaligned_root):
    loader = loader_of(unaligned_root, 'unaligned')
    before = torch.get_rng_state(), random.getstate()
    list(loader)
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == random.getstate()


@pytest.mark.parametrize('mode', data.registry.names())
def test_datasets_can_be_sent_to_other_processes(mode, roots):
    dataset = dataset_of(roots[mode], mode)
    copy = pickle.loads(pickle.dumps((dataset, collate)))[0]
    assert torch.equal(copy[0, 3]['A'], dataset[0, 3]['A'])


def test_workers_that_are_spawned(single_root):
    dataset = dataset_of(single_root, 'single')
    loader = torch.utils.data.DataLoader(dataset, collate_fn=collate, num_workers=1, multiprocessing_context='spawn')
    assert [names(batch['A_paths']) for batch in loader] == [['0.png'], ['1.png'], ['2.png']]


KEEPS_WORKERS = """
import sys
sys.path.insert(0, {root!r})
from data import create_dataset, create_loader
from options import TrainOptions
opt = TrainOptions().parse(['--dataroot', {dataroot!r}, '--model', 'pix2pix', '--netG', 'unet_32', '--load_size', '36',
                            '--crop_size', '32', '--num_threads', '2', '--gpu_ids', '-1'])
kept = iter(create_loader(create_dataset(opt), opt))
next(kept)
"""


def test_a_program_exits_while_its_workers_are_running(roots):
    """Workers ignore signals; that must not keep the program from exiting."""
    program = KEEPS_WORKERS.format(root=str(ROOT), dataroot=str(roots['aligned']))
    done = subprocess.run([sys.executable, '-c', program], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
