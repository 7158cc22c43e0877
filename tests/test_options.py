"""Command lines: defaults, precedence, and one sentence for every mistake the options alone can show."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import data
import models
from options import Options, TestOptions, TrainOptions
from options.base_options import changed_options, option_text, save_options
from options.parser import ALIASES, OptionParser
from util.cli import run
from util.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
ALL = float('inf')
PROGRAMS = {'train': TrainOptions, 'test': TestOptions}

# The command line that users of the reference know: name -> default. Two defaults are ours on purpose:
# test.py translates all images, and its --load_size follows --crop_size.
SHARED = {
    'name': 'experiment_name', 'gpu_ids': '0', 'checkpoints_dir': './checkpoints', 'input_nc': 3,
    'output_nc': 3, 'ngf': 64, 'ndf': 64, 'netD': 'basic', 'netG': 'resnet_9blocks', 'n_layers_D': 3,
    'norm': 'instance', 'init_type': 'normal', 'init_gain': 0.02, 'no_dropout': False,
    'dataset_mode': 'unaligned', 'direction': 'AtoB', 'num_threads': 4, 'batch_size': 1, 'crop_size': 256,
    'max_dataset_size': ALL, 'preprocess': 'resize_and_crop', 'display_winsize': 256, 'epoch': 'latest',
    'load_iter': 0, 'verbose': False, 'suffix': '', 'use_wandb': False,
    'wandb_project_name': 'CycleGAN-and-pix2pix',
}
OF_PROGRAM = {
    'train': SHARED | {
        'isTrain': True, 'model': 'cycle_gan', 'load_size': 286, 'serial_batches': False, 'no_flip': False,
        'phase': 'train', 'display_freq': 400, 'display_ncols': 4, 'display_id': 1,
        'display_server': 'http://localhost', 'display_env': 'main', 'display_port': 8097,
        'update_html_freq': 1000, 'print_freq': 100, 'no_html': False, 'save_latest_freq': 5000,
        'save_epoch_freq': 5, 'save_by_iter': False, 'continue_train': False, 'epoch_count': 1, 'n_epochs': 100,
        'n_epochs_decay': 100, 'beta1': 0.5, 'lr': 0.0002, 'gan_mode': 'lsgan', 'pool_size': 50,
        'lr_policy': 'linear', 'lr_decay_iters': 50},
    'test': SHARED | {
        'isTrain': False, 'model': 'test', 'load_size': 256, 'serial_batches': True, 'no_flip': True,
        'phase': 'test', 'results_dir': './results/', 'aspect_ratio': 1.0, 'eval': False, 'num_test': ALL},
}
PIX2PIX = {'norm': 'batch', 'netG': 'unet_256', 'dataset_mode': 'aligned'}
COLORIZATION = {'dataset_mode': 'colorization', 'input_nc': 1, 'output_nc': 2}
TEMPLATE_DATA = {'dataset_mode': 'template', 'max_dataset_size': 10, 'new_dataset_option': 2.0}
# (program, what is chosen) -> what differs from the table above
SELECTIONS = {
    ('train', ''): {'no_dropout': True, 'lambda_A': 10.0, 'lambda_B': 10.0, 'lambda_identity': 0.5},
    ('train', '--model cycle_gan'): {'no_dropout': True, 'lambda_A': 10.0, 'lambda_B': 10.0, 'lambda_identity': 0.5},
    ('train', '--model pix2pix'): {'pool_size': 0, 'gan_mode': 'vanilla', 'lambda_L1': 100.0} | PIX2PIX,
    ('train', '--model colorization'): {'pool_size': 0, 'gan_mode': 'vanilla', 'lambda_L1': 100.0} | PIX2PIX
    | COLORIZATION,
    ('train', '--model template'): {'dataset_mode': 'aligned', 'lambda_regression': 1.0},
    ('train', '--model template --dataset_mode template'): {'lambda_regression': 1.0} | TEMPLATE_DATA,
    ('train', '--dataset_mode colorization --lambda_identity 0'): {'no_dropout': True, 'lambda_identity': 0.0}
    | COLORIZATION,
    ('test', ''): {'dataset_mode': 'single', 'model_suffix': ''},
    ('test', '--model test'): {'dataset_mode': 'single', 'model_suffix': ''},
    ('test', '--model cycle_gan'): {'no_dropout': True},
    ('test', '--model pix2pix'): PIX2PIX,
    ('test', '--model colorization'): PIX2PIX | COLORIZATION,
    ('test', '--model template'): {'dataset_mode': 'aligned'},
    ('test', '--model template --dataset_mode template'): TEMPLATE_DATA,
}


@pytest.fixture
def parse(tmp_path):
    """parse('train', '--ngf 8') -> options; for test.py there is a checkpoint of bare weights."""
    images, run_folder = tmp_path / 'images', tmp_path / 'checkpoints' / 'experiment_name'
    images.mkdir()
    run_folder.mkdir(parents=True)
    (run_folder / 'latest_net_G.pth').write_bytes(b'weights')

    def parse_words(program: str, line: str = '', *more: str) -> Options:
        places = ['--dataroot', str(images), '--checkpoints_dir', str(run_folder.parent)]
        return PROGRAMS[program]().parse([*places, *line.split(), *more])
    return parse_words


@pytest.fixture
def mistakes(parse):
    """mistakes('train', '--lr x') -> the sentences about a command line."""
    def sentences(program: str, line: str = '', *more: str) -> tuple[str, ...]:
        with pytest.raises(UserError) as caught:
            parse(program, line, *more)
        return caught.value.args
    return sentences


# ---- defaults

@pytest.mark.parametrize(('program', 'line'), SELECTIONS)
def test_default(program, line, parse):
    expected = OF_PROGRAM[program] | SELECTIONS[program, line]
    expected |= {'model': line.split()[1]} if line.startswith('--model') else {}
    found = parse(program, line).as_dict()
    del expected['checkpoints_dir']     # given by the test
    assert {name: found.get(name, 'no such option') for name in expected} == expected
    assert {name: type(found[name]) for name in expected} == {name: type(expected[name]) for name in expected}


@pytest.mark.parametrize('program', PROGRAMS)
def test_default_checkpoints_dir(program):
    parser = OptionParser()
    PROGRAMS[program]().add_options(parser)
    assert parser.get_default('checkpoints_dir') == './checkpoints'
    assert parser.get_default('dataroot') is None


def test_every_option_of_the_reference_is_in_the_help(capsys):
    for (program, line), changed in SELECTIONS.items():
        with pytest.raises(SystemExit) as ended:
            PROGRAMS[program]().parse([*line.split(), '--help'])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        for name in ({**OF_PROGRAM[program], **changed}.keys() - {'isTrain'}) | {'dataroot'}:
            assert re.search(rf'^  --{name}\b', text, re.MULTILINE), f'{program} {line}: --{name}'


def test_load_size_of_a_test_follows_crop_size(parse):
    assert parse('test', '--crop_size 512').load_size == 512
    assert parse('test', '--crop_size 512 --load_size 600').load_size == 600


@pytest.mark.parametrize('flag', ['--serial_batches', '--no_flip'])
def test_a_test_is_in_order_and_never_mirrored(flag, parse):
    assert getattr(parse('test', flag), flag[2:]) is True


@pytest.mark.parametrize(('line', 'meant'), [
    ('--model pix2pix --netG unet_256 --direction BtoA --lambda_L1 100 --dataset_mode aligned --norm batch '
     '--pool_size 0', {'model': 'pix2pix', 'netG': 'unet_256', 'direction': 'BtoA', 'lambda_L1': 100.0,
                       'dataset_mode': 'aligned', 'norm': 'batch', 'pool_size': 0}),
    ('--model cycle_gan --pool_size 50 --no_dropout', {'model': 'cycle_gan', 'pool_size': 50, 'no_dropout': True}),
    ('--model colorization', {'model': 'colorization', 'dataset_mode': 'colorization', 'input_nc': 1}),
    ('--gpu_ids 0,1 --display_id 0', {'gpu_ids': '0,1', 'display_id': 0}),
    ('--model cycle_gan --norm sync_batch', {'model': 'cycle_gan', 'norm': 'syncbatch'}),
    ('--model cycle_gan --use_wandb --wandb_project_name x', {'use_wandb': True, 'wandb_project_name': 'x'})])
def test_command_lines_of_the_reference(line, meant, parse):
    opt = parse('train', line)
    assert {name: getattr(opt, name) for name in meant} == meant


@pytest.mark.parametrize(('given', 'meant'), [('sync_batch', 'syncbatch'), ('sync_instance', 'instance'),
                                              ('syncbatch', 'syncbatch'), ('none', 'none')])
def test_names_of_norms(given, meant, parse):
    assert parse('train', f'--norm {given}').norm == meant


def test_dropout_can_be_switched_on_and_off(parse):
    assert parse('train', '--dropout').no_dropout is False
    assert parse('train', '--model pix2pix --no_dropout').no_dropout is True
    assert parse('train', '--dropout --no_dropout').no_dropout is True      # the last word counts


# ---- ways of writing

OLDER_NAMES = {     # old: (new, a value on the command line, what it becomes)
    '--niter': ('--n_epochs', '7', 7), '--niter_decay': ('--n_epochs_decay', '7', 7),
    '--which_direction': ('--direction', 'BtoA', 'BtoA'), '--fineSize': ('--crop_size', '64', 64),
    '--loadSize': ('--load_size', '300', 300), '--resize_or_crop': ('--preprocess', 'crop', 'crop'),
    '--which_model_netG': ('--netG', 'resnet_6blocks', 'resnet_6blocks'),
    '--which_model_netD': ('--netD', 'pixel', 'pixel'), '--batchSize': ('--batch_size', '7', 7),
    '--nThreads': ('--num_threads', '7', 7), '--which_epoch': ('--epoch', 'latest', 'latest'),
    '--how_many': ('--num_test', '7', 7), '--ntest': ('--num_test', '7', 7),
    '--identity': ('--lambda_identity', '0.25', 0.25), '--gpu': ('--gpu_ids', '1', '1'),
    '--display_single_pane_ncols': ('--display_ncols', '7', 7),
    '--gan_w': ('--lambda_gan', '2', 2.0), '--vgg_w': ('--lambda_vgg', '2', 2.0),
    '--recon_x_w': ('--lambda_recon_x', '2', 2.0), '--recon_s_w': ('--lambda_recon_s', '2', 2.0),
    '--recon_c_w': ('--lambda_recon_c', '2', 2.0), '--recon_x_cyc_w': ('--lambda_cyc', '2', 2.0),
}


@pytest.mark.parametrize('old', OLDER_NAMES)
def test_older_name(old, parse, capsys):
    new, text, value = OLDER_NAMES[old]
    program = 'test' if new == '--num_test' else 'train'
    of_munit = '--model munit ' if old.endswith('_w') else ''
    for words in (f'{old} {text}', f'{old}={text}'):
        assert getattr(parse(program, of_munit + words), new[2:]) == value
    assert capsys.readouterr().err == f'note: {old} is an older name of {new}\n' * 2


def test_resume_is_an_older_name_of_continue_train(mistakes):
    assert 'no checkpoint of this run' in mistakes('train', '--resume --name absent')[0]
    assert ALIASES.keys() == OLDER_NAMES.keys() | {'--resume', '--device'}


def test_all_images_as_in_2018(parse):
    assert parse('test', '--ntest inf').num_test == float('inf')


def test_no_lsgan(parse, capsys):
    assert parse('train', '--no_lsgan').gan_mode == 'vanilla'
    assert '--no_lsgan is an older name of --gan_mode vanilla' in capsys.readouterr().err


@pytest.mark.parametrize('words', ['--batch 7', '--batch=7', '--batch_size 7', '--batch_size=7'])
def test_beginnings_of_names_and_equals_signs(words, parse):
    assert parse('train', words).batch_size == 7


def test_beginning_of_the_name_of_an_option_of_the_model(parse):
    assert parse('train', '--model pix2pix --lambda_L 3').lambda_L1 == 3
    assert parse('train', '--mod pix2pix').netG == 'unet_256'


def test_ambiguous_beginning(mistakes):
    message, = mistakes('train', '--n_epo 3')
    assert '--n_epo ' in message and '--n_epochs' in message and '--n_epochs_decay' in message


def test_a_whole_name_is_not_ambiguous(parse):
    assert parse('train', '--n_epochs 3 --epoch 5 --model pix2pix').n_epochs == 3


# ---- precedence: shared < model < dataset < checkpoint < command line

@pytest.fixture
def layers(monkeypatch):
    """layers(model={...}, dataset={...}, checkpoint={...}) gives each layer other defaults."""
    def set_layers(model=(), dataset=(), checkpoint=()):
        for registry, changed in ((models.registry, model), (data.registry, dataset)):
            def declarations(name, genuine=registry.declarations, changed=changed):
                tables = genuine(name)
                return {**tables, 'defaults': {**tables['defaults'], **dict(changed)}}
            monkeypatch.setattr(registry, 'declarations', declarations)
        monkeypatch.setattr('options.train_options.load_run', lambda folder, label: {'options': dict(checkpoint)})
    return set_layers


def test_precedence(layers, parse):
    keys = ('ngf', 'ndf', 'batch_size', 'lr', 'beta1')
    mine = {keys[n]: n + 1 for n in range(5)}
    layers(model={key: 10 for key in keys[1:]}, dataset={key: 20 for key in keys[2:]},
           checkpoint={'model': 'pix2pix', **{key: 30 for key in keys[3:]}})
    options = parse('train', '--model pix2pix --continue_train --beta1 0.9')
    assert [getattr(options, key) for key in keys] == [64, 10, 20, 30, 0.9]
    options = parse('train', '--model pix2pix ' + ' '.join(f'--{key} {value}' for key, value in mine.items()
                                                           if key != 'beta1'))
    assert [getattr(options, key) for key in keys] == [1, 2, 3, 4, 20]


def test_model_and_dataset_of_the_checkpoint_bring_their_options(layers, parse):
    layers(checkpoint={'model': 'template', 'dataset_mode': 'template', 'lambda_regression': 4.0})
    options = parse('train', '--continue_train')
    assert (options.model, options.lambda_regression, options.new_dataset_option) == ('template', 4.0, 2.0)


def test_given(parse):
    assert {'ngf', 'dataroot'} <= parse('train', '--ngf 64').given
    assert 'ngf' not in parse('train').given


def test_options_are_read_only(parse):
    options = parse('train')
    with pytest.raises(AttributeError, match='read-only'):
        options.ngf = 3
    with pytest.raises(AttributeError, match='no option nothing'):
        options.nothing  # noqa: B018
    options.as_dict()['ngf'] = 3
    assert options.ngf == 64
    assert options.replace(ngf=3).ngf == 3 and options.ngf == 64


# ---- mistakes

MISTAKES = {
    # unknown names, with the nearest valid one (OP01-OP08)
    '--model pix2pixx': ['--model pix2pixx', 'did you mean pix2pix?', 'cyclegan'],
    '--model foo': ['--model foo does not exist', 'pix2pix'],
    '--dataset_mode alignd': ['--dataset_mode alignd', 'did you mean aligned?', 'unaligned'],
    '--netG resnet_9block': ['--netG resnet_9block', 'did you mean resnet_9blocks?'],
    '--netG unet_255': ['--netG unet_255', 'unet_256'],
    '--norm bach': ['--norm bach', 'did you mean batch?', 'instance'],
    '--init_type xaver': ['--init_type xaver', 'did you mean xavier?'],
    '--gan_mode lsgam': ['--gan_mode lsgam', 'did you mean lsgan?', 'wgangp'],
    '--lr_policy linar': ['--lr_policy linar', 'did you mean linear?', 'cosine'],
    '--preprocess blur': ['--preprocess blur', 'resize_and_crop'],
    '--direction btoa': ['--direction btoa', 'did you mean BtoA?'],
    '--direction AtoC': ['--direction AtoC', 'AtoB'],
    # ranges (OP09-OP16, OP20-OP22, OP30)
    '--batch_size 0': ['--batch_size 0', 'at least 1'],
    '--batch_size -1': ['--batch_size -1', 'at least 1'],
    '--batch_size 1.5': ['--batch_size 1.5', 'whole number'],
    '--batch_size x': ['--batch_size x', 'whole number'],
    '--lr nan': ['--lr nan', 'finite', 'above 0'],
    '--lr inf': ['--lr inf', 'finite'],
    '--lr -1': ['--lr -1', 'above 0'],
    '--lr 0': ['--lr 0', 'above 0'],
    '--beta1 1': ['--beta1 1', 'below 1'],
    '--beta1 -0.1': ['--beta1 -0.1', 'at least 0'],
    '--num_threads -1': ['--num_threads -1', 'at least 0'],
    '--pool_size -1': ['--pool_size -1', 'at least 0'],
    '--save_epoch_freq -1': ['--save_epoch_freq -1', 'at least 0'],
    '--print_freq -5': ['--print_freq -5', 'at least 0'],
    '--max_dataset_size 0': ['--max_dataset_size 0', 'at least 1'],
    '--n_layers_D 0': ['--n_layers_D 0', 'at least 1'],
    '--ngf 0': ['--ngf 0', 'at least 1'],
    '--init_gain -1': ['--init_gain -1', 'at least 0'],
    '--lambda_A -1': ['--lambda_A -1', 'at least 0'],
    '--lambda_A nan': ['--lambda_A nan', 'finite'],
    '--seed -1': ['--seed -1', 'at least 0'],
    '--n_epochs 0 --n_epochs_decay 0': ['nothing to train', '--n_epochs'],
    '--epoch_count 201': ['nothing to train', '--epoch_count 201', '200'],
    # sizes that do not go together (OP17, OP23, OP24, OP32)
    '--crop_size 300': ['--load_size 286', '--crop_size 300', 'add --load_size 300'],
    '--preprocess scale_width_and_crop --crop_size 300': ['--load_size 286', '--crop_size 300'],
    '--crop_size 16 --load_size 16': ['--crop_size 16', '--netD basic', '24'],
    '--netG unet_256 --crop_size 64 --load_size 64': ['--crop_size 64', '--netG unet_256', 'multiple of 256'],
    '--netG unet_256 --preprocess resize --load_size 300': ['--load_size 300', 'multiple of 256'],
    '--crop_size 250': ['--crop_size 250', 'multiple of 4'],
    '--range_A 5,1': ['--range_A', '0,1400'],
    '--range_B 1%,900%': ['--range_B', '100%'],
    '--bands 0,1': ['--bands', 'from 1'],
    '--labels_A absent.txt': ['--labels_A', 'auto'],
    # the rest of the options alone (OP18, OP19, OP31, OP34, OP35)
    '--gpu_ids abc': ['--gpu_ids abc', '-1'],
    '--gpu_ids 0,': ['--gpu_ids 0,', '-1'],
    '--model test': ['--model test', '--model'],
    '--no_flip yes': ['unexpected argument yes', '--no_flip takes no value'],
    '--lambda_identy 3': ['unknown option --lambda_identy', 'did you mean --lambda_identity?'],
    '--btch_size=3': ['unknown option --btch_size', 'did you mean --batch_size?'],
    'word': ['word', 'options begin with --'],
    '--batch_size': ['--batch_size', 'expected one argument'],
    # names that would leave the folder of the runs (OP25-OP29)
    '--name=': ['--name', 'letters'],
    '--name ../../x': ['--name ../../x', 'letters'],
    '--name ..': ['--name ..', 'letters'],
    '--name /absolute': ['--name /absolute', 'letters'],
    '--name a/b': ['--name a/b', 'letters'],
    r'--name a\b': [r'--name a\b', 'letters'],
    '--name .hidden': ['--name .hidden', 'letters'],
    f'--name {"x" * 101}': ['at most 100'],
    '--phase ../x': ['--phase ../x', 'letters'],
    '--epoch ../x': ['--epoch ../x', 'letters'],
    '--suffix ../../x': ['--suffix', '../../x', 'letters'],
    '--suffix {nofield}': ['--suffix {nofield}', 'no option nofield'],
    '--suffix {x.__class__}': ['--suffix {x.__class__}', 'no option x.__class__'],
    '--suffix {model.__class__}': ['--suffix', 'no option model.__class__'],
    '--suffix {model[0]}': ['--suffix', 'no option model[0]'],
    '--suffix {dataroot}': ['--suffix', 'letters'],
    '--continue_train false': ['--continue_train false', 'auto', 'alone', 'leave it out'],
    # numbers beyond every library
    '--batch_size 99999999999999999999': ['--batch_size 9', 'at least 1 and at most 2147483647'],
    '--load_size 99999999999': ['--load_size 9', 'at most 65535'],
    '--n_layers_D 99': ['--n_layers_D 99', 'at most 30'],
    f'--seed {2**63}': [f'--seed {2**63}', f'at most {2**63 - 1}'],
    # what does not go together
    '--input_nc 1': ['--lambda_identity 0.5', '1 and 3', 'set --lambda_identity 0'],
    '--netG unet_128 --grad_checkpoint': ['--grad_checkpoint is for generators of residual', '--netG unet_128'],
    '--norm batch --grad_checkpoint': ['--grad_checkpoint is for generators of residual', '--norm batch'],
    '--parallel twin --dropout': ['--parallel twin', 'without dropout and batch norm'],
    '--parallel twin --norm syncbatch': ['--parallel twin', 'without dropout and batch norm'],
    '--parallel twin --gan_mode wgangp': ['--parallel twin', 'not for --gan_mode wgangp'],
    '--model munit --parallel twin --norm_D batch': ['--parallel twin', 'without dropout and batch norm'],
    '--model munit --gan_mode wgangp': ['--gan_mode wgangp', 'munit'],
    '--model munit --vgg_weights absent.pth': ['absent.pth', 'correct --vgg_weights'],
    '--model colorization --input_nc 3 --output_nc 3': ['--input_nc 1, --output_nc 2', 'not 3, 3, AtoB'],
    '--dataset_mode colorization --lambda_identity 0 --direction BtoA': ['--direction AtoB', 'not 1, 2, BtoA'],
    '--model munit --num_scales_D 9': ['--crop_size 256', 'at least 4096', '--num_scales_D 9'],
    '--model munit --crop_size 100 --n_downsample 3': ['--crop_size 100', 'multiple of 8', '--n_downsample 3'],
    '--model munit --n_downsample 5 --crop_size 32 --num_scales_D 1': ['--crop_size 32', 'at least 64'],
    '--netG resnet_1000blocks': ['--netG resnet_1000blocks', 'resnet_<n>blocks up to 999'],
    '--model munit --preprocess resize --load_size 62': ['--load_size 62', 'multiple of 4'],
    '--model munit --preprocess none --n_layers_D 9': ['--n_layers_D 9', 'at most 8'],
    # a wrong value is told once, and not what follows from the default in its place
    '--crop_size 0 --load_size 36': ['--crop_size 0', 'at least 1'],
    '--model pix2pix --netG unet_128 --crop_size x --load_size 100': ['--crop_size x', 'whole number'],
    # numbers of MUNIT's networks
    **{f'--model munit --{name} {value}': [f'--{name} {value}', f'at least {low} and at most {high}']
       for name, low, high in (('style_dim', 1, 16384), ('mlp_dim', 1, 16384), ('n_res', 1, 100),
                               ('n_downsample', 0, 6), ('n_downsample_style', 0, 10), ('num_scales_D', 1, 10))
       for value in (low - 1, high + 1)},
    '--model munit --init_type_D xaver': ['--init_type_D xaver', 'did you mean xavier?'],
    '--model munit --vgg_layer relu9_9': ['--vgg_layer relu9_9', 'relu5_3'],
    '--cpu_threads 100000': ['--cpu_threads 100000', 'at most 1024'],
    '--ngf 2147483647': ['--ngf 2147483647', 'at most 16384'],
    '--data_timeout 1e-9': ['--data_timeout 1e-9', 'from 0.001 to 1000000'],
    '--max_minutes 1e300': ['--max_minutes 1e300', 'at least 0 and below 1e+06'],
    '--crop_size 7': ['7x7', 'a --crop_size of at least 8'],
    '--gpu_ids 0,1,0': ['--gpu_ids 0,1,0', 'GPU 0 twice'],
    # two names of one option
    '--niter 3 --n_epochs 5': ['--niter 3 and --n_epochs 5', 'drop one'],
    '--n_epochs=5 --niter=3': ['--n_epochs 5 and --niter 3', 'drop one'],
    '--gan_mode lsgan --no_lsgan': ['--gan_mode lsgan and --no_lsgan', 'drop one'],
    # options of elsewhere
    '--num_test 3': ['--num_test is an option of test.py'],
    '--lambda_L1 3': ['--lambda_L1 is an option of --model bicyclegan or colorization or pix2pix in train.py'],
}


@pytest.mark.parametrize('line', MISTAKES)
def test_mistake_gets_one_sentence(line, mistakes):
    message, = mistakes('train', line)
    assert [part for part in MISTAKES[line] if part not in message] == []
    assert '\n' not in message


def test_the_same_value_under_two_names(parse):
    assert parse('train', '--niter 3 --n_epochs 3').n_epochs == 3
    assert parse('train', '--no_lsgan --gan_mode vanilla').gan_mode == 'vanilla'
    assert parse('train', '--n_epochs 3 --n_epochs 5').n_epochs == 5        # the last word counts


@pytest.mark.parametrize('line', ['', '--preset synthia2cityscape', '--crop_size 16 --num_scales_D 1 --n_layers_D 4',
                                  '--n_downsample 1 --crop_size 66', '--n_downsample 0 --crop_size 77',
                                  '--n_downsample_style 0 --num_scales_D 1 --n_layers_D 3 --crop_size 8',
                                  '--n_downsample 6 --crop_size 128'])
def test_sizes_that_munit_can_have(line, parse):
    assert parse('train', f'--model munit {line}').model == 'munit'


def test_a_dataroot_that_is_a_file(tmp_path):
    (tmp_path / 'photo.png').touch()
    with pytest.raises(UserError) as caught:
        TrainOptions().parse(['--dataroot', str(tmp_path / 'photo.png')])
    assert caught.value.args == (f'{tmp_path / "photo.png"} is a file; --dataroot needs the folder of the images',)


def test_options_without_effect_are_told(parse, capsys):
    parse('train', '--model munit --netG unet_256 --norm batch --crop_size 256')
    said = capsys.readouterr().err.splitlines()
    assert [line.split(' has no effect')[0] for line in said] == ['warning: --netG unet_256', 'warning: --norm batch']
    parse('train', '--epoch 3')
    assert capsys.readouterr().err == 'warning: --epoch 3 has no effect without --continue_train\n'
    parse('train', '--epoch latest')
    parse('test', '--epoch latest')
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(('line', 'parts'), [
    ('--continue_train', ['--continue_train is an option of train.py']),
    ('--n_epochs 3', ['--n_epochs is an option of train.py']),
    ('--model pix2pix --lambda_L1 3',
     ['--lambda_L1 is an option of --model bicyclegan or colorization or pix2pix in train.py']),
    ('--aspect_ratio 0', ['--aspect_ratio 0', 'above 0.01']),
    ('--aspect_ratio 1e30', ['--aspect_ratio 1e30', 'below 100']),
    ('--num_test 0', ['--num_test 0', 'at least 1']),
    ('--model pix2pix --crop_size 300', ['--crop_size 300', 'multiple of 256']),
    ('--model_suffix /../../../out', ['--model_suffix /../../../out', 'letters']),
    ('--model munit --style_image README.md --sync_styles', ['--sync_styles', '--style_image', 'drop one']),
    ('--model munit --style_dir . --interpolate', ['--interpolate', '--style_dir', 'drop one']),
    ('--model munit --num_styles 0', ['--num_styles 0', 'at least 1 and at most 1000']),
    ('--style_dir nope', [f'there is no folder {Path("nope").absolute()}', '--style_dir']),
    ('--style_dir README.md', [f'{Path("README.md").absolute()} is a file', '--style_image']),
    ('--style_image=nope.png', [f'there is no file {Path("nope.png").absolute()}', '--style_image']),
    ('--style_image .', [f'--style_image {Path.cwd()} is a folder; use --style_dir']),
])
def test_mistake_of_a_test(line, parts, mistakes, monkeypatch):
    monkeypatch.chdir(ROOT)
    message, = mistakes('test', line)
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize('line', ['--num_style 3', '--new_dataset 3', '--model_suf _A'])
def test_options_that_a_checkpoint_may_bring_are_not_refused_before_it_is_read(line, mistakes, monkeypatch):
    def read(folder, label):
        raise UserError('the checkpoint is read')
    monkeypatch.setattr('options.test_options.load_run', read)
    assert mistakes('test', line) == ('the checkpoint is read',)


def test_a_test_on_a_resnet_takes_any_size(parse):
    assert parse('test', '--crop_size 250').load_size == 250


def test_missing_dataroot(tmp_path):
    with pytest.raises(UserError, match='--dataroot DIR'):
        TrainOptions().parse([])
    absent = tmp_path / 'absent'
    with pytest.raises(UserError, match=re.escape(str(absent))):
        TrainOptions().parse(['--dataroot', str(absent)])


def test_all_mistakes_are_told_together(tmp_path, mistakes):
    line = '--model pix2pix --batch_size 0 --lr nan --foo 3 --norm blah --direction x --netG unet_77 --num_test 3'
    found = mistakes('train', line, '--dataroot', str(tmp_path / 'absent'))
    for part in ('--batch_size 0', '--lr nan', '--foo', '--norm blah', '--direction x', '--netG unet_77',
                 '--num_test', 'absent'):
        assert len([message for message in found if part in message]) == 1, part
    assert len(found) == 8


def test_mistakes_leave_no_traces(tmp_path, mistakes):
    before = sorted(tmp_path.rglob('*'))
    mistakes('train', '--name new --batch_size 0')
    assert sorted(tmp_path.rglob('*')) == before


def test_frequencies_of_zero_mean_never(parse):
    words = [f'--{name}_freq 0' for name in ('print', 'display', 'update_html', 'save_latest', 'save_epoch')]
    assert parse('train', ' '.join(words)).save_epoch_freq == 0


def test_unknown_discriminator(mistakes):
    message, = mistakes('train', '--netD basik')
    assert '--netD basik' in message and 'did you mean basic?' in message


def test_training_the_test_model_by_another_spelling(mistakes):
    assert '--model' in mistakes('train', '--model Test')[0]
    assert '--model nothing' in mistakes('train', '--mode nothing')[0]      # abbreviated


def test_seed_beyond_64_bits(mistakes):
    assert '--seed' in mistakes('train', f'--seed {2**64}')[0]


def test_no_suggestion_for_a_name_like_no_other(mistakes):
    assert 'did you mean' not in mistakes('train', '--foo bar')[0]


@pytest.mark.parametrize('line', ['--dataset_mode single', '--model colorization --dataset_mode aligned'])
def test_model_that_does_not_go_with_the_dataset(line, mistakes):
    assert '--dataset_mode' in mistakes('train', line)[0]


# ---- --suffix

def test_suffix(parse):
    options = parse('train', '--name cg --netG resnet_6blocks --load_size 300 --suffix {model}_{netG}_size{load_size}')
    assert options.name == 'cg_cycle_gan_resnet_6blocks_size300'
    assert parse('train', '--suffix plain').name == 'experiment_name_plain'


@pytest.mark.parametrize(('line', 'name'), [
    ('--suffix {lambda_identity}', 'experiment_name_0.5'),
    ('--model pix2pix --suffix {netG}_{norm}', 'experiment_name_unet_256_batch')])
def test_suffix_with_options_of_the_model(line, name, parse, mistakes):
    assert parse('train', line).name == name
    assert name in mistakes('train', f'{line} --continue_train')[0]


def test_suffix_with_the_load_size_of_a_test(tmp_path, parse):
    (tmp_path / 'checkpoints' / 'experiment_name').rename(tmp_path / 'checkpoints' / 'experiment_name_256')
    assert parse('test', '--suffix {load_size}').name == 'experiment_name_256'


# ---- no torch before work starts

PARSE_ONLY = '''
import os, sys
import train, test
from util.cli import run
codes = [run(train.main, ['--dataroot', '.', '--lr', 'x']),
         run(train.main, ['--model', 'nothing']),
         run(train.main, ['--dataroot', '.', '--continue_train', '--name', 'absent']),
         run(test.main, ['--name', 'absent']),
         run(test.main, ['--name', 'there', '--modle', 'x'])]
train.TrainOptions().parse(['--dataroot', '.', '--model', 'pix2pix'])
print(codes, sorted({'torch', 'numpy', 'PIL', 'tqdm', 'dominate', 'skimage'} & set(sys.modules)))
'''


def python(*words, cwd) -> subprocess.CompletedProcess:
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_command_lines_are_answered_without_torch(tmp_path):
    run_folder = tmp_path / 'checkpoints' / 'there'
    run_folder.mkdir(parents=True)
    for name in ('latest_net_G.pth', 'latest_state.pth'):
        (run_folder / name).write_bytes(b'not even looked at')
    done = python('-c', PARSE_ONLY, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == '[2, 2, 2, 2, 2] []'
    errors = done.stderr.splitlines()
    assert all(line.startswith('error: ') for line in errors)
    assert errors[-1] == 'error: unknown option --modle; did you mean --model?'
    assert len(list(tmp_path.rglob('*'))) == 4


BEFORE_THE_CHECKPOINT = '''
import sys
import train, test
from util.cli import run
there = ['--name', 'there']
codes = [run(train.main, [*there, '--dataroot', '.', '--continue_train', '--overwrite']),
         run(train.main, [*there, '--dataroot', 'nope', '--continue_train']),
         run(train.main, [*there, '--dataroot', '.', '--continue_train', '--gpu_ids', '0,0']),
         run(train.main, ['--dataroot', '.', '--model', 'colorization', '--input_nc', '3', '--output_nc', '3']),
         run(train.main, ['--dataroot', '.', '--model', 'munit', '--num_scales_D', '9']),
         run(test.main, [*there, '--model_suffix', '../x']),
         run(test.main, [*there, '--style_dir', 'nope']),
         run(test.main, [*there, '--style_image', 'nope'])]
print(codes, sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))
'''


def test_what_no_checkpoint_can_mend_is_told_before_one_is_read(tmp_path):
    run_folder = tmp_path / 'checkpoints' / 'there'
    run_folder.mkdir(parents=True)
    for name in ('latest_net_G.pth', 'latest_state.pth'):
        (run_folder / name).write_bytes(b'not even looked at')
    done = python('-c', BEFORE_THE_CHECKPOINT, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == f'{[2] * 8} []'
    flags = ['--overwrite', '--dataroot', '--gpu_ids 0,0', '--input_nc', '--num_scales_D 9', '--model_suffix ../x',
             '--style_dir', '--style_image']
    lines = done.stderr.splitlines()
    assert all(line.startswith('error: ') for line in lines) and len(lines) == len(flags)
    assert [flag for flag, line in zip(flags, lines, strict=True) if flag not in line] == []


def test_help_of_a_model_needs_no_dataroot(tmp_path):
    done = python(str(ROOT / 'train.py'), '--help', '--model', 'pix2pix', cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ''
    words = ' '.join(done.stdout.split())
    assert '--lambda_L1' in words and '--lambda_A' not in words
    assert '(default: unet_256)' in words and '(default: resnet_9blocks)' not in words
    assert '--num_test' not in words


# ---- <phase>_opt.txt

BLOCK = (
    '----------------- Options ---------------\n'
    'an_option_with_a_name_beyond_25: x                             \n'
    '               batch_size: 2                             \t[default: 1]\n'
    '                  isTrain: True                          \t[default: None]\n'
    '                 lambda_A: 10.0                          \n'
    '          lambda_identity: 0.5                           \n'
    '                     name: a_name_of_more_than_thirty_characters\t[default: experiment_name]\n'
    '                   suffix:                               \n'
    '----------------- End -------------------\n')


def test_block_of_options_byte_for_byte(tmp_path):
    defaults = {'batch_size': 1, 'lambda_A': 10.0, 'lambda_identity': 0.5, 'suffix': '', 'name': 'experiment_name',
                'an_option_with_a_name_beyond_25': 'x'}
    options = Options({**defaults, 'name': 'a_name_of_more_than_thirty_characters', 'batch_size': 2, 'isTrain': True})
    assert option_text(options.as_dict(), defaults) == BLOCK.removesuffix('\n')

    options = options.replace(checkpoints_dir=str(tmp_path), phase='val')
    save_options(options, {**defaults, 'checkpoints_dir': str(tmp_path), 'phase': 'val'})
    written = (tmp_path / options.name / 'val_opt.txt').read_bytes().decode('utf-8')
    lines = [line for line in written.splitlines(keepends=True) if not re.match(r' +(checkpoints_dir|phase): ', line)]
    assert ''.join(lines) == BLOCK


def test_given_and_changed_options_are_printed(tmp_path):
    defaults = {'lr': 1, 'seed': None, 'ngf': 64, 'phase': 'train', 'name': 'x', 'checkpoints_dir': '.'}
    options = Options({**defaults, 'seed': 7, 'checkpoints_dir': str(tmp_path), 'isTrain': True}, given={'ngf'})
    assert changed_options(options, defaults).keys() == {'ngf', 'seed', 'checkpoints_dir'}
    printed = save_options(options, defaults).splitlines()
    assert [line.split(':')[0].strip() for line in printed[1:-2]] == ['checkpoints_dir', 'ngf', 'seed']
    assert str(tmp_path / 'x' / 'train_opt.txt') in printed[-1]
    written = (tmp_path / 'x' / 'train_opt.txt').read_text(encoding='utf-8').splitlines()
    assert [line.split(':')[0].strip() for line in written[1:-1]] == sorted(options.as_dict())


def test_block_shows_forced_values_and_true_defaults(parse):
    program = PROGRAMS['test']()
    options = program.parse(['--dataroot', parse('test').dataroot, '--checkpoints_dir', parse('test').checkpoints_dir,
                             '--model', 'pix2pix'])
    lines = option_text(options.as_dict(), program.defaults).splitlines()
    assert f'{"netG":>25}: unet_256{" " * 22}' in lines
    assert [line.split()[1] for line in lines if re.match(' +(no_flip|serial_batches): ', line)] == ['True', 'True']


# ---- run(): exit codes

def test_exit_codes_of_mistakes(capsys):
    def parse(argv, console):
        TrainOptions().parse(argv)
    assert run(parse, ['--lr', 'x']) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2 and all(line.startswith('error: ') for line in err)
    assert run(parse, ['--lr', 'x', '--verbose']) == 2
    assert 'Traceback' in capsys.readouterr().err


def test_interruption_is_no_traceback(capsys):
    def interrupted(argv, console):
        raise KeyboardInterrupt
    assert run(interrupted, []) == 130
    assert capsys.readouterr().err == 'interrupted\n'


def test_the_preset_of_a_newer_recipe():
    words = ['--model', 'cyclegan', '--dataroot', '.']
    recipe = {'spectral_norm_D': True, 'lambda_r1': 2.0, 'ema': 0.9999, 'lr': 1e-4, 'lambda_A': 5.0, 'lambda_B': 5.0}
    opt, plain = TrainOptions().parse([*words, '--preset', 'uvcgan2']), TrainOptions().parse(words)
    assert {name: getattr(opt, name) for name in recipe} == recipe
    assert (plain.lambda_A, plain.lambda_r1, plain.lr) == (10.0, 0.0, 2e-4)
    assert TrainOptions().parse([*words, '--preset', 'uvcgan2', '--lambda_A', '7']).lambda_A == 7
