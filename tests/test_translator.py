"""`load_translator`: the pixels of test.py, any size, every kind of image, several threads."""
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY_TRAINING, draw_root
from PIL import Image
from test_cli_train import PROGRAMS, ROOT

from models import load_translator
from models.networks import MunitGenerator, create_generator
from util.cli import run
from util.errors import UserError

# at --crop_size 64, test.py resizes nothing; unet_64 is the smallest U-Net with dropout
RUNS = {
    'pix2pix': ['--dataroot', 'aligned', '--model', 'pix2pix', '--netG', 'unet_64'],
    'cyclegan': ['--dataroot', 'unaligned', '--netG', 'resnet_1blocks', '--direction', 'BtoA', '--ema', '0.9'],
    'colorization': ['--dataroot', 'photos', '--model', 'colorization', '--netG', 'unet_64'],
    'munit': ['--dataroot', 'unaligned', '--model', 'munit', '--num_scales_D', '1', '--n_layers_D', '1', '--style_dim',
              '3', '--mlp_dim', '4', '--n_res', '1', '--max_iters', '2'],
    'bicyclegan': ['--dataroot', 'aligned', '--model', 'bicyclegan', '--netG', 'unet_32', '--n_blocks_E', '2',
                   '--nz', '3'],
    'template': ['--dataroot', 'aligned', '--model', 'template', '--netG', 'encdec_32', '--norm', 'none'],
}
SOURCES = {'cyclegan': 'unaligned/testB', 'colorization': 'photos/test', 'munit': 'unaligned/testA'}
FAKES = {'colorization': 'fake_B_rgb', 'munit': 'fake_B_0', 'bicyclegan': 'fake_B_0'}
CODES = {'munit': 10, 'bicyclegan': 5}     # test.py draws the codes of all styles of an image at once


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """Images and runs of all models, and the results of test.py."""
    folder = tmp_path_factory.mktemp('home')
    draw_root(folder / 'aligned', ('',), (128, 64))
    draw_root(folder / 'unaligned', ('A', 'B'), (64, 64))
    draw_root(folder / 'photos', ('',), (64, 64))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, words in RUNS.items():
            sizes = ['--load_size', '64', '--crop_size', '64', '--max_dataset_size', '2', '--no_html']
            epochs = [] if name == 'munit' else ['--n_epochs', '1', '--n_epochs_decay', '0']
            assert run(PROGRAMS['train'], [*TINY_TRAINING, *sizes, *epochs, *words, '--name', name]) == 0
            assert run(PROGRAMS['test'], ['--name', name, '--num_threads', '0', '--gpu_ids', '-1']) == 0
    return folder


def run_folder(home: Path, name: str) -> Path:
    return home / 'checkpoints' / name


