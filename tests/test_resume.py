"""A run that was stopped, however often and by whatever, ends bit-equal to an unbroken run."""
import re
import shutil

import pytest
import states
import tiny_runs

from util.checkpoint import damage, layout
from util.checkpoint.manifest import newest_first, read_manifest

FREQUENT = ['--save_latest_freq', 3, '--display_freq', 2, '--val_freq', 5]
EACH_EPOCH = [*FREQUENT, '--save_epoch_freq', 1]
STOPS = {2: 'SIGTERM', 4: 'SIGINT', 6: 'SIGKILL', 8: 'SIGHUP', 12: 'SIGTERM'}     # an epoch is 4 steps, the run 12
CODES = {'SIGTERM': 143, 'SIGINT': 130, 'SIGHUP': 129, 'SIGKILL': -9}


@pytest.fixture(scope='module')
def unbroken(server, home, tmp_path_factory):
    """unbroken(model, ...) -> the final state of a run of these options without faults; each is made once."""
    runs, ends = tiny_runs.Runs(server, home, tmp_path_factory.mktemp('unbroken')), {}

    def end(model: str, *more) -> dict:
        name = re.sub(r'\W', '', '_'.join([model, *map(str, more)]))[:100]
        if name not in ends:
            done = runs.begin(model, name, *FREQUENT, *more)
            assert (done.code, done.err) == (0, '')
            ends[name] = states.everything(runs.folder / name)
        return ends[name]
    return end


def stopped_and_continued(runs, stops: dict, *words, model: str, more=()) -> dict:
    """The final state of a run that was stopped after each of these steps and resumed."""
    for count, (step, name) in enumerate(stops.items()):
        signals = dict(signals_at={step: name})
        start = runs.resume('run', **signals) if count else runs.begin(model, 'run', *words, *more, **signals)
        assert start.code == CODES[name], start.err
        assert start.left == 0 and 'Traceback' not in start.err
    end = runs.resume('run')     # at least the end of the epoch is left to do
    assert (end.code, end.err) == (0, '')
    return states.everything(runs.folder / 'run')


@pytest.mark.sample(3)
@pytest.mark.parametrize('model', tiny_runs.MODELS)
def test_stopped_by_every_signal(model, runs, unbroken, run_slow):
    """Within and at the end of epochs. Compares weights, optimizers, pools, random numbers, counters, logs, pages."""
    stops = STOPS if model == 'cyclegan' or run_slow else {4: 'SIGINT', 6: 'SIGKILL'}
    end = stopped_and_continued(runs, stops, *FREQUENT, model=model)
    assert states.differences(unbroken(model), end) == []
    assert len(end['log']) == 2 * 12 and end['pages']
    assert states.leftovers(runs.folder / 'run') == []


def test_stopped_with_workers(runs, unbroken):
    """Compared with a run without workers: their number changes nothing."""
    end = stopped_and_continued(runs, {5: 'SIGTERM', 8: 'SIGKILL'}, *FREQUENT, '--num_threads', 2, model='cyclegan')
    assert states.differences(unbroken('cyclegan'), end) == []


OBJECTIVE = ['--n_critic', 2, '--ema', 0.9, '--lr_D', 0.001, '--diffaug', 'color,cutout', '--spectral_norm_D',
             '--gan_mode', 'hinge', '--relativistic']


@pytest.mark.sample(2)
@pytest.mark.parametrize('more', [['--ema', 0.9], ['--lr_policy', 'plateau'], ['--batch_size', 3], OBJECTIVE,
                                  ['--lr_policy', 'step', '--lr_step_unit', 'iter', '--lr_decay_iters', 3]],
                         ids=lambda more: more[0])
def test_stopped_with_other_options(more, runs, unbroken):
    batches = '--batch_size' in more    # then an epoch is 2 steps
    end = stopped_and_continued(runs, {1: 'SIGTERM', 4: 'SIGTERM'} if batches else {2: 'SIGTERM', 7: 'SIGTERM'},
                                *FREQUENT, model='pix2pix', more=more)
    assert states.differences(unbroken('pix2pix', *more), end) == []


