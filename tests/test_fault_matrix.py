"""Rows of the fault matrix (docs/reliability.md) that no other test covers, each through the command line."""
import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
import states
import tiny_runs
from PIL import Image

from util import files
from util.checkpoint import layout, transaction
from util.checkpoint.damage import find_problems
from util.checkpoint.lock import Lock
from util.checkpoint.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[1]
FREQUENT = ['--save_latest_freq', 3, '--val_images', 0]      # 3 epochs of 4 steps
NO_WAIT = {'models.training.saving.RETRY_SECONDS': 0}


@pytest.fixture(scope='module')
def trained(server, home, tmp_path_factory) -> Path:
    """The folder of a pix2pix run without faults, with checkpoints `latest`, 1, 2, 3."""
    runs = tiny_runs.Runs(server, home, tmp_path_factory.mktemp('trained'))
    done = runs.begin('pix2pix', 'run', *FREQUENT, '--save_epoch_freq', 1)
    assert (done.code, done.err) == (0, '')
    return runs.folder / 'run'


@pytest.fixture
def run(trained, runs) -> Path:
    """A copy of that run."""
    return shutil.copytree(trained, runs.folder / 'run')


@pytest.fixture(scope='module')
def unbroken(trained):
    """Its final state without the checkpoints of epochs 1 and 2, which other runs do not save."""
    found = states.everything(trained)
    return {**found, 'labels': {label: found['labels'][label] for label in ('latest', '3')}}


def failed(done, code: int, *parts: str) -> bool:
    """True if the run ended with this exit code and one line `error: ...` that contains these parts."""
    lines = done.err.splitlines()
    assert done.code == code, done.err
    assert len(lines) == 1 and lines[0].startswith('error: '), done.err
    assert [part for part in parts if part not in lines[0]] == [], done.err
    return True


def continued(done, code: int, *warnings: str) -> bool:
    """True if the run ended with this exit code and printed exactly these warnings, one per line."""
    lines = done.err.splitlines()
    assert done.code == code, done.err
    assert len(lines) == len(warnings), done.err
    assert all(part in line for line, part in zip(lines, warnings, strict=True)), done.err
    return True


def truncate(path: Path):
    path.write_bytes(path.read_bytes()[:1000])


