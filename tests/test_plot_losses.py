"""scripts/plot_losses.py: the image and the page of the losses of runs, new and old."""
import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, require
from PIL import Image, ImageColor

from scripts import plot_losses
from util.cli import run
from util.monitors import curve_plot
from util.monitors.curve_plot import Series, draw, smoothed, ticks
from util.monitors.curves import read_loss_log

ROOT = Path(__file__).resolve().parents[1]
OLD_LOG = '''================ Training Loss (Mon Jan  1) ================
(epoch: 1, iters: 100, time: 0.112, data: 0.200) G_GAN: 1.100 G_L1: 30.000 D_real: 0.600
(epoch: 1, iters: 200, time: 0.112, data: 0.200) G_GAN: 1.300 G_L1: nan D_real: 0.600
(epoch: 2, iters: 100, time: 0.112) G_GAN: 1.400 G_L1: 20.000 D_real: 0.600
(epoch: 2, iters: 200, time: 0.112, data: 0.200) G_GAN: 1.600 G_L1: 15.000 D_re
(epoch: '''


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of runs: `flat` with constant losses, `falling`, `old` of the reference, `empty`."""
    for name, value in (('flat', lambda n: 2.0), ('falling', lambda n: 10.0 / n)):
        (tmp_path / name).mkdir()
        rows = [dict(epoch=1, iters=n, total_iters=n, lr=0.1, losses=dict(G=value(n), D=1.0)) for n in range(1, 101)]
        (tmp_path / name / 'losses.jsonl').write_text('\n'.join(map(json.dumps, rows)), encoding='utf-8')
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / 'loss_log.txt').write_text(OLD_LOG, encoding='utf-8')
    (tmp_path / 'empty').mkdir()
    return tmp_path


@pytest.fixture
def plot(folder, capsys):
    """plot('flat', ...) -> (exit code, lines of stdout, stderr)."""
    def call(*words):
        code = run(plot_losses.main, [*map(str, words), '--checkpoints_dir', str(folder)])
        streams = capsys.readouterr()
        return code, streams.out.splitlines(), streams.err
    return call


def embedded(path: Path) -> dict:
    return json.loads(re.search(r'^curvesPage\((.*)\);$', path.read_text(encoding='utf-8'), re.MULTILINE)[1])


def rows_of(image: Image.Image, color: str) -> np.ndarray:
    """Rows, right of the axis and above the legend, that contain a color."""
    pixels = np.asarray(image)[:640, curve_plot.LEFT + 10:].astype(int)
    return np.flatnonzero((np.abs(pixels - ImageColor.getrgb(color)).sum(axis=2) < 60).any(axis=1))


def test_one_run(plot, folder):
    assert plot('flat') == (0, [str(folder / 'flat' / 'losses.png'), str(folder / 'flat' / 'losses.html')], '')
    assert Image.open(folder / 'flat' / 'losses.png').size == curve_plot.SIZE
    data = embedded(folder / 'flat' / 'losses.html')
    assert [series['label'] for series in data['series']] == ['G', 'D']
    assert data['series'][0]['x'] == list(range(1, 101)) and data['series'][0]['y'] == [2.0] * 100


def test_several_runs(plot, folder):
    code, out, _ = plot('flat', 'falling', 'old', '--losses', 'G,G_L1')
    assert (code, out) == (0, [str(folder / 'losses.png'), str(folder / 'losses.html')])
    series = embedded(folder / 'losses.html')['series']
    assert [(one['label'], one['hue'], one['line']) for one in series] == [
        ('flat: G', 0, 0), ('falling: G', 0, 1), ('old: G_L1', 1, 2)]
    assert series[2]['x'] == [100, 200, 300, 400] and series[2]['y'] == [30.0, None, 20.0, 15.0]


@pytest.mark.parametrize('option, other', [('--out', 'html'), ('--html', 'png')])
def test_only_the_requested_output_is_written(plot, folder, option, other):
    target = folder / 'new' / 'file with # and %.x'
    assert plot('flat', option, target) == (0, [str(target)], '')
    assert target.stat().st_size and not (folder / 'flat' / f'losses.{other}').exists()


@pytest.mark.parametrize('option', ['--out', '--html'])
def test_other_files_are_never_overwritten(plot, folder, option):
    photo = folder / 'photo.png'
    Image.new('RGB', (8, 8)).save(photo)
    before = photo.read_bytes()
    code, out, err = plot('flat', option, photo)
    assert (code, out, photo.read_bytes()) == (2, [], before) and f'{option} {photo}' in err
    photo.unlink()
    for _ in range(2):      # its own files are
        assert plot('flat', option, photo) == (0, [str(photo)], '')


@pytest.mark.parametrize('words, parts', [
    (('absent',), ['absent', 'falling, flat, old']),
    (('flat', 'empty'), ['empty', 'falling, flat, old']),
    (('flat', '--losses', 'G,H'), ['--losses G,H', 'G, D']), (('flat', '--losses', ' '), ['--losses', 'G, D'])])
def test_mistakes(plot, folder, words, parts):
    code, out, err = plot(*words)
    assert (code, out) == (2, []) and err.startswith('error: ') and err.count('\n') == 1
    assert all(part in err for part in parts) and not (folder / 'losses.png').exists()


def test_folder_without_runs(tmp_path, capsys):
    assert run(plot_losses.main, ['run', '--checkpoints_dir', str(tmp_path / 'absent')]) == 2
    assert '--checkpoints_dir' in capsys.readouterr().err


def test_command_line(folder):
    words = [ROOT / 'scripts' / 'plot_losses.py', 'flat', '--checkpoints_dir', folder.name]
    done = subprocess.run([sys.executable, *words], cwd=folder.parent, text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, '') and Path(done.stdout.splitlines()[0]).is_file()


def test_it_does_not_import_torch():
    script = 'import sys, scripts.plot_losses; print("torch" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert done.stdout == 'False\n'


def test_names_are_text(plot, folder):
    name = '<script>alert(1)<'
    (folder / 'flat').rename(folder / name)
    rows = [dict(epoch=1, iters=1, total_iters=1, losses={'</script><img src=x>': 1.0})]
    (folder / name / 'losses.jsonl').write_text(json.dumps(rows[0]), encoding='utf-8')
    assert plot(name)[0] == 0
    text = (folder / name / 'losses.html').read_text(encoding='utf-8')
    assert text.count('<script>') == text.count('</script>') == 1 and '<img' not in text
    assert '&lt;script&gt;alert(1)&lt;' in text
    assert embedded(folder / name / 'losses.html')['series'][0]['label'] == '</script><img src=x>'


# ---- reading

def test_old_logs(folder):
    found = list(read_loss_log(folder / 'old' / 'loss_log.txt'))
    assert [(one['epoch'], one['iters'], one['total_iters']) for one in found] == [
        (1, 100, 100), (1, 200, 200), (2, 100, 300), (2, 200, 400)]
    assert [one['losses']['G_GAN'] for one in found] == [1.1, 1.3, 1.4, 1.6]
    assert list(found[-1]['losses']) == ['G_GAN', 'G_L1']


# ---- drawing

def test_a_constant_is_drawn_at_its_height():
    low, high = Series('low', [1, 100], [0.0, 0.0], [1, 1], 0), Series('high', [1, 100], [8.0, 8.0], [1, 1], 1)
    middle = Series('middle', [1, 100], [2.0, 2.0], [1, 1], 2)
    image = draw([low, high, middle], 'title')
    at = [rows_of(image, curve_plot.COLORS[hue]).mean() for hue in (0, 1, 2)]
    assert at[1] < at[2] < at[0] and (at[0] - at[2]) / (at[0] - at[1]) == pytest.approx(0.25, abs=0.01)


def test_log_scale():
    series = [Series(str(y), [1, 100], [y, y], [1, 1], hue) for hue, y in enumerate((0.1, 1.0, 100.0, 0.0))]
    image = draw(series, 'title', log=True)
    at = [rows_of(image, curve_plot.COLORS[hue]).mean() for hue in (0, 1, 2)]
    assert (at[0] - at[1]) / (at[0] - at[2]) == pytest.approx(1 / 3, abs=0.01)
    assert not len(rows_of(image, curve_plot.COLORS[3]))


@pytest.mark.parametrize('series', [[], [Series('x' * 300, [], [], [])], [Series('G', [5], [None], [1])],
                                    [Series('G', [5], [-1e30], [1])], [Series('G', [0], [0.0], [1])],
                                    [Series(str(n), [1, 2], [n, n], [1, 1], n, n) for n in range(60)]])
@pytest.mark.parametrize('log', [False, True])
def test_odd_curves_are_drawn(series, log):
    assert draw(series, 'title ü漢', log).size == curve_plot.SIZE


def test_colors_of_losses_are_easy_to_distinguish():
    """CIELAB distances (76); 2 is barely visible, thin lines need ten times as much."""
    def lab(color):
        levels = np.array(ImageColor.getrgb(color)) / 255
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]] @ linear
        x, y, z = np.cbrt(xyz / np.array([0.9505, 1, 1.089]))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
    distances = [np.linalg.norm(lab(one) - lab(other)) for one, other in combinations(curve_plot.COLORS, 2)]
    assert len(curve_plot.COLORS) >= 12 and min(distances) > 30


def test_colors_of_runs_with_different_losses(plot, folder):
    """12 losses of two runs have 12 colors; of the 14 of a third run, no two look the same."""
    names = dict(cyclegan=range(8), pix2pix=range(8, 12), other=range(6, 20))
    for name, losses in names.items():
        (folder / name).mkdir()
        row = dict(epoch=1, iters=1, total_iters=1, losses={f'loss_{n}': 1.0 for n in losses})
        (folder / name / 'losses.jsonl').write_text(json.dumps(row), encoding='utf-8')
    assert plot(*names)[0] == 0
    series, size = embedded(folder / 'losses.html')['series'], len(curve_plot.COLORS)
    looks = [(one['label'].split(':')[0], one['hue'] % size, one['line']) for one in series]
    assert len(set(looks)) == len(looks) == 26
    assert len({hue for name, hue, _ in looks if name != 'other'}) == 12


def test_isolated_points_have_a_shape_for_each_run():
    """The filled share of the box of a marker depends on its shape: circle, square, triangle and diamond."""
    filled = []
    for line in range(4):
        image = draw([Series('G', [50, 100], [None, 4.0], [1, 1], 0, line), Series('D', [100], [8.0], [1], 1)], 'title')
        pixels = np.asarray(image)[:600].astype(int)
        inside = np.abs(pixels - ImageColor.getrgb(curve_plot.COLORS[0])).sum(axis=2) < 60
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        box = inside[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
        assert 7 <= min(box.shape) and max(box.shape) <= 14
        filled.append((box.mean(), box[0].mean(), box[-1].mean()))     # of all, of the top row and of the bottom one
    circle, square, triangle, diamond = filled
    assert square == (1, 1, 1) and 0.75 < circle[0] < 1
    assert triangle[1] < 0.4 and triangle[2] > 0.8 and max(diamond[1:]) < 0.4


def test_isolated_points_in_a_browser(folder, plot, tmp_path):
    require()
    row = dict(epoch=1, iters=1, total_iters=1, losses=dict(G=1.0))
    for name in ('flat', 'falling'):
        (folder / name / 'losses.jsonl').write_text(json.dumps(row), encoding='utf-8')
    assert plot('flat', 'falling')[0] == 0
    with Browser(tmp_path) as page:
        page.open(folder / 'losses.html')
        page.screenshot(tmp_path / 'page.png')
        samples = page.eval('[...document.querySelectorAll(".legend canvas")].map(c => c.toDataURL())')
        assert not page.errors and len(set(samples)) == 2       # same color, different shapes
        place = page.eval('(() => { const r = document.querySelector(".chart canvas").getBoundingClientRect();'
                          'return [r.left, r.top, r.right, r.bottom] })()')
    chart = np.asarray(Image.open(tmp_path / 'page.png').convert('RGB').crop(place)).astype(int)
    marked = np.abs(chart - ImageColor.getrgb(curve_plot.COLORS[0])).sum(axis=2) < 60
    assert np.flatnonzero(marked.any(axis=0)).size >= 7


def test_smoothing():
    assert smoothed([1, 3, None, 5, 9], 2) == [1.0, 2.0, None, 5.0, 7.0]
    assert smoothed([1, 3, 5], 1) == [1, 3, 5]


def test_ticks():
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10] and ticks(-0.35, 0.7, 4) == pytest.approx([0, 0.5])
