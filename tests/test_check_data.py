"""check_data.py: all kinds of problems are found and reported, also on a page that file names cannot break."""
import base64
import importlib.util
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import draw_images
from PIL import Image
from test_data import truncated

from util.cli import run

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def check(capfd):
    """check('--dataroot', root) -> exit code, lines of stdout, lines of stderr."""
    spec = importlib.util.spec_from_file_location('check_data', ROOT / 'scripts' / 'check_data.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*argv):
        code = run(module.main, [*map(str, argv)])
        out, err = capfd.readouterr()
        return code, out.splitlines(), err.splitlines()
    return call


@pytest.fixture
def healthy(tmp_path):
    """30 different images for each domain, 3 for tests."""
    for seed, name in enumerate(('trainA', 'trainB', 'testA', 'testB')):
        draw_images(tmp_path / 'set' / name, 30 if 'train' in name else 3, seed=seed)
    return tmp_path / 'set'


def findings(lines, word) -> list[str]:
    return [line for line in lines if line.startswith(('FAILS', 'note')) and word in line]


def test_a_healthy_dataset(check, healthy):
    code, out, _ = check('--dataroot', healthy)
    assert code == 0 and not findings(out, '') and out[-1] == 'training can start'
    assert f'{healthy / "trainA"}: 30 images, 40x40, uint8 RGB' in out


def leak(root):
    shutil.copy(root / 'trainA' / '3.png', root / 'testA' / 'leak.png')
    return ['leak.png', 'in training and test']


def copied(root):
    shutil.copy(root / 'trainA' / '3.png', root / 'trainA' / 'copy.png')
    return ['copy.png', '1 of 67 images', 'twice']


def of_other_values(root):
    for number, value in enumerate((-3000, float('nan'), 7e6)):
        Image.new('F', (40, 40), value).save(root / 'trainA' / f'0{number}.tif')
    Image.new('F', (40, 40), 0.5).save(root / 'testA' / 'half.tif')
    return ['00.tif (', '-3000', '01.tif (', 'NaN', '02.tif (', '7e+06']


def damaged_with_reason(root):
    truncated(root / 'trainB' / '4.png')
    return ['4.png (', 'truncated']


def constant(root):
    Image.new('RGB', (40, 40), (7, 8, 9)).save(root / 'trainB' / 'flat.png')
    return ['flat.png', '1 of 67 images']


def damaged(root):
    truncated(root / 'trainB' / '4.png')
    return ['4.png', '1 of 66 images']


def unreadable(root):
    (root / 'trainB' / 'empty.png').touch()
    return ['empty.png', '0 bytes', '--bad_images skip']


def small(root):
    Image.radial_gradient('L').resize((30, 60)).convert('RGB').save(root / 'trainB' / 'small.png')
    return ['small.png', '30x60', '--crop_size 32']


def too_many_damaged(root):
    for number in range(3):
        truncated(root / 'trainA' / f'{number}.png')
    return ['3 of 66 images', '2.png']


CROP = ['--preprocess', 'crop', '--crop_size', '32']


@pytest.mark.parametrize(('spoil', 'fails'), [
    (leak, False), (copied, False), (constant, False), (damaged, False), (unreadable, True), (small, True),
    (too_many_damaged, True), (damaged_with_reason, False)])
def test_a_problem_is_found(check, healthy, spoil, fails):
    parts = spoil(healthy)
    code, out, _ = check('--dataroot', healthy, *CROP)
    line, = findings(out, '')
    assert code == int(fails) and line.startswith('FAILS' if fails else 'note')
    assert all(part in line for part in parts)


def test_types_that_do_not_agree(check, healthy):
    """Floats between 8-bit photos: their values may mean different things."""
    parts = of_other_values(healthy)
    code, out, _ = check('--dataroot', healthy)
    line, *_ = findings(out, 'FAILS')
    assert code == 1 and '--range_A' in line and 'float32' in line and 'uint8' in line and '.tif' in line
    code, out, _ = check('--dataroot', healthy, '--range_A', '0,255')
    line, = findings(out, 'FAILS')
    assert code == 1 and all(part in line for part in parts)
    for path in (healthy / 'trainA').glob('0?.tif'):
        Image.new('F', (40, 40), 99).save(path)
    assert check('--dataroot', healthy, '--range_A', '0,255')[0] == 0


def test_fast_reads_headers_only(check, healthy):
    for spoil in (leak, constant, damaged):
        spoil(healthy)
    code, out, _ = check('--dataroot', healthy, '--fast')
    assert code == 0 and not findings(out, '')


def test_a_domain_with_few_images(check, tmp_path):
    draw_images(tmp_path / 'set' / 'trainA', 5)
    draw_images(tmp_path / 'set' / 'trainB', 30)
    code, out, _ = check('--dataroot', tmp_path / 'set')
    line, = findings(out, '')
    assert code == 0 and 'trainA' in line and '5 images' in line


def test_unmatched_pairs(check, healthy):
    (healthy / 'trainB' / '7.png').unlink()
    code, out, _ = check('--dataroot', healthy, '--dataset_mode', 'aligned')
    line, = findings(out, '')
    assert code == 1 and '7.png' in line and '--allow_unmatched' in line
    assert check('--dataroot', healthy, '--dataset_mode', 'aligned', '--allow_unmatched')[0] == 0


def test_files_that_will_be_skipped(check, healthy):
    unreadable(healthy)
    assert check('--dataroot', healthy, '--bad_images', 'skip')[0] == 0


@pytest.mark.parametrize('words', [['--dataroot', 'absent'], ['--netG', 'x'], ['--report']])
def test_a_wrong_command_line(check, healthy, words):
    code, out, err = check('--dataroot', healthy, *words)
    assert code == 2 and not out and any(line.startswith('error') for line in err)


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding='utf-8'))
    return reader


