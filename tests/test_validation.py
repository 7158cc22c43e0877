"""Metrics during training: they leave no trace in it, equal those of test.py, and choose the best checkpoint."""
import json
import os
import signal

import pytest
import states
import tiny_runs
import torch
from conftest import draw_images, draw_root
from test_distributed import in_processes
from test_preview import MODELS, begin_training, equal
from training import state_of, trainer_of

import test as test_program
import train as train_program
from data import create_dataset, held_out
from models import create_validation, metrics, registry
from models.metrics.base import Metric, Spec
from models.training.progress import Progress
from models.training.saving import SavePolicy
from models.training.schedule import Plateau
from models.training.session import Session
from models.validation.best import Best, Record, saved_record
from models.validation.choice import choose
from models.validation.validation import epochs_between
from models.validation.validator import Validator, plan_of
from options import ValidationOptions
from util.checkpoint import damage, layout
from util.checkpoint.manifest import read_manifest
from util.cli import run
from util.errors import UserError
from util.monitors.curves import read_run


class Recorder(Metric):
    """Keeps what it is shown; its value is the mean of all fakes."""

    def __init__(self, kind: str):
        super().__init__(Spec(f'seen_{kind}', '', 'lower', kind, ''), None)

    def reset(self, fakes_only: bool = False):
        self.fakes = []
        self.reals = self.reals if fakes_only else []

    def update(self, fakes, reals=None):
        self.fakes += [] if fakes is None else [fakes]
        self.reals += [] if reals is None else [reals]

    def compute(self):
        return {self.name: sum(image.double().mean().item() for image in self.fakes)}


def recorders() -> list[Recorder]:
    return [Recorder(kind) for kind in ('pairs', 'sets', 'styles')]


def always() -> bool:
    return True


def add_val(root, names=('',), count: int = 3, size=(40, 40)):
    for name in names:
        draw_images(root / f'val{name}', count, size, seed=5)


@pytest.fixture
def validated(train_options, build_model, roots):
    """validated('pix2pix', '--ema', 0.9) -> a model after one step, a batch, and its validator with recorders."""
    add_val(roots['aligned'], size=(80, 40))
    add_val(roots['unaligned'], ('A', 'B'))
    add_val(roots['colorization'])

    def begin(name, *more):
        mode, argv = MODELS[name]
        opt, model, batches = begin_training(name, lambda *words: train_options(*words, *more), build_model, roots, 1)
        test_opt = ValidationOptions(opt).parse()
        if 'num_styles' in test_opt.as_dict():
            test_opt = test_opt.replace(num_styles=2)
        dataset = held_out(test_opt, create_dataset(opt))
        validator = Validator(trainer_of(model), test_opt, dataset, plan_of(*dataset.sizes, 9), recorders())
        return model, next(batches), validator
    return begin


# ---- no trace

def test_all_models_are_tested():
    assert MODELS.keys() == set(registry.ours) - {'test'}


def check_what_was_seen(name: str, validator):
    pairs, sets, styles = validator.metrics
    paired, styled = MODELS[name][0] != 'unaligned', name in ('munit', 'bicyclegan')
    assert (len(pairs.fakes), len(sets.fakes), len(sets.reals)) == (3 if paired else 0, 3, 3)
    side = 36 if name == 'munit' else 32        # test.py does not crop its images
    assert all(image.dtype == torch.uint8 and image.shape == (1, 3, side, side) for image in sets.fakes + sets.reals)
    assert [len(results) for results in styles.fakes] == [2 if styled else 1] * 3
    assert not paired or (equal(pairs.reals, sets.reals) and not equal(pairs.fakes, pairs.reals))


@pytest.mark.sample(4)
@pytest.mark.parametrize(('name', 'more'), [*((name, ('--ema', '0.9')) for name in MODELS), ('pix2pix', ()),
                                            ('munit', ())])
