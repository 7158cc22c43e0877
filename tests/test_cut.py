"""CUT and FastCUT: networks of the public checkpoints, losses by their formulas, and what the method asks for.

Gradients of a whole step are compared with a plain formulation in test_speed.py.
"""
import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from training import trainer_of

from models.feature_losses import patch_nce
from models.nets.convolutions import Downsample, Upsample
from models.networks import PatchSampler, create_discriminator, create_generator
from options import TrainOptions
from util.errors import UserError

TINY = ['--model', 'cut', '--netG', 'resnet_5blocks', '--netF_nc', 6, '--num_patches', 9, '--batch_size', 2]


@pytest.fixture
def built(exact_model):
    """built('--CUT_mode', 'FastCUT') -> a model in float64."""
    return partial(exact_model, *TINY)


def images(n=2):
    generator = torch.Generator().manual_seed(4)
    A, B = 2 * torch.rand(2, n, 3, 32, 32, generator=generator, dtype=torch.float64) - 1
    return {'A': A, 'B': B, 'A_paths': ['0.png'] * n}


# ---- networks

def keys_of(*table):
    """(key, shape of the weight) for each pair; a convolution has a bias too."""
    expected = {}
    for key, *shape in table:
        expected[key if key.endswith('filt') else f'{key}.weight'] = tuple(shape)
        if not key.endswith('filt'):
            expected[f'{key}.bias'] = (shape[0],)
    return expected


def shapes(net):
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


def test_the_generator_has_the_keys_of_public_checkpoints():
    with torch.device('meta'):
        net = create_generator('resnet_9blocks', 3, 3, 64, 'instance', antialias=True)
    blocks = [(f'model.{index}.conv_block.{conv}', 256, 256, 3, 3) for index in range(12, 21) for conv in (1, 5)]
    assert shapes(net) == keys_of(
        ('model.1', 64, 3, 7, 7), ('model.4', 128, 64, 3, 3), ('model.7.filt', 128, 1, 3, 3),
        ('model.8', 256, 128, 3, 3), ('model.11.filt', 256, 1, 3, 3), *blocks, ('model.21.filt', 256, 1, 4, 4),
        ('model.22', 128, 256, 3, 3), ('model.25.filt', 128, 1, 4, 4), ('model.26', 64, 128, 3, 3),
        ('model.30', 3, 64, 7, 7))


def test_the_discriminator_has_the_keys_of_public_checkpoints():
    net = create_discriminator('basic', 3, 64, norm='instance', antialias=True)
    assert shapes(net) == keys_of(
        ('model.0', 64, 3, 4, 4), ('model.2.filt', 64, 1, 3, 3), ('model.3', 128, 64, 4, 4),
        ('model.6.filt', 128, 1, 3, 3), ('model.7', 256, 128, 4, 4), ('model.10.filt', 256, 1, 3, 3),
        ('model.11', 512, 256, 4, 4), ('model.14', 1, 512, 4, 4))
    assert net(torch.zeros(1, 3, 256, 256)).shape == create_discriminator('basic', 3)(torch.zeros(1, 3, 256, 256)).shape


def test_the_sampler_has_the_keys_of_public_checkpoints():
    with torch.device('meta'):
        generator = create_generator('resnet_9blocks', 3, 3, antialias=True)
    channels = generator.channels((0, 4, 8, 12, 16))
    assert channels == [3, 128, 256, 256, 256]
    assert shapes(PatchSampler(channels)) == keys_of(*(
        (f'mlp_{index}.{layer}', 256, nc if layer == 0 else 256)
        for index, nc in enumerate(channels) for layer in (0, 2)))


