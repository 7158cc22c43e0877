"""combine_A_and_B, make_dataset_aligned and prepare_cityscapes_dataset, on images drawn here."""
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from util.cli import run

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'datasets'))

import combine_A_and_B
import make_dataset_aligned
import prepare_cityscapes_dataset

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def draw(path, colour=RED, size=(40, 30), mode='RGB', **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


def draw_all(folder, names, **options):
    return [draw(folder / name, **options) for name in names]


def halves(path):
    """The mean colours of the left and the right half, and the size."""
    with Image.open(path) as image:
        pixels, size = np.asarray(image.convert('RGB'), float), image.size
    left, right = np.split(pixels, 2, axis=1)
    return left.mean((0, 1)), right.mean((0, 1)), size


def assert_halves(path, left, right, size=(80, 30)):
    found_left, found_right, found_size = halves(path)
    assert found_size == size
    np.testing.assert_allclose(found_left, left, atol=6)
    np.testing.assert_allclose(found_right, right, atol=6)


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


@pytest.fixture
def combine(tmp_path, capsys):
    """combine(*options) -> (exit code, stdout, stderr) with folders A, B, AB of the test."""
    def call(*options, a='A', b='B', ab='AB'):
        argv = ['--fold_A', tmp_path / a, '--fold_B', tmp_path / b, '--fold_AB', tmp_path / ab, *options]
        code = run(combine_A_and_B.main, [str(value) for value in argv])
        return code, *capsys.readouterr()
    return call


# ---------------------------------------------------------------------------------------------- combine

def test_defaults_are_those_of_the_reference():
    opt = vars(combine_A_and_B.parse([]))
    assert {name: str(value) for name, value in opt.items() if name != 'verbose'} == {
        'fold_A': str(Path('../dataset/50kshoes_edges')), 'fold_B': str(Path('../dataset/50kshoes_jpg')),
        'fold_AB': str(Path('../dataset/test_AB')), 'num_imgs': '1000000', 'use_AB': 'False',
        'no_multiprocessing': 'False'}


@pytest.mark.parametrize('options', [[], ['--no_multiprocessing']])
def test_every_split_is_combined(tmp_path, combine, options):
    for split, count in (('train', 4), ('val', 2)):
        draw_all(tmp_path / 'A' / split, [f'{n}.png' for n in range(count)], colour=RED)
        draw_all(tmp_path / 'B' / split, [f'{n}.png' for n in range(count)], colour=BLUE)
    code, out, err = combine(*options)
    assert (code, out, err) == (0, f'wrote 6 pairs to {tmp_path / "AB"}\n', '')
    assert tree(tmp_path / 'AB') == [f'train/{n}.png' for n in range(4)] + ['val/0.png', 'val/1.png']
    assert_halves(tmp_path / 'AB' / 'train' / '3.png', RED, BLUE)


def test_pixels_are_unchanged_and_A_is_on_the_left(tmp_path, combine):
    rng = np.random.default_rng(0)
    arrays = {side: rng.integers(0, 256, (7, 5, 3), np.uint8) for side in 'AB'}
    for side, array in arrays.items():
        (tmp_path / side).mkdir()
        Image.fromarray(array).save(tmp_path / side / 'x.png')
    combine()
    with Image.open(tmp_path / 'AB' / 'x.png') as image:
        np.testing.assert_array_equal(np.asarray(image), np.hstack([arrays['A'], arrays['B']]))


def test_jpeg_files_have_quality_95(tmp_path, combine):
    draw(tmp_path / 'A' / 'x.jpg')
    draw(tmp_path / 'B' / 'x.jpg')
    combine()
    reference = draw(tmp_path / 'reference.jpg', quality=95)
    with Image.open(tmp_path / 'AB' / 'x.jpg') as image, Image.open(reference) as expected:
        assert image.quantization == expected.quantization


def test_images_that_cannot_be_paired_are_reported(tmp_path, combine):
    names = ['0.png', '1.png', 'a.png', 'b.png', 'c.png', 'd.png']
    draw_all(tmp_path / 'A' / 'train', names)
    draw_all(tmp_path / 'B' / 'train', ['0.png', '1.png', 'd.png', 'z.png'])
    draw(tmp_path / 'B' / 'train' / 'c.png', size=(32, 24))
    (tmp_path / 'A' / 'train' / 'd.png').write_bytes(b'no image')
    code, out, _ = combine()
    first, second = out.splitlines()
    assert code == 0
    for part in (f'wrote 2 pairs to {tmp_path / "AB"}', 'skipped 4', '(train/a.png, train/b.png)', 'train/c.png',
                 'A 40x30, B 32x24', 'train/d.png', str(tmp_path / 'A' / 'train' / 'd.png')):
        assert part in first
    assert 'fold_B' in second and '(train/z.png)' in second
    assert tree(tmp_path / 'AB') == ['train/0.png', 'train/1.png']


@pytest.mark.parametrize('options', [[], ['--no_multiprocessing']])
def test_nothing_written_is_exit_code_1(tmp_path, combine, options):
    draw(tmp_path / 'A' / 'x.png')
    draw(tmp_path / 'B' / 'x.png', size=(40, 31))
    code, out, _ = combine(*options)
    assert code == 1
    assert out.startswith('wrote 0 pairs') and 'A 40x30, B 40x31' in out


def test_long_lists_are_shortened(tmp_path, combine):
    draw_all(tmp_path / 'A', [f'{n}.png' for n in range(9)])
    draw(tmp_path / 'B' / '0.png')
    assert '(1.png, 2.png, 3.png, 4.png, 5.png and 3 more)' in combine()[1]


def test_other_files_are_ignored(tmp_path, combine):
    for side in 'AB':
        draw(tmp_path / side / 'train' / 'x.png')
        for name in ('.DS_Store', 'Thumbs.db', 'train/.DS_Store', 'train/._x.png', 'train/notes.txt'):
            (tmp_path / side / name).write_bytes(b'stray')
    (tmp_path / 'A' / '.ipynb_checkpoints').mkdir()
    assert combine() == (0, f'wrote 1 pairs to {tmp_path / "AB"}\n', '')


def test_partners_with_another_extension(tmp_path, combine):
    draw_all(tmp_path / 'A', ['1.jpeg', '2.JPG', '3.png', '4.png', '4.jpg', '5.png'])
    draw_all(tmp_path / 'B', ['1.bmp', '2.jpg', '3.png', '3.bmp', '4.bmp', '5.bmp', '5.jpg'], colour=BLUE)
    code, out, _ = combine()
    assert tree(tmp_path / 'AB') == ['1.jpeg', '2.JPG', '3.png']
    assert 'skipped 3' in out and '(4.jpg, 4.png, 5.png)' in out
    assert_halves(tmp_path / 'AB' / '1.jpeg', RED, BLUE)


def test_use_AB(tmp_path, combine):
    draw_all(tmp_path / 'A' / 'train', ['x_A.png', 'y_A.jpg', 'z_A.png', 'other.png'])
    draw_all(tmp_path / 'B' / 'train', ['x_B.png', 'y_B.bmp', 'z.png'], colour=GREEN)
    _, out, _ = combine('--use_AB')
    assert tree(tmp_path / 'AB') == ['train/x.png', 'train/y.jpg']
    assert_halves(tmp_path / 'AB' / 'train' / 'x.png', RED, GREEN)
    assert 'skipped 2' in out and '(train/other.png)' in out and '(train/z_A.png)' in out


def test_use_AB_with_both_in_one_folder(tmp_path, combine):
    draw(tmp_path / 'A' / 'x_A.png')
    draw(tmp_path / 'A' / 'x_B.png', GREEN)
    assert combine('--use_AB', b='A') == (0, f'wrote 1 pairs to {tmp_path / "AB"}\n', '')
    assert_halves(tmp_path / 'AB' / 'x.png', RED, GREEN)


def test_num_imgs_takes_the_first_of_each_split(tmp_path, combine):
    for side in 'AB':
        draw_all(tmp_path / side / 'train', [f'{n:02}.png' for n in range(12)])
        draw_all(tmp_path / side / 'val', ['7.png', '3.png'])
    assert combine('--num_imgs', 2)[:2] == (0, f'wrote 4 pairs to {tmp_path / "AB"}\n')
    assert tree(tmp_path / 'AB') == ['train/00.png', 'train/01.png', 'val/3.png', 'val/7.png']


def test_unusual_modes_are_converted(tmp_path, combine):
    draw(tmp_path / 'A' / 'alpha.png', (0, 0, 0, 0), mode='RGBA')
    draw(tmp_path / 'B' / 'alpha.png', 0, mode='L')
    (tmp_path / 'A' / 'deep.png').parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((30, 40), 25700, np.uint16)).save(tmp_path / 'A' / 'deep.png')
    draw(tmp_path / 'B' / 'deep.png', RED)
    report = ''.join(map(str, combine()))
    assert_halves(tmp_path / 'AB' / 'alpha.png', WHITE, (0, 0, 0))
    assert 'skipped 1' in report and 'uint16' in report and not (tmp_path / 'AB' / 'deep.png').exists()


