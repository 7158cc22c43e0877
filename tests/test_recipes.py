"""scripts/recipes.py: command lines of the ablations, and what is said about their order."""
import json

import pytest
from conftest import ROOT
from test_evaluate import load

from options import TrainOptions
from util.cli import run

recipes = load(ROOT / 'scripts' / 'recipes.py')


def dataset(tmp_path):
    (tmp_path / 'data' / 'test').mkdir(parents=True)
    return tmp_path / 'data'


@pytest.mark.parametrize('name', recipes.TABLES)
def test_every_row_is_a_valid_command_line(name, tmp_path):
    """All options exist, and each row has the values of the paper for each score."""
    opt = recipes.parse([name, '--dataroot', str(dataset(tmp_path)), '--size', '128', '--palette', 'facades'])
    table = recipes.TABLES[name]
    for row in table.rows:
        assert len(row.paper) == len(table.paper_scores) and table.main in table.paper_scores
        words = recipes.train_words(opt, table, row, 3, 'run')
        (tmp_path / 'data' / 'train').mkdir(exist_ok=True)
        found = TrainOptions().parse([*words[1:], '--gpu_ids', '-1', '--dry_run'])
        assert found.seed == 3 and found.crop_size == 128 and found.direction == table.direction


def scripted(monkeypatch, tmp_path, values):
    """Runs `losses` with the scores {row: [of each seed]} in place of training."""
    calls = []
    monkeypatch.setattr(recipes, 'call', lambda words, log: calls.append(words[0]))

    def scores(opt, table, folder):
        row, seed = folder.parent.name.rsplit('_', 1)
        return {'iou': values[row][int(seed)]}
    monkeypatch.setattr(recipes, 'scores_of', scores)
    words = ['losses', '--dataroot', str(dataset(tmp_path)), '--out', str(tmp_path / 'out'), '--seeds', '0,1']
    return calls, lambda: run(recipes.main, words)


def test_the_table_and_its_order(monkeypatch, tmp_path):
    values = {'L1': [0.5, 0.52], 'GAN': [0.1, 0.12], 'cGAN': [0.3, 0.3], 'L1_GAN': [0.58, 0.62],
              'L1_cGAN': [0.59, 0.62]}
    calls, start = scripted(monkeypatch, tmp_path, values)
    assert start() == 0 and calls.count('train.py') == 10
    text = (tmp_path / 'out' / 'table.md').read_text(encoding='utf-8')
    assert '| L1 | 0.51 ± 0.014 | 0.42 | 0.15 | 0.11 |' in text
    assert '7 of 10 pairs' in text and 'opposite order: L1 and cGAN; cGAN and L1+GAN.' in text
    assert 'spread over the seeds: L1+GAN and L1+cGAN.' in text
    found = json.loads((tmp_path / 'out' / 'table.json').read_text(encoding='utf-8'))
    assert found['scores']['GAN'][1] == {'iou': 0.12}
    assert start() == 0 and calls.count('train.py') == 10       # what is finished is kept


def test_large_patches_need_large_images():
    opt = type('Options', (), dict(dataroot=ROOT, size=64, epochs=1, batch_size=1, ngf=1, seeds=[0]))
    table = recipes.TABLES['patches']
    rows = list(table.rows[:3])
    means = {row.name: {'iou': (index / 10, 0.0)} for index, row in enumerate(rows)}
    assert '286x286: needs images of 128 px' in recipes.markdown(opt, table, rows, means)


def test_mistakes_are_found_together(tmp_path, capfd):
    assert run(recipes.main, ['labels', '--dataroot', str(tmp_path), '--size', '65', '--seeds', 'a']) == 2
    assert len(capfd.readouterr().err.splitlines()) == 4
