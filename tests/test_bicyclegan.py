"""BicycleGAN: its losses by their formulas, where gradients go, and several results for one image."""
import copy
import json
from functools import partial

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from training import trainer_of

from models.nets.factory import describe_generator
from models.networks import LatentEncoder, LatentUnet
from util.errors import UserError

TINY = ['--model', 'bicyclegan', '--netG', 'unet_32', '--netD', 'patch16', '--n_blocks_E', 2, '--nef', 4, '--nz', 3,
        '--batch_size', 2]


@pytest.fixture
def built(exact_model):
    """built('--lambda_z', 0, ...) -> a model in float64."""
    return partial(exact_model, *TINY)


@pytest.fixture
def step():
    """step(model) -> its networks and images before a training step, which is made."""
    def make(model):
        generator = torch.Generator().manual_seed(4)
        A, B = 2 * torch.rand(2, 2, 3, 32, 32, generator=generator, dtype=torch.float64) - 1
        before = copy.deepcopy(model.nets)
        trainer_of(model).step({'A': A, 'B': B, 'A_paths': ['0.png', '1.png']})
        return before, A, B
    return make


# ---- the objective

@pytest.mark.parametrize('conditional', [False, True])
def test_losses_of_a_step(conditional, built, step):
    """G and E learn first, against the discriminators as they were; these are not halved."""
    model = built(*(['--conditional_D'] if conditional else []))
    before, A, B = step(model)
    mean, log_variance = before['E'](B)
    encoded = before['G'](A, mean + log_variance.exp().sqrt() * model.noise)
    random = before['G'](A, model.z_random)

    def seen(image):
        return torch.cat([A, image], 1) if conditional else image

    def squares(netD, image, label):
        return sum((scale - label).square().mean() for scale in netD(seen(image)))
    posterior = Normal(mean, log_variance.exp().sqrt())
    expected = dict(
        G_GAN=squares(before['D'], encoded, 1), G_GAN2=squares(before['D2'], random, 1),
        G_L1=10 * (encoded - B).abs().mean(),
        KL=0.01 * kl_divergence(posterior, Normal(torch.zeros_like(mean), 1)).sum(1).mean(),
        z_L1=0.5 * (before['E'](random)[0] - model.z_random).abs().mean(),
        D=squares(before['D'], B, 1) + squares(before['D'], encoded, 0),
        D2=squares(before['D2'], B, 1) + squares(before['D2'], random, 0))
    assert {name: value.item() for name, value in model.losses.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-9)
    assert len(before['D'](seen(B))) == 2
    assert before['D'].scales[1].model[0].weight.shape[0] == before['D'].scales[0].model[0].weight.shape[0] // 2


def test_the_code_of_a_random_result_trains_g_alone(built, step):
    model = built(*(word for name in ('GAN', 'GAN2', 'L1', 'kl') for word in (f'--lambda_{name}', 0)))
    before, *_ = step(model)
    pairs = zip(before['E'].parameters(), model.netE.parameters(), strict=True)
    assert all(torch.equal(old, new) for old, new in pairs)
    assert not torch.equal(before['G'].downs[0][0].weight, model.netG.downs[0][0].weight)
    assert all(value.requires_grad for value in model.netE.parameters())


def test_codes_differ_from_step_to_step_and_between_images(built, step):
    model = built()
    step(model)
    first = model.z_random
    step(model)
    assert len({tuple(code) for code in (*first.tolist(), *model.z_random.tolist(), *model.noise.tolist())}) == 6


# ---- networks

@pytest.mark.parametrize('where, codes', [('input', [3, 0, 0, 0, 0]), ('all', [3] * 5)])
def test_where_the_code_is_added(where, codes):
    net = LatentUnet(2, 1, 3, 4, 'instance', n_levels=5, where=where)
    widths = [4, 8, 16, 32, 32]
    inputs = [down[-2 if level in (1, 2, 3) else -1].weight.shape[1] for level, down in enumerate(net.downs)]
    assert inputs == [before + code for before, code in zip([2, *widths], codes, strict=False)]
    image, z = torch.rand(2, 2, 64, 32), torch.randn(2, 3)
    assert net(image, z).shape == (2, 1, 64, 32)
    assert not torch.allclose(net(image, z), net(image, -z))
    assert describe_generator(net.state_dict()) is None


@pytest.mark.parametrize('n_blocks, side', [(4, 256), (2, 32), (1, 4)])
def test_the_encoder_takes_any_size_that_is_large_enough(n_blocks, side):
    net = LatentEncoder(3, 5, 4, 'instance', n_blocks)
    mean, log_variance = net(torch.rand(2, 3, side, side))
    assert mean.shape == log_variance.shape == (2, 5)
    with pytest.raises((ValueError, RuntimeError)):
        net(torch.rand(2, 3, 2**n_blocks, 2**n_blocks))


# ---- options, and the program

@pytest.mark.parametrize('argv, words', [
    (['--n_blocks_E', 5], ['--n_blocks_E 5', '64']), (['--netG', 'resnet_9blocks'], ['--netG resnet_9blocks', 'unet']),
    (['--gan_mode', 'wgangp'], ['--gan_mode wgangp']), (['--netD', 'pixel'], ['--netD pixel']),
    (['--num_scales_D', 4], ['--crop_size 32', '48'])])
def test_options_that_do_not_fit(argv, words, train_options, aligned_root):
    with pytest.raises(UserError) as caught:
        train_options('--dataroot', aligned_root, *TINY, *argv)
    assert all(word in str(caught.value) for word in words)


def test_a_run_gives_several_results_for_an_image(runs, home):
    assert runs.begin('bicyclegan', 'run', '--n_epochs', 1, '--n_epochs_decay', 0).code == 0

    def files(*more):
        done = runs.test('run', '--num_test', 2, *more)
        assert (done.code, done.err) == (0, '')
        found = json.loads((runs.folder / 'results/run/test_latest/results.json').read_text(encoding='utf-8'))
        return [{name: (runs.folder / 'results/run/test_latest' / path).read_bytes()
                 for name, path in entry['files'].items()} for entry in found['images']]
    first, again = files('--num_styles', 3), files('--num_styles', 3)
    other = files('--num_styles', 3, '--style_seed', 1)
    assert list(first[0]) == ['real_A', 'fake_B_0', 'fake_B_1', 'fake_B_2', 'rec_B', 'real_B']
    assert first == again and first[0]['fake_B_0'] != other[0]['fake_B_0']
    alone = files('--dataset_mode', 'single', '--dataroot', str(home / 'unaligned' / 'testA'), '--num_styles', 1)
    assert list(alone[0]) == ['real_A', 'fake_B']
