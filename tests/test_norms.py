"""The norm layers against PyTorch's in double precision, for every memory format, and the Triton form of them."""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.nets.convolutions import OutputConv2d, PaddedConv2d, ReflectionPad2d
from models.nets.norms import (
    Chain,
    DecoderLayerNorm,
    InstanceNorm2d,
    adain,
    fuse_norms,
    fused_groups,
    instance_norm,
    plain_norms,
)
from models.networks import create_generator

ROOT = Path(__file__).resolve().parents[1]
FORMATS = {'NCHW': torch.contiguous_format, 'channels_last': torch.channels_last}


def by_hand(x, eps=1e-5):
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) / ((x - mean).square().mean((2, 3), keepdim=True) + eps).sqrt()


def arranged(x, how):
    """The same numbers, in a memory format or as every second column of something wider."""
    if how == 'not contiguous':
        return torch.stack([x, torch.zeros_like(x)], -1).flatten(-2)[..., ::2]
    return x.contiguous(memory_format=FORMATS[how])


@pytest.mark.parametrize('n', [1, 3])
@pytest.mark.parametrize('layout', FORMATS)
@pytest.mark.parametrize('layout_of_gradient', [*FORMATS, 'not contiguous'])
def test_instance_norm(n, layout, layout_of_gradient):
    """PyTorch's own layer fails this on a CPU for n = 1 and a gradient in channels_last."""
    x, gradient = torch.randn(2, n, 5, 6, 7, dtype=torch.float64)
    results = []
    for norm in (by_hand, InstanceNorm2d(5)):
        leaf = arranged(x, layout).detach().requires_grad_()
        y = norm(leaf)
        y.backward(arranged(gradient, layout_of_gradient))
        results.append((y, leaf.grad))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_instance_norm_has_no_keys_and_the_numbers_of_pytorch():
    x, norm = torch.randn(2, 4, 9, 8) * 3 + 5, InstanceNorm2d(4)
    assert norm.state_dict() == {} and isinstance(norm, nn.InstanceNorm2d)
    torch.testing.assert_close(norm(x), nn.InstanceNorm2d(4)(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('value', [0.0, 7.3, -1e4])
def test_constant_planes_become_zero(value):
    x = torch.full((1, 2, 16, 16), value, requires_grad=True)
    y = instance_norm(x)
    y.backward(torch.randn_like(y))
    assert y.abs().max() < 1e-2 * max(1, abs(value)) * 1e-2 and y.isfinite().all() and x.grad.isfinite().all()


def test_a_mean_far_from_zero_costs_no_digits():
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64) + 1000
    assert (instance_norm(x.float()) - by_hand(x)).abs().max() < 2e-3
    x = (x - 1000) * 1e-3 + 1000        # E[x^2] - E[x]^2 would have nothing left here
    assert (instance_norm(x) - by_hand(x)).abs().max() < 1e-6


@pytest.mark.parametrize('padding, height, width', [(1, 5, 7), (3, 4, 4), (3, 9, 5), (2, 3, 8)])
def test_reflection_padding(padding, height, width):
    x, theirs = (torch.randn(2, 3, height, width, dtype=torch.float64).requires_grad_() for _ in range(2))
    theirs.data.copy_(x.data)
    ours, expected = ReflectionPad2d(padding)(x), nn.ReflectionPad2d(padding)(theirs)
    gradient = torch.randn_like(expected)
    ours.backward(gradient)
    expected.backward(gradient)
    assert torch.equal(ours, expected)
    torch.testing.assert_close(x.grad, theirs.grad, rtol=1e-14, atol=1e-14)
    assert torch.autograd.gradgradcheck(ReflectionPad2d(padding), x)
    conv, plain = (kind(3, 2, 3, 1, padding, padding_mode='reflect') for kind in (PaddedConv2d, nn.Conv2d))
    plain.load_state_dict(conv.state_dict())
    assert torch.equal(conv(x.float()), plain(x.float()))
    with torch.autocast('cpu', torch.bfloat16):
        assert ReflectionPad2d(1)(x.bfloat16()).dtype == torch.bfloat16


def test_a_plane_of_one_value_is_refused():
    with pytest.raises(ValueError, match='more than 1 spatial element'):
        InstanceNorm2d(2)(torch.zeros(3, 2, 1, 1))


def test_what_follows_a_norm():
    x, shift, scale, residual = torch.randn(2, 3, 5, 5), torch.randn(2, 3), torch.randn(2, 3), torch.randn(2, 3, 5, 5)
    affine = by_hand(x) * scale[..., None, None] + shift[..., None, None]
    torch.testing.assert_close(adain(x, shift, scale), affine)
    torch.testing.assert_close(adain(x, shift, scale, 0.0), affine.relu())
    torch.testing.assert_close(instance_norm(x, slope=0.2, padding=2),
                               F.pad(F.leaky_relu(by_hand(x), 0.2), (2, 2, 2, 2), mode='reflect'))
    torch.testing.assert_close(InstanceNorm2d(3)(x, residual=residual), by_hand(x) + residual)


@pytest.mark.parametrize('kind', ['chain', 'resnet'])
def test_a_chain_is_a_sequence(kind):
    layers = (nn.ReflectionPad2d(1), nn.Conv2d(3, 3, 3), InstanceNorm2d(3), nn.ReLU())
    x = torch.randn(1, 3, 8, 8)
    if kind == 'chain':
        chain = Chain(*layers)
        assert torch.equal(chain(x), nn.Sequential(*layers)(x))
        assert torch.equal(chain(x, residual=x), x + nn.Sequential(*layers)(x))
        assert list(chain.state_dict()) == ['1.weight', '1.bias']
    else:
        net = create_generator('resnet_1blocks', 3, 3, 4, 'instance')
        assert torch.equal(net(x), nn.Sequential(*net.model)(x))


def test_gradients_of_gradients():
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: instance_norm(x, slope=0.2), x)
    assert torch.autograd.gradcheck(instance_norm, x)


