"""Runs that start from the weights of others (--init_from), and weights that are not trained (--freeze)."""
import shutil

import pytest
import states
import tiny_runs
import torch
from conftest import ROOT
from training import trainer_of

from data import create_dataset, create_loader
from models.networks import (
    BatchNorm2d,
    LatentUnet,
    MultiscaleDiscriminator,
    MunitGenerator,
    create_discriminator,
    create_generator,
)
from models.starting import freeze, source_of
from options import TrainOptions
from util.checkpoint import store
from util.cli import run
from util.errors import UserError

SHORT = ['--n_epochs', 1, '--n_epochs_decay', 0]


@pytest.fixture(scope='module')
def trained(server, home, tmp_path_factory):
    """The folder of three finished runs, which are named after their models."""
    runs = tiny_runs.Runs(server, home, tmp_path_factory.mktemp('trained'))
    for model, more in (('cyclegan', ['--direction', 'BtoA']), ('pix2pix', ['--norm', 'batch']),
                        ('munit', ['--style_dim', 3, '--n_epochs', 1])):
        assert runs.begin(model, model, *SHORT, *more).code == 0
    return runs.folder


@pytest.fixture
def parse(trained, home):
    """parse('aligned', ...) -> options of a new run on these images; only what is given is as in the tiny runs."""
    def options(root, *argv):
        words = ['--dataroot', home / root, '--checkpoints_dir', trained, '--name', 'new', '--load_size', 36,
                 '--crop_size', 32, '--num_threads', 0, '--gpu_ids', -1, '--display_id', -1, '--seed', 2, *argv]
        return TrainOptions().parse([str(word) for word in words])
    return options


@pytest.fixture
def started(parse, build_model):
    """started('aligned', ...) -> the model of a new run before its first step, and the lines for its log."""
    def start(root, *argv):
        model = build_model(parse(root, *argv))
        return model, trainer_of(model).start_lines
    return start


def saved(folder, name, label='latest') -> dict:
    return store.read(folder / f'{label}_net_{name}.pth')


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# ---- --init_from

def test_a_run_gives_its_networks_and_their_options(trained, parse, started):
    opt = parse('aligned', '--init_from', 'pix2pix')
    assert (opt.model, opt.dataset_mode, opt.netG, opt.ngf, opt.ndf) == ('pix2pix', 'aligned', 'unet_32', 2, 2)
    assert (opt.n_epochs, opt.n_epochs_decay, opt.lr, opt.direction) == (100, 100, 2e-4, 'AtoB')
    model, lines = started('aligned', '--init_from', trained / 'pix2pix', '--init_epoch', '1')
    assert all(equal(net.state_dict(), saved(trained / 'pix2pix', name)) for name, net in model.nets.items())
    assert len(lines) == 3 and not any(optimizer.state for optimizer in model.optimizers.values())


def test_the_options_of_a_model_are_taken_over_too(parse):
    assert parse('unaligned', '--init_from', 'munit').style_dim == 3
    assert parse('unaligned', '--init_from', 'munit', '--model', 'munit').mlp_dim == 4
    assert parse('unaligned', '--init_from', 'munit', '--model', 'cyclegan').ngf == 64      # networks of its own


def test_a_run_of_the_opposite_direction_swaps_its_domains(trained, started):
    model, _ = started('unaligned', '--init_from', 'cyclegan')
    assert equal(model.netG_A.state_dict(), saved(trained / 'cyclegan', 'G_B'))
    assert equal(model.netD_B.state_dict(), saved(trained / 'cyclegan', 'D_A'))
    model, _ = started('unaligned', '--init_from', 'cyclegan', '--direction', 'BtoA')
    assert equal(model.netG_A.state_dict(), saved(trained / 'cyclegan', 'G_A'))


@pytest.mark.parametrize('name, files, swapped, expected', [
    ('G', 'G D', False, 'G'), ('G', 'G_A G_B', False, 'G_A'), ('G', 'G_A G_B', True, 'G_B'), ('G_A', 'G', False, 'G'),
    ('G_A', 'G', True, None), ('G_B', 'G', True, 'G'), ('G_B', 'G', False, None), ('G_A', 'G_A G_B', True, 'G_B'),
    ('D', 'G', False, None), ('D_B', 'D_A D_B G', False, 'D_B')])
def test_networks_of_other_models_have_other_names(name, files, swapped, expected):
    assert source_of(name, files.split(), swapped) == expected