def test_validation_leaves_no_trace(name, more, validated):
    """Weights, averages, statistics, optimizers, pools, random state, and the step that follows are bit-equal."""
    model, batch, validator = validated(name, *more)
    modes = [module.training for net in model.nets.values() for module in net.modules()]
    before, images = state_of(model).snapshot(Progress()), model.get_current_visuals()
    values = validator.run(always)
    check_what_was_seen(name, validator)
    reals = validator.metrics[1].reals
    assert validator.run(always) == values and validator.metrics[1].reals is reals      # which are shown once
    assert equal(state_of(model).snapshot(Progress()), before) and equal(model.get_current_visuals(), images)
    assert modes == [module.training for net in model.nets.values() for module in net.modules()]
    trainer_of(model).step(batch)
    after = state_of(model).snapshot(Progress())
    again, batch, _ = validated(name, *more)
    trainer_of(again).step(batch)
    assert equal(state_of(again).snapshot(Progress()), after)


def test_averages_are_validated(validated):
    """With --ema, the metrics change when the averages do, and not when the weights do."""
    model, batch, validator = validated('cyclegan', '--ema', '0.9')
    first = validator.run(always)
    with torch.no_grad():
        next(model.netG_A.parameters()).add_(1)
    assert validator.run(always) == first
    with torch.no_grad():
        next(trainer_of(model).averages.nets['G_A'].parameters()).add_(1)
    assert validator.run(always) != first


def test_a_validation_can_be_interrupted(validated):
    _, _, validator = validated('cyclegan')
    whole = validator.run(always)
    calls = []
    assert validator.run(lambda: calls.append(1) or len(calls) < 2) is None and len(calls) == 2
    assert validator.run(always) == whole


def test_damaged_images_are_left_out_and_said_once(validated, roots, capsys):
    (roots['aligned'] / 'val' / '1.png').write_bytes(b'damaged')
    _, _, validator = validated('pix2pix')
    (roots['aligned'] / 'val' / '1.png').write_bytes(b'damaged')
    for _ in 'ab':
        assert validator.run(always)
    assert len(validator.metrics[0].fakes) == 2
    assert capsys.readouterr().err.count('1.png') == 1


@pytest.mark.parametrize('limit', [9, 3])
def test_domains_of_different_sizes(limit):
    plan = plan_of(5, 7, limit)
    assert [item.index for item in plan if item.use_A] == ([0, 1, 2, 3, 4] if limit == 9 else [0, 1, 3])
    assert [item.index for item in plan if item.use_B] == (list(range(7)) if limit == 9 else [0, 2, 4])


@pytest.mark.parametrize('name', ['pix2pix', 'munit'])
def test_two_processes_share_a_validation(name, validated):
    """Both have the values of one process, and no one waits for ever; three images, so one has fewer than the other."""
    model, _, validator = validated(name)
    one = validator.run(always)

    def work(group):
        model.group = validator.group = group
        validator.has_reals = False
        values = validator.run(always)
        assert len(validator.metrics[1].reals) == (3 if group.is_main else 0)
        return [values[name] for name in sorted(values)]
    validator.kept = {}
    first, second = in_processes(2, work)
    assert first == second == [one[name] for name in sorted(one)]


# ---- which metrics, and mistakes

def test_metrics_that_suit_the_data(monkeypatch):
    here = {'l1', 'psnr', 'ssim', 'kid_effnet', 'diversity'}
    monkeypatch.setattr(metrics, 'is_available', lambda name, weights: name in here)
    assert choose('auto', True, False)[0] == ['l1', 'psnr', 'ssim']
    assert choose('auto', False, False)[0] == ['kid_effnet']
    assert choose('auto', False, True)[0] == ['kid_effnet', 'diversity']
    here.add('kid')
    assert choose('auto', False, False)[0] == ['kid']
    here.clear()
    names, why = choose('auto', False, False)
    assert names == [] and 'pip install' in why
    assert choose('none', True, False)[0] == []
    for asked, paired, styled in (('l1', False, False), ('diversity', True, False)):
        with pytest.raises(UserError, match='drop it'):
            choose(asked, paired, styled)


def test_epochs_between_validations():
    assert epochs_between('auto', 100, 400) == 3 and epochs_between('auto', 3, 400) == 1
    assert epochs_between(5, 100, 400) == 5 and epochs_between(0, 100, 400) == 0