def test_deep_images_keep_their_values(tmp_path, combine):
    for name, value in (('A', 25700), ('B', 1)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((30, 40), value, np.uint16)).save(tmp_path / name / 'deep.png')
    assert combine()[0] == 0
    with Image.open(tmp_path / 'AB' / 'deep.png') as image:
        pixels = np.asarray(image)
    assert pixels.dtype == np.uint16 and (pixels[:, :40] == 25700).all() and (pixels[:, 40:] == 1).all()


def test_photos_are_turned_upright(tmp_path, combine):
    """A photo 30 wide and 40 high, stored rotated by 90 degrees; the top is red."""
    stored = np.zeros((30, 40, 3), np.uint8)
    stored[:, :20] = RED
    exif = Image.Exif()
    exif[0x112] = 6
    (tmp_path / 'A').mkdir()
    Image.fromarray(stored).save(tmp_path / 'A' / 'x.jpg', exif=exif, quality=100)
    draw(tmp_path / 'B' / 'x.jpg', BLUE, (30, 40))
    assert combine()[0] == 0
    with Image.open(tmp_path / 'AB' / 'x.jpg') as image:
        assert image.size == (60, 40) and not image.getexif()
        top, bottom = image.getpixel((10, 4)), image.getpixel((10, 35))
    assert top[0] > 240 and bottom[0] < 15


