"""Networks against tables of their layers, counts of parameters, sizes and fields of view."""
import itertools

import pytest
import torch
from torch import nn

from models import catalog
from models.nets import convolutions
from models.nets.convolutions import DoublingConv2d, HalvingConv2d
from models.networks import (
    create_discriminator,
    create_generator,
    describe_generator,
    init_weights,
    mixes_batch,
)

NORMS = ('instance', 'batch', 'none', 'syncbatch')
WIDTHS_UNET = (1, 2, 4, 8, 8, 8, 8, 8)      # times ngf
PATCHES_OF_256 = {1: 126, 2: 62, 3: 30, 4: 14, 5: 6, 6: 2}
FIELDS_OF_VIEW = {'patch16': 16, 'patch70': 70, 'basic': 70, 'patch286': 286}

# (network, norm): (parameters, tensors in the state_dict) with 3 channels in and out, ngf = ndf = 64
COUNTS = {
    ('resnet_6blocks', 'batch'): (7_841_411, 104), ('resnet_6blocks', 'instance'): (7_837_699, 36),
    ('resnet_6blocks', 'none'): (7_833_987, 19), ('resnet_9blocks', 'batch'): (11_383_427, 140),
    ('resnet_9blocks', 'instance'): (11_378_179, 48), ('resnet_9blocks', 'none'): (11_372_931, 25),
    ('unet_128', 'batch'): (41_828_995, 70), ('unet_128', 'instance'): (41_825_667, 28),
    ('unet_128', 'none'): (41_821_187, 15), ('unet_256', 'batch'): (54_413_955, 82),
    ('unet_256', 'instance'): (54_409_603, 32), ('unet_256', 'none'): (54_404_099, 17),
    ('basic 3', 'batch'): (2_765_633, 22), ('basic 3', 'instance'): (2_764_737, 10),
    ('basic 3', 'none'): (2_763_841, 7), ('basic 6', 'batch'): (2_768_705, 22),
    ('basic 6', 'instance'): (2_767_809, 10), ('basic 6', 'none'): (2_766_913, 7),
    ('pixel 3', 'batch'): (8_832, 9), ('pixel 3', 'instance'): (8_705, 6), ('pixel 3', 'none'): (8_576, 4),
    ('pixel 6', 'batch'): (9_024, 9), ('pixel 6', 'instance'): (8_897, 6), ('pixel 6', 'none'): (8_768, 4),
    ('patch16 3', 'instance'): (136_385, 6), ('patch286 3', 'instance'): (11_154_369, 14),
}


# ---- tables of layers: (key, what, shape of the weight). `conv` and `up` (transposed) have a bias by the rule of the
# norms, with `+bias` they always have one

def resnet_table(blocks, dropout, ngf=4, input_nc=1, output_nc=2):
    second_conv, second_norm = (6, 7) if dropout else (5, 6)
    yield 'model.1', 'conv', (ngf, input_nc, 7, 7)
    yield 'model.2', 'norm', ngf
    yield 'model.4', 'conv', (2 * ngf, ngf, 3, 3)
    yield 'model.5', 'norm', 2 * ngf
    yield 'model.7', 'conv', (4 * ngf, 2 * ngf, 3, 3)
    yield 'model.8', 'norm', 4 * ngf
    for block in range(10, 10 + blocks):
        yield f'model.{block}.conv_block.1', 'conv', (4 * ngf, 4 * ngf, 3, 3)
        yield f'model.{block}.conv_block.2', 'norm', 4 * ngf
        yield f'model.{block}.conv_block.{second_conv}', 'conv', (4 * ngf, 4 * ngf, 3, 3)
        yield f'model.{block}.conv_block.{second_norm}', 'norm', 4 * ngf
    yield f'model.{10 + blocks}', 'up', (4 * ngf, 2 * ngf, 3, 3)
    yield f'model.{11 + blocks}', 'norm', 2 * ngf
    yield f'model.{13 + blocks}', 'up', (2 * ngf, ngf, 3, 3)
    yield f'model.{14 + blocks}', 'norm', ngf
    yield f'model.{17 + blocks}', 'conv+bias', (output_nc, ngf, 7, 7)


