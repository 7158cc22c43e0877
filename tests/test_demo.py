"""The synthetic demos: reproducible bytes, layouts that train.py reads, and scores that tell good results from bad."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'datasets'), str(ROOT / 'scripts')]

import make_demo
import score_demo
from demo_scores import (
    Demo,
    Result,
    confusion,
    failures,
    hue_number,
    psnr,
    score,
    segmentation,
)

from util.cli import run

COUNTS = ['--n_train', '12', '--n_test', '6']


def draw(out, task, *more):
    assert run(make_demo.main, ['--task', task, '--out', str(out), *COUNTS, *more]) == 0
    return out


@pytest.fixture(scope='module', params=['facades', 'day2night', 'shapes'])
def demo(request, tmp_path_factory):
    return Demo(draw(tmp_path_factory.mktemp('demo') / request.param, request.param))


@pytest.fixture(scope='module')
def demos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demos')
    return {task: Demo(draw(folder / task, task)) for task in make_demo.TASKS}


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob('*'))
            if path.is_file()}


def test_the_same_command_writes_the_same_bytes(demo, tmp_path):
    again = draw(tmp_path / 'again', demo.task)
    assert contents(again) == contents(demo.root)


def test_image_depends_on_seed_but_not_on_the_counts(demo, tmp_path):
    fewer, other = tmp_path / 'fewer', tmp_path / 'other'
    for out, more in ((fewer, []), (other, ['--seed', '1'])):
        assert run(make_demo.main, ['--task', demo.task, '--out', str(out), '--n_train', '3', '--n_test', '2',
                                    *more]) == 0
    images = {path: data for path, data in contents(fewer).items() if path.endswith('.png')}
    assert len(images) >= 10
    assert all((demo.root / path).read_bytes() == data for path, data in images.items())
    shared = [path for path in images if not path.startswith('truth')]
    assert all((demo.root / path).read_bytes() != (other / path).read_bytes() for path in shared)


def test_layout(demo):
    folders = {path.name: len(list(path.glob('*.png'))) for path in demo.root.iterdir() if path.is_dir()}
    folders.pop('truth')
    paired = dict(train=12, val=20, test=6)
    assert folders == (paired if demo.task == 'facades' else dict(trainA=12, trainB=12, testA=6, testB=6))
    for folder, count in folders.items():
        masks = [demo.mask(folder, stem) for stem in demo.stems(folder)]
        assert len(masks) == count and {mask.shape for mask in masks} == {(64, 64)}
        assert set(np.unique(masks)) <= set(range(len(demo.classes)))
        width = 128 if demo.task == 'facades' else 64
        assert {demo.image(folder, f'{stem}.png').shape for stem in demo.stems(folder)} == {(64, width, 3)}


def test_all_scenes_are_different(demo):
    folders = [folder for folder in (demo.root / 'truth' / 'masks').iterdir()]
    masks = [demo.mask(folder.name, path.stem).tobytes() for folder in folders for path in folder.glob('*.png')]
    assert len(set(masks)) == len(masks)


def test_facades_labels_are_the_colored_mask(demos):
    palette = make_demo.demo_facades.PALETTE
    right = demos['facades'].image('test', '0001.png')[:, 64:]
    np.testing.assert_array_equal(right, palette[demos['facades'].mask('test', '0001')])
    assert len({tuple(color) for color in palette}) == 8


def test_windows_are_dark_by_day_and_lit_at_night(demos):
    demo = demos['day2night']
    for stem in demo.stems('testA'):
        panes = demo.mask('testA', stem) == demo.classes.index('window')
        day, night = demo.image('testA', f'{stem}.png'), demo.image('truth', 'testA_as_B', f'{stem}.png')
        assert day[panes].mean() < 0.6 * day.mean() and night[panes].mean() > 2 * night.mean()
        back = demo.image('truth', 'testB_as_A', f'{stem}.png')
        assert back.mean() > 2 * demo.image('testB', f'{stem}.png').mean()


def test_hues_json_matches_the_images(demos):
    demo = demos['shapes']
    table = json.loads((demo.root / 'truth' / 'hues.json').read_text(encoding='utf-8'))
    assert len(table) == 18 and len(set(table.values())) == 6
    for name, hue in table.items():
        assert hue_number(demo.image(f'{name}.png'), demo.mask(*name.split('/'))) == hue


@pytest.mark.parametrize('task, size', [('facades', 128), ('day2night', 256), ('shapes', 32)])
def test_other_sizes_show_the_same_scenes(demos, tmp_path, task, size):
    out = tmp_path / 'demo'
    assert run(make_demo.main, ['--task', task, '--out', str(out), '--n_train', '2', '--n_test', '1',
                                '--size', str(size)]) == 0
    folder = 'test' if task == 'facades' else 'testA'
    agree = Demo(out).mask(folder, '0001', (64, 64)) == demos[task].mask(folder, '0001')
    assert agree.mean() > 0.9


def test_outlines_are_hollow(demos, tmp_path):
    out = Demo(draw(tmp_path / 'demo', 'shapes', '--outline'))
    ink = [demo.image('testA', '0001.png').max(2) < 150 for demo in (out, demos['shapes'])]
    assert 0 < ink[0].sum() < 0.6 * ink[1].sum()


def test_an_existing_demo_is_not_written_again(demo, capsys):
    before = {path: path.stat().st_mtime_ns for path in demo.root.rglob('*')}
    draw(demo.root, demo.task)
    assert str(demo.root) in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in demo.root.rglob('*')}


@pytest.mark.skipif(sys.platform == 'win32', reason='needs limits of POSIX')
def test_a_full_disk_is_an_error_of_storage_that_names_the_file(tmp_path):
    """Real writes that fail, in another process: files may have 900 bytes, which demo.json has and images have not."""
    script = ('import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900)); '
              'sys.path[:0] = ["datasets"]; import make_demo; sys.exit(make_demo.run(make_demo.main))')
    done = subprocess.run([sys.executable, '-c', script, '--task', 'facades', '--out', tmp_path / 'demo'], cwd=ROOT,
                          capture_output=True, text=True, timeout=60)
    error = done.stderr.splitlines()[-1]
    assert done.returncode == 4 and error.startswith('error: ') and '.png' in error
    assert not list((tmp_path / 'demo').rglob('*.png')), 'no image is cut off'


def test_an_incomplete_demo_is_written_again(demo, tmp_path):
    out = draw(tmp_path / 'demo', demo.task)
    (out / 'demo.json').write_text(json.dumps(demo.facts | {'complete': False}), encoding='utf-8')
    next(out.glob('test*/*.png')).unlink()
    draw(out, demo.task)
    assert contents(out) == contents(demo.root)


@pytest.mark.parametrize('arguments, words', [
    (['--n_train', '0'], ['--n_train']),
    (['--size', '100', '--seed', '-1'], ['--seed', '-1', '--size 100', '64, 128, 256']),
    (['--size', '32'], ['--size 32']),
    (['--outline'], ['--outline'])])
def test_all_mistakes_are_reported_at_once(tmp_path, capsys, arguments, words):
    assert run(make_demo.main, ['--task', 'facades', '--out', str(tmp_path / 'new'), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith('error: ') for line in lines)
    assert all(word in '\n'.join(lines) for word in words)
    assert not (tmp_path / 'new').exists()


def test_other_files_in_out_are_never_touched(demos, tmp_path, capsys):
    (tmp_path / 'thesis.txt').write_text('mine', encoding='utf-8')
    (tmp_path / 'file').write_text('', encoding='utf-8')
    for out, words in ((tmp_path, ''), (tmp_path / 'file', ''), (demos['shapes'].root, 'task shapes')):
        assert run(make_demo.main, ['--task', 'facades', '--out', str(out), *COUNTS]) == 2
        line, = capsys.readouterr().err.splitlines()
        assert str(out) in line and words in line and '--out' in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'thesis.txt']


def test_only_the_truth_passes_the_gate_among_the_baselines(demo):
    baselines = json.loads((demo.root / 'baselines.json').read_text(encoding='utf-8'))
    assert len(baselines) == 4
    for name, scores in baselines.items():
        assert bool(failures(demo.task, scores)) == (name != 'truth'), name


def test_scores_of_the_truth_and_of_simple_baselines(demos):
    read = {task: json.loads((demos[task].root / 'baselines.json').read_text(encoding='utf-8')) for task in demos}
    facades, nights, shapes = read['facades'], read['day2night'], read['shapes']
    assert facades['truth']['class_acc'] > 0.97 and facades['another photo']['class_acc'] < 0.55
    assert nights['truth']['class_acc'] > 0.95 and nights['truth']['lit'] > 0.95
    assert nights['best map of colours']['class_acc'] < 0.4 and nights['best map of colours']['lit'] < 0.1
    assert shapes['truth']['iou'] > 0.95 and shapes['truth']['guided'] == 1 and shapes['truth']['entropy'] > 0.99
    assert shapes['hue by the shape']['pair_l1'] == 0 and shapes['one hue for all']['modes'] == 1


def test_segmentation_scores_against_values_computed_by_hand():
    truth, predicted = np.array([[0, 0, 0, 1]]), np.array([[0, 0, 1, 1]])
    counts = confusion(predicted, truth, 3)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    scores = segmentation(counts)
    assert scores == pytest.approx(dict(pixel_acc=3 / 4, class_acc=(2 / 3 + 1) / 2, iou=(2 / 3 + 1 / 2) / 2))


def test_psnr_against_a_value_computed_by_hand():
    black, gray = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)
    assert psnr(black, gray) == pytest.approx(20 * np.log10(5))
    assert np.isfinite(psnr(black, black))


def answer_with(demo, answer):
    """A result of `answer(stem)` for every test image."""
    folder = 'test' if demo.task == 'facades' else 'testA'
    return [Result(folder, stem, answer(stem)) for stem in demo.stems(folder)]


def test_dark_windows_fail_even_if_the_rest_is_perfect(demos):
    demo = demos['day2night']

    def switched_off(stem):
        night = demo.image('truth', 'testA_as_B', f'{stem}.png').copy()
        night[demo.mask('testA', stem) == demo.classes.index('window')] = (40, 30, 40)
        return {'fake_B': night}
    missed = failures(demo.task, score(demo, answer_with(demo, switched_off)))
    assert len(missed) == 1 and missed[0].startswith('lit 0.000')


def test_a_bad_reconstruction_fails(demos):
    demo = demos['day2night']
    results = answer_with(demo, lambda stem: {'fake_B': demo.image('truth', 'testA_as_B', f'{stem}.png')})
    for result in results:
        result.cycle_l1 = 28.0
    assert failures(demo.task, score(demo, results)) == ['cycle_l1 28.000 (needs <= 13)']


def test_results_of_another_size_can_be_scored(demos):
    for task, limit in (('facades', 0.9), ('day2night', 0.9)):
        demo = demos[task]

        def larger(stem, demo=demo):
            truth = demo.photo('test', stem) if demo.task == 'facades' else \
                demo.image('truth', 'testA_as_B', f'{stem}.png')
            return {'fake_B': np.asarray(Image.fromarray(truth).resize((128, 128), Image.Resampling.BICUBIC))}
        scores = score(demo, answer_with(demo, larger))
        assert scores['class_acc'] > limit and scores['l1'] < 1 and not failures(task, scores)


def write_run(folder, demo, visuals, direction=None, **extra):
    """A results folder as test.py writes it; `visuals(stem)` gives {name: image}."""
    (folder / 'images').mkdir(parents=True)
    source_folder = 'test' if demo.task == 'facades' else 'testA'
    entries = []
    for stem in demo.stems(source_folder):
        images = visuals(stem)
        files = {name: f'images/{stem}_{name}.png' for name in images}
        for name, image in images.items():
            Image.fromarray(image).save(folder / files[name])
        entries.append(dict(stem=stem, source=str(demo.root / source_folder / f'{stem}.png'), files=files, **extra))
    found = dict(name='run', model='x', direction=direction or demo.facts['direction'], phase='test',
                 epoch='latest', dataroot=str(demo.root), images=entries)
    (folder / 'results.json').write_text(json.dumps(found), encoding='utf-8')
    return folder


def photos(demo):
    return lambda stem: dict(real_A=demo.mean_photo, fake_B=demo.photo('test', stem), real_B=demo.mean_photo)


def test_command_line_passes_the_truth_and_prints_the_table(demos, tmp_path):
    folder = write_run(tmp_path / 'run', demos['facades'], photos(demos['facades']))
    done = subprocess.run([sys.executable, ROOT / 'scripts' / 'score_demo.py', folder], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines()[-1] == 'PASS'
    assert all(word in done.stdout for word in ('this run', '>= 0.85', 'mean training photo', 'psnr_gain'))


def test_command_line_fails_shuffled_photos(demos, tmp_path, capsys):
    demo = demos['facades']
    stems = demo.stems('test')
    shuffled = dict(zip(stems, stems[1:] + stems[:1], strict=True))
    folder = write_run(tmp_path / 'run', demo, lambda stem: {'fake': demo.photo('test', shuffled[stem])})
    assert run(score_demo.main, [str(folder)]) == 1
    assert 'FAIL: class_acc' in capsys.readouterr().out


def test_command_line_reads_the_cycle_and_follows_dataroot(demos, tmp_path, capsys):
    demo = demos['day2night']

    def visuals(stem):
        day, night = demo.image('testA', f'{stem}.png'), demo.image('truth', 'testA_as_B', f'{stem}.png')
        return dict(real_A=day, fake_B=night, rec_A=np.full_like(day, 128), real_B=night, fake_A=day, rec_B=night)
    folder = write_run(tmp_path / 'run', demo, visuals)
    table = json.loads((folder / 'results.json').read_text(encoding='utf-8'))
    (folder / 'results.json').write_text(json.dumps(table | {'dataroot': str(tmp_path)}), encoding='utf-8')
    assert run(score_demo.main, [str(folder)]) == 2
    assert '--dataroot' in capsys.readouterr().err
    assert run(score_demo.main, [str(folder), '--dataroot', str(demo.root / 'testA')]) == 1
    assert 'FAIL: cycle_l1' in capsys.readouterr().out.splitlines()[-1]


def test_command_line_scores_styles(demos, tmp_path, capsys):
    demo = demos['shapes']

    def styles(stem):
        hued = {f'fake_B_{k}': demo.image('truth', 'testA_as_B', f'{stem}_{k % 6}.png') for k in range(8)}
        return hued | {'fake_B': hued['fake_B_0']}
    red = tmp_path / 'red.png'
    Image.fromarray(np.array([236, 236, 236, 220, 30, 40], np.uint8).reshape(1, 2, 3).repeat(9, 0)).save(red)
    folder = write_run(tmp_path / 'run', demo, styles, styles={'fake_B': str(red)})
    assert run(score_demo.main, [str(folder)]) == 0
    Image.fromarray(np.full((4, 4, 3), (30, 60, 220), np.uint8)).save(red)
    assert run(score_demo.main, [str(folder)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == 'FAIL: guided 0.000 (needs >= 0.95)'


def test_one_style_is_not_enough_for_variety(demos, tmp_path, capsys):
    demo = demos['shapes']
    folder = write_run(tmp_path / 'run', demo, lambda stem: {'fake_B': demo.image('testA', f'{stem}.png')})
    assert run(score_demo.main, [str(folder)]) == 2
    assert '--num_styles' in capsys.readouterr().err


def broken(kind, folder, demo):
    """Damage a good results folder; returns a part of the expected message."""
    path = folder / 'results.json'
    table = json.loads(path.read_text(encoding='utf-8'))
    if kind == 'no list':
        path.unlink()
        return 'results.json'
    if kind == 'no json':
        path.write_text('{', encoding='utf-8')
        return 'results.json'
    if kind == 'lost image':
        (folder / table['images'][0]['files']['fake_B']).unlink()
        return table['images'][0]['files']['fake_B']
    if kind == 'torn image':
        (folder / table['images'][0]['files']['fake_B']).write_bytes(b'\x89PNG')
        return table['images'][0]['files']['fake_B']
    changes = {'empty': ({'images': []}, 'results.json'), 'direction': ({'direction': 'AtoB'}, '--direction BtoA'),
               'strange source': ({'images': [e | {'source': '/x/y.png'} for e in table['images']]}, '/x/y.png'),
               'no output': ({'images': [e | {'files': {}} for e in table['images']]}, 'fake_B')}
    change, words = changes[kind]
    path.write_text(json.dumps(table | change), encoding='utf-8')
    return words


@pytest.mark.parametrize('kind', ['no list', 'no json', 'lost image', 'torn image', 'empty', 'direction',
                                  'strange source', 'no output'])
def test_bad_results_are_reported_in_at_most_three_lines(demos, tmp_path, capsys, kind):
    folder = write_run(tmp_path / 'run', demos['facades'], photos(demos['facades']))
    words = broken(kind, folder, demos['facades'])
    assert run(score_demo.main, [str(folder)]) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) <= 3 and 'Traceback' not in err
