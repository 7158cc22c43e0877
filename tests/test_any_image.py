"""Any image goes in and the same kind comes out: whole command lines with deep images, many bands, lists and splits."""
import json
import random
import shutil

import numpy as np
import pytest
import tifffile
import torch
from conftest import draw_images
from PIL import Image
from test_check_data import check  # noqa: F401
from tiny_runs import MODELS, SHARED

import test as test_program
import train as train_program
from data import create_dataset
from util.cli import run
from util.errors import UserError
from util.raster import labels
from util.raster.read import read_pixels
from util.raster.write import write_pixels
from util.results.writer import Results

SMALL = [*SHARED, '--load_size', '32', '--max_iters', '2']


@pytest.fixture
def train(tmp_path, capfd):
    """train('cyclegan', '--dataroot', root) -> exit code, lines of stdout and stderr; two steps of the run `run`."""
    def call(model, *argv):
        code = run(train_program.main, [*MODELS[model], *SMALL, '--name', 'run', '--checkpoints_dir',
                                        str(tmp_path / 'runs'), '--overwrite', *map(str, argv)])
        return code, ''.join(capfd.readouterr())
    return call


@pytest.fixture
def translate(tmp_path, capfd):
    def call(*argv):
        code = run(test_program.main, ['--name', 'run', '--checkpoints_dir', str(tmp_path / 'runs'), '--gpu_ids', '-1',
                                       '--results_dir', str(tmp_path / 'results'), *map(str, argv)])
        return code, ''.join(capfd.readouterr())
    return call


def noise(dtype, channels, seed=0, high=1400, size=40) -> np.ndarray:
    return (np.random.default_rng(seed).random((size, size, channels)) * high).astype(dtype)


def fill(folder, count, make, extension='.tif'):
    folder.mkdir(parents=True)
    for number in range(count):
        write_pixels(folder / f'{number}{extension}', make(number))


def fill_domains(root, make, extension='.tif', counts=None):
    for seed, (name, count) in enumerate((counts or dict(trainA=4, trainB=4, testA=2, testB=2)).items()):
        fill(root / name, count, lambda number, seed=seed: make(100 * seed + number), extension)
    return root


def results(tmp_path, name, run_name='run') -> list:
    return sorted((tmp_path / 'results' / run_name / 'test_latest' / 'images').glob(name))


# ---- types

@pytest.mark.sample(5)
@pytest.mark.parametrize(('dtype', 'channels', 'high', 'extension'), [
    ('uint16', 1, 1400, '.tif'), ('uint16', 3, 60000, '.png'), ('int16', 1, 3000, '.tif'), ('uint8', 4, 255, '.png'),
    ('uint16', 5, 4000, '.tif'), ('float32', 1, 1, '.npy'), ('int32', 2, 9000, '.npz'), ('float64', 3, 255, '.tif'),
    ('int8', 1, 100, '.tif'), ('uint8', 2, 255, '.tif'), ('float16', 1, 1, '.tif')])
def test_the_kind_of_the_input_comes_out(tmp_path, train, translate, dtype, channels, high, extension):
    low = high // 3 if dtype == 'int16' else 0
    root = fill_domains(tmp_path / 'data', lambda seed: noise(dtype, channels, seed, high) - np.dtype(dtype).type(low),
                        extension)
    nets = max(channels, 3) if channels in (1, 3) else channels
    code, text = train('cyclegan', '--dataroot', root, '--input_nc', nets, '--output_nc', nets)
    assert code == 0, text
    code, text = translate('--preprocess', 'none')
    assert code == 0, text
    for stem in '01':
        original = read_pixels(str(root / 'testA' / f'{stem}{extension}'))
        path, = results(tmp_path, f'{stem}_real_A.*')
        found = read_pixels(str(path))
        assert path.suffix == extension and found.dtype == original.dtype and found.shape == original.shape
        clipped = np.abs(found.astype(float) - original).max()
        assert clipped <= 0.02 * high       # a test image may go beyond the range of the training images
        assert (found != original).mean() < 0.01 or dtype.startswith('float') and clipped < 0.01 * high
        fake = read_pixels(str(results(tmp_path, f'{stem}_fake_B.*')[0]))
        assert fake.dtype == original.dtype and fake.shape == original.shape


