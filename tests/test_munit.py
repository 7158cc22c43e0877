"""MUNIT against the original's numbers, hand-written formulas and its own promises.

The reference numbers are float64 losses of the original's updates with weights, images and styles from a formula.
"""
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY_TRAINING, draw_root
from training import trainer_of

import train
from models.losses import VggFeatures
from models.munit_model import MunitModel
from models.networks import DecoderLayerNorm, MultiscaleDiscriminator, MunitGenerator, StyleDecoder, adain
from models.training.state import load_networks
from options import TestOptions, TrainOptions
from util.checkpoint import store
from util.cli import run
from util.machine.runtime import Runtime

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'datasets'))

from demo_scores import variety

GOLDEN = json.loads((ROOT / 'tests' / 'golden_munit.json').read_text(encoding='utf-8'))
PRESETS = {'tiny': (8, 16, 2, 8, 2, 64, 80), 'tiny1': (8, 16, 2, 8, 1, 64, 80),
           'default': (64, 256, 4, 64, 1, 128, 128)}
BASES = {'G_A': 1000, 'G_B': 2000, 'D_A': 3000, 'D_B': 4000}
THEIR_NAMES = {
    'D_A': 'loss_dis_a', 'D_B': 'loss_dis_b', 'GAN_A': 'loss_gen_adv_a', 'GAN_B': 'loss_gen_adv_b',
    **{f'recon_{code}_{d}': f'loss_gen_recon_{code}_{d.lower()}' for code in 'xsc' for d in 'AB'},
    **{f'cyc_{d}': f'loss_gen_cycrecon_x_{d.lower()}' for d in 'AB'},
    **{f'vgg_{d}': f'loss_gen_vgg_{d.lower()}' for d in 'AB'}}


# ---- weights and images from a formula

def uniform(shape, stream: int) -> torch.Tensor:
    """Numbers in [0, 1) that depend on their position and the stream only."""
    low = np.uint64(0xFFFFFFFF)
    z = ((np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B1)
         + np.uint64(stream + 1) * np.uint64(0x85EBCA77)) & low
    z ^= z >> np.uint64(16)
    z = (z * np.uint64(0x7FEB352D)) & low
    z ^= z >> np.uint64(15)
    z = (z * np.uint64(0x846CA68B)) & low
    z ^= z >> np.uint64(16)
    return torch.from_numpy(z.astype(np.float64) / 2**32).view(shape)


def formula_weight(key: str, shape, stream: int) -> torch.Tensor:
    u = uniform(shape, stream)
    if key.endswith('gamma'):
        return u
    if len(shape) == 1:
        return 0.1 * (2 * u - 1)
    return (2 * u - 1) * math.sqrt(3) * math.sqrt(2 / math.prod(shape[1:]))


@torch.no_grad()
def fill(net, base: int, n_res: int = 0):
    """Formula weights; the original's AdaIN buffers, which we do not have, count in the numbering."""
    weights = net.state_dict()
    buffers = [f'dec.model.0.model.{block}.model.{conv}.norm.running_{kind}'
               for block in range(n_res) for conv in (0, 1) for kind in ('mean', 'var')]
    for number, key in enumerate(sorted([*weights, *buffers])):
        if key in weights:
            weights[key].copy_(formula_weight(key, weights[key].shape, base + number))


def formula_vgg():
    shapes, inputs = {}, 3
    for block, (size, width) in enumerate(zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512), strict=True), 1):
        for n in range(1, size + 1):
            shapes[f'conv{block}_{n}.weight'], shapes[f'conv{block}_{n}.bias'] = (width, inputs, 3, 3), (width,)
            inputs = width
    return {key: formula_weight(key, shapes[key], 5000 + number) for number, key in enumerate(sorted(shapes))}


