"""A generator or discriminator of one's own: one file in models/nets/, named on the command line by its name."""
import shutil
import sys

import pytest
import torch
from conftest import ROOT
from training import trainer_of

import models.nets
from models import catalog, load_translator
from models.networks import create_discriminator, create_generator
from options import TestOptions, TrainOptions
from util.cli import run
from util.errors import UserError

GENERATOR = '''"""Two convolutions, on half the size."""
import torch
from torch import nn


class MyNet(nn.Module):
    size_multiple = 2
    smallest_side = 6
    options = {'my_width': (3, 'channels between the convolutions', (1, 99))}

    def __init__(self, input_nc, output_nc, ngf, norm, dropout, my_width):
        super().__init__()
        self.down = nn.Conv2d(input_nc, my_width, 2, 2)
        self.up = nn.ConvTranspose2d(my_width, output_nc, 2, 2)

    def forward(self, image):
        return torch.tanh(self.up(self.down(image)))
'''
DISCRIMINATOR = '''from torch import nn


class MyCritic(nn.Sequential):
    smallest_side = 10

    def __init__(self, input_nc, ndf, n_layers, norm):
        super().__init__(nn.Conv2d(input_nc, ndf, 3), nn.LeakyReLU(0.2), nn.Conv2d(ndf, 1, 3))
'''
OWN_MODEL = '''from models.base_model import BaseModel
from models.training.optimizer import Update
from torch import nn


class MyOwnModel(BaseModel):
    defaults = {'dataset_mode': 'aligned', 'netG': 'unet_256'}
    loss_names = ('G',)
    plateau_losses = ('G',)

    def __init__(self, opt, runtime):
        super().__init__(opt, runtime)
        self.netG = self.define_G(opt.input_nc, opt.output_nc)
        if opt.isTrain:
            self.optimizer = self.define_optimizer(self.netG)

    def define_G(self, input_nc, output_nc):
        return self.prepare(nn.Conv2d(input_nc, output_nc, 1))

    def forward(self):
        self.fake_B = self.netG(self.real_A)

    def updates(self):
        return [Update(self.optimizer, self.loss_G)]

    def loss_G(self):
        return self.total(G=(self.fake_B - self.real_B).abs().mean())

    def get_current_visuals(self):
        return {'real_A': self.real_A, 'fake_B': self.fake_B, 'real_B': self.real_B}
'''


@pytest.fixture
def add_net(tmp_path, monkeypatch):
    """add_net('my_net', text) puts a file next to the networks for the length of a test."""
    folder = tmp_path / 'nets'
    folder.mkdir()
    monkeypatch.setattr(catalog.own_nets, 'folder', folder)
    monkeypatch.setattr(models.nets, '__path__', [*models.nets.__path__, str(folder)])
    before = set(sys.modules)

    def add(name, text):
        (folder / f'{name}.py').write_text(text, encoding='utf-8')
        return folder / f'{name}.py'
    yield add
    for module in set(sys.modules) - before:
        if module.startswith('models.nets.my_'):
            del sys.modules[module]


def batch_of(side=32):
    generator = torch.Generator().manual_seed(1)
    A, B = 2 * torch.rand(2, 1, 3, side, side, generator=generator) - 1
    return {'A': A, 'B': B, 'A_paths': ['0.png']}


@pytest.mark.parametrize('model', ['pix2pix', 'cyclegan', 'template'])
def test_every_model_can_use_them(model, add_net, train_options, aligned_root, build_model):
    add_net('my_net', GENERATOR)
    add_net('my_critic', DISCRIMINATOR)
    opt = train_options('--dataroot', aligned_root, '--model', model, '--dataset_mode', 'aligned', '--netG', 'my_net',
                        '--netD', 'my_critic', '--my_width', 5)
    built = build_model(opt)
    trainer_of(built).step(batch_of())
    generator = next(iter(built.generators.values()))
    assert type(generator).__name__ == 'MyNet' and generator.down.weight.shape[0] == 5
    critics = [net for name, net in built.nets.items() if name.startswith('D')]
    assert all(type(net).__name__ == 'MyCritic' for net in critics)


