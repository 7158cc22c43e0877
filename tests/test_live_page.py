"""The live page of a run: its contents in a browser, its cost, and failing disks."""
import json
import os
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from browser import Browser
from PIL import Image

from models.training.progress import Progress
from options.base_options import Options
from util.monitors import health
from util.monitors.curves import Curves, read_jsonl
from util.monitors.live_page import page as page_module
from util.monitors.live_page import snapshots
from util.monitors.live_page.page import LivePage, ranges
from util.monitors.live_page.snapshots import Snapshots
from util.monitors.visualizer import Visualizer, live_page

HOSTILE = ('<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "it's a # and a %41 & more", 'ü漢字',
           'x' * 200)


def options(folder, **more) -> Options:
    values = dict(name='run', checkpoints_dir=str(folder), display_winsize=64, update_html_freq=1000, gan_mode='lsgan',
                  no_html=False, display_id=-1, use_wandb=False, monitor='none', lr=0.0002,
                  loader='stream', num_threads=4)
    return Options({**values, **more}, given={'name'})


def page_of(folder, opt, progress, device='') -> LivePage:
    return live_page(opt, folder, 20, progress, device, lambda text: None)


def picture(level=100, noise=40, seed=0, size=(8, 8)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(level + rng.integers(-noise, noise + 1, (*size, 3)), 0, 255).astype(np.uint8)


def record(n, epoch=1, **losses) -> dict:
    return dict(epoch=epoch, iters=n, total_iters=n, lr=0.0002, time=0.1, data=0.0, images_per_s=10.0, data_wait=0.0,
                losses=losses or dict(G_GAN=1.0, D_real=0.5))


@pytest.fixture
def progress() -> Progress:
    return Progress(epoch_size=10, last_epoch=2)


@pytest.fixture
def start(tmp_path, progress):
    """start(**options) -> the page of a run in tmp_path/run, written once."""
    def make(**more):
        page = page_of(tmp_path / 'run', options(tmp_path, **more), progress)
        page.open(progress)
        return page
    return make


@pytest.fixture
def at_once(monkeypatch):
    """Write at every opportunity."""
    monkeypatch.setattr(page_module.Pace, 'due', lambda self, wait: True)


def data_of(folder: Path) -> dict:
    """The data that data.js passes to the page."""
    text = (folder / 'run' / 'web' / 'data.js').read_text(encoding='utf-8')
    return json.loads(re.fullmatch(r'pixmorph\((.*)\)\n', text)[1])


class Document(HTMLParser):
    """Tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags, self.text, self.silent = [], '', False
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.silent = tag in ('script', 'style')

    def handle_endtag(self, tag):
        self.silent = False

    def handle_data(self, text):
        self.text += '' if self.silent else text

    def all(self, tag, attribute):
        return [found[attribute] for name, found in self.tags if name == tag and attribute in found]


# ---- contents

def test_data_of_a_run(tmp_path, start, progress, at_once):
    page = start()
    progress.advance(4)
    page.losses(record(4, G_GAN=2.0, D_real=float('nan')))
    page.losses(record(8, G_GAN=3.0, D_real=0.25))
    page.images(progress, dict(real_A=picture(), fake_B=picture(50)))
    page.validation(progress, [dict(real_A=picture(), fake_B=picture(9)), dict(real_A=picture(1), fake_B=picture(7))])
    page.step(progress)
    data = data_of(tmp_path)
    assert data['state'] == 'running' and data['progress']['total_iters'] == 4
    assert data['progress']['total_images'] == 20 and data['progress']['lr'] == 0.0002
    assert data['curves'] == dict(x=[4, 8], epoch=[1, 1], series=dict(G_GAN=[2.0, 3.0], D_real=[None, 0.25]))
    assert data['epochs'] == [[1, 1]] and data['labels'] == ['real_A', 'fake_B']
    assert data['validation'] == dict(times=[4], samples=2, inputs=['real_A'], outputs=['fake_B'], source='validation')
    assert [note['text'] for note in data['health']] == [health.TEXTS['nonfinite']]
    assert ['lr', '0.0002', False] in data['options'] and ['name', 'run', True] in data['options']
    names = ('images/epoch001_real_A.png', 'images/epoch001_fake_B.png', 'val/0_real_A.jpg', 'val/1_real_A.jpg',
             'val/4_0_fake_B.jpg', 'val/4_1_fake_B.jpg')
    assert all(Image.open(tmp_path / 'run' / 'web' / name).size == (8, 8) for name in names)


def test_the_page_before_the_first_report(tmp_path, start):
    start()
    assert data_of(tmp_path)['curves'] == dict(x=[], epoch=[], series={})
    assert 'Experiment name = run' in Document(tmp_path / 'run' / 'web' / 'index.html').text


def test_the_page_refreshes_only_during_training(tmp_path, start, progress):
    page, path = start(), tmp_path / 'run' / 'web' / 'index.html'
    assert 'refresh' in Document(path).all('meta', 'http-equiv')
    page.close(progress, 'finished')
    assert 'refresh' not in Document(path).all('meta', 'http-equiv')
    assert data_of(tmp_path)['state'] == 'finished'


def test_nothing_remote_is_loaded(tmp_path, start, progress):
    page = start()
    page.images(progress, dict(fake_B=picture()))
    text = (tmp_path / 'run' / 'web' / 'index.html').read_text(encoding='utf-8')
    document = Document(tmp_path / 'run' / 'web' / 'index.html')
    assert not re.search(r'https?://|//[a-z]+\.', text)
    policy, = [attributes['content'] for tag, attributes in document.tags
               if attributes.get('http-equiv') == 'Content-Security-Policy']
    assert policy.startswith("default-src 'none'") and 'unsafe-eval' not in policy
    assert "script-src 'sha256-" in policy and "'unsafe-inline'" not in policy.partition('script-src')[2]
    assert not document.all('script', 'src') and not document.all('link', 'href')


def test_names_are_text(tmp_path, progress, at_once):
    page = page_of(tmp_path / 'run', options(tmp_path, name=' '.join(HOSTILE), dataroot=HOSTILE[0]), progress)
    page.open(progress)
    labels = [name.replace('/', '') for name in HOSTILE]
    page.losses(record(1, **dict.fromkeys(HOSTILE, 1.0)))
    page.images(progress, {label: picture() for label in labels})
    page.step(progress)
    folder = tmp_path / 'run' / 'web'
    document = Document(folder / 'index.html')
    assert len(document.all('script', 'src') + [tag for tag, _ in document.tags if tag == 'script']) == 1
    assert not [key for _, attributes in document.tags for key in attributes if key.startswith('on')]
    assert document.all('img', 'alt') == labels and f'Experiment name = {" ".join(HOSTILE)}' in document.text
    for link in document.all('img', 'src') + document.all('a', 'href'):
        assert (folder / unquote(link)).is_file()
    assert set(data_of(tmp_path)['curves']['series']) == set(HOSTILE)


# ---- cost

@pytest.mark.slow
def test_a_long_run_does_not_grow_the_page(tmp_path, progress, start, monkeypatch, at_once):
    monkeypatch.setattr(page_module, 'write_image', lambda *_: None)
    page, sizes = start(), {}
    losses = {f'loss_{index}': 0.123456789 for index in range(8)}
    for epoch in range(1, 1001):
        progress.epoch = epoch
        for n in range(20):
            page.curves.add(record(epoch * 1000 + n, epoch, **losses))
        page.images(progress, dict.fromkeys(f'label_{index}' for index in range(8)) | dict(fake_B=picture()))
        page.step(progress)
        sizes[epoch] = [(tmp_path / 'run' / 'web' / name).stat().st_size for name in ('data.js', 'index.html')]
    assert sizes[1000][0] < 100_000 and sizes[1000][1] < 300_000
    early = max(sizes[epoch][0] for epoch in range(1, 101))
    assert max(data for data, _ in sizes.values()) < 1.3 * early
    assert sizes[1000][1] < 1.1 * sizes[100][1]
    assert data_of(tmp_path)['epochs'] == [[1, 1000]]


def test_readers_never_see_an_incomplete_page(tmp_path, start, progress, at_once):
    page, stop, seen, torn = start(), threading.Event(), [], []

    def read():
        while not stop.is_set():
            try:
                seen.append(data_of(tmp_path)['progress']['total_iters'])
            except (TypeError, ValueError) as error:
                torn.append(error)
    reader = threading.Thread(target=read)
    reader.start()
    for n in range(300):
        progress.advance(1)
        page.losses(record(n))
        page.step(progress)
    stop.set()
    reader.join()
    assert seen and not torn and seen == sorted(seen) and not list((tmp_path / 'run' / 'web').glob('.*'))


@pytest.mark.parametrize('n', [1, 7, 8, 9, 100, 1000])
def test_curves_are_means_of_windows(n):
    curves, values = Curves(points=8), np.random.default_rng(0).normal(size=n)
    for index, value in enumerate(values):
        curves.add(record(index + 1, G=value))
    found, size = curves.as_dict(), curves.stride
    assert len(found['x']) <= 8 and found['x'][-1] == n
    expected = [values[start:start + size].mean() for start in range(0, n, size)]
    assert found['series']['G'] == pytest.approx(expected, rel=1e-4)


def test_curves_have_gaps_and_losses_may_start_later():
    curves = Curves()
    for n, losses in enumerate((dict(a=1.0), dict(a=float('inf'), b=2.0), dict(a=3.0, b=float('nan')))):
        curves.add(record(n, **losses))
    assert curves.as_dict()['series'] == dict(a=[1.0, None, 3.0], b=[None, 2.0, None])


def test_repeated_steps_replace_the_old_ones():
    curves = Curves()
    for n, value in ((1, 1.0), (2, 2.0), (3, 3.0), (2, 5.0)):
        curves.add(record(n, G=value))
    assert curves.as_dict()['x'] == [1, 2] and curves.as_dict()['series'] == dict(G=[1.0, 5.0])


def test_ranges():
    assert ranges([]) == [] and ranges([1, 2, 3, 7, 9, 10]) == [[1, 3], [7, 7], [9, 10]]


# ---- validation images

def test_snapshots_are_bounded(tmp_path, progress):
    kept = Snapshots(tmp_path / 'val', progress)
    for _ in range(333):
        progress.advance(10)
        kept.add(progress, [dict(real_A=picture(), fake_B=picture())])
    times = kept.as_dict()['times']
    assert times[0] == 10 and times[-1] == 3330 and 40 <= len(times) <= snapshots.SNAPSHOTS
    files = {path.name for path in (tmp_path / 'val').iterdir()}
    assert files == {'0_real_A.jpg', *(f'{time}_0_fake_B.jpg' for time in times)}
    gaps = np.diff(times)
    assert gaps.max() <= 80     # old and new times alike


def test_snapshots_continue_after_a_resume(tmp_path):
    progress = Progress()
    kept = Snapshots(tmp_path, progress)
    for _ in range(5):
        progress.advance(10)
        kept.add(progress, [dict(real_A=picture(), fake_B=picture())])
    (tmp_path / 'mine.jpg').write_bytes(b'')
    again = Snapshots(tmp_path, Progress(total_iters=30))
    assert again.as_dict() == dict(times=[10, 20, 30], samples=1, inputs=['real_A'], outputs=['fake_B'])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        '0_real_A.jpg', '10_0_fake_B.jpg', '20_0_fake_B.jpg', '30_0_fake_B.jpg', 'mine.jpg']


def test_large_validation_images_are_shrunk(tmp_path, progress):
    Snapshots(tmp_path, progress).add(progress, [dict(fake_B=picture(size=(600, 1200)))])
    assert Image.open(tmp_path / '0_0_fake_B.jpg').size == (512, 256)


# ---- resuming

def test_the_page_continues_after_a_resume(tmp_path, progress, start):
    page = start()
    for epoch in (1, 2, 3):
        progress.epoch = epoch
        page.images(progress, dict(fake_B=picture(seed=epoch)))
    lines = [json.dumps(record(n, G=float(n))) for n in (1, 2)]
    (tmp_path / 'run' / 'losses.jsonl').write_text('\n'.join([*lines, '{"epoch": 1, "los']) + '\n[]\n\0\n{"losses": 3}',
                                                   encoding='utf-8')
    torn = tmp_path / 'run' / 'web' / 'images' / '.epoch002_fake_B.png.123.tmp'
    torn.write_bytes(b'half')
    resumed = Progress(epoch=2, epoch_iter=3, total_iters=13)
    page = page_of(tmp_path / 'run', options(tmp_path), resumed)
    page.open(resumed)
    data = data_of(tmp_path)
    assert not torn.exists()
    assert data['curves']['x'] == [1, 2] and data['epochs'] == [[1, 2]] and data['labels'] == ['fake_B']
    page.images(resumed, dict(fake_B=picture()))
    assert Document(tmp_path / 'run' / 'web' / 'index.html').text.count('epoch [2]') == 1


def test_incomplete_lines_are_skipped(tmp_path):
    path = tmp_path / 'losses.jsonl'
    path.write_bytes(json.dumps(record(1)).encode() + b'\n{"epoch": 1, "lo' + json.dumps(record(2)).encode()
                     + b'\n\xff\xfe\n' + json.dumps(record(3)).encode())
    assert [found['total_iters'] for found in read_jsonl(path)] == [1, 3]


# ---- the visualizer, and failing disks

def steps(visualizer, progress, epochs=3):
    for _ in range(epochs):
        progress.advance(5)
        visualizer.step(progress)
        visualizer.losses(progress, dict(G=1.0), dict(time=0.1, data=0.0, images_per_s=10.0, data_wait=0.5), 0.1)
        visualizer.line('end')
        progress.finish_epoch()


def test_states(tmp_path, progress):
    with Visualizer(options(tmp_path), 20, progress, device='cpu of a kind'):
        assert data_of(tmp_path)['state'] == 'running'
    assert (data_of(tmp_path)['state'], data_of(tmp_path)['device']) == ('finished', 'cpu of a kind')
    with Visualizer(options(tmp_path), 20, progress) as visualizer:
        visualizer.stopped('SIGTERM')
    assert data_of(tmp_path)['state'] == 'stopped by SIGTERM'
    with pytest.raises(ValueError), Visualizer(options(tmp_path), 20, progress):
        raise ValueError('<b>')
    assert data_of(tmp_path)['state'] == 'failed: ValueError: <b>'


def test_training_continues_if_the_page_cannot_be_written(tmp_path, progress, capsys):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'web').write_text('a file in its place', encoding='utf-8')
    with Visualizer(options(tmp_path), 20, progress) as visualizer:
        steps(visualizer, progress)
        streams = capsys.readouterr()
        assert streams.err.count('warning') == 1 and str(tmp_path / 'run' / 'web') in streams.err
        assert streams.out.count('G: 1.000') == 3
        (tmp_path / 'run' / 'web').unlink()
        steps(visualizer, progress, 1)
    assert data_of(tmp_path)['curves']['x'] == [5, 10, 15, 20]


def test_training_continues_if_the_log_cannot_be_written(tmp_path, progress, capsys):
    (tmp_path / 'run' / 'loss_log.txt').mkdir(parents=True)
    with Visualizer(options(tmp_path), 20, progress) as visualizer:
        steps(visualizer, progress, 2)
        streams = capsys.readouterr()
        assert streams.err.count('warning') == 1 and streams.out.count('G: 1.000') == 2
        assert data_of(tmp_path)['state'] == 'running'
        (tmp_path / 'run' / 'loss_log.txt').rmdir()
        steps(visualizer, progress, 1)
    assert data_of(tmp_path)['curves']['x'] == [5, 10, 15]
    assert [found['total_iters'] for found in read_jsonl(tmp_path / 'run' / 'losses.jsonl')] == [15]


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full here')
def test_a_full_disk_keeps_the_old_page(tmp_path, start, progress, monkeypatch):
    page = start()
    before = data_of(tmp_path)
    real_open = open
    monkeypatch.setattr('builtins.open', lambda path, *rest, **more: real_open(
        '/dev/full' if str(path).endswith('.tmp') else path, *rest, **more))
    with pytest.raises(OSError) as raised:
        page.close(progress, 'finished')
    assert raised.value.filename == str(tmp_path / 'run' / 'web' / 'index.html')
    assert data_of(tmp_path) == before


# ---- in a browser

@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path) as page:
        yield page


@pytest.fixture
def index(tmp_path) -> Path:
    return tmp_path / 'run' / 'web' / 'index.html'


def text_of(browser) -> str:
    return browser.eval('document.body.textContent')


IMAGES = '[...document.querySelectorAll("main img")].map(i => [decodeURIComponent(i.src), i.complete, i.naturalWidth])'


def test_names_in_a_browser(tmp_path, progress, at_once, browser):
    home = tmp_path / 'a <b>"> # % %41 ü漢'
    page = page_of(home / 'run', options(home, name=HOSTILE[1]), progress, HOSTILE[0])
    page.open(progress)
    page.losses(record(1, **{HOSTILE[1]: 1.0, 'G_GAN': float('nan')}))
    page.images(progress, {HOSTILE[1]: picture(), 'fake_B': picture()})
    page.validation(progress, [dict(real_A=picture(), fake_B=picture())])
    page.close(progress, 'failed: ' + HOSTILE[0])
    browser.open(home / 'run' / 'web' / 'index.html')
    browser.wait('!!document.getElementById("options")')
    for words in ('failed: ' + HOSTILE[0], HOSTILE[1], health.TEXTS['nonfinite'], 'checkpoints_dir'):
        assert words in text_of(browser)
    browser.eval('[...document.images].forEach(i => i.loading = "eager")')
    browser.wait(f'{IMAGES}.every(i => i[1])')
    found = browser.eval(IMAGES)
    assert len(found) == 6 and all(width == 8 for _, _, width in found)
    assert browser.eval('document.scripts.length') == 1 and not browser.errors


def test_the_page_follows_the_run(tmp_path, start, progress, at_once, browser, index):
    page = start()
    browser.open(index)
    browser.eval('window.marker = 1')
    for n in (1, 2):
        progress.advance(1)
        page.losses(record(n, G=float(n)))
        page.images(progress, dict(fake_B=picture()))
        page.step(progress)
        browser.wait(f'page.data && page.data.curves.x.length === {n}')
    assert browser.eval('page.polling') and '1 / 2' in text_of(browser)
    page.close(progress, 'stopped by SIGTERM')
    browser.wait('!page.polling')
    assert 'stopped by SIGTERM' in text_of(browser)
    assert browser.eval('window.marker') == 1 and not browser.errors      # never reloaded


def test_the_page_of_a_killed_run(tmp_path, progress, start, browser, index, monkeypatch):
    monkeypatch.setattr(page_module.time, 'time', lambda: 1.7e9)
    start()
    browser.open(index)
    browser.wait('document.body.textContent.includes("no update since")')
    browser.wait('!!page.data')
    browser.eval('page.since -= 1e6')        # and for longer
    browser.wait('!page.polling && !document.querySelector("#state button").hidden')
    assert not browser.errors


def test_controls(start, progress, at_once, browser, index):
    page = start()
    for n in range(1, 41):
        progress.epoch = n
        progress.advance(10)
        page.losses(record(10 * n, n, G=100 / n, D=0.5))
        page.images(progress, dict(real_A=picture(), fake_B=picture()))
        page.validation(progress, [dict(real_A=picture(), fake_B=picture())] * 2)
    page.close(progress, 'finished')
    browser.open(index)
    browser.wait('!!page.data')
    browser.drag('canvas', 0.25, 0.5)
    low, high = browser.eval('page.chart.zoom')
    assert 50 < low < 120 and 150 < high < 220
    browser.eval('page.chart.canvas.ondblclick()')
    assert browser.eval('page.chart.zoom') is None
    assert 'G: ' in browser.eval('document.querySelector(".tip").textContent')
    browser.click('.legend button')
    assert browser.eval('[...page.chart.hidden]') == ['G']
    browser.click('#losses .controls button')
    assert browser.eval('page.chart.log')
    assert 'after 400 images (40 of 40)' in text_of(browser)
    browser.eval('page.slider.value = 2; slide()')
    assert 'after 30 images (3 of 40)' in text_of(browser)
    sources = browser.eval('[...page.samples.querySelectorAll("img")].map(i => i.src.split("/val/")[1])')
    assert sources == ['0_real_A.jpg', '30_0_fake_B.jpg', '1_real_A.jpg', '30_1_fake_B.jpg']
    assert browser.eval('document.querySelectorAll("#epochs h3").length') == 20
    browser.eval('document.querySelector("#epochs > button").click()')
    assert browser.eval('document.querySelectorAll("#epochs h3").length') == 40 and not browser.errors


@pytest.mark.parametrize('dark', [False, True])
def test_on_a_phone(start, progress, at_once, browser, index, dark):
    page = start(name='x' * 200)
    page.losses(record(1, **{f'loss_{"y" * 60}_{n}': 1.0 for n in range(15)}))
    page.images(progress, {f'picture_{n}': picture() for n in range(8)})
    page.close(progress, 'finished')
    browser.dark(dark)
    browser.size(390, 800, mobile=True)
    browser.open(index)
    browser.wait('!!page.data')
    assert browser.eval('document.documentElement.scrollWidth') <= 390
    colour = browser.eval('getComputedStyle(document.body).backgroundColor')
    assert (sum(map(int, re.findall(r'\d+', colour))) < 200) == dark


PLACES = ('[...document.querySelectorAll("#%s .pictures")].map(box => [...box.querySelectorAll("img")].map(i => {'
          'const r = i.getBoundingClientRect(); return [i.alt, Math.round(r.top), r.width, r.right] }))')


def rows_seen(browser, section: str) -> list[list[str]]:
    """Labels of the images of a section, row by row of each of its blocks; none is cut off or tiny."""
    browser.wait(f'document.querySelectorAll("#{section} img").length > 0')
    assert not browser.errors       # an exception in one part of the page
    rows, screen = {}, browser.eval('innerWidth')
    for number, block in enumerate(browser.eval(PLACES % section)):
        for label, top, width, right in block:
            assert width >= 72 and right <= screen
            rows.setdefault((number, top), []).append(label)
    return list(rows.values())


CYCLEGAN = ('real_A', 'fake_B', 'rec_A', 'real_B', 'fake_A', 'rec_B')
WITH_IDENTITY = (*CYCLEGAN[:3], 'idt_B', *CYCLEGAN[3:], 'idt_A')


@pytest.mark.sample(4)
@pytest.mark.parametrize('width', [390, 800, 1200])
@pytest.mark.parametrize('labels, rows', [
    (CYCLEGAN, [CYCLEGAN[:3], CYCLEGAN[3:]]), (WITH_IDENTITY, [WITH_IDENTITY[:4], WITH_IDENTITY[4:]]),
    (('real_A', 'rec_A', 'fake_B', 'real_B', 'rec_B', 'fake_A'), [CYCLEGAN[:3], CYCLEGAN[3:]]),
    (('real_A', 'fake_B', 'real_B'), [('real_A', 'fake_B', 'real_B')]),
    (tuple('abcdefgh'), [tuple('abcd'), tuple('efgh')])])
def test_a_row_for_each_direction(start, progress, at_once, browser, index, labels, rows, width):
    page = start(display_winsize=256)
    page.images(progress, {label: picture() for label in labels})
    page.close(progress, 'finished')
    browser.size(width, 900, mobile=width < 600)
    browser.open(index)
    browser.wait('!!page.data')
    found = rows_seen(browser, 'newest')
    if width > 600:
        assert found == list(map(list, rows))
    else:
        assert max(map(len, found)) <= 3 and [label for row in found for label in row] == [*rows[0], *sum(rows[1:], ())]


@pytest.mark.parametrize('labels', [('real_A', 'fake_B', 'real_B'), ('real_A', 'real_B_rgb', 'fake_B_rgb'), CYCLEGAN])
def test_all_sections_have_one_order_of_pictures(start, progress, at_once, browser, index, labels):
    page = start(display_winsize=256)
    for progress.epoch in (1, 2):
        page.images(progress, {label: picture() for label in labels})
    page.validation(progress, [{label: picture() for label in labels}])
    page.close(progress, 'finished')
    browser.size(1200, 900)
    browser.open(index)
    browser.wait('!!page.data')
    for section in ('newest', 'validation', 'epochs'):
        assert sum(rows_seen(browser, section), [])[:len(labels)] == list(labels)


@pytest.mark.parametrize('state', ['running', 'finished'])
def test_nothing_unknown_is_shown(start, progress, at_once, browser, index, state):
    """No card is empty, no value a dash; a single report is listed, as it is no curve."""
    progress.max_iters = 40
    page = start()

    def seen():
        browser.open(index)
        browser.wait('!!page.data')
        cards = browser.eval('[...document.querySelectorAll("section")].filter(s => !s.hidden).map(s => s.innerText)')
        assert all(len(card.split()) > 3 for card in cards) and not browser.errors
        values = browser.eval('[...document.querySelectorAll(".facts b, .facts dd")].map(e => e.textContent)')
        assert all(re.search(r'\w', value) and not value.endswith('-') for value in values)
        return browser.eval('[...document.querySelectorAll("section")].filter(s => !s.hidden).map(s => s.id)')

    assert seen() == ['state', 'options']
    progress.advance(1)
    page.losses(record(1))
    page.metrics(dict(epoch=1, iters=1, total_iters=1, epoch_size=10, metrics=dict(l1=5.0)))
    page.images(progress, dict(fake_B=picture()))
    page.validation(progress, [dict(real_A=picture(), fake_B=picture())])
    if state == 'running':
        page.write(progress)
    else:
        page.close(progress, state)
    assert seen() == ['state', 'losses', 'newest', 'metrics', 'validation', 'options']
    canvases = '[...document.querySelectorAll("canvas")].filter(c => c.offsetParent).length'
    assert browser.eval(canvases) == 0
    assert (state == 'running') == ('time left' in browser.eval('document.getElementById("state").textContent'))
    page.losses(record(2))
    page.write(progress)
    seen()
    assert browser.eval(canvases) > 0


def test_options_that_were_given_come_first(start, browser, index):
    start()
    browser.open(index)
    browser.wait('!!page.data')
    names = browser.eval('[...document.querySelectorAll("#options th")]'
                         '.map(e => [e.textContent, !!e.closest("details")])')
    assert names[0] == ['name', False] and all(folded for _, folded in names[1:]) and len(names) > 10


def test_the_viewer_compares_the_pictures_of_an_image(start, progress, at_once, browser, index):
    page = start()
    page.images(progress, {label: picture() for label in CYCLEGAN})
    page.validation(progress, [{label: picture(seed=n) for label in CYCLEGAN} for n in range(2)])
    page.close(progress, 'finished')
    browser.open(index)
    browser.wait('!!page.data')
    compared = '[page.viewer.left, page.viewer.right, page.viewer.at]'
    shown = '[...document.querySelectorAll(".stage img")].map(i => i.getAttribute("src"))'
    browser.click('#validation .group img[alt="fake_B"]')
    assert browser.eval('document.querySelector("dialog").open') and browser.eval(compared) == ['real_A', 'fake_B', 0]
    browser.key('ArrowRight')
    assert browser.eval(compared) == ['real_A', 'fake_B', 1]
    assert browser.eval(shown) == ['val/0_1_fake_B.jpg', 'val/1_real_A.jpg']
    browser.key('3')
    assert browser.eval(compared) == ['real_A', 'rec_A', 1]
    browser.key('f')
    assert browser.eval('page.viewer.mode') == 'flicker'
    browser.key('Escape')
    browser.wait('!document.querySelector("dialog").open')
    assert browser.eval('document.activeElement.querySelector("img").alt') == 'fake_B'
    browser.wait('history.state === null')
    browser.click('#newest img[alt="rec_B"]')
    assert browser.eval(compared) == ['real_B', 'rec_B', 0] and not browser.errors
    browser.eval('history.back()')
    browser.wait('!document.querySelector("dialog").open')
    assert browser.eval('location.href').endswith('index.html')


def test_one_picture_is_shown_alone(start, progress, at_once, browser, index):
    page = start()
    page.images(progress, dict(fake_B=picture(size=(8, 16))))
    page.close(progress, 'finished')
    browser.open(index)
    browser.wait('!!page.data')
    browser.click('#newest .picture')
    seen = '[...document.querySelectorAll("dialog *")].filter(e => e.checkVisibility() && e.matches("%s")).length'
    assert browser.eval(seen % 'img') == 1
    assert browser.eval(seen % 'input, select, .pairs, .modes, .middle > button') == 0
    stage = '(r => r.width / r.height)(document.querySelector(".stage").getBoundingClientRect())'
    browser.wait(f'Math.abs({stage} - 2) < 0.01')
    for key in ('f', 'd', 'ArrowRight', 'ArrowUp', '1', 'z'):
        browser.key(key)
    assert browser.eval(seen % 'img') == 1 and browser.eval('page.viewer.scale.textContent') == '100 %'
    Image.new('RGB', (32, 8)).save(index.with_name('new.png'))
    browser.eval('clicked.groups[0].files[0][1] = "new.png"; page.viewer.draw()')
    browser.wait(f'Math.abs({stage} - 4) < 0.01')       # as soon as the size of the picture is known
    assert browser.eval('page.viewer.zoom') == 1 and not browser.errors


def test_new_data_leave_the_viewer_alone(start, progress, at_once, browser, index):
    """Its pictures, its zoom and its focus; when it is closed, the focus returns to the place that was clicked."""
    page = start()
    page.images(progress, {label: picture() for label in CYCLEGAN})
    page.write(progress)
    browser.open(index)
    browser.wait('document.querySelectorAll("#newest img").length === 6 && [...document.images].every(i => i.complete)')
    browser.click('#newest img[alt="fake_B"]')
    browser.eval('page.viewer.zoomTo(3); window.before = document.activeElement')
    progress.advance(4)
    page.written_epoch = 0
    page.images(progress, {label: picture(size=(16, 32)) for label in CYCLEGAN})
    page.write(progress)
    browser.eval('load()')
    browser.wait('document.querySelector("#newest img").naturalWidth === 32')
    assert browser.eval('page.viewer.isOpen && page.viewer.zoom === 3 && document.activeElement === before')
    browser.key('3')
    browser.wait('document.querySelector(".stage img.right").alt.startsWith("rec_A")')
    browser.wait('document.querySelector(".stage img.right").complete')
    assert browser.eval('[...document.querySelectorAll(".stage img")].map(i => i.naturalWidth)') == [8, 8]
    browser.key('Escape')
    browser.wait('document.activeElement.matches("#newest .picture")')
    focused = 'document.activeElement.querySelector("img")'
    assert browser.eval(f'[{focused}.alt, {focused}.naturalWidth]') == ['fake_B', 32] and not browser.errors


def test_an_error_in_one_part_of_the_page_hides_no_other(start, progress, at_once, browser, index):
    page = start()
    page.images(progress, dict(fake_B=picture()))
    page.close(progress, 'finished')
    browser.open(index)
    browser.wait('!!page.data')
    browser.eval('document.querySelectorAll("#newest img").forEach(i => i.remove())')
    browser.eval('page.newest.key = "", page.losses = null, pixmorph(page.data)')      # no curves can be drawn
    assert browser.eval('document.querySelectorAll("#newest img").length') == 1


def test_metrics_of_validations(tmp_path, start, progress, at_once):
    """Values that are not finite are gaps, standard errors have no chart; a page opened again reads the log."""
    lines = [dict(epoch=n, iters=10, total_iters=10 * n, epoch_size=10, metrics=dict(l1=l1, l1_se=0.5, kid=None),
                  best_metric='l1', best=n == 2) for n, l1 in ((1, 5.0), (2, 4.0), (3, None))]
    page = start()
    page.metrics(lines[0])
    (tmp_path / 'run' / 'losses.jsonl').write_text(''.join(f'{json.dumps(line)}\n' for line in lines), encoding='utf-8')
    page = start()
    page.step(progress)
    data = data_of(tmp_path)
    assert data['metrics'] == dict(x=[10, 20, 30], epoch=[1, 2, 3], series=dict(l1=[5.0, 4.0, None]))
    assert data['best'] == dict(metric='l1', value=4.0, epoch=2) and data['curves']['x'] == []


def test_rows_of_validation_images(start, progress, at_once, browser, index):
    page = start(display_winsize=256)
    page.validation(progress, [{label: picture() for label in CYCLEGAN}] * 2)
    page.close(progress, 'finished')
    browser.size(1200, 900)
    browser.open(index)
    browser.wait('!!page.data')
    assert rows_seen(browser, 'validation') == [list(CYCLEGAN[:3]), list(CYCLEGAN[3:])] * 2
    headings = browser.eval('[...document.querySelectorAll("#validation h3")].map(e => e.textContent)')
    assert headings == ['validation image 1', 'validation image 2']


def test_the_time_of_a_resumed_run_is_labeled_as_such(tmp_path, progress, start, browser, index):
    start()
    browser.open(index)
    browser.wait('!!page.data')
    facts = ('[...document.querySelectorAll("#state span")].map(e => e.textContent)'
             '.filter(t => t.startsWith("time since"))')
    assert browser.eval(facts) == ['time since start']
    resumed = Progress(epoch=2, total_iters=13)
    page_of(tmp_path / 'run', options(tmp_path), resumed).open(resumed)
    browser.open(index)
    browser.wait('!!page.data')
    assert browser.eval(facts) == ['time since resumed after 13 images']


def test_without_javascript(start, progress, at_once, browser, index):
    page = start()
    for progress.epoch in range(1, page_module.STATIC_EPOCHS + 11):
        page.images(progress, dict(fake_B=picture()))
    before_scripts = index.read_text(encoding='utf-8').partition('<script>')[0]
    shown = [int(epoch) for epoch in re.findall(r'epoch \[(\d+)\]', before_scripts)]
    assert shown == list(range(60, 10, -1)) and '10 earlier epochs' in before_scripts
    browser.without_javascript()
    browser.open(index)
    assert not browser.errors
