"""Objectives against numbers worked out by hand, the gradient penalty against critics whose gradient is known."""
import pytest
import torch
from training import trainer_of

from models.losses import GAN_LOSSES, gradient_penalty
from util.machine.seeding import seed_everything

PREDICTION = torch.tensor([[0.3, -1.2], [2.0, 0.5]], dtype=torch.float64)


@pytest.mark.parametrize('mode, real, value', [
    ('lsgan', True, 1.645),         # (0.49 + 4.84 + 1 + 0.25) / 4
    ('lsgan', False, 1.445),        # (0.09 + 1.44 + 4 + 0.25) / 4
    ('vanilla', True, 0.6546607), ('vanilla', False, 1.0546607),
    ('wgangp', True, -0.4), ('wgangp', False, 0.4)])
def test_gan_losses(mode, real, value):
    assert GAN_LOSSES[mode](PREDICTION, real).item() == pytest.approx(value, abs=5e-8)


def test_vanilla_is_cross_entropy_and_stays_finite():
    probability = torch.sigmoid(PREDICTION)
    assert torch.allclose(GAN_LOSSES['vanilla'](PREDICTION, True), -probability.log().mean())
    assert torch.allclose(GAN_LOSSES['vanilla'](PREDICTION, False), -(1 - probability).log().mean())
    assert GAN_LOSSES['vanilla'](torch.tensor([-1e4]), True).item() == pytest.approx(1e4)


@pytest.mark.parametrize('mode', GAN_LOSSES)
def test_fooling_and_unmasking_pull_apart(mode):
    prediction = PREDICTION.clone().requires_grad_()
    towards_real, = torch.autograd.grad(GAN_LOSSES[mode](prediction, True), prediction)
    assert towards_real[0, 1] < 0 < torch.autograd.grad(GAN_LOSSES[mode](prediction, False), prediction)[0][1, 0]


# ---- the gradient penalty

def linear_critic(weight):
    return lambda images: (images * weight).flatten(1).sum(1)


def pair(n=4):
    return torch.randn(2, n, 3, 5, 5, dtype=torch.float64).unbind()


@pytest.mark.parametrize('length, lambda_gp, penalty', [(3.0, 10.0, 40.0), (1.0, 10.0, 0.0), (0.5, 10.0, 2.5),
                                                        (3.0, 1.0, 4.0), (3.0, 0.0, 0.0)])
def test_penalty_of_a_linear_critic(length, lambda_gp, penalty):
    direction = torch.randn(3, 5, 5, dtype=torch.float64)
    weight = (direction * length / direction.norm()).requires_grad_()
    value = gradient_penalty(linear_critic(weight), *pair(), lambda_gp)
    assert value.item() == pytest.approx(penalty, abs=1e-9)
    value.backward()      # d/dw of lambda (|w| - 1)^2 is 2 lambda (|w| - 1) w / |w|
    expected = 2 * lambda_gp * (length - 1) * weight.detach() / length
    assert torch.allclose(weight.grad, expected, atol=1e-9)


def test_penalty_is_taken_per_sample():
    """D(x) = |x|^2 / 2 has the gradient x: the penalty is a mean over samples, not of one long vector."""
    lengths = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    images = torch.randn(3, 3, 5, 5, dtype=torch.float64)
    images *= (lengths / images.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    value = gradient_penalty(lambda x: x.square().sum((1, 2, 3)) / 2, images, images)
    assert value.item() == pytest.approx(10 * (0 + 1 + 9) / 3)


def test_penalty_looks_between_real_and_fake():
    seen = []

    def critic(images):
        seen.append(images)
        return images.square().flatten(1).sum(1)

    real, fake = pair(200)
    gradient_penalty(critic, real, fake.requires_grad_())
    share = ((seen[0] - fake) / (real - fake)).flatten(1)       # one position for each sample
    assert torch.allclose(share, share[:, :1].expand_as(share))
    assert 0 <= share.min() < 0.1 and 0.9 < share.max() <= 1
    assert abs(share[:, 0].mean() - 0.5) < 0.1


def test_penalty_teaches_the_critic_alone():
    real, fake = pair()
    real.requires_grad_()
    fake.requires_grad_()
    weight = torch.randn(3, 5, 5, dtype=torch.float64, requires_grad=True)
    gradient_penalty(linear_critic(weight), real, fake).backward()
    assert weight.grad.any() and real.grad is None and fake.grad is None


# ---- in training

ARGV = {'pix2pix': ['--netG', 'unet_32'], 'cyclegan': ['--netG', 'resnet_1blocks', '--pool_size', 0]}


@pytest.fixture
def wgan(train_options, build_model, tmp_path):
    """wgan('pix2pix', ...) -> a model after its forward pass; equal for equal options."""
    def build(name, *argv):
        seed_everything(3)
        model = build_model(train_options('--dataroot', tmp_path, '--model', name, *ARGV[name], *argv))
        A, B = torch.rand(2, 2, 3, 32, 32) * 2 - 1
        model.set_input({'A': A, 'B': B, 'A_paths': ['0.png', '1.png']})
        model.forward()
        return model
    return build


@pytest.mark.parametrize('name', ARGV)
def test_wgangp_adds_the_penalty_of_every_critic(name, wgan):
    def judged(model):
        if name == 'pix2pix':
            return [(model.netD, *(torch.cat([model.real_A, B], 1) for B in (model.real_B, model.fake_B)))]
        return [(model.netD_A, model.real_B, model.fake_B), (model.netD_B, model.real_A, model.fake_A)]

    model = wgan(name, '--gan_mode', 'wgangp', '--lambda_gp', 7)
    seed_everything(4)
    with_penalty = model.loss_D().item()
    seed_everything(4)
    penalty = sum(gradient_penalty(netD, real, fake, 7).item() for netD, real, fake in judged(model))
    without = wgan(name, '--gan_mode', 'wgangp', '--lambda_gp', 0).loss_D().item()
    assert penalty > 1e-3
    assert with_penalty - without == pytest.approx(penalty, rel=1e-3)


@pytest.mark.parametrize('name', ARGV)
@pytest.mark.parametrize('gan_mode, counts', [('wgangp', True), ('lsgan', False), ('vanilla', False)])
def test_only_a_wasserstein_critic_learns_from_the_penalty(name, gan_mode, counts, wgan):
    critics = []
    for lambda_gp in (0, 10):
        model = wgan(name, '--gan_mode', gan_mode, '--lambda_gp', lambda_gp)
        trainer_of(model).work(lambda index, update: [0])
        critics.append(next(net for label, net in model.nets.items() if label.startswith('D')))
    grads = [torch.cat([p.grad.flatten() for p in critic.parameters()]) for critic in critics]
    assert torch.equal(*grads) is not counts
