"""--copy_to and scripts/fetch_run.py: checkpoints in object storage are complete, or not used."""
import json
import sys

import pytest
import torch
from conftest import ROOT, TINY_TRAINING

import train
from util.checkpoint import copies, layout, transaction
from util.checkpoint.manifest import read_manifest
from util.cli import run
from util.errors import UserError

fsspec = pytest.importorskip('fsspec')
sys.path.insert(0, str(ROOT / 'scripts'))

import fetch_run


@pytest.fixture
def url():
    storage = fsspec.filesystem('memory')
    storage.store.clear()
    yield 'memory://bucket/run'
    storage.store.clear()


def save(folder, label, content, also=()):
    files = {f'{label}_net_G.pth': lambda file: file.write(content),
             f'{label}_state.pth': lambda file: file.write(b's')}
    transaction.write_set(folder, label, files, {}, also)
    (folder / 'losses.jsonl').write_bytes(content)


def test_a_set_comes_back_as_it_was(url, tmp_path):
    here, there = tmp_path / 'here', tmp_path / 'there'
    save(here, 'latest', b'one', also=['best'])
    copies.upload(here, 'latest', url)
    copies.upload(here, 'best', url)
    save(here, 'latest', b'two', also=['3'])
    for label in ('latest', '3'):
        copies.upload(here, label, url)
    assert copies.sets_at(url) == {'latest': 2, '3': 2, 'best': 1}      # that of the first save is removed
    assert copies.download(url, there) == 'latest'
    assert read_manifest(there, 'latest').equals(read_manifest(here, 'latest'))
    assert (there / 'latest_net_G.pth').read_bytes() == (there / 'losses.jsonl').read_bytes() == b'two'
    assert (there / 'best_net_G.pth').read_bytes() == b'one'


def test_an_interrupted_copy_is_not_used(url, tmp_path, monkeypatch):
    save(tmp_path / 'here', 'latest', b'one')
    copies.upload(tmp_path / 'here', 'latest', url)
    save(tmp_path / 'here', 'latest', b'two')
    storage, pipe = fsspec.filesystem('memory'), fsspec.filesystem('memory').pipe_file
    monkeypatch.setattr(copies.remote, 'PAUSE', 0)
    for broken in ('latest_state.pth', 'latest_manifest.json'):
        def fails(path, content, broken=broken, **more):
            if path.endswith(broken):
                raise ConnectionError('gone')
            return pipe(path, content, **more)
        with monkeypatch.context() as patch, pytest.raises(OSError, match='gone'):
            patch.setattr(storage, 'pipe_file', fails)
            copies.upload(tmp_path / 'here', 'latest', url)
        assert copies.sets_at(url) == {'latest': 1}
        copies.download(url, tmp_path / broken)
        assert (tmp_path / broken / 'latest_net_G.pth').read_bytes() == b'one'


@pytest.mark.parametrize('operation', ['exists', 'ls', 'rm', 'cat_file', 'pipe_file', 'makedirs'])
def test_a_failure_of_the_network_is_tried_again(operation, url, tmp_path, monkeypatch):
    """Each time that it is needed: also to see what is there, and to remove what is old."""
    storage = fsspec.filesystem('memory')
    monkeypatch.setattr(copies.remote, 'PAUSE', 0)
    work, calls = getattr(storage, operation), []

    def fails_first(path, *args, **more):
        if path not in calls and (operation != 'exists' or path.endswith('json')):      # `rm` calls `exists` often
            calls.append(path)
            raise RuntimeError('gone')
        return work(path, *args, **more)
    monkeypatch.setattr(storage, operation, fails_first)
    for content in (b'one', b'two'):
        save(tmp_path / 'here', 'latest', content)
        copies.upload(tmp_path / 'here', 'latest', url)
    assert copies.sets_at(url) == {'latest': 2}
    copies.download(url, tmp_path / 'there')
    assert (tmp_path / 'there' / 'losses.jsonl').read_bytes() == b'two' and calls


