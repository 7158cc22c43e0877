"""Model and dataset files in the older contract (tests/older) run unchanged, in train.py and in test.py."""
import importlib
import json
import pickle
import shutil
import sys

import pytest
import states
import torch
from conftest import ROOT, TINY_TRAINING, draw_root
from interpreter import as_torchrun
from training import trainer_of

import data
import models
import models.base_model
import models.reference_adapter
import test as test_program
import train as train_program
from data import create_dataset, create_loader
from models.reference_adapter import OlderModel
from models.training.progress import Progress
from options import TestOptions, TrainOptions, ValidationOptions
from util.cli import run as run_program
from util.console import Console
from util.errors import UserError
from util.images import as_numbers
from util.machine.seeding import seed_everything

OLDER = ROOT / 'tests' / 'older'
SMALL_D = ['--netD', 'n_layers', '--n_layers_D', '1']
RUNS = {    # what a run of each file needs: its images, and options
    'two_critics': ('triple', ['--critic', 'both', '--mask_weights', '0.9', '0.4', '--pool_size', '2']),
    'pix_smooth': ('aligned', ['--netG', 'unet_32', '--dataset_mode', 'shared_crop', *SMALL_D]),
    'plain_pix': ('aligned', ['--netG', 'unet_32', '--norm', 'instance', *SMALL_D]),
    'cycle_gray': ('unaligned', ['--netG', 'resnet_1blocks', '--pool_size', '2', *SMALL_D]),
    'first_form': ('aligned', ['--netG', 'resnet_1blocks', '--pool_size', '2', *SMALL_D]),
    'own_hooks': ('aligned', []), 'own_networks': ('unaligned', ['--gan_mode', 'hinge']), 'frames': ('template', []),
}
NETWORKS = {
    'two_critics': {'G', 'Mask', 'D_1', 'D_2'}, 'pix_smooth': {'G', 'D'}, 'plain_pix': {'G', 'D'},
    'cycle_gray': {'G_A', 'G_B', 'D_A', 'D_B'}, 'first_form': {'G', 'D'}, 'own_hooks': {'G'},
    'own_networks': {'G', 'D'}, 'frames': {'G'},
}
RESULTS = {
    'two_critics': {'real_A', 'fake_B', 'real_B', 'mask', 'difference'}, 'pix_smooth': {'real_A', 'fake_B', 'real_B'},
    'plain_pix': {'real_A', 'fake_B', 'real_B'}, 'first_form': {'real_A', 'fake_B', 'real_B', 'fake_again'},
    'cycle_gray': {'real_A', 'fake_B', 'rec_A', 'real_B', 'fake_A', 'rec_B'},
    'own_hooks': {'real_A', 'fake_B', 'real_B'}, 'own_networks': {'real_A', 'fake_B'},
    'frames': {'first', 'second', 'both'},
}


@pytest.fixture
def add(tmp_path, monkeypatch):
    """add(models, 'my_model.py', text) adds a file for the length of a test; those of tests/older are there."""
    before = set(sys.modules)
    for package in (models, data):
        folder = tmp_path / package.__name__
        shutil.copytree(package.registry.folder, folder, ignore=shutil.ignore_patterns('__pycache__'))
        shutil.copytree(OLDER / package.__name__, folder, dirs_exist_ok=True)
        monkeypatch.setattr(package.registry, 'folder', folder)
        monkeypatch.setattr(package, '__path__', [*package.__path__, str(folder)])

    def write(package, name, text):
        (tmp_path / package.__name__ / name).write_text(text, encoding='utf-8')
        importlib.invalidate_caches()
    importlib.invalidate_caches()
    yield write
    for name in set(sys.modules) - before:
        if name.startswith(('models.', 'data.')) and name.endswith(('_model', '_dataset')):
            del sys.modules[name]
            delattr(sys.modules[name.partition('.')[0]], name.partition('.')[2])


@pytest.fixture
def images(roots, tmp_path):
    return {**roots, 'triple': draw_root(tmp_path / 'triple', ('A', 'B', 'C'))}


@pytest.fixture
def words(images, tmp_path):
    """words('two_critics', ...): a command line of train.py for 2 + 2 epochs."""
    def make(model, *more):
        root, own = RUNS[model]
        return [*TINY_TRAINING, '--dataroot', str(images[root]), '--checkpoints_dir', str(tmp_path / 'runs'), '--model',
                model, '--n_epochs', '2', '--n_epochs_decay', '2', '--save_epoch_freq', '2', '--print_freq', '1',
                '--name', model, *own, *map(str, more)]
    return make