def unet_table(levels, skips, ngf=4, input_nc=1, output_nc=2):
    width = [ngf * factor for factor in WIDTHS_UNET[:levels]]
    prefix = ['model.model', *('model.model.1.model' + '.3.model' * depth for depth in range(levels - 1))]
    joined = 2 if skips else 1
    last = levels - 1
    yield 'model.model.0', 'conv', (width[0], input_nc, 4, 4)
    for level in range(1, last):
        yield f'{prefix[level]}.1', 'conv', (width[level], width[level - 1], 4, 4)
        yield f'{prefix[level]}.2', 'norm', width[level]
    yield f'{prefix[last]}.1', 'conv', (width[last], width[last - 1], 4, 4)
    yield f'{prefix[last]}.3', 'up', (width[last], width[last - 1], 4, 4)
    yield f'{prefix[last]}.4', 'norm', width[last - 1]
    for level in range(last - 1, 0, -1):
        yield f'{prefix[level]}.5', 'up', (joined * width[level], width[level - 1], 4, 4)
        yield f'{prefix[level]}.6', 'norm', width[level - 1]
    yield 'model.model.3', 'up+bias', (joined * width[0], output_nc, 4, 4)


def patch_table(widths, ndf=4, input_nc=3):
    """`widths` in ndf of the layers between the first and the last."""
    yield 'model.0', 'conv+bias', (ndf, input_nc, 4, 4)
    before = ndf
    for n, width in enumerate(widths, 1):
        yield f'model.{3 * n - 1}', 'conv', (width * ndf, before, 4, 4)
        yield f'model.{3 * n}', 'norm', width * ndf
        before = width * ndf
    yield f'model.{3 * len(widths) + 2}', 'conv+bias', (1, before, 4, 4)


PIXEL_TABLE = (('net.0', 'conv+bias', (4, 3, 1, 1)), ('net.2', 'conv', (8, 4, 1, 1)), ('net.3', 'norm', 8),
               ('net.5', 'conv', (1, 8, 1, 1)))

GENERATORS = {
    ('resnet_6blocks', False): resnet_table(6, False), ('resnet_6blocks', True): resnet_table(6, True),
    ('resnet_9blocks', False): resnet_table(9, False), ('resnet_9blocks', True): resnet_table(9, True),
    ('unet_128', False): unet_table(7, True), ('unet_128', True): unet_table(7, True),
    ('unet_256', True): unet_table(8, True), ('encdec_256', True): unet_table(8, False),
    ('encdec_128', False): unet_table(7, False),
}
GENERATORS = {key: tuple(table) for key, table in GENERATORS.items()}
DISCRIMINATORS = {
    ('basic', 3): tuple(patch_table((2, 4, 8))), ('patch70', 1): tuple(patch_table((2, 4, 8))),
    ('patch16', 3): tuple(patch_table((2,))), ('patch286', 3): tuple(patch_table((2, 4, 8, 8, 8))),
    ('n_layers', 1): tuple(patch_table((2,))), ('n_layers', 2): tuple(patch_table((2, 4))),
    ('n_layers', 4): tuple(patch_table((2, 4, 8, 8))), ('pixel', 3): PIXEL_TABLE,
}


def written_out(table, norm):
    """The state_dict of a table as [(key, shape)]."""
    tensors = []
    for key, what, shape in table:
        if what == 'norm':
            kinds = ('weight', 'bias', 'running_mean', 'running_var') if 'batch' in norm else ()
            tensors += [(f'{key}.{kind}', (shape,)) for kind in kinds]
            tensors += [(f'{key}.num_batches_tracked', ())] * bool(kinds)
            continue
        tensors.append((f'{key}.weight', shape))
        if what.endswith('+bias') or norm == 'instance':
            tensors.append((f'{key}.bias', (shape[what.startswith('up')],)))
    return tensors


def assert_layers(net, table, norm):
    assert [(key, tuple(value.shape)) for key, value in net.state_dict().items()] == written_out(table, norm)


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('netG, dropout', GENERATORS)
def test_layers_of_generators(netG, dropout, norm):
    assert_layers(create_generator(netG, 1, 2, 4, norm, dropout), GENERATORS[netG, dropout], norm)


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('netD, n_layers', DISCRIMINATORS)
def test_layers_of_discriminators(netD, n_layers, norm):
    assert_layers(create_discriminator(netD, 3, 4, n_layers, norm), DISCRIMINATORS[netD, n_layers], norm)


