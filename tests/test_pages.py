"""All pages have one look, and can be used with keys and a screen reader, in light and dark."""
import json
import os
from pathlib import Path

import pytest
import test_live_page as live
from browser import Browser
from conftest import ROOT
from PIL import Image
from test_evaluate import load

from data.checking.problems import Problem
from data.checking.report import write_report
from util.html import page_style
from util.monitors.live_page.page import page as live_page
from util.results.gallery import Gallery

listing = load(ROOT / 'scripts' / 'runs.py')
AXE = os.environ.get('AXE', '')     # path of axe.min.js of the npm package axe-core

# what is wrong with a page: controls without a name, images without a text, skipped headings, duplicate ids, text
# with a contrast below 4.5 (WCAG 1.4.3)
CHECK = r'''(() => {
  const found = [], seen = e => e.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const say = (what, e) => found.push(`${what}: ${e.outerHTML.slice(0, 90)}`);
  const all = [...document.querySelectorAll('body *')].filter(seen);
  for (const e of all) {
    const text = [e.getAttribute('aria-label'), e.getAttribute('aria-labelledby'), e.innerText,
      e.labels?.[0]?.innerText, e.querySelector('img')?.alt].filter(Boolean).join('').trim();
    if (e.matches('button, a[href], input, select, summary, dialog, [role=region]') && !text) say('no name', e);
    if (e.matches('img:not([alt])')) say('no alt', e);
    if (e.id && document.querySelectorAll(`[id="${e.id}"]`).length > 1) say('id twice', e);
    const scrolls = e.scrollWidth > e.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(e).overflowX);
    if (scrolls && e.tabIndex < 0 && !e.querySelector('a, button, input')) say('cannot be scrolled with keys', e);
  }
  const levels = all.filter(e => /^H[1-6]$/.test(e.tagName)).map(e => Number(e.tagName[1]));
  if (levels.filter((level, k) => level > (levels[k - 1] || 0) + 1).length) found.push(`headings ${levels}`);
  if (!document.documentElement.lang) found.push('no language');
  if (all.filter(e => e.matches('main')).length !== 1) found.push('not one main');
  const rgba = color => (color.match(/[\d.]+/g) || []).map(Number);
  const linear = v => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  for (const e of all) {
    const words = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!words || e.matches(':disabled, option')) continue;
    let back = e;
    while (back && rgba(getComputedStyle(back).backgroundColor)[3] === 0) back = back.parentElement;
    if (!back || rgba(getComputedStyle(back).backgroundColor)[3] < 1) continue;
    const colors = [getComputedStyle(e).color, getComputedStyle(back).backgroundColor];
    const [a, b] = colors.map(color => light(rgba(color)) + 0.05).sort((x, y) => y - x);
    if (a / b < 4.5) say(`contrast ${(a / b).toFixed(2)}`, e);
  }
  return found;
})()'''


def report(folder: Path) -> Path:
    Image.new('RGB', (40, 20), 'red').save(folder / 'a.png')
    problems = [Problem('unreadable', 'x.png cannot be read', {str(folder / 'x.png'): 'damaged'}, fatal=True),
                Problem('constant', 'a.png is constant', {str(folder / 'a.png'): 'one color'})]
    return write_report(folder / 'report.html', folder, ['2 images'], problems, 10 ** 6)


def results(folder: Path) -> Path:
    pages = Gallery(folder, 'title', dict(model='any', checkpoint='latest (epoch 7)'), 128, 'run')
    pages.about, pages.target = 'Ten styles, --sync_styles.', ('fake_B', 'real_B')
    pages.means, pages.spread = {'PSNR': 20.0}, {'PSNR': dict(median=19.0, std=1.0, low=18.0, high=22.0, n=3)}
    pages.failures = ['b.png is damaged']
    Image.new('RGB', (8, 8)).save(folder / 'one.png')
    for number in range(3):
        for direction in ('A to B', 'B to A'):
            pages.add(f'n {number}', dict.fromkeys(('real_A', 'fake_B', 'real_B'), 'one.png'), (8, 8),
                      metrics={'PSNR': 20.0}, direction=direction)
    pages.save('finished', 1)
    return folder / 'index.html'


def comparison(folder: Path) -> Path:
    pages = Gallery(folder, 'Comparison', {}, 128)
    Image.new('RGB', (8, 8)).save(folder / 'one.png')
    pages.more = dict(runs=['old', 'new'], table=dict(
        head=[dict(text='run'), dict(text='PSNR')],
        rows=[[dict(text=name), dict(text='20.00', best=name == 'new', more='sd 1.00')] for name in ('old', 'new')]))
    pages.add('a', dict.fromkeys(('input', 'old', 'new'), 'one.png'), (8, 8), scores={'old': {'PSNR': 20.0}})
    pages.save('', 0)
    return folder / 'index.html'


