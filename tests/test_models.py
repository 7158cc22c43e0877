"""Every model with every dataset it fits: steps, gradients, logs, translation; then what each paper asks for."""
import copy
import importlib
import shutil
import sys

import pytest
import torch
from torch import nn
from training import trainer_of

import data
import models
from data import create_dataset, create_loader
from models.losses import GAN_LOSSES
from models.networks import ConvBlock
from models.training.progress import Progress
from models.training.trainer import without_gradients
from util.errors import ResourceError, UserError
from util.images import as_numbers
from util.machine.seeding import seed_everything

TINY = {
    'bicyclegan': ['--netG', 'unet_32', '--netD', 'patch16', '--n_blocks_E', 2, '--nef', 4, '--nz', 3],
    'colorization': ['--netG', 'unet_32'],
    'pix2pix': ['--netG', 'unet_32'],
    'pix2pixhd': ['--n_downsample_global', 2, '--n_blocks_global', 1],
    'spade': ['--n_ups', 3, '--spade_nc', 4],
    'munit': ['--num_scales_D', 1, '--n_layers_D', 3, '--mlp_dim', 8, '--style_dim', 4, '--n_res', 1],
}
OTHERS = ['--netG', 'resnet_1blocks']
NOT_FOR = [('cut', 'colorization')]     # input and output need equal channels
EXTRA = {('cyclegan', 'colorization'): ['--lambda_identity', 0]}
TRAINED = [name for name in models.registry.names() if name != 'test']
WITH_TARGETS = [mode for mode in data.registry.names() if mode != 'single']
COMBINATIONS = [(model, mode) for model in TRAINED for mode in WITH_TARGETS
                if (model != 'colorization' or mode == 'colorization') and (model, mode) not in NOT_FOR]
# all others: aligned
OWN_MODE = {'colorization': 'colorization', 'cyclegan': 'unaligned', 'cut': 'unaligned', 'test': 'single'}
VISUALS = {
    'bicyclegan': ['real_A', 'fake_B', 'rec_B', 'real_B'],
    'colorization': ['real_A', 'real_B_rgb', 'fake_B_rgb'],
    'cut': ['real_A', 'fake_B', 'real_B', 'idt_B'],
    'cyclegan': ['real_A', 'fake_B', 'rec_A', 'idt_B', 'real_B', 'fake_A', 'rec_B', 'idt_A'],
    'munit': ['real_A', 'rec_A', 'fake_B', 'real_B', 'rec_B', 'fake_A'],
    'pix2pix': ['real_A', 'fake_B', 'real_B'],
    'template': ['real_A', 'fake_B', 'real_B'],
    'test': ['real', 'fake'],
}
TRANSLATED = {
    'bicyclegan': ['real_A', *(f'fake_B_{k}' for k in range(5)), 'rec_B', 'real_B'],
    'cut': ['real_A', 'fake_B', 'real_B'],
    'cyclegan': ['real_A', 'fake_B', 'rec_A', 'real_B', 'fake_A', 'rec_B'],
    'munit': ['real_A', 'rec_A', *(f'fake_B_{k}' for k in range(10))],
}


@pytest.fixture
def options_of(train_options, roots):
    """options_of('pix2pix', 'aligned', ...) -> options of training a tiny model."""
    def parse(model, mode=None, *argv):
        mode = mode or OWN_MODE.get(model, 'aligned')
        return train_options('--dataroot', roots[mode], '--model', model, '--dataset_mode', mode,
                             *TINY.get(model, OTHERS), *EXTRA.get((model, mode), []), *argv)
    return parse


@pytest.fixture
def trained(options_of, build_model):
    """trained('pix2pix', 'aligned', ...) -> the model after two steps."""
    def train(model, mode=None, *argv):
        opt = options_of(model, mode, *argv)
        seed_everything(opt.seed)
        model = build_model(opt)
        for batch in batches(opt, 2):
            trainer_of(model).step(batch)
        return model
    return train