def test_an_instance_norm_takes_over_the_layers_after_it():
    """Each layer comes once, and a norm has the slope and padding of the activation and padding that follow it."""
    norms = [InstanceNorm2d(4) for _ in range(3)]
    conv = nn.Conv2d(4, 4, 3)
    layers = [ReflectionPad2d(1), conv, norms[0], nn.LeakyReLU(0.2), ReflectionPad2d(3), conv, norms[1], conv, norms[2]]
    assert fused_groups(layers) == [(layers[0], 1.0, 0), (conv, 1.0, 0), (norms[0], 0.2, 3), (conv, 1.0, 0),
                                    (norms[1], 1.0, 0), (conv, 1.0, 0), (norms[2], 1.0, 0)]


def test_norms_are_plain_inside_a_penalty_and_fused_again_afterwards():
    net = Chain(nn.Conv2d(3, 3, 3), InstanceNorm2d(3))
    fuse_norms(net, instance_norm)
    with plain_norms(net):
        assert net.kernel is None and net[1].kernel is None
    assert net.kernel is net[1].kernel is instance_norm


def test_statistics_are_taken_in_float32():
    """In bfloat16 the mean of 4096 numbers near 1 would be off by far more than the rounding of the result."""
    x = (1 + 0.1 * torch.randn(1, 2, 64, 64)).bfloat16()
    expected = by_hand(x.double())
    with torch.autocast('cpu', torch.bfloat16):
        found = instance_norm(x)
        layer = DecoderLayerNorm(2)(x)
    assert found.dtype == layer.dtype == torch.bfloat16
    assert (found - expected).abs().max() < 2**-7 * expected.abs().max()


def test_the_last_layer_is_exact_under_autocast():
    conv, x = OutputConv2d(2, 1, 3), torch.randn(1, 2, 8, 8)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias)) is False       # the latter is in bfloat16
        assert conv(x.bfloat16()).dtype == torch.float32
        found = conv(x)
    assert torch.equal(found, conv(x))