@pytest.fixture
def model_of(monkeypatch):
    """model_of(variant) -> the model in float64 with formula weights, its batch size and image size."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)

    def build(variant):
        ngf, mlp_dim, n_res, ndf, batch, height, width = PRESETS[variant['preset']]
        shared = vars(TrainOptions().build_parser([]).parse_args([]))
        opt = SimpleNamespace(**shared | dict(
            isTrain=True, input_nc=3, output_nc=3, ngf=ngf, ndf=ndf, style_dim=8, mlp_dim=mlp_dim, n_downsample=2,
            n_downsample_style=4, n_res=n_res, pad_type=variant['pad'], n_layers_D=4, num_scales_D=3, norm_D='none',
            init_type='kaiming', init_type_D='normal', init_gain=0.02, lr=1e-4, beta1=0.5, weight_decay=1e-4,
            gan_mode={'lsgan': 'lsgan', 'nsgan': 'vanilla'}[variant['gan']], lambda_gan=1.0, lambda_recon_x=10.0,
            lambda_recon_s=1.0, lambda_recon_c=1.0, lambda_cyc=variant['cyc'], lambda_vgg=variant['vgg'],
            detach_content=False, share_styles=variant['shared_styles'], seed=0, norm='instance',
            batch_size=batch, crop_size=height, engine='eager', ema=0, grad_checkpoint=False,
            accumulate=1, update_size=0, parallel='data', fused_norms=False, lr_policy='step',
            lr_decay_iters=50, lr_gamma=0.1, lr_step_unit='epoch', n_epochs=100, n_epochs_decay=100))
        vgg = VggFeatures(formula_vgg()) if variant['vgg'] else None
        monkeypatch.setattr(MunitModel, 'load_vgg', lambda self: vgg)
        model = MunitModel(opt, Runtime(torch.device('cpu'), 'cpu'))
        for name, base in BASES.items():
            fill(model.nets[name], base, n_res if name.startswith('G') else 0)
        return model, batch, (height, width)
    yield build
    torch.set_default_dtype(before)


VARIANTS = [pytest.param(name, marks=[pytest.mark.slow] * (name == 'default')) for name in GOLDEN]


@pytest.mark.sample(3)
@pytest.mark.parametrize('name', VARIANTS)
def test_updates_equal_the_original(name, model_of):
    variant = GOLDEN[name]
    model, batch, size = model_of(variant)
    weights = {'recon_x': 10.0, 'cyc_': variant['cyc'], 'vgg_': variant['vgg']}
    for step, theirs in enumerate(variant['steps']):
        images = [2 * uniform((batch, 3, *size), 6000 + 10 * step + domain) - 1 for domain in (0, 1)]
        styles = [math.sqrt(3) * (2 * uniform((batch, 8, 1, 1), 7000 + 10 * step + which) - 1) for which in range(4)]
        draws = iter([tuple(styles[:2]), tuple(styles[2:])])
        model.draw_styles = lambda n, draws=draws: next(draws)
        trainer_of(model).step({'A': images[0], 'B': images[1], 'A_paths': ['image'] * batch})
        for ours, loss in model.losses.items():
            weight = next((w for start, w in weights.items() if ours.startswith(start)), 1.0)
            assert loss.item() / weight == pytest.approx(theirs[THEIR_NAMES[ours]], abs=1e-8), (step, ours)
    for net, theirs in zip(BASES, ('gen_a', 'gen_b', 'dis_a', 'dis_b'), strict=True):
        total = sum(parameter.abs().sum().item() for parameter in model.nets[net].parameters())
        assert total == pytest.approx(variant['abs_sum'][theirs], abs=1e-6)


# ---- the parts, by hand

def test_adain_by_hand():
    x, shift, scale = torch.randn(2, 3, 5, 7), torch.randn(2, 3), torch.randn(2, 3)
    expected = torch.empty_like(x)
    for n in range(2):
        for c in range(3):
            plane = x[n, c]
            normalised = (plane - plane.mean()) / (plane.var(unbiased=False) + 1e-5).sqrt()
            expected[n, c] = scale[n, c] * normalised + shift[n, c]
    assert torch.allclose(adain(x, shift, scale), expected, atol=1e-5)


def test_shifts_come_before_scales():
    """With scales of zero an AdaIN layer gives its shift: the residual blocks then add a constant for each channel."""
    decoder = StyleDecoder(3, 4, 0, 1, 'reflect')
    shifts = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    parameters = torch.cat([torch.zeros(1, 8), shifts, torch.zeros(1, 4)], dim=1)
    content = torch.randn(1, 4, 6, 6)
    halves = parameters.split(4, dim=1)
    out = decoder.model[0](content, list(zip(halves[0::2], halves[1::2], strict=True)))
    assert torch.allclose(out, content + shifts[..., None, None], atol=1e-6)


def test_layer_norm_by_hand():
    norm, x = DecoderLayerNorm(3), torch.randn(2, 3, 4, 5)
    norm.beta.data = torch.tensor([0.1, 0.2, 0.3])
    for n in range(2):
        values = x[n].flatten()
        deviation = math.sqrt(((values - values.mean())**2).sum() / (len(values) - 1))
        expected = (x[n] - values.mean()) / (deviation + 1e-5) * norm.gamma[:, None, None] + norm.beta[:, None, None]
        assert torch.allclose(norm(x)[n], expected, atol=1e-6)
    assert 0 <= norm.gamma.min() and norm.gamma.max() <= 1


def test_keys_and_counts():
    """The numbers of section 1.3 of the paper's code: 15,026,187 and 8,271,171 parameters a domain."""
    generator, discriminator = MunitGenerator(), MultiscaleDiscriminator()
    assert sum(p.numel() for p in generator.parameters()) == 15_026_187
    assert sum(p.numel() for p in discriminator.parameters()) == 8_271_171
    shapes = {key: tuple(value.shape) for key, value in generator.state_dict().items()}
    assert len(shapes) == 66 and len(discriminator.state_dict()) == 30
    assert shapes['enc_style.model.0.conv.weight'] == (64, 3, 7, 7)
    assert shapes['enc_style.model.4.conv.weight'] == (256, 256, 4, 4)
    assert shapes['enc_style.model.6.weight'] == (8, 256, 1, 1)
    assert shapes['enc_content.model.3.model.3.model.1.conv.weight'] == (256, 256, 3, 3)
    assert shapes['mlp.model.2.fc.weight'] == (4096, 256)
    assert shapes['dec.model.2.conv.weight'] == (128, 256, 5, 5) and shapes['dec.model.2.norm.gamma'] == (128,)
    assert shapes['dec.model.5.conv.weight'] == (3, 64, 7, 7)
    assert tuple(discriminator.state_dict()['cnns.2.4.weight'].shape) == (1, 512, 1, 1)


