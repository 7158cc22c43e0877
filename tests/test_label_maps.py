"""pix2pixHD and SPADE: losses of a step and layers by their formulas, public keys, label maps as planes of classes."""
import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from training import trainer_of

from models import load_translator
from models.nets.factory import fix_spectral_norms, spectral_norms
from models.nets.recompute import recompute
from models.networks import (
    EnhancedGenerator,
    ScaleDiscriminators,
    Spade,
    SpadeBlock,
    SpadeGenerator,
    class_colors,
    class_planes,
    create_generator,
)
from options import TrainOptions
from util.checkpoint import store
from util.errors import UserError
from util.raster import labels

TABLE = '0=0 0 170,1=255 0 0,5=0 255 255,7=0 0 255'
HD = ['--model', 'pix2pixhd', '--n_downsample_global', 2, '--n_blocks_global', 1, '--num_scales_D', 2]
SPADE = ['--model', 'spade', '--n_ups', 3, '--spade_nc', 4]


def label_maps(n=2, side=32, seed=4):
    """Images (n, 3, side, side) of the colors of TABLE in float64, and the number of the class of each pixel."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(4, (n, side // 4, side // 4), generator=generator)
    numbers = numbers.repeat_interleave(4, 1).repeat_interleave(4, 2)
    return class_colors(TABLE).double()[numbers].permute(0, 3, 1, 2), numbers


def batch_of_labels():
    A, _ = label_maps()
    B = 2 * torch.rand(A.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64) - 1
    return {'A': A, 'B': B, 'A_paths': ['0.png'] * 2}


# ---- label maps

def test_a_plane_for_each_class():
    image, numbers = label_maps()
    planes = class_planes(image, class_colors(TABLE))
    assert torch.equal(planes.argmax(1), numbers) and planes.shape == (2, 4, 32, 32)
    assert torch.equal(planes.sum(1), torch.ones(2, 32, 32, dtype=torch.float64)) and planes.unique().tolist() == [0, 1]
    assert class_planes(image, None) is image


def test_colors_between_classes_belong_to_the_nearest():
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    levels = ((image[0].permute(1, 2, 0) + 1) * 127.5).double()
    colors = torch.from_numpy(labels.parse(TABLE).colors).double()
    nearest = torch.cdist(levels.flatten(0, 1), colors).argmin(1).reshape(16, 16)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(class_planes(image, class_colors(TABLE)).argmax(1)[0], nearest)


# ---- objectives

def in_order(netD, planes, fake, real):
    """What D says in the order of a step: a spectral norm changes with each call."""
    fake, real = torch.cat([planes, fake], 1), torch.cat([planes, real], 1)
    return netD(fake), netD.features(real), netD.features(fake)


@pytest.mark.parametrize('table', [TABLE, ''])
@pytest.mark.parametrize('name', ['pix2pixhd', 'pix2pixhd enhancer', 'spade', 'spade syncbatch'])
def test_losses_of_a_step(name, table, exact_model):
    """G learns first, then D. Feature matching: L1 of all layers but the last, 10 times the mean over the scales."""
    more = {'pix2pixhd enhancer': ['--n_local_enhancers', 1, '--n_blocks_local', 1, '--ngf', 2],
            'spade syncbatch': ['--norm_S', 'syncbatch']}.get(name, [])
    model, batch = exact_model(*(HD if 'hd' in name else SPADE), '--labels_A', table, *more), batch_of_labels()
    before, A, B = copy.deepcopy(model.nets), batch['A'], batch['B']
    trainer_of(model).step(batch)
    planes = F.one_hot(label_maps()[1], 4).permute(0, 3, 1, 2).double() if table else A
    fake = before['G'](planes)
    on_fake, wanted, found = in_order(before['D'], planes, fake, B)
    feat = sum((x - y).abs().mean() for ours, theirs in zip(found, wanted, strict=True)
               for x, y in zip(ours, theirs, strict=True)) / 2
    real_pair, fake_pair = torch.cat([planes, B], 1), torch.cat([planes, fake], 1)
    real, generated = before['D'](real_pair), before['D'](fake_pair)
    if 'hd' in name:
        expected = dict(G_GAN=sum((scale - 1).square().mean() for scale in on_fake), feat=10 * feat,
                        D_real=sum((scale - 1).square().mean() for scale in real),
                        D_fake=sum(scale.square().mean() for scale in generated))
    else:
        expected = dict(G_GAN=-sum(scale.mean() for scale in on_fake), feat=10 * feat,
                        D_real=sum((1 - scale).clamp(min=0).mean() for scale in real),
                        D_fake=sum((1 + scale).clamp(min=0).mean() for scale in generated))
    assert [len(features) for features in found] == [4, 4]
    assert {name: value.item() for name, value in model.losses.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-9)


@pytest.mark.parametrize('words, factor', [(HD, 0.5), (SPADE, 1.0)])
def test_the_discriminators_loss_is_halved_by_pix2pixhd_alone(words, factor, exact_model):
    model = exact_model(*words)
    model.set_input(batch_of_labels())
    model.forward()
    loss = model.loss_D()
    assert loss.item() == pytest.approx(factor * (model.noted['D_real'] + model.noted['D_fake']).item())


def test_defaults_of_the_papers(train_options, aligned_root):
    hd, spade = (TrainOptions().parse(['--dataroot', str(aligned_root), '--model', name])
                 for name in ('pix2pixhd', 'spade'))
    assert (hd.gan_mode, hd.lambda_feat, hd.lr, hd.beta1, hd.num_scales_D, hd.n_downsample_global) == \
        ('lsgan', 10, 2e-4, 0.5, 3, 4)
    assert (spade.gan_mode, spade.lambda_feat, spade.lr, spade.lr_D, spade.beta1, spade.beta2, spade.init_type) == \
        ('hinge', 10, 1e-4, 4e-4, 0, 0.9, 'xavier')
    assert spade.spectral_norm_D and spade.spectral_norm_G and hd.lambda_perceptual == spade.lambda_perceptual == 0
    weights = aligned_root / 'vgg.pth'
    weights.touch()
    opt = train_options('--dataroot', aligned_root, *HD, '--perceptual_weights', weights, '--no_spectral_norm_D')
    assert opt.lambda_perceptual == 10 and not opt.spectral_norm_D


# ---- networks

def test_spade_by_its_formula():
    layer = Spade(6, 4, 'instance', 5).double()
    x, planes = torch.randn(2, 6, 8, 8, dtype=torch.float64), torch.randn(2, 4, 16, 16, dtype=torch.float64)
    normalized = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    hidden = F.conv2d(planes[:, :, ::2, ::2], layer.shared.weight, layer.shared.bias, padding=1).clamp(min=0)
    scale, shift = (F.conv2d(hidden, conv.weight, conv.bias, padding=1) for conv in (layer.gamma, layer.beta))
    torch.testing.assert_close(layer(x, planes), normalized * (1 + scale) + shift)


@pytest.mark.parametrize('before, after', [(4, 4), (8, 4)])
def test_a_spade_block_by_its_formula(before, after):
    block = SpadeBlock(before, after, 3, 'instance', 5).double()
    x, planes = torch.randn(2, before, 8, 8, dtype=torch.float64), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    y = block.conv_0(F.leaky_relu(block.norm_0(x, planes), 0.2))
    assert y.shape[1] == min(before, after)
    y = block.conv_1(F.leaky_relu(block.norm_1(y, planes), 0.2))
    expected = y + (x if before == after else block.conv_s(block.norm_s(x, planes)))
    torch.testing.assert_close(block(x, planes), expected)
    assert hasattr(block, 'conv_s') == (before != after)


def test_a_spade_generator_begins_at_any_size():
    """The blocks and their weights are the same; the size is doubled before the last ones."""
    nets = {n: SpadeGenerator(4, 3, 1, 'instance', n, 2) for n in (1, 3, 5)}
    for n, net in nets.items():
        sizes = []
        for block in net.blocks:
            block.register_forward_hook(lambda block, inputs, output, sizes=sizes: sizes.append(output.shape[-1]))
        assert net(torch.rand(1, 4, 64, 64)).shape == (1, 3, 64, 64) and net.multiple == 2**n
        assert sizes[0] == 64 // 2**n and sizes[-1] == 64
        net.load_state_dict(nets[5].state_dict())


def convs(*table):
    """{key: shape} of weights and biases; transposed convolutions have their inputs first."""
    transposed = ('model.25', 'model.28', 'model.31', 'model.34', 'model1_2.3')
    return {**{f'{key}.weight': tuple(shape) for key, *shape in table},
            **{f'{key}.bias': (shape[key in transposed],) for key, *shape in table}}


def test_keys_of_the_public_checkpoint_of_pix2pixhd():
    """label2city_1024p: 35 classes and the boundaries of instances, --n_local_enhancers 1 --ngf 32."""
    with torch.device('meta'):
        net = EnhancedGenerator(36, 3, 32)
    widths = [64, 128, 256, 512, 1024]
    downs = [(f'model.{4 + 3 * n}', widths[n + 1], widths[n], 3, 3) for n in range(4)]
    blocks = [(f'model.{index}.conv_block.{conv}', 1024, 1024, 3, 3) for index in range(16, 25) for conv in (1, 5)]
    ups = [(f'model.{25 + 3 * n}', widths[4 - n], widths[3 - n], 3, 3) for n in range(4)]
    local = [(f'model1_2.{index}.conv_block.{conv}', 64, 64, 3, 3) for index in range(3) for conv in (1, 5)]
    assert {key: tuple(value.shape) for key, value in net.state_dict().items()} == convs(
        ('model.1', 64, 36, 7, 7), *downs, *blocks, *ups, ('model1_1.1', 32, 36, 7, 7), ('model1_1.4', 64, 32, 3, 3),
        *local, ('model1_2.3', 64, 32, 3, 3), ('model1_2.7', 3, 32, 7, 7))
    keys = {key for key in ScaleDiscriminators(6, 2, 3, 'instance', 2).state_dict()}
    assert keys == {f'scale{scale}_layer{layer}.0.{kind}' for scale in range(2) for layer in range(5)
                    for kind in ('weight', 'bias')}


def test_the_last_discriminator_sees_the_full_size():
    net, image = ScaleDiscriminators(3, 2, 2, 'instance', 3), torch.rand(1, 3, 32, 48)
    half = F.avg_pool2d(image, 3, 2, 1, count_include_pad=False)
    for found, scale, seen in zip(net(image), (2, 1), (image, half), strict=False):
        for layer in range(4):
            seen = getattr(net, f'scale{scale}_layer{layer}')(seen)
        torch.testing.assert_close(found, seen)


def test_an_enhancer_adds_to_the_coarse_features():
    net, image = EnhancedGenerator(3, 2, 2, 'instance', 2, 1, 1, 1), torch.rand(1, 3, 32, 24)
    coarse = net.model(F.avg_pool2d(image, 3, 2, 1, count_include_pad=False))
    torch.testing.assert_close(net(image), net.model1_2(net.model1_1(image) + coarse))
    assert net(image).shape == (1, 2, 32, 24)
    assert EnhancedGenerator(3, 2, 2, 'instance', 1, 1, 2, 1)(image).shape == (1, 2, 32, 24)


# ---- spectral norms of generators

def test_generators_have_spectral_norms():
    net = spectral_norms(create_generator('resnet_1blocks', 3, 3, 2))
    for _ in range(80):
        net(torch.zeros(1, 3, 8, 8))
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-2)
        if isinstance(layer, torch.nn.ConvTranspose2d):
            matrix = layer.weight.transpose(0, 1).flatten(1)
            assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=1e-2)
    fix_spectral_norms(net)
    image = torch.randn(1, 3, 8, 8)
    assert torch.equal(net(image), net(image))


def test_recomputed_layers_have_the_weights_of_the_first_computation():
    plain = spectral_norms(SpadeGenerator(3, 3, 2, 'instance', 2, 2))
    again = copy.deepcopy(plain)
    assert recompute(again)
    image = torch.rand(2, 3, 16, 16)
    for net in (plain, again):
        net(image).square().sum().backward()
    for (key, ours), theirs in zip(plain.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=key)
    assert all(map(torch.equal, plain.buffers(), again.buffers()))


# ---- options, and the programs

@pytest.mark.parametrize('argv, words', [
    ([*SPADE, '--crop_size', 36], ['--crop_size 36', 'multiple of 8', '--n_ups 3']),
    ([*SPADE, '--n_ups', 5], ['--crop_size 32', '64', '--n_ups 5']),
    ([*HD, '--n_local_enhancers', 3], ['--n_downsample_global 2 --n_local_enhancers 3', '64']),
    ([*HD, '--gan_mode', 'wgangp'], ['--gan_mode wgangp']),
    (['--model', 'munit', '--spectral_norm_G'], ['--spectral_norm_G'])])
def test_options_that_do_not_fit(argv, words, train_options, aligned_root):
    with pytest.raises(UserError) as caught:
        train_options('--dataroot', aligned_root, *argv)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.fixture
def labelled_root(tmp_path):
    """Photos with label maps to their right, which have the numbers of the classes 0 to 2 as colors."""
    rng = np.random.default_rng(3)
    colors = np.array([(0, 0, 170), (255, 0, 0), (0, 255, 255)], np.uint8)
    for phase, count in (('train', 4), ('test', 2)):
        (tmp_path / 'labelled' / phase).mkdir(parents=True)
        for index in range(count):
            maps = colors[rng.integers(0, 3, (5, 5)).repeat(8, 0).repeat(8, 1)]
            photo = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(np.hstack([photo, maps])).save(tmp_path / 'labelled' / phase / f'{index}.png')
    return tmp_path / 'labelled'


@pytest.mark.sample(1)
@pytest.mark.parametrize('model', ['pix2pixhd', 'spade'])
def test_a_run_on_label_maps_is_tested_and_translated_alike(model, runs, labelled_root):
    """The networks see the 3 classes that were found; the translator gives the images of test.py."""
    words = ['--dataroot', labelled_root, '--direction', 'BtoA', '--labels_B', 'auto', '--n_epochs', 1,
             '--n_epochs_decay', 0, '--spectral_norm_G']
    assert runs.begin(model, 'run', *words).code == 0
    done = runs.test('run', '--preprocess', 'none')
    assert (done.code, done.err) == (0, '')
    translate = load_translator(runs.folder / 'run')
    first = next(value for value in translate.translation().net.parameters() if value.ndim == 4)
    assert first.shape[1] == 3 or first.shape[0] == 2 and translate.translation().channels_seen == 3
    pair = torch.from_numpy(np.asarray(Image.open(labelled_root / 'test/0.png')).copy()).permute(2, 0, 1) / 127.5 - 1
    ours = translate(pair[None, :, :, 40:])[0]
    written = np.asarray(Image.open(runs.folder / 'results/run/test_latest/images/0_fake_B.png'))
    assert np.abs(np.rint((ours.permute(1, 2, 0).numpy() + 1) * 127.5) - written).max() <= 1


def test_an_enhancer_starts_from_a_coarse_generator(runs):
    assert runs.begin('pix2pixhd', 'coarse', '--n_local_enhancers', 0, '--ngf', 4, '--n_epochs', 1).code == 0
    words = ['--init_from', runs.folder / 'coarse', '--init_partial', '--freeze', 'G.model', '--ngf', 2,
             '--n_epochs', 1]
    assert runs.begin('pix2pixhd', 'fine', *words).code == 0
    coarse, fine = (store.read(runs.folder / name / 'latest_net_G.pth') for name in ('coarse', 'fine'))
    kept = [key for key in fine if key.startswith('model.')]
    assert len(kept) == 2 * 7 and all(torch.equal(fine[key], coarse[key]) for key in kept)