def test_the_page(check, healthy, tmp_path):
    name = '<script>alert(1)<∕script> "x\' & #1?.png'
    Image.new('RGB', (400, 200), 'red').save(healthy / 'trainA' / name)
    (healthy / 'trainA' / 'empty.png').touch()
    code, out, _ = check('--dataroot', healthy, '--report', tmp_path / 'page.html')
    page = read(tmp_path / 'page.html')
    assert code == 1 and f'report: {tmp_path / "page.html"}' in out
    assert {tag for tag, _ in page.tags} <= set(
        'html head title meta style body main h1 h2 p ul li section div figure figcaption img span br'.split())
    assert name in ''.join(page.text) and 'empty.png' in ''.join(page.text)
    picture, = (attributes for tag, attributes in page.tags if tag == 'img')
    assert picture['src'].startswith('data:image/png;base64,') and picture['alt'] == name
    image = Image.open(io.BytesIO(base64.b64decode(picture['src'].partition(',')[2])))
    assert image.size == (128, 64) and image.getpixel((5, 5)) == (255, 0, 0)
    assert not re.search(r'(src|href)="(?!data:)', (tmp_path / 'page.html').read_text(encoding='utf-8'))


def test_the_page_shows_some_of_many(check, healthy, tmp_path):
    for number in range(40):
        Image.new('RGB', (40, 40), (number, 0, 0)).save(healthy / 'trainA' / f'flat{number}.png')
    check('--dataroot', healthy, '--report', tmp_path / 'page.html')
    page = read(tmp_path / 'page.html')
    assert sum(tag == 'img' for tag, _ in page.tags) == 24 and '16 more of 40' in ''.join(page.text)


def test_a_page_without_problems(check, healthy, tmp_path):
    assert check('--dataroot', healthy, '--report', tmp_path / 'page.html')[0] == 0
    assert 'No problems' in ''.join(read(tmp_path / 'page.html').text)


def test_a_photo_is_not_overwritten_by_the_page(check, healthy):
    photo = healthy / 'trainA' / '0.png'
    before = photo.read_bytes()
    code, _, err = check('--dataroot', healthy, '--report', photo)
    assert (code, photo.read_bytes()) == (2, before) and f'--report {photo}' in err[0]


def test_a_name_that_is_not_utf8(check, healthy, tmp_path):
    try:
        Image.new('RGB', (40, 40)).save(healthy / 'trainA' / 'caf\udce9.png')
    except (OSError, UnicodeError):
        pytest.skip('this file system has no such names')
    code, _, _ = check('--dataroot', healthy, '--report', tmp_path / 'page.html')
    assert code == 0 and 'caf\ufffd.png' in ''.join(read(tmp_path / 'page.html').text)