@pytest.fixture
def translator(options_of, build_model, roots):
    """translator('pix2pix', 'aligned', ...) -> the untrained model as test.py builds it, and a batch of 3."""
    def build(name, mode=None, *argv):
        mode = mode or OWN_MODE.get(name, 'aligned')
        like = ('template', 'aligned') if name == 'test' else (name, mode)
        fitting = ['--netG', 'unet_32'] if name == 'bicyclegan' else []     # it has no other kind
        opt = options_of(*like, '--batch_size', 3, '--no_flip', *argv, *fitting)
        own = {option: row[0] for option, row in models.registry.declarations(name)['test_options'].items()}
        opt = opt.replace(model=name, phase='test', isTrain=False, trained_direction='', serial_batches=True,
                          dataset_mode=mode, dataroot=str(roots[mode]), **own)
        model = build_model(opt)
        assert model.prepare_test(None, None) == {}
        return model, batches(opt, 1)[0]
    return build


def batches(opt, count):
    """The first batches, with images as numbers."""
    loader = create_loader(create_dataset(opt), opt)
    return [{name: as_numbers(value) if torch.is_tensor(value) else value for name, value in batch.items()}
            for batch, _ in zip(loader, range(count), strict=False)]


def weights_of(model):
    return {f'{name}.{key}': value.clone() for name, net in model.nets.items()
            for key, value in net.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def biases_before_instance_norms(net):
    """Such a bias is taken out again by the norm: its gradient is 0 but for rounding."""
    for module in net.modules():
        if isinstance(module, ConvBlock) and (module.adaptive or isinstance(module.norm, nn.InstanceNorm2d)):
            yield module.conv.bias
        if isinstance(module, nn.Sequential):
            for layer, after in zip(module, module[1:], strict=False):
                if isinstance(after, nn.InstanceNorm2d):
                    yield layer.bias


# ---- all models

@pytest.mark.parametrize('name, mode', COMBINATIONS)
def test_two_steps(name, mode, trained):
    model = trained(name, mode)
    changed = [value.grad for net in model.nets.values() for value in net.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in changed)
    for label, net in model.nets.items():
        without = {id(bias) for bias in biases_before_instance_norms(net)}
        if model.opt.gan_mode == 'hinge' and label == 'D':      # real and generated patches within the margins cancel
            without |= {id(value) for key, value in net.named_parameters() if key.endswith('layer4.0.bias')}
        dead = [key for key, value in net.named_parameters() if not value.grad.any() and id(value) not in without]
        assert dead == [], f'no gradient in {label}'


@pytest.mark.parametrize('name, mode', COMBINATIONS)
def test_every_network_learns(name, mode, options_of, build_model):
    opt = options_of(name, mode)
    model = build_model(opt)
    before = copy.deepcopy({label: list(net.parameters()) for label, net in model.nets.items()})
    trainer_of(model).step(batches(opt, 1)[0])
    for label, net in model.nets.items():
        assert not any(torch.equal(old, new) for old, new in zip(before[label], net.parameters(), strict=True)
                       if old.ndim > 1), label


@pytest.mark.parametrize('name, mode', COMBINATIONS)
def test_losses_have_their_names(name, mode, trained):
    model = trained(name, mode)
    losses = model.get_current_losses()
    assert list(losses) == list(model.loss_names) and set(model.losses) <= set(losses)
    assert set(model.plateau_losses) <= set(losses) and model.plateau_losses
    found = {key: losses[key] for key in model.losses}
    if model.opt.gan_mode == 'hinge':       # the loss of G is what D says
        found['G_GAN'] = abs(found['G_GAN'])
    assert all(isinstance(value, float) and 0 < value < 1000 for value in found.values())


@pytest.mark.parametrize('name, mode', COMBINATIONS)
def test_visuals_of_training(name, mode, trained):
    visuals = trained(name, mode, '--batch_size', 2).get_current_visuals()
    expected = VISUALS.get(name, list(visuals))
    if (name, mode) == ('cyclegan', 'colorization'):
        expected = [label for label in expected if 'idt' not in label]
    assert list(visuals) == expected and visuals
    for image in visuals.values():
        assert image.shape[0] == 2 and image.shape[1] in (1, 2, 3) and image.shape[2:] == (32, 32)
        assert -1 <= image.min() < image.max() <= 1


@pytest.mark.parametrize('mode', [mode for mode in WITH_TARGETS if mode != 'colorization'])
def test_colorization_needs_its_own_dataset(mode, options_of):
    with pytest.raises(UserError, match='--dataset_mode colorization'):
        options_of('colorization', mode)


@pytest.mark.parametrize('name', TRAINED)
def test_training_needs_targets(name, options_of):
    with pytest.raises(UserError, match='--dataset_mode'):
        options_of(name, 'single')


@pytest.mark.parametrize('name', TRAINED)
def test_equal_seeds_give_equal_weights(name, trained):
    first, again, other = (weights_of(trained(name, None, '--seed', seed)) for seed in (3, 3, 4))
    assert_equal(first, again)
    assert any(not torch.equal(first[key], other[key]) for key in first)


# ---- translation

TRANSLATIONS = [(name, mode) for name in models.registry.names() for mode in data.registry.names()
                if (name, mode) in COMBINATIONS or name == 'test' and mode in ('single', 'aligned')]


@pytest.mark.sample(34)
@pytest.mark.parametrize('name, mode', TRANSLATIONS)
@pytest.mark.parametrize('argv', [
    ['--norm', 'batch', '--dropout', *OTHERS], ['--norm', 'batch', '--no_dropout'],
    ['--norm', 'instance', '--dropout', *OTHERS], ['--norm', 'instance', '--no_dropout']])
def test_translation_does_not_depend_on_the_batch(name, mode, argv, translator):
    model, batch = translator(name, mode, *argv)
    together = model.translate(batch)
    alone = [model.translate({key: value[index:index + 1] for key, value in batch.items()}) for index in range(3)]
    assert list(together) == TRANSLATED.get(name, VISUALS.get(name, list(together)))
    for label, images in together.items():
        assert len(images) == 3 and not images.requires_grad
        assert torch.allclose(images, torch.cat([single[label] for single in alone]), atol=1e-5)


@pytest.mark.parametrize('name', models.registry.names())
def test_translation_repeats_itself(name, translator):
    model, batch = translator(name, None, '--dropout', *OTHERS)
    first, again = model.translate(batch), model.translate(batch)
    assert_equal(first, again)


def test_dropout_differs_between_images_and_seeds(translator):
    model, batch = translator('pix2pix', None, '--dropout', '--norm', 'instance', '--netG', 'unet_64',
                              '--crop_size', 64, '--load_size', 64)
    batch = {'A': batch['A'][:1].repeat(2, 1, 1, 1), 'B': batch['B'][:2], 'A_paths': ['x/0.png', 'x/1.png']}
    first = model.translate(batch)['fake_B']
    assert not torch.equal(first[0], first[1])
    model.opt = model.opt.replace(seed=99)
    assert not torch.equal(first[0], model.translate(batch)['fake_B'][0])
    model.eval()
    plain = model.translate(batch)['fake_B']
    assert torch.allclose(plain[0], plain[1], atol=1e-6)


def test_eval_uses_running_statistics(translator):
    model, batch = translator('pix2pix', None, '--norm', 'batch', '--no_dropout')
    statistics = model.translate(batch)['fake_B']
    for layer in model.netG.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
    model.eval()
    running = model.translate(batch)['fake_B']
    assert not torch.allclose(statistics, running, atol=1e-3)
    assert torch.allclose(running, model.netG(batch['A']), atol=1e-6)


def test_images_that_do_not_fit_are_named(translator):
    model, batch = translator('pix2pix')
    with pytest.raises(UserError, match=r'0\.png is 20x32 .* multiples of 32'):
        model.translate({**batch, 'A': batch['A'][..., :20]})


def test_training_needs_multiples_of_four_and_testing_does_not(trained, translator):
    with pytest.raises(UserError, match=r'30x32 .* multiples of 4'):
        model = trained('template')
        trainer_of(model).step({'A': torch.zeros(1, 3, 32, 30), 'B': torch.zeros(1, 3, 32, 30), 'A_paths': ['0.png']})
    model, batch = translator('template')
    assert model.translate({**batch, 'A': batch['A'][..., :30]})['fake_B'].shape[-2:] == (32, 32)


# ---- one step

def test_frozen_networks_are_restored_as_they_were():
    net, other = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    net.bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match='inside'), without_gradients(net, other):
        assert not any(value.requires_grad for value in (*net.parameters(), *other.parameters()))
        raise RuntimeError('inside')
    assert (net.weight.requires_grad, net.bias.requires_grad) == (True, False)
    assert all(value.requires_grad for value in other.parameters())