def flip(path: Path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


DAMAGE = {
    'truncated': (truncate, 'has 1000 bytes instead of'), 'empty': (lambda path: path.write_bytes(b''), 'is empty'),
    'page': (lambda path: path.write_text('<!DOCTYPE html>', encoding='utf-8'), "starts with '<!DOCTYPE': a web page"),
    'pointer': (lambda path: path.write_bytes(b'version https://git-lfs.github.com/spec/v1'), 'Git LFS'),
    'flipped': (flip, 'sum in its manifest'), 'missing': (Path.unlink, 'is missing'),
    'folder': (lambda path: (path.unlink(), path.mkdir()), 'is a folder, not a file'),
}


# ---- checkpoints and disk

@pytest.mark.sample(4)
@pytest.mark.parametrize(('damage', 'name'), [*((damage, 'net_G') for damage in DAMAGE), ('missing', 'net_D'),
                                              ('missing', 'state'), ('flipped', 'state'), ('flipped', 'training'),
                                              ('missing', 'training'), ('folder', 'state')])
def test_a_damaged_latest_is_skipped(damage, name, run, runs):
    act, sentence = DAMAGE[damage]
    path = run / f'latest_{name}.pth'
    act(path)
    done = runs.resume('run', '--n_epochs', 3)
    assert continued(done, 0, 'the newest good checkpoint, 3') and str(path) in done.err
    assert sentence in done.err and 'from 3: epoch 4' in done.out
    assert states.position(run, 'latest') == (5, 16) and find_problems(run, 'latest') == []


@pytest.mark.parametrize('name', ['net_G', 'state', 'training'])
def test_a_requested_checkpoint_lacks_a_file(name, run, runs):
    path = run / f'3_{name}.pth'
    path.unlink()
    done = runs.begin('pix2pix', 'run', '--continue_train', '--epoch', 3, '--n_epochs', 3)
    assert failed(done, 2, str(path), '--epoch')


def test_no_checkpoint_is_good(run, runs):
    folder = run
    for path in folder.glob('*_net_D.pth'):
        truncate(path)
    before = sorted(folder.iterdir())
    assert failed(runs.resume('run', '--n_epochs', 3), 2, 'no checkpoint of this run can be used', 'net_D.pth')
    assert sorted(folder.iterdir()) == before


@pytest.mark.sample(3)
@pytest.mark.parametrize('damage', DAMAGE)
def test_a_test_refuses_a_damaged_checkpoint(damage, run, runs):
    folder = run
    DAMAGE[damage][0](folder / 'latest_net_G.pth')
    assert failed(runs.test('run'), 2, str(folder / 'latest_net_G.pth'))
    assert not (runs.folder / 'results').exists()


def test_a_lost_state_file_is_reported_when_testing(run, runs):
    path = run / 'latest_state.pth'
    path.unlink()
    done = runs.test('run')
    assert f'warning: {path} is missing' in done.err and 'Traceback' not in done.err


def test_missing_images_are_reported_when_resuming(run, runs, home, tmp_path):
    root = tmp_path / 'less'
    shutil.copytree(home / 'aligned', root)
    for path in sorted((root / 'train').iterdir())[2:]:
        path.unlink()
    done = runs.resume('run', '--n_epochs', 3, '--dataroot', root)
    assert continued(done, 0, 'dataset now has 2 images; it had 4')


def test_resuming_without_a_checkpoint(runs):
    assert failed(runs.resume('run'), 2, str(runs.folder / 'run'))
    done = runs.begin('template', 'run', '--continue_train', 'auto')
    assert continued(done, 0, f'no checkpoint in {runs.folder / "run"}')
    assert 'nothing left to train' in runs.begin('template', 'run', '--continue_train', 'auto').out


@pytest.mark.sample(2)
@pytest.mark.parametrize(('kind', 'op'), [('EROFS', 'mkdir'), ('EDQUOT', 'trunc'), ('ENOSPC', 'write'),
                                          ('EIO', 'write'), ('EIO', 'fsync'), ('ENOSPC', 'rename')])
def test_a_disk_that_fails_every_save(kind, op, run, runs):
    """The run ends after three failures; earlier checkpoints are intact and can be resumed from."""
    folder = run
    before = {label: states.checkpoint_state(folder, label) for label in layout.labels(folder)}
    rule = dict(thread='saving', op=op, path=r'\.writing', action=kind)
    done = runs.resume('run', '--n_epochs', 9, rules=[rule], values_of=NO_WAIT)
    lines = done.err.splitlines()
    assert done.code == 4 and len(lines) == 3, done.err
    assert all('could not be saved' in line and 'intact' in line for line in lines[:2])
    assert lines[2].startswith('error: ') and str(folder) in lines[2]
    assert {label: states.checkpoint_state(folder, label) for label in layout.labels(folder)} == before
    assert states.leftovers(folder) == []
    assert runs.resume('run', '--n_epochs', 3).code == 0


def test_a_full_disk_for_one_save(runs, unbroken):
    rule = dict(thread='saving', op='write', path='net_D', after=30, times=1, action='ENOSPC')
    done = runs.begin('pix2pix', 'run', *FREQUENT, rules=[rule])
    assert continued(done, 0, 'No space left on device')
    assert states.differences(unbroken, states.everything(runs.folder / 'run')) == []


def test_a_disk_error_that_does_not_repeat(runs, unbroken):
    """A save is tried twice, without a warning."""
    rule = dict(thread='saving', op='fsync', times=1, action='EIO')
    assert continued(runs.begin('pix2pix', 'run', *FREQUENT, rules=[rule], values_of=NO_WAIT), 0)
    assert states.differences(unbroken, states.everything(runs.folder / 'run')) == []


def test_a_disk_without_space_is_reported_with_sizes(runs):
    done = runs.begin('pix2pix', 'run', *FREQUENT, free_bytes=1000)
    assert done.code == 4 and re.search(r'a checkpoint needs 0\.\d MB, 0\.0 MB are free', done.err.splitlines()[-1])
    assert not layout.labels(runs.folder / 'run')


def test_a_disk_with_space_for_one_of_two_labels(run, runs, unbroken):
    """The end of an epoch is saved only as `latest`, and the run ends with the error after all its steps."""
    room = 1.2 * sum(path.stat().st_size for path in run.glob('latest_*.pth'))
    done = runs.begin('pix2pix', 'new', '--save_epoch_freq', 1, '--val_images', 0, free_bytes=int(room))
    assert done.code == 4 and 'Traceback' not in done.err
    told, *lines = done.err.splitlines()        # first that the space will not suffice
    assert 'free' in told
    assert len(lines) == 3 and all('only latest was saved' in line for line in lines)
    folder = runs.folder / 'new'
    assert layout.labels(folder).keys() == {'latest'}
    assert states.differences(unbroken['labels']['latest'], states.checkpoint_state(folder, 'latest')) == []


def test_the_last_save_fails(runs):
    rule = dict(thread='saving', op='write', action='ENOSPC')
    done = runs.begin('pix2pix', 'run', '--save_latest_freq', 0, rules=[rule])
    assert failed(done, 4, 'No space left on device')


@pytest.mark.parametrize('kind', ['ENOSPC', 'EROFS', 'EIO'])
def test_a_full_disk_for_logs_and_pages_only(kind, runs, unbroken):
    rules = [dict(thread='MainThread', op='open|trunc|mkdir', path='loss|^web', action=kind)]
    done = runs.begin('pix2pix', 'run', *FREQUENT, rules=rules)
    assert done.code == 0 and 'Traceback' not in done.err
    lines = done.err.splitlines()
    assert len(lines) == 2 and all(f'{runs.folder / "run"}' in line for line in lines)
    end = {label: states.checkpoint_state(runs.folder / 'run', label) for label in layout.labels(runs.folder / 'run')}
    assert states.differences(unbroken['labels'], end) == []


def test_a_full_disk_names_the_log(run, runs):
    log = run / 'loss_log.txt'
    log.unlink()
    log.symlink_to('/dev/full')
    done = runs.resume('run', '--n_epochs', 3)
    assert continued(done, 0, f'{log} has 0 bytes', f'{log}: No space left on device')


@pytest.mark.parametrize('kind', ['EROFS', 'ENOSPC'])
def test_a_place_that_cannot_be_written(kind, runs):
    done = runs.server.run(runs.words('pix2pix', 'run'), rules=[dict(path=str(runs.folder)[1:], action=kind)])
    assert failed(done, 4, str(runs.folder)) and 'training images' not in done.out


def test_how_much_is_kept(run, runs):
    assert layout.labels(run).keys() == {'latest', '1', '2', '3'}
    assert len(list(run.glob('*_training.pth'))) == 3
    assert runs.resume('run', '--keep_last', 2, '--n_epochs', 3).code == 0
    assert layout.labels(run).keys() == {'latest', '3', '4'}


def test_two_runs_of_one_name(run, runs):
    """While the first one lives, the second one is refused, whether new or resumed."""
    before = sorted(run.rglob('*'))
    with Lock(run) as lock:
        lock.acquire()
        for done in (runs.begin('pix2pix', 'run'), runs.begin('pix2pix', 'run', '--overwrite'),
                     runs.resume('run', '--n_epochs', 9)):
            assert failed(done, 2, 'is in use by', f'pid {os.getpid()}', '--name')
    assert sorted(run.rglob('*')) == before
    assert runs.resume('run', '--n_epochs', 3, signals_to_main={13: 'SIGKILL'}).code == -9
    assert runs.resume('run', '--n_epochs', 3).code == 0         # the lock of a dead process is void


# ---- resume and schedule

def test_a_finished_run_changes_nothing(run, runs):
    folder = run
    before = {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}
    done = runs.resume('run')
    assert continued(done, 0) and 'nothing left to train' in done.out and '--n_epochs' in done.out
    assert {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()} == before


def test_every_epoch_learns(runs):
    """The learning rate of the last epoch is not 0."""
    assert runs.begin('pix2pix', 'run', '--n_epochs', 1, '--n_epochs_decay', 3, '--save_epoch_freq', 1).code == 0
    folder = runs.folder / 'run'
    rates = {record['lr'] for record in states.log_lines(folder) if isinstance(record, dict)}
    assert len(rates) == 4 and min(rates) > 0
    weights = [states.checkpoint_state(folder, str(epoch)) for epoch in (3, 4)]
    assert weights[0]['net_G.pth/model.model.0.weight'] != weights[1]['net_G.pth/model.model.0.weight']


def test_changed_options_are_printed_and_the_old_ones_kept(run, runs):
    folder = run
    first = (folder / 'train_opt.txt').read_text(encoding='utf-8')
    done = runs.resume('run', '--n_epochs', 3, '--lr', 0.001)
    assert {'lr: 0.0002 -> 0.001', 'n_epochs: 2 -> 3'} <= set(done.out.splitlines())
    assert (folder / 'train_opt.txt.1').read_text(encoding='utf-8') == first


def test_saved_by_the_clock(runs):
    """Small datasets are saved too: after --save_every_minutes, here at every step."""
    done = runs.begin('pix2pix', 'run', '--save_every_minutes', 1e-9, signals_at={3: 'SIGKILL'})
    assert done.code == -9
    runs.resume('run', signals_at={4: 'SIGTERM'})
    done = runs.begin('pix2pix', 'never', '--save_every_minutes', 0, signals_at={3: 'SIGKILL'})
    assert layout.labels(runs.folder / 'run') and not layout.labels(runs.folder / 'never')


# ---- signals and processes

def test_usr1_saves_and_continues(runs, unbroken):
    done = runs.begin('pix2pix', 'run', *FREQUENT, signals_at={2: 'SIGUSR1'})
    assert continued(done, 0) and 'saving the latest model (epoch 1, total_iters 2)' in done.out
    assert states.differences(unbroken, states.everything(runs.folder / 'run')) == []


def test_a_second_signal_stops_at_once(runs):
    done = runs.begin('pix2pix', 'run', *FREQUENT, signals_at={5: 'SIGINT'},
                      rules=[dict(op='mkdir', path='writing', after=1, action='EIO')],
                      values_of={'models.training.saving.RETRY_SECONDS': 30}, second_signal=2.0)
    assert done.code == 130 and done.seconds < 20 and 'Traceback' not in done.err
    assert states.position(runs.folder / 'run', 'latest') == (1, 3)


def test_nohup_is_respected(runs, unbroken):
    done = runs.begin('pix2pix', 'run', *FREQUENT, ignored=['SIGHUP'], signals_at={5: 'SIGHUP'})
    assert continued(done, 0)
    assert states.differences(unbroken, states.everything(runs.folder / 'run')) == []


def test_time_is_up(runs, unbroken):
    done = runs.begin('pix2pix', 'run', *FREQUENT, '--max_minutes', 1e-9)
    assert continued(done, 0) and 'stopped by --max_minutes' in done.out and '--continue_train' in done.out
    assert states.position(runs.folder / 'run', 'latest') == (1, 1)
    assert runs.resume('run').code == 0
    assert states.differences(unbroken, states.everything(runs.folder / 'run')) == []


def test_a_killed_worker_costs_nothing(runs, unbroken):
    words = [*FREQUENT, '--num_threads', 2]
    done = runs.begin('pix2pix', 'run', *words, worker_killed_at=[5])
    assert done.code == 0 and done.left == 0 and len(done.err.splitlines()) <= 1, done.err
    assert states.differences(unbroken, states.everything(runs.folder / 'run')) == []


def test_workers_killed_again_and_again(runs):
    done = runs.begin('pix2pix', 'run', *FREQUENT, '--num_threads', 2, '--n_epochs', 9,
                      worker_killed_at=list(range(2, 30)))
    assert done.code == 5 and done.left == 0 and '--num_threads' in done.err.splitlines()[-1]
    assert layout.labels(runs.folder / 'run')
    assert runs.resume('run', '--n_epochs', 1).code == 0


@pytest.mark.sample(1)
@pytest.mark.parametrize('threads', [0, 2])
def test_nothing_is_left_of_a_killed_run(threads, runs):
    done = runs.begin('pix2pix', 'run', *FREQUENT, '--num_threads', threads, signals_to_main={5: 'SIGKILL'})
    assert (done.code, done.left) == (-9, 0)


@pytest.mark.parametrize('target', ['/dev/full', 'closed'])
def test_a_console_that_cannot_be_written(target, runs, unbroken):
    done = runs.begin('pix2pix', 'run', *FREQUENT, stdout=target)
    assert continued(done, 0)
    assert states.differences(unbroken, states.everything(runs.folder / 'run')) == []


def test_a_suspended_run_continues(runs, unbroken):
    done = runs.begin('pix2pix', 'run', *FREQUENT, '--num_threads', 2, '--data_timeout', 4, suspended_at={5: 3.0})
    assert continued(done, 0)
    assert states.differences(unbroken, states.everything(runs.folder / 'run')) == []


def test_few_open_files(runs, unbroken):
    assert continued(runs.begin('pix2pix', 'run', *FREQUENT, '--num_threads', 2, limits={'NOFILE': 64}), 0)
    assert states.differences(unbroken, states.everything(runs.folder / 'run')) == []


def test_out_of_memory(runs, unbroken):
    """The state before the step is saved."""
    done = runs.begin('pix2pix', 'run', *FREQUENT, error_in={6: 'memory'})
    assert failed(done, 5, 'memory', 'batch_size', 'crop_size')
    assert states.position(runs.folder / 'run', 'latest') == (2, 5)
    assert runs.resume('run').code == 0
    assert states.differences(unbroken, states.everything(runs.folder / 'run')) == []


def test_out_of_memory_after_an_update(runs):
    """The step cannot be undone: the last save is kept, and the number of lost steps is printed."""
    done = runs.begin('pix2pix', 'run', '--save_latest_freq', 4, error_in={6: 'late memory'})
    assert failed(done, 5, 'memory', 'batch_size', 'crop_size')
    assert '1 steps since the last save were lost' in done.out
    assert states.position(runs.folder / 'run', 'latest') == (1, 4) and runs.resume('run').code == 0


def test_a_nan_after_an_update(runs):
    done = runs.begin('pix2pix', 'run', *FREQUENT, error_in={6: 'late nan'})
    assert failed(done, 3, 'weights before this update, the second one of its step', 'last_finite')


def test_an_internal_error(runs, unbroken):
    """Its traceback is in a file, the console has one line, and the run can be resumed."""
    done = runs.begin('pix2pix', 'run', *FREQUENT, error_in={6: 'mistake'})
    folder = runs.folder / 'run'
    crash, = folder.glob('crash-*.txt')
    assert failed(done, 1, 'internal error: ZeroDivisionError: a mistake of ours', str(crash))
    assert 'Traceback' in crash.read_text(encoding='utf-8') and states.position(folder, 'latest') == (2, 5)
    assert runs.resume('run').code == 0
    assert states.differences(unbroken, states.everything(folder)) == []


def test_without_visdom(runs, unbroken):
    assert continued(runs.begin('pix2pix', 'run', *FREQUENT, missing=['visdom']), 0)


# ---- numbers

def test_one_nan_stops_the_run_before_its_update(runs, unbroken):
    done = runs.begin('pix2pix', 'run', *FREQUENT, error_in={6: 'nan'})
    assert failed(done, 3, 'epoch 2 step 2', '.png', 'the last good checkpoint is latest', '--lr')
    folder = runs.folder / 'run'
    assert len(list((folder / 'nonfinite').iterdir())) == 1
    assert runs.resume('run').code == 0
    end = states.everything(folder)
    assert end['labels'].pop('last_finite')
    assert states.differences(unbroken, end) == []


@pytest.mark.parametrize('policy', ['skip', 'rollback'])
def test_one_nan_is_survived(policy, runs):
    done = runs.begin('pix2pix', 'run', *FREQUENT, '--on_nonfinite', policy, error_in={6: 'nan'})
    assert continued(done, 0, f'--on_nonfinite {policy}')


@pytest.mark.sample(3)
@pytest.mark.parametrize('policy', ['stop', 'skip', 'rollback'])
@pytest.mark.parametrize('words', [['--lr', 1e18], ['--lambda_L1', 1e38]], ids=lambda words: words[0])
def test_nothing_that_is_not_finite_is_saved(words, policy, runs):
    done = runs.begin('pix2pix', 'run', '--n_epochs', 30, '--save_latest_freq', 1, '--on_nonfinite', policy, *words)
    assert done.code == 3 and 'Traceback' not in done.err
    folder = runs.folder / 'run'
    for label in layout.labels(folder):
        for path in layout.existing_files(folder, label):
            assert is_finite(path), path


def is_finite(path) -> bool:
    import torch

    from util.checkpoint import store
    return store.is_finite(torch.load(path, weights_only=True))


def test_weights_that_are_not_finite_are_refused(run, runs):
    import torch
    folder = run
    path = folder / 'latest_net_G.pth'
    weights = torch.load(path, weights_only=True)
    key = next(iter(weights))
    weights[key].view(-1)[0] = float('nan')
    torch.save(weights, path)
    manifest = read_manifest(folder, 'latest')     # a manifest that fits the damaged file
    manifest.files[path.name] = dict(bytes=path.stat().st_size, sha256=files.sha256(path))
    transaction.write_manifest(folder, manifest)
    assert failed(runs.test('run'), 3, str(path), key)
    assert not (runs.folder / 'results').exists()
    assert failed(runs.resume('run', '--n_epochs', 4), 2, str(path), '3, 2, 1')


# ---- images

def test_a_pipe_does_not_hang(runs, home, tmp_path):
    root = tmp_path / 'data'
    shutil.copytree(home / 'aligned', root)
    os.mkfifo(root / 'train' / '9.png')
    done = runs.begin('pix2pix', 'run', '--dataroot', root, '--max_dataset_size', 99, limit=30)
    assert failed(done, 2, str(root / 'train' / '9.png'))


def test_an_image_that_becomes_a_pipe(runs, home, tmp_path):
    root = tmp_path / 'data'
    shutil.copytree(home / 'aligned', root)
    path = root / 'train' / '2.png'
    done = runs.begin('pix2pix', 'run', *FREQUENT, '--dataroot', root, '--serial_batches', '--data_timeout', 5,
                      pipe_at={5: str(path)}, limit=40)
    assert continued(done, 0, str(path))


def test_images_with_too_many_pixels_are_not_read(runs, home, tmp_path):
    root = tmp_path / 'data'
    shutil.copytree(home / 'aligned', root)
    Image.new('1', (9000, 9000)).save(root / 'train' / '9.png')
    done = runs.begin('pix2pix', 'run', '--dataroot', root, '--max_dataset_size', 99)
    assert failed(done, 2, '9.png', '--max_pixels')


# ---- the document

def rows_of_the_document() -> list[list[str]]:
    text = (ROOT / 'docs' / 'reliability.md').read_text(encoding='utf-8')
    table = text[text.index('## Fault matrix'):]
    lines = [line for line in table.splitlines() if line.startswith('| ') and not line.startswith(('| row', '| ---'))]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def test_every_test_of_the_document_exists():
    rows = rows_of_the_document()
    assert len(rows) > 80
    for row, _, tests in rows:
        for module, name in re.findall(r'`(test_\w+)\.py::(test_\w+)`', tests):
            source = (ROOT / 'tests' / f'{module}.py').read_text(encoding='utf-8')
            assert f'def {name}(' in source, f'{row}: {module}.py::{name}'
        assert '`test_' in tests or '`scripts/soak.py' in tests or tests.startswith('not '), row


def test_figures_of_the_document_are_those_of_the_benchmark():
    figures = json.loads((ROOT / 'docs' / 'benchmarks' / 'reliability.json').read_text(encoding='utf-8'))
    text = (ROOT / 'docs' / 'reliability.md').read_text(encoding='utf-8')
    assert f'{figures["kills"]["kills"]} random kills' in text
    assert f'{figures["resume"]["equal"]} of {figures["resume"]["cases"]}' in text
    assert time.strptime(figures['date'], '%Y-%m-%d')
