"""Very many files: packed lists, stored lists that are never outdated, and headers of a sample."""
import os
import random
import time

import numpy as np
import pytest
from conftest import draw_images
from test_data_faults import training

from data import create_dataset, create_loader
from data.checking.background import BackgroundCheck
from data.checking.bad_images import FILE_NAME
from data.image_folder import ignored, list_images
from util.errors import UserError
from util.places import listing, paths
from util.places.paths import Paths, natural, natural_bytes, sorted_paths, without


@pytest.fixture
def few_are_many(monkeypatch, tmp_path):
    """Ten files are very many, folders need not rest before their list is stored, and a sample has five headers."""
    monkeypatch.setattr(paths, 'MANY', 10)
    monkeypatch.setattr(listing, 'SETTLED', -1)
    monkeypatch.setattr(listing, 'is_trusted', lambda folder: True)
    monkeypatch.setattr(paths, 'SAMPLE', 5)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'caches'))


def dataset_of(root, mode: str, **changes):
    return create_dataset(training(root, mode, load_size=36, crop_size=32, **changes))


def names(seed: int, count: int = 300) -> list[str]:
    rng = random.Random(seed)
    letters = ['a', 'b', '/', '-', '.', '0', '00', '1', '12', '9', '007', '\u0663', 'é', '\udcff', '\U0001f600', ' ']
    return ['x' + ''.join(rng.choices(letters, k=rng.randint(1, 8))) for _ in range(count)]


@pytest.mark.parametrize('seed', range(3))
def test_bytes_have_the_natural_order(seed):
    found = sorted(set(names(seed)), key=natural_bytes)
    assert found == sorted(set(names(seed)), key=natural)


def test_packed_paths_are_a_list_of_paths():
    texts = sorted({name.replace('/', '_') for name in names(5)}, key=natural)
    packed = sorted_paths('folder', reversed(texts))
    expected = [os.path.join('folder', text) for text in texts]
    assert list(packed) == expected and len(packed) == len(expected)
    assert [packed[index] for index in (0, 7, -1)] == [expected[index] for index in (0, 7, -1)]
    assert list(packed[2:50:7]) == expected[2:50:7] and list(packed[:3]) == expected[:3]
    assert list(without(packed, {0, 5})) == expected[1:5] + expected[6:]
    assert packed.has_names_of(sorted_paths('other', texts)) and not packed.has_names_of(packed[1:])
    long = Paths.of_names('', ['a' * 3000, 'b'])
    assert list(long) == ['a' * 3000, 'b']
    with pytest.raises(IndexError):
        packed[len(packed)]


def test_memory_does_not_depend_on_python_objects():
    """Two arrays: the names, and where they begin."""
    packed = sorted_paths('folder', (f'img_{number}.jpg' for number in range(1000)))
    assert isinstance(packed.names, np.ndarray) and packed.starts.dtype == np.uint32
    assert packed.names.nbytes == sum(len(f'img_{number}.jpg') + 1 for number in range(1000))


def test_a_stored_list_is_that_of_the_folder(few_are_many, tmp_path, monkeypatch, capsys):
    root = tmp_path / 'root'
    for folder in ('a', 'a/b', '.hidden'):
        draw_images(root / folder, 6)
    (root / 'a' / 'note.txt').touch()
    first = list_images(root)
    assert isinstance(first, Paths) and len(first) == 12
    monkeypatch.setattr(os, 'walk', lambda *_: pytest.fail('the folder is read again'))
    again = list_images(root)
    assert list(again) == list(first) == sorted(first, key=natural) and isinstance(again.names, np.memmap)
    assert list(list_images(root, limit=3)) == list(first)[:3] and ignored(root) == '1 .txt'


@pytest.mark.parametrize('change', ['added', 'added below', 'removed', 'renamed', 'new folder', 'times set back',
                                    'other extensions'])
def test_a_changed_folder_is_read_again(few_are_many, change, tmp_path, monkeypatch):
    root = tmp_path / 'root'
    draw_images(root / 'a' / 'b', 12)
    before = list(list_images(root))
    places = [root, root / 'a', root / 'a' / 'b']
    times = {place: os.stat(place) for place in places}
    time.sleep(0.02)        # longer than a tick of the clock of the file system
    if change == 'added below':
        (root / 'a' / 'b' / 'new.png').touch()
    elif change == 'removed':
        (root / 'a' / 'b' / '3.png').unlink()
    elif change == 'renamed':
        (root / 'a' / 'b' / '3.png').rename(root / 'a' / 'b' / 'z.png')
    elif change == 'new folder':
        (root / 'c').mkdir()
        (root / 'c' / 'new.png').touch()
    elif change == 'other extensions':
        (root / 'a' / 'b' / 'x.foo').touch()
        monkeypatch.setattr('data.image_folder.LISTED_BY', 'images .foo')
        monkeypatch.setattr('data.image_folder.known_extensions', lambda: ('.png', '.foo'))
    else:
        (root / 'a' / 'new.png').touch()
    if change == 'times set back':
        for place, status in times.items():
            os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    now = list(list_images(root))
    assert now != before and now == sorted(
        (str(path) for path in root.rglob('*') if path.suffix in ('.png', '.foo')), key=natural)