def photo(home: Path, index: int = 0, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.asarray(Image.open(home / 'photos' / 'test' / f'{index}.png').resize(size, Image.Resampling.BICUBIC))


@pytest.mark.parametrize('name', RUNS)
def test_pixels_are_those_of_test_py(name, home):
    """Bit for bit, with the noise of dropout, moving averages, the direction of training, and random styles."""
    translate = load_translator(run_folder(home, name))
    results = home / 'results' / name / 'test_latest' / 'images'
    for index in range(3):
        if name in SOURCES:
            image = Image.open(home / SOURCES[name] / f'{index}.png')
        else:
            image = Image.open(results / f'{index}_real_A.png')
        found = translate(image, name=f'{index}.png')
        expected = np.asarray(Image.open(results / f'{index}_{FAKES.get(name, "fake_B")}.png'))
        if name in CODES:
            style = translate.random_styles(CODES[name], name=f'{index}.png')[0]
            found = translate(image, style=style)
        assert np.array_equal(np.asarray(found), expected)
        if name == 'bicyclegan':
            style = translate.encode_style(Image.open(results / f'{index}_real_B.png'))
            expected = np.asarray(Image.open(results / f'{index}_rec_B.png'))
            assert np.array_equal(np.asarray(translate(image, style=style)), expected)


@pytest.mark.parametrize('name', RUNS)
@pytest.mark.parametrize('size', [(1, 1), (1, 9), (7, 3), (65, 64), (101, 70)])
def test_every_size_comes_out_as_it_went_in(name, size, home):
    translate = load_translator(run_folder(home, name))
    found = translate(photo(home, size=size))
    assert found.shape == (size[1], size[0], 3) and found.dtype == np.uint8


@pytest.mark.parametrize('netG', ['resnet_1blocks', 'unet_32', 'encdec_32'])
@pytest.mark.parametrize('norm', ['instance', 'batch', 'none'])
def test_padding_is_reflection_to_the_multiple_of_the_network(netG, norm, tmp_path):
    net = create_generator(netG, 3, 3, 2, norm)
    torch.save(net.state_dict(), tmp_path / 'latest_net_G.pth')
    translate = load_translator(tmp_path / 'latest_net_G.pth', no_dropout=True)     # the rest is seen in the weights
    image = torch.rand(1, 3, 61, 38) * 2 - 1
    height, width = (-(-side // net.multiple) * net.multiple for side in (61, 38))
    padded = torch.nn.functional.pad(image, (0, width - 38, 0, height - 61), mode='reflect')
    with torch.no_grad():
        expected = net(padded)[..., :61, :38]
    assert torch.allclose(translate(image), expected, atol=1e-5)


# ---- kinds of images

KINDS = {
    'PIL': lambda pixels: Image.fromarray(pixels),
    'uint8': lambda pixels: pixels,
    'uint16': lambda pixels: pixels.astype(np.uint16) * 257,
    'float32': lambda pixels: (pixels / 255).astype(np.float32),
    'float64': lambda pixels: pixels / 255,
    'tensor': lambda pixels: torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 127.5 - 1,
    'tensor without batch': lambda pixels: torch.from_numpy(pixels.copy()).permute(2, 0, 1).double() / 127.5 - 1,
}


@pytest.mark.parametrize('kind', KINDS)
def test_what_comes_out_is_of_the_kind_that_went_in(kind, home):
    translate = load_translator(run_folder(home, 'cyclegan'))
    image = KINDS[kind](photo(home))
    found = translate(image)
    assert type(found) is type(image) or kind == 'PIL' and found.mode == 'RGB'
    if kind != 'PIL':
        assert (found.dtype, found.shape) == (image.dtype, image.shape)
    levels = KINDS['tensor'](translate(photo(home)))
    same = {'PIL': lambda x: KINDS['tensor'](np.asarray(x)), 'tensor': lambda x: x,
            'tensor without batch': lambda x: x[None].float()}.get(kind)
    unit = same(found) if same else torch.from_numpy(found.astype(np.float32)).permute(2, 0, 1)[None]
    if kind in ('uint8', 'uint16', 'float32', 'float64'):
        unit = unit / ({'uint8': 127.5, 'uint16': 32767.5}.get(kind, 0.5)) - 1
    assert (unit - levels).abs().max() < 1 / 127.5      # of one level, by rounding


def test_lists_and_batches_are_the_single_results(home):
    translate = load_translator(run_folder(home, 'pix2pix'))
    images = [photo(home, index) for index in range(2)]
    assert all(np.array_equal(one, translate(image)) for one, image in zip(translate(images), images, strict=True))
    batch = torch.cat([KINDS['tensor'](image) for image in images])
    assert torch.equal(translate(batch), torch.cat([translate(image[None]) for image in batch]))


def test_gray_and_transparent_images_are_read_as_test_py_reads_files(home):
    translate = load_translator(run_folder(home, 'cyclegan'))
    pixels = photo(home)
    gray = Image.fromarray(pixels).convert('L')
    assert np.array_equal(translate(np.asarray(gray)), translate(np.asarray(gray.convert('RGB'))))
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    assert np.array_equal(translate(opaque), translate(pixels))
    clear = Image.fromarray(np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)]))
    assert np.array_equal(np.asarray(translate(clear)), translate(np.full_like(pixels, 255)))