@pytest.mark.parametrize('name, norm', COUNTS)
def test_counts_of_parameters(name, norm):
    with torch.device('meta'):
        if ' ' in name:
            netD, channels = name.split()
            net = create_discriminator(netD, int(channels), 64, 3, norm)
        else:
            net = create_generator(name, 3, 3, 64, norm, dropout=True)
    counted = sum(parameter.numel() for parameter in net.parameters())
    assert (counted, len(net.state_dict())) == COUNTS[name, norm]


def test_every_offered_discriminator_and_norm_is_built():
    for netD, norm in itertools.product(catalog.NET_D, catalog.NORMS):
        net = create_discriminator(netD, 3, 1, 3, norm).eval()
        assert net(torch.zeros(2, 3, 96, 96)).shape[:2] == (2, 1)


# ---- sizes

@pytest.mark.parametrize('n_layers', PATCHES_OF_256)
def test_patches_of_256(n_layers):
    net = create_discriminator('n_layers', 3, 1, n_layers, 'instance')
    assert net(torch.zeros(1, 3, 256, 256)).shape == (1, 1, PATCHES_OF_256[n_layers], PATCHES_OF_256[n_layers])


@pytest.mark.parametrize('side, patches', [(128, 14), (64, 6), (32, 2)])
def test_patches_of_basic(side, patches):
    assert create_discriminator('basic', 3, 1)(torch.zeros(1, 3, side, side)).shape[-2:] == (patches, patches)


def test_pixel_discriminator_keeps_the_size():
    assert create_discriminator('pixel', 3, 2)(torch.zeros(2, 3, 5, 7)).shape == (2, 1, 5, 7)