def make_update(model, loss: str):
    """Make one of the updates of a step: the one down the loss of this name."""
    updates = [update for update in model.updates() if update.loss.__name__ == loss]
    model.updates = lambda: updates
    trainer = trainer_of(model)
    trainer.work(lambda index, update: [0])


@pytest.mark.parametrize('name, critics', [('pix2pix', ['D']), ('cyclegan', ['D_A', 'D_B'])])
def test_a_generator_step_leaves_discriminators_alone(name, critics, trained):
    model = trained(name)
    before = weights_of(model)
    grads = {label: [p.grad.clone() for p in model.nets[label].parameters()] for label in critics}
    model.forward()
    make_update(model, 'loss_G')
    after = weights_of(model)
    statistics = ('running_mean', 'running_var', 'num_batches_tracked')
    changed = {key.split('.')[0] for key in before
               if not key.endswith(statistics) and not torch.equal(before[key], after[key])}
    assert changed == set(model.nets) - set(critics)
    for label in critics:
        parameters = list(model.nets[label].parameters())
        assert all(p.requires_grad for p in parameters)
        assert all(torch.equal(p.grad, old) for p, old in zip(parameters, grads[label], strict=True))


@pytest.mark.parametrize('name', [name for name in TRAINED if name != 'template'])
def test_discriminators_are_constants_to_the_generator_step(name, options_of, build_model):
    opt = options_of(name)
    model, seen = build_model(opt), []
    loss_G = model.loss_G

    def watched(*styles):
        seen.extend((label[0], p.requires_grad) for label, net in model.nets.items() for p in net.parameters())
        return loss_G(*styles)
    model.loss_G = watched
    trainer_of(model).step(batches(opt, 1)[0])
    assert set(seen) - {('F', True), ('E', True)} == {('G', True), ('D', False)}
    assert all(p.requires_grad for net in model.nets.values() for p in net.parameters())


