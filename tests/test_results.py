"""Result folders: files, metrics and cost, and the pages in a real browser."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from browser import Browser
from PIL import Image

from options.base_options import Options
from util.results import gallery, metrics
from util.results.gallery import PAGE, Gallery, as_script, legend
from util.results.writer import Results

ODD = ['<script>document.title="bad"</script>', '"><img src=x onerror=document.title="bad">', 'a b', 'a#b?c', '100%25',
       'ä漢字\u202e', "it's", '&amp;', 'x' * 200, '</script>', 'sub folder/q#1', 'e\u0301']
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
NAMES = '[...document.querySelectorAll("article h3")].map(e => e.textContent)'


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
    cut = page.eval('getComputedStyle(document.querySelector(".stage img.left")).clipPath')
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
    assert page.eval('document.querySelectorAll("article script, article h3 *, article [onerror]").length') == 0
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
    page.click('.matrix tbody tr:nth-child(2) td:nth-child(5) .picture')
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
    if right <= width:      # column headings stay visible below the toolbar
        bar = page.eval('document.querySelector(".toolbar").getBoundingClientRect().bottom')
        assert bar - 1 <= page.eval(f'{head}.top') <= bar + 1
    captions = page.eval('[...document.querySelectorAll(".matrix tbody tr:first-child figcaption")].map('
                         'e => e.offsetHeight ? e.textContent : "")')
    assert captions == ([''] * 12 if right <= width else labels)


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