def test_a_model_starts_from_the_networks_of_another(trained, started):
    argv = ['--init_from', 'cyclegan', '--model', 'pix2pix', '--unconditional_D', '--direction', 'BtoA']
    model, lines = started('aligned', *argv)
    assert equal(model.netG.state_dict(), saved(trained / 'cyclegan', 'G_A'))
    assert equal(model.netD.state_dict(), saved(trained / 'cyclegan', 'D_A'))


def test_weights_without_a_state_file(trained, started, tmp_path):
    """As the reference writes them: a generator alone, or in a folder with its discriminator."""
    shutil.copy(trained / 'pix2pix' / 'latest_net_G.pth', tmp_path / 'downloaded.pth')
    argv = [*tiny_runs.MODELS['pix2pix'], '--norm', 'batch', '--ngf', 2, '--ndf', 2]
    model, lines = started('aligned', *argv, '--init_from', tmp_path / 'downloaded.pth')
    assert equal(model.netG.state_dict(), saved(trained / 'pix2pix', 'G'))
    assert [line for line in lines if 'from scratch' in line] == [line for line in lines if line.startswith('  D:')]
    for name in 'GD':
        shutil.copy(trained / 'pix2pix' / f'latest_net_{name}.pth', tmp_path / f'7_net_{name}.pth')
    model, _ = started('aligned', *argv, '--init_from', tmp_path, '--init_epoch', '7')
    assert equal(model.netD.state_dict(), saved(trained / 'pix2pix', 'D'))


def test_an_exported_folder_is_a_generator_with_its_options(trained, started, parse, tmp_path):
    pytest.importorskip('safetensors')
    from models import load_translator
    from models.exporting.folder import export
    export(load_translator(trained / 'cyclegan'), 'safetensors', tmp_path / 'exported', 'AtoB')
    opt = parse('unaligned', '--init_from', tmp_path / 'exported')
    assert (opt.model, opt.netG, opt.ngf, opt.init_direction) == ('cyclegan', 'resnet_1blocks', 2, 'AtoB')
    model, lines = started('unaligned', '--init_from', tmp_path / 'exported')
    assert equal(model.netG_A.state_dict(), saved(trained / 'cyclegan', 'G_B'))     # it was trained from B to A
    assert sum('from scratch' in line for line in lines) == 3


def test_parts_of_two_generators_are_no_start(trained, parse, tmp_path):
    from util.checkpoint import exported
    (tmp_path / 'config.json').write_text(f'{{"format": "{exported.FORMAT}", "kind": "styles"}}', encoding='utf-8')
    with pytest.raises(UserError, match='two generators'):
        parse('unaligned', '--init_from', tmp_path)


def test_a_converted_munit_is_a_start(trained, started, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'scripts'))
    import convert_munit
    pair = [saved(trained / 'munit', name) for name in ('G_A', 'G_B')]
    torch.save(dict(zip('ab', pair, strict=True)), tmp_path / 'gen.pt')
    words = [str(tmp_path / 'gen.pt'), '--name', 'original', '--checkpoints_dir', str(tmp_path)]
    assert run(convert_munit.main, words) == 0
    model, lines = started('unaligned', '--init_from', tmp_path / 'original', '--crop_size', 64, '--load_size', 64)
    assert (model.opt.model, model.opt.style_dim, model.opt.mlp_dim) == ('munit', 3, 4)
    for net, weights in zip((model.netG_A, model.netG_B), pair, strict=True):
        assert equal(net.state_dict(), weights)


def test_the_best_checkpoint_is_one_like_others(trained, started, tmp_path):
    for name in ('net_G', 'net_D', 'state'):
        shutil.copy(trained / 'pix2pix' / f'1_{name}.pth', tmp_path / f'best_{name}.pth')
    model, _ = started('aligned', '--init_from', tmp_path, '--init_epoch', 'best')
    assert equal(model.netG.state_dict(), saved(trained / 'pix2pix', 'G', '1'))


def test_tensors_that_do_not_fit_are_left_out_if_asked_for(trained, started, parse):
    with pytest.raises(UserError, match='--ndf 3.*--init_partial'):
        parse('aligned', '--init_from', 'pix2pix', '--ndf', 3)
    model, lines = started('aligned', '--init_from', 'pix2pix', '--input_nc', 1, '--init_partial')
    before, now = saved(trained / 'pix2pix', 'G'), model.netG.state_dict()
    changed = [key for key in now if now[key].shape != before[key].shape or not torch.equal(now[key], before[key])]
    assert changed == ['model.model.0.weight']
    assert any('other shape: model.model.0.weight' in line for line in lines)


