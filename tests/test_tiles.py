"""Translating in tiles: the result of the whole image, for every kind of network, wherever the maps are kept."""
import numpy as np
import pytest
import torch

from models import load_translator
from models.networks import MunitGenerator, create_generator, init_weights
from models.translation import kinds, tiles
from models.translation.copies import SeededDropout
from models.translation.maps import FileStore, MemoryStore, Moments
from models.translation.sources import Recipe, Source
from models.translation.translator import Translator
from util.errors import ResourceError, UserError

LEVEL = 2 / 255
NETS = [(netG, norm) for netG in ('resnet_2blocks', 'unet_64', 'encdec_32') for norm in ('instance', 'batch', 'none')]


def network(netG: str, norm: str, nc: tuple[int, int] = (3, 3)):
    """Larger weights than those that training starts from, so that an error in one layer reaches the image."""
    return init_weights(create_generator(netG, *nc, 4, norm), 'kaiming')


def save(net, folder, name: str = 'G'):
    torch.save(net.state_dict(), folder / f'latest_net_{name}.pth')


@pytest.fixture
def image() -> torch.Tensor:
    """Smooth at the left, noisy and bright at the right: tiles with statistics of their own would differ."""
    smooth = torch.linspace(-1, 0, 90).expand(1, 3, 150, 90)
    return torch.cat([smooth, torch.rand(1, 3, 150, 101)], 3)


def exact(translate: Translator, image, code=None) -> torch.Tensor:
    """The whole image in float64."""
    translation = translate.translation().double()
    with torch.no_grad():
        result = translation(image.double(), code)
    translation.float()
    return result


@pytest.mark.parametrize('netG, norm', NETS)
@pytest.mark.parametrize('evaluate', [False, True])
def test_tiles_give_the_whole_image(netG, norm, evaluate, image, tmp_path):
    save(network(netG, norm), tmp_path)
    translate = load_translator(tmp_path, no_dropout=True, evaluate=evaluate)
    tiled = translate(image, tile=64)
    assert tiled.shape == image.shape and tiled.std() > LEVEL
    assert (tiled - exact(translate, image)).abs().max() < 0.01 * LEVEL
    assert (tiled - translate(image)).abs().max() < 0.1 * LEVEL


class Fresh(Source):
    """A translation of a kind with random weights."""

    def __init__(self, kind: str, **options):
        self.recipe = Recipe(kind, {'input_nc': 3, 'output_nc': 3, 'ngf': 4, 'norm': 'instance', 'no_dropout': True,
                                    'antialias': False, 'labels': '', **options})

    def load(self, direction):
        translation = kinds.BUILDERS[self.recipe.kind](self.recipe.options)
        init_weights(translation.net, 'kaiming')
        return translation, self.recipe


CODES = {'netG': 'unet_32', 'nz': 3, 'nef': 4, 'n_blocks_E': 2}
PYRAMID = {'n_downsample_global': 1, 'n_blocks_global': 1, 'n_blocks_local': 1}


@pytest.mark.parametrize('kind, options', [
    ('generator', {'netG': 'resnet_1blocks', 'antialias': True}),
    ('generator', {'netG': 'resnet_1blocks', 'upsample': 'resize'}),
    ('generator', {'netG': 'unet_32', 'upsample': 'resize'}),
    ('codes', {**CODES, 'where_add': 'all'}), ('codes', {**CODES, 'where_add': 'input', 'norm': 'batch'}),
    ('pyramid', {**PYRAMID, 'n_local_enhancers': 0}), ('pyramid', {**PYRAMID, 'n_local_enhancers': 2}),
    ('spade', {'norm_S': 'instance', 'n_ups': 2, 'spade_nc': 4}),
    ('spade', {'norm_S': 'syncbatch', 'n_ups': 5, 'spade_nc': 2})])
