"""The four stages of the quickstart with real programs and tiny networks: draw, train, test, score."""
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'scripts'))

import quickstart


@pytest.fixture(scope='module')
def stages(tmp_path_factory, python):
    """Exit codes and outputs of the four commands, with fewer images, thinner networks and one epoch."""
    folder = tmp_path_factory.mktemp('quickstart')
    smaller = {'--n_train': '8', '--n_test': '3', '--ngf': '4', '--ndf': '4', '--n_epochs': '1',
               '--n_epochs_decay': '0'}
    places = {quickstart.DEMO: str(folder / 'demo'), quickstart.RESULTS: str(folder / 'results/quickstart/test_latest')}
    runs = []
    for command in (quickstart.DRAW, quickstart.TRAIN, quickstart.TEST, quickstart.SCORE):
        words = [smaller.get(before, word) for before, word in zip(['', *command], command, strict=False)]
        words = [places.get(word, word) for word in words]
        words += ['--checkpoints_dir', str(folder)] if '--name' in words else []
        words += ['--results_dir', str(folder / 'results')] if words[0] == 'test.py' else []
        runs.append(python.run(words, cwd=ROOT))
    return folder, runs


def test_each_stage_ends_with_its_exit_code(stages):
    _, runs = stages
    assert [run.returncode for run in runs] == [0, 0, 0, 1], [run.stderr[-500:] for run in runs]


def test_untrained_results_fail_and_say_why(stages):
    _, runs = stages
    assert 'FAIL' in runs[-1].stdout and 'class_acc' in runs[-1].stdout and 'mean training photo' in runs[-1].stdout


def test_results_have_a_page_and_images(stages):
    folder, _ = stages
    results = folder / 'results' / 'quickstart' / 'test_latest'
    images = json.loads((results / 'results.json').read_text(encoding='utf-8'))['images']
    assert len(images) == 3 and (results / 'index.html').exists()
    assert all((results / file).exists() for image in images for file in image['files'].values())