@pytest.fixture
def run(words, tmp_path):
    def start(model, *more):
        assert train_program.main(words(model, *more), Console()) == 0
        return tmp_path / 'runs' / model
    return start


@pytest.mark.sample(3)
@pytest.mark.parametrize('model', RUNS)
def test_an_older_model_trains_resumes_and_translates(model, add, run, images, tmp_path):
    folder = run(model)
    files = {path.name.removeprefix('4_net_').removesuffix('.pth') for path in folder.glob('4_net_*')}
    assert files == NETWORKS[model]
    records = [json.loads(line) for line in (folder / 'losses.jsonl').read_text('utf-8').splitlines()]
    assert records[-1]['epoch'] == 4 and len(records[-1]['losses']) > 1
    assert list((folder / 'web').rglob('*.jpg')) + list((folder / 'web').rglob('*.png'))

    last = states.checkpoint_state(folder, 'latest')
    for path in [*folder.glob('latest_*'), *folder.glob('4_*')]:
        path.unlink()
    run(model, '--continue_train', '--epoch', '2')
    assert states.differences(last, states.checkpoint_state(folder, 'latest')) == []

    argv = ['--name', model, '--dataroot', images[RUNS[model][0]], '--checkpoints_dir', tmp_path / 'runs',
            '--gpu_ids', -1, '--results_dir', tmp_path / 'results', '--num_threads', 0]
    assert test_program.main([*map(str, argv)], Console()) == 0
    written = {path.name for path in (tmp_path / 'results' / model / 'test_latest' / 'images').iterdir()}
    assert written == {f'{index}_{label}.png' for index in range(3) for label in RESULTS[model]}


@pytest.mark.sample(2)
@pytest.mark.parametrize(('older', 'native', 'more'), [
    ('plain_pix', 'pix2pix', ['--dataset_mode', 'aligned']),
    ('plain_pix', 'pix2pix', ['--dataset_mode', 'aligned', '--norm', 'batch', '--gan_mode', 'lsgan']),
    ('plain_pix', 'pix2pix', ['--dataset_mode', 'aligned', '--direction', 'BtoA', '--no_dropout']),
    ('plain_pix', 'pix2pix', ['--dataset_mode', 'shared_crop', '--batch_size', 2]),
    ('cycle_gray', 'cyclegan', ['--pool_size', 0, '--lambda_identity', 0]),
    ('cycle_gray', 'cyclegan', ['--pool_size', 0, '--direction', 'BtoA', '--lambda_B', 5]),
])
def test_20_steps_of_an_older_model_give_the_weights_of_the_native_one(older, native, more, add, words, build_model,
                                                                       monkeypatch):
    """CycleGAN in double precision: it adds its gradients in another order, and 20 steps of Adam enlarge rounding."""
    precision = torch.float64 if native == 'cyclegan' else torch.float32
    for module in (models.reference_adapter, models.base_model):
        monkeypatch.setattr(module, 'as_numbers', lambda images: as_numbers(images).to(precision))
    trained = []
    for name in (older, native):
        opt = TrainOptions().parse(words(older, *more, '--model', name))
        seed_everything(1)
        model = build_model(opt)
        for net in model.nets.values():
            net.to(precision)
        loader = create_loader(create_dataset(opt), opt)
        steps = 0
        while steps < 20:
            for batch in loader.epoch(1 + steps):
                if steps < 20:
                    trainer_of(model).step(batch)
                steps += 1
        trained.append(model)
    assert isinstance(trained[0], OlderModel) and not isinstance(trained[1], OlderModel)
    for name, net in trained[1].nets.items():
        for key, value in net.state_dict().items():
            if opt.norm == 'instance' and key.endswith('bias'):
                continue    # those before instance norms have no gradient but rounding, which Adam makes as large
            assert torch.allclose(trained[0].nets[name].state_dict()[key], value, atol=1e-5), (name, key)
    ours, theirs = trained[1].get_current_losses(), trained[0].get_current_losses()
    assert {name: theirs[name] for name in ours} == pytest.approx(ours, abs=1e-4)


