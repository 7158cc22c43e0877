"""A run that was stopped, however often and by whatever, ends as the run that was left alone: to the last bit."""
import pytest
import states
import tiny_runs

FREQUENT = ['--save_latest_freq', 3, '--display_freq', 2, '--val_freq', 5]
STOPS = {2: 'SIGTERM', 4: 'SIGINT', 6: 'SIGKILL', 8: 'SIGHUP', 12: 'SIGTERM'}     # an epoch is 4 steps, the run 12
CODES = {'SIGTERM': 143, 'SIGINT': 130, 'SIGHUP': 129, 'SIGKILL': -9}


@pytest.fixture(scope='module')
def unbroken(server, home, tmp_path_factory):
    """unbroken(model, ...) -> all that a run of these options leaves when nothing happens to it; each is made once."""
    runs, ends = tiny_runs.Runs(server, home, tmp_path_factory.mktemp('unbroken')), {}

    def end(model: str, *more) -> dict:
        name = '_'.join([model, *map(str, more)]).replace('-', '')
        if name not in ends:
            done = runs.begin(model, name, *FREQUENT, *more)
            assert (done.code, done.err) == (0, '')
            ends[name] = states.everything(runs.folder / name)
        return ends[name]
    return end


def stopped_and_continued(runs, stops: dict, *words, model: str, more=()) -> dict:
    """All that a run leaves that was stopped after each of these steps, and continued."""
    for count, (step, name) in enumerate(stops.items()):
        signals = dict(signals_at={step: name})
        start = runs.go_on('run', **signals) if count else runs.begin(model, 'run', *words, *more, **signals)
        assert start.code == CODES[name], start.err
        assert start.left == 0 and 'Traceback' not in start.err
    end = runs.go_on('run')     # nothing but the end of the epoch is left to do, or more
    assert (end.code, end.err) == (0, '')
    return states.everything(runs.folder / 'run')


@pytest.mark.parametrize('model', tiny_runs.MODELS)
def test_stopped_by_every_signal(model, runs, unbroken):
    """In the middle and at the end of epochs. All weights, optimizers, pools, random numbers, counters, logs, pages."""
    end = stopped_and_continued(runs, STOPS, *FREQUENT, model=model)
    assert states.differences(unbroken(model), end) == []
    assert len(end['log']) == 2 * 12 and end['pages']
    assert states.leftovers(runs.folder / 'run') == []


def test_stopped_with_workers(runs, unbroken):
    """The number of processes that load images changes nothing: compared with a run that has none."""
    end = stopped_and_continued(runs, {5: 'SIGTERM', 8: 'SIGKILL'}, *FREQUENT, '--num_threads', 2, model='cyclegan')
    assert states.differences(unbroken('cyclegan'), end) == []


@pytest.mark.parametrize('more', [['--ema', 0.9], ['--lr_policy', 'plateau'], ['--batch_size', 3],
                                  ['--lr_policy', 'step', '--lr_step_unit', 'iter', '--lr_decay_iters', 3]],
                         ids=lambda more: more[0])
def test_stopped_with_other_options(more, runs, unbroken):
    batches = '--batch_size' in more    # then an epoch is 2 steps
    end = stopped_and_continued(runs, {1: 'SIGTERM', 4: 'SIGTERM'} if batches else {2: 'SIGTERM', 7: 'SIGTERM'},
                                *FREQUENT, model='pix2pix', more=more)
    assert states.differences(unbroken('pix2pix', *more), end) == []


def test_the_comparison_finds_a_difference(runs, unbroken):
    """One more random number, or one step more, and the states differ: the tests above can fail."""
    assert runs.begin('pix2pix', 'run', *FREQUENT, '--seed', 2).code == 0
    assert states.differences(unbroken('pix2pix'), states.everything(runs.folder / 'run')) != []
