"""scripts/runs.py, and metrics in scripts/plot_losses.py."""
import csv
import json
import os
import re
import subprocess
import sys

import pytest
from browser import Browser
from conftest import ROOT
from PIL import Image
from test_evaluate import load

from models.training.progress import Progress
from util.cli import run
from util.monitors.live_page.page import LivePage

runs = load(ROOT / 'scripts' / 'runs.py')
plot = load(ROOT / 'scripts' / 'plot_losses.py')


@pytest.fixture
def home(tmp_path):
    """Two runs, one with validations and a test."""
    for name, psnr in (('first', (12.0, 14.0, 13.0)), ('second', ())):
        folder = tmp_path / 'checkpoints' / name
        folder.mkdir(parents=True)
        (folder / 'train_opt.txt').write_text(
            'Options\n    model: pix2pix     \t[default: cyclegan]\n   dataroot: /data/facades \t[default: None]\n'
            '  lr: 0.001  \t[default: 0.0002]\n  beta1: 0.5 \n n_epochs: 3\n n_epochs_decay: 0\n', encoding='utf-8')
        lines = [json.dumps(dict(epoch=epoch, iters=10, total_iters=10 * epoch, images_per_s=2.0, losses={'G': 1.0}))
                 for epoch in (1, 2, 3)]
        lines += [json.dumps(dict(epoch=epoch, iters=10, total_iters=10 * epoch, metrics={'psnr': value, 'psnr_se': 1}))
                  for epoch, value in enumerate(psnr, 1)]
        (folder / 'losses.jsonl').write_text('\n'.join([*lines, '{"epoch": 4, "lo']), encoding='utf-8')
    results = tmp_path / 'results' / 'first' / 'test_latest'
    results.mkdir(parents=True)
    (results / 'results.json').write_text(json.dumps(dict(mean_metrics={'PSNR': 15.5})), encoding='utf-8')
    return tmp_path


def call(home, *words):
    return run(runs.main, ['--checkpoints_dir', str(home / 'checkpoints'), '--results_dir', str(home / 'results'),
                           *map(str, words)])


def test_the_page_of_the_training_is_linked(tmp_path):
    progress = Progress()
    monitor = LivePage(tmp_path / 'run', 'run', [], 10, progress)
    monitor.open(progress)
    page = runs.describe(tmp_path / 'run', tmp_path / 'results')['pages']['training']
    assert 'Experiment name = run' in page.read_text(encoding='utf-8')


def test_runs_with_their_best_values(home):
    assert call(home, '--csv', home / 'runs.csv', '--html', home / 'runs.html') == 0
    first, second = csv.DictReader((home / 'runs.csv').open(encoding='utf-8'))
    assert (first['model'], first['data'], first['epochs'], first['images']) == ('pix2pix', 'facades', '3 of 3', '30')
    assert first['best'] == 'psnr 14 (epoch 2)' and second['best'] == ''
    assert 'PSNR 15.5' in first['tested'] and first['options'] == '--lr 0.001'
    assert runs.seconds_of(runs.read_log(home / 'checkpoints' / 'first')) == 15
    assert 'results/first/test_latest/index.html' in (home / 'runs.html').read_text(encoding='utf-8')
    assert call(home, '--csv', home / 'runs.csv', '--html', home / 'runs.html') == 0       # our own are replaced


@pytest.mark.parametrize('flag', ['--csv', '--html'])
def test_files_of_others_are_kept(home, flag):
    (home / 'mine').write_text('mine', encoding='utf-8')
    assert call(home, flag, home / 'mine') == 2 and (home / 'mine').read_text(encoding='utf-8') == 'mine'


def test_no_runs_is_one_sentence(tmp_path, capfd):
    assert call(tmp_path) == 2 and len(capfd.readouterr().err.splitlines()) == 1


def test_metrics_are_drawn_below_the_losses(home):
    words = ['--checkpoints_dir', str(home / 'checkpoints'), '--out', str(home / 'plot.png')]
    for names, panels in ((['second'], 1), (['first', 'second'], 2)):
        assert run(plot.main, [*names, *words]) == 0
        with Image.open(home / 'plot.png') as image:
            assert image.size == (1200, 700 * panels)
    path = home / 'checkpoints' / 'first' / 'losses.jsonl'
    assert plot.read_metrics(path) == {'psnr': [(10, 12.0, 1), (20, 14.0, 2), (30, 13.0, 3)]}


def test_metrics_are_drawn_on_the_page_of_losses(home, tmp_path):
    """A panel for each metric, with the values of the log."""
    page = home / 'plot.html'
    assert run(plot.main, ['first', 'second', '--checkpoints_dir', str(home / 'checkpoints'), '--html', str(page)]) == 0
    with Browser(tmp_path) as browser:
        browser.open(page)
        browser.wait('document.querySelectorAll(".chart canvas").length === 2')
        assert browser.eval('document.querySelector("h2").textContent') == 'Metrics: psnr (dB)'
        assert browser.errors == []
    data = re.search(r'^curvesPage\((.*)\);$', page.read_text(encoding='utf-8'), re.MULTILINE)[1]
    panel, = json.loads(data)['metrics']
    assert [(one['label'], one['y']) for one in panel['series']] == [('first: psnr', [12.0, 14.0, 13.0])]