def test_what_a_file_overrides_is_called(add, run, capsys, tmp_path, images):
    def said():
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith('own ')]
    folder = run('own_hooks', '--n_epochs_decay', '0', '--n_epochs', '2')
    assert said() == ['own setup', 'own print_networks', 'own update_learning_rate [1e-05, 0.0001]',
                      'own update_learning_rate [5e-06, 5e-05]', 'own save_networks latest', 'own save_networks 2']
    run('own_hooks', '--continue_train', '--n_epochs', '3', '--n_epochs_decay', '0')
    assert said()[:2] == ['own load_networks latest', 'own setup']
    assert torch.load(folder / 'latest_extra.pth', weights_only=True)[0] == 0.125
    argv = ['--name', 'own_hooks', '--dataroot', images['aligned'], '--checkpoints_dir', tmp_path / 'runs', '--eval',
            '--gpu_ids', -1, '--results_dir', tmp_path / 'results', '--num_threads', 0]
    assert test_program.main([*map(str, argv)], Console()) == 0
    assert said() == ['own load_networks latest', 'own setup', 'own eval', 'own print_networks', *['own test'] * 3]


def test_learning_rates_are_those_of_the_file(add, words, build_model):
    """Ratios of groups stay; a rate set in a step lasts until the epoch ends; own schedulers replace --lr_policy."""
    def rates(name, *more):
        model = build_model(TrainOptions().parse(words(name, *more)))
        loader, trainer, progress = create_loader(create_dataset(model.opt), model.opt), trainer_of(model), Progress()
        progress.last_epoch = 4
        for epoch in range(4):
            for batch in loader.epoch(epoch + 1):
                trainer.set_learning_rate(progress)
                trainer.step(batch)
            yield [group['lr'] / model.opt.lr for group in model.parameter_groups]
            progress.finish_epoch()
            trainer.finish_epoch(progress)
    halves = [1.0, 0.5, 0.25 * 2 / 3, 0.125 / 3]      # 2 + 2 epochs; the file halves its factor after each
    found = list(rates('own_hooks'))
    assert found[0] == pytest.approx([0.025, 0.25])
    assert [second for _, second in found[1:]] == pytest.approx(halves[1:])
    assert [first for first, _ in found[1:]] == pytest.approx([half / 10 for half in halves[1:]])
    assert list(rates('own_networks')) == [pytest.approx([rate, 4 * rate]) for rate in (1, 1, 0.5, 0.5)]


EXTENDED = {    # a dataset of the reference, and what tests of it use
    'aligned': ('AB_paths', '--model pix2pix --netG unet_32'), 'unaligned': ('A_paths', '--netG resnet_1blocks'),
    'colorization': ('AB_paths', '--model colorization --netG unet_32'), 'template': ('image_paths', ''),
}


@pytest.mark.sample(2)
@pytest.mark.parametrize('name', EXTENDED)
def test_a_file_extends_a_dataset_of_the_reference(name, add, roots, train_options):
    """It has the attributes of the reference, and gives the images of the native dataset."""
    paths, words = EXTENDED[name]
    kind = f'{name.capitalize()}Dataset'
    add(data, 'my_extended_dataset.py', f"""from data.{name}_dataset import {kind}


class MyExtendedDataset({kind}):
    def __init__(self, opt):
        {kind}.__init__(self, opt)
        assert self.root == opt.dataroot
        self.{paths} = self.{paths}[1:]
""")
    words = [*words.split(), '--dataroot', roots[name], '--serial_batches', '--no_flip', '--load_size', '32']
    older = create_dataset(train_options(*words, '--dataset_mode', 'my_extended'))
    native = create_dataset(train_options(*words, '--dataset_mode', name))
    assert type(older).__name__ == 'OlderDataset'
    assert older[0]['A_paths'] == native[1]['A_paths']
    if name != 'template':
        assert torch.equal(older[0]['A'], as_numbers(native[1]['A']))
    if name in ('aligned', 'colorization'):
        assert len(older) == 4 and torch.equal(older[0]['B'], as_numbers(native[1]['B']))


@pytest.mark.sample(1)
@pytest.mark.parametrize('base', ['colorization', 'template'])
def test_a_file_extends_a_model_of_the_reference(base, add, words, images, tmp_path):
    kind = f'{base.capitalize()}Model'
    add(models, 'my_extended_model.py', f"""from .{base}_model import {kind}


class MyExtendedModel({kind}):
    def __init__(self, opt):
        {kind}.__init__(self, opt)
        self.loss_names = list(self.loss_names)
""")
    root = images['colorization' if base == 'colorization' else 'aligned']
    chosen = ['--model', 'my_extended', '--name', 'extended', '--dataroot', root, '--netG', 'unet_32', '--n_epochs', 1]
    assert train_program.main(words('own_hooks', *chosen), Console()) == 0
    argv = ['--name', 'extended', '--dataroot', root, '--checkpoints_dir', tmp_path / 'runs', '--gpu_ids', -1,
            '--results_dir', tmp_path / 'results', '--num_threads', 0]
    assert test_program.main([*map(str, argv)], Console()) == 0
    names = {'colorization': {'real_A', 'real_B_rgb', 'fake_B_rgb'}, 'template': {'data_A', 'data_B', 'output'}}[base]
    written = {path.name for path in (tmp_path / 'results' / 'extended' / 'test_latest' / 'images').iterdir()}
    assert written == {f'{index}_{name}.png' for index in range(3) for name in names}