def run_list(folder: Path) -> Path:
    """Of scripts/runs.py."""
    runs = [dict.fromkeys(listing.COLUMNS, '') | dict(name=name, model='pix2pix', images=images, pages={})
            for name, images in (('a', '9,000'), ('b', '10,000'), ('x' * 70, '800'))]
    runs[0]['pages'] = {'training': folder / 'web' / 'index.html'}
    listing.write_html(folder / 'runs.html', runs)
    return folder / 'runs.html'


# a page, and what to do on it before it is looked at
CASES = [(report, ''), (results, ''), (results, 'document.querySelector(".picture").click()'),
         (results, 'document.querySelector("article input").click(); document.querySelector(".toolbar > button:not('
                   '[aria-pressed])").click()'), (comparison, ''), (run_list, '')]


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp('chromium')) as page:
        page.send('Page.setBypassCSP', enabled=True)        # for axe
        yield page


def violations(page) -> list:
    page.eval(f'{Path(AXE).read_text(encoding="utf-8")};0')
    page.eval('window.found = ""; axe.run().then(r => { window.found = JSON.stringify(r.violations.map('
              'v => [v.id, v.nodes[0].html])) }); 0')
    page.wait('window.found !== ""')
    return json.loads(page.eval('window.found'))


@pytest.mark.parametrize(('make', 'action'), CASES)
def test_pages_for_keys_and_screen_readers(make, action, browser, tmp_path):
    path = make(tmp_path)
    for width, dark in ((320, False), (1280, True), (3840, False)):
        browser.size(width, 900, mobile=width < 600)
        browser.dark(dark)
        browser.open(path)
        if make not in (report, run_list):
            browser.wait('!!document.querySelector(".picture")')
        browser.eval(f'{action};0')
        assert browser.eval(CHECK) == []
        assert browser.eval('document.documentElement.scrollWidth') <= width
        assert not AXE or violations(browser) == []


@pytest.mark.parametrize('dark', [False, True])
def test_the_live_page_for_keys_and_screen_readers(dark, browser, tmp_path, monkeypatch):
    """A finished run with losses, metrics and pictures."""
    monkeypatch.setattr(live.page_module.Pace, 'due', lambda self, wait: True)
    progress = live.Progress(epoch_size=10, last_epoch=2)
    page = live.page_of(tmp_path / 'run', live.options(tmp_path), progress)
    page.open(progress)
    for step in range(1, 6):
        page.losses(live.record(step, G=1.0 / step, D=0.5))
    page.images(progress, {name: live.picture() for name in ('real_A', 'fake_B', 'real_B')})
    page.close(progress, 'finished')
    browser.size(1280, 900)
    browser.dark(dark)
    browser.open(tmp_path / 'run' / 'web' / 'index.html')
    browser.wait('!!page.data && document.images.length > 0')
    for action in ('', 'document.querySelector(".picture").click()'):
        browser.eval(f'{action};0')
        assert browser.eval(CHECK) == []
        assert not AXE or violations(browser) == []


def test_runs_are_sorted_by_numbers(browser, tmp_path):
    browser.open(run_list(tmp_path))
    names = '[...document.querySelectorAll("tbody th")].map(e => e.textContent[0]).join("")'
    column = list(listing.COLUMNS).index('images')
    orders = [browser.eval(names)]
    for _ in range(2):
        browser.eval(f'document.querySelectorAll("thead button")[{column}].click()')
        orders.append(browser.eval(names))
    assert orders == ['abx', 'xab', 'bax']


def test_the_checks_find_faults(browser, tmp_path):
    (tmp_path / 'bad.html').write_text('<body style="background:#fff"><h1>a</h1><h3>b</h3><button></button><img id=x>'
                                       '<p id=x style="color:#999">text</p>', encoding='utf-8')
    browser.open(tmp_path / 'bad.html')
    found = ' '.join(browser.eval(CHECK))
    assert all(word in found for word in ('no name', 'no alt', 'id twice', 'headings', 'language', 'main', 'contrast'))


def test_one_style_sheet(tmp_path):
    style = page_style()
    for make in (report, results, comparison, run_list):
        (tmp_path / make.__name__).mkdir()
        path = make(tmp_path / make.__name__)
        sheet = path if make in (report, run_list) else path.with_name('gallery.css')
        assert style in sheet.read_text(encoding='utf-8')
    assert style in live_page('live.html', 'live.js', title='x', refresh='', rows='')
    others = [path for path in ROOT.glob('util/**/*.css') if path.name != 'page_style.css']
    assert others and not any(':root' in path.read_text(encoding='utf-8') for path in others), 'colors are defined once'