@pytest.mark.parametrize('netD', FIELDS_OF_VIEW)
def test_field_of_view(netD):
    net = create_discriminator(netD, 1, 1, norm='none').double()
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.1)       # so that no two paths cancel
    strip = torch.ones(1, 1, 1024, 96, dtype=torch.float64, requires_grad=True)
    patches = net(strip)
    patches[0, 0, patches.shape[2] // 2, 0].backward()
    rows = strip.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert len(rows) == rows[-1] - rows[0] + 1 == FIELDS_OF_VIEW[netD]
    assert rows[0] > 0 and rows[-1] < 1023


@pytest.mark.parametrize('netD', [netD for netD in catalog.NET_D if netD != 'pixel'])
def test_smallest_image_is_the_smallest(netD):
    side = catalog.smallest_image(netD, n_layers_D=2)
    net = create_discriminator(netD, 3, 1, 2, 'instance')
    assert net(torch.rand(1, 3, side, side)).numel() > 0
    with pytest.raises(ValueError, match='more than 1 spatial element'):
        net(torch.rand(1, 3, side - 1, side - 1))


@pytest.mark.parametrize('netG, height, width', [
    ('resnet_6blocks', 36, 20), ('resnet_2blocks', 8, 12), ('unet_32', 32, 64), ('unet_128', 128, 256),
    ('encdec_32', 64, 32)])
def test_output_has_the_size_of_the_input(netG, height, width):
    multiple = catalog.size_multiple(netG)
    assert height % multiple == 0 and width % multiple == 0
    output = create_generator(netG, 1, 2, 2, 'instance')(torch.rand(1, 1, height, width))
    assert output.shape == (1, 2, height, width)
    assert output.abs().max() <= 1


@pytest.mark.parametrize('height, width, result', [(62, 66, (64, 68)), (65, 67, (68, 68))])
def test_resnet_takes_any_size(height, width, result):
    assert create_generator('resnet_6blocks', 3, 3, 1)(torch.rand(1, 3, height, width)).shape[-2:] == result


@pytest.mark.parametrize('netG, multiple', [('unet_128', 128), ('unet_256', 256), ('encdec_64', 64)])
def test_unet_refuses_other_sizes(netG, multiple):
    assert catalog.size_multiple(netG) == multiple
    for height, width in ((multiple, multiple + 32), (multiple // 2, multiple)):
        with pytest.raises(ValueError, match=f'multiples of {multiple}, not {width}x{height}'):
            create_generator(netG, 3, 3, 1)(torch.zeros(1, 3, height, width))


@pytest.mark.parametrize('name, parsed', [
    ('resnet_9blocks', ('resnet', 9)), ('resnet_12blocks', ('resnet', 12)), ('unet_256', ('unet', 8)),
    ('unet_32', ('unet', 5)), ('encdec_512', ('encdec', 9))])
def test_names_of_generators(name, parsed):
    assert catalog.parse_netG(name) == parsed


@pytest.mark.parametrize('name', ['', 'unet', 'unet256', 'unet_255', 'unet_16', 'unet_0', 'resnet_blocks',
                                  'resnet_9block', 'xunet_256', 'unet_256x', 'basic'])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match='is not a generator'):
        create_generator(name, 3, 3)


# ---- structure that keys do not show

@torch.no_grad()
def test_only_skips_go_around_the_bottleneck():
    first, second = torch.rand(2, 1, 3, 32, 32)
    for netG, depends in (('unet_32', True), ('encdec_32', False)):
        net = create_generator(netG, 3, 3, 4, 'none')
        nn.init.zeros_(net.get_parameter('model.model.1.model' + '.3.model' * 3 + '.1.weight'))
        assert torch.equal(net(first), net(second)) is not depends


@pytest.mark.parametrize('netG, places', [
    ('resnet_6blocks', [f'model.{block}.conv_block.4' for block in range(10, 16)]),
    ('unet_128', ['model.model.1.model' + '.3.model' * depth + '.7' for depth in (3, 4)]),
    ('unet_256', ['model.model.1.model' + '.3.model' * depth + '.7' for depth in (3, 4, 5)]),
    ('encdec_256', ['model.model.1.model' + '.3.model' * depth + '.7' for depth in (3, 4, 5)]),
])
def test_places_of_dropout(netG, places):
    def dropouts(net):
        return {name: module.p for name, module in net.named_modules() if isinstance(module, nn.Dropout)}
    assert dropouts(create_generator(netG, 3, 3, 1, dropout=True)) == dict.fromkeys(places, 0.5)
    assert dropouts(create_generator(netG, 3, 3, 1, dropout=False)) == {}


def test_norms_are_those_of_the_checkpoints():
    layers = {norm: create_discriminator('basic', 3, 2, norm=norm).model[3] for norm in NORMS}
    for norm in ('batch', 'syncbatch'):
        assert (layers[norm].eps, layers[norm].momentum) == (1e-5, 0.1)
        assert layers[norm].affine and layers[norm].track_running_stats
    assert isinstance(layers['syncbatch'], nn.BatchNorm2d) and isinstance(layers['batch'], nn.BatchNorm2d)
    assert isinstance(layers['instance'], nn.InstanceNorm2d) and layers['instance'].eps == 1e-5
    assert not layers['instance'].affine and not layers['instance'].track_running_stats


# ---- initial weights

def some_layers():
    return nn.Sequential(nn.Conv2d(256, 256, 3), nn.ConvTranspose2d(256, 128, 3), nn.BatchNorm2d(4096),
                         nn.SyncBatchNorm(4096), nn.InstanceNorm2d(4096, affine=True), nn.Linear(512, 512))


@pytest.mark.parametrize('init_type, std, std_transposed, std_linear', [
    ('normal', 0.02, 0.02, 0.02),
    ('xavier', 0.02 * (2 / (2 * 256 * 9)) ** 0.5, 0.02 * (2 / ((128 + 256) * 9)) ** 0.5, 0.02 * (1 / 512) ** 0.5),
    ('kaiming', (2 / (256 * 9)) ** 0.5, (2 / (128 * 9)) ** 0.5, (2 / 512) ** 0.5),
    ('orthogonal', 0.02 * (1 / (256 * 9)) ** 0.5, 0.02 * (1 / (128 * 9)) ** 0.5, 0.02 * (1 / 512) ** 0.5),
])
def test_initial_weights(init_type, std, std_transposed, std_linear):
    conv, transposed, batch, sync, instance, linear = init_weights(some_layers(), init_type, 0.02)
    for layer, wanted in ((conv, std), (transposed, std_transposed), (linear, std_linear)):
        assert layer.weight.std().item() == pytest.approx(wanted, rel=0.02)
        assert layer.weight.mean().item() == pytest.approx(0, abs=wanted * 0.02)
        assert not layer.bias.any()
    for norm in (batch, sync):
        assert norm.weight.mean().item() == pytest.approx(1, abs=0.002)
        assert norm.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not norm.bias.any()
    assert (instance.weight == 1).all()


@pytest.mark.parametrize('init_type, factor', [('normal', 25), ('xavier', 25), ('orthogonal', 25), ('kaiming', 1)])
def test_gain_scales_initial_weights(init_type, factor):
    small, large = (init_weights(some_layers(), init_type, gain)[0].weight.std().item() for gain in (0.02, 0.5))
    assert large / small == pytest.approx(factor, rel=0.02)


def test_orthogonal_weights_are_orthogonal():
    weight = init_weights(some_layers(), 'orthogonal', 0.5)[0].weight.flatten(1)
    assert torch.allclose(weight @ weight.T, 0.25 * torch.eye(256), atol=1e-5)


# ---- what is known of a network

@pytest.mark.parametrize('norm', ('instance', 'batch', 'none'))
@pytest.mark.parametrize('dropout', (False, True))
@pytest.mark.parametrize('netG', ('resnet_6blocks', 'resnet_9blocks', 'resnet_1blocks', 'unet_32', 'unet_128',
                                  'unet_256', 'encdec_32', 'encdec_256', 'antialiased resnet_2blocks'))
def test_weights_tell_their_options(netG, norm, dropout):
    antialias, netG = ' ' in netG, netG.rpartition(' ')[2]
    with torch.device('meta'):
        weights = create_generator(netG, 1, 2, 6, norm, dropout, antialias).state_dict()
    wanted = dict(netG=netG, input_nc=1, output_nc=2, ngf=6, norm=norm)
    if netG.startswith('resnet'):
        wanted.update(no_dropout=not dropout, antialias=antialias)
    assert describe_generator(weights) == wanted


@pytest.mark.parametrize('weights', [
    {}, {'weight': torch.zeros(3)}, {'model.1.weight': torch.zeros(1, 1, 3, 3)},
    create_discriminator('basic', 3, 2).state_dict(), create_discriminator('pixel', 3, 2).state_dict()])
def test_other_weights_are_no_generator(weights):
    assert describe_generator(weights) is None


@pytest.mark.parametrize('netG', ('resnet_1blocks', 'unet_128'))
@pytest.mark.parametrize('norm, dropout, training, evaluating', [
    ('instance', False, False, False), ('none', False, False, False), ('instance', True, True, False),
    ('batch', False, True, False), ('syncbatch', False, True, False), ('batch', True, True, False)])
def test_which_networks_mix_a_batch(netG, norm, dropout, training, evaluating):
    net = create_generator(netG, 3, 3, 1, norm, dropout)
    assert mixes_batch(net) is training
    assert mixes_batch(net.eval()) is evaluating


@pytest.mark.parametrize('netG', ['resnet_1blocks', 'unet_32', 'encdec_32'])
def test_resizing_replaces_transposed_convolutions(netG):
    """Nearest neighbors, then a 3x3 convolution of the image with its borders reflected."""
    net = create_generator(netG, 3, 2, 4, upsample='resize')
    assert not any(isinstance(module, nn.ConvTranspose2d) for module in net.modules())
    inputs, outputs = [], []
    for module in net.modules():
        if isinstance(module, nn.Upsample):
            module.register_forward_hook(lambda _, given, output: inputs.extend(given))
            module.register_forward_hook(lambda _, given, output: outputs.append(output))
    assert net(torch.rand(1, 3, 32, 32)).shape == (1, 2, 32, 32)
    assert len(inputs) == (2 if netG.startswith('resnet') else 5)
    assert all(torch.equal(y, x.repeat_interleave(2, 2).repeat_interleave(2, 3))
               for x, y in zip(inputs, outputs, strict=True))


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('images, height, width', [(1, 2, 2), (1, 2, 8), (3, 4, 4), (1, 8, 8)])
@pytest.mark.parametrize('kind, scale', [(HalvingConv2d, 0.5), (DoublingConv2d, 2)])
def test_convolutions_of_small_maps_are_matrix_products(monkeypatch, kind, scale, images, height, width, bias):
    """With the channels last, as when translating on a CPU; equal to plain convolutions."""
    last = {'memory_format': torch.channels_last}
    layer, x = kind(5, 7, bias), torch.randn(images, 5, height, width)
    plain = layer(x)
    assert plain.shape == (images, 7, height * scale, width * scale)
    monkeypatch.setattr(convolutions.F, 'conv2d', None)
    monkeypatch.setattr(convolutions.F, 'conv_transpose2d', None)
    assert torch.allclose(layer.to(**last)(x.contiguous(**last)), plain, atol=1e-6)
    with pytest.raises(TypeError):      # a larger map, or another number format
        layer(torch.randn(1, 5, 64, 64))
    with pytest.raises(TypeError):
        layer.double()(x.double())