def test_the_example_of_a_third_domain_in_the_docs(add, words, images, tmp_path):
    text = (ROOT / 'docs' / 'extending.md').read_text('utf-8').partition('## A third domain')[2]
    dataset, model = (block.partition('```')[0] for block in text.split('```python\n')[1:3])
    add(data, 'three_dataset.py', dataset)
    add(models, 'three_model.py', model)
    chosen = ['--name', 'three', '--model', 'three', '--dataroot', images['triple'], '--netG', 'resnet_1blocks']
    assert train_program.main(words('own_hooks', *chosen), Console()) == 0
    argv = ['--name', 'three', '--dataroot', images['triple'], '--checkpoints_dir', tmp_path / 'runs', '--gpu_ids', -1,
            '--results_dir', tmp_path / 'results', '--num_threads', 0]
    assert test_program.main([*map(str, argv)], Console()) == 0
    assert len(list((tmp_path / 'results' / 'three' / 'test_latest' / 'images').glob('*_real_C.png'))) == 3


def test_rules_about_our_networks_do_not_bind_other_networks(add, words):
    opt = TrainOptions().parse(words('own_networks', '--crop_size', 7, '--load_size', 9, '--netD', 'small'))
    assert (opt.netG, opt.gan_mode, opt.size_multiple) == ('feature', 'hinge', 1)
    with pytest.raises(UserError, match='--crop_size 30'):
        TrainOptions().parse(words('first_form', '--netG', 'unet_32', '--crop_size', 30))


def test_the_weights_of_a_native_run_in_a_model_of_a_file(add, words, images, tmp_path):
    add(models, 'my_side_model.py', """from .test_model import TestModel


class MySideModel(TestModel):
    def forward(self):
        TestModel.forward(self)
        self.fake = -self.fake
""".replace('    def forward', """    def __init__(self, opt):
        TestModel.__init__(self, opt)
        self.visual_names = ['fake']

    def forward"""))
    argv = ['--name', 'native', '--model', 'pix2pix', '--dataset_mode', 'aligned', '--n_epochs_decay', 0]
    assert train_program.main(words('plain_pix', *argv), Console()) == 0
    argv = ['--name', 'native', '--dataroot', images['single'], '--checkpoints_dir', tmp_path / 'runs', '--gpu_ids', -1,
            '--results_dir', tmp_path / 'results', '--num_threads', 0, '--model', 'my_side']
    assert test_program.main([*map(str, argv)], Console()) == 0
    written = {path.name for path in (tmp_path / 'results' / 'native' / 'test_latest' / 'images').iterdir()}
    assert written == {f'{index}_fake.png' for index in range(3)}


def test_options_and_defaults_of_an_older_model(add, words, capsys):
    opt = TrainOptions().parse(words('two_critics'))
    assert (opt.mask_weights, opt.critic, opt.lambda_mask, opt.no_first) == ([0.9, 0.4], 'both', 2.0, False)
    assert (opt.dropout, opt.no_dropout, opt.warm) == (0.25, True, [1, 2])
    assert TrainOptions().parse(words('two_critics', '--critic', 'first')).lambda_mask == 3.0
    assert TrainOptions().parse(words('first_form')).gan_mode == 'vanilla'
    assert TrainOptions().parse(words('pix_smooth')).noise_level == 0.1
    with pytest.raises(UserError, match='--critic third .*both'):
        TrainOptions().parse(words('two_critics', '--critic', 'third'))
    with pytest.raises(SystemExit):
        TrainOptions().parse(['--model', 'two_critics', '--help'])
    text = capsys.readouterr().out
    assert '--mask_weights' in text and 'weight of the mask (default: 2.0)' in text


def test_older_names_of_options_and_models_are_notes(images, train_options, capsys):
    opt = train_options('--dataroot', images['aligned'], '--model', 'pix2pix', '--netG', 'unet_32', '--align_data',
                        '--use_dropout', '--lambda_A', 7)
    assert (opt.dataset_mode, opt.no_dropout, opt.lambda_L1) == ('aligned', False, 7)
    opt = train_options('--dataroot', images['colorization'], '--model', 'pix2pix_colorization', '--netG', 'unet_32')
    assert (models.registry.resolve(opt.model), opt.dataset_mode) == ('colorization', 'colorization')
    opt = train_options('--dataroot', images['unaligned'], '--model', 'cyclegan', '--lambda_A', 7)
    assert opt.lambda_A == 7
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith('note: ')]
    names = ['--align_data', '--use_dropout', '--lambda_A', '--model pix2pix_colorization']
    assert [line.removeprefix('note: ').startswith(name) for name, line in zip(names, notes, strict=True)] == [True] * 4