def test_weights_of_another_network_are_refused(trained, started):
    argv = ['--model', 'pix2pix', '--netG', 'unet_64', '--crop_size', 64, '--load_size', 64]
    with pytest.raises(UserError, match='--netG unet_32.*--init_partial'):
        started('aligned', *argv, '--ngf', 2, '--norm', 'instance', '--init_from', trained / 'pix2pix/latest_net_G.pth')


@pytest.mark.parametrize('content', [b'', b'hello', None])
def test_a_file_without_weights_has_no_part_that_fits(content, started, tmp_path):
    path = tmp_path / 'file.pth'
    torch.save([1, 2], path) if content is None else path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        started('aligned', *tiny_runs.MODELS['pix2pix'], '--init_from', path)
    assert str(path) in str(caught.value) and not {'--init_partial', '--epoch'} & set(str(caught.value).split())


def test_a_generator_for_the_opposite_direction_is_told(started):
    lines = started('aligned', '--init_from', 'pix2pix', '--direction', 'BtoA')[1]
    assert [line.partition(':')[0] for line in lines if '--direction' in line] == ['  G', '  D']
    assert not any('--direction' in line for line in started('aligned', '--init_from', 'pix2pix')[1])


@pytest.mark.parametrize('argv, words', [
    (['--init_from', 'https://example.com/latest_net_G.pth'], ['https://', 'download']),
    (['--init_from', 'absent'], ['absent', 'cyclegan', 'munit', 'pix2pix']),
    (['--init_from', 'pix2pix', '--init_epoch', '9'], ['pix2pix', 'no checkpoint 9', '1, latest', '--init_epoch']),
    (['--freeze', 'D', '--parallel', 'twin'], ['--freeze', '--parallel twin'])])
def test_mistakes_are_found_in_the_options(argv, words, parse):
    with pytest.raises(UserError) as caught:
        parse('unaligned', '--model', 'cyclegan', *argv)
    assert all(word in str(caught.value) for word in words)


def test_options_that_nothing_reads_are_reported(parse, capsys):
    parse('aligned', '--init_partial', '--init_epoch', '3')
    assert capsys.readouterr().err.count('--init_from') == 2
    parse('aligned', '--init_from', '')
    assert '--init_from is empty' in capsys.readouterr().err


def test_a_folder_without_weights(parse, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='_net_.*--init_from'):
        parse('aligned', '--init_from', tmp_path / 'empty')


def test_a_run_that_starts_from_another_is_resumed_with_its_own_weights(trained, runs, home):
    words = [*tiny_runs.MODELS['pix2pix'], '--dataroot', str(home / 'aligned'), '--name', 'fine', *tiny_runs.SHARED,
             *runs.place(), *map(str, SHORT)]
    source = ['--init_from', str(trained / 'pix2pix'), '--norm', 'batch']
    done = runs.server.run([*words, *source], folder=str(runs.folder / 'fine'))
    assert done.code == 0 and 'latest_net_G.pth' in done.out
    before = saved(runs.folder / 'fine', 'G')
    (trained / 'pix2pix').rename(trained / 'away')      # is not needed again
    try:
        done = runs.resume('fine', '--n_epochs', 2)
        assert done.code == 0 and 'latest_net_G.pth' not in done.out
    finally:
        (trained / 'away').rename(trained / 'pix2pix')
    assert not equal(before, saved(runs.folder / 'fine', 'G'))


def test_a_copied_run_that_is_continued_gets_the_right_command(trained, runs):
    shutil.copytree(trained / 'pix2pix', runs.folder / 'copy')
    done = runs.resume('copy')
    assert done.code == 0 and '--init_from copy' in done.out
    done = runs.resume('copy', '--n_epochs', 1, '--n_epochs_decay', 12, '--max_iters', 6)
    assert done.code == 0 and '--init_from' not in done.err     # half of the schedule is left
    shutil.copytree(runs.folder / 'copy', runs.folder / 'again')
    done = runs.resume('again', '--n_epochs', 0, '--n_epochs_decay', 50, '--max_iters', 7, '--lr_policy', 'cosine')
    assert done.code == 0 and 'again' in done.err and '--init_from again' in done.err


# ---- --freeze

def steps_of(model, count):
    loader = create_loader(create_dataset(model.opt), model.opt)
    for batch, _ in zip(loader, range(count), strict=False):
        trainer_of(model).step(batch)