@pytest.mark.parametrize('size', [(8, 6), (7, 5), (2, 3)])
def test_sizes_are_halved_and_doubled_by_the_formula(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    row = torch.tensor([1., 2., 1.], dtype=torch.float64)
    kernel = (row[:, None] * row / 16).expand(3, 1, 3, 3)
    expected = F.conv2d(F.pad(x, (1,) * 4, mode='reflect'), kernel, stride=2, groups=3)
    torch.testing.assert_close(Downsample(3).double()(x), expected)
    row = torch.tensor([1., 3., 3., 1.], dtype=torch.float64)
    kernel = (row[:, None] * row / 16).expand(3, 1, 4, 4)
    expected = F.conv_transpose2d(F.pad(x, (1,) * 4, mode='replicate'), kernel, stride=2, padding=2, groups=3)
    torch.testing.assert_close(Upsample(3).double()(x), expected[:, :, 1:-1, 1:-1])
    torch.testing.assert_close(Upsample(3).double().filt, kernel)


@pytest.mark.parametrize('size', [(32, 32), (30, 27)])
def test_an_antialiased_generator_returns_the_sizes_of_the_plain_one(size):
    nets = [create_generator('resnet_1blocks', 3, 3, 2, antialias=antialias) for antialias in (True, False)]
    first, second = (net(torch.rand(1, 3, *size)) for net in nets)
    assert first.shape == second.shape


def test_features_are_the_outputs_of_the_layers():
    net = create_generator('resnet_5blocks', 3, 3, 2, antialias=True)
    seen, layers = {}, (0, 4, 8, 12, 16)
    for index in layers:
        net.model[index].register_forward_hook(lambda module, inputs, output, index=index: seen.update({index: output}))
    image = torch.rand(1, 3, 16, 16)
    features = net.features(image, layers)
    net(image)
    assert all(torch.equal(feature, seen[index]) for feature, index in zip(features, layers, strict=True))
    assert [feature.shape[1] for feature in features] == net.channels(layers)


# ---- losses

def test_patch_nce_against_its_formula():
    """Equation 3, one query at a time: l(v, v+, v-) with the other patches of the image as negatives."""
    queries, keys = F.normalize(torch.randn(2, 3, 5, 7, dtype=torch.float64), dim=-1)
    expected = 0.0
    for image in range(3):
        for place in range(5):
            scores = [math.exp(float(queries[image, place] @ key) / 0.07) for key in keys[image]]
            expected += -math.log(scores[place] / sum(scores)) / 15
    assert float(patch_nce(queries, keys)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('mode', ['CUT', 'FastCUT'])
@pytest.mark.parametrize('seed', [1, 2, 3])
def test_losses_of_a_step(mode, seed, built):
    """D learns first; then G and F, with one term for A and, for CUT, one for B. Some seeds flip, some do not."""
    model, batch = built('--CUT_mode', mode), images()
    before = copy.deepcopy(model.nets)
    torch.manual_seed(seed)
    flipped = bool(torch.rand(()) < 0.5) and mode == 'FastCUT'
    patches = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    torch.manual_seed(seed)
    trainer_of(model).step(batch)

    def turned(x):
        return x.flip(3) if flipped else x

    def nce(source, result):
        state, total = patches.get_state(), 0.0
        for index in (0, 4, 8, 12, 16):
            part = before['G'].model[:index + 1]
            query, key = turned(part(result)).flatten(2), part(source).flatten(2)
            places = torch.randperm(query.shape[2], generator=patches)[:9]
            mlp = getattr(before['F'], f'mlp_{index // 4}')
            query, key = (mlp(x[:, :, places].transpose(1, 2)) for x in (query, key))
            query, key = (x / (x.square().sum(2, keepdim=True).sqrt() + 1e-7) for x in (query, key))
            total += patch_nce(query, key).item() / 5
        patches.set_state(state)
        return total
    A, B = batch['A'], batch['B']
    fake = before['G'](turned(A))
    expected = dict(D_real=(before['D'](B) - 1).square().mean().item(), D_fake=before['D'](fake).square().mean().item(),
                    G_GAN=(model.netD(fake) - 1).square().mean().item(),
                    NCE=nce(A, fake) * (10 if mode == 'FastCUT' else 1))
    if mode == 'CUT':
        expected['NCE_Y'] = nce(B, before['G'](B))
    assert set(model.losses) == set(model.loss_names) == set(expected)
    for name, value in expected.items():
        assert model.losses[name].item() == pytest.approx(value, rel=1e-9), name


def test_the_patches_and_the_flips_change_from_step_to_step(built):
    model, seen = built('--CUT_mode', 'FastCUT'), []
    for _ in range(12):
        model.set_input(images())
        model.draw()
        seen.append((bool(model.flipped), int(model.patch_seed)))
    assert {flipped for flipped, _ in seen} == {True, False} and len({seed for _, seed in seen}) == 12


# ---- options

def test_fastcut_has_its_own_defaults(train_options, tmp_path):
    def parse(*argv):
        words = ['--dataroot', str(tmp_path), '--model', 'cut', *argv]
        return TrainOptions().parse(words)
    cut, fast = parse(), parse('--CUT_mode', 'FastCUT')
    names = ('lambda_NCE', 'nce_idt', 'flip_equivariance', 'n_epochs', 'n_epochs_decay')
    assert [getattr(cut, name) for name in names] == [1.0, True, False, 200, 200]
    assert [getattr(fast, name) for name in names] == [10.0, False, True, 150, 50]
    assert parse('--CUT_mode', 'FastCUT', '--nce_idt', 'True', '--lambda_NCE', '2').lambda_NCE == 2
    assert parse('--nce_idt', 'False').nce_idt is False
    assert (cut.antialias, cut.init_type, cut.pool_size, cut.no_dropout) == (True, 'xavier', 0, True)


@pytest.mark.parametrize('argv, words', [
    (['--netG', 'unet_32'], ['--netG unet_32', 'resnet']), (['--input_nc', 1], ['--input_nc', '1 and 3']),
    (['--nce_idt', 'maybe'], ['--nce_idt maybe', 'True or False']), (['--engine', 'graph'], ['--engine graph']),
    (['--num_patches', 1], ['--num_patches 1'])])
def test_options_that_do_not_fit(argv, words, train_options, tmp_path):
    with pytest.raises(UserError) as caught:
        train_options('--dataroot', tmp_path, '--model', 'cut', *argv)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize('layers', ['', '0,x', '0,99', '-1'])
def test_layers_that_do_not_exist(layers, train_options, tmp_path, build_model):
    opt = train_options('--dataroot', tmp_path, *TINY, f'--nce_layers={layers}')
    with pytest.raises(UserError, match='--nce_layers.* from 0 to 27'):
        build_model(opt)


def test_memory_can_be_saved(built):
    """--grad_checkpoint recomputes the features of the NCE loss too, and changes no number."""
    rows = []
    for more in ([], ['--grad_checkpoint']):
        torch.manual_seed(1)
        model = built(*more)
        trainer = trainer_of(model)
        for _ in range(2):
            trainer.step(images())
        rows.append([value for net in model.nets.values() for value in net.state_dict().values()])
    assert model.netG.model.recomputed
    for first, second in zip(*rows, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-8)


def test_bf16_trains(train_options, tmp_path):
    from models import create_model
    from util.machine.runtime import Runtime
    model = create_model(train_options('--dataroot', tmp_path, *TINY), Runtime(torch.device('cpu'), 'cpu', 'bf16'))
    batch = images()
    for _ in range(2):
        trainer_of(model).step({**batch, 'A': batch['A'].float(), 'B': batch['B'].float()})
    assert all(math.isfinite(value) for value in model.get_current_losses().values())
    assert model.fake_B.dtype == torch.float32


# ---- the programs

def test_a_public_checkpoint_is_translated(runs, home):
    """Weights alone, as the project page of CUT has them; --model cut knows their network."""
    folder = runs.folder / 'horse2zebra_cut'
    folder.mkdir(parents=True)
    net = create_generator('resnet_9blocks', 3, 3, 4, 'instance', antialias=True)
    torch.save(net.state_dict(), folder / 'latest_net_G.pth')
    words = ['--dataroot', home / 'unaligned', '--load_size', 32, '--crop_size', 32, '--ngf', 4, '--num_test', 1]
    done = runs.test('horse2zebra_cut', '--model', 'cut', *words)
    assert (done.code, done.err) == (0, '')
    done = runs.test('horse2zebra_cut', '--model', 'test', '--no_dropout', *words[2:], '--dataroot',
                     home / 'unaligned/testA')
    assert done.code == 2 and '--antialias' in done.err     # says what the file is
    done = runs.test('horse2zebra_cut', '--model', 'test', '--antialias', '--no_dropout', *words[2:], '--dataroot',
                     home / 'unaligned/testA')
    assert (done.code, done.err) == (0, '')


def test_a_trained_run_translates_with_any_model(runs, home):
    assert runs.begin('cut', 'run', '--n_epochs', 1, '--n_epochs_decay', 0, '--ema', 0.5).code == 0
    for more in ([], ['--model', 'test', '--dataroot', home / 'unaligned/testA']):
        done = runs.test('run', *more)
        assert (done.code, done.err) == (0, ''), done.err