@pytest.mark.parametrize('image', [
    None, 'photo.png', np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3), np.int64),
    torch.zeros(1, 4, 8, 8), torch.zeros(1, 3, 8, 8).int(), np.ma.zeros((4, 4, 3), np.uint8),
    # values of another range, and none
    np.full((4, 4, 3), -0.5), np.full((4, 4, 3), 200.0), torch.full((1, 3, 8, 8), 200.0),
    torch.full((1, 3, 8, 8), np.nan), torch.zeros(1, 3, 8, 8).to_sparse(), torch.zeros(1, 3, 8, 8, device='meta')])
def test_what_is_no_image_is_refused_with_a_sentence(image, home):
    with pytest.raises(UserError):
        load_translator(run_folder(home, 'cyclegan'))(image)


@pytest.mark.filterwarnings('ignore:the matrix subclass')
def test_arrays_of_all_layouts_are_the_same_image(home):
    translate = load_translator(run_folder(home, 'cyclegan'))
    pixels = photo(home)
    expected = translate(pixels)
    read_only = pixels.copy()
    read_only.flags.writeable = False
    for image in (pixels[::-1].copy()[::-1], np.asfortranarray(pixels), read_only):
        assert np.array_equal(translate(image), expected)
    assert np.array_equal(translate(np.matrix(pixels[..., 0])), translate(pixels[..., 0]))
    assert np.array_equal(translate(pixels, tile=np.int64(64)), translate(pixels, tile=64))


@pytest.mark.parametrize('settings', [
    dict(out=[]), dict(out=np.empty((4, 4, 3), np.uint8)), dict(out=np.broadcast_to(np.uint8(0), (64, 64, 3))),
    dict(device='tea'), dict(device=None)])
def test_outputs_and_devices_that_cannot_be_are_refused(settings, home):
    translate = load_translator(run_folder(home, 'cyclegan'))
    with pytest.raises(UserError):
        translate(photo(home), **settings) if 'out' in settings else translate.to(settings['device'])


def test_tiles_are_not_written_into_the_image_that_is_read(home):
    translate, image = load_translator(run_folder(home, 'cyclegan')), photo(home).copy()
    with pytest.raises(UserError):
        translate(image, tile=64, out=image)
    with pytest.raises(UserError):
        translate([image], out=np.empty_like(image))


# ---- directions, styles, noise

def test_each_direction_has_its_generator(home):
    translate = load_translator(run_folder(home, 'cyclegan'), averages=False)
    weights = {name: torch.load(run_folder(home, 'cyclegan') / f'latest_net_{name}.pth', weights_only=True)
               for name in ('G_A', 'G_B')}
    assert (translate.direction, set(translate.directions)) == ('BtoA', {'AtoB', 'BtoA'})
    for direction, name in (('BtoA', 'G_A'), ('AtoB', 'G_B')):      # A is the source of training, here domain B
        found = translate.translation(direction).net.state_dict()
        assert all(torch.equal(found[key], value) for key, value in weights[name].items())
    image = photo(home)
    assert not np.array_equal(translate(image, direction='AtoB'), translate(image))
    with pytest.raises(UserError):
        load_translator(run_folder(home, 'pix2pix'))(image, direction='BtoA')
    with pytest.raises(UserError):
        translate(image, direction='backwards')


def test_styles_come_from_images_codes_and_seeds(home):
    translate = load_translator(run_folder(home, 'munit'))
    image, example = photo(home), Image.open(home / 'unaligned' / 'testB' / '1.png')
    code = translate.encode_style(example)
    assert code.shape == (3,) and np.array_equal(translate(image, style=example), translate(image, style=code))
    first, second = translate.random_styles(2, seed=4)
    assert np.array_equal(translate(image, style=4), translate(image, style=first))
    assert not np.array_equal(translate(image, style=first), translate(image, style=second))
    between = translate.interpolated_styles(3, first, second)
    assert torch.equal(between[0], first) and torch.allclose(between[1], (first + second) / 2)
    with pytest.raises(UserError):
        load_translator(run_folder(home, 'cyclegan'))(image, style=example)


@pytest.mark.parametrize('style', [torch.zeros(2), np.zeros(4), torch.full((3,), np.nan), 'photo.png', 1.5])
def test_what_is_no_style_is_refused(style, home):
    with pytest.raises(UserError):
        load_translator(run_folder(home, 'munit'))(photo(home), style=style)


