"""The names of the reference's networks.py: the same layers, keys and numbers as our networks."""
import copy
import functools

import pytest
import torch
from torch import nn

from models import networks, reference_networks
from models.losses import gradient_penalty


def test_scripts_find_the_names_in_models_networks():
    from models.networks import define_G
    assert define_G is reference_networks.define_G and networks.GANLoss is reference_networks.GANLoss
    assert networks.ResnetGenerator is not reference_networks.ResnetGenerator       # ours is there, too
    with pytest.raises(AttributeError, match='no_such_name'):
        print(networks.no_such_name)


def test_on_a_gpu_files_find_a_network_in_its_module(monkeypatch):
    monkeypatch.setattr(torch.accelerator, 'current_accelerator', lambda: torch.device('cpu'))
    net = reference_networks.init_net(nn.Conv2d(1, 1, 1), gpu_ids=[0])
    assert net.module is net and list(net.state_dict()) == ['weight', 'bias'] and len(list(net.modules())) == 1
    twin = copy.deepcopy(net)
    assert twin.module is twin
    assert not hasattr(reference_networks.init_net(nn.Conv2d(1, 1, 1)), 'module')


@pytest.mark.parametrize('norm', ['batch', 'instance', 'none'])
def test_norm_layers_decide_about_biases_as_in_the_reference(norm):
    layer = reference_networks.get_norm_layer(norm)
    kind = layer.func if isinstance(layer, functools.partial) else layer
    assert (kind == nn.InstanceNorm2d) == (norm == 'instance')
    assert type(layer(3)).__name__ == {'batch': 'BatchNorm2d', 'instance': 'InstanceNorm2d', 'none': 'Identity'}[norm]
    net = reference_networks.NLayerDiscriminator(3, 4, n_layers=1, norm_layer=layer)
    ours = networks.PatchDiscriminator(3, 4, 1, norm)
    assert net.state_dict().keys() == ours.state_dict().keys()


def test_a_norm_of_its_own_is_used():
    affine = functools.partial(nn.InstanceNorm2d, affine=True)
    net = reference_networks.ResnetGenerator(3, 3, 4, affine, False, 1)
    assert 'model.2.weight' in net.state_dict() and 'model.1.bias' in net.state_dict()
    net = reference_networks.UnetGenerator(3, 3, 5, 4, functools.partial(nn.GroupNorm, 1))
    assert any(isinstance(module, nn.GroupNorm) for module in net.modules())


@pytest.mark.parametrize('dropout', [False, True])
@pytest.mark.parametrize('norm', ['batch', 'instance'])
def test_a_unet_of_its_blocks_is_ours(norm, dropout):
    norm_layer = reference_networks.get_norm_layer(norm)
    block = functools.partial(reference_networks.UnetSkipConnectionBlock, norm_layer=norm_layer)
    levels = block(32, 32, innermost=True)
    levels = block(32, 32, submodule=levels, use_dropout=dropout)
    for outer, inner in ((16, 32), (8, 16), (4, 8)):
        levels = block(outer, inner, submodule=levels)
    net = nn.Sequential()
    net.model = block(3, 4, input_nc=2, submodule=levels, outermost=True)
    ours = networks.UnetGenerator(2, 3, 4, norm, dropout, 6)
    net.load_state_dict(ours.state_dict())
    image = torch.randn(2, 2, 64, 64)
    assert torch.equal(net.eval()(image), ours.eval()(image))


@pytest.mark.parametrize('padding', ['reflect', 'replicate', 'zero'])
def test_residual_blocks_with_every_padding(padding):
    block = reference_networks.ResnetBlock(4, padding, nn.BatchNorm2d, True, False)
    image = torch.randn(2, 4, 8, 8)
    assert block(image).shape == image.shape
    shift = {'reflect': 0, 'replicate': 0, 'zero': -1}[padding]
    convolutions = [name for name, module in block.conv_block.named_children() if isinstance(module, nn.Conv2d)]
    assert convolutions == [str(1 + shift), str(6 + 2 * shift)]
    net = reference_networks.ResnetGenerator(3, 3, 4, nn.BatchNorm2d, True, 2, padding)
    assert net(torch.randn(1, 3, 16, 16)).shape == (1, 3, 16, 16)
    if padding == 'reflect':
        ours = networks.ResnetBlock(4, 'batch', True)
        ours.load_state_dict(block.state_dict())
        assert torch.allclose(ours.eval()(image), block.eval()(image), atol=1e-6)
    with pytest.raises(NotImplementedError, match='padding'):
        reference_networks.ResnetBlock(4, 'circular', nn.BatchNorm2d, False, False)


def test_networks_can_be_extended():
    class Own(reference_networks.UnetGenerator):
        def forward(self, image):
            return self.model(image) * 2
    net, ours = Own(3, 3, 5, 4), networks.UnetGenerator(3, 3, 4, 'batch', False, 5)
    net.load_state_dict(ours.state_dict())
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(net.eval()(image), 2 * ours.eval()(image))


def test_the_gradient_penalty_at_other_points_and_for_another_norm():
    net = nn.Conv2d(1, 1, 4, bias=False)
    real, fake = torch.randn(2, 3, 1, 4, 4)
    size = float(net.weight.norm())
    for points in ('real', 'fake', 'mixed'):
        penalty, gradients = reference_networks.cal_gradient_penalty(net, real, fake, 'cpu', points, 0.5, 3.0)
        assert float(penalty) == pytest.approx(3 * (size - 0.5) ** 2, rel=1e-5) and gradients.shape == (3, 16)
    torch.manual_seed(1)
    penalty, _ = reference_networks.cal_gradient_penalty(net, real, fake, 'cpu')
    torch.manual_seed(1)
    assert torch.equal(penalty, gradient_penalty(net, real, fake))
    assert reference_networks.cal_gradient_penalty(net, real, fake, 'cpu', lambda_gp=0) == (0.0, None)


def test_gan_losses_with_other_labels():
    prediction = torch.tensor([[0.3, -1.2], [2.0, 0.5]])
    for mode in ('lsgan', 'vanilla', 'wgangp'):
        loss = reference_networks.GANLoss(mode, 0.9, 0.1)
        assert loss.get_target_tensor(prediction, True).shape == prediction.shape
        assert torch.isfinite(loss(prediction, True)) and torch.isfinite(loss(prediction, False))
    smooth = reference_networks.GANLoss('lsgan', 0.9)(prediction, True)
    assert float(smooth) == pytest.approx(float((prediction - 0.9).square().mean()))


def test_initialization_of_2018_has_no_gain():
    net = reference_networks.define_D(3, 4, 'basic', 3, 'instance', True, 'xavier', [])
    assert isinstance(net, networks.PatchDiscriminator)
    with pytest.raises(NotImplementedError, match='no_such'):
        reference_networks.define_D(3, 4, 'no_such')