@pytest.mark.parametrize('words', [
    ['--val_metrics', 'psnrr'], ['--val_metrics', 'l1,fcn_labels'], ['--val_metrics', 'l1', '--best_metric', 'psnr'],
    ['--best_metric', 'nothing'], ['--val_metrics', 'none', '--early_stop', '3'],
    ['--val_epoch_freq', '0', '--best_metric', 'l1'], ['--plateau_metric']])
def test_mistakes_are_one_sentence(words, aligned_root, train_options):
    with pytest.raises(UserError) as error:
        train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', *words)
    assert len(error.value.args) == 1 and words[0 if words[0] != '--val_metrics' else -2] in str(error.value)


@pytest.mark.sample(1)
@pytest.mark.parametrize('words', [['--early_stop', 2], ['--best_metric', 'psnr'], ['--val_metrics', 'l1']])
def test_without_validation_images_there_are_no_metrics(words, aligned_root, train_options, build_model):
    def create(*more):
        opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', *more)
        test_opt = ValidationOptions(opt).parse()
        training = create_dataset(opt)
        return create_validation(opt, test_opt, trainer_of(build_model(opt)), held_out(test_opt, training), 5)
    validation = create()
    assert not validation.due(Progress(epoch=2)) and '--val_fraction' in validation.lines[0]
    with pytest.raises(UserError, match=f'{words[0]} .*--val_fraction'):
        create(*words)
    with pytest.raises(UserError, match='^--plateau_metric needs'):      # as it is typed, without a value
        create('--lr_policy', 'plateau', '--plateau_metric')
    with pytest.raises(UserError, match='--val_phase nowhere .*nowhereA'):
        create('--val_phase', 'nowhere')
    assert create(*words, '--val_phase', 'test').due(Progress(epoch=11, last_epoch=10))
    assert create(*words, '--val_fraction', 0.4).validator.size == 2
    with pytest.raises(UserError, match='--best_metric fid'):
        create('--val_phase', 'test', '--best_metric', 'fid')


def test_folders_and_lists_of_the_training_are_not_held_out(train_options, aligned_root):
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', '--val_phase', 'train')
    assert 'training images' in held_out(ValidationOptions(opt).parse(), create_dataset(opt))


@pytest.mark.parametrize('training, test, seen', [
    ([], [], 0), ([], ['--dataroot', 'ROOT', '--phase', 'train'], 0),
    (['--val_fraction', '0.4'], ['--phase', 'val'], 0),
    (['--folder_A', 'ROOT/trainA', '--folder_B', 'ROOT/trainB'], [], 10),
    ([], ['--dataroot', 'ROOT', '--folder_A', 'ROOT/trainA', '--folder_B', 'ROOT/testB'], 5),
    ([], ['--dataroot', 'ROOT/trainA', '--model', 'test'], 5), ([], ['--dataroot', 'ROOT/testA', '--model', 'test'], 0),
    (['--list_A', 'ROOT/two.txt', '--list_B', 'ROOT/two.txt'], [], 2),
    (['--list_A', 'ROOT/two.txt', '--list_B', 'ROOT/two.txt'], ['--dataroot', 'ROOT/trainB', '--model', 'test'], 0),
    (['--list_A', 'ROOT/two.txt', '--list_B', 'ROOT/two.txt'], ['--dataroot', 'ROOT/link', '--model', 'test'], 2)])
def test_a_test_says_which_images_the_networks_were_trained_on(training, test, seen, unaligned_root, train_options,
                                                               monkeypatch):
    root = unaligned_root
    (root / 'two.txt').write_text('trainA/0.png\ntrainA/1.png\n')
    (root / 'link').symlink_to(root / 'trainA')
    training, test = ([word.replace('ROOT', str(root)) for word in words] for words in (training, test))
    opt = train_options('--dataroot', root, *training)
    dataset = create_dataset(ValidationOptions(opt).parse(['--phase', 'test', *test]))
    count = [int(line.split()[0]) for line in dataset.notes() if 'those of the training' in line]
    assert count == ([seen] if seen else [])


# ---- the best