def killed_after_going_back(runs, **faults) -> dict:
    """The final state of a run stopped at step 10, resumed from the end of epoch 1, killed, and resumed."""
    shutil.rmtree(runs.folder, ignore_errors=True)
    assert runs.begin('pix2pix', 'run', *EACH_EPOCH, signals_at={10: 'SIGTERM'}).code == CODES['SIGTERM']
    assert runs.resume('run', '--epoch', 1, **faults).code == CODES['SIGKILL']
    done = runs.resume('run')
    assert (done.code, done.err) == (0, '')
    return states.everything(runs.folder / 'run')


def test_killed_after_going_back(runs, unbroken):
    """It resumes on the new path; the old `latest` is kept; no log line is lost or duplicated."""
    end = killed_after_going_back(runs, signals_at={5: 'SIGKILL'})
    assert states.position(runs.folder / 'run', 'iter_10') == (3, 10)
    assert end['labels'].pop('iter_10')
    assert states.differences(unbroken('pix2pix', *EACH_EPOCH), end) == []


def test_a_finished_run_that_goes_back_keeps_its_result(runs):
    """Its epochs are trained again under their labels, and the previous `latest` is kept under another one."""
    runs.begin('pix2pix', 'run', *EACH_EPOCH, '--n_epochs', 3, '--n_epochs_decay', 0)

    def whole(label):
        return states.checkpoint_state(runs.folder / 'run', label)

    trained = whole('latest')
    done = runs.resume('run', '--epoch', 1, '--n_epochs', 3, '--lambda_L1', 1)
    assert 'iter_12' in done.out
    assert len(newest_first(runs.folder / 'run')) > layout.FULL_STATES + 1
    assert states.differences(whole('iter_12'), trained) == []      # complete, so that it can be resumed
    assert states.differences(whole('3'), trained) != []


def test_killed_while_going_back(runs, unbroken, run_slow):
    """At any storage operation: the run is either still on the old path, with all log lines, or on the new one."""
    kept = set()
    for number in range(0, 36, 5) if run_slow else (15, 35):
        end = killed_after_going_back(runs, rules=[dict(thread='MainThread', after=number, action='kill')])
        kept.add(bool(end['labels'].pop('iter_10', None)))
        assert states.differences(unbroken('pix2pix', *EACH_EPOCH), end) == [], number
    assert kept == {True, False}


def test_killed_while_old_training_files_are_dropped(runs):
    """At no storage operation does a checkpoint look damaged."""
    few = dict(values_of={'util.checkpoint.layout.FULL_STATES': 1})
    words = [*EACH_EPOCH, '--save_latest_freq', 0, '--n_epochs_decay', 0]
    done = runs.begin('pix2pix', 'run', *words, **few)
    ours = [(op, path) for thread, op, path in done.operations if thread == 'saving']
    points = [number for number, (_, path) in enumerate(ours) if path.startswith('.1_') or path == '1_training.pth']
    assert ours[points[-1]] == ('remove', '1_training.pth') and len(points) > 3
    lists = set()
    for number in points:
        shutil.rmtree(runs.folder, ignore_errors=True)
        rule = dict(thread='saving', after=number, action='kill')       # at the end of epoch 2
        assert runs.begin('pix2pix', 'run', *words, rules=[rule], **few).code == CODES['SIGKILL']
        folder = runs.folder / 'run'
        assert [damage.find_problems(folder, label) for label in ('latest', '2', '1')] == [[], [], []], number
        lists.add('1_training.pth' in read_manifest(folder, '1').files)
    assert lists == {True, False}


def test_the_comparison_finds_a_difference(runs, unbroken):
    """With another seed the states differ: the tests above can fail."""
    assert runs.begin('pix2pix', 'run', *FREQUENT, '--seed', 2).code == 0
    assert states.differences(unbroken('pix2pix'), states.everything(runs.folder / 'run')) != []
