"""What a run and a test print besides losses: means, the disk space that saves need, sizes of images."""
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from training import state_of

from data import create_dataset
from data.transforms import Preparation
from models import create_model
from models.training.progress import Progress
from models.training.saving import SavePolicy
from util.checkpoint import layout, space
from util.machine.distributed import Group
from util.machine.runtime import Runtime
from util.monitors.curves import read_loss_log
from util.monitors.loss_log import LossLog, LossMeans, line_of, record_of
from util.monitors.visualizer import Visualizer

TIMING = dict(time=0.1, data=0.0, images_per_s=10.0, data_wait=0.0)


# ---- losses

def test_means_over_the_steps_since_the_last_report():
    means = LossMeans(Group())
    for step in range(4):
        losses = dict(D=torch.tensor(float(step)), G=torch.tensor(10.0 * step, requires_grad=True))
        means.add(losses if step % 2 else dict(D=losses['D']))      # --n_critic 2: generators in every second step
    assert means.report() == pytest.approx(dict(D=(0 + 1 + 2 + 3) / 4, G=(10 + 30) / 2))
    means.add(dict(D=torch.tensor(7.0)))
    assert means.report() == {}                     # of one step it would be the loss itself
    for value in (1.0, float('nan')):
        means.add(dict(D=torch.tensor(value), G=torch.tensor(value, dtype=torch.bfloat16) * 0))
    assert means.report() == {}


def test_a_step_is_not_waited_for():
    """Adding losses makes no number of a tensor; only a report does."""
    class Watched(torch.Tensor):
        read = 0

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.read += func.__name__ in ('item', 'tolist', '__float__', '__bool__', 'cpu', 'numpy')
            return super().__torch_function__(func, types, args, kwargs or {})

    means = LossMeans(Group())
    for _ in range(3):
        means.add(dict(G=torch.tensor(2.0).as_subclass(Watched), D=torch.tensor(1.0).as_subclass(Watched)))
    assert Watched.read == 0
    assert means.report() == dict(G=2.0, D=1.0) and Watched.read > 0


def test_programs_that_read_the_log_see_the_last_values(tmp_path):
    losses, means = dict(G=1.0, D=0.5), dict(G=2.0, D=0.75)
    progress = Progress(epoch_iter=3, total_iters=3)
    LossLog(tmp_path).write(line_of(progress, losses, TIMING), record_of(progress, losses, TIMING, 2e-4, means))
    assert [record['losses'] for record in read_loss_log(tmp_path / 'loss_log.txt')] == [losses]
    record = json.loads((tmp_path / 'losses.jsonl').read_text(encoding='utf-8'))
    assert (record['losses'], record['means']) == (losses, means)


def test_the_terminal_shows_means_after_the_line_of_the_log(tmp_path, train_options, roots, capsys):
    opt = train_options('--dataroot', roots['aligned'], '--model', 'pix2pix', '--netG', 'unet_32', '--name', 'run',
                        '--no_html')
    with Visualizer(opt, 20, Progress()) as visualizer:
        visualizer.losses(Progress(epoch_iter=3), dict(G=1.0, D=1.0), TIMING, 2e-4, dict(D=3.0, G=2.0))
    log = (tmp_path / 'checkpoints' / 'run' / 'loss_log.txt').read_text(encoding='utf-8').splitlines()[-1]
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(log))
    added = line.removeprefix(log)
    assert '| mean G 2.000 D 3.000 |' in added and ': ' not in added      # not taken for other losses


@pytest.mark.parametrize('freq, batch, shown', [
    (0, 1, {300}), (40, 1, {1, 10, 30, 100, 300, *range(40, 300, 40)}), (1000, 3, {3, 30, 90, 300})])
def test_batches_whose_images_are_shown(freq, batch, shown):
    progress, found = Progress(epoch_size=300), set()
    while not progress.at_end:
        progress.advance(batch)
        if progress.due(freq):
            found.add(progress.total_iters)
    assert found == shown