@pytest.mark.parametrize('line', [
    'null', '[1]', '"x"', '{"epoch": "4"}', '{"epoch": null}', '{"epoch": 3, "total_iters": "many"}',
    '{"epoch": 3, "total_iters": 30, "images_per_s": "fast"}', '{"epoch": 3, "total_iters": 30, "images_per_s": -1}',
    '{"epoch": 3, "metrics": [1]}', '{"epoch": 3, "metrics": {"psnr": "good"}}',
    '{"epoch": 3, "total_iters": Infinity}'])
def test_lines_that_another_program_wrote(home, line):
    log = home / 'checkpoints' / 'first' / 'losses.jsonl'
    expected = runs.describe(log.parent, home / 'results')
    log.write_text(log.read_text(encoding='utf-8') + f'\n{line}\n', encoding='utf-8')
    assert runs.describe(log.parent, home / 'results') == expected


@pytest.mark.parametrize('means', [[1], 'PSNR', {'PSNR': 'good'}])
def test_results_that_another_program_wrote(home, means):
    (home / 'results' / 'first' / 'test_latest' / 'results.json').write_text(json.dumps(dict(mean_metrics=means)))
    assert call(home) == 0 and runs.describe(home / 'checkpoints' / 'first', home / 'results')['tested'] == ''


def test_options_of_all_starts_of_a_run(tmp_path):
    """The last start of a run tells only what it changed."""
    for name, lines in (('train_opt.txt.1', ['ngf: 4 \t[default: 64]', 'n_epochs: 5 \t[default: 100]']),
                        ('train_opt.txt', ['ngf: 4', 'n_epochs: 6 \t[default: 5]', 'lr: 0.0002'])):
        (tmp_path / name).write_text('\n'.join(lines), encoding='utf-8')
    values, changed = runs.read_options(tmp_path)
    assert values == {'ngf': '4', 'n_epochs': '6', 'lr': '0.0002'} and changed == {'ngf': '4', 'n_epochs': '6'}


@pytest.mark.parametrize('text, words', [
    ("['my photos', 'b']", "--folder_A 'my photos' b"), ('True', '--folder_A'), ('0.5', '--folder_A 0.5'),
    ('0,1', '--folder_A 0,1'), ('a b', "--folder_A 'a b'"), ('False', '--folder_A False')])
def test_options_can_be_pasted_into_a_shell(text, words):
    assert runs.as_words('folder_A', text) == words


def test_a_reader_that_is_gone_ends_the_program_quietly(home):
    command = f'{sys.executable} {ROOT / "scripts" / "runs.py"} --checkpoints_dir {home / "checkpoints"}'
    done = subprocess.run(['bash', '-c', f'{command} | true; echo ${{PIPESTATUS[0]}}'], capture_output=True, text=True)
    assert done.stdout.strip() in ('141', '0') and not done.stderr


def test_logs_that_are_damaged_or_have_names_of_any_bytes(home):
    """They are listed, and do not keep others from being read."""
    lines = ['{"epoch": ' + '9' * 400 + ', "total_iters": 3, "losses": {"G": 1}}', '[' * 50_000,
             '{"epoch": 1e999, "total_iters": 2, "losses": {}, "metrics": {"psnr": 3}}',
             '{"epoch": 1, "total_iters": 3, "images_per_s": 1e-300, "losses": {"G": 1}}']
    name = os.fsdecode(b'\xff#')
    (home / 'checkpoints' / name).mkdir()
    (home / 'checkpoints' / name / 'losses.jsonl').write_text('\n'.join(lines), encoding='utf-8')
    (home / 'checkpoints' / name / 'train_opt.txt').write_text('  n_epochs: ²\n', encoding='utf-8')
    (home / 'results' / name / 'test_1').mkdir(parents=True)
    (home / 'results' / name / 'test_1' / 'results.json').write_text('{}', encoding='utf-8')
    assert call(home, '--csv', home / 'runs.csv', '--html', home / 'runs.html') == 0
    *_, last = csv.DictReader((home / 'runs.csv').open(encoding='utf-8'))
    assert (last['name'], last['epochs'], last['time']) == ('\ufffd#', '1', '0 s')
    assert 'results/%FF%23/test_1/index.html' in (home / 'runs.html').read_text(encoding='utf-8')
    words = ['--checkpoints_dir', str(home / 'checkpoints'), '--out', str(home / 'x'), '--html', str(home / 'x.html')]
    assert run(plot.main, [name, 'first', *words]) == 0 and run(plot.main, ['nothing', *words]) == 2
