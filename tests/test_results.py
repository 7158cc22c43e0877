"""Result folders: files, metrics and cost, and the pages in a real browser."""
import json
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import numpy as np
import pytest
import torch
from browser import Browser
from conftest import ROOT
from PIL import Image
from test_evaluate import load

from options.base_options import Options
from util.cli import run
from util.results import gallery, metrics
from util.results.folder import address_of_training, domain_names, page_facts
from util.results.gallery import PAGE, Gallery, as_script, legend
from util.results.writer import Results

ODD = ['<script>document.title="bad"</script>', '"><img src=x onerror=document.title="bad">', 'a b', 'a#b?c', '100%25',
       'ä漢字\u202e', "it's", '&amp;', 'x' * 200, '</script>', 'sub folder/q#1', 'e\u0301']
figure = load(ROOT / 'scripts' / 'figure.py')
PARTS = ('results.json', 'results.js', 'index.html', 'gallery.js', 'gallery.css')


def options(folder: Path, **changes) -> Options:
    return Options({**dict(
        results_dir=str(folder), name='run', phase='test', epoch='latest', load_iter=0, model='pix2pix', seed=0,
        direction='AtoB', dataroot=str(folder / 'data'), checkpoints_dir=str(folder), aspect_ratio=1.0,
        display_winsize=128, num_test=float('inf')), **changes})


def fill(folder: Path, stems, noise=None, side=24, target=('fake_B', 'real_B'), **changes) -> Path:
    """Write a results folder, where fake_B is the target with noise of level noise[i]; returns the folder."""
    torch.manual_seed(0)
    lines = changes.pop('lines', [])
    with Results(options(folder, **changes), folder / 'data', target, lines.append) as results:
        for index, stem in enumerate(stems):
            real_A, real_B = torch.rand(2, 1, 3, side, side) * 2 - 1
            level = noise[index] if noise else 0.1
            fake = (real_B + level * torch.randn_like(real_B)).clamp(-1, 1)
            results.add([str(folder / 'data' / f'{stem}.png')], dict(real_A=real_A, fake_B=fake, real_B=real_B), {})
    return results.folder


def listed(folder: Path) -> dict:
    return json.loads((folder / 'results.json').read_text(encoding='utf-8'))


