"""Mistakes of daily work: the answer names what was probably meant, and that works."""
import os
import shutil

import pytest
from conftest import TINY, TINY_TRAINING, draw_images

from data import create_dataset
from options import TestOptions, TrainOptions
from options.parser import ELSEWHERE
from util.errors import UserError
from util.files import no_folder, similar_folder
from util.registry import edits, similar


@pytest.fixture
def place(tmp_path, monkeypatch, unaligned_root, aligned_root):
    """unaligned/ and aligned/ in the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train_errors(*words) -> tuple:
    with pytest.raises(UserError) as caught:
        create_dataset(TrainOptions().parse([*TINY_TRAINING, *words]))
    assert caught.value.exit_code == 2
    return caught.value.args


def test_error(*words) -> str:
    with pytest.raises(UserError) as caught:
        create_dataset(TestOptions().parse([*TINY, *words]))
    assert caught.value.exit_code == 2
    return '\n'.join(caught.value.args)


test_error.__test__ = False


# ---- what was probably meant

@pytest.mark.parametrize(('one', 'other', 'distance'), [
    ('', '', 0), ('abc', 'abc', 0), ('abc', '', 3), ('kitten', 'sitting', 3), ('stylegan', 'cyclegan', 3),
    ('modle', 'model', 2)])
def test_edit_distance(one, other, distance):
    assert edits(one, other) == edits(other, one) == distance


@pytest.mark.parametrize(('name', 'meant'), [
    ('pixpix', 'pix2pix'), ('MUNIT', 'munit'), ('stylegan', ''), ('device', ''), ('cyclgan', 'cyclegan')])
def test_only_names_a_few_letters_away_are_suggested(name, meant):
    assert similar(name, ['cyclegan', 'pix2pix', 'munit', 'engine', 'test']) == meant


def test_a_folder_that_differs_by_a_few_letters(place):
    assert similar_folder('unalignd') == 'unaligned'
    assert similar_folder('unalignd/trainB') == 'unaligned/trainB'
    assert similar_folder('unaligned/trianA/') == 'unaligned/trainA'
    assert similar_folder(str(place / 'algned')) == str(place / 'aligned')
    assert similar_folder('something_else') == similar_folder('nothing/like/it') == ''
    message, = train_errors('--dataroot', 'unalignd')
    assert '--dataroot unaligned' in message and str(place / 'unalignd') in message


def test_each_missing_folder_is_named_once_with_its_option(place):
    one, two = train_errors('--folder_A', 'nowhere/a', '--folder_B', 'unalignd')
    assert str(place / 'nowhere' / 'a') in one and one.endswith('--folder_A') and '--folder_B unaligned' in two


def test_paths_in_messages_are_normalised(place):
    message, = train_errors('--dataroot', './unaligned/../nowhere/at/all')
    assert str(place / 'nowhere/at/all') in message and '..' not in message


@pytest.mark.skipif(os.name == 'nt', reason='about the paths of other systems')
def test_paths_of_windows(place):
    assert '/mnt/c/Users/me/maps' in train_errors('--dataroot', r'C:\Users\me\maps')[0]
    assert '--dataroot unaligned/trainA' in no_folder(r'unaligned\trainA', '--dataroot')


def test_the_home_folder(place, monkeypatch):
    monkeypatch.setenv('HOME', str(place))
    assert TrainOptions().parse(['--dataroot=~/unaligned']).dataroot == str(place / 'unaligned')


# ---- the dataset

def test_the_folder_of_one_domain(place):
    assert f'--dataroot {place / "unaligned"}' in train_errors('--dataroot', 'unaligned/trainA')[0]


@pytest.mark.parametrize('model', ['cyclegan', 'pix2pix'])
def test_folders_with_other_names(place, model):
    """The command that the error proposes works."""
    for name in ('apples', 'oranges'):
        draw_images(place / 'fruit' / name, 4)
    words = ['--model', model, *(['--netG', 'unet_32'] if model == 'pix2pix' else [])]
    message, = train_errors('--dataroot', 'fruit', *words)
    proposed = ['--folder_A', 'fruit/apples', '--folder_B', 'fruit/oranges']
    assert ' '.join(proposed) in message and 'trainA' in message
    assert len(create_dataset(TrainOptions().parse([*TINY_TRAINING, *proposed, *words]))) == 4


def test_images_in_the_dataroot_itself(place):
    draw_images(place / 'photos', 2)
    message, = train_errors('--dataroot', 'photos')
    assert {'trainA', 'trainB'} <= set(message.replace(',', ' ').split()) and '--folder_A' in message


def test_a_missing_split(place, test_options):
    shutil.move(place / 'unaligned' / 'testA', place / 'unaligned' / 'valA')
    shutil.move(place / 'unaligned' / 'testB', place / 'unaligned' / 'valB')
    words = ['--dataroot', 'unaligned', '--model', 'cyclegan', '--dataset_mode', 'unaligned']
    checkpoint(place / 'checkpoints' / 'experiment_name')
    assert '--phase val' in test_error(*words)
    assert len(create_dataset(TestOptions().parse([*TINY, *words, '--phase', 'val']))) == 3


def test_a_misspelt_split(place):
    assert '--phase train' in train_errors('--dataroot', 'unaligned', '--phase', 'trian')[0]


# ---- names of models, switches

@pytest.mark.parametrize(('name', 'meant'), [('models/cut_model.py', 'cut'), ('CUTModel', 'cut'),
                                             ('pix2pix_model', 'pix2pix'), ('stylegan_model', '')])
def test_the_file_or_class_of_a_model(place, name, meant):
    message, = train_errors('--dataroot', 'unaligned', '--model', name)
    assert (f'did you mean {meant}?' in message) if meant else 'did you mean' not in message


@pytest.mark.parametrize('words', [['--no_flip', 'True'], ['--no_flip=True'], ['--name']])
def test_switches_with_a_value_and_options_without(place, words, capsys):
    message, = train_errors('--dataroot', 'unaligned', *words)
    assert ('value' in message) == (words != ['--name']) and 'usage' not in capsys.readouterr().err


# ---- names of runs

def checkpoint(folder, name='G'):
    folder.mkdir(parents=True)
    (folder / f'latest_net_{name}.pth').touch()


def test_a_test_without_a_name_lists_the_runs(place):
    for name in ('first', 'second'):
        checkpoint(place / 'checkpoints' / name)
    for words in ([], ['--dataroot', 'unaligned']):
        message = test_error(*words)
        assert {'--name', 'first,', 'second'} <= set(message.split())


def test_a_misspelt_run(place):
    checkpoint(place / 'checkpoints' / 'maps_cyclegan')
    checkpoint(place / 'checkpoints' / 'other')
    assert 'did you mean maps_cyclegan?' in test_error('--name', 'map_cyclegan')
    assert 'did you mean' not in test_error('--name', 'q')


@pytest.mark.parametrize('name', ['checkpoints/x', './checkpoints/x/', '{place}/checkpoints/x'])
def test_a_run_named_by_its_path(place, name):
    checkpoint(place / 'checkpoints' / 'x')
    words = ['--dataroot', 'unaligned', '--name', name.format(place=place)]
    for options in (TrainOptions(), TestOptions()):
        opt = options.parse(words)
        assert opt.name == 'x' and os.path.abspath(opt.checkpoints_dir) == str(place / 'checkpoints')


def test_a_run_in_another_folder(place):
    checkpoint(place / 'elsewhere' / 'x')
    opt = TestOptions().parse(['--dataroot', 'unaligned', '--name=elsewhere/x'])
    assert (opt.name, opt.checkpoints_dir) == ('x', 'elsewhere')
    assert '--checkpoints_dir new --name y' in train_errors('--dataroot', 'unaligned', '--name', 'new/y')[0]


# ---- options

@pytest.mark.parametrize(('device', 'gpu_ids'), [('cpu', '-1'), ('cuda', '0'), ('cuda:2', '2'), ('1', '1')])
def test_device(place, device, gpu_ids):
    opt = TrainOptions().parse(['--dataroot', 'unaligned', '--device', device])
    assert opt.gpu_ids == gpu_ids and 'gpu_ids' in opt.given
    assert TrainOptions().parse(['--dataroot', 'unaligned', '--gpu_ids', device]).gpu_ids == gpu_ids


@pytest.mark.parametrize('device', ['cuda:', 'tpu', 'cuda:x'])
def test_devices_that_there_are_not(place, device):
    assert device in train_errors('--dataroot', 'unaligned', '--device', device)[0]


def test_all_typos_at_once(place):
    errors = train_errors('--dataroot', 'unalignd', '--model', 'pixpix', '--dataset_mode', 'alignd', '--lrr', '3',
                          '--batch_size', 'x', '--epocs', '3')
    for part in ('--model pixpix', '--dataset_mode alignd', '--lrr', '--batch_size x', '--epocs',
                 '--dataroot unaligned'):
        assert len([line for line in errors if part in line]) == 1, part
    assert len(errors) == 6


@pytest.mark.parametrize('option', ELSEWHERE)
def test_words_of_other_programs(place, option):
    """The proposed options exist, in train.py or in test.py."""
    message, = train_errors('--dataroot', 'unaligned', f'--{option}', '3')
    named = [word.rstrip(',') for word in ELSEWHERE[option].split() if word.startswith('--')]
    known = {action for options in (TrainOptions(), TestOptions())
             for action in options.build_parser([])._option_string_actions}
    known |= {'--lambda_A', '--lambda_B', '--lambda_identity'}
    assert named and set(named) <= known and all(name in message for name in named)
    assert f'--{option}' not in known


@pytest.mark.parametrize(('crop', 'fitting'), [(80, ['resnet_9blocks']), (96, ['unet_32', 'resnet_9blocks']),
                                               (64, ['unet_64', 'resnet_9blocks']), (90, [])])
def test_advice_about_sizes_fits(place, crop, fitting):
    words = ['--model', 'pix2pix', '--dataroot', 'aligned', '--load_size', str(crop), '--crop_size', str(crop)]
    message, = train_errors(*words, '--netG', 'unet_128')
    offered = [name for name in ('unet_32', 'unet_64', 'unet_128', 'resnet_9blocks')
               if name in message.partition('; use')[2]]
    assert offered == fitting
    for name in fitting:
        assert TrainOptions().parse([*words, '--netG', name]).netG == name