def test_style_encoders_follow_the_direction(home):
    """A style is that of an image of the target domain: of B from A to B, by the encoder of B, and the other way."""
    translate = load_translator(run_folder(home, 'munit'))
    image, example = photo(home), photo(home, 1)
    unit = torch.from_numpy(example.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    codes = {}
    for direction, target in (('AtoB', 'G_B'), ('BtoA', 'G_A')):
        net = MunitGenerator(3, 4, 3, 4, n_res=1)
        net.load_state_dict(torch.load(run_folder(home, 'munit') / f'latest_net_{target}.pth', weights_only=True))
        with torch.no_grad():
            expected = net.enc_style(unit).flatten()
        codes[direction] = translate.encode_style(example, direction)
        assert torch.allclose(codes[direction], expected, atol=1e-4)
        assert np.array_equal(translate(image, style=example, direction=direction),
                              translate(image, style=codes[direction], direction=direction))
        between = translate.interpolated_styles(2, example, example, direction)
        assert torch.allclose(between[0], codes[direction])
    assert not torch.allclose(codes['AtoB'], codes['BtoA'], atol=1e-3)
    backwards = load_translator(run_folder(home, 'munit'), direction='BtoA')
    assert torch.allclose(backwards.encode_style(example), codes['BtoA'])


def test_noise_depends_on_seed_and_name_alone(home):
    translate = load_translator(run_folder(home, 'pix2pix'))
    image = photo(home)
    first = translate(image, name='a.png')
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert np.array_equal(translate(image, name='a.png'), first)
    assert torch.equal(torch.get_rng_state(), before), 'the random generator of the user is left alone'
    assert not np.array_equal(translate(image, name='b.png'), first)
    assert not np.array_equal(load_translator(run_folder(home, 'pix2pix'), seed=1)(image, name='a.png'), first)
    quiet = load_translator(run_folder(home, 'pix2pix'), evaluate=True)
    assert np.array_equal(quiet(image, name='a.png'), quiet(image, name='b.png'))


def test_threads_do_not_disturb_each_other(home):
    translate = load_translator(run_folder(home, 'pix2pix'))
    images = [photo(home, index % 3, (64 + index, 64)) for index in range(8)]
    expected, found = [translate(image, name=f'{index}') for index, image in enumerate(images)], {}

    def work(index):
        found[index] = translate(images[index], name=f'{index}')
    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[index], image) for index, image in enumerate(expected))


def test_half_precision_is_near(home):
    translate = load_translator(run_folder(home, 'cyclegan'))
    image = photo(home)
    full = translate(image).astype(int)
    assert 0 < abs(translate.bfloat16()(image) - full).max() < 20
    assert np.array_equal(translate.float()(image), full)


# ---- where it comes from

def test_reference_files_need_only_what_their_weights_do_not_show(home, tmp_path):
    for name in ('G_A', 'G_B'):
        source = run_folder(home, 'cyclegan') / f'latest_net_{name}.pth'
        (tmp_path / source.name).write_bytes(source.read_bytes())
    native = load_translator(run_folder(home, 'cyclegan'), averages=False)
    image = photo(home)
    bare = load_translator(tmp_path)
    assert np.array_equal(bare(image), native(image))
    assert np.array_equal(bare(image, direction='BtoA'), native(image, direction='AtoB'))
    assert np.array_equal(load_translator(tmp_path / 'latest_net_G_B.pth')(image), native(image, direction='AtoB'))


def test_weights_with_styles_need_no_options(home, tmp_path):
    for name in ('G_A', 'G_B'):
        source = run_folder(home, 'munit') / f'latest_net_{name}.pth'
        (tmp_path / source.name).write_bytes(source.read_bytes())
    native, bare = load_translator(run_folder(home, 'munit')), load_translator(tmp_path)
    code, image = native.random_styles(1)[0], photo(home)
    assert np.array_equal(bare(image, style=code), native(image, style=code))
    assert np.array_equal(bare(image, style=code, direction='BtoA'), native(image, style=code, direction='BtoA'))


