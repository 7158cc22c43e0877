"""Result folders: files, metrics, lists and cost. The pages in a real browser: test_gallery.py."""
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

from options.base_options import Options
from util.results import gallery, metrics
from util.results.folder import address_of_training, domain_names, page_facts, what_to_give
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


def test_the_folder_of_a_run_names_its_results(tmp_path):
    assert what_to_give(tmp_path, 'give another') == 'give another'
    for name in ('val_best', 'test_latest'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'results.json').write_text('{}')
    assert what_to_give(tmp_path, '') == f'give {tmp_path / "test_latest"} or {tmp_path / "val_best"}'


def test_legends():
    two_way = ['real_A', 'fake_B', 'rec_A', 'real_B', 'fake_A', 'rec_B']
    assert legend(two_way, None)['rec_A'] == 'G_B(fake_B)' and legend(two_way, None).keys() == set(two_way)
    assert legend(['real_A', 'fake_B', 'real_B'], ('fake_B', 'real_B'))['real_B'] == 'the target'
    assert legend(['mine', 'fake'], None) == {'fake': 'G(real)'}
    assert 'fake_B_k' in legend(['real_A', 'rec_A', 'fake_B_0', 'fake_B_1'], None)
    styled = legend(['real_A', 'fake_B', 'rec_B', 'real_B'], ('rec_B', 'real_B'))
    assert styled.keys() == {'real_A', 'fake_B', 'rec_B', 'real_B'} and 'real_B' in styled['rec_B']
