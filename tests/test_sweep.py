"""scripts/sweep.py: trials become runs of train.py, judged by their best metric. Needs Optuna."""
import argparse
import json
import sys

import pytest
from conftest import ROOT

from util.cli import run

sys.path.insert(0, str(ROOT / 'scripts'))

import sweep


@pytest.mark.parametrize(('text', 'values'), [
    ('lr=0.0001:0.001:log', (1e-4, 1e-3, True)), ('--ngf=16:64', (16, 64, False)),
    ('lambda_L1=1:2.5', (1.0, 2.5, False)),
    ('gan_mode=lsgan,hinge', ['lsgan', 'hinge']), ('spectral_norm_D=True,False', ['True', 'False'])])
def test_what_is_searched(text, values):
    name, found = sweep.searched(text)
    assert found == values and name == text.lstrip('-').partition('=')[0]


@pytest.mark.parametrize('text', ['lr', 'lr=', 'lr=1:x', 'lr=2:1', 'lr=0:1:log', 'lr=1:2:linear'])
def test_what_cannot_be_searched(text):
    with pytest.raises(argparse.ArgumentTypeError):
        sweep.searched(text)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A sweep whose runs have the metric lr * 100 in two epochs, and exit codes of a list; and the commands so far."""
    commands, codes = [], []

    def call(words, cwd):
        commands.append(words[2:])
        chosen = dict(zip(words, words[1:], strict=False))
        folder = tmp_path / chosen['--name']
        folder.mkdir(exist_ok=True)
        metric = 'psnr' if '--psnr' in words else 'l1'
        values = [100 * float(chosen['--lr']), 100 * float(chosen['--lr']) + 5, None]
        (folder / 'losses.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in [
            {'losses': {'G': 1}}, *({'metrics': {metric: value}, 'best_metric': metric} for value in values)]))
        return codes.pop(0) if codes else 0
    monkeypatch.setattr(sweep.subprocess, 'call', call)

    def start(*words, search=('lr=0.1:0.9',), trials=4):
        ours = ['it', *(word for one in search for word in ('--search', one)), '--trials', str(trials)]
        return run(sweep.main, [*ours, '--', '--checkpoints_dir', str(tmp_path), *words])
    return start, commands, codes


def test_trials_are_runs_and_the_best_is_named(trained, capsys):
    pytest.importorskip('optuna')
    start, commands, _ = trained
    assert start('--dataroot', 'x') == 0
    assert [dict(zip(words, words[1:], strict=False))['--name'] for words in commands] == [f'it_{i}' for i in range(4)]
    rates = [float(words[words.index('--lr') + 1]) for words in commands]
    assert len(set(rates)) == 4 and all(0.1 <= rate <= 0.9 for rate in rates)
    best = rates.index(min(rates))
    assert f'best: it_{best} with l1 {100 * min(rates):.5g}' in capsys.readouterr().out
    assert start('--dataroot', 'x', trials=1) == 0      # goes on with the next number
    assert commands[-1][commands[-1].index('--name') + 1] == 'it_4'


def test_the_largest_psnr_is_best(trained, capsys):
    pytest.importorskip('optuna')
    start, commands, _ = trained
    assert start('--psnr') == 0
    rates = [float(words[words.index('--lr') + 1]) for words in commands]
    assert f'with psnr {100 * max(rates) + 5:.5g}' in capsys.readouterr().out


def test_a_stopped_trial_is_finished_first_and_a_failed_one_is_left(trained):
    pytest.importorskip('optuna')
    start, commands, codes = trained
    codes += [143]
    assert start() == 2
    codes += [0, 5, 0]      # it_0 again, it_1 fails, it_2
    assert start(trials=2) == 0
    names = [words[words.index('--name') + 1] for words in commands]
    assert names == ['it_0', 'it_0', 'it_1', 'it_2'] and commands[0] == commands[1]
    codes += [2]
    assert start() == 2


@pytest.mark.parametrize('words', [['it'], ['it', '--search', 'lr=1:2'], ['it', '--', '--dataroot', 'x'],
                                   ['it', '--search', 'lr=1:2', '--', '--lr', '3'],
                                   ['it', '--search', 'lr=1:2', '--', '--name=x'],
                                   ['it', '--search', 'lr=1:2', '--trials', '0', '--', '--dataroot', 'x']])
def test_mistakes(words):
    assert run(sweep.main, words) == 2