@pytest.mark.parametrize('name, options', [
    ('nothing', {}), ('cyclegan', {'epoch': '7'}), ('cyclegan', {'netG': 'unet_64'}), ('cyclegan', {'colour': 1}),
    ('cyclegan', {'direction': 'sideways'})])
def test_what_cannot_be_loaded_is_refused_with_a_sentence(name, options, home):
    with pytest.raises(UserError):
        load_translator(run_folder(home, name), **options)


def test_weights_of_another_network_are_refused(home, tmp_path):
    source = run_folder(home, 'cyclegan') / 'latest_net_G_A.pth'
    (tmp_path / 'latest_net_G.pth').write_bytes(source.read_bytes())
    with pytest.raises(UserError):
        load_translator(tmp_path, ngf=32)
    torch.save({'a': torch.zeros(1)}, tmp_path / 'latest_net_G.pth')
    with pytest.raises(UserError):
        load_translator(tmp_path)


def test_models_is_imported_without_torch():
    script = 'import sys, models; print("torch" in sys.modules, models.load_translator)'
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True,
                          timeout=60)
    assert done.stdout.startswith('False') and done.stderr == ''


# ---- what is no generator

def test_what_is_there_instead_of_a_generator_is_named(home, tmp_path):
    """Each mistake is answered without torch, by what was found and a way out that exists."""
    run_of_pairs = run_folder(home, 'pix2pix')
    torch.save({'a': torch.zeros(1)}, tmp_path / 'vgg.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    (tmp_path / 'text.pth').write_text('text')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'begun').mkdir()
    (tmp_path / 'begun' / 'loss_log.txt').touch()
    (tmp_path / 'judges').mkdir()
    (tmp_path / 'judges' / 'latest_net_D.pth').write_bytes((run_of_pairs / 'latest_net_D.pth').read_bytes())
    for place, found, cure in [
            (run_of_pairs / 'latest_net_D.pth', 'network D', str(run_of_pairs / 'latest_net_G.pth')),
            (run_of_pairs / 'latest_state.pth', 'state', str(run_of_pairs)),
            (run_of_pairs / 'loss_log.txt', 'not a .pth', '.pth file'),
            (home / 'checkpoints', 'folder of runs', 'pix2pix'),
            (home / 'photos', 'not a run', 'run folder'), (tmp_path / 'begun', 'no checkpoint yet', 'train'),
            (tmp_path / 'judges', 'only D', 'latest_net_G'), (tmp_path / 'nothing', 'no folder or file', 'run folder'),
            (tmp_path / 'vgg.pth', 'such as a', 'run folder'), (tmp_path / 'list.pth', 'dict of tensors', '.pth'),
            (tmp_path / 'text.pth', 'torch.save', 'checkpoint')]:
        with pytest.raises(UserError) as refused:
            load_translator(place)
        assert len(refused.value.args) == 1
        assert found in str(refused.value) and cure in str(refused.value)


def test_a_file_of_a_run_translates_in_its_own_direction_only(home):
    """The run was trained with --direction BtoA, so G_A translates B to A."""
    both, image = load_translator(run_folder(home, 'cyclegan'), averages=False), photo(home)
    for name, direction, other in (('G_A', 'BtoA', 'AtoB'), ('G_B', 'AtoB', 'BtoA')):
        one = load_translator(run_folder(home, 'cyclegan') / f'latest_net_{name}.pth')
        assert one.directions == (direction,) and np.array_equal(one(image), both(image, direction=direction))
        with pytest.raises(UserError, match=direction):
            one(image, direction=other)


def test_a_generator_may_have_any_file_name(home, tmp_path):
    source = run_folder(home, 'cyclegan') / 'latest_net_G_A.pth'
    (tmp_path / 'monet.pth').write_bytes(source.read_bytes())
    native = load_translator(run_folder(home, 'cyclegan'), averages=False)
    assert np.array_equal(load_translator(tmp_path / 'monet.pth')(photo(home)), native(photo(home)))
    (tmp_path / 'styles.pth').write_bytes((run_folder(home, 'munit') / 'latest_net_G_A.pth').read_bytes())
    with pytest.raises(UserError, match='latest_net_G_A'):
        load_translator(tmp_path / 'styles.pth')