def test_maps_of_the_discriminator():
    maps = MultiscaleDiscriminator(ndf=4)(torch.randn(1, 3, 256, 256))
    assert [tuple(patches.shape) for patches in maps] == [(1, 1, 16, 16), (1, 1, 8, 8), (1, 1, 4, 4)]


def test_diversity_of_known_images():
    """The measure of the demo's gate: all hues equally often is 1, one hue is 0."""
    assert variety([0, 1, 2, 3, 4, 5] * 3)['entropy'] == pytest.approx(1.0)
    assert variety([2] * 18)['entropy'] == pytest.approx(0.0)


# ---- command lines

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('munit')
    root = draw_root(folder / 'data', ('A', 'B'))
    words = [*TINY_TRAINING, '--model', 'munit', '--dataroot', root, '--name', 'run', '--checkpoints_dir', folder,
             '--max_iters', 3, '--num_scales_D', 1, '--n_layers_D', 3, '--style_dim', 4, '--n_res', 1]
    assert run(train.main, [str(word) for word in words]) == 0
    return folder


@pytest.fixture
def translated(trained, tmp_path):
    """translated('--num_styles', 3) -> {file name: bytes}, of the run's test images."""
    import test

    def translate(*words, name='run'):
        words = ['--name', name, '--checkpoints_dir', trained, '--results_dir', tmp_path, '--gpu_ids', -1,
                 '--num_threads', 0, *words]
        assert run(test.main, [str(word) for word in words]) == 0
        return {path.name: path.read_bytes() for path in (tmp_path / name / 'test_latest' / 'images').glob('*.png')}
    return translate