@pytest.mark.parametrize('name, generators', [('pix2pix', ['G']), ('cyclegan', ['G_A', 'G_B'])])
def test_a_discriminator_step_leaves_generators_alone(name, generators, options_of, build_model):
    opt = options_of(name)
    model = build_model(opt)
    model.set_input(batches(opt, 1)[0])
    model.forward()
    make_update(model, 'loss_D')
    for label, net in model.nets.items():
        assert all((p.grad is None) is (label in generators) for p in net.parameters())


def test_gradients_do_not_add_up_over_steps(trained):
    model = trained('template')
    model.forward()
    for p in model.netG.parameters():
        p.grad.fill_(1e6)
    make_update(model, 'loss_G')
    assert all(p.grad.abs().max() < 1e5 for p in model.netG.parameters())


def test_pix2pix_teaches_the_discriminator_first(options_of, build_model):
    opt = options_of('pix2pix', None, '--norm', 'instance', '--no_dropout')
    model, batch = build_model(opt), batches(opt, 1)[0]
    before = copy.deepcopy(model.nets)
    trainer_of(model).step(batch)
    gan = GAN_LOSSES['vanilla']
    fake = before['G'](batch['A'])
    pairs = {'fake': torch.cat([batch['A'], fake], 1), 'real': torch.cat([batch['A'], batch['B']], 1)}
    losses = model.get_current_losses()
    assert losses['D_fake'] == pytest.approx(gan(before['D'](pairs['fake']), False).item(), abs=1e-6)
    assert losses['D_real'] == pytest.approx(gan(before['D'](pairs['real']), True).item(), abs=1e-6)
    assert losses['G_GAN'] == pytest.approx(gan(model.netD(pairs['fake']), True).item(), abs=1e-6)
    assert losses['G_GAN'] != pytest.approx(gan(before['D'](pairs['fake']), True).item(), abs=1e-5)
    assert losses['G_L1'] == pytest.approx(100 * (fake - batch['B']).abs().mean().item(), rel=1e-5)


