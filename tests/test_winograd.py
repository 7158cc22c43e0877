"""Winograd's method against PyTorch's convolution."""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import create_trainer, load_translator
from models.nets.convolutions import PaddedConv2d
from models.nets.factory import create_generator
from models.nets.winograd import Convolution, WinogradConv2d, convolve, filter_sums, use_winograd


@pytest.mark.parametrize('size', [(3, 3), (6, 6), (7, 12), (41, 8)])
@pytest.mark.parametrize('padding', [0, 1])
def test_values_are_those_of_a_plain_convolution(size, padding):
    x, weight = torch.randn(2, 5, *size).double(), torch.randn(7, 5, 3, 3).double()
    result = convolve(x, filter_sums(weight), padding)
    assert torch.allclose(result, F.conv2d(x, weight, padding=padding), rtol=0, atol=1e-12)


@pytest.mark.parametrize('size', [(3, 3), (9, 6), (41, 12)])
@pytest.mark.parametrize('padding', [0, 1])
def test_gradients_are_those_of_a_plain_convolution(size, padding):
    x, weight = torch.randn(2, 5, *size).double(), torch.randn(7, 5, 3, 3).double()
    given = [tensor.requires_grad_() for tensor in (x, weight)]
    plain = F.conv2d(x, weight, padding=padding)
    gradient = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, given, gradient)
    found = torch.autograd.grad(Convolution.apply(x, weight, padding), given, gradient)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-11)


def test_only_convolutions_that_gain_are_replaced():
    net = nn.Sequential(nn.Conv2d(32, 32, 3), nn.Conv2d(32, 32, 3, stride=2), nn.Conv2d(32, 32, 4), nn.Conv2d(3, 32, 3),
                        PaddedConv2d(32, 48, 3, padding=1, padding_mode='reflect', bias=False),
                        nn.utils.parametrizations.spectral_norm(nn.Conv2d(32, 32, 3)))
    use_winograd(net)
    assert [isinstance(layer, WinogradConv2d) for layer in net] == [True, False, False, False, True, False]


@pytest.mark.parametrize('frozen', [False, True])
def test_a_network_has_the_same_keys_and_nearly_the_same_numbers(frozen):
    net, fast = (create_generator('resnet_6blocks', 3, 3, 8, 'instance', False) for _ in range(2))
    fast.load_state_dict(net.state_dict())
    use_winograd(fast, frozen)
    assert sum(isinstance(module, WinogradConv2d) for module in fast.modules()) == 12
    assert list(fast.state_dict()) == list(net.state_dict())
    x = torch.rand(1, 3, 36, 52) * 2 - 1
    with torch.no_grad():
        difference = (net(x) - fast(x)).abs().max().item()
        assert 0 < difference < 1e-4
        assert torch.equal(fast.bfloat16()(x.bfloat16()), net.bfloat16()(x.bfloat16()))     # plain convolutions


def test_a_translator_computes_by_either_method(tmp_path):
    net = create_generator('resnet_6blocks', 3, 3, 8, 'instance', False)
    torch.save(net.state_dict(), tmp_path / 'latest_net_G.pth')
    options = dict(netG='resnet_6blocks', ngf=8, no_dropout=True)
    plain, fast = load_translator(tmp_path, **options), load_translator(tmp_path, **options).winograd()
    image = torch.rand(1, 3, 70, 45) * 2 - 1
    for tile in (None, 64):
        difference = (plain(image, tile=tile) - fast(image, tile=tile)).abs().max().item()
        assert 0 < difference < 1e-4
    assert torch.equal(plain.bfloat16()(image), fast.bfloat16()(image))


def test_a_first_step_is_the_plain_one(train_options, unaligned_root, build_model):
    losses = []
    for more in ((), ('--winograd',)):
        opt = train_options('--dataroot', unaligned_root, '--model', 'cyclegan', '--netG', 'resnet_6blocks', '--ngf',
                            '8', *more)
        torch.manual_seed(0)
        model = build_model(opt)
        trainer = create_trainer(opt, model)
        images = {name: torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1 for name in 'AB'}
        trainer.step({**images, 'A_paths': ['a'], 'B_paths': ['b']})
        losses.append(model.get_current_losses())
        assert any(isinstance(module, WinogradConv2d) for module in model.netG_A.modules()) == bool(more)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0] != losses[1]
