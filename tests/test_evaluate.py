"""scripts/evaluate.py: which images are compared, statistics, and what it writes."""
import csv
import importlib.util
import json
import math
import os
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from util.cli import run
from util.raster.write import write_pixels
from util.results.metrics import compare

sys.path.insert(0, str(ROOT / 'scripts'))
from evaluation import report  # noqa: E402


def load(path):
    spec = importlib.util.spec_from_file_location(f'{path.stem}_script', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evaluate = load(ROOT / 'scripts' / 'evaluate.py')


def picture(seed, size=(12, 10)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def results(folder, visuals, n=4, target=None, **options):
    """A folder as test.py writes it; the image of a visual is drawn from its name and number."""
    images = []
    for number in range(n):
        files = {}
        for visual in visuals:
            files[visual] = f'images/{number}_{visual}.png'
            save(folder / files[visual], picture([number, *visual.encode()]))
        images.append(dict(stem=str(number), source=f'/data/{number}.png', files=files))
    options = {'dataset_mode': 'unaligned', 'input_nc': '3', 'output_nc': '3', **options}
    content = dict(name='run', epoch='latest', direction='AtoB', target=target, options=options, images=images)
    (folder / 'results.json').write_text(json.dumps(content), encoding='utf-8')
    return folder


def call(*words):
    return run(evaluate.main, [str(word) for word in words])


def written(folder):
    return json.loads((folder / 'metrics.json').read_text(encoding='utf-8'))


def expected(folder, fake, real, number):
    return compare(*(np.asarray(Image.open(folder / 'images' / f'{number}_{name}.png')) for name in (fake, real)))


def test_results_with_targets(tmp_path, capsys):
    folder = results(tmp_path, ('real_A', 'fake_B', 'real_B'), target=('fake_B', 'real_B'))
    save(folder / 'images' / '3_fake_B.png', picture([3, *b'real_B']))      # equal: its PSNR is infinite
    assert call(folder) == 0
    found = written(folder)
    scores = [expected(folder, 'fake_B', 'real_B', number) for number in range(4)]
    for name in ('L1', 'PSNR', 'SSIM'):     # as older versions wrote them
        values = [score[name] for score in scores]
        for number, value in enumerate(values):
            assert found['images'][str(number)][name] == (pytest.approx(value) if math.isfinite(value) else None)
        finite = [value for value in values if math.isfinite(value)]
        assert found['mean'][name] == pytest.approx(np.mean(finite))
        entry = found['metrics'][name.lower()]
        assert entry['n'] == len(finite) and entry['median'] == pytest.approx(np.median(finite))
        assert entry['std'] == pytest.approx(np.std(finite, ddof=1)) and entry['low'] < entry['value'] < entry['high']
        assert entry['protocol'] and entry['better'] in ('lower', 'higher')
    rows = list(csv.reader((folder / 'metrics.csv').open(encoding='utf-8')))
    assert rows[0] == ['image', 'L1', 'PSNR', 'SSIM'] and rows[4][2] == 'inf'
    assert float(rows[1][1]) == pytest.approx(scores[0]['L1'])
    assert '4 images' in capsys.readouterr().out


def test_the_interval_is_the_bootstrap():
    values = np.random.default_rng(1).normal(10, 2, 400)
    low, high = report.bootstrap(values)
    error = values.std(ddof=1) / 20
    assert (low, high) == report.bootstrap(values)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_both_directions_of_an_unpaired_model(tmp_path, capfd):
    visuals = ('real_A', 'fake_B', 'rec_A', 'real_B', 'fake_A', 'rec_B')
    folder = results(tmp_path, visuals)
    assert call(folder, '--metrics', 'l1') == 2
    assert '--paired' in capfd.readouterr().err and not (folder / 'metrics.json').exists()
    assert call(folder, '--metrics', 'l1', '--paired') == 0
    found = written(folder)
    for number in range(4):
        assert found['images'][str(number)]['L1'] == pytest.approx(expected(folder, 'fake_B', 'real_B', number)['L1'])
        assert found['BtoA']['images'][str(number)]['L1'] == pytest.approx(
            expected(folder, 'fake_A', 'real_A', number)['L1'])
    results(tmp_path / 'aligned', visuals, dataset_mode='aligned')
    assert call(tmp_path / 'aligned', '--metrics', 'l1') == 0 and written(tmp_path / 'aligned')['mean'] == found['mean']


def test_sets_need_no_targets(tmp_path):
    folder = results(tmp_path, ('real_A', 'fake_B', 'real_B', 'fake_A'))
    assert call(folder, '--metrics', 'histogram') == 0
    found = written(folder)
    entry = found['metrics']['histogram']
    assert 0 < entry['value'] < 1 and entry['n'] == 4 and entry['low'] is None and 'histogram_L' in entry
    assert found['BtoA']['metrics']['histogram']['value'] != entry['value']
    root = ElementTree.parse(folder / 'histogram.svg').getroot()
    assert len(root.findall('{http://www.w3.org/2000/svg}polyline')) == 6 and (folder / 'histogram_BtoA.svg').exists()
    shown = ' '.join(text.text for text in root.findall('{http://www.w3.org/2000/svg}text'))
    assert f'L: intersection {entry["histogram_L"]:.3f}' in shown


def test_two_folders_and_targets_by_name(tmp_path, capfd):
    for number in range(3):
        save(tmp_path / 'fake' / 'a' / f'{number}_fake_B.png', picture(number))
        save(tmp_path / 'real' / 'a' / f'{number}.png', picture(number + 10))
    words = ('--fake', tmp_path / 'fake', '--real', tmp_path / 'real', '--output', tmp_path / 'out')
    assert call(*words, '--metrics', 'l1,histogram') == 0
    found = written(tmp_path / 'out')
    assert found['images']['a/1_fake_B']['L1'] == pytest.approx(compare(picture(1), picture(11))['L1'])
    save(tmp_path / 'fake' / 'other.png', picture(5))
    assert call(*words, '--metrics', 'histogram') == 0
    capfd.readouterr()
    assert call(*words) == 2            # KID is the default, and there are no weights
    assert call(*words, '--metrics', 'l1') == 2
    assert '1 of 4 results' in capfd.readouterr().err
    save(tmp_path / 'fake' / 'other.png', picture(5, (20, 20)))
    save(tmp_path / 'real' / 'other.png', picture(5, (30, 20)))
    assert call(*words, '--metrics', 'histogram') == 0
    assert call(*words, '--metrics', 'l1') == 2


def test_targets_of_results_from_a_folder(tmp_path):
    folder = results(tmp_path / 'run', ('real', 'fake'), n=2)
    for number in range(2):
        save(tmp_path / 'real' / f'{number}.png', picture(number + 10))
    assert call(folder, '--real', tmp_path / 'real', '--metrics', 'psnr') == 0
    score = compare(picture([1, *b'fake']), picture(11))['PSNR']
    assert written(folder)['images']['1']['PSNR'] == pytest.approx(score)


def test_styles_of_one_input_are_named(tmp_path, capfd):
    folder = results(tmp_path, ('real_A', 'fake_B_0', 'fake_B_1', 'real_B'), n=2)
    assert call(folder, '--metrics', 'l1', '--paired') == 0
    assert set(written(folder)['images']) == {'0_fake_B_0', '0_fake_B_1', '1_fake_B_0', '1_fake_B_1'}
    single = results(tmp_path / 'single', ('real_A', 'fake_B', 'real_B'))
    capfd.readouterr()
    assert call(single, '--metrics', 'diversity') == 2


def test_label_maps_and_the_scores_of_classes(tmp_path):
    folder = results(tmp_path, ('real_A', 'fake_B', 'real_B'), n=1, target=('fake_B', 'real_B'))
    truth = np.zeros((4, 6, 3), np.uint8)
    truth[:, 3:] = 255
    fake = truth.copy()
    fake[:, 5] = 40
    save(folder / 'images' / '0_real_B.png', truth)
    save(folder / 'images' / '0_fake_B.png', fake)
    assert call(folder, '--metrics', 'fcn_labels', '--palette', '0 0 0, 255 255 255') == 0
    entry = written(folder)['metrics']['fcn_labels']
    assert entry['value'] == pytest.approx((3 / 4 + 2 / 3) / 2) and entry['fcn_labels_pixel_acc'] == 5 / 6
    assert call(folder, '--metrics', 'fcn_labels') == 2


def test_deep_images_are_measured_in_the_range_of_the_training(tmp_path, capfd):
    folder = results(tmp_path / 'run', ('real_A',), n=1, target=('fake_B', 'real_B'), output_nc='1', range_B='0,1000',
                     dtype_B='uint16,1')
    content = json.loads((folder / 'results.json').read_text(encoding='utf-8'))
    pixels = {'fake_B': np.full((8, 8, 1), 100, np.uint16), 'real_B': np.full((8, 8, 1), 300, np.uint16)}
    for name, values in pixels.items():
        content['images'][0]['files'][name] = f'images/0_{name}.tif'
        write_pixels(folder / 'images' / f'0_{name}.tif', values)
        (tmp_path / name).mkdir()
        write_pixels(tmp_path / name / '0.tif', values)
    (folder / 'results.json').write_text(json.dumps(content), encoding='utf-8')
    assert call(folder, '--metrics', 'l1') == 0
    assert written(folder)['mean']['L1'] == pytest.approx(200 / 1000 * 255)
    words = ('--fake', tmp_path / 'fake_B', '--real', tmp_path / 'real_B', '--metrics', 'l1', '--output', tmp_path)
    capfd.readouterr()
    assert call(*words) == 2
    assert '--range_B' in capfd.readouterr().err
    assert call(*words, '--range_B', '0,1000') == 0 and written(tmp_path)['mean'] == written(folder)['mean']


def test_a_range_is_that_of_deep_images_alone(tmp_path, capfd):
    """8-bit images next to deep ones keep their levels, and a damaged file is not called deep."""
    gray = picture(0)[..., 0]
    save(tmp_path / 'plain' / '0.png', np.dstack([gray] * 3))
    save(tmp_path / 'deep' / '0.png', gray.astype(np.uint16) * 257)
    words = ('--fake', tmp_path / 'deep', '--real', tmp_path / 'plain', '--metrics', 'l1', '--output', tmp_path)
    assert call(*words, '--range_B', '0,65535') == 0
    assert written(tmp_path)['mean']['L1'] == pytest.approx(0, abs=1e-4)
    (tmp_path / 'deep' / '0.png').write_text('no image')
    for more in ((), ('--range_B', '0,65535')):
        capfd.readouterr()
        assert call(*words, *more) == 2
        found, = capfd.readouterr().err.splitlines()
        assert 'cannot read' in found and '--range_B' not in found


@pytest.mark.parametrize('words', [(), ('--fake', '.'), ('nowhere',), ('.', '--fake', '.'),
                                   ('--fake', 'nowhere', '--real', 'nowhere')])
def test_mistakes_are_one_sentence(words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize('words', [('--metrics', ','), ('--device', 'tea'), ('--output', 'results.json'),
                                   ('--metrics', 'lpips')])     # no targets, in both directions
def test_mistakes_of_two_directions_are_one_sentence(words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(results(tmp_path, ('real_A', 'fake_B', 'real_B', 'fake_A')))
    assert call('.', *(() if words[0] == '--metrics' else ('--metrics', 'histogram')), *words) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert not (tmp_path / 'metrics.json').exists()


def test_what_cannot_be_measured_is_said_before_networks_are_loaded(tmp_path, monkeypatch, capsys):
    """All mistakes together: an unknown name, images of other sizes, too few images, no targets."""
    from models import metrics
    monkeypatch.setattr(metrics, 'create', lambda *_, **__: pytest.fail('networks were loaded'))
    for name, size in (('0', (12, 10)), ('1', (20, 10)), ('2', (20, 10))):
        save(tmp_path / 'fake' / f'{name}.png', picture(1, size))
        save(tmp_path / 'real' / f'{name}.png', picture(2))
    save(tmp_path / 'one' / '0.png', picture(1))
    assert call('--fake', tmp_path / 'fake', '--real', tmp_path / 'real', '--metrics', 'psnr,ssin') == 2
    name, size = capsys.readouterr().err.splitlines()
    assert 'ssim' in name and '10x20' in size and '10x12' in size and '1 other' in size
    assert call('--fake', tmp_path / 'one', '--real', tmp_path / 'one', '--metrics', 'kid') == 2
    assert '2 of each' in capsys.readouterr().err
    assert call('--fake', tmp_path / 'fake', '--real', tmp_path / 'one', '--metrics', 'lpips') == 2
    assert 'has no targets' in capsys.readouterr().err


def test_images_of_one_name(tmp_path, capfd):
    """Each result has a row of its own; a target is only taken if there is one that fits."""
    fake, real = tmp_path / 'fake', tmp_path / 'real'
    for name in ('1.png', '1.bmp', os.fsdecode(b'\xff.png')):
        save(fake / name, picture(1))
        save(real / name, picture(2))
    assert call('--fake', fake, '--real', real, '--output', tmp_path / 'out') == 0
    assert set(written(tmp_path / 'out')['images']) == {'1.png', '1.bmp', '\ufffd'}
    assert len((tmp_path / 'out' / 'metrics.csv').read_text(encoding='utf-8').splitlines()) == 4
    (real / '1.bmp').rename(real / '1.tif')
    assert call('--fake', fake, '--real', real, '--metrics', 'l1') == 2     # 1.bmp: of 1.png or of 1.tif?
    assert '1.tif' in capfd.readouterr().err


def test_results_are_not_compared_with_their_inputs(tmp_path, capfd):
    """A folder with images of several kinds for each name, as test.py writes it, has no single target."""
    save(tmp_path / 'fake' / '1_fake_B.png', picture(1))
    for name in ('1_real_A.png', '1_real_B.png'):
        save(tmp_path / 'real' / name, picture(2))
    assert call('--fake', tmp_path / 'fake', '--real', tmp_path / 'real', '--metrics', 'l1') == 2
    assert '1_real_A' in capfd.readouterr().err
    (tmp_path / 'real' / '1_real_A.png').unlink()
    assert call('--fake', tmp_path / 'fake', '--real', tmp_path / 'real', '--metrics', 'l1') == 0