def test_gif_files_are_left_out_and_reported(tmp_path, combine):
    for side in 'AB':
        draw_all(tmp_path / side, ['x.gif', 'y.png'])
    assert 'skipped 1' in (out := combine()[1]) and 'GIF' in out and '(x.gif)' in out
    assert tree(tmp_path / 'AB') == ['y.png']


def test_images_next_to_splits_are_left_out_with_a_warning(tmp_path, combine):
    for side in 'AB':
        draw_all(tmp_path / side, ['train/x.png', 'y.png'])
    code, out, err = combine()
    assert tree(tmp_path / 'AB') == ['train/x.png']
    assert err.startswith('warning: ') and str(tmp_path / 'A') in err


def test_missing_folders_are_reported_together(tmp_path, combine):
    code, out, err = combine('--num_imgs', 0)
    assert (code, out) == (2, '')
    parts = ((str(tmp_path / 'A'), '--fold_A'), (str(tmp_path / 'B'), '--fold_B'), ('--num_imgs 0',))
    for line, expected in zip(err.splitlines(), parts, strict=True):
        assert line.startswith('error: ') and all(part in line for part in expected)


def test_splits_missing_in_B_are_reported_together(tmp_path, combine):
    draw_all(tmp_path / 'A', ['train/x.png', 'val/x.png', 'test/x.png'])
    draw(tmp_path / 'B' / 'train' / 'x.png')
    code, _, err = combine()
    assert code == 2 and not (tmp_path / 'AB').exists()
    assert [str(tmp_path / 'B' / split) in line for split, line in zip(('test', 'val'), err.splitlines(), strict=True)]


def test_folders_without_images(tmp_path, combine):
    for side in 'AB':
        (tmp_path / side / 'train').mkdir(parents=True)
    code, _, err = combine()
    assert code == 2 and str(tmp_path / 'A') in err and '--fold_A' in err


@pytest.mark.parametrize('ab', ['A', 'A/out', 'B/out'])
def test_the_output_must_not_be_in_the_input(tmp_path, combine, ab):
    for side in 'AB':
        draw(tmp_path / side / 'x.png')
    code, _, err = combine(ab=ab)
    assert code == 2 and '--fold_AB' in err


@pytest.mark.parametrize('options', [[], ['--no_multiprocessing']])
def test_a_full_disk_is_reported_in_one_sentence(tmp_path, combine, monkeypatch, options):
    def fail(*args, **kwargs):
        raise OSError(28, 'No space left on device')
    for side in 'AB':
        draw(tmp_path / side / 'x.png')
    monkeypatch.setattr(Image.Image, 'save', fail)
    code, _, err = combine(*options)
    assert code == 4 and str(tmp_path / 'AB' / 'x.png') in err and 'No space left on device' in err