def test_a_test_rebuilds_them(add_net, train_options, aligned_root, build_model, tmp_path):
    from training import state_of

    from models.training.progress import Progress
    from util.checkpoint import store
    add_net('my_net', GENERATOR)
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'my_net', '--my_width', 4,
                        '--name', 'run')
    built = build_model(opt)
    store.save(tmp_path / 'checkpoints/run', 'latest', **state_of(built).snapshot(Progress()))
    words = ['--name', 'run', '--checkpoints_dir', str(tmp_path / 'checkpoints'), '--gpu_ids', '-1']
    for more in ([], ['--model', 'test', '--dataroot', str(aligned_root / 'test')]):
        again = TestOptions().parse([*words, *more])
        assert (again.netG, again.my_width) == ('my_net', 4)
        assert build_model(again).netG.down.weight.shape[0] == 4
    translate = load_translator(tmp_path / 'checkpoints/run')
    assert translate(torch.zeros(1, 3, 9, 8)).shape == (1, 3, 9, 8)
    fine = TrainOptions().parse(['--dataroot', str(aligned_root), *words[2:], '--name', 'fine', '--init_from', 'run'])
    assert (fine.netG, fine.my_width) == ('my_net', 4)


def test_options_of_a_network_are_in_the_help(add_net, capsys):
    add_net('my_net', GENERATOR)
    with pytest.raises(SystemExit):
        TrainOptions().parse(['--netG', 'my_net', '--help'])
    assert '--my_width' in capsys.readouterr().out


@pytest.mark.parametrize('argv, words', [
    (['--netG', 'my_net', '--crop_size', 31], ['--crop_size 31', 'multiple of 2', 'my_net']),
    (['--netD', 'my_critic', '--crop_size', 8, '--netG', 'my_net'], ['--crop_size 8', 'my_critic', '10']),
    (['--netG', 'my_nett'], ['my_nett']), (['--netD', 'my_crit'], ['did you mean my_critic?']),
    (['--netG', 'my_net', '--my_width', 0], ['--my_width 0']),
    (['--netG', 'my_net', '--model', 'bicyclegan'], ['my_net', 'unet'])])
def test_their_size_rules_and_options_are_checked_first(argv, words, add_net, train_options, aligned_root):
    add_net('my_net', GENERATOR)
    add_net('my_critic', DISCRIMINATOR)
    with pytest.raises(UserError) as caught:
        train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--load_size', 36, *argv)
    assert all(word in str(caught.value) for word in words), caught.value


def test_an_option_of_another_name_is_needed(add_net, train_options, aligned_root):
    add_net('my_net', GENERATOR.replace('my_width', 'ngf'))
    with pytest.raises(UserError, match='--ngf.*rename'):
        train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'my_net')


@pytest.mark.parametrize('wrong, line', [
    ("super().__init__()\n", "super().__init__()\n        nonsense\n"), ('class MyNet', 'class MyNet(\n'),
    ('torch.tanh(', 'nonsense(')])
def test_a_mistake_in_the_file_shows_file_and_line(wrong, line, add_net, aligned_root, tmp_path, capsys):
    import train
    path = add_net('my_net', GENERATOR.replace(wrong, line))
    code = run(train.main, ['--dataroot', str(aligned_root), '--model', 'pix2pix', '--netG', 'my_net', '--gpu_ids',
                            '-1', '--checkpoints_dir', str(tmp_path / 'runs'), '--crop_size', '32'])
    err = capsys.readouterr().err
    assert code in (1, 2) and f'{path}, line ' in err and 'internal error' not in err


@pytest.mark.parametrize('value', ['0', '"2"', 'True'])
def test_facts_have_a_type(value, add_net, train_options, aligned_root):
    add_net('my_net', GENERATOR.replace('size_multiple = 2', f'size_multiple = {value}'))
    with pytest.raises(UserError, match='my_net.py, line 7: size_multiple'):
        train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'my_net')


@pytest.mark.parametrize('text, words', [
    (GENERATOR.replace('norm, dropout, ', ''), ['__init__', 'ngf, norm, dropout, my_width']),
    (GENERATOR.replace('self.up(self.down(image))', 'self.down(image)'),
     ['(1, 3, 12, 12)', '(1, 3, 6, 6)', 'size_multiple']),
    (GENERATOR.replace('torch.tanh(', '(').replace('image)))', 'image)), 0)'), ['tuple', '(1, 3, 12, 12)']),
    (GENERATOR.replace('(nn.Module)', ''), ['nn.Module'])])
def test_a_network_that_is_none_is_refused_with_its_file(text, words, add_net):
    path = add_net('my_net', text)
    with pytest.raises(UserError) as caught:
        create_generator('my_net', 3, 3, 4, my_width=3)(torch.zeros(1, 3, 12, 12))
    assert all(word in str(caught.value) for word in (str(path), *words)), caught.value


def test_lambda_feat_needs_features(add_net, train_options, aligned_root, build_model):
    add_net('my_critic', DISCRIMINATOR)
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', '--netD', 'my_critic',
                        '--lambda_feat', 1)
    with pytest.raises(UserError, match='--lambda_feat.*MyCritic'):
        build_model(opt)