def test_cyclegan_teaches_the_generators_first(options_of, build_model):
    opt = options_of('cyclegan', None, '--lambda_A', 8, '--lambda_B', 3, '--lambda_identity', 0.25)
    model, batch = build_model(opt), batches(opt, 1)[0]
    before = copy.deepcopy(model.nets)
    trainer_of(model).step(batch)
    gan = GAN_LOSSES['lsgan']
    A, B = batch['A'], batch['B']
    fake_B, fake_A = before['G_A'](A), before['G_B'](B)
    expected = {
        'G_A': gan(before['D_A'](fake_B), True), 'G_B': gan(before['D_B'](fake_A), True),
        'cycle_A': 8 * (before['G_B'](fake_B) - A).abs().mean(),
        'cycle_B': 3 * (before['G_A'](fake_A) - B).abs().mean(),
        'idt_A': 0.25 * 3 * (before['G_A'](B) - B).abs().mean(),
        'idt_B': 0.25 * 8 * (before['G_B'](A) - A).abs().mean(),
        'D_A': (gan(before['D_A'](B), True) + gan(before['D_A'](fake_B), False)) / 2,
        'D_B': (gan(before['D_B'](A), True) + gan(before['D_B'](fake_A), False)) / 2,
    }
    assert model.get_current_losses() == pytest.approx({key: value.item() for key, value in expected.items()}, abs=1e-5)
    assert expected['G_A'].item() != pytest.approx(gan(model.netD_A(fake_B), True).item(), abs=1e-5)


def test_cyclegan_shows_old_fakes_to_its_discriminators(options_of, build_model):
    opt = options_of('cyclegan', None, '--pool_size', 2)
    model = build_model(opt)
    first, *others = batches(opt, 5)
    trainer_of(model).step(first)
    assert torch.equal(model.fake_B_pool.images[0], model.fake_B.detach())
    for batch in others:
        trainer_of(model).step(batch)
    assert len(model.fake_A_pool.images) == len(model.fake_B_pool.images) == 2


# ---- the rows of the pix2pix paper's tables

ABLATIONS = {
    'L1': ['--lambda_gan', 0], 'cGAN': ['--lambda_L1', 0], 'GAN': ['--lambda_L1', 0, '--unconditional_D'],
    'L1+GAN': ['--unconditional_D'], 'encoder-decoder': ['--netG', 'encdec_32'], 'PixelGAN': ['--netD', 'pixel'],
    '16x16': ['--netD', 'patch16'], '70x70': ['--netD', 'patch70'], 'no noise': ['--no_dropout'],
    '286x286': ['--netD', 'patch286', '--crop_size', 96, '--load_size', 96],
}


@pytest.mark.parametrize('row', ABLATIONS)
def test_rows_of_the_pix2pix_paper(row, trained):
    model = trained('pix2pix', 'aligned', *ABLATIONS[row])
    losses = model.get_current_losses()
    expected_zero = {'L1': {'G_GAN', 'D_real', 'D_fake'}, 'cGAN': {'G_L1'}, 'GAN': {'G_L1'}}.get(row, set())
    assert {key for key, value in losses.items() if value == 0} == expected_zero
    first_layer = next(p for p in model.netD.parameters())
    assert first_layer.shape[1] == (3 if 'GAN' in row.split('+') else 6)