# -------------------------------------------------------------------------------------------- make aligned

def make_aligned(root):
    return run(make_dataset_aligned.main, ['--dataset-path', str(root)])


def draw_sides(root, phase, names, **options):
    draw_all(root / f'{phase}A', names, **options)
    draw_all(root / f'{phase}B', names, colour=BLUE, **options)


def test_train_and_test_are_written(tmp_path, capsys):
    draw_sides(tmp_path, 'train', ['b.png', 'a.JPG', 'c.jpeg'])
    draw_sides(tmp_path, 'test', ['1.png'])
    (tmp_path / 'trainA' / '.hidden.png').write_bytes(b'')
    (tmp_path / 'trainA' / 'Thumbs.db').write_bytes(b'')
    assert make_aligned(tmp_path) == 0
    out, err = capsys.readouterr()
    assert f'wrote 3 pairs to {tmp_path / "train"}' in out and err == ''
    assert tree(tmp_path / 'train') == ['0000.jpg', '0001.jpg', '0002.jpg'] and tree(tmp_path / 'test') == ['0000.jpg']
    assert_halves(tmp_path / 'train' / '0002.jpg', RED, BLUE)


def test_pairs_follow_the_sorted_names(tmp_path, capsys):
    greys = {'z.png': 40, 'a.png': 80, 'm.png': 120}
    for name, level in greys.items():
        draw(tmp_path / 'trainA' / name, (level,) * 3)
        draw(tmp_path / 'trainB' / name, (level + 100,) * 3)
    assert make_aligned(tmp_path) == 0
    for number, level in enumerate((80, 120, 40)):
        assert_halves(tmp_path / 'train' / f'{number:04}.jpg', (level,) * 3, (level + 100,) * 3)
    assert 'testA and testB' in capsys.readouterr().err


def test_different_names_are_paired_with_a_warning(tmp_path, capsys):
    draw_sides(tmp_path, 'test', ['1.png'])
    draw_all(tmp_path / 'trainA', ['1_A.png', '2.png'])
    draw_all(tmp_path / 'trainB', ['1_B.png', '3.png'])
    assert make_aligned(tmp_path) == 0
    assert '1 pairs of' in (err := capsys.readouterr().err) and '(2.png with 3.png)' in err


def test_files_of_an_earlier_run_are_reported(tmp_path, capsys):
    draw_sides(tmp_path, 'train', ['1.png'])
    draw(tmp_path / 'train' / '0007.jpg')
    make_aligned(tmp_path)
    assert '1 other files' in (err := capsys.readouterr().err) and '(0007.jpg)' in err


@pytest.mark.parametrize('spoil, words', [
    (lambda root: (root / 'trainA' / '2.png').unlink(), 'trainA has 2 images and trainB 3'),
    (lambda root: draw(root / 'trainA' / '2.png', size=(40, 31)), '2.png is 40x31'),
    (lambda root: (root / 'trainA' / '2.png').write_bytes(b'no image'), '2.png'),
    (lambda root: [path.unlink() for path in (root / 'testA').iterdir()], 'testA has 0 images and testB 1')])
def test_errors_are_reported_before_anything_is_written(tmp_path, capsys, spoil, words):
    draw_sides(tmp_path, 'train', ['1.png', '2.png', '3.png'])
    draw_sides(tmp_path, 'test', ['1.png'])
    spoil(tmp_path)
    assert make_aligned(tmp_path) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / 'train').exists() and not (tmp_path / 'test').exists()