def test_the_last_layer_under_autocast_lies_as_without():
    """What it computes with channels last changes neither the layout of images and gradients nor their numbers."""
    conv, rough = OutputConv2d(16, 3, 7), torch.randn(2, 16, 20, 20).bfloat16()
    ends = []
    for precise in (True, False):
        x = rough.clone().requires_grad_()
        with torch.autocast('cpu', torch.bfloat16, enabled=not precise):
            image = conv(x.float() if precise else x)
        assert image.is_contiguous() and image.dtype == torch.float32
        gradients = torch.autograd.grad(image.square().sum(), [x, *conv.parameters()])
        assert gradients[0].is_contiguous() and gradients[0].dtype == torch.bfloat16
        ends.append([image, *gradients])
    for precise, found in zip(*ends, strict=True):
        assert torch.allclose(precise.float(), found.float(), rtol=1e-2 if precise.dtype == torch.bfloat16 else 1e-4,
                              atol=1e-3)


# ---- the Triton form

def test_triton_kernels_give_the_plain_numbers(run_slow):
    """By Triton's interpreter, forward and backward; with --run-slow every layout, activation and padding."""
    if importlib.util.find_spec('triton') is None:
        pytest.skip('Triton is not installed: this PyTorch has no CUDA')
    script = ('import torch\nfrom models.experimental.fused_norm import CASES, difference\n'
              f'for case in CASES[::{1 if run_slow else 4}]:\n    print(case, difference(torch.device("cpu"), case))\n')
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=300,
                          env={**os.environ, 'TRITON_INTERPRET': '1'})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > (8 if run_slow else 2)
    for line in lines:
        assert float(line.split()[-1]) < 1e-5, line


def test_triton_kernels_compile_for_a_gpu():
    """To machine code of an H200; this needs no GPU."""
    if importlib.util.find_spec('triton') is None:
        pytest.skip('Triton is not installed: this PyTorch has no CUDA')
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from models.experimental import fused_norm
    fixed = dict(PIECE=fused_norm.PIECE, P=32, C=64, AFFINE=True, RESIDUAL=True, PADDED=True)
    images = dict.fromkeys(('x', 'g', 'y', 'residual', 'dx', 'dr'), '*bf16') | {'slope': 'fp32'}
    tables = dict.fromkeys(('count', 'mean', 'm2', 'rstd', 'scale', 'shift', 'sum_g', 'sum_gx', 'mean_g', 'mean_gx'),
                           '*fp32')
    for kernel in (fused_norm.moments_kernel, fused_norm.apply_kernel, fused_norm.sums_kernel,
                   fused_norm.gradient_kernel):
        names = kernel.arg_names
        kinds = {name: 'constexpr' if name in fixed else {**images, **tables}.get(name, 'i32') for name in names}
        by_name = triton.__version__ < '3.3'
        source = ASTSource(kernel, kinds, {name if by_name else (names.index(name),): fixed[name]
                                           for name in names if name in fixed})
        assert triton.compile(source, target=GPUTarget('cuda', 90, 32)).asm['cubin']


@pytest.mark.gpu
def test_triton_kernels_on_the_gpu():
    from models.experimental.fused_norm import CASES, difference, trouble
    device = torch.device('cuda')
    assert not trouble(device)
    for case in CASES:
        assert difference(device, case) < 1e-4, case


@pytest.mark.gpu
@pytest.mark.parametrize('fused', [False, True])
def test_channels_last_at_batch_1_on_the_gpu(fused):
    device, kernel = torch.device('cuda'), None
    if fused:
        from models.experimental.fused_norm import fused_instance_norm as kernel
    x, gradient = torch.randn(2, 1, 8, 16, 16, device=device)
    leaf = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    instance_norm(leaf, kernel=kernel).backward(gradient.contiguous(memory_format=torch.channels_last))
    exact = x.double().requires_grad_()
    by_hand(exact).backward(gradient.double())
    torch.testing.assert_close(leaf.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)