def test_tiles_of_the_other_networks(kind, options, image):
    translate = Translator(Fresh(kind, **options))
    style = torch.randn(translate.translation().style_dim) if translate.styled else None
    whole, tiled = translate(image, style=style), translate(image, style=style, tile=64)
    assert tiled.std() > LEVEL and (tiled - whole).abs().max() < 0.1 * LEVEL


def test_the_norms_of_tiles_alone_would_differ(image, tmp_path):
    """What the tests above would find if tiles had statistics of their own."""
    save(network('resnet_2blocks', 'instance'), tmp_path)
    translate = load_translator(tmp_path)
    alone = torch.cat([translate(part) for part in image.split(96, dim=3)], 3)
    assert (alone - translate(image)).abs().max() > 10 * LEVEL


@pytest.mark.parametrize('pad_type', ['reflect', 'replicate', 'zero'])
def test_styles_in_tiles(pad_type, image, tmp_path):
    for name in ('G_A', 'G_B'):
        save(init_weights(MunitGenerator(3, 4, 3, 4, n_res=2, pad_type=pad_type), 'kaiming'), tmp_path, name)
    translate = load_translator(tmp_path, ngf=4, style_dim=3, mlp_dim=4, n_res=2, pad_type=pad_type)
    code = translate.random_styles(1)[0]
    tiled = translate(image, style=code, tile=64)
    assert (tiled - exact(translate, image, code.double().view(1, -1, 1, 1))).abs().max() < 0.05 * LEVEL
    assert (tiled - translate(image, style=code)).abs().max() < LEVEL


def test_colors_in_tiles(image, tmp_path):
    save(network('unet_32', 'batch', (1, 2)), tmp_path)
    translate = load_translator(tmp_path, no_dropout=True)
    levels = ((image[0].permute(1, 2, 0) + 1) * 127.5).round().numpy().astype(np.uint8)
    assert abs(translate(levels, tile=64).astype(int) - translate(levels)).max() <= 1


def test_maps_in_files_are_the_maps_in_memory(image, tmp_path, monkeypatch):
    save(network('unet_32', 'instance'), tmp_path)
    translate = load_translator(tmp_path, no_dropout=True)
    in_memory = translate(image, tile=64)
    monkeypatch.setattr(tiles, 'MEMORY_SHARE', 0.0)
    assert torch.equal(translate(image, tile=64), in_memory)
    stores = [kind(3, 5, 7, torch.device('cpu')) for kind in (MemoryStore, FileStore)]
    values, index = torch.randn(1, 3, 2, 4), (..., slice(1, 3), slice(2, 6))
    for store in stores:
        store.write((..., slice(0, 5), slice(0, 7)), torch.zeros(1, 3, 5, 7))
        store.write(index, values)
        assert torch.equal(store.read(index), values)
        assert store.read((..., slice(0, 5), slice(0, 7))).count_nonzero() == values.numel()