def test_the_best_of_a_metric():
    best = Best('psnr', 'higher', patience=2)
    steps = [(1.0, True, 0), (float('nan'), False, 1), (2.0, True, 0), (2.0, False, 1), (float('inf'), False, 2)]
    for epoch, (value, improved, stale) in enumerate(steps, 1):
        assert not best.exhausted
        assert (best.add({'psnr': value}, epoch, 10 * epoch), best.stale) == (improved, stale)
    assert best.exhausted and best.record == Record('psnr', 2.0, 3, 30)
    other = Best('psnr', 'higher')
    other.load_state_dict(json.loads(json.dumps(best.state_dict())))
    assert (other.record, other.stale) == (best.record, best.stale)
    assert Best('kid', 'lower').add({}, 1, 1) is False      # nothing was measured


def test_labels_after_an_epoch():
    policy = SavePolicy(epoch_freq=2)
    assert policy.labels_after_epoch(1, False, False) == []
    assert policy.labels_after_epoch(1, False, True) == ['latest', 'best']
    assert policy.labels_after_epoch(2, False, True) == ['latest', '2', 'best']
    assert policy.labels_after_epoch(3, True, False) == ['latest', '3']


def test_plateau_follows_values_of_any_sign():
    """More than 5 without an improvement by 1 % of the size of the best lower the rate."""
    for values in ([-10.0] + [-10.05] * 6, [10.0] + [9.95] * 6, [0.0] * 7):
        plateau = Plateau()
        for value in values:
            assert plateau.multiplier == 1
            plateau.update(value)
        assert plateau.multiplier == pytest.approx(0.2)
    plateau = Plateau()
    for step in range(20):
        plateau.update(-10.0 - step)
    assert plateau.multiplier == 1


# ---- runs of train.py

@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """here('train', 'name', ...) runs a program in this process: (exit code, lines of stdout, lines of stderr)."""
    add_val(draw_root(tmp_path / 'images', ('',), (80, 40)), size=(80, 40))
    place = ['--checkpoints_dir', str(tmp_path / 'runs'), '--gpu_ids', '-1']

    def call(program, name: str, *words):
        capfd.readouterr()
        extra = ['--results_dir', str(tmp_path / 'results')] if program is test_program else []
        code = run(program.main, [*place, '--name', name, *extra, *map(str, words)])
        streams = capfd.readouterr()
        return code, streams.out.splitlines(), streams.err.splitlines()
    return call


def words_of(tmp_path, *more) -> list:
    """3 epochs of 4 steps; validation by L1, which improves after epoch 1, and then as the weights happen to be."""
    return [*tiny_runs.MODELS['pix2pix'], *tiny_runs.SHARED, '--dataroot', tmp_path / 'images', '--n_epochs', 3,
            '--n_epochs_decay', 0, '--val_epoch_freq', 1, '--val_metrics', 'l1', '--lr', 0.002, *more]


def metric_lines(folder) -> list[dict]:
    records = [json.loads(line) for line in (folder / 'losses.jsonl').read_text(encoding='utf-8').splitlines()]
    return [record for record in records if 'metrics' in record]


def without_validation(folder, label='latest') -> dict:
    return {key: value for key, value in states.checkpoint_state(folder, label).items() if '/validation' not in key}


def test_a_run_with_validation(here, tmp_path):
    """The weights are those of a run without; `best` is the best epoch, and test.py has the same number."""
    words = words_of(tmp_path, '--ema', 0.9, '--direction', 'BtoA', '--keep_last', 1, '--save_epoch_freq', 1)
    code, out, err = here(train_program, 'with', *words)
    assert (code, err) == (0, [])
    folder = tmp_path / 'runs' / 'with'
    lines = metric_lines(folder)
    assert [line['epoch'] for line in lines] == [1, 2, 3] and lines[0]['best']
    best = min(lines, key=lambda line: line['metrics']['l1'])
    assert layout.labels(folder).keys() == {'latest', '3', 'best'}      # --keep_last does not count it
    assert read_manifest(folder, 'best').progress['total_iters'] == best['total_iters']
    assert not layout.training_path(folder, 'best').exists()
    assert any(line.startswith(f'best: epoch {best["epoch"]}') and '--epoch best' in line for line in out)
    code, _, err = here(test_program, 'with', '--phase', 'val', '--epoch', 'best')
    results = json.loads((tmp_path / 'results' / 'with' / 'val_best' / 'results.json').read_text(encoding='utf-8'))
    assert code == 0 and results['mean_metrics']['L1'] == pytest.approx(best['metrics']['l1'], abs=1e-6)
    assert here(train_program, 'without', *words, '--val_metrics', 'none')[0] == 0
    assert states.differences(without_validation(tmp_path / 'runs' / 'without'), without_validation(folder)) == []
    start = ['--init_from', 'with', '--init_epoch', 'best', '--n_epochs', 1]
    code, out, err = here(train_program, 'other', *words, *start)
    assert (code, err) == (0, []) and any('best_net_G.pth' in line for line in out)
    assert next(iter(read_run(folder)))['losses']       # readers of losses skip the lines of metrics