def test_l1_alone_is_plain_regression(options_of, build_model):
    opt = options_of('pix2pix', 'aligned', '--lambda_gan', 0, '--no_dropout')
    model = build_model(opt)
    critic = copy.deepcopy(model.netD.state_dict())
    for batch in batches(opt, 3):
        trainer_of(model).step(batch)
    assert_equal(critic, dict(model.netD.state_dict()))


def test_weights_of_the_terms_scale_them(options_of, build_model):
    losses = {}
    for weight in (1, 3):
        opt = options_of('pix2pix', 'aligned', '--lambda_gan', weight, '--lambda_L1', 10 * weight)
        seed_everything(1)
        model = build_model(opt)
        trainer_of(model).step(batches(opt, 1)[0])
        losses[weight] = model.get_current_losses()
    for term in ('G_GAN', 'G_L1'):
        assert losses[3][term] == pytest.approx(3 * losses[1][term], rel=1e-4)


# ---- options of models

def test_identity_loss_needs_equal_channels(options_of, build_model):
    with pytest.raises(UserError, match='--lambda_identity'):
        options_of('cyclegan', 'unaligned', '--input_nc', 1)
    opt = options_of('cyclegan', 'unaligned', '--input_nc', 1, '--lambda_identity', 0)
    model = build_model(opt)
    trainer_of(model).step(batches(opt, 1)[0])
    assert model.fake_B.shape[1] == 3 and model.fake_A.shape[1] == 1


def test_networks_beyond_the_memory(options_of, build_model, monkeypatch):
    def fail(*_):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
    monkeypatch.setattr(models.networks, 'create_generator', fail)
    with pytest.raises(ResourceError, match='ngf 4,.*--ngf'):
        build_model(options_of('cyclegan', None, '--ngf', 4))


def test_optimizers_follow_the_options(options_of, build_model):
    model = build_model(options_of('cyclegan', None, '--lr', 0.01, '--beta1', 0.7))
    for optimizer in model.optimizers.values():
        group, = optimizer.param_groups
        assert (group['lr'], group['betas'], group['eps'], group['weight_decay']) == (0.01, (0.7, 0.999), 1e-8, 0)
    owners = {id(p): label for label, net in model.nets.items() for p in net.parameters()}
    parts = {name: {owners[id(p)] for p in optimizer.param_groups[0]['params']}
             for name, optimizer in model.optimizers.items()}
    assert parts == {'_G': {'G_A', 'G_B'}, '_D': {'D_A', 'D_B'}}


def test_learning_rate_of_an_epoch(options_of, build_model):
    model = build_model(options_of('cyclegan', None, '--n_epochs', 2, '--n_epochs_decay', 3))
    rates = []
    for epoch in range(1, 6):
        trainer_of(model).set_learning_rate(Progress(epoch=epoch, last_epoch=5))
        rates.append(trainer_of(model).learning_rate)
        assert len({group['lr'] for optimizer in model.optimizers.values() for group in optimizer.param_groups}) == 1
    assert rates == pytest.approx([0.0002, 0.0002, 0.00015, 0.0001, 0.00005])


@pytest.mark.parametrize('name', TRAINED)
def test_plateau_follows_the_mean_loss_of_an_epoch(name, options_of, build_model):
    opt = options_of(name, None, '--lr_policy', 'plateau')
    model, seen = build_model(opt), []
    for batch in batches(opt, 3):
        trainer_of(model).step(batch)
        seen.append(sum(model.get_current_losses()[loss] for loss in model.plateau_losses))
    trainer_of(model).schedule.finish_epoch()
    schedule = trainer_of(model).schedule
    assert schedule.plateau.best == pytest.approx(sum(seen) / 3, rel=1e-5) and len(set(seen)) == 3
    assert schedule.epoch_batches == 0
    trainer_of(model).set_learning_rate(Progress(epoch=2, last_epoch=200))
    assert trainer_of(model).learning_rate == opt.lr
    for _ in range(6):      # no better for more than 5 epochs
        schedule.plateau.update(1e9)
    trainer_of(model).set_learning_rate(Progress(epoch=8, last_epoch=200))
    assert trainer_of(model).learning_rate == pytest.approx(0.2 * opt.lr)


