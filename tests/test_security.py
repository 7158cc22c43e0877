"""Files and names from strangers: their code never runs, and nothing is written outside the given folders."""
import builtins
import getpass
import os
import pickle
import socket

import pytest
import torch
from PIL import Image

from util.checkpoint import layout

UNSAFE = {'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': '1'}     # torch.load without weights_only is unsafe then
SENTENCE = 'never loaded, because they can run code'


class Payload:
    """Unpickling calls `function`, which creates a file."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Storage(torch.nn.Module):
    """A pickled module; its class comes from the file."""

    def __init__(self, payload):
        super().__init__()
        self.weight, self.payload = torch.nn.Parameter(torch.zeros(1)), payload


def by_torch(payload, path):
    torch.save({'model.weight': torch.zeros(1), 'x': payload}, path)


def by_old_torch(payload, path):
    torch.save(payload, path, _use_new_zipfile_serialization=False)


def by_pickle(payload, path):
    path.write_bytes(pickle.dumps({'weight': payload}))


def by_module(payload, path):
    torch.save(Storage(payload), path)


def in_bytes(payload, path):
    """In the bytes of a storage, which older versions of torch unpickled again."""
    torch.save({'weight': torch.zeros(1), 'bytes': pickle.dumps(payload), 'x': payload}, path)


WRITERS = (by_torch, by_old_torch, by_pickle, by_module, in_bytes)
CALLS = {
    'open': lambda marker: Payload(open, str(marker), 'w'),
    'system': lambda marker: Payload(os.system, f'touch {marker}'),
    'eval': lambda marker: Payload(builtins.eval, f'open({str(marker)!r}, "w")'),
}


@pytest.fixture(scope='module')
def trained(server, home, tmp_path_factory):
    import tiny_runs
    runs = tiny_runs.Runs(server, home, tmp_path_factory.mktemp('trained'))
    assert runs.begin('pix2pix', 'run', '--n_epochs', 1, '--n_epochs_decay', 0).code == 0
    return runs.folder / 'run'


@pytest.fixture
def run(trained, runs):
    import shutil
    return shutil.copytree(trained, runs.folder / 'run')


@pytest.mark.sample(5)
@pytest.mark.parametrize('name', ['net_G', 'state', 'training'])
@pytest.mark.parametrize('write', WRITERS, ids=lambda write: write.__name__)
def test_code_in_a_checkpoint_never_runs(write, name, run, runs, tmp_path):
    """Neither when resuming nor in a test, even if torch is configured to load unsafely."""
    marker = tmp_path / 'ran'
    for path in run.glob('*_manifest.json'):        # its sums would reveal the replaced file
        path.unlink()
    for label in ('1', 'latest'):
        write(CALLS['system'](marker), run / f'{label}_{name}.pth')
    programs = [runs.resume('run', '--n_epochs', 2, environment=UNSAFE)]
    programs += [] if name == 'training' else [runs.test('run', environment=UNSAFE)]
    for done in programs:
        lines = [line for line in done.err.splitlines() if not line.startswith('warning: PyTorch')]
        assert done.code == 2 and len(lines) == 1 and lines[0].startswith('error: '), done.err
        assert f'_{name}.pth' in done.err and 'weights_only' not in done.err
    assert not marker.exists()


@pytest.mark.parametrize('call', CALLS)
@pytest.mark.parametrize('write', WRITERS[:3], ids=lambda write: write.__name__)
def test_the_payloads_run_if_loaded_unsafely(write, call, tmp_path):
    marker, path = tmp_path / 'ran', tmp_path / 'x.pth'
    write(CALLS[call](marker), path)
    (pickle.loads if write is by_pickle else lambda _: torch.load(path, weights_only=False))(path.read_bytes())
    assert marker.exists()


@pytest.mark.sample(10)
@pytest.mark.parametrize('name', ['..', '../../x', '/tmp/x', 'a/b', '.hidden', 'a\nb', 'x' * 101, '', 'a b', '~'])
@pytest.mark.parametrize('option', ['--name', '--suffix', '--phase', '--epoch'])
def test_names_stay_inside_their_folders(option, name, runs, tmp_path):
    if (option, name) in (('--suffix', ''), ('--suffix', '..'), ('--suffix', '.hidden')):
        pytest.skip('valid: run_.. and run_.hidden are ordinary names, and an empty suffix adds nothing')
    before = sorted(tmp_path.rglob('*'))
    done = runs.begin('pix2pix', 'run', option, name)
    assert done.code == 2 and done.err.startswith('error: ') and 'Traceback' not in done.err
    assert sorted(tmp_path.rglob('*')) == before


def test_postscript_is_not_read(runs, home, tmp_path):
    """Whatever its file name: its reader would start another program."""
    import shutil
    root = shutil.copytree(home / 'aligned', tmp_path / 'data')
    Image.new('RGB', (80, 40)).save(tmp_path / 'x.eps')
    shutil.copy(tmp_path / 'x.eps', root / 'train' / '9.jpg')
    done = runs.begin('pix2pix', 'run', '--dataroot', root, '--max_dataset_size', 99)
    assert done.code == 2 and '9.jpg' in done.err


def test_nothing_about_the_user_is_written(runs):
    """No file contains values of the environment; no page or checkpoint contains the host or user name."""
    secret = 'secret-of-the-environment'
    done = runs.begin('pix2pix', 'run', '--n_epochs', 1, environment={'WANDB_API_KEY': secret, 'TOKEN': secret})
    assert done.code == 0 and secret not in done.out + done.err
    folder = runs.folder / 'run'
    private = [name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 4]
    for path in folder.rglob('*'):
        content = path.read_bytes() if path.is_file() else b''
        assert secret.encode() not in content, path
        if path.suffix in ('.html', '.js', '.pth', '.json'):
            assert not [name for name in private if name.encode() in content], path
    assert layout.labels(folder)
