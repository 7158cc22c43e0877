"""Checkpoint files: their content, old forms that are read, what is refused; interruptions leave no trace."""
import errno
import json
import os
import re
import resource
import shutil
from collections import OrderedDict

import pytest
import states
import torch
from torch import nn

import train
from models.networks import create_discriminator, create_generator, describe_generator
from models.training.state import load_networks
from options import TestOptions
from util.checkpoint import damage, layout, retention, store, transaction
from util.checkpoint.lock import Lock
from util.checkpoint.manifest import newest_first, read_manifest, sum_of
from util.checkpoint.store import load_state, load_training, load_weights
from util.console import Console
from util.errors import UserError
from util.monitors import loss_log


def small_net(netG='resnet_1blocks', norm='batch', dropout=False, ngf=2):
    """A generator whose buffers differ from those of a new one."""
    net = create_generator(netG, 3, 3, ngf, norm, dropout)
    for index, (key, value) in enumerate(net.state_dict().items()):
        value.fill_(index + 1) if key.endswith('tracked') else value.copy_(torch.rand(value.shape) + index)
    return net


def save(folder, net, label='latest', training=None, **state):
    """Save a checkpoint with one network, G."""
    weights = store.cpu_copy(net.state_dict())
    store.save(folder, label, {'G': weights}, {'options': {'netG': 'unet_32'}, **state}, training)


def same(first, second):
    first, second = (dict(weights) for weights in (first, second))
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# ---- files

def test_weight_file_is_a_bare_state_dict(tmp_path):
    net = small_net()
    save(tmp_path, net, training={})
    weights = torch.load(tmp_path / 'latest_net_G.pth', weights_only=True)
    assert type(weights) is OrderedDict and list(weights) == list(net.state_dict())
    assert weights._metadata == net.state_dict()._metadata
    assert all(value.device.type == 'cpu' and not value.requires_grad for value in weights.values())
    assert same(weights, net.state_dict())
    assert {path.name for path in tmp_path.iterdir()} == {'latest_net_G.pth', 'latest_state.pth', 'latest_training.pth',
                                                          'latest_manifest.json'}


@pytest.mark.parametrize('norm', ('batch', 'instance', 'none'))
@pytest.mark.parametrize('netG', ('resnet_1blocks', 'unet_32'))
def test_round_trip(netG, norm, tmp_path):
    net, again = small_net(netG, norm), create_generator(netG, 3, 3, 2, norm)
    save(tmp_path, net)
    load_weights(tmp_path / 'latest_net_G.pth', again)
    assert same(net.state_dict(), again.state_dict())


def test_a_copy_does_not_change_with_the_network(tmp_path):
    net = small_net().train()
    before = [(value.data_ptr(), value.requires_grad, value.clone()) for value in net.parameters()]
    copy = store.cpu_copy(dict(net=net.state_dict(), others=[(torch.ones(2), 'text', None, 1.5)]))
    assert copy['others'][0][1:] == ('text', None, 1.5)
    after = list(net.parameters())
    assert all(value.data_ptr() == pointer and value.requires_grad == grad and torch.equal(value, old)
               for value, (pointer, grad, old) in zip(after, before, strict=True))
    with torch.no_grad():
        [value.add_(1) for value in net.parameters()]
    assert all(torch.equal(copy['net'][name], old) for (name, _), (*_, old) in
               zip(net.named_parameters(), before, strict=True))


def test_a_copy_reuses_the_memory_of_an_earlier_one():
    """Only where shape and type fit; other tensors are new."""
    first = dict(a=torch.zeros(2), b=[torch.zeros(3)], c=torch.zeros(2), d=1)
    second = dict(a=torch.ones(2), b=[torch.ones(3), torch.ones(4)], c=torch.ones(2, dtype=torch.int64), d=2,
                  e=torch.ones(1))
    old = store.cpu_copy(first)
    new = store.cpu_copy(second, old)
    assert new['a'] is old['a'] and new['b'][0] is old['b'][0] and new['d'] == 2
    assert new['c'] is not old['c'] and new['e'] is not second['e']
    expected = {'a': second['a'], 'c': second['c'], 'e': second['e']}
    assert all(torch.equal(new[name], value) and new[name].dtype == value.dtype for name, value in expected.items())
    assert all(map(torch.equal, new['b'], second['b'])) and len(new['b']) == 2
    assert all(map(torch.equal, store.cpu_copy(first, new)['b'], first['b']))


