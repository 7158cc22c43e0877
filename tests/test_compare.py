"""scripts/compare.py: several results of the same images on one page."""
import errno
import json
import re
from pathlib import Path

import browser
import pytest
from conftest import ROOT
from test_evaluate import evaluate, load, picture, results, save

from util.cli import run

compare = load(ROOT / 'scripts' / 'compare.py')
VISUALS = ('real_A', 'fake_B', 'real_B')


def call(*words):
    return run(compare.main, [str(word) for word in words])


def with_scores(folder, psnr, **facts):
    """Add metrics of each image, and their means, to a results folder."""
    path = folder / 'results.json'
    content = {**json.loads(path.read_text(encoding='utf-8')), **facts}
    for image, value in zip(content['images'], psnr, strict=True):
        image['metrics'] = {'PSNR': value}
    content['mean_metrics'] = {'PSNR': sum(psnr) / len(psnr)}
    path.write_text(json.dumps(content), encoding='utf-8')
    return folder


def two_runs(folder, first=(10, 20, 30), last=(12, 14, 33)):
    for name, psnr in (('old', first), ('new', last)):
        with_scores(results(folder / 'results' / name / 'test_latest', VISUALS, n=3, target=('fake_B', 'real_B')), psnr,
                    name=name)
    return folder


def summary(out):
    text = (out / 'results.js').read_text(encoding='utf-8')
    return json.loads(re.fullmatch(r'pixmorph\.summary\((.*)\);\n', text)[1])


def rows(out):
    text = (out / 'data' / '0001.js').read_text(encoding='utf-8')
    return json.loads(re.fullmatch(r'pixmorph\.results\(1, (\[.*\])\);\n', text, re.DOTALL)[1])


def test_columns_scores_and_gains(tmp_path, monkeypatch):
    monkeypatch.chdir(two_runs(tmp_path))
    assert call('old', 'new', '--out', 'page') == 0
    found, items = summary(tmp_path / 'page'), rows(tmp_path / 'page')
    assert found['labels'] == ['input', 'old', 'new', 'target'] and found['runs'] == ['old', 'new']
    assert [item['metrics']['gain in PSNR'] for item in items] == [2, -6, 3]
    assert items[1]['scores'] == {'old': {'PSNR': 20}, 'new': {'PSNR': 14}}
    for item in items:
        for file in item['files'].values():
            assert (tmp_path / 'page' / file).is_file()
    head, first, second = found['table']['head'], *found['table']['rows']
    assert [cell['text'] for cell in head] == ['run', 'PSNR ↑', 'images', 'epoch']
    assert (first[1]['text'], first[1]['best'], second[1]['best']) == ('20.00', True, False)
    assert 'old' in (tmp_path / 'page' / 'index.html').read_text(encoding='utf-8')