TYPES = [(dtype, channels, extension) for dtype, channels, extension in (
    ('uint8', 1, '.png'), ('uint8', 3, '.png'), ('uint8', 3, '.tif'), ('uint8', 3, '.bmp'), ('uint8', 3, '.ppm'),
    ('uint16', 1, '.png'), ('uint16', 3, '.png'), ('uint16', 4, '.png'), ('uint16', 1, '.tif'), ('int16', 1, '.tif'),
    ('uint16', 7, '.tif'), ('int32', 1, '.tif'), ('int8', 2, '.tif'), ('uint8', 4, '.png'), ('uint16', 2, '.npy'),
    ('uint8', 9, '.npz'))]


@pytest.mark.parametrize(('dtype', 'channels', 'extension'), TYPES)
def test_an_identity_changes_no_value(tmp_path, train_options, dtype, channels, extension):
    """From the file through the dataset and the writer of results back to a file."""
    high = np.iinfo(dtype).max
    pixels = noise('float64', channels, 3, min(high, 10**6)).astype(dtype)
    (tmp_path / 'data').mkdir()
    write_pixels(tmp_path / 'data' / f'a{extension}', pixels)
    opt = train_options('--dataroot', tmp_path / 'data', '--preprocess', 'none', '--input_nc',
                        channels if channels != 1 else 3, '--lambda_identity', '0', '--dtype_A', f'{dtype},{channels}',
                        f'--range_A={0 if dtype == "int32" else np.iinfo(dtype).min},{min(high, 10**6)}')
    opt = opt.replace(isTrain=False, dataset_mode='single', phase='test', epoch='latest', no_flip=True, name='run',
                      results_dir=tmp_path / 'results', aspect_ratio=1.0, serial_batches=True)
    dataset = create_dataset(opt)
    sample = dataset[0]
    with Results(opt, tmp_path / 'data', domains=dataset.image_domains) as writer:
        writer.add([sample['A_paths']], {'real': sample['A'][None]}, {})
    path, = results(tmp_path, 'a_real.*')
    assert path.suffix == extension and np.array_equal(read_pixels(str(path)), pixels)


def test_a_run_of_8_bits_takes_deep_images(tmp_path, train, translate):
    """The full range of the type, and results of that type; photos stay what they were."""
    for name in ('trainA', 'trainB'):
        draw_images(tmp_path / 'data' / name, 3)
    assert train('cyclegan', '--dataroot', tmp_path / 'data')[0] == 0
    fill(tmp_path / 'deep', 2, lambda seed: noise('uint16', 1, seed, 65535))
    code, text = translate('--dataroot', tmp_path / 'deep', '--model', 'test', '--preprocess', 'none')
    assert code == 0, text
    path, _ = results(tmp_path, '*_real.tif')
    assert np.array_equal(read_pixels(str(path)), noise('uint16', 1, 0, 65535))
    fill(tmp_path / 'floats', 1, lambda seed: noise('float32', 1, seed, 255))
    code, text = translate('--dataroot', tmp_path / 'floats', '--model', 'test', '--preprocess', 'none')
    assert code == 2 and '--range_A' in text and '0,1' in text