def test_frozen_weights_and_their_buffers_stay_and_all_others_are_trained(started):
    argv = ['--init_from', 'pix2pix', '--weight_decay', 0.1, '--ema', 0.5]
    model, lines = started('aligned', *argv, '--freeze', 'D', 'G.model.model.1')
    before = {name: {key: value.clone() for key, value in net.state_dict().items()} for name, net in model.nets.items()}
    steps_of(model, 2)
    assert equal(before['D'], model.netD.state_dict()) and any(isinstance(m, BatchNorm2d) for m in model.netD.modules())
    for key, value in model.netG.state_dict().items():
        assert torch.equal(before['G'][key], value) == key.startswith('model.model.1.'), key
    losses = model.get_current_losses()
    assert losses['D_real'] > 0 and losses['D_fake'] > 0    # a frozen discriminator still judges


def test_a_pattern_names_parts_of_several_networks(started):
    model, _ = started('unaligned', '--model', 'cyclegan', '--ngf', 2, '--ndf', 2, '--netG', 'resnet_1blocks',
                       '--freeze', 'G_*.bias')
    biases = {name for net in (model.netG_A, model.netG_B) for name, value in net.named_parameters()
              if not value.requires_grad}
    assert biases and all(name.endswith('.bias') for name in biases)
    assert all(value.requires_grad for net in (model.netD_A, model.netD_B) for value in net.parameters())


@pytest.mark.parametrize('patterns, words', [
    (['G', 'H'], ['--freeze H', 'D, G', 'D.0.weight']), (['G', 'D'], ['nothing to train'])])
def test_patterns_that_make_no_sense(patterns, words):
    nets = {'D': torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)), 'G': torch.nn.Conv2d(1, 1, 1)}
    with pytest.raises(UserError) as caught:
        freeze(nets, patterns)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize('net, convolutions', [
    (create_generator('resnet_2blocks', 3, 3, 2), 3), (create_generator('unet_64', 3, 3, 2), 6),
    (create_generator('encdec_32', 3, 3, 2, 'batch'), 5), (LatentUnet(3, 3, 2, 2, n_levels=5), 5),
    (MunitGenerator(ngf=2, n_res=1, mlp_dim=4), 3 + 2 + 6)])
def test_the_encoder_of_a_generator_is_frozen(net, convolutions):
    nets = {'G': net, 'D': torch.nn.Conv2d(1, 1, 1)}
    freeze(nets, ['G.encoder'])
    frozen = {key for key, value in net.named_parameters() if not value.requires_grad}
    assert sum(net.get_parameter(key).ndim == 4 for key in frozen) == convolutions
    parts = [module for layer in net.encoder_layers() for module in layer.modules()]
    assert not any(isinstance(module, torch.nn.ConvTranspose2d) for module in parts)
    assert frozen == {key for key, value in net.named_parameters()
                      if any(value is inner for layer in net.encoder_layers() for inner in layer.parameters())}


def test_a_frozen_spectral_norm_keeps_its_vectors():
    net = MultiscaleDiscriminator(3, 4, 2, 1, 'spectral')
    freeze({'D': net, 'G': torch.nn.Conv2d(1, 1, 1)}, ['D'])
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net(torch.rand(1, 3, 16, 16))
    assert equal(before, net.state_dict()) and any(key.endswith('_u') for key in before)


def test_a_frozen_batch_norm_normalizes_as_before():
    net = create_discriminator('n_layers', 3, 4, 1, 'batch')
    image = torch.rand(1, 3, 16, 16)
    expected = net(image)
    freeze({'D': net, 'G': torch.nn.Conv2d(1, 1, 1)}, ['D'])
    assert torch.equal(net(image), expected)


def test_freezing_works_with_stops_and_accumulation(runs):
    """A stopped run ends bit-equal to an unbroken one, and the frozen part as it began."""
    words = ['--freeze', 'D', 'G.model.model.0', '--accumulate', 2, '--save_latest_freq', 2]
    whole = runs.begin('pix2pix', 'whole', *words)
    assert (whole.code, whole.err) == (0, '')
    assert runs.begin('pix2pix', 'run', *words, signals_at={3: 'SIGTERM'}).code == 143
    first = saved(runs.folder / 'run', 'G')
    done = runs.resume('run')
    assert (done.code, done.err) == (0, '')
    assert states.differences(states.everything(runs.folder / 'whole'), states.everything(runs.folder / 'run')) == []
    last = saved(runs.folder / 'run', 'G')
    assert {key for key in first if torch.equal(first[key], last[key])} >= {'model.model.0.weight'}
    assert not equal(first, last)