def test_random_styles_are_given_by_the_seed(translated):
    first, again = translated('--num_styles', 3), translated('--num_styles', 3)
    other = translated('--num_styles', 3, '--style_seed', 11)
    assert first == again
    assert {f'0_fake_B_{k}.png' for k in range(3)} | {'0_real_A.png', '0_rec_A.png'} <= first.keys()
    assert len({first[f'0_fake_B_{k}.png'] for k in range(3)}) == 3
    assert first['0_fake_B_0.png'] != other['0_fake_B_0.png'] and first['0_rec_A.png'] == other['0_rec_A.png']


def test_one_style_has_no_number(translated):
    assert '0_fake_B.png' in translated('--num_styles', 1)


def test_guided_style_is_that_of_the_example(translated, trained, tmp_path):
    """The same as encoding by hand, and noted in results.json."""
    example = trained / 'data' / 'testB' / '1.png'
    files = translated('--style_image', example)
    assert '0_fake_B.png' in files and 'style.png' in files
    listed = json.loads((tmp_path / 'run' / 'test_latest' / 'results.json').read_text(encoding='utf-8'))
    assert listed['images'][0]['styles'] == {'fake_B': str(example)}

    from data import create_dataset, create_loader
    from models import create_model
    from util.images import as_numbers, tensor_to_image
    from util.machine.runtime import start_runtime
    opt = TestOptions().parse(['--name', 'run', '--checkpoints_dir', str(trained), '--num_threads', '0'])
    dataset = create_dataset(opt)
    model = create_model(opt, start_runtime('-1'))
    load_networks(model, trained / 'run', 'latest')
    batch = next(iter(create_loader(dataset, opt)))
    with torch.no_grad():
        style = model.netG_B.encode(dataset.read(str(example)))[1]
        by_hand = model.netG_B.decode(model.netG_A.encode(as_numbers(batch['A']))[0], style)
    from PIL import Image
    saved = np.asarray(Image.open(tmp_path / 'run' / 'test_latest' / 'images' / '0_fake_B.png'))
    assert np.array_equal(saved, tensor_to_image(by_hand[0]))


def test_other_direction_exchanges_the_domains(translated):
    there, back = translated('--num_styles', 1), translated('--num_styles', 1, '--direction', 'BtoA')
    assert there['0_rec_A.png'] != back['0_rec_A.png'] and '0_fake_B.png' in back


def test_original_checkpoints_round_trip(trained, translated, tmp_path):
    """Out and in again: the same images. Statistics of PyTorch 0.3 files are dropped."""
    import sys
    sys.path.insert(0, str(ROOT / 'scripts'))
    import convert_munit
    before = translated('--num_styles', 1)
    file = tmp_path / 'gen_00000003.pt'
    places = ['--checkpoints_dir', str(trained)]
    assert run(convert_munit.main, ['--name', 'run', '--export', str(file), *places]) == 0
    parts = store.read(file)
    assert set(parts) == {'a', 'b'} and 'dec.model.0.model.0.model.1.norm.running_var' in parts['a']
    parts['a']['enc_content.model.0.norm.running_mean'] = torch.zeros(4)
    torch.save(parts, file)
    assert run(convert_munit.main, [str(file), '--name', 'converted', *places]) == 0
    sizes = ['--dataroot', str(trained / 'data'), '--load_size', '36', '--crop_size', '32']
    after = translated('--num_styles', 1, *sizes, name='converted')
    assert after == before