@pytest.fixture
def add_model(tmp_path, monkeypatch):
    """add_model(text) puts a file models/my_own_model.py for the length of a test, without other models but `test`."""
    shutil.copy(ROOT / 'models' / 'test_model.py', tmp_path)

    def add(text):
        (tmp_path / 'my_own_model.py').write_text(text, encoding='utf-8')
        monkeypatch.setattr(models.registry, 'folder', tmp_path)
        monkeypatch.setattr(models, '__path__', [*models.__path__, str(tmp_path)])
    yield add
    sys.modules.pop('models.my_own_model', None)


@pytest.fixture
def built_own(add_model, train_options, aligned_root, build_model):
    """built_own(text) -> the model of such a file."""
    def build(text):
        add_model(text)
        return build_model(train_options('--dataroot', aligned_root, '--model', 'my_own', '--crop_size', 30))
    return build


def test_a_model_with_a_generator_of_its_own_is_not_bound_by_netg(built_own):
    built = built_own(OWN_MODEL)                # unet_256 needs 256
    trainer_of(built).step(batch_of(30))
    assert built.get_current_losses()['G'] > 0


@pytest.mark.parametrize(('before', 'after', 'words'), [
    ('class MyOwnModel', 'class Other', ['no class named']), ('(BaseModel)', '', ['BaseModel']),
    ('opt, runtime):', 'opt, runtime, more):', ['__init__', 'more', 'opt, runtime']),
    ('def forward', 'def forwards', ['no method forward']), ('def updates', 'def steps', ['no method updates']),
    ('def get_current_visuals', 'def visuals', ['no method get_current_visuals']),
    ("'netG'", "'netQ'", ['netQ', 'no such option', 'netG']),
    ("'aligned',", "'aligned', 'norm': 'bach',", ['bach', 'batch']),
    ("loss_names = ('G',)", 'train_options = ["width"]', ['line 8', 'default']),
    ("loss_names = ('G',)", 'options = {"width": 3}', ['width', 'default']),
    ("loss_names = ('G',)", 'options = {"help": (3, "more")}', ['help', 'default']),
    ("loss_names = ('G',)", 'options = {"width": (None, "of it")}', ['width', 'default']),
    ("loss_names = ('G',)", 'two_way = 3', ['two_way', 'True or False']),
    ('from torch import nn', 'import sys\nsys.exit()', ['line 4', 'SystemExit'])])
def test_a_model_file_that_breaks_the_contract_is_refused_first(before, after, words, built_own):
    with pytest.raises(UserError) as caught:
        built_own(OWN_MODEL.replace(before, after))
    assert all(word in str(caught.value) for word in ('my_own', *words)), caught.value


@pytest.mark.parametrize(('before', 'after'), [
    ('return self.total', 'self.total'), ('.abs().mean()', '.abs()'), ('self.netG(self.real_A)', 'self.real_A'),
    ('return [Update(', '[Update('), ("'fake_B': self.fake_B,", "'fake_B': 3,")])
def test_wrong_values_from_a_model_file_name_it(before, after, add_model, aligned_root, tmp_path, capsys):
    import train
    add_model(OWN_MODEL.replace(before, after))
    code = run(train.main, ['--dataroot', str(aligned_root), '--model', 'my_own', '--gpu_ids', '-1', '--crop_size',
                            '32', '--checkpoints_dir', str(tmp_path / 'runs'), '--max_iters', '1', '--num_threads', '0',
                            '--display_id', '-1'])
    err = capsys.readouterr().err
    assert code == 1 and 'my_own_model.py may have returned' in err and 'crash-' in err


def test_percent_signs_in_a_meaning_are_printed(add_model, capsys):
    add_model(OWN_MODEL.replace("loss_names = ('G',)", 'options = {"width": (3, "50% of it")}'))
    with pytest.raises(SystemExit):
        TrainOptions().parse(['--model', 'my_own', '--help'])
    assert '50% of it' in capsys.readouterr().out


@pytest.mark.parametrize('create, text', [(create_generator, GENERATOR), (create_discriminator, DISCRIMINATOR)])
def test_they_are_created_by_name_in_a_notebook(create, text, add_net):
    name = 'my_net' if create is create_generator else 'my_critic'
    add_net(name, text)
    own = {'my_width': 7} if create is create_generator else {}
    sizes = (3, 3, 4, 'instance', False) if create is create_generator else (3, 4, 3, 'instance')
    assert create(name, *sizes, **own)(torch.zeros(1, 3, 12, 12)).shape[-1] in (12, 8)