def test_one_range_for_the_whole_dataset(tmp_path, train, translate):
    """A dark image stays dark; a small overshoot is clipped and counted; another range in a test is an error."""
    def make(seed):
        return noise('float32', 1, seed, 0.1 if seed == 1 else 1.02)
    root = fill_domains(tmp_path / 'data', make)
    code, text = train('cyclegan', '--dataroot', root)
    assert code == 0 and '--range_A 0,1' in text and '--range_B 0,1' in text
    code, text = translate('--preprocess', 'none', '--phase', 'train')
    assert code == 0 and 'clipped' in text
    dark = tmp_path / 'results' / 'run' / 'train_latest' / 'images' / '1_real_A.tif'
    assert np.abs(read_pixels(str(dark)) - make(1)).max() < 1e-6
    fill_domains(tmp_path / 'other', lambda seed: noise('float32', 1, seed, 255), counts=dict(testA=1, testB=1))
    code, text = translate('--dataroot', tmp_path / 'other', '--preprocess', 'none')
    assert code == 2 and '0,1' in text and '25' in text


def test_types_that_differ_are_an_error(tmp_path, train):
    root = fill_domains(tmp_path / 'data', lambda seed: noise('uint16' if seed == 2 else 'uint8', 1, seed, 200))
    code, text = train('cyclegan', '--dataroot', root)
    assert code == 2 and 'uint16' in text and 'uint8' in text and '--range_A' in text


def test_values_that_are_nan_are_listed(tmp_path, train, translate):
    root = fill_domains(tmp_path / 'data', lambda seed: noise('float32', 1, seed, 1))
    assert train('cyclegan', '--dataroot', root)[0] == 0
    pixels = noise('float32', 1)
    pixels[3, 4] = np.nan
    write_pixels(root / 'testA' / '7.tif', pixels)
    code, text = translate()
    assert code == 6 and '7.tif' in text and 'NaN' in text


def test_transparency_has_no_part_in_the_range(tmp_path, train):
    """Nor have bands that are not used."""
    def make(seed):
        pixels = noise('uint16', 2, seed)
        pixels[..., 1] = 65535
        return pixels
    code, text = train('cyclegan', '--dataroot', fill_domains(tmp_path / 'gray_alpha', make, '.png'))
    assert code == 0 and '--range_A 0,13' in text
    words = ['--bands', '1', '--input_nc', 1, '--output_nc', 1]
    code, text = train('cyclegan', '--dataroot', fill_domains(tmp_path / 'bands', make), *words)
    assert code == 0 and '--range_A 0,13' in text


# ---- bands, pages, labels

def test_bands_and_pages(tmp_path, train, translate):
    root = fill_domains(tmp_path / 'data', lambda seed: noise('uint16', 5, seed))
    code, text = train('cyclegan', '--dataroot', root)
    assert code == 0 and 'up to 5 bands' in text
    code, _ = train('cyclegan', '--dataroot', root, '--bands', '4,1', '--input_nc', 2, '--output_nc', 2)
    assert code == 0 and translate('--preprocess', 'none')[0] == 0
    found = read_pixels(str(results(tmp_path, '0_real_A.tif')[0]))
    original = read_pixels(str(root / 'testA' / '0.tif'))
    assert found.shape[2] == 2 and (found != original[..., [3, 0]]).mean() < 0.01
    code, text = train('cyclegan', '--dataroot', root, '--input_nc', 7, '--output_nc', 7)
    assert code == 2 and '7 channels' in text and '5 channels' in text
    for folder in ('trainA', 'trainB'):
        (tmp_path / 'stack' / folder).mkdir(parents=True)
        tifffile.imwrite(tmp_path / 'stack' / folder / 'a.tif', noise('uint8', 4, 1, 255).transpose(2, 0, 1),
                         photometric='minisblack')
    words = ['--dataroot', tmp_path / 'stack', '--pages', 'all']
    code, text = train('cyclegan', *words, '--input_nc', 4, '--output_nc', 4)
    assert code == 0, text
    code, text = train('cyclegan', '--dataroot', tmp_path / 'stack')
    assert code == 0 and 'several pages (up to 4)' in text
    code, text = translate('--phase', 'train', '--dataroot', tmp_path / 'stack')
    assert code == 0 and 'of 1 image of domain A 1 has several pages (up to 4)' in text
    code, text = translate('--dataroot', root)
    assert code == 0 and 'of 2 images of domain A 2 have up to 5 bands' in text