def test_files_that_are_no_checkpoint_of_munit(trained, tmp_path, capsys):
    import sys
    sys.path.insert(0, str(ROOT / 'scripts'))
    import convert_munit
    photo, ours = trained / 'data' / 'testA' / '0.png', trained / 'run' / 'latest_net_G_A.pth'
    for path, said in ((tmp_path / 'nope.pt', f'there is no file {tmp_path / "nope.pt"}; give'),
                       (photo, f'{photo} cannot be read as a checkpoint'), (ours, 'no parts a and b')):
        assert run(convert_munit.main, [str(path), '--name', 'x']) == 2
        line, = capsys.readouterr().err.splitlines()
        assert said in line and '--epoch' not in line


def test_a_conversion_needs_a_name(capsys):
    import sys
    sys.path.insert(0, str(ROOT / 'scripts'))
    import convert_munit
    assert run(convert_munit.main, ['gen_1.pt']) == 2
    assert capsys.readouterr().err == 'error: give the name of the run with --name NAME\n'


@pytest.mark.parametrize('preset, options', [
    ('summer2winter', {'lambda_cyc': 10.0, 'lambda_vgg': 0.0}),
    ('synthia2cityscape', {'lambda_cyc': 10.0, 'lambda_vgg': 1.0, 'crop_size': 512}),
    ('edges2shoes', {'lambda_cyc': 0.0, 'lr': 1e-4, 'weight_decay': 1e-4, 'max_iters': 1_000_000, 'lr_gamma': 0.5})])
def test_presets(preset, options):
    words = ['--model', 'munit', '--dataroot', '.', '--preset', preset]
    opt = TrainOptions().parse(words)
    assert {name: getattr(opt, name) for name in options} == options
    assert TrainOptions().parse([*words, '--lambda_cyc', '3']).lambda_cyc == 3


def test_weights_that_are_no_vgg(trained, capsys):
    for path in (trained / 'data' / 'testA' / '0.png', trained / 'run' / 'latest_net_G_A.pth'):
        words = [*TINY_TRAINING, '--model', 'munit', '--dataroot', trained / 'data', '--name', 'vgg', '--lambda_vgg', 1,
                 '--checkpoints_dir', trained, '--num_scales_D', 1, '--n_layers_D', 3, '--vgg_weights', path]
        capsys.readouterr()
        assert run(train.main, [str(word) for word in words]) == 2
        line, = capsys.readouterr().err.splitlines()
        assert str(path) in line and '--vgg_weights' in line and '--epoch' not in line


@pytest.mark.parametrize('line', ['--n_downsample 0', '--n_downsample_style 0', '--n_res 1 --style_dim 1 --mlp_dim 1'])
def test_the_smallest_networks_train(trained, line, capsys):
    words = [*TINY_TRAINING, '--model', 'munit', '--dataroot', trained / 'data', '--name', 'small', '--overwrite',
             '--checkpoints_dir', trained, '--num_scales_D', 1, '--n_layers_D', 1, '--max_iters', 1, *line.split()]
    assert run(train.main, [str(word) for word in words]) == 0
    assert capsys.readouterr().err == ''


def test_perceptual_loss_without_weights(trained, monkeypatch, capsys):
    pytest.importorskip('torchvision')

    def no_network(*_, **__):
        raise OSError('no network')
    monkeypatch.setattr('torchvision.models._api.load_state_dict_from_url', no_network)
    words = [*TINY_TRAINING, '--model', 'munit', '--dataroot', trained / 'data', '--name', 'vgg', '--checkpoints_dir',
             trained, '--lambda_vgg', 1, '--num_scales_D', 1, '--n_layers_D', 3]
    assert run(train.main, [str(word) for word in words]) == 2
    assert '--vgg_weights' in capsys.readouterr().err