def test_other_policies_measure_nothing(trained):
    model = trained('pix2pix')
    schedule = trainer_of(model).schedule
    schedule.finish_epoch()
    assert schedule.epoch_batches == 0 and schedule.plateau.multiplier == 1


def test_description_counts_parameters(trained):
    model = trained('pix2pix')
    text = model.describe_networks()
    assert '[Network G] Total number of parameters : 0.' in text and '[Network D] ' in text
    assert 'UnetGenerator' not in text and 'UnetGenerator' in model.describe_networks(verbose=True)


# ---- a model and a dataset of one's own: one new file each, named by nothing but the file

@pytest.fixture
def add_file(tmp_path, monkeypatch):
    """add_file(models, 'my_net_model.py', text) puts a file beside the others for the length of a test."""
    before = set(sys.modules)

    def add(package, name, text):
        folder = tmp_path / package.__name__
        shutil.copytree(package.registry.folder, folder)
        (folder / name).write_text(text, encoding='utf-8')
        monkeypatch.setattr(package.registry, 'folder', folder)
        monkeypatch.setattr(package, '__path__', [*package.__path__, str(folder)])
        importlib.invalidate_caches()
    yield add
    for module in set(sys.modules) - before:
        if module.startswith(('models.my_', 'data.my_')):
            del sys.modules[module]


def template(package, kind):
    return (package.registry.folder / f'template_{kind}.py').read_text(encoding='utf-8')


def test_one_new_file_adds_a_model_and_a_dataset(add_file, photo_root, train_options, build_model):
    add_file(models, 'my_net_model.py', template(models, 'model').replace('TemplateModel', 'MyNetModel')
             .replace("'dataset_mode': 'aligned'", "'dataset_mode': 'my_photos', 'netG': 'resnet_1blocks'")
             .replace('lambda_regression', 'lambda_mine'))
    add_file(data, 'my_photos_dataset.py', template(data, 'dataset').replace('TemplateDataset', 'MyPhotosDataset')
             .replace("'max_dataset_size': 10", "'max_dataset_size': 4"))
    assert 'my_net' in models.registry.names() and 'my_photos' in data.registry.names()
    opt = train_options('--dataroot', photo_root, '--model', 'mynet', '--lambda_mine', 7)
    assert (opt.dataset_mode, opt.netG, opt.max_dataset_size) == ('my_photos', 'resnet_1blocks', 4)
    model, dataset = build_model(opt), create_dataset(opt)
    assert type(model).__name__ == 'MyNetModel' and len(dataset) == 4
    trainer_of(model).step(batches(opt, 1)[0])
    assert model.get_current_losses()['G'] == pytest.approx(7 * (model.fake_B - model.real_B).abs().mean().item())


def test_a_file_without_its_class_is_named(add_file, photo_root, train_options, build_model):
    add_file(models, 'my_other_model.py', 'class SomethingElse:\n    pass\n')
    with pytest.raises(UserError, match=r'my_other_model\.py has no class named like myothermodel'):
        models.registry.load('my_other')


def test_a_model_may_inherit_the_options_of_another(add_file, aligned_root, train_options, build_model):
    add_file(models, 'my_pix_model.py', 'from .pix2pix_model import Pix2PixModel\n\n\nclass MyPixModel(Pix2PixModel):\n'
             "    defaults = {'netG': 'unet_32'}\n    train_options = {'lambda_extra': (2.0, 'more')}\n")
    opt = train_options('--dataroot', aligned_root, '--model', 'my_pix')
    assert (opt.netG, opt.norm, opt.gan_mode) == ('unet_32', 'batch', 'vanilla')
    assert (opt.lambda_L1, opt.lambda_extra) == (100, 2)
    trainer_of(build_model(opt)).step(batches(opt, 1)[0])