def test_noise_is_drawn_once_for_each_pixel(image, tmp_path, monkeypatch):
    """If the margins of tiles, or the statistics, saw other noise than the result, there would be seams."""
    net = init_weights(create_generator('resnet_2blocks', 3, 3, 4, 'instance', dropout=True), 'kaiming')
    save(net, tmp_path)
    drawn, forward = [], SeededDropout.forward
    monkeypatch.setattr(SeededDropout, 'forward', lambda self, x: (drawn.append(x.numel()), forward(self, x))[1])
    translate = load_translator(tmp_path)
    tiled = translate(image, tile=64, name='a')
    height, width = (-(-side // 4) for side in image.shape[2:])     # of the maps in the blocks, of 16 channels
    assert len(drawn) > 2 and sum(drawn) == 2 * 16 * height * width
    assert torch.equal(tiled, translate(image, tile=64, name='a'))
    assert (tiled - translate(image, tile=64, name='b')).abs().max() > 10 * LEVEL


@pytest.mark.parametrize('size', [(1, 1), (3, 200), (64, 64), (129, 65)])
@pytest.mark.parametrize('netG', ['resnet_2blocks', 'unet_32'])
def test_every_size_in_tiles(size, netG, tmp_path):
    save(network(netG, 'instance'), tmp_path)
    translate = load_translator(tmp_path, no_dropout=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    tiled = translate(pixels, tile=64)
    assert tiled.shape == pixels.shape
    if size != (1, 1):      # an instance norm of a constant image enlarges errors of rounding
        assert abs(tiled.astype(int) - translate(pixels)).max() <= 1


def test_an_array_on_disk_is_read_and_written_in_windows(tmp_path, image):
    """So the image need not fit into memory."""
    save(network('resnet_2blocks', 'instance'), tmp_path)
    translate = load_translator(tmp_path)
    pixels = ((image[0].permute(1, 2, 0) + 1) * 127.5).round().numpy().astype(np.uint8)
    np.save(tmp_path / 'in.npy', pixels)
    out = np.lib.format.open_memmap(tmp_path / 'out.npy', 'w+', np.uint8, pixels.shape)
    found = translate(np.load(tmp_path / 'in.npy', mmap_mode='r'), tile=64, out=out)
    out.flush()
    assert found is out and np.array_equal(np.load(tmp_path / 'out.npy'), translate(pixels, tile=64))


def test_auto_takes_tiles_only_if_the_image_does_not_fit(tmp_path, monkeypatch):
    save(network('resnet_2blocks', 'instance'), tmp_path)
    translation = load_translator(tmp_path).translation()
    cpu = torch.device('cpu')
    monkeypatch.setattr(tiles, 'free_memory', lambda device: 2**30)
    assert tiles.tile_side(translation, (300, 200), 'auto', cpu) == tiles.WHOLE
    assert tiles.tile_side(translation, (30000, 2000), 'auto', cpu) == tiles.DEFAULT_TILE
    for wrong in (0, 63, -5, 'all', 1.5):
        with pytest.raises(UserError):
            tiles.tile_side(translation, (300, 200), wrong, cpu)


@pytest.mark.parametrize('tile, sides', [(256, [256, 128, 64, 64]), ('auto', [512, 256, 128, 64, 64])])
def test_tiles_are_halved_when_memory_runs_out(tile, sides, tmp_path, monkeypatch, image, capfd):
    """It is said once, and later images begin with tiles that fit."""
    save(network('resnet_2blocks', 'instance'), tmp_path)
    translate = load_translator(tmp_path)
    expected, run, tried = translate(image, tile=64), tiles.translate_in_tiles, []

    def failing(translation, picture, code, side, *rest):
        tried.append(side)
        if side > 64:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return run(translation, picture, code, side, *rest)
    monkeypatch.setattr(tiles, 'translate_in_tiles', failing)
    monkeypatch.setattr(translate, 'computed', lambda *_: failing(None, None, None, tiles.WHOLE))
    assert torch.equal(translate(image, tile=tile), expected) and torch.equal(translate(image, tile=tile), expected)
    assert tried == ([tiles.WHOLE] if tile == 'auto' else []) + sides
    assert capfd.readouterr().err.count('note: ') == 1
    monkeypatch.setattr(tiles, 'translate_in_tiles', lambda *_: failing(None, None, None, tiles.WHOLE))
    with pytest.raises(ResourceError):
        translate(image, tile=tile)
    with pytest.raises(ResourceError, match='--tile auto'):
        translate(image)


def test_moments_add_up():
    x = torch.randn(1, 3, 8, 10) * 3 + 100
    for over, axes in (('planes', (2, 3)), ('all', (1, 2, 3))):
        moments = Moments(over)
        for part in x.split(4, dim=2):
            moments.add(part)
        mean, variance, count = moments.result()
        assert torch.allclose(mean, x.double().mean(axes, keepdim=True))
        assert torch.allclose(variance, x.double().var(axes, unbiased=False, keepdim=True))
        assert count == x.numel() // (3 if over == 'planes' else 1)