def test_label_maps_come_back_as_classes(tmp_path, train, translate):
    for folder in ('train', 'test'):
        draw_images(tmp_path / 'data' / f'{folder}A', 3)
        fill(tmp_path / 'data' / f'{folder}B', 3,
             lambda seed: np.random.default_rng(seed).integers(0, 4, (40, 40, 1)).astype(np.uint16) * 100, '.png')
    code, text = train('pix2pix', '--dataroot', tmp_path / 'data', '--labels_B', 'auto', '--netG', 'resnet_1blocks')
    assert code == 0 and '4 classes' in text
    assert translate('--load_size', 32, '--crop_size', 32)[0] == 0
    for name in ('0_fake_B.png', '0_real_B.png'):
        found = read_pixels(str(results(tmp_path, name)[0]))
        assert found.dtype == np.uint16 and set(np.unique(found)) <= {0, 100, 200, 300}
    (tmp_path / 'palette.txt').write_text('# classes\n0 = 0 0 0\n100 = 255 0 0\n200 = 0 255 0\n')
    code, text = train('pix2pix', '--dataroot', tmp_path / 'data', '--labels_B', tmp_path / 'palette.txt')
    assert code == 2 and '300' in text


def test_palettes_have_names(train_options, tmp_path):
    for name, count in ('cityscapes', 29), ('facades', 12):
        table = labels.parse(train_options('--dataroot', tmp_path, '--labels_B', name).labels_B)
        assert len(np.unique(table.stored, axis=0)) == count and np.array_equal(table.stored, table.colors)