def test_sizes_are_those_of_upright_photos(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    draw(tmp_path / 'trainA' / '1.jpg', size=(40, 30), exif=exif)
    draw(tmp_path / 'trainB' / '1.jpg', BLUE, (30, 40))
    assert make_aligned(tmp_path) == 0
    assert_halves(tmp_path / 'train' / '0000.jpg', RED, BLUE, (60, 40))


def test_all_missing_folders_are_reported(tmp_path, capsys):
    assert make_aligned(tmp_path / 'none') == 2
    assert make_aligned(tmp_path) == 2
    assert capsys.readouterr().err.count('error: ') == 5
    draw(tmp_path / 'trainA' / '1.png')
    assert make_aligned(tmp_path) == 2
    line, = capsys.readouterr().err.splitlines()
    assert str(tmp_path / 'trainB') in line and '--dataset-path' in line


# ---------------------------------------------------------------------------------------------- cityscapes

@pytest.fixture
def cityscapes(tmp_path):
    """Two shots of train and one of val, 512x256: photos of one color, label maps of two."""
    for split, shots in (('train', ['aachen/b', 'aachen/a']), ('val', ['ulm/c'])):
        for number, shot in enumerate(shots):
            draw(tmp_path / 'photos' / split / f'{shot}_leftImg8bit.png', (50 * number, 0, 90), (512, 256))
            label = draw(tmp_path / 'labels' / split / f'{shot}_gtFine_color.png', GREEN, (512, 256))
            with Image.open(label) as image:
                pixels = np.array(image)
            pixels[:, 301:] = BLUE
            Image.fromarray(pixels).save(label)
            label.with_name(label.name.replace('color', 'labelIds')).write_bytes(b'not used')
    return tmp_path


def prepare(root):
    return run(prepare_cityscapes_dataset.main, ['--gtFine_dir', str(root / 'labels'), '--leftImg8bit_dir',
                                                 str(root / 'photos'), '--output_dir', str(root / 'out')])


def test_few_images_are_enough(cityscapes, capsys):
    assert prepare(cityscapes) == 0
    assert tree(cityscapes / 'out') == [
        'test/0.jpg', 'testA/0_A.jpg', 'testB/0_B.jpg', 'train/0.jpg', 'train/1.jpg',
        'trainA/0_A.jpg', 'trainA/1_A.jpg', 'trainB/0_B.jpg', 'trainB/1_B.jpg']
    assert f'wrote 2 pairs to {cityscapes / "out" / "train"}' in capsys.readouterr().out


def test_photo_left_label_right_in_sorted_order(cityscapes):
    prepare(cityscapes)
    with Image.open(cityscapes / 'out' / 'train' / '0.jpg') as image:
        assert image.size == (512, 256)
        assert np.abs(np.subtract(image.getpixel((100, 100)), (50, 0, 90))).max() < 5  # aachen/a
        assert np.abs(np.subtract(image.getpixel((256 + 50, 100)), GREEN)).max() < 5


def test_label_maps_get_no_colors_between_classes(cityscapes, monkeypatch):
    monkeypatch.setitem(prepare_cityscapes_dataset.JPEG, 'format', 'PNG')
    prepare(cityscapes)
    with Image.open(cityscapes / 'out' / 'trainB' / '0_B.jpg') as image:
        colours = {colour for _, colour in image.getcolors()}
    assert colours == {GREEN, BLUE}


def test_photos_are_resized_bicubic(cityscapes, monkeypatch):
    monkeypatch.setitem(prepare_cityscapes_dataset.JPEG, 'format', 'PNG')
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 512, 3), np.uint8))
    noise.save(cityscapes / 'photos' / 'val' / 'ulm' / 'c_leftImg8bit.png')
    prepare(cityscapes)
    with Image.open(cityscapes / 'out' / 'testA' / '0_A.jpg') as image:
        expected = noise.resize((256, 256), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_color_is_not_subsampled(cityscapes):
    from PIL import JpegImagePlugin
    prepare(cityscapes)
    with Image.open(cityscapes / 'out' / 'train' / '0.jpg') as image:
        assert JpegImagePlugin.get_sampling(image) == 0
        assert all(max(table) == 1 for table in image.quantization.values())


def test_missing_folders_of_cityscapes_are_reported_together(tmp_path, capsys):
    assert prepare(tmp_path) == 2
    err = capsys.readouterr().err
    assert err.count('error: ') == 4
    assert str(tmp_path / 'labels' / 'val') in err and '--gtFine_dir' in err


def test_a_shot_without_label_map_is_reported(cityscapes, capsys):
    (cityscapes / 'labels' / 'train' / 'aachen' / 'a_gtFine_color.png').unlink()
    assert prepare(cityscapes) == 2
    assert '1 shots of train' in (err := capsys.readouterr().err) and '(aachen/a)' in err
    assert not (cityscapes / 'out').exists()


def test_folders_of_something_else(tmp_path, capsys):
    for folder in ('labels', 'photos'):
        for split in ('train', 'val'):
            (tmp_path / folder / split).mkdir(parents=True)
    assert prepare(tmp_path) == 2
    assert '*/*_leftImg8bit.png' in capsys.readouterr().err