def test_more_older_names(images, train_options, test_options, tmp_path):
    opt = train_options('--dataroot', images['unaligned'], '--lr_policy', 'lambda')
    assert opt.lr_policy == 'linear'
    (tmp_path / 'checkpoints' / 'bare').mkdir(parents=True)
    (tmp_path / 'checkpoints' / 'bare' / 'latest_net_G_A.pth').touch()
    words = ['--dataroot', images['single'], '--name', 'bare']
    assert models.registry.resolve(test_options(*words, '--model', 'one_direction_test').model) == 'test'
    assert test_options(*words, '--model_suffix', '_A').model == 'test'


def test_model_suffix_alone_chooses_one_side_of_a_run(add, words, images, tmp_path):
    native = ['--model', 'cyclegan', '--name', 'sides', '--n_epochs', 1, '--n_epochs_decay', 0]
    train_program.main(words('cycle_gray', *native), Console())
    argv = ['--name', 'sides', '--dataroot', images['single'], '--checkpoints_dir', tmp_path / 'runs', '--gpu_ids', -1,
            '--results_dir', tmp_path / 'results', '--num_threads', 0, '--model_suffix', '_B']
    assert test_program.main([*map(str, argv)], Console()) == 0
    assert len(list((tmp_path / 'results' / 'sides' / 'test_latest' / 'images').glob('*_fake.png'))) == 3


@pytest.mark.parametrize(('option', 'program'), [
    ('--label_nc', 'pix2pixHD'), ('--data_online_creation', 'joliGEN'),
    ('--data_load_size', '--load_size'), ('--batch_sizes', '--batch_size'), ('--model_sufix', '--model_suffix')])
def test_an_unknown_option_is_one_of_another_program_or_nearly_one_of_ours(option, program, images, train_options):
    with pytest.raises(UserError) as error:
        train_options('--dataroot', images['unaligned'], option, 1)
    assert len(error.value.args) == 1 and option in str(error.value) and program in str(error.value)


def test_no_option_of_ours_is_said_to_be_of_another_program():
    from models.catalog import FORKS, fork_of
    for options in (TrainOptions(), TestOptions()):
        known = [*options.build_parser([])._option_string_actions, *options.options_of_other_programs()]
        assert not [name for name in known if fork_of(name.removeprefix('--'))]
    names = [name for text in FORKS.values() for name in text.split()]
    assert len(names) == len(set(names))


def test_a_finished_run_says_how_to_fine_tune(add, words, images, tmp_path, capsys):
    native = ['--model', 'pix2pix', '--dataset_mode', 'aligned', '--n_epochs', 1, '--n_epochs_decay', 0]
    train_program.main(words('plain_pix', *native, '--name', 'done'), Console())
    capsys.readouterr()
    for more, expected in (((), False), (('--dataroot', str(images['aligned'])), True)):
        place = ['--name', 'done', '--checkpoints_dir', str(tmp_path / 'runs')]
        argv = [*place, '--continue_train', '--gpu_ids', '-1', *more]
        assert train_program.main(argv, Console()) == 0
        assert ('--init_from done' in capsys.readouterr().out) == expected


def test_a_test_has_the_options_of_the_training(add, run, tmp_path, images):
    run('two_critics', '--n_epochs', '1', '--n_epochs_decay', '0')
    opt = TestOptions().parse(['--name', 'two_critics', '--checkpoints_dir', str(tmp_path / 'runs'), '--gpu_ids', '-1',
                               '--dataroot', str(images['triple'])])
    assert opt.mask_weights == [0.9, 0.4]


def test_what_does_not_apply_is_refused_or_said(add, words, capsys):
    train_program.main(words('plain_pix', '--dry_run'), Console())
    assert '--accumulate' in capsys.readouterr().err
    with pytest.raises(UserError, match='--accumulate'):
        train_program.main(words('plain_pix', '--accumulate', '2', '--dry_run'), Console())


def test_facts_about_a_native_model_are_not_those_of_an_older_one(add, words):
    with pytest.raises(UserError, match='--parallel twin'):
        TrainOptions().parse(words('cycle_gray', '--parallel', 'twin'))
    assert not models.registry.declarations('cycle_gray')['two_way']