def test_label_maps_in_jpeg_files(tmp_path, train, translate):
    """Their colors are not exact: the nearest classes of a table; and results are files that keep classes."""
    colors = np.array([[0, 0, 0], [128, 64, 128], [250, 170, 30]], np.uint8)
    blocks = np.kron(np.arange(25).reshape(5, 5) % 3, np.ones((8, 8), int))
    for phase in ('train', 'test'):
        for domain, image in ('A', colors[blocks] // 2), ('B', colors[blocks]):
            fill(tmp_path / 'data' / f'{phase}{domain}', 3, lambda seed, image=image: image, '.jpg')
    words = ['--dataroot', tmp_path / 'data', '--netG', 'resnet_1blocks', '--labels_B']
    assert len(np.unique(read_pixels(str(tmp_path / 'data' / 'trainB' / '0.jpg')).reshape(-1, 3), axis=0)) > 3
    (tmp_path / 'classes.txt').write_text('0 0 0\n128 64 128\n250 170 30\n')
    code, text = train('pix2pix', *words, tmp_path / 'classes.txt')
    assert code == 0 and 'JPEG' in text
    assert translate('--load_size', 40, '--crop_size', 40)[0] == 0
    truth, fake = (read_pixels(str(results(tmp_path, f'0_{name}_B.png')[0])) for name in ('real', 'fake'))
    assert np.array_equal(truth, colors[blocks])
    assert {tuple(color) for color in fake.reshape(-1, 3).tolist()} <= set(map(tuple, colors.tolist()))


def test_a_deep_domain_and_one_of_8_bits(tmp_path, train, translate):
    """Results have the type of their own domain."""
    for phase in ('train', 'test'):
        fill(tmp_path / 'data' / f'{phase}A', 3, lambda seed: noise('uint16', 1, seed, 4095), '.png')
        draw_images(tmp_path / 'data' / f'{phase}B', 3)
    assert train('pix2pix', '--dataroot', tmp_path / 'data', '--netG', 'resnet_1blocks')[0] == 0
    assert translate('--preprocess', 'none')[0] == 0
    found = read_pixels(str(results(tmp_path, '0_real_B.png')[0]))
    assert found.dtype == np.uint8 and np.array_equal(found, read_pixels(str(tmp_path / 'data' / 'testB' / '0.png')))
    assert read_pixels(str(results(tmp_path, '0_real_A.png')[0])).dtype == np.uint16


@pytest.mark.parametrize('classes', ['floats', 'palette'])
def test_other_kinds_of_label_maps(tmp_path, train, translate, classes):
    for phase in ('train', 'test'):
        draw_images(tmp_path / 'data' / f'{phase}A', 3)
        (tmp_path / 'data' / f'{phase}B').mkdir()
        for seed in range(3):
            index = np.random.default_rng(seed).integers(0, 3, (40, 40)).astype(np.uint8)
            if classes == 'floats':
                write_pixels(tmp_path / 'data' / f'{phase}B' / f'{seed}.tif', (index / 4).astype(np.float32)[..., None])
            else:
                image = Image.frombytes('P', (40, 40), index.tobytes())
                image.putpalette([0, 0, 0, 128, 64, 128, 250, 170, 30])
                image.save(tmp_path / 'data' / f'{phase}B' / f'{seed}.png')
    (tmp_path / 'classes.txt').write_text('0 = 0 0 0\n1 = 128 64 128\n2 = 250 170 30\n')
    table = 'auto' if classes == 'floats' else tmp_path / 'classes.txt'
    code, text = train('pix2pix', '--dataroot', tmp_path / 'data', '--labels_B', table, '--netG', 'resnet_1blocks')
    assert code == 0, text
    assert translate('--load_size', 32, '--crop_size', 32)[0] == 0
    found = read_pixels(str(results(tmp_path, '0_fake_B.*')[0]))
    if classes == 'floats':
        assert found.dtype == np.float32 and set(np.unique(found)) <= {0, 0.25, 0.5}
    else:
        assert {tuple(color) for color in found.reshape(-1, 3).tolist()} <= {(0, 0, 0), (128, 64, 128), (250, 170, 30)}


@pytest.mark.parametrize(('words', 'parts'), [
    (['--range_B', '1%,99%'], ['--range_B', 'both 0']), (['--range_A', '0,1e400'], ['--range_A']),
    (['--range_A', '10000,20000'], ['0.png', '10000,20000']), (['--labels_B', 'bad.txt'], ['--labels_B', '300 64 128']),
    (['--labels_B', 'empty.txt'], ['--labels_B', 'empty']), (['--show_bands', '1,2'], ['--show_bands'])])
def test_mistakes_about_values_are_one_sentence(tmp_path, train, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'bad.txt').write_text('0 = 0 0 0\n1 = 300 64 128\n')
    (tmp_path / 'empty.txt').touch()
    mask = np.zeros((40, 40, 1), np.uint16)
    mask[3, 3] = 1
    fill(tmp_path / 'data' / 'trainA', 3, lambda seed: noise('uint16', 1, seed, 4095), '.png')
    fill(tmp_path / 'data' / 'trainB', 3, lambda seed: mask, '.png')
    code, text = train('pix2pix', '--dataroot', tmp_path / 'data', *words)
    assert code == 2 and text.count('error: ') == 1 and all(part in text for part in parts), text


def test_deep_photos_are_colorized(tmp_path, train, translate, check):  # noqa: F811
    """By the range of the photos; check_data and train.py agree."""
    for phase in ('train', 'test'):
        fill(tmp_path / 'data' / phase, 3, lambda seed: noise('uint16', 3, seed, 4095), '.png')
    words = ['--dataroot', tmp_path / 'data', '--model', 'colorization', '--netG', 'unet_32', '--load_size', '32',
             '--crop_size', '32']
    assert check(*words)[0] == 0
    assert train('colorization', '--dataroot', tmp_path / 'data')[0] == 0 and translate()[0] == 0
    assert read_pixels(str(results(tmp_path, '0_real_B_rgb.png')[0])).max() > 200


# ---- layouts

@pytest.fixture
def fruit(tmp_path):
    draw_images(tmp_path / 'apples', 10, seed=1)
    draw_images(tmp_path / 'oranges', 10, seed=2)
    fill(tmp_path / 'depth', 10, lambda seed: noise('uint16', 1, seed, 5000))
    return tmp_path


def paths_of(dataset) -> set[str]:
    return {dataset[index]['A_paths'] for index in range(len(dataset))}


def test_named_folders_and_a_held_out_part(fruit, train, translate, train_options):
    words = ['--folder_A', fruit / 'apples', '--folder_B', fruit / 'oranges', '--val_fraction', '0.2']
    code, text = train('cyclegan', *words, '--max_dataset_size', 99)
    assert code == 0 and 'training images = 8' in text
    code, text = translate()
    assert code == 0 and len(results(fruit, '*_fake_B.png')) == 2
    training = paths_of(create_dataset(train_options(*words)))
    held_out = paths_of(create_dataset(train_options(*words).replace(isTrain=False, phase='test')))
    assert len(training) == 8 and len(held_out) == 2 and not training & held_out
    with pytest.raises(UserError, match='--phase tset'):
        create_dataset(train_options(*words).replace(isTrain=False, phase='tset'))


def test_several_folders_are_channels_of_one_image(fruit, train, translate):
    code, text = train('pix2pix', '--folder_A', fruit / 'apples', fruit / 'depth', '--folder_B', fruit / 'oranges',
                       '--val_fraction', '0.2')
    assert code == 0, text
    options = torch.load(fruit / 'runs' / 'run' / 'latest_state.pth', weights_only=True)['options']
    assert options['input_nc'] == 4 and options['range_A'].startswith('0,255:')
    code, text = translate()
    assert code == 0, text
    (fruit / 'depth' / '3.tif').unlink()
    code, text = train('pix2pix', '--folder_A', fruit / 'apples', fruit / 'depth', '--folder_B', fruit / 'oranges')
    assert code == 2 and '3.png' in text and 'depth' in text


@pytest.mark.parametrize('kind', ['csv', 'jsonl'])
def test_a_table_of_pairs(fruit, train, translate, kind):
    rows = [(f'apples/{n}.png', f'oranges/{9 - n}.png') for n in range(4)]
    lines = ['input,target', *map(','.join, rows)] if kind == 'csv' else [json.dumps(dict(A=a, B=b)) for a, b in rows]
    table = fruit / f'pairs.{kind}'
    table.write_text('\n'.join(lines))
    code, text = train('pix2pix', '--pairs', table)
    assert code == 0 and 'training images = 4' in text
    assert translate()[0] == 0
    table.write_text('\n'.join([*lines, lines[-1].replace('oranges/6', 'oranges/absent')]))
    code, text = train('pix2pix', '--pairs', table)
    assert code == 2 and 'absent.png' in text
    table.write_text('\n'.join([*lines, 'apples/1.png']))
    code, text = train('pix2pix', '--pairs', table)
    assert code == 2 and f'line {len(lines) + 1}' in text


def test_lists(fruit, train):
    for name, folder in (('A', 'apples'), ('B', 'oranges')):
        (fruit / f'{name}.txt').write_text('\n'.join(f'{folder}/{n}.png' for n in (7, 2, 5)))
    code, text = train('cyclegan', '--dataroot', fruit, '--list_A', fruit / 'A.txt', '--list_B', fruit / 'B.txt')
    assert code == 0 and 'training images = 3' in text


@pytest.mark.parametrize('place', ['train{}', '{}/train', 'train/{}', 'train_{}'])
def test_usual_places(tmp_path, train_options, place):
    for name in 'AB':
        draw_images(tmp_path / 'data' / place.format(name), 3)
    assert len(create_dataset(train_options('--dataroot', tmp_path / 'data'))) == 3
    pairs = create_dataset(train_options('--dataroot', tmp_path / 'data', '--model', 'pix2pix', '--netG', 'unet_32'))
    assert len(pairs) == 3 and pairs[0]['A_paths'] != pairs[0]['B_paths']


def test_a_dataroot_that_is_one_domain(unaligned_root, train):
    code, text = train('cyclegan', '--dataroot', unaligned_root / 'trainA')
    assert code == 2 and f'--dataroot {unaligned_root}' in text


# ---- augmentation

def test_augmentation_moves_a_pair_alike(tmp_path, train_options, train):
    draw_images(tmp_path / 'data' / 'trainA', 2)
    shutil.copytree(tmp_path / 'data' / 'trainA', tmp_path / 'data' / 'trainB')
    words = ['--dataroot', tmp_path / 'data', '--model', 'pix2pix', '--netG', 'resnet_1blocks', '--load_size', '40',
             '--crop_size', '40', '--augment', 'vflip,rot90,affine', '--seed', '3']
    dataset = create_dataset(train_options(*words))
    plain = create_dataset(train_options(*words[:-4]))
    samples = [dataset[0, seed] for seed in range(8)]
    assert all(torch.equal(sample['A'], sample['B']) for sample in samples)
    assert sum(torch.equal(sample['A'], plain[0, seed]['A']) for seed, sample in enumerate(samples)) <= 1
    assert torch.equal(dataset[1, 7]['A'], dataset[1, 7]['A'])
    code, text = train('pix2pix', '--dataroot', tmp_path / 'data', '--augment', 'color,affine', '--augment_preview', 4)
    assert code == 0 and (tmp_path / 'runs' / 'run' / 'augment_preview.png').is_file()


# ---- check_data keeps its word

def test_a_missing_band_is_no_damage(tmp_path, check):  # noqa: F811
    root = fill_domains(tmp_path / 'data', lambda number: noise('uint16', 2, number, 99))
    code, out, _ = check('--dataroot', root, '--input_nc', 1, '--output_nc', 1, '--bands', 9)
    fails = [line for line in out if line.startswith('FAILS')]
    assert code == 1 and len(fails) == 2 and all('--bands' in line and 'damaged' not in line for line in fails)
    assert check('--dataroot', root, '--input_nc', 1, '--output_nc', 1, '--bands', 2)[0] == 0


MAKERS = {      # {name: (dtype, channels, highest value)}
    'photo': ('uint8', 3, 255), 'gray': ('uint8', 1, 255), 'alpha': ('uint8', 4, 255), 'deep': ('uint16', 1, 999),
    'float': ('float32', 1, 1.01), 'bands': ('uint16', 5, 99), 'nan': ('float32', 1, np.nan)}


@pytest.mark.sample(4)
@pytest.mark.parametrize('seed', range(12))
def test_what_check_data_passes_can_be_trained_and_tested(tmp_path, check, train, translate, seed):  # noqa: F811
    """Random folders of all kinds: if it says that training can start, two steps and a test succeed."""
    draw = random.Random(seed)
    root = tmp_path / 'data'
    kinds = draw.sample(sorted(MAKERS), 1 + draw.randrange(2))
    size = draw.choice((20, 40, 41))
    model = draw.choice(('cyclegan', 'pix2pix'))
    for phase in ('train', 'test'):
        for name in ('A', 'B') if model == 'cyclegan' or seed % 2 else ('',):
            (root / f'{phase}{name}').mkdir(parents=True)
            for number in range(5):
                dtype, channels, high = MAKERS[draw.choice(kinds)]
                pixels = noise(dtype, channels, number, high, size)
                pixels = pixels if name else np.concatenate([pixels, pixels], 1)[:, :2 * size - seed % 3]
                write_pixels(root / f'{phase}{name}' / f'{number}.tif', pixels)
    words = [*MODELS[model], *SMALL[:SMALL.index('--display_id')], '--dataroot', root, '--input_nc',
             draw.choice(('1', '3')), '--preprocess', draw.choice(('resize_and_crop', 'crop'))]
    words += ['--lambda_identity', '0'] if model == 'cyclegan' else []
    code, out, _ = check(*words)
    if code == 0:
        code, text = train(model, *words[len(MODELS[model]):])
        assert code == 0, text
        code, text = translate()
        assert code in (0, 6), text
    else:
        assert any('FAILS' in line for line in out) or code == 2