# ---- disk space

@pytest.mark.parametrize('policy', [SavePolicy(), SavePolicy(epoch_freq=0), SavePolicy(epoch_freq=1, keep_last=3),
                                    SavePolicy(latest_freq=7, by_iteration=True)])
@pytest.mark.parametrize('begin', [1, 4, 5, 10])
def test_numbered_checkpoints_to_come(policy, begin):
    progress = Progress(epoch=begin, epoch_size=20, last_epoch=10, epoch_iter=8, total_iters=20 * begin - 12)
    expected = policy.numbered_to_come(progress, progress.images_to_go(1))
    labels = set()
    while not progress.finished:
        progress.advance(1)
        if policy.by_iteration and progress.every(policy.latest_freq):
            labels.add(f'iter_{progress.total_iters}')
        if progress.epoch_iter == progress.epoch_size:
            epoch = progress.finish_epoch()
            labels |= set(policy.labels_after_epoch(epoch, progress.finished, False)) - {'latest'}
    assert expected == min(len(labels), policy.keep_last or 10**9)


def test_the_estimated_size_is_that_of_the_files(roots, train_options, tmp_path):
    opt = train_options('--dataroot', roots['unaligned'], '--model', 'cyclegan', '--netG', 'resnet_1blocks', '--ema',
                        '0.9', '--pool_size', '2')
    model = create_model(opt, Runtime(torch.device('cpu'), 'cpu'))
    state, dataset = state_of(model), create_dataset(opt)
    for index in range(3):
        state.trainer.step(dataset.batch(index))
    weights, training = state.sizes()
    snapshot = state.snapshot(Progress())
    stored = {name: 0 for name in ('networks', 'training')}
    for name in stored:
        torch.save(snapshot[name], tmp_path / name)
        stored[name] = (tmp_path / name).stat().st_size
    assert weights == sum(value.nbytes for net in snapshot['networks'].values() for value in net.values())
    assert weights < stored['networks'] < weights + 300_000 and training < stored['training'] < training + 300_000


def test_a_run_that_fills_the_disk_is_announced(monkeypatch, tmp_path):
    def said(free, **need):
        monkeypatch.setattr(shutil, 'disk_usage', lambda _: SimpleNamespace(free=free))
        return space.shortage(tmp_path / 'not' / 'yet', space.Need(**need))

    run = dict(weights=10**8, training=10**8, numbered=40)
    total = 42 * 10**8 + (layout.FULL_STATES + 1) * 10**8
    assert space.Need(**run).total() == total
    assert said(2 * total, **run) == ''
    over_half, too_much = said(2 * total - 1, **run), said(total - 1, **run)
    assert str(tmp_path) in over_half and str(tmp_path) in too_much and over_half != too_much
    kept = int(too_much.partition('--keep_last ')[2].split()[0])
    assert said(total - 1, **{**run, 'numbered': kept}) == ''           # what it proposes fits
    assert said(total - 1, **{**run, 'numbered': kept + 1}) != ''
    assert '--keep_last' not in said(10**8, **run) and '--checkpoints_dir' in said(10**8, **run)


# ---- sizes

@pytest.mark.parametrize('preprocess, sizes, text', [
    ('resize_and_crop', {(128, 96), (640, 480)}, 'are resized to 64x64'),
    ('crop', {(64, 64), (128, 96)}, 'are cropped to 64x64'),
    ('scale_width_and_crop', {(128, 256)}, 'are resized and cropped to 64x64'),
    ('none', {(64, 64), (101, 50)}, 'are resized to 64x64 to 100x48'),
    ('resize_and_crop', {(64, 64)}, ''), ('none', {(64, 32)}, '')])
def test_what_happens_to_sizes(preprocess, sizes, text):
    found = Preparation(preprocess, 64, 64).describe(sizes)
    assert found == text