@pytest.mark.parametrize('loader', ['cache_ram', pytest.param('auto', marks=pytest.mark.slow)])
def test_a_loader_that_keeps_images_changes_nothing(loader, add, run):
    folder = run('two_critics')
    before = states.checkpoint_state(folder, 'latest')
    kept = run('two_critics', '--loader', loader, '--overwrite')
    differences = states.differences(before, states.checkpoint_state(kept, 'latest'))
    assert [line for line in differences if 'loader' not in line and 'overwrite' not in line] == []


def test_samples_without_a_and_b(add, words, images, tmp_path):
    text = (OLDER / 'data' / 'triple_dataset.py').read_text('utf-8').replace('TripleDataset', 'MyNamedDataset')
    text = text.replace('return sample', "return {'photo': sample['A'], 'sketch': sample['B'], 'number': index, "
                        "'path': sample['A_paths'], 'classes': sample['A'][0].gt(0).byte()}")
    add(data, 'my_named_dataset.py', text)
    text = (OLDER / 'models' / 'plain_pix_model.py').read_text('utf-8')
    add(models, 'my_named_model.py', text.replace('PlainPixModel', 'MyNamedModel') + '''
    def set_input(self, input):
        self.real_A, self.real_B = input['photo'].to(self.device), input['sketch'].to(self.device)
        self.image_paths = input['path']
        assert input['classes'].dtype.is_floating_point is False and input['classes'].max() <= 1
''')
    chosen = ['--model', 'my_named', '--dataset_mode', 'my_named', '--name', 'named', '--dataroot', images['triple']]
    train_program.main(words('plain_pix', *chosen), Console())
    argv = ['--name', 'named', '--dataroot', images['triple'], '--checkpoints_dir', tmp_path / 'runs', '--gpu_ids', -1,
            '--results_dir', tmp_path / 'results', '--num_threads', 0]
    assert test_program.main([*map(str, argv)], Console()) == 0
    assert len(list((tmp_path / 'results' / 'named' / 'test_latest' / 'images').iterdir())) == 9


def test_schedulers_of_a_file_go_on_in_a_resumed_run(add, words, build_model):
    """They are created anew, also where the file steps them itself."""
    text = (OLDER / 'models' / 'own_networks_model.py').read_text('utf-8').replace('OwnNetworks', 'OwnSteps')
    add(models, 'own_steps_model.py', text + """
    def update_learning_rate(self):
        for scheduler in self.schedulers:       # half of it after 2 epochs
            scheduler.step()
""")

    def rates(*epochs):
        model = build_model(TrainOptions().parse(words('own_networks', '--model', 'own_steps')))
        for epoch in epochs:
            model.update_learning_rate(epoch, lambda: None)
        return [group['lr'] / model.opt.lr for group in model.parameter_groups]
    assert rates(2) == rates(1, 2) == pytest.approx([0.5, 2])


def test_a_phase_without_images_is_not_validated(add, train_options, tmp_path, aligned_root):
    """A file may list what is in a folder and not notice that there is none."""
    add(data, 'listed_dataset.py', """import glob
from data.base_dataset import BaseDataset
from data.image_folder import ImageFolder, default_loader


class ListedDataset(BaseDataset):
    def initialize(self, opt):
        self.paths = sorted(glob.glob(f'{opt.dataroot}/{opt.phase}/*.png'))
        self.sizes = [image.size for image, path in ImageFolder(f'{opt.dataroot}/test', None, return_paths=True)]

    def __getitem__(self, index):
        path = self.paths[index % len(self.paths)]
        return {'A_paths': path, 'size': default_loader(path).size}

    def __len__(self):
        return len(self.paths)
""")
    opt = train_options('--dataroot', aligned_root, '--dataset_mode', 'listed')
    dataset = create_dataset(opt)
    assert (len(dataset), dataset.client.sizes) == (5, [(80, 40)] * 3)
    assert data.held_out(opt.replace(phase='val'), dataset) == ''
    assert len(data.held_out(opt.replace(phase='test'), dataset)) == 3


