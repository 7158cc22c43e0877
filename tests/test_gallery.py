"""The page of results in a browser: viewer, address, sorting, figures, styles, odd names, sizes of windows."""
import re
import shlex
import time
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
import torch
from browser import Browser
from conftest import ROOT
from PIL import Image
from test_evaluate import load
from test_results import ODD, TWO_WAY, fill, fill_two_way, listed, options

from util.cli import run
from util.results.gallery import PAGE, Gallery
from util.results.writer import Results

figure = load(ROOT / 'scripts' / 'figure.py')


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