def test_other_inputs_of_the_same_name_are_reported(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(two_runs(tmp_path))
    for name, pixel in (('old', 0), ('new', 0), ('new', 1)):
        file = tmp_path / f'{name}.bin'
        file.write_bytes(bytes([pixel]))
        path = tmp_path / 'results' / name / 'test_latest' / 'results.json'
        content = json.loads(path.read_text(encoding='utf-8'))
        for image in content['images']:
            image['source'] = str(file)
        path.write_text(json.dumps(content), encoding='utf-8')
        assert call('old', 'new', '--out', 'page') == 0
        assert ('different inputs' in capfd.readouterr().err) == (pixel == 1)


def test_lower_is_better_where_it_is(tmp_path, monkeypatch):
    """A metric of scripts/evaluate.py says itself which direction is better."""
    monkeypatch.chdir(two_runs(tmp_path))
    for name, value in (('old', 0.5), ('new', 0.3)):
        entry = dict(value=value, better='lower', low=value - 0.1, high=value + 0.1, protocol='how')
        content = dict(images={'0': {'lpips': value}}, metrics={'lpips': entry})
        (tmp_path / 'results' / name / 'test_latest' / 'metrics.json').write_text(json.dumps(content), encoding='utf-8')
    assert call('old', 'new', '--out', 'page') == 0
    found, items = summary(tmp_path / 'page'), rows(tmp_path / 'page')
    assert items[0]['metrics'] == pytest.approx({'gain in PSNR': 2, 'gain in lpips': 0.2})
    assert [row[2].get('best') for row in found['table']['rows']] == [False, True]
    assert 'how' in found['table']['rows'][0][2]['title']


def test_all_epochs_of_a_run_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for epoch in ('10', '9', 'latest'):
        with_scores(results(tmp_path / 'results' / 'run' / f'test_{epoch}', VISUALS, n=2), (1, 2), name='run')
    assert call('run', '--out', 'page') == 0
    assert summary(tmp_path / 'page')['runs'] == ['test_9', 'test_10', 'test_latest']


def test_a_folder_that_cannot_be_made_is_no_mistake_of_the_program(tmp_path, monkeypatch, capfd):
    """As /proc, or a drive that is not there, answers."""
    monkeypatch.chdir(two_runs(tmp_path))

    def gone(path, *_, **__):
        raise FileNotFoundError(errno.ENOENT, 'No such file or directory', str(path))
    monkeypatch.setattr(Path, 'mkdir', gone)
    assert call('old', 'new', '--out', 'page') == 4
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize('content', ['[]', '{"images": 5}', '{"images": [{}]}', '[' * 50_000, json.dumps(
    dict(images=[dict(stem='0', files={'fake_B': 'x.png'}, metrics={'L1': 'x'})]))], ids=str.__len__)
@pytest.mark.parametrize('name', ['results.json', 'metrics.json'])
def test_damaged_files_are_one_sentence(name, content, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(two_runs(tmp_path))
    folder = tmp_path / 'results' / 'new' / 'test_latest'
    (folder / name).write_text(content, encoding='utf-8')
    assert call('old', 'new') == 2
    assert str(folder) in capfd.readouterr().err
    assert name == 'metrics.json' or run(evaluate.main, [str(folder)]) == 2


def test_inputs_that_some_runs_do_not_have(tmp_path, monkeypatch):
    monkeypatch.chdir(two_runs(tmp_path))
    results(tmp_path / 'results' / 'short' / 'test_latest', VISUALS, n=1)
    assert call('old', 'new', tmp_path / 'results' / 'short' / 'test_latest', '--out', 'page') == 0
    items = rows(tmp_path / 'page')
    assert len(items) == 3 and len(items[0]['files']) == 5 and len(items[2]['files']) == 4


@pytest.mark.parametrize('words, expected', [
    (('old', 'nwe'), 'did you mean new?'), (('old',), 'two or more'), (('old', 'new', '--visual', 'fake_C'), 'fake_B'),
    (('old', 'new', '--out', 'results'), '--out')])
def test_mistakes_are_one_sentence(words, expected, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(two_runs(tmp_path))
    assert call(*words) == 2
    error, = capfd.readouterr().err.splitlines()
    assert expected in error


def test_a_page_is_replaced_but_nothing_else_is(tmp_path, monkeypatch):
    monkeypatch.chdir(two_runs(tmp_path))
    assert call('old', 'new', '--out', 'page') == 0 and call('new', 'old', '--out', 'page') == 0
    assert summary(tmp_path / 'page')['runs'] == ['new', 'old']
    save(tmp_path / 'mine' / 'a.png', picture(0))
    assert call('old', 'new', '--out', 'mine') == 2 and len(list((tmp_path / 'mine').iterdir())) == 1


def test_the_page_in_a_browser(tmp_path, monkeypatch):
    monkeypatch.chdir(two_runs(tmp_path))
    assert call('old', 'new', '--out', 'page') == 0
    with browser.Browser(tmp_path) as page:
        page.open(tmp_path / 'page' / 'index.html')
        page.wait('document.querySelectorAll("#gallery .picture img").length === 12')
        page.eval('document.querySelectorAll("#gallery img").forEach(i => i.loading = "eager")')
        page.wait('[...document.querySelectorAll("#gallery .picture img")].every(i => i.naturalWidth === 10)')
        assert page.eval('document.querySelector(".comparison td b").textContent') == '20.00'
        page.eval('const sort = document.querySelector("[aria-label=\'sort by\']"); sort.value = "gain in PSNR";'
                  'sort.dispatchEvent(new Event("change")); document.querySelector(".toolbar button").click()')
        names = '[...document.querySelectorAll("tbody th[title] span")].map(e => e.textContent).join()'
        assert page.eval(names) == '1,0,2'      # what got worse is first
        page.eval('document.querySelectorAll("#gallery .picture")[2].click()')
        tags = '[...document.querySelectorAll(".tag")].map(e => e.textContent).join()'
        assert page.eval(tags) == 'old,new'
        for mode in ('difference', 'flicker'):
            page.eval(f'document.querySelector("[data-mode={mode}]").click()')
            assert page.eval('document.querySelector(".stage").className').split()[-1] == mode
        assert page.errors == []