def test_options_of_a_file_that_grow_or_are_called_like_ours(add, words):
    text = (OLDER / 'models' / 'plain_pix_model.py').read_text('utf-8').replace('PlainPix', 'Grown')
    add(models, 'grown_model.py', text + """
    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.add_argument('--level', action='append', type=int, default=[1])
        parser.add_argument('--more', action='count', default=0)
        parser.add_argument('--style_dir', default='styles')
        return Pix2PixModel.modify_commandline_options(parser, is_train)
""")
    opt = TrainOptions().parse(words('plain_pix', '--model', 'grown'))
    assert (opt.level, opt.more, opt.style_dir) == ([1], 0, 'styles')
    given = words('plain_pix', '--model', 'grown', '--level', 2, '--level', 3, '--more', '--more')
    opt = TrainOptions().parse(given)
    assert (opt.level, opt.more) == ([1, 2, 3], 2) and {'level', 'more'} <= opt.given
    assert TrainOptions().parse(given).level == [1, 2, 3]
    assert ValidationOptions(opt).parse().style_dir == 'styles'


def test_options_that_grow_begin_anew_when_a_run_goes_on(add, run, images):
    text = (OLDER / 'models' / 'plain_pix_model.py').read_text('utf-8').replace('PlainPix', 'Growing')
    add(models, 'growing_model.py', text + """
    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.add_argument('--level', action='append', type=int, default=[1])
        parser.add_argument('--kinds', action='append')
        parser.add_argument('--more', action='count', default=0)
        return Pix2PixModel.modify_commandline_options(parser, is_train)
""")
    given = ['--level', '2', '--kinds', 'a', '--more', '--more']
    folder = run('plain_pix', '--model', 'growing', '--n_epochs', '1', '--n_epochs_decay', '0', *given)
    name = ['--dataroot', str(images['aligned']), '--name', folder.name, '--checkpoints_dir', str(folder.parent)]

    def values(*more):
        opt = TestOptions().parse([*name, *more])
        return opt.level, opt.kinds, opt.more
    assert values() == ([1, 2], ['a'], 2)
    assert values(*given) == ([1, 2], ['a'], 2)
    assert values('--level', '3', '--kinds', 'b', '--more') == ([1, 3], ['b'], 1)


def test_a_network_of_a_file_is_not_exported(add, run):
    text = (OLDER / 'models' / 'own_networks_model.py').read_text('utf-8').replace('OwnNetworks', 'OwnNames')
    add(models, 'own_names_model.py', text)
    folder = run('own_networks', '--model', 'own_names', '--n_epochs', '1', '--n_epochs_decay', '0')
    with pytest.raises(UserError, match='--model own_names.* test.py'):
        models.load_translator(folder)


def test_a_learning_rate_that_follows_a_plateau(add, run):
    folder = run('two_critics', '--lr_policy', 'plateau')
    assert (folder / '4_net_G.pth').exists()


@pytest.mark.parametrize('name', ['triple', 'first_form', 'shared_crop'])
def test_a_worker_process_that_is_not_a_fork_gets_the_dataset(name, add, images, train_options):
    root = images['triple' if name == 'triple' else 'aligned']
    dataset = create_dataset(train_options('--dataroot', root, '--dataset_mode', name, '--netG',
                                           'unet_32', '--model', 'pix2pix'))
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[1, 7]['A'], dataset[1, 7]['A']) and len(again) == len(dataset)


# ---- mistakes in files of users

FORWARD = '    def forward(self):\n'
MISTAKES = {    # where, what: (file, its text, the line, a part of the message)
    'syntax': ('models', 'class MyBadModel(:\n    pass\n', 1, 'SyntaxError'),
    'import': ('models', 'import os\nimport there_is_no_such_module\n\n\nclass MyBadModel:\n'
               '    def __init__(self, opt):\n        pass\n', 2, 'there_is_no_such_module'),
    'init': ('models', 'from .pix2pix_model import Pix2PixModel\n\n\nclass MyBadModel(Pix2PixModel):\n'
             '    def __init__(self, opt):\n        super().__init__(opt)\n        self.nothing.here = 1\n', 7,
             "no attribute 'nothing'"),
    'forward': ('models', 'from .pix2pix_model import Pix2PixModel\n\n\nclass MyBadModel(Pix2PixModel):\n'
                '    def forward(self):\n        self.fake_B = self.netG(self.real_A[:, :2])\n'
                '    def optimize_parameters(self):\n        self.forward()\n', 6, 'RuntimeError'),
    'step': ('models', 'from .pix2pix_model import Pix2PixModel\n\n\nclass MyBadModel(Pix2PixModel):\n'
             '    def optimize_parameters(self):\n        1 / 0\n', 6, 'ZeroDivisionError'),
    'options': ('models', 'from .pix2pix_model import Pix2PixModel\n\n\nclass MyBadModel(Pix2PixModel):\n'
                '    @staticmethod\n    def modify_commandline_options(parser, is_train):\n'
                '        parser.add_argument(7)\n        return parser\n', 7, 'Error'),
    'dataset': ('data', 'from data.base_dataset import BaseDataset\n\n\nclass MyBadDataset(BaseDataset):\n'
                '    def __len__(self):\n        return 4\n\n'
                '    def __getitem__(self, index):\n        return [][index]\n', 9, 'IndexError'),
}