@pytest.mark.gpu
def test_saving_leaves_the_network_on_its_gpu(tmp_path):
    net = small_net().to('cuda')
    save(tmp_path, net)
    assert all(value.is_cuda for value in net.state_dict().values())
    weights = torch.load(tmp_path / 'latest_net_G.pth', weights_only=True)
    assert all(not value.is_cuda for value in weights.values())


def test_a_failed_save_leaves_the_old_files(tmp_path, monkeypatch):
    save(tmp_path, small_net())
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def disk_full(content, file):
        file.write(b'half')
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(torch, 'save', disk_full)
    with pytest.raises(OSError, match='No space.*latest_net_G'):
        save(tmp_path, small_net())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


# ---- old forms of weight files

def with_statistics_of_instance_norms(net):
    """As PyTorch before 0.4 saved them: instance norms have running statistics that are not used."""
    weights = OrderedDict()
    for name, module in net.named_modules():
        weights.update((f'{name}.{key}', value) for key, value in module.named_parameters(recurse=False))
        if isinstance(module, nn.InstanceNorm2d):
            weights[f'{name}.running_mean'] = torch.zeros(module.num_features)
            weights[f'{name}.running_var'] = torch.ones(module.num_features)
            weights[f'{name}.num_batches_tracked'] = torch.tensor(0)
    return weights


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
def test_prefixes_of_wrappers_are_dropped(prefix, tmp_path):
    net, again = small_net(), create_generator('resnet_1blocks', 3, 3, 2, 'batch')
    torch.save(OrderedDict((prefix + key, value) for key, value in net.state_dict().items()), tmp_path / 'w.pth')
    load_weights(tmp_path / 'w.pth', again)
    assert same(net.state_dict(), again.state_dict())


@pytest.mark.parametrize('netG', ('resnet_1blocks', 'unet_32'))
def test_statistics_of_instance_norms_are_dropped(netG, tmp_path):
    net, again = small_net(netG, 'instance'), create_generator(netG, 3, 3, 2, 'instance')
    weights = with_statistics_of_instance_norms(net)
    assert len(weights) > len(net.state_dict())
    torch.save(weights, tmp_path / 'w.pth')
    load_weights(tmp_path / 'w.pth', again)
    assert same(net.state_dict(), again.state_dict())


def test_scales_of_instance_norms_are_not_lost(tmp_path):
    """Affine instance norms make another network: without their weights it would load silently, and be wrong."""
    net = small_net('resnet_1blocks', 'instance')
    torch.save({**net.state_dict(), 'model.2.weight': torch.ones(2), 'model.2.bias': torch.ones(2)}, tmp_path / 'w.pth')
    with pytest.raises(UserError, match='2 tensors are unknown, such as model.2.bias'):
        load_weights(tmp_path / 'w.pth', net)


def test_files_without_batch_counters_are_read(tmp_path):
    net, again = small_net(), create_generator('resnet_1blocks', 3, 3, 2, 'batch')
    torch.save({key: value for key, value in net.state_dict().items() if 'num_batches' not in key}, tmp_path / 'w.pth')
    load_weights(tmp_path / 'w.pth', again)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in again.state_dict().items()
               if 'num_batches' not in key)


def test_the_oldest_file_format_is_read(tmp_path):
    net, again = small_net(), create_generator('resnet_1blocks', 3, 3, 2, 'batch')
    torch.save(net.state_dict(), tmp_path / 'w.pth', _use_new_zipfile_serialization=False)
    load_weights(tmp_path / 'w.pth', again)
    assert same(net.state_dict(), again.state_dict())


# ---- files that do not fit

@pytest.mark.parametrize('saved, needed, flags', [
    (('resnet_6blocks', 'instance'), ('resnet_9blocks', 'instance'), '--netG resnet_6blocks'),
    (('resnet_9blocks', 'instance'), ('resnet_6blocks', 'instance'), '--netG resnet_9blocks'),
    (('resnet_6blocks', 'batch'), ('resnet_6blocks', 'instance'), '--norm batch'),
    (('resnet_6blocks', 'instance'), ('resnet_6blocks', 'batch'), '--norm instance'),
    (('unet_128', 'batch'), ('unet_256', 'batch'), '--netG unet_128'),
    (('unet_64', 'batch'), ('resnet_9blocks', 'batch'), '--netG unet_64'),
    (('encdec_64', 'batch'), ('unet_64', 'batch'), '--netG encdec_64'),
    (('resnet_1blocks', 'instance', False, 4), ('resnet_1blocks', 'instance'), '--ngf 4'),
    (('resnet_1blocks', 'instance', False), ('resnet_1blocks', 'instance', True), '--no_dropout'),
])
def test_a_file_of_another_network_names_its_options(saved, needed, flags, tmp_path):
    path, net = tmp_path / 'latest_net_G.pth', small_net(*needed)
    save(tmp_path, small_net(*saved))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_weights(path, net, describe_generator)
    assert str(path) in str(error.value) and flags in str(error.value) and '\n' not in str(error.value)
    assert same(before, net.state_dict())