class Links(HTMLParser):
    """Tags, links and headings of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags, self.addresses, self.headings, self.at = [], [], [], ''
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.at = tag
        self.headings += [''] if tag == 'h3' else []
        self.addresses += [unquote(value) for name, value in attributes if name in ('src', 'href')]
        assert not [name for name, _ in attributes if name.startswith('on')]

    def handle_endtag(self, tag):
        self.at = ''

    def handle_data(self, text):
        if self.at == 'h3':
            self.headings[-1] += text


# ---- metrics

def test_metrics_agree_with_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    target = np.clip(image + rng.normal(0, 30, image.shape), 0, 255).astype(np.uint8)
    found = metrics.compare(image, target)
    similarity = structural_similarity(image, target, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False)
    assert found['SSIM'] == pytest.approx(similarity, abs=1e-3)     # scikit-image leaves out the border
    assert found['PSNR'] == pytest.approx(peak_signal_noise_ratio(image, target), abs=1e-4)
    assert found['L1'] == pytest.approx(np.abs(image.astype(float) - target).mean())


def test_metrics_of_equal_and_of_tiny_images():
    image = np.full((8, 8, 3), 7, np.uint8)
    assert metrics.compare(image, image) == dict(L1=0.0, PSNR=float('inf'), SSIM=1.0)
    assert metrics.compare(image[:4], image[:4] + 1).keys() == {'L1', 'PSNR'}
    with pytest.raises(ValueError):
        metrics.compare(image, image[:4])


def test_metrics_of_results_and_their_means(tmp_path):
    folder = fill(tmp_path, ['a', 'b', 'c'], [0.0, 0.1, 0.5])
    found = listed(folder)
    scores = [image['metrics'] for image in found['images']]
    assert scores[0] == dict(PSNR=None, SSIM=1.0, L1=0.0) and scores[1]['PSNR'] > scores[2]['PSNR'] > 0
    for image in found['images'][1:]:
        pair = (np.asarray(Image.open(folder / image['files'][label])) for label in ('fake_B', 'real_B'))
        assert metrics.compare(*pair) == pytest.approx(image['metrics'])
    assert found['mean_metrics']['PSNR'] == pytest.approx((scores[1]['PSNR'] + scores[2]['PSNR']) / 2)
    assert found['mean_metrics']['L1'] == pytest.approx((scores[1]['L1'] + scores[2]['L1']) / 3)
    assert found['target'] == ['fake_B', 'real_B'] and found['state'] == 'finished'


def test_without_a_target_nothing_is_measured(tmp_path):
    found = listed(fill(tmp_path, ['a'], target=None))
    assert found['mean_metrics'] == {} and 'metrics' not in found['images'][0]


def test_without_torchmetrics_results_are_written_without_metrics(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchmetrics.functional.image', None)
    lines = []
    found = listed(fill(tmp_path, ['a', 'b'], lines=lines))
    assert len(found['images']) == 2 and len(lines) == 1 and 'torchmetrics' in lines[0]


# ---- files

def test_a_page_holds_a_hundred_results(tmp_path):
    """Each result is on exactly one page, and the pages link to each other."""
    names = [f'n{number:03d}' for number in range(2 * PAGE + 5)]
    folder = fill(tmp_path, names, side=8)
    pages = [folder / name for name in ('index.html', 'page2.html', 'page3.html')]
    assert [Links(page).headings for page in pages] == [names[:PAGE], names[PAGE:2 * PAGE], names[2 * PAGE:]]
    assert 'page2.html' in Links(pages[0]).addresses and 'page3.html' in Links(pages[0]).addresses
    assert {'index.html', 'page3.html'} <= set(Links(pages[1]).addresses)
    assert not any('page4' in address for address in Links(pages[2]).addresses)
    for page in pages:
        assert [address for address in Links(page).addresses if not (folder / address).is_file()] == []
    assert sorted(path.name for path in (folder / 'data').iterdir()) == ['0001.js', '0002.js', '0003.js']


def test_the_cost_of_a_save_does_not_grow_with_the_results(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(gallery, 'write', lambda path, text: written.append((path.name, len(text))))
    pages = Gallery(tmp_path, 'title', {}, 64)
    costs = {}
    for number in range(10 * PAGE + 1):
        written.clear()
        pages.add(f'n{number:05d}', {'real_A': f'images/n{number:05d}.png'}, size=(8, 8))
        pages.save('running', 0)
        costs[number] = sum(size for _, size in written), len(written)
    assert costs[9 * PAGE + 50][1] <= 4 and costs[9 * PAGE + 50][0] < 1.1 * costs[2 * PAGE + 50][0]


def test_exactly_a_hundred_results_have_one_page(tmp_path):
    folder = fill(tmp_path, [f'n{number}' for number in range(PAGE)], side=8)
    assert not (folder / 'page2.html').exists() and 'page2.html' not in Links(folder / 'index.html').addresses


def test_a_killed_test_leaves_good_pages(tmp_path):
    """SIGKILL: no handler runs, so the files on the disk must be complete at any moment."""
    script = ('import sys, time; sys.path[:0] = sys.argv[2:]; import test_results as t, util.results.writer as r\n'
              'r.PAGES_EVERY = 0; r.PAGES_SHARE = r.LIST_SHARE = float("inf")\n'
              'from pathlib import Path; import torch; root = Path(sys.argv[1])\n'
              'with r.Results(t.options(root), root / "data") as results:\n'
              '    for k in range(10000):\n'
              '        results.add([f"{root}/data/n{k:05d}.png"], dict(fake=torch.zeros(1, 3, 8, 8)), {})\n')
    here = Path(__file__).resolve().parent
    process = subprocess.Popen([sys.executable, '-c', script, tmp_path, here, here.parent])
    folder = tmp_path / 'run' / 'test_latest'
    end = time.monotonic() + 60
    while not (folder / 'data' / '0002.js').exists() and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(process.pid, getattr(signal, 'SIGKILL', signal.SIGTERM))
    process.wait(30)
    found, headings = listed(folder), Links(folder / 'index.html').headings
    assert found['state'] == 'running' and len(headings) == PAGE and len(found['images']) > PAGE // 2
    assert headings == [f'n{k:05d}' for k in range(PAGE)]
    page = Links(folder / 'index.html')
    assert [name for name in page.addresses if not (folder / name).is_file() and not name.startswith('page')] == []
    assert (folder / 'data' / '0001.js').read_text(encoding='utf-8').endswith(']);\n')


def test_an_error_leaves_pages_that_say_interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt), Results(options(tmp_path), tmp_path / 'data') as results:
        results.add([str(tmp_path / 'data' / 'a.png')], dict(fake=torch.zeros(1, 3, 8, 8)), {})
        raise KeyboardInterrupt
    assert listed(results.folder)['state'] == 'interrupted' and Links(results.page_path).headings == ['a']
    assert 'interrupted after' in results.page_path.read_text(encoding='utf-8')


def test_thumbnails_of_large_images_only(tmp_path):
    small, large = fill(tmp_path / 's', ['a'], side=64), fill(tmp_path / 'l', ['sub/a'], side=400, aspect_ratio=1.5)
    assert not (small / 'thumbs').exists()
    assert Image.open(large / 'thumbs' / 'sub' / 'a_fake_B.jpg').size == (213, 320)
    assert Image.open(large / 'images' / 'sub' / 'a_fake_B.png').size == (400, 600)
    assert '"size":[400,600]' in (large / 'data' / '0001.js').read_text(encoding='utf-8')


@pytest.mark.parametrize('name', ODD)
def test_names_never_become_tags(name, tmp_path):
    folder = fill(tmp_path, [name], side=8)
    plain, odd = Links(fill(tmp_path / 'plain', ['a'], side=8) / 'index.html'), Links(folder / 'index.html')
    assert odd.tags == plain.tags and [address for address in odd.addresses if not (folder / address).is_file()] == []
    data = (folder / 'data' / '0001.js').read_text(encoding='utf-8')
    assert data.isascii() and '<' not in data and '>' not in data
    assert name in (odd.headings[0], listed(folder)['images'][0]['source'][-4 - len(name):-4])


def test_data_for_scripts_is_safe_in_html():
    text = as_script({'a': '</script><!--\u2028ä"'})
    assert json.loads(text) == {'a': '</script><!--\u2028ä"'} and text.isascii() and '<' not in text
    with pytest.raises(ValueError):
        as_script(float('nan'))


def test_pages_contain_no_absolute_path(tmp_path):
    folder = fill(tmp_path, ['a'])
    for path in [*folder.glob('*.html'), *folder.glob('*.js'), *folder.glob('data/*')]:
        assert str(tmp_path) not in path.read_text(encoding='utf-8'), path


def test_names_that_differ_in_case_are_two_results(tmp_path):
    files = [image['files']['fake_B'] for image in listed(fill(tmp_path, ['a', 'A', 'b', 'b', 'b']))['images']]
    assert len({file.casefold() for file in files}) == 5


# ---- earlier results

def contents(folder: Path) -> set:
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}


def test_the_same_test_overwrites_its_results(tmp_path):
    before = contents(fill(tmp_path, ['a', 'b']))
    lines = []
    folder = fill(tmp_path, ['a', 'b'], lines=lines, display_winsize=64)
    assert (contents(folder), lines) == (before, []) and not (tmp_path / 'run' / 'test_latest.1').exists()


@pytest.mark.parametrize(('changes', 'words'), [
    (dict(dataroot='/elsewhere'), 'dataroot'), (dict(model='test'), 'model'), (dict(direction='BtoA'), 'direction'),
    (dict(num_test=5), '--num_test'), (dict(new_option=3), '--new_option')])
def test_results_of_another_test_are_moved_aside(changes, words, tmp_path):
    before, lines = contents(fill(tmp_path, ['a', 'b'])), []
    folder = fill(tmp_path, ['b'], lines=lines, **changes)
    aside = folder.with_name('test_latest.1')
    assert contents(aside) == before and not (folder / 'images' / 'a_fake_B.png').exists()
    assert len(lines) == 1 and words in lines[0] and str(aside.absolute()) in lines[0]


@pytest.mark.parametrize('content', ['', '[]', '{"images": [', None])
def test_a_folder_of_unknown_results_is_moved_aside(content, tmp_path):
    folder = tmp_path / 'run' / 'test_latest'
    folder.mkdir(parents=True)
    (folder / 'index.html').write_text('mine', encoding='utf-8')
    if content is not None:
        (folder / 'results.json').write_text(content, encoding='utf-8')
    lines = []
    fill(tmp_path, ['a'], lines=lines)
    assert (folder.with_name('test_latest.1') / 'index.html').read_text(encoding='utf-8') == 'mine' and len(lines) == 1


def test_images_whose_inputs_no_longer_exist_are_moved_aside(tmp_path):
    fill(tmp_path, [f'n{number}' for number in range(PAGE + 3)], side=8)
    lines = []
    folder = fill(tmp_path, ['n1', 'n2'], side=8, lines=lines)
    assert contents(folder) == {*PARTS, 'data/0001.js', *(f'images/n{k}_{label}.png' for k in (1, 2)
                                                          for label in ('real_A', 'fake_B', 'real_B'))}
    assert (folder.with_name('test_latest.1') / 'images' / 'n0_fake_B.png').is_file()
    assert len(lines) == 1 and f'{3 * (PAGE + 1)} images' in lines[0]


# ---- lists, scores and facts

TWO_WAY = ('real_A', 'fake_B', 'rec_A', 'real_B', 'fake_A', 'rec_B')


def fill_two_way(folder: Path, A=('n1', 'n2'), B=('x', 'y', 'z'), **changes) -> Path:
    """Results of unpaired images, as long as the longer domain; the shorter starts again."""
    changes = {**dict(model='cycle_gan', domain_names='day,night'), **changes}
    with Results(options(folder, **changes), folder / 'A', folder_B=folder / 'B') as results:
        for index in range(max(len(A), len(B))):
            images = {name: torch.full((1, 3, 16, 16), (index + k) / 10) for k, name in enumerate(TWO_WAY)}
            results.add([f'{folder}/A/{A[index % len(A)]}.png'], images, {},
                        [f'{folder}/B/{B[index % len(B)]}.png'])
    return results.folder


def shown_items(folder: Path) -> list[dict]:
    text = (folder / 'data' / '0001.js').read_text(encoding='utf-8')
    return json.loads(text[text.index('['):text.rindex(')')])


def test_unrelated_images_are_listed_under_their_own_names(tmp_path):
    """A and B of a test of unpaired images have nothing to do with each other, and each source is listed once."""
    folder = fill_two_way(tmp_path)
    content = listed(folder)
    found = content['directions']
    assert {name: [entry['stem'] for entry in entries] for name, entries in found.items()} == {
        'day to night': ['n1', 'n2'], 'night to day': ['x', 'y', 'z']}
    for name, letter in (('day to night', 'A'), ('night to day', 'B')):
        for entry in found[name]:
            assert Path(entry['source']) == tmp_path / letter / f'{entry["stem"]}.png'
            assert [label for label in TWO_WAY if label in entry['files']] == list(entry['files']) and len(
                entry['files']) == 3 and f'real_{letter}' in entry['files']
            assert all((folder / file).is_file() for file in entry['files'].values())
    # what older programs read is still there: an entry for each pair that was translated, files named after A
    assert [list(image['files']) for image in content['images']] == [list(TWO_WAY)] * 3
    assert [Path(image['source_B']).stem for image in content['images']] == ['x', 'y', 'z']
    assert content['images'][0]['files']['fake_A'] == 'images/n1_fake_A.png'
    assert {(item['direction'], item['stem']) for item in shown_items(folder)} == {
        (name, entry['stem']) for name, entries in found.items() for entry in entries}


def test_real_images_alone_are_no_list(tmp_path):
    """A model of one direction shows no image of B next to an unrelated A."""
    with Results(options(tmp_path), tmp_path / 'A', folder_B=tmp_path / 'B') as results:
        images = {name: torch.zeros(1, 3, 8, 8) for name in ('real_A', 'fake_B', 'real_B')}
        results.add([f'{tmp_path}/A/a.png'], images, {}, [f'{tmp_path}/B/b.png'])
    assert [list(item['files']) for item in shown_items(results.folder)] == [['real_A', 'fake_B']]
    assert list(listed(results.folder)['directions']) == ['A to B']
    assert (results.folder / 'images' / 'a_real_B.png').is_file()


def test_the_spread_of_scores(tmp_path):
    folder = fill(tmp_path, ['a', 'b', 'c', 'd'], [0.0, 0.1, 0.2, 0.5])
    content = listed(folder)
    for name, about in content['metric_spread'].items():
        values = [image['metrics'][name] for image in content['images'] if image['metrics'][name] is not None]
        assert about == pytest.approx(dict(median=statistics.median(values), std=statistics.stdev(values),
                                           low=min(values), high=max(values), n=len(values)))
    assert content['metric_spread']['PSNR']['n'] == 3       # one is infinite


def test_the_page_says_what_latest_was(tmp_path):
    facts = page_facts(options(tmp_path), dict(epoch=7, iteration=140, images=280))
    assert facts['checkpoint'] == 'latest (epoch 7, iteration 140)'
    assert page_facts(options(tmp_path, epoch='7'), dict(epoch=7, iteration=140))['checkpoint'] == \
        'epoch 7 (iteration 140)'
    assert page_facts(options(tmp_path), {})['checkpoint'] == 'latest'


def test_names_of_domains_follow_the_direction(tmp_path):
    assert domain_names(options(tmp_path)) == {}
    assert domain_names(options(tmp_path, domain_names='day,night')) == {'A': 'day', 'B': 'night'}
    assert domain_names(options(tmp_path, domain_names='day,night', direction='BtoA')) == {'A': 'night', 'B': 'day'}


def test_the_address_of_the_training(tmp_path):
    """Relative, and none if it would name folders from the root of the disk."""
    web = tmp_path / 'runs' / 'x' / 'web'
    (web / 'images').mkdir(parents=True)
    results = tmp_path / 'results' / 'x' / 'test_latest'
    assert address_of_training(results, web.parent) is None
    (web / 'index.html').touch()
    Image.new('RGB', (2, 2)).save(web / 'images' / 'epoch001_real_A.png')
    found = address_of_training(results, web.parent)
    assert found == {'page': '../../../runs/x/web/index.html',
                     'probe': '../../../runs/x/web/images/epoch001_real_A.png'}
    assert address_of_training(Path(tmp_path.anchor) / 'elsewhere' / 'x', web.parent) is None


def test_legends():
    two_way = ['real_A', 'fake_B', 'rec_A', 'real_B', 'fake_A', 'rec_B']
    assert legend(two_way, None)['rec_A'] == 'G_B(fake_B)' and legend(two_way, None).keys() == set(two_way)
    assert legend(['real_A', 'fake_B', 'real_B'], ('fake_B', 'real_B'))['real_B'] == 'the target'
    assert legend(['mine', 'fake'], None) == {'fake': 'G(real)'}
    assert 'fake_B_k' in legend(['real_A', 'rec_A', 'fake_B_0', 'fake_B_1'], None)


# ---- in a browser

@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp('chromium')) as page:
        yield page


@pytest.fixture
def page(browser):
    """The browser with a desktop window; fails if the page reports an error."""
    browser.size(1280, 900)
    browser.errors.clear()
    yield browser
    assert browser.errors == []


LOADED = '!document.querySelector("output").textContent.includes("…")'
NAMES = '[...document.querySelectorAll("article h2")].map(e => e.textContent)'


def show(page, folder: Path):
    page.open(folder / 'index.html')
    page.wait('!!document.querySelector(".picture")')
    page.wait(LOADED)


def test_gallery_opens_slides_and_closes(page, tmp_path):
    show(page, fill(tmp_path, ['a', 'b', 'c']))
    assert page.eval('getComputedStyle(document.querySelector("#plain")).display') == 'none'
    page.click('.picture[data-label=fake_B][data-number="1"]')
    page.wait('document.querySelector("dialog").open')
    assert page.eval('[...document.querySelectorAll(".stage img")].map(i => decodeURI(i.src).split("/").pop())') == [
        'b_fake_B.png', 'b_real_A.png']
    page.wait('[...document.querySelectorAll(".stage img")].every(i => i.complete && i.naturalWidth === 24)')
    page.drag('.stage input', 0.5, 0.8)
    assert 78 <= float(page.eval('document.querySelector(".stage input").value')) <= 82
    cut = page.eval('getComputedStyle(document.querySelector(".stage .layer.left")).clipPath')
    hidden = float(re.fullmatch(r'inset\(0px calc\(100% - (.*)%\) 0px 0px\)|inset\(0px (.*)% 0px 0px\)', cut)[2] or
                   100 - float(re.search(r'- (.*)%', cut)[1]))
    assert 18 <= hidden <= 22
    page.key('Escape')
    page.wait('!document.querySelector("dialog").open')
    assert page.eval('document.activeElement.dataset.number') == '1', 'the focus returns to the image'


def test_keys_of_the_gallery(page, tmp_path):
    show(page, fill(tmp_path, ['a', 'b', 'c']))
    sides = '[document.querySelector(".tag.left").textContent, document.querySelector(".tag.right").textContent]'
    page.key('ArrowRight')
    page.key('Enter')
    page.wait('document.querySelector("dialog").open')
    assert page.eval(sides) == ['real_A', 'fake_B']
    page.key('3')
    assert page.eval(sides) == ['real_A', 'real_B']
    page.key('@', code='Digit2', shift=True)
    assert page.eval(sides) == ['fake_B', 'real_B']
    page.key('ArrowRight')
    page.key('ArrowRight')
    page.key('ArrowRight')
    assert page.eval('document.querySelector("dialog h2").textContent') == 'c'
    page.key('ArrowLeft')
    assert page.eval('document.querySelector("dialog h2").textContent') == 'b'
    page.key('ArrowDown')
    assert page.eval('document.querySelector(".stage input").value') == '45'
    page.key('Escape')
    page.key('2')
    assert page.eval('[...document.querySelectorAll("figcaption")].map(e => e.textContent)') == ['fake_B'] * 3
    page.key('0')
    assert page.eval('document.querySelectorAll("figcaption").length') == 9
    page.key('/')
    page.write('c')
    assert page.eval(NAMES) == ['c']
    page.key('Escape')
    assert page.eval(NAMES) == ['a', 'b', 'c']


def test_output_and_target_can_be_compared(page, tmp_path):
    show(page, fill(tmp_path, ['a']))
    page.click('.picture[data-label=real_B]')
    pressed = 'document.querySelector(".pairs [aria-pressed=true]").textContent'
    assert page.eval(pressed) == 'fake_B | real_B'
    page.click('.pairs button:first-child')
    assert page.eval(pressed) == 'real_A | fake_B'


# ---- the address

IN_DIALOG = '[document.querySelector("dialog").open, document.querySelector("dialog h2").textContent]'


def go_to(page, folder: Path, parameters: str):
    page.send('Page.navigate', url='about:blank')
    page.send('Page.navigate', url=f'{(folder / "index.html").as_uri()}#{parameters}')
    page.wait('!!document.querySelector(".picture")')
    page.wait(LOADED)


def address(page) -> dict:
    return dict(parse_qsl(page.eval('location.hash.slice(1)')))


def test_an_address_restores_what_it_says(page, tmp_path):
    folder = fill(tmp_path, ['a 1', 'b 1', 'c 1', 'd 2'], [0.3, 0.0, 0.1, 0.5])
    go_to(page, folder, 'q=1&sort=PSNR&order=reversed&show=fake_B&item=c+1&left=fake_B&right=real_B&mode=flicker')
    page.wait('document.querySelector("dialog").open')
    assert page.eval(IN_DIALOG) == [True, 'c 1'] and page.eval(NAMES) == ['a 1', 'c 1', 'b 1']
    assert page.eval('[...document.querySelectorAll(".tag")].map(e => e.textContent)') == ['fake_B', 'real_B']
    assert 'flicker' in page.eval('document.querySelector(".stage").className').split()
    assert page.eval('document.querySelectorAll("figcaption").length') == 3
    page.key('ArrowRight')
    assert address(page)['item'] == 'b 1' and address(page)['q'] == '1'
    go_to(page, folder, 'item=nothing')
    assert page.eval('document.querySelector("output").textContent').endswith('there is no nothing')


def test_back_closes_the_viewer(page, tmp_path):
    show(page, fill(tmp_path, ['a', 'b', 'c']))
    choose(page, 'sort by', 'name')
    for close in (lambda: page.eval('history.back()'), lambda: page.key('Escape')):
        page.click('.picture[data-number="1"]')
        page.wait('document.querySelector("dialog").open')
        page.key('ArrowRight')
        assert address(page) == dict(sort='name', item='c', left='real_A', right='fake_B')
        close()
        page.wait('!document.querySelector("dialog").open')
        page.wait('location.hash === "#sort=name"')
    assert page.eval('document.activeElement.dataset.number') == '2', 'the image that was shown last'


def test_names_are_sorted_by_their_numbers(page, tmp_path):
    show(page, fill(tmp_path, ['n10', 'n2', 'n1', 'N3'], side=8))
    choose(page, 'sort by', 'name')
    assert page.eval(NAMES) == ['n1', 'n2', 'N3', 'n10']


def test_numbers_have_fixed_decimals(page, tmp_path):
    show(page, fill(tmp_path, ['a', 'b', 'c'], [0.1, 0.2, 0.0]))
    values = page.eval('[...document.querySelectorAll(".scores b")].map(e => e.textContent)')
    decimals = [len(value.partition('.')[2]) for value in values]
    assert decimals == [2, 4, 2, 2, 4, 2, 0, 4, 2] and values[6] == '∞'


def test_two_lists_in_the_browser(page, tmp_path):
    show(page, fill_two_way(tmp_path))
    assert page.eval(NAMES) == ['n1', 'n2']
    labels = '[...document.querySelectorAll("article:first-child figcaption")].map(e => e.textContent)'
    assert page.eval(labels) == list(TWO_WAY[:3])
    page.click('.lists button:last-child')
    assert page.eval(NAMES) == ['x', 'y', 'z'] and page.eval(labels) == list(TWO_WAY[3:])
    assert address(page) == {'list': 'night to day'}
    page.send('Page.reload')
    page.wait(f'{NAMES}.join() === "x,y,z"')


def test_zoom_to_one_to_one_and_pan(page, tmp_path):
    pages = Gallery(tmp_path, 'large', {}, 256)
    Image.new('RGB', (1200, 1200)).save(tmp_path / 'one.png')
    pages.add('a', dict.fromkeys(('real_A', 'fake_B'), 'one.png'), size=(1200, 1200))
    pages.save('finished', 1)
    show(page, tmp_path)
    page.click('.picture')
    page.wait('document.querySelector(".stage img").naturalWidth === 1200')
    place = '(r => [r.left, r.width])(document.querySelector(".stage img.right").getBoundingClientRect())'
    assert page.eval(place)[1] < 900
    page.key('z')
    left, width = page.eval(place)
    assert width == pytest.approx(1200, abs=1)
    assert page.eval('document.querySelector(".bar output").textContent') == '100 %'
    page.drag('.stage', 0.8, 0.7)       # away from the slider: pans
    assert page.eval(place)[0] < left - 20 and page.eval('document.querySelector(".stage input").value') == '50'
    page.drag('.stage', 0.5, 0.3)       # at the slider
    assert int(page.eval('document.querySelector(".stage input").value')) < 40
    page.key('0')
    assert page.eval(place)[1] < 900


def test_a_figure_of_chosen_rows(page, tmp_path):
    """Back leaves the figure; the browser saves it as PNG where it may, and the page has a command that always can."""
    folder = fill(tmp_path, ['a', "b's", 'c'])
    show(page, folder)
    page.click('article[data-number="1"] input')
    page.click('article[data-number="2"] input')
    button = '[...document.querySelectorAll(".toolbar button")].find(b => b.textContent === "figure of 2 rows")'
    page.eval(f'{button}.click()')
    rows = '[...document.querySelectorAll(".sheet tbody th")].map(e => e.textContent)'
    assert page.eval(rows) == ["b's", 'c'] and page.eval('document.querySelectorAll(".sheet img").length') == 6
    words = shlex.split(page.eval('document.querySelector(".command code").textContent'))
    assert words[:3] == ['python', 'scripts/figure.py', folder.as_posix()] and words[4:6] == ["b's", 'c']
    page.wait('[...document.querySelectorAll(".sheet img")].every(i => i.complete)')
    page.eval('document.querySelector("#figure button:nth-child(3)").click()')
    page.wait('document.querySelector("#figure [role=status]").textContent !== ""')
    page.eval('history.back()')
    page.wait('document.querySelector("#figure").hidden')
    out = tmp_path / 'f.png'
    assert run(figure.main, [*words[2:-1], str(out)]) == 0
    drawn, one = np.asarray(Image.open(out)), np.asarray(Image.open(folder / 'images' / 'c_real_B.png'))
    enlarged = one.repeat(6, 0).repeat(6, 1)        # 24 pixels become at least 128
    height, width = enlarged.shape[:2]
    assert np.array_equal(drawn[-height - figure.GAP:-figure.GAP, -width - figure.GAP:-figure.GAP], enlarged)


@pytest.mark.parametrize('words', [['--rows', 'x'], ['--columns', 'x'], ['--list', 'x'], ['--out', 'x.gif'],
                                   ['--scale', '0']])
def test_mistakes_about_a_figure(words, tmp_path, capfd):
    folder = fill(tmp_path, ['a'], side=8)
    assert run(figure.main, [str(folder), '--out', str(tmp_path / 'x.png'), *words]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1 and not (tmp_path / 'x.png').exists()
    assert run(figure.main, [str(tmp_path)]) == 2


def test_a_figure_as_pdf(tmp_path):
    folder = fill(tmp_path, ['a'], side=8)
    assert run(figure.main, [str(folder), '--out', str(tmp_path / 'x.pdf')]) == 0
    assert (tmp_path / 'x.pdf').read_bytes()[:5] == b'%PDF-'


@pytest.mark.parametrize(('label', 'pair'), [
    ('real_A', 'real_A | fake_B'), ('rec_A', 'real_A | rec_A'), ('real_B', 'real_B | fake_A'),
    ('fake_A', 'real_B | fake_A'), ('rec_B', 'real_B | rec_B')])
def test_translations_are_compared_with_their_sources(label, pair, page, tmp_path):
    images = dict.fromkeys(('real_A', 'fake_B', 'rec_A', 'real_B', 'fake_A', 'rec_B'), torch.zeros(1, 3, 16, 16))
    with Results(options(tmp_path, model='cycle_gan'), tmp_path / 'data') as results:
        results.add([f'{tmp_path}/data/a.png'], images, {})
    show(page, results.folder)
    page.click(f'.picture[data-label={label}]')
    assert page.eval('document.querySelector(".pairs [aria-pressed=true]").textContent') == pair


def choose(page, name: str, value: str):
    page.eval(f'(() => {{ const s = document.querySelector("select[aria-label=\\"{name}\\"]"); s.value = "{value}";'
              's.dispatchEvent(new Event("change")) })()')


def test_sorting_and_filtering(page, tmp_path):
    folder = fill(tmp_path, ['b', 'd 1', 'a', 'c 1'], [0.3, 0.0, 0.1, 0.5])
    show(page, folder)
    assert page.eval(NAMES) == ['b', 'd 1', 'a', 'c 1']
    for key, names in (('PSNR', ['d 1', 'a', 'b', 'c 1']), ('L1', ['d 1', 'a', 'b', 'c 1']),
                       ('name', ['a', 'b', 'c 1', 'd 1'])):
        choose(page, 'sort by', key)
        assert page.eval(NAMES) == names
    choose(page, 'sort by', 'PSNR')
    page.click('.toolbar > button')
    assert page.eval(NAMES) == ['c 1', 'b', 'a', 'd 1']
    page.click('input[type=search]')
    page.write('1')
    assert page.eval(NAMES) == ['c 1', 'd 1']
    assert page.eval('document.querySelector("output").textContent') == '2 of 4 results'
    means = listed(folder)['mean_metrics']
    tiles = page.eval('[...document.querySelectorAll(".tile b")].map(e => Number(e.textContent))')
    assert tiles == pytest.approx([means['PSNR'], means['SSIM'], means['L1']], rel=1e-3)


def test_ten_thousand_results(page, tmp_path):
    """10,000 results can be loaded, paged, filtered and sorted."""
    pages = Gallery(tmp_path, 'many', {}, 64)
    Image.new('RGB', (8, 8)).save(tmp_path / 'one.png')
    pages.target, pages.means = ('fake_B', 'real_B'), {'L1': 1.0}
    for number in range(10_000):
        pages.add(f'scene {number:05d}', dict.fromkeys(('real_A', 'fake_B', 'real_B'), 'one.png'), size=[8, 8],
                  metrics={'L1': (number * 7919) % 10_000})
    pages.save('finished', 1)
    show(page, tmp_path)
    assert page.eval('document.querySelector("output").textContent') == '10,000 results'
    assert page.eval('document.querySelectorAll("article").length') < 100 > page.eval('document.images.length') / 5
    choose(page, 'sort by', 'L1')
    first = page.eval(NAMES)[:3]
    assert [int(name[-5:]) * 7919 % 10_000 for name in first] == [0, 1, 2]
    page.click('input[type=search]')
    page.write('09998')
    assert page.eval(NAMES) == ['scene 09998']


def test_odd_names_in_the_browser(page, tmp_path):
    show(page, fill(tmp_path, ODD))
    page.wait('[...document.querySelectorAll("#gallery img")].length === ' + str(3 * len(ODD)))
    page.eval('document.querySelectorAll("#gallery img").forEach(i => i.loading = "eager")')
    page.wait('[...document.querySelectorAll("#gallery img")].every(i => i.complete && i.naturalWidth === 24)')
    assert page.eval('document.title').startswith('Experiment = run')
    assert page.eval('document.querySelectorAll("article script, article h2 *, article [onerror]").length') == 0
    names = page.eval(NAMES)
    assert [name for name in ODD if len(name) < 150 and '/' not in name and name not in names] == []
    page.click('.picture[data-number="1"]')
    page.wait('[...document.querySelectorAll(".stage img")].every(i => i.complete && i.naturalWidth === 24)')
    assert page.eval('document.querySelectorAll("dialog h2 *").length') == 0


def test_contents_and_styles_are_a_matrix(page, tmp_path):
    image = torch.zeros(1, 3, 16, 16)
    labels = ('real_A', 'rec_A', 'fake_B_0', 'fake_B_1')
    with Results(options(tmp_path, model='munit'), tmp_path / 'data') as results:
        results.show_above({'real_A': None, 'rec_A': None, 'style_0': image, 'style_1': image})
        for stem in 'abc':
            results.add([f'{tmp_path}/data/{stem}.png'], dict.fromkeys(labels, image), {})
    show(page, results.folder)
    assert page.eval('[...document.querySelectorAll("thead th")].map(e => e.textContent)') == list(labels)
    assert page.eval('[...document.querySelectorAll("thead img")].map(e => e.src.split("/").pop())') == [
        'style_0.png', 'style_1.png']
    assert page.eval('[...document.querySelectorAll(".matrix tbody th")].map(e => e.textContent)') == ['a', 'b', 'c']
    page.click('.matrix tbody tr:nth-child(2) td:nth-child(4) .picture')
    assert page.eval('document.querySelector("dialog h2").textContent') == 'b'
    assert page.eval('document.querySelector(".tag.right").textContent') == 'fake_B_1'


SCROLLING = ('[...document.querySelectorAll("#gallery *")].filter(e => e.scrollHeight > e.clientHeight + 1'
             '&& /auto|scroll/.test(getComputedStyle(e).overflowY)).length')


@pytest.mark.parametrize('width', [390, 800, 1200, 1600])
def test_a_matrix_of_ten_styles_fits_the_window(width, page, tmp_path):
    labels = ['real_A', 'rec_A', *(f'fake_B_{k}' for k in range(10))]
    pages = Gallery(tmp_path, 'ten styles', {}, 256)
    Image.new('RGB', (8, 8)).save(tmp_path / 'one.png')
    pages.show_above({'real_A': None, 'rec_A': None} | {f'style_{k}': 'one.png' for k in range(10)})
    for number in range(30):
        pages.add(f'content {number}', dict.fromkeys(labels, 'one.png'), size=[8, 8])
    pages.save('finished', 1)
    page.size(width, 900, mobile=width < 600)
    show(page, tmp_path)
    right, size = page.eval('(r => [r.right, r.width])(document.querySelector(".matrix td:last-child .picture")'
                            '.getBoundingClientRect())')
    assert size >= 72 and (right <= width or width < 1000)
    assert page.eval('document.documentElement.scrollWidth') <= width
    assert page.eval(SCROLLING) == 0, 'only the page scrolls vertically'
    page.eval('scrollTo(0, 1500)')
    page.wait('scrollY === 1500')
    head = 'document.querySelector(".matrix thead th:last-child").getBoundingClientRect()'
    bar = max(0, page.eval('document.querySelector(".toolbar").getBoundingClientRect().bottom'))
    page.wait(f'Math.abs({head}.top - {bar}) < 5')      # column headings stay visible below the toolbar
    if right > width:       # the input stays visible if the columns scroll sideways
        page.eval('document.querySelector(".matrix").scrollLeft = 300')
        assert 0 <= page.eval('document.querySelector(".matrix tbody th .picture").getBoundingClientRect().left') < 40


def test_the_size_slider_works_on_a_matrix(page, tmp_path):
    """A matrix that is wider than the window scrolls sideways."""
    pages = Gallery(tmp_path, 'styles', {}, 256)
    Image.new('RGB', (8, 8)).save(tmp_path / 'one.png')
    pages.add('a', dict.fromkeys(('real_A', *(f'fake_B_{k}' for k in range(10))), 'one.png'), size=[8, 8])
    pages.save('finished', 1)
    page.size(1200, 900)
    show(page, tmp_path)
    for size, wide in ((200, True), (56, False)):
        page.eval(f'(() => {{ const s = document.querySelector(".size input"); s.value = {size};'
                  's.dispatchEvent(new Event("input")) })()')
        assert page.eval('document.querySelector(".matrix .picture").offsetWidth') == size
        assert page.eval('document.querySelector(".matrix").classList.contains("wide")') == wide
        assert page.eval('document.documentElement.scrollWidth') <= 1200


@pytest.mark.parametrize('width', [360, 390, 1280])
def test_the_page_fits_the_screen(width, page, tmp_path):
    folder = fill(tmp_path, ODD)
    page.size(width, 800)
    show(page, folder)
    assert page.eval('document.documentElement.scrollWidth') <= width
    page.click('.picture[data-number="8"]')
    assert page.eval('document.querySelector("dialog").scrollWidth') <= width


def test_dark_and_light_mode(page, tmp_path):
    folder = fill(tmp_path, ['a'])
    brightness = []
    for dark in (True, False):
        page.dark(dark)
        show(page, folder)
        brightness.append(int(page.eval('getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]')))
    assert brightness[0] < 60 and brightness[1] > 200


def test_failures_are_listed(page, tmp_path):
    with Results(options(tmp_path), tmp_path / 'data') as results:
        results.add_failure('<b>x</b>.png: cut off')
    page.open(results.page_path)
    page.wait('!!document.querySelector("details")')
    assert page.eval('document.querySelector("details").textContent') == '1 failed<b>x</b>.png: cut off'


def test_a_missing_data_file_leaves_the_rest_usable(browser, tmp_path):
    folder = fill(tmp_path, [f'n{number}' for number in range(PAGE + 1)], side=8)
    (folder / 'data' / '0002.js').unlink()
    show(browser, folder)
    assert 'data/0002.js' in browser.eval('document.querySelector("output").textContent')
    (folder / 'results.js').unlink()
    browser.open(folder / 'index.html')
    assert browser.eval('getComputedStyle(document.querySelector("#plain")).display') == 'block'


def test_without_javascript_the_plain_grid_is_shown(tmp_path):
    folder = fill(tmp_path, ['a', 'b'])
    with Browser(tmp_path) as page:
        page.without_javascript()
        page.send('Page.navigate', url=(folder / 'index.html').as_uri())
        time.sleep(1)
        page.send('Emulation.setScriptExecutionDisabled', value=False)
        assert page.eval('getComputedStyle(document.querySelector("#plain")).display') == 'block'
        assert page.eval('[...document.querySelectorAll("h3")].map(e => e.textContent)') == ['a', 'b']
        assert page.eval('[...document.images].every(i => i.naturalWidth === 24)')
        assert page.eval('document.querySelector("#gallery")') is None