def test_a_run_stopped_within_and_between_validations(here, tmp_path, monkeypatch):
    """It ends bit-equal to an unbroken one: weights, logs, best."""
    words = words_of(tmp_path, '--lr_policy', 'plateau', '--plateau_metric')
    assert here(train_program, 'unbroken', *words)[0] == 0
    original, calls = Session.may_continue, []

    def stopping(session):
        calls.append(session)
        if len(calls) == 5:     # in the second validation, which has 3 images
            os.kill(os.getpid(), signal.SIGTERM)
        return original(session)
    monkeypatch.setattr(Session, 'may_continue', stopping)
    code, out, _ = here(train_program, 'stopped', *words)
    assert code == 143 and len(calls) == 5
    code, out, err = here(train_program, 'stopped', '--continue_train')
    assert (code, err) == (0, []) and len(calls) == 5 + 2 * 3
    unbroken, stopped = (states.everything(tmp_path / 'runs' / name) for name in ('unbroken', 'stopped'))
    assert states.differences(unbroken, stopped) == []


def test_early_stopping_and_raising_it(here, tmp_path):
    """Without learning nothing improves. A run that stopped early can be continued."""
    words = words_of(tmp_path, '--lr', 1e-30, '--n_epochs', 9, '--early_stop', 2)
    code, out, err = here(train_program, 'run', *words)
    assert (code, err) == (0, []) and any('--early_stop' in line for line in out)
    folder = tmp_path / 'runs' / 'run'
    assert read_manifest(folder, 'latest').progress['epoch'] == 4 and '3' in layout.labels(folder)
    code, out, _ = here(train_program, 'run', '--continue_train')
    assert code == 0 and '--early_stop' in out[-1]
    code, out, _ = here(train_program, 'run', '--continue_train', '--early_stop', 3, '--n_epochs', 5)
    assert code == 0 and read_manifest(folder, 'latest').progress['epoch'] == 5
    assert read_manifest(folder, 'best').progress['epoch'] == 2


def test_an_earlier_best_is_kept_if_it_cannot_be_compared(here, tmp_path):
    assert here(train_program, 'run', *words_of(tmp_path))[0] == 0
    folder = tmp_path / 'runs' / 'run'
    before = states.checkpoint_state(folder, 'best')
    code, _, err = here(train_program, 'run', '--continue_train', '--n_epochs', 4, '--val_metrics', 'psnr')
    assert (code, err) == (0, [])
    assert states.checkpoint_state(folder, 'best.1') == before and damage.find_problems(folder, 'best.1') == []
    assert saved_record(folder).metric == 'psnr'
    assert here(train_program, 'run', '--continue_train', '--n_epochs', 5)[0] == 0
    assert 'best.2' not in layout.labels(folder)


def test_the_best_cannot_be_saved(runs):
    """Training continues; the best is the one on the disk."""
    rule = dict(thread='saving', op='write', path='best_net_D', after=3, times=1, action='ENOSPC')
    words = ['--val_phase', 'test', '--val_epoch_freq', 1, '--val_metrics', 'l1', '--lr', 1e-30]
    done = runs.begin('pix2pix', 'run', *words, rules=[rule])
    assert done.code == 0 and 'only latest was saved' in done.err
    folder = runs.folder / 'run'
    assert damage.find_problems(folder, 'best') == [] and saved_record(folder).epoch == 2
    assert [line['best'] for line in metric_lines(folder)] == [True, True, False]