def test_a_discriminator_is_refused_as_a_generator(tmp_path):
    torch.save(create_discriminator('basic', 3, 2).state_dict(), tmp_path / 'w.pth')
    with pytest.raises(UserError, match='tensors are missing, such as model.* it is of another network'):
        load_weights(tmp_path / 'w.pth', small_net(), describe_generator)


class Payload:
    """Unpickling creates a file; in its place could be any code."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, 'w')


@pytest.mark.parametrize('zipped', (True, False))
@pytest.mark.parametrize('wrap', (lambda code: code, lambda code: {'weight': torch.zeros(1), 'code': code}))
def test_code_in_a_file_never_runs(wrap, zipped, tmp_path):
    marker, path = tmp_path / 'ran', tmp_path / 'latest_net_G.pth'
    torch.save(wrap(Payload(marker)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match='can run code'):
        load_weights(path, small_net())
    shutil.copy(path, tmp_path / 'latest_state.pth')
    with pytest.raises(UserError, match='can run code'):
        load_state(tmp_path, 'latest')
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()      # the payload works


def write_html(path):
    path.write_text('<!DOCTYPE html><html>quota exceeded</html>', encoding='utf-8')


def write_truncated(path):
    torch.save(small_net().state_dict(), path)
    path.write_bytes(path.read_bytes()[:3000])


BROKEN = {
    'empty': (lambda path: path.touch(), 'is empty .0 bytes'),
    'web page': (write_html, 'a web page or text'),
    'cut off': (write_truncated, 'damaged or cut off after 3000 bytes'),
    'pointer': (lambda path: path.write_bytes(b'version https://git-lfs.github.com/spec/v1'), 'Git LFS'),
    'folder': (lambda path: path.mkdir(), 'is a folder, not a file'),
    'noise': (lambda path: path.write_bytes(bytes(range(256))), 'torch.save'),
    'whole network': (lambda path: torch.save(small_net(), path), 'more than weights'),
    'list': (lambda path: torch.save([torch.zeros(1)], path), 'dict of tensors'),
    'numbers': (lambda path: torch.save({'a': 1}, path), 'dict of tensors'),
    'missing': (lambda path: None, 'no checkpoint file'),
}


@pytest.mark.parametrize('case', BROKEN)
def test_files_that_are_no_checkpoints_are_refused(case, tmp_path):
    path = tmp_path / 'latest_net_G.pth'
    write, sentence = BROKEN[case]
    write(path)
    with pytest.raises(UserError, match=sentence) as error:
        load_weights(path, small_net())
    assert str(path) in str(error.value) and '\n' not in str(error.value)


# ---- state files

def test_state_files_hold_plain_types(tmp_path):
    save(tmp_path, small_net(), training={'rng': (1, None, 2.5)}, progress={'epoch': 3})
    state = torch.load(tmp_path / 'latest_state.pth', weights_only=True)
    assert state == {'format': 1, 'options': {'netG': 'unet_32'}, 'progress': {'epoch': 3}}
    assert load_state(tmp_path, 'latest') == state
    assert load_training(tmp_path, 'latest', state) == {'rng': (1, None, 2.5)}
    assert load_state(tmp_path, '5') is None


def test_a_state_of_version_0_1_still_loads(tmp_path):
    """Its state file contained the training state, and it had no manifest."""
    torch.save({'format': 1, 'options': {}, 'training': {'x': 1}}, tmp_path / 'latest_state.pth')
    state = load_state(tmp_path, 'latest')
    assert load_training(tmp_path, 'latest', state) == {'x': 1}


@pytest.mark.parametrize('state, sentence', [
    ([], 'latest_state.pth is not a state file'), ({'a': 1}, 'latest_state.pth is not a state file'),
    ({'format': 99, 'options': {}}, r'format 99\b.* 1\b')])
def test_other_state_files_are_refused(state, sentence, tmp_path):
    torch.save(state, tmp_path / 'latest_state.pth')
    with pytest.raises(UserError, match=sentence):
        load_state(tmp_path, 'latest')


def test_only_the_newest_checkpoints_keep_their_training_file(tmp_path):
    """As train.py saves: `latest` and a number after each epoch. Old checkpoints lose only their training file."""
    net = small_net()
    for epoch in range(1, 9):
        for label in ('latest', str(epoch)):
            save(tmp_path, net, label, {'x': 1}, progress={'epoch': epoch})
        retention.prune(tmp_path, keep_last=0, full_states=3)
        full = {path.name.removesuffix('_training.pth') for path in tmp_path.glob('*_training.pth')}
        assert full == {'latest', str(max(1, epoch - 1)), str(epoch)}
    for epoch in range(1, 9):
        state = load_state(tmp_path, str(epoch))
        assert state['progress'] == {'epoch': epoch}
        assert damage.find_problems(tmp_path, str(epoch)) == []
    assert newest_first(tmp_path) == ['8', 'latest', '7', '6', '5', '4', '3', '2', '1']


def test_a_lost_training_file_is_damage(tmp_path):
    for label in '123456':
        save(tmp_path, small_net(), label, {'x': 1})
    retention.prune(tmp_path, keep_last=0, full_states=4)
    assert not (tmp_path / '2_training.pth').exists()
    assert load_training(tmp_path, '2', {}) is None and load_training(tmp_path, '3', {}) == {'x': 1}
    (tmp_path / '3_training.pth').unlink()      # older versions dropped it but left it in the manifest
    assert damage.find_problems(tmp_path, '3') == [] and load_training(tmp_path, '3', {}) is None
    (tmp_path / '4_training.pth').unlink()
    assert damage.find_problems(tmp_path, '4') == [f'{tmp_path}/4_training.pth is missing']
    with pytest.raises(UserError, match='no checkpoint file .*4_training.pth'):
        load_training(tmp_path, '4', {})


def test_files_of_the_previous_set_are_removed(tmp_path):
    """Old moving averages or training files are never mistaken for those of the new checkpoint."""
    weights = store.cpu_copy(small_net().state_dict())
    store.save(tmp_path, 'latest', {'G': weights, 'G_ema': weights}, {'options': {}}, {'x': 1})
    (tmp_path / 'latest_net_mine.pth').write_bytes(b'x')
    store.save(tmp_path, 'latest', {'G': weights}, {'options': {}})
    names = {'latest_net_G.pth', 'latest_net_mine.pth', 'latest_state.pth', 'latest_manifest.json'}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_folder_in_the_way_of_a_save_is_moved_aside(tmp_path):
    (tmp_path / 'latest_net_G.pth' / 'inside').mkdir(parents=True)
    save(tmp_path, small_net())
    assert damage.find_problems(tmp_path, 'latest') == []
    assert (tmp_path / 'latest_net_G.pth.1' / 'inside').is_dir()


def test_an_earlier_checkpoint_is_promoted_to_latest(tmp_path):
    for count, label in enumerate(('1', '2', '3', 'latest')):
        save(tmp_path, small_net(), label, {'x': count}, progress={'total_iters': 5 * count})
    assert retention.promote_to_latest(tmp_path, 'latest', {'total_iters': 15}) == ''
    assert retention.promote_to_latest(tmp_path, '1', {'total_iters': 0}) == 'iter_15'
    labels = ['latest', '1', 'iter_15', '3', '2']
    assert newest_first(tmp_path) == labels
    assert [load_training(tmp_path, label, {})['x'] for label in labels] == [0, 0, 3, 2, 1]
    assert retention.promote_to_latest(tmp_path, '2', {'total_iters': 5}) == 'iter_0'     # 1 may be overwritten
    assert newest_first(tmp_path) == ['latest', '2', '1', 'iter_0', 'iter_15', '3']
    save(tmp_path, small_net(), 'latest', progress={'total_iters': 15})
    flipped = tmp_path / 'latest_net_G.pth'
    flipped.write_bytes(flipped.read_bytes()[:-1] + b'?')
    assert retention.promote_to_latest(tmp_path, '3', {'total_iters': 10}) == 'iter_15.1'
    assert newest_first(tmp_path) == ['latest', '3', '2', '1', 'iter_0', 'iter_15']
    assert 'iter_15.1_net_G.pth' in damage.find_problems(tmp_path, 'iter_15.1')[0]     # still damaged
    assert all(damage.find_problems(tmp_path, label) == [] for label in newest_first(tmp_path))


def test_a_checkpoint_without_training_file_is_promoted_to_latest(tmp_path):
    """The training file of the previous `latest` is not mistaken for that of the promoted checkpoint."""
    for label in ('1', '2', '3', 'latest'):
        save(tmp_path, small_net(), label, {'x': 1})
    (tmp_path / '1_training.pth').unlink()      # dropped by an older version
    retention.promote_to_latest(tmp_path, '1', {})
    assert not (tmp_path / 'latest_training.pth').exists() and load_training(tmp_path, 'latest', {}) is None
    assert [damage.find_problems(tmp_path, label) for label in ('latest', '1')] == [[], []]


def test_a_copy_made_by_a_user_is_read(tmp_path):
    """Copied file by file: its manifest names the files of another label."""
    save(tmp_path, small_net(), 'latest', {'x': 1})
    for path in list(tmp_path.glob('latest_*')):
        shutil.copy(path, tmp_path / path.name.replace('latest', 'mine'))
    save(tmp_path, small_net(), 'latest', {'x': 2})
    retention.promote_to_latest(tmp_path, 'mine', {})
    assert same(torch.load(tmp_path / 'latest_net_G.pth', weights_only=True),
                torch.load(tmp_path / 'mine_net_G.pth', weights_only=True))
    assert load_training(tmp_path, 'latest', {}) == {'x': 1}


def test_a_log_that_lacks_lines_is_reported(tmp_path, capsys):
    (tmp_path / 'loss_log.txt').write_text('one\ntwo\n', encoding='utf-8')
    loss_log.cut_back(tmp_path, {'loss_log.txt': 4, 'losses.jsonl': 0})
    assert (tmp_path / 'loss_log.txt').read_text(encoding='utf-8') == 'one\n' and capsys.readouterr().err == ''
    loss_log.cut_back(tmp_path, {'loss_log.txt': 8, 'losses.jsonl': 9})
    first, second = capsys.readouterr().err.splitlines()
    assert re.search(rf'{tmp_path}/loss_log\.txt has 4 bytes\b.* 8 ', first)
    assert re.search(rf'{tmp_path}/losses\.jsonl has 0 bytes\b.* 9 ', second)


@pytest.mark.parametrize('write', [lambda folder: Lock(folder).acquire(),
                                   lambda folder: loss_log.append(folder / 'lock', 'line')])
def test_a_full_disk_names_the_file(write, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))       # no file can grow
    try:
        with pytest.raises(OSError) as raised:
            write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.errno == errno.EFBIG and raised.value.filename == str(tmp_path / 'lock')


@pytest.mark.parametrize('name', ['.latest.ready', '.latest.writing', '.2.ready', '.latest.9.tmp'])
@pytest.mark.parametrize('kind', ['link', 'link to a file', 'file', 'folder'])
def test_links_in_place_of_a_set_are_not_followed(name, kind, tmp_path):
    """A run folder from a stranger must not move or remove files outside of it."""
    home, run = tmp_path / 'home', tmp_path / 'run'
    for folder in (home, run):
        (folder / 'inside').mkdir(parents=True)
    (home / 'photo.png').write_text('photo', encoding='utf-8')
    (home / 'mine_net_G.pth').write_text('weights', encoding='utf-8')
    (home / '1_manifest.json').write_text('{}', encoding='utf-8')
    before = sorted(home.rglob('*'))
    save(run, small_net(), '1', {'x': 1})
    path = run / name
    if kind == 'link':
        path.symlink_to(home)
    elif kind == 'link to a file':
        path.symlink_to(home / 'photo.png')
    elif kind == 'folder':
        path.mkdir()
        (path / 'latest_net_G.pth').symlink_to(home / 'photo.png')
        (path / 'photo.png').touch()
    else:
        path.touch()
    for _ in range(2):
        transaction.recover(run)
        save(run, small_net(), 'latest', {'x': 2})
    assert sorted(home.rglob('*')) == before and (home / 'photo.png').read_text(encoding='utf-8') == 'photo'
    assert [damage.find_problems(run, label) for label in ('latest', '1')] == [[], []]
    assert not (run / 'photo.png').exists() and not (run / 'mine_net_G.pth').exists()


@pytest.mark.parametrize('kind', ['link', 'dangling link', 'pipe', 'folder'])
def test_a_lock_that_is_not_a_plain_file_is_refused(kind, tmp_path):
    target, path = tmp_path / 'mine.txt', tmp_path / 'run' / 'lock'
    target.write_text('mine', encoding='utf-8')
    path.parent.mkdir()
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'folder':
        path.mkdir()
    else:
        path.symlink_to(target if kind == 'link' else tmp_path / 'absent')
    with pytest.raises(UserError, match=f'{path} is a link, folder or pipe.*remove it'):
        Lock(path.parent).acquire()
    assert target.read_text(encoding='utf-8') == 'mine' and not (tmp_path / 'absent').exists()


def test_any_damage_of_a_manifest_is_found(tmp_path):
    """Flipped bits, truncation or other content: damage is found, or changes nothing."""
    save(tmp_path, small_net(), 'latest', {'x': 1}, progress={'total_iters': 7, 'best': 0.25})
    path, whole = layout.manifest_path(tmp_path, 'latest'), read_manifest(tmp_path, 'latest')
    content = path.read_bytes()
    damaged = [b'', b'{', b'[' * 200_000, b'[]', b'{}', b'null', content[:-9], content.replace(b': 1,', b': 91,')]
    damaged += [content[:at] + bytes([content[at] ^ 1 << at % 7]) + content[at + 1:] for at in range(len(content))]
    for text in damaged:
        path.write_bytes(text)
        problems = damage.find_problems(tmp_path, 'latest')
        assert problems == [damage.manifest_problem(tmp_path, 'latest')] or (
            problems == [] and read_manifest(tmp_path, 'latest') == whole), text
        if problems:
            with pytest.raises(UserError, match='manifest.json is damaged'):
                load_training(tmp_path, 'latest', {})


def test_damage_that_breaks_the_zip_check_is_reported(tmp_path):
    save(tmp_path, small_net(), 'latest', {'x': 1})
    layout.manifest_path(tmp_path, 'latest').unlink()
    path = tmp_path / 'latest_net_G.pth'
    content = bytearray(path.read_bytes())
    disks = content.rindex(b'PK\x06\x07') + 16     # number of disks in the zip64 locator
    content[disks] = 9
    path.write_bytes(content)
    with pytest.raises(UserError, match='latest_net_G.pth is damaged'):
        store.read(path)


def test_a_manifest_of_an_older_version_is_read(tmp_path):
    save(tmp_path, small_net(), 'latest', {'x': 1})
    path = layout.manifest_path(tmp_path, 'latest')
    values = json.loads(path.read_text(encoding='utf-8'))
    del values['sum'], values['kept']
    path.write_text(json.dumps(values), encoding='utf-8')
    assert damage.find_problems(tmp_path, 'latest') == []
    assert read_manifest(tmp_path, 'latest').serial == 1


def test_a_manifest_that_names_other_folders_is_not_followed(tmp_path):
    """A checkpoint from a stranger must not remove files in other folders."""
    folder, mine = tmp_path / 'run', tmp_path / 'mine.txt'
    mine.touch()
    for label in '12':
        save(folder, small_net(), label)
    path = layout.manifest_path(folder, '1')
    values = json.loads(path.read_text(encoding='utf-8').replace('1_net_G.pth', '../mine.txt'))
    del values['sum']
    path.write_text(json.dumps({**values, 'sum': sum_of(values)}), encoding='utf-8')
    retention.prune(folder, keep_last=1, full_states=1)
    save(folder, small_net(), '1')
    assert mine.exists() and damage.find_problems(folder, '1') == []


def test_keep_last_bounds_the_numbered_checkpoints(tmp_path):
    for label in ('1', 'latest', 'iter_5', '2', 'iter_9'):
        save(tmp_path, small_net(), label)
    (tmp_path / 'mine_net_G.pth').write_bytes((tmp_path / '1_net_G.pth').read_bytes())
    retention.prune(tmp_path, keep_last=2, full_states=3)
    assert set(layout.labels(tmp_path)) == {'latest', '2', 'iter_9', 'mine'}
    assert sorted(path.name for path in tmp_path.glob('1_*')) == []


# ---- a run that was interrupted

RUNS = {
    'pix2pix': ['--model', 'pix2pix', '--netG', 'unet_64', '--crop_size', '64', '--load_size', '68'],
    'cyclegan': ['--model', 'cyclegan', '--netG', 'resnet_1blocks', '--pool_size', '2'],
    'plateau': ['--model', 'pix2pix', '--netG', 'unet_32', '--lr_policy', 'plateau'],
    'batches': ['--model', 'template', '--netG', 'resnet_1blocks', '--batch_size', '2', '--dropout'],
    'munit': ['--model', 'munit', '--num_scales_D', '1', '--n_layers_D', '3', '--mlp_dim', '8', '--n_res', '1',
              '--max_iters', '20'],
}


@pytest.fixture
def run(tmp_path, roots, monkeypatch):
    """run('pix2pix', 'name', ...) trains in this process: 2 epochs, 2 more with falling rates, saved every 2."""
    def start(case, name, *argv):
        root = roots['unaligned' if case in ('cyclegan', 'munit') else 'aligned']
        train.main([*RUNS[case], '--dataroot', str(root), '--name', name, '--checkpoints_dir', str(tmp_path / 'runs'),
                    '--n_epochs', '2', '--n_epochs_decay', '2', '--save_epoch_freq', '2', '--seed', '5', '--ngf', '4',
                    '--ndf', '4', '--num_threads', '0', '--gpu_ids', '-1', '--display_id', '-1', '--no_html',
                    *(['--crop_size', '32', '--load_size', '36'] if '--crop_size' not in RUNS[case] else []), *argv],
                   Console())
        return tmp_path / 'runs' / name
    return start


@pytest.mark.sample(2)
@pytest.mark.parametrize('case', RUNS)
def test_an_interruption_between_epochs_leaves_no_trace(case, run):
    folder = run(case, 'unbroken')
    last = states.checkpoint_state(folder, 'latest')
    assert len(layout.existing_files(folder, 'latest')) >= 3
    assert states.differences(last, states.checkpoint_state(folder, '2')) != []
    interrupted = folder.with_name('interrupted')
    shutil.copytree(folder, interrupted)
    for path in [*interrupted.glob('latest_*'), *interrupted.glob('4_*')]:
        path.unlink()
    run(case, 'interrupted', '--continue_train', '--epoch', '2')
    assert states.differences(last, states.checkpoint_state(interrupted, 'latest')) == []
    assert states.differences(states.checkpoint_state(folder, '4'), states.checkpoint_state(interrupted, '4')) == []


@pytest.mark.parametrize('case', ['pix2pix', 'cyclegan', 'plateau'])
def test_an_interruption_within_an_epoch_leaves_no_trace(case, run):
    folder = run(case, 'unbroken', '--save_latest_freq', '7', '--save_by_iter')
    last = states.checkpoint_state(folder, 'latest')
    assert {'iter_7', 'iter_14'} <= {path.name.partition('_net')[0] for path in folder.glob('*_net_*')}
    for path in [*folder.glob('latest_*'), *folder.glob('4_*')]:
        path.unlink()
    run(case, 'unbroken', '--continue_train', '--load_iter', '14', '--save_latest_freq', '7', '--save_by_iter')
    assert states.differences(last, states.checkpoint_state(folder, 'latest')) == []


def test_files_of_a_run(run):
    folder = run('cyclegan', 'names')
    networks = ('net_D_A', 'net_D_B', 'net_G_A', 'net_G_B', 'state', 'training')
    expected = {f'{label}_{name}.pth' for label in ('2', '4', 'latest') for name in networks}
    assert {path.name for path in folder.glob('*.pth')} == expected
    state = load_state(folder, 'latest')
    assert (state['progress']['epoch'], state['progress']['total_iters']) == (5, 20)
    assert state['networks'] == ['G_A', 'G_B', 'D_A', 'D_B'] and state['options']['netG'] == 'resnet_1blocks'
    training = load_training(folder, 'latest', state)
    assert all(len(pool['images']) == 2 for pool in training['pools'].values())


def test_the_last_epoch_is_always_saved(run):
    folder = run('pix2pix', 'odd', '--n_epochs_decay', '1', '--save_epoch_freq', '2')
    assert (folder / '3_net_G.pth').exists() and (folder / '2_net_G.pth').exists()
    assert same(torch.load(folder / '3_net_G.pth', weights_only=True),
                torch.load(folder / 'latest_net_G.pth', weights_only=True))


def test_a_finished_run_is_not_trained_again(run, capsys):
    folder = run('pix2pix', 'done')
    before = {path: path.read_bytes() for path in folder.glob('*.*')}
    run('pix2pix', 'done', '--continue_train')
    assert 'nothing left to train' in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.glob('*.*')} == before


def test_a_finished_run_can_be_extended(run):
    folder = run('pix2pix', 'further')
    run('pix2pix', 'further', '--continue_train', '--n_epochs_decay', '3')
    assert load_state(folder, 'latest')['progress']['epoch'] == 6 and (folder / '5_net_G.pth').exists()


def test_bare_weights_are_resumed_at_epoch_count(run):
    folder = run('pix2pix', 'bare')
    for path in folder.glob('*_state.pth'):
        path.unlink()
    run('pix2pix', 'bare', '--continue_train', '--epoch', '2', '--epoch_count', '4')
    progress = dict(epoch=5, epoch_iter=0, total_iters=5, iteration=5, epoch_size=5)
    assert load_state(folder, 'latest')['progress'] == progress


def test_an_epoch_count_that_differs_from_the_checkpoint_is_a_notice(run, capsys):
    folder = run('pix2pix', 'contradiction')
    run('pix2pix', 'contradiction', '--continue_train', '--epoch', '2', '--epoch_count', '2')
    err = capsys.readouterr().err
    assert 'note: --epoch_count 2 ' in err and ' epoch 3' in err
    assert layout.existing_files(folder, '4')


@pytest.mark.parametrize('label', ['7', 'iter_9'])
def test_a_missing_checkpoint_lists_the_others(label, run):
    run('pix2pix', 'there')
    argv = ['--load_iter', '9'] if 'iter' in label else ['--epoch', label]
    with pytest.raises(UserError, match=rf'no checkpoint {label} .* has: 2 \(D G\), 4 \(D G\), latest \(D G\)'):
        run('pix2pix', 'there', '--continue_train', *argv)


def test_a_lost_network_is_named(run):
    folder = run('pix2pix', 'lost')
    (folder / '2_net_D.pth').unlink()
    with pytest.raises(UserError, match='no checkpoint .*2_net_D.pth'):
        run('pix2pix', 'lost', '--continue_train', '--epoch', '2')


# ---- testing

@pytest.fixture
def restored(tmp_path, build_model):
    """restored('name', ...) -> the loaded model of `test.py --name name`, without training options."""
    def load(name, *argv):
        model = build_model(TestOptions().parse(
            ['--name', name, '--checkpoints_dir', str(tmp_path / 'runs'), '--gpu_ids', '-1', *map(str, argv)]))
        label = f'iter_{model.opt.load_iter}' if model.opt.load_iter else model.opt.epoch
        load_networks(model, tmp_path / 'runs' / name, label, averages=not model.opt.no_ema)
        return model
    return load


@pytest.mark.sample(2)
@pytest.mark.parametrize('case', RUNS)
def test_a_test_needs_no_option_of_the_training(case, run, restored):
    folder = run(case, 'trained')
    model = restored('trained')
    assert model.opt.model == RUNS[case][1] and not any(name.startswith('D') for name in model.nets)
    for name, net in model.nets.items():
        assert same(torch.load(folder / f'latest_net_{name}.pth', weights_only=True), net.state_dict())


def test_direction_chooses_the_generator(run, restored, single_root):
    folder = run('cyclegan', 'two_way')
    weights = {name: torch.load(folder / f'latest_net_{name}.pth', weights_only=True) for name in ('G_A', 'G_B')}
    for argv, wanted in ([], 'G_A'), (['--direction', 'BtoA'], 'G_B'), (['--model_suffix', '_B'], 'G_B'):
        model = restored('two_way', '--model', 'test', '--dataroot', single_root, *argv)
        assert same(model.netG.state_dict(), weights[wanted])
    model = restored('two_way', '--direction', 'BtoA')
    assert same(model.netG_A.state_dict(), weights['G_B']) and same(model.netG_B.state_dict(), weights['G_A'])


def test_moving_averages_are_saved_and_resumed(run, restored):
    folder = run('cyclegan', 'averages', '--ema', '0.9')
    averages = {label: torch.load(folder / f'{label}_net_G_A_ema.pth', weights_only=True) for label in ('2', '4')}
    weights = torch.load(folder / '4_net_G_A.pth', weights_only=True)
    assert not same(averages['4'], weights) and not same(averages['4'], averages['2'])
    assert not list(folder.glob('*_net_D_*_ema.pth'))
    end = states.checkpoint_state(folder, '4')
    for path in [*folder.glob('latest_*'), *folder.glob('4_*')]:
        path.unlink()
    run('cyclegan', 'averages', '--continue_train')
    assert states.differences(end, states.checkpoint_state(folder, '4')) == []
    assert same(restored('averages').netG_A.state_dict(), averages['4'])
    assert same(restored('averages', '--no_ema').netG_A.state_dict(), weights)


@pytest.mark.parametrize('version, warned', [
    ('2.9.1+cpu', True), ('2.6.0', True), ('2.10.0', False), ('3.0.0a1', False)])
def test_an_old_torch_warns_about_files_of_others(version, warned, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch, '__version__', version)
    store.warn_of_old_torch.cache_clear()
    torch.save({'w': torch.ones(1)}, tmp_path / 'w.pth')
    for _ in 'ab':
        store.read(tmp_path / 'w.pth')
    assert capsys.readouterr().err.count('CVE-2026-24747') == int(warned)
    store.warn_of_old_torch.cache_clear()