def test_a_list_is_stored_only_where_that_is_safe(few_are_many, tmp_path, monkeypatch):
    """Not right after a change, not on file systems that may not note changes, and not if the folder changes."""
    draw_images(tmp_path / 'root', 12)
    stored = tmp_path / 'caches' / 'pixmorph'
    for name, value in (('SETTLED', 60), ('is_trusted', lambda folder: False),
                        ('version_of', lambda folder: [time.time_ns(), 0, 0])):
        with monkeypatch.context() as patch:
            patch.setattr(listing, name, value)
            list_images(tmp_path / 'root')
            assert not list(stored.glob('files-*'))
    list_images(tmp_path / 'root')
    file, = stored.glob('files-*')
    for content in (b'', b'{}\n', file.read_bytes()[:-5], b'\xff' + file.read_bytes()):
        file.write_bytes(content)
        assert len(list_images(tmp_path / 'root')) == 12


@pytest.mark.parametrize('kind, trusted', [('ext4', True), ('fuse.s3fs', False)])
def test_file_systems(kind, trusted, tmp_path, monkeypatch):
    (tmp_path / 'mounts').write_text(f'root / xfs rw 0 0\ndata {tmp_path} {kind} rw 0 0\n', encoding='utf-8')
    monkeypatch.setattr(listing, 'MOUNTS', tmp_path / 'mounts')
    assert listing.is_trusted(tmp_path / 'root') == trusted and listing.is_trusted(tmp_path.parent)
    monkeypatch.setattr(listing, 'MOUNTS', tmp_path / 'absent')
    assert not listing.is_trusted(tmp_path)


@pytest.mark.parametrize('mode, folders', [('single', ['.']), ('unaligned', ['trainA', 'trainB']),
                                           ('colorization', ['train']), ('aligned', ['train']),
                                           ('aligned', ['trainA', 'trainB'])])
def test_datasets_are_the_same_with_packed_lists(mode, folders, few_are_many, tmp_path, monkeypatch):
    """Samples, sizes of the dataset and of the cache; only the headers of a sample are read."""
    size = (80, 40) if folders == ['train'] and mode == 'aligned' else (40, 40)
    for folder in folders:
        draw_images(tmp_path / 'root' / folder, 12, size)
    packed = [dataset_of(tmp_path / 'root', mode) for _ in range(2)]
    monkeypatch.setattr(paths, 'MANY', 1000)
    plain = dataset_of(tmp_path / 'root', mode)
    for dataset in packed:
        assert len(dataset) == len(plain) == 12
        assert (dataset.n_files, dataset.n_bytes) == (plain.n_files, plain.n_bytes)
        for index in (0, 5, 11):
            found, expected = dataset[index, 7], plain[index, 7]
            assert found.keys() == expected.keys()
            assert all(str(found[name]) == str(expected[name]) for name in found)


def test_problems_of_a_sample_are_reported_and_others_when_met(few_are_many, tmp_path):
    root = tmp_path / 'root'
    draw_images(root / 'train', 12, (40, 40))
    (root / 'train' / '3.png').write_bytes(b'')         # every second file is looked at
    dataset = dataset_of(root, 'colorization')
    assert len(dataset) == 12 and 'replaced' in dataset[3]
    (root / 'train' / '4.png').write_bytes(b'')
    with pytest.raises(UserError, match='1 of 6 images cannot be read'):
        dataset_of(root, 'colorization')
    dataset = dataset_of(root, 'colorization', bad_images='skip')
    assert len(dataset) == 11 and dataset.n_files == 12
    with pytest.raises(UserError, match='2 of 12 images cannot be read'):
        dataset_of(root, 'colorization', every_header=True)


def test_the_rest_of_the_headers_is_checked_in_the_background(few_are_many, tmp_path):
    root = tmp_path / 'root'
    draw_images(root / 'train', 12, (40, 40))
    for name in ('3.png', '5.png'):     # every second file is looked at before training
        (root / 'train' / name).write_bytes(b'')
    dataset = dataset_of(root, 'colorization')
    check = BackgroundCheck(dataset.unseen, dataset.max_pixels, dataset.bad_images)
    looked_at = list(check.paths())
    assert [os.path.basename(path) for path in looked_at] == [f'{number}.png' for number in range(1, 12, 2)]
    dataset.bad_images.save_to(tmp_path)
    check.run()
    lines = (tmp_path / FILE_NAME).read_text(encoding='utf-8').splitlines()
    assert len(lines) == 2 and all('(0 bytes)' in line for line in lines)


@pytest.mark.parametrize('packs', [list, lambda paths: Paths.of_names('', paths)])
def test_without(packs):
    assert list(without(packs(['a', 'b', 'c/d']), {1})) == ['a', 'c/d']


def test_pairs_of_a_table_are_packed_too(few_are_many, tmp_path):
    for name in 'AB':
        draw_images(tmp_path / 'root' / name, 12, (40, 40))
    rows = ''.join(f'A/{number}.png,B/{11 - number}.png\n' for number in range(12))
    (tmp_path / 'pairs.csv').write_text(rows, encoding='utf-8')
    dataset = dataset_of(tmp_path / 'root', 'aligned', pairs=str(tmp_path / 'pairs.csv'))
    assert isinstance(dataset.paths, Paths) and isinstance(dataset.partners, Paths)
    assert [os.path.basename(path) for path in (dataset.paths[2], dataset.partners[2])] == ['2.png', '9.png']


def test_training_starts_the_check_once_where_it_is_needed(few_are_many, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(BackgroundCheck, 'start', lambda check: started.append(check))
    draw_images(tmp_path / 'root' / 'train', 12, (40, 40))
    opt = training(tmp_path / 'root', 'colorization')
    create_loader(create_dataset(opt), opt)
    check, = started
    assert check.daemon and len(list(check.paths())) == 6
    monkeypatch.setattr(paths, 'MANY', 1000)
    create_loader(create_dataset(opt), opt)
    assert len(started) == 1
