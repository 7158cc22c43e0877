"""Numbers of the reference implementation, computed in double precision: every network and three training steps.

Weights and images are sines, so that the numbers can be made anew from a formula alone. `golden.json` holds
mean, population std, first and last value and wsum = sum of out_i * cos(0.1 i) of each result.
"""
import json
import math
from pathlib import Path

import pytest
import torch
from training import trainer_of

from models.networks import create_discriminator, create_generator

GOLDEN = json.loads(Path(__file__).with_name('golden.json').read_text(encoding='utf-8'))
SIDES = {'unet_128': 128, 'unet_256': 256}     # all others: 64

COMMON = ['--ngf', 8, '--ndf', 8, '--no_dropout', '--pool_size', 0, '--lambda_gp', 0]
CYCLEGAN = ['--model', 'cycle_gan', '--netG', 'resnet_6blocks', '--crop_size', 64, '--load_size', 64]
PIX2PIX = ['--model', 'pix2pix', '--netG', 'unet_128', '--crop_size', 128, '--load_size', 128]
COMMAND_LINES = {
    'cycle_gan/lsgan': [*CYCLEGAN, '--gan_mode', 'lsgan'],
    'cycle_gan/vanilla': [*CYCLEGAN, '--gan_mode', 'vanilla'],
    'cycle_gan/wgangp': [*CYCLEGAN, '--gan_mode', 'wgangp'],
    'cycle_gan/BtoA_noidt': [*CYCLEGAN, '--direction', 'BtoA', '--lambda_B', 5, '--lambda_identity', 0],
    'pix2pix/lsgan': [*PIX2PIX, '--gan_mode', 'lsgan'],
    'pix2pix/vanilla': [*PIX2PIX, '--gan_mode', 'vanilla'],
    'pix2pix/wgangp': [*PIX2PIX, '--gan_mode', 'wgangp'],
}


def weighted_sum(tensor):
    return (tensor.flatten() * torch.cos(0.1 * torch.arange(tensor.numel(), dtype=torch.float64))).sum().item()


def summary(tensor):
    return dict(mean=tensor.mean().item(), std=tensor.std(correction=0).item(), first=tensor.flatten()[0].item(),
                last=tensor.flatten()[-1].item(), wsum=weighted_sum(tensor))


def images(number, *shape):
    return torch.sin(0.013 * torch.arange(math.prod(shape), dtype=torch.float64) + 0.5 * number).view(shape)


@torch.no_grad()
def fill(net, number=0):
    """Give every entry of the state_dict its sine, scaled by what it is."""
    for place, (key, value) in enumerate(net.double().state_dict().items()):
        sine = torch.sin(0.7 * torch.arange(value.numel()).double() + 1.3 * place + 0.37 * number).view(value.shape)
        if key.endswith('num_batches_tracked'):
            value.zero_()
        elif value.ndim == 4:
            value.copy_(sine * math.sqrt(2 / math.prod(value.shape[1:])))
        elif key.endswith('running_var'):
            value.copy_(1 + 0.5 * sine)
        else:
            value.copy_(0.1 * sine if key.endswith(('bias', 'running_mean')) else 1 + 0.1 * sine)
    return net


@pytest.mark.parametrize('case', GOLDEN['forward'])
@torch.no_grad()
def test_forward(case):
    kind, net, norm, *mode = case.split('/')
    expected = dict(GOLDEN['forward'][case])
    if kind == 'G':
        module = create_generator(net, 3, 3, 8, norm, dropout=False)
        image = images(1, 2, 3, SIDES.get(net, 64), SIDES.get(net, 64))
    else:
        name, _, layers = net.partition(' ')
        module = create_discriminator(name, 6, 8, int(layers or 3), norm)
        image = images(2, 2, 6, 64, 64)
    output = fill(module).train(mode != ['eval'])(image)
    assert list(output.shape) == expected.pop('shape')
    assert summary(output) == pytest.approx(expected, abs=1e-10, rel=0)


@pytest.mark.parametrize('case', GOLDEN['training'])
def test_three_training_steps(case, train_options, build_model, tmp_path):
    expected, side = GOLDEN['training'][case], 128 if case.startswith('pix2pix') else 64
    opt = train_options('--dataroot', tmp_path, *COMMON, *COMMAND_LINES[case])
    model = build_model(opt)
    for number, net in enumerate(model.nets.values()):
        fill(net, number)
    A, B = images(10, 1, 3, side, side), images(20, 1, 3, side, side)
    if opt.direction == 'BtoA':     # which a dataset settles
        A, B = B, A
    for row in expected['losses']:
        trainer_of(model).step({'A': A, 'B': B, 'A_paths': ['0.png']})
        losses = {name: model.losses[name].item() if name in model.losses else 0.0 for name in model.loss_names}
        assert losses == pytest.approx(row, abs=1e-8, rel=0)
        assert list(losses) == list(row)
    weights = {name: sum(weighted_sum(p.detach()) for p in net.parameters() if p.ndim == 4)
               for name, net in model.nets.items()}
    assert weights == pytest.approx(expected['conv_weight_wsum'], abs=1e-8, rel=0)
    assert summary(model.fake_B.detach()) == pytest.approx(expected['fake_B'], abs=1e-8, rel=0)