@pytest.mark.sample(6)
@pytest.mark.parametrize('verbose', [[], ['--verbose']])
@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_of_a_user_is_shown_with_its_file_and_line(mistake, verbose, add, words, tmp_path, capsys):
    room, text, line, message = MISTAKES[mistake]
    kind = 'model' if room == 'models' else 'dataset'
    add({'models': models, 'data': data}[room], f'my_bad_{kind}.py', text)
    chosen = ['--model', 'my_bad'] if room == 'models' else ['--dataset_mode', 'my_bad']
    code = run_program(train_program.main, words('plain_pix', '--name', 'bad', *chosen, *verbose))
    out, err = capsys.readouterr()
    said, = [row for row in err.splitlines() if row.startswith('error:')]
    assert code in (1, 2) and f'{tmp_path / room / f"my_bad_{kind}.py"}, line {line}: ' in said
    assert message in said and 'internal' not in said and 'report' not in said
    assert ('Traceback' in err) == bool(verbose)


def test_a_mistake_in_a_worker_process_is_shown_too(add, words, tmp_path, capsys):
    text = MISTAKES['dataset'][1].replace('[][index]', "{'A': 0, 'B': 0} if index < 0 else [][index]")
    add(data, 'my_bad_dataset.py', text)
    code = run_program(train_program.main, words('plain_pix', '--dataset_mode', 'my_bad', '--num_threads', 1))
    assert code == 1 and 'my_bad_dataset.py, line 9: IndexError' in capsys.readouterr().err


def test_a_missing_method_is_named(add, words, capsys):
    add(models, 'my_bad_model.py', 'from .base_model import BaseModel\n\n\nclass MyBadModel(BaseModel):\n'
        '    def __init__(self, opt):\n        BaseModel.__init__(self, opt)\n')
    code = run_program(train_program.main, words('plain_pix', '--model', 'my_bad', '--dataset_mode', 'aligned'))
    err = capsys.readouterr().err
    assert code in (1, 2) and 'my_bad_model.py' in err and 'set_input' in err and 'internal' not in err


def test_a_broken_file_breaks_no_other_command_line(add, words, capsys):
    add(models, 'my_broken_model.py', 'class MyBrokenModel(:\n')
    add(data, 'my_broken_dataset.py', 'def\n')
    assert train_program.main(words('plain_pix', '--model', 'pix2pix', '--dataset_mode', 'aligned', '--dry_run'),
                              Console()) == 0
    with pytest.raises(UserError, match='--no_such_option'):
        TrainOptions().parse(words('plain_pix', '--no_such_option'))


def test_an_error_of_ours_is_still_to_be_reported(add, words, capsys, monkeypatch):
    monkeypatch.setattr(OlderModel, 'set_input', lambda *_: 1 / 0)
    assert run_program(train_program.main, words('plain_pix')) == 1
    err = capsys.readouterr().err
    assert 'error of ours: ZeroDivisionError' in err and 'report it with' in err


# ---- several processes

def test_two_processes_train_as_one(python, words, tmp_path):
    """Two processes have half of each batch and make the updates of one."""
    clone = clone_with_older_files(tmp_path / 'clone')
    weights = []
    for size in (1, 2):
        argv = words('plain_pix', '--batch_size', 4 // size, '--no_dropout', '--max_dataset_size', 4,
                     '--name', f'by_{size}')
        runs = python.run_together(['train.py', *argv], clone, as_torchrun(2) if size == 2 else [{}])
        assert all(done.returncode == 0 for done in runs), runs
        weights.append(torch.load(tmp_path / 'runs' / f'by_{size}' / 'latest_net_G.pth', weights_only=True))
    for key, value in weights[0].items():
        assert key.endswith('bias') or torch.allclose(weights[1][key], value, atol=1e-5), key


def clone_with_older_files(folder):
    """The project with the files of tests/older, as a user has it."""
    for room in ('models', 'data', 'options', 'util', 'scripts', 'datasets'):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns('__pycache__', '*.zip', '*.gz'))
    for name in ('train.py', 'test.py'):
        shutil.copy(ROOT / name, folder)
    for room in ('models', 'data'):
        shutil.copytree(OLDER / room, folder / room, dirs_exist_ok=True)
    shutil.copytree(OLDER / 'scripts', folder, dirs_exist_ok=True)
    return folder