def test_a_download_that_failed_is_repeated(url, tmp_path, monkeypatch, capfd):
    here, there = tmp_path / 'here', tmp_path / 'there'
    save(here, 'latest', b'one', also=['best'])
    for label in ('latest', 'best'):
        copies.upload(here, label, url)
    monkeypatch.setattr(copies.remote, 'PAUSE', 0)
    words = [url, '--name', 'there', '--checkpoints_dir', str(tmp_path)]
    storage, read = fsspec.filesystem('memory'), fsspec.filesystem('memory').cat_file
    for broken in ('losses.jsonl', 'latest_net_G.pth'):
        def fails(path, broken=broken, **more):
            if path.endswith(broken):
                raise RuntimeError('gone')
            return read(path, **more)
        with monkeypatch.context() as patch:
            patch.setattr(storage, 'cat_file', fails)
            assert run(fetch_run.main, words) == 2 and 'gone' in capfd.readouterr().err
        assert {*layout.labels(there)} == {'best'}
    (there / 'best_manifest.json').rename(tmp_path / 'x')
    assert run(fetch_run.main, words) == 2      # of another run, as far as we know
    (tmp_path / 'x').rename(there / 'best_manifest.json')
    assert run(fetch_run.main, words) == 0 and {*layout.labels(there)} == {'best', 'latest'}
    assert run(fetch_run.main, words) == 2


def test_a_damaged_copy_is_refused(url, tmp_path):
    save(tmp_path / 'here', 'latest', b'one')
    copies.upload(tmp_path / 'here', 'latest', url)
    fsspec.filesystem('memory').pipe_file('/bucket/run/latest.1/latest_net_G.pth', b'onf')
    with pytest.raises(UserError, match=r'latest_net_G\.pth is damaged'):
        copies.download(url, tmp_path / 'there')
    assert not layout.labels(tmp_path / 'there')


def test_later_checkpoints_of_another_run_are_kept(url, tmp_path):
    copies.check(url, tmp_path / 'new')     # nothing is there yet
    save(tmp_path / 'here', 'latest', b'one')
    copies.upload(tmp_path / 'here', 'latest', url)
    copies.check(url, tmp_path / 'here')
    with pytest.raises(UserError, match='fetch_run'):
        copies.check(url, tmp_path / 'new')


def test_a_run_goes_on_on_another_machine(aligned_root, tmp_path, capsys):
    """Its end equals that of a run that stayed."""
    url = f'file://{tmp_path / "storage"}'
    words = [*TINY_TRAINING, '--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', '--no_html',
             '--n_epochs_decay', 0]

    def start(name, place, *more):
        places = ['--name', name, '--checkpoints_dir', tmp_path / place]
        return run(train.main, [str(word) for word in [*words, *places, *more]])
    assert start('run', 'stays', '--n_epochs', 2) == 0
    assert start('run', 'first', '--n_epochs', 1, '--copy_to', url) == 0
    fetch = [url, '--name', 'run', '--checkpoints_dir', str(tmp_path / 'second')]
    assert start('run', 'second', '--copy_to', url) == 2
    assert run(fetch_run.main, fetch) == 0
    assert run(fetch_run.main, fetch) == 2      # nothing here is replaced
    assert start('run', 'second', '--continue_train', '--n_epochs', 2, '--copy_to', url) == 0
    ends = [torch.load(tmp_path / place / 'run' / 'latest_net_G.pth', weights_only=True)
            for place in ('stays', 'second')]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    lines = (tmp_path / 'second' / 'run' / 'losses.jsonl').read_text(encoding='utf-8').splitlines()
    iters = [json.loads(line)['total_iters'] for line in lines if 'losses' in json.loads(line)]
    assert iters == sorted(set(iters))
    assert max(copies.sets_at(url).values()) == read_manifest(tmp_path / 'second' / 'run', 'latest').serial


def test_nothing_there(tmp_path):
    words = [f'file://{tmp_path}/none', '--name', 'run', '--checkpoints_dir', str(tmp_path)]
    assert run(fetch_run.main, words) == 2
    assert run(fetch_run.main, [*words, '--if_exists']) == 0
