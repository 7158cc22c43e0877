"""Images in tars: the samples and weights of files, one sentence for damage, and what other programs read and write."""
import importlib.util
import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import states
import tifffile
import tiny_runs
import torch
from conftest import ROOT, draw_images
from PIL import Image
from test_data import options
from test_data_faults import training

from data import create_dataset
from data.image_folder import ignored, list_images
from options import rules
from util.errors import UserError
from util.places import index, listing, paths, remote, shards, tar_names
from util.places.paths import Paths
from util.raster.kinds import kind_of
from util.raster.read import ImageError, read_pixels


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / 'scripts' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_shards = load_script('make_shards')


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """As in a new process, without what earlier starts have stored."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'caches'))
    forget()
    yield
    forget()


def forget():
    for function in (shards.index_of, shards.is_shard, shards.read):
        function.cache_clear()


def packed(root: Path, count: int = 2, name: str = 'shards') -> Path:
    """The tars of a dataset, with `count` images in each."""
    out = root.parent / name / root.name
    assert make_shards.main(['--dataroot', str(root), '--out', str(out), '--images', str(count)], None) == 0
    return out


def sentence(call, *args) -> str:
    forget()
    with pytest.raises(UserError) as caught:
        call(*args)
    message, = caught.value.args
    assert '\n' not in message
    return message


# ---- the same as files

@pytest.mark.parametrize('mode', ['aligned', 'unaligned', 'single', 'colorization'])
@pytest.mark.parametrize('is_training', [True, False])
def test_samples_are_those_of_the_files(mode, is_training, roots):
    root = roots[mode]
    changes = dict(load_size=36, crop_size=32)
    make = lambda place: create_dataset((training if is_training else options)(place, mode, **changes))
    files, tars = make(root), make(packed(root))
    assert len(tars) == len(files) and tars.n_bytes == files.n_bytes
    for number in range(len(files)):
        expected, found = files[number, 7], tars[number, 7]
        assert torch.equal(expected['A'], found['A']) and expected.keys() == found.keys()
        assert 'B' not in expected or torch.equal(expected['B'], found['B'])
        assert shards.name_in(found['A_paths'], tars.folder_A) == os.path.relpath(expected['A_paths'], files.folder_A)


@pytest.mark.parametrize('mode', ['aligned', 'unaligned'])
def test_two_sets_of_tars(mode, unaligned_root):
    """Named by --folder_A and --folder_B, as a range of numbers, and with other images in a tar than their partners."""
    A = packed(unaligned_root / 'trainA', 2) / '{00000..00002}.tar'
    B = packed(unaligned_root / 'trainB', 3) / '{00000..00001}.tar'
    files = create_dataset(training(unaligned_root, mode))
    tars = create_dataset(training('', mode, folder_A=[str(A)], folder_B=[str(B)]))
    assert len(tars) == len(files) == 5
    for number in range(5):
        expected, found = files[number, 3], tars[number, 3]
        assert all(torch.equal(expected[domain], found[domain]) for domain in 'AB')


@pytest.mark.parametrize('mode', ['aligned', 'colorization', 'single'])
def test_a_dataroot_that_names_tars(mode, roots):
    root = roots[mode] if mode == 'single' else roots[mode] / 'train'
    folder = packed(root)
    for place in (folder, folder / f'{{00000..0000{len(list(folder.glob("*.tar"))) - 1}}}.tar'):
        dataset = create_dataset(options(place, mode))
        assert [Path(path).name for path in dataset.paths] == [Path(path).name for path in list_images(root)]


def test_sub_folders_are_in_the_order_of_the_files(tmp_path):
    root = tmp_path / 'root'
    for name in ('train', 'train/b', 'train/a10', 'train/a9', 'train/b/c', 'test/x'):
        draw_images(root / name, 3)
    (root / 'train' / 'note.txt').touch()
    tars = packed(root, 4)
    assert [str(path.relative_to(tars)) for path in sorted(tars.rglob('*.tar'))] == [
        'test/00000.tar', *(f'train/0000{number}.tar' for number in range(4))]
    for phase in ('train', 'test'):
        assert [shards.name_in(path, tars / phase) for path in list_images(tars / phase)] == [
            os.path.relpath(path, root / phase) for path in list_images(root / phase)]


@pytest.mark.sample(1)
@pytest.mark.parametrize('model, workers', [('pix2pix', 0), ('cyclegan', 2)])
def test_weights_and_results_are_those_of_the_files(model, workers, runs, home, tmp_path):
    """To the last bit, also with worker processes in a run of tars that was killed within an epoch and resumed."""
    tars = tiny_runs.Runs(runs.server, packed(home / tiny_runs.ROOTS[model], 2, f'{tmp_path}/tars').parent,
                          tmp_path / 'of_tars')
    words = ['--save_latest_freq', 3, '--num_threads', workers]
    assert runs.begin(model, 'run', *words).code == 0
    if workers:
        assert tars.begin(model, 'run', *words, signals_at={5: 'SIGKILL'}).code == -9
    end = tars.resume('run') if workers else tars.begin(model, 'run', *words)
    assert (end.code, end.err) == (0, '')
    of_files, of_tars = (states.everything(place.folder / 'run') for place in (runs, tars))
    assert states.differences(of_files, of_tars) == [] and of_files['labels']
    if model == 'pix2pix':
        assert runs.test('run').code == tars.test('run').code == 0
        files_of = lambda folder: {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*_fake_B.png')}
        results = files_of(runs.folder / 'results')
        assert results == files_of(tars.folder / 'results') and len(results) >= 3


@pytest.mark.parametrize('name', ['deep.png', 'bands.tif', 'pages.tif', 'floats.npy', 'one.npz', 'photo.jpg',
                                  'plain.bmp', 'deep.pgm'])
def test_every_type_is_read_from_a_tar(name, tmp_path):
    root = tmp_path / 'root'
    root.mkdir()
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 60000, (12, 10), dtype=np.uint16)
    writers = {
        'deep.png': lambda path: Image.fromarray(pixels).save(path),
        'bands.tif': lambda path: tifffile.imwrite(path, rng.random((12, 10, 5), np.float32), photometric='minisblack'),
        'pages.tif': lambda path: tifffile.imwrite(path, rng.integers(0, 9, (3, 12, 10), dtype=np.uint8),
                                                   photometric='minisblack'),
        'floats.npy': lambda path: np.save(path, rng.random((12, 10, 2))),
        'one.npz': lambda path: np.savez(path, rng.random((12, 10))),
        'deep.pgm': lambda path: path.write_bytes(b'P5 10 12 65535\n' + pixels.astype('>u2').tobytes())}
    color = Image.fromarray(rng.integers(0, 255, (12, 10, 3), dtype=np.uint8))
    writers.get(name, lambda path: color.save(path))(root / name)
    path, = list_images(packed(root))
    assert kind_of(path) == kind_of(str(root / name))
    assert np.array_equal(read_pixels(path), read_pixels(str(root / name)))


def test_very_many_images_in_tars(tmp_path, monkeypatch):
    """The list is stored, in the same order, until a tar changes."""
    draw_images(tmp_path / 'root' / 'train', 12)
    folder = packed(tmp_path / 'root', 5) / 'train'
    place = folder / '{00000..00002}.tar'
    plain = [list_images(folder), list_images(place)]
    monkeypatch.setattr(paths, 'MANY', 10)
    monkeypatch.setattr(listing, 'SETTLED', -1)
    monkeypatch.setattr(listing, 'is_trusted', lambda folder: True)
    for _ in range(2):
        found = [list_images(folder), list_images(place)]
        assert all(isinstance(one, Paths) for one in found) and list(map(list, found)) == plain
    with monkeypatch.context() as patch:
        patch.setattr(shards, 'indices_of', lambda tars: pytest.fail('the tars are listed again'))
        assert list(list_images(place)) == plain[1]
        os.utime(folder / '00001.tar')
        with pytest.raises(pytest.fail.Exception):
            list_images(place)


# ---- making

def test_folders_that_may_be_domains_are_named(tmp_path, capsys):
    for name in ('apples', 'oranges'):
        draw_images(tmp_path / 'fruit' / name, 2)
    assert [path.name for path in packed(tmp_path / 'fruit', 9).rglob('*.tar')] == ['00000.tar']
    assert 'apples and oranges' in capsys.readouterr().err
    packed(tmp_path / 'fruit' / 'apples')
    assert not capsys.readouterr().err


def test_an_interrupted_run_is_resumed(photo_root, capsys):
    out = packed(photo_root)
    tars = sorted(out.rglob('*.tar'))
    states_before = {path: path.stat().st_mtime_ns for path in tars}
    (out / 'train' / '00001.tar.index').unlink()
    (out / 'train' / '00002.tar').unlink()
    content = (out / 'train' / '00001.tar').read_bytes()
    packed(photo_root)
    changed = [path.name for path in tars if path.stat().st_mtime_ns != states_before[path]]
    assert changed == ['00001.tar', '00002.tar'] and (out / 'train' / '00001.tar').read_bytes() == content
    draw_images(photo_root / 'train', 1, seed=5)      # the same name and, here, another content
    packed(photo_root)
    assert make_shards.main(['--check', str(out)], None) == 0
    assert create_dataset(options(out, 'colorization'))[0]['A'].equal(
        create_dataset(options(photo_root, 'colorization'))[0]['A'])


def test_images_that_took_the_name_of_another_are_packed_again(tmp_path):
    """Of the same size, and with the time that they had."""
    draw_images(tmp_path / 'images' / 'train', 2, (8, 8))
    first, second = (tmp_path / 'images' / 'train' / f'{number}.bmp' for number in (0, 1))
    for path in (first, second):
        Image.open(path.with_suffix('.png')).save(path)
        path.with_suffix('.png').unlink()
    words = ['--dataroot', str(tmp_path / 'images'), '--out', str(tmp_path / 'shards')]
    assert make_shards.main(words, None) == 0
    first.rename(tmp_path / 'x')
    second.rename(first)
    (tmp_path / 'x').rename(second)
    assert make_shards.main(words, None) == 0
    with tarfile.open(tmp_path / 'shards' / 'train' / '00000.tar') as tar:
        assert tar.extractfile('0.bmp').read() == first.read_bytes()


def test_check_finds_damage(photo_root, capsys):
    out = packed(photo_root)
    tar = out / 'train' / '00000.tar'
    content = bytearray(tar.read_bytes())
    content[700] ^= 1
    tar.write_bytes(content)
    (out / 'train' / '00001.tar.index').unlink()
    (out / 'train' / '00002.tar').write_bytes(b'')
    assert make_shards.main(['--check', str(out)], None) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(' ')[0] for line in lines[-4:-1]] == [str(out / 'train' / f'0000{number}.tar')
                                                           for number in range(3)]


@pytest.mark.parametrize('argv, part', [
    ([], '--dataroot'), (['--dataroot', 'absent', '--out', 'x'], 'absent'), (['--index', 'absent.tar'], 'absent.tar'),
    (['--check', 'absent'], 'absent'), (['--dataroot', '.', '--out', './x'], '--out'),
    (['--dataroot', '.', '--out', '../x', '--images', '0'], '--images')])
def test_mistakes_of_make_shards(argv, part, single_root, monkeypatch):
    monkeypatch.chdir(single_root)
    assert part in sentence(make_shards.main, argv, None)


def test_tars_of_another_dataset_are_not_mixed(single_root, photo_root):
    out = packed(photo_root)
    assert str(out) in sentence(make_shards.main, ['--dataroot', str(single_root), '--out', str(out)], None)


# ---- damage

def damaged(tar: Path, change):
    content = change(tar.read_bytes())
    status = tar.stat()
    tar.write_bytes(content)
    os.utime(tar, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize('with_index', [True, False])
@pytest.mark.parametrize('change', [
    lambda data: data[:len(data) // 2], lambda data: data[:-10240], lambda data: b'', lambda data: b'\x1f\x8b' + data,
    lambda data: b'x' * len(data)], ids=['truncated', 'no end', 'empty', 'compressed', 'other'])
def test_damaged_tars(change, with_index, single_root):
    out = packed(single_root)
    tar = out / '00000.tar'
    damaged(tar, change)
    if not with_index:
        (out / '00000.tar.index').unlink()
    elif len(tar.read_bytes()) == len(change(tar.read_bytes())) and change(b'a') == b'x':
        dataset = create_dataset(options(out, 'single'))    # of the same size: each image has a checksum
        with pytest.raises(ImageError, match='checksum'):
            dataset[0]
        return
    assert str(tar) in sentence(list_images, out)


def test_two_tars_in_one_file(tmp_path):
    """`cat a.tar b.tar` has an end in the middle, where a reader would stop without a word."""
    for name in 'ab':
        (tmp_path / name).mkdir()
        draw_images(tmp_path / name, 2)
        with tarfile.open(tmp_path / f'{name}.tar', 'w') as tar:
            tar.add(tmp_path / name, name)
    both = tmp_path / 'both.tar'
    both.write_bytes((tmp_path / 'a.tar').read_bytes() + (tmp_path / 'b.tar').read_bytes())
    with pytest.raises(UserError, match='another tar'):
        list_images(both)


@pytest.mark.parametrize('name', ['{0,2}.tar', '*.tar', '{a..c}.tar'])
def test_patterns_that_are_no_ranges(name, tmp_path):
    with pytest.raises(UserError, match='no range'):
        tar_names.expand(tmp_path / name)


def test_a_damaged_header_in_the_middle(single_root):
    """`tarfile` alone takes it for the end."""
    out = packed(single_root, 3)
    (out / '00000.tar.index').unlink()
    place = index.build(str(out / '00000.tar')).table['offset'][1] - 512
    damaged(out / '00000.tar', lambda data: data[:place] + b'?' * 512 + data[place + 512:])
    assert f'byte {place}' in sentence(list_images, out)


def test_a_changed_tar_without_an_index_next_to_it_is_looked_at_again(single_root):
    out = packed(single_root, 3)
    (out / '00000.tar.index').unlink()
    assert len(list_images(out)) == 3
    with tarfile.open(out / '00000.tar', 'a') as tar:
        tar.add(single_root / '0.png', '7.png')
    forget()
    assert len(list_images(out)) == 4


def test_a_member_that_is_gone(single_root):
    path = list_images(packed(single_root, 3))[0]
    with pytest.raises(ImageError, match='no member'):
        read_pixels(path.replace('0.png', '9.png'))


def test_files_in_a_tar_that_are_no_images(tmp_path):
    """Empty and unreadable ones are found before training, as those in folders.

    Links are left out, and so is what would be outside if the tar were unpacked: results would be written there.
    """
    tar = tmp_path / 'x.tar'
    good = io.BytesIO()
    Image.new('RGB', (40, 40), 'red').save(good, 'PNG')
    with tarfile.open(tar, 'w') as file:
        for name, data in (('0.png', good.getvalue()), ('1.png', b''), ('2.png', b'no image'), ('0.txt', b'red'),
                           ('.3.png', good.getvalue()), ('__MACOSX/4.png', good.getvalue()),
                           ('../6.png', good.getvalue()), ('/7.png', good.getvalue())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo('5.png')
        link.type, link.linkname = tarfile.SYMTYPE, '0.png'
        file.addfile(link)
    assert '2 of 3 images' in sentence(create_dataset, training(tar, 'single'))
    assert ignored(tar) == '1 .txt'


def test_names_that_begin_with_a_dot_and_a_slash(single_root, tmp_path):
    """As `tar -cf x.tar .` writes them."""
    with tarfile.open(tmp_path / 'x.tar', 'w') as file:
        for path in sorted(single_root.iterdir()):
            file.add(path, f'./{path.name}')
    paths = list_images(tmp_path / 'x.tar')
    assert [path.removeprefix(str(tmp_path)) for path in paths] == [f'/x.tar/{number}.png' for number in range(3)]
    assert np.array_equal(read_pixels(paths[1]), read_pixels(str(single_root / '1.png')))


@pytest.mark.parametrize('place', ['{00000..00009}.tar', 'absent.tar'])
def test_tars_that_do_not_exist(place, single_root):
    wrong, = rules.missing_tars(str(packed(single_root) / place))
    assert place.replace('{00000..00009}', '00002') in wrong


def test_one_set_of_tars_is_not_two_domains(single_root):
    assert '--folder_A' in sentence(create_dataset, options(packed(single_root) / '00000.tar', 'unaligned'))


def test_pairs_need_unique_names(single_root, tmp_path):
    A = packed(single_root, 3)
    (A / '00001.tar').write_bytes((A / '00000.tar').read_bytes())
    B = packed(single_root, 3, 'other')
    opt = training('', 'aligned', folder_A=[str(A)], folder_B=[str(B)])
    assert 'several' in sentence(create_dataset, opt)


def test_tars_next_to_folders_are_ignored(photo_root):
    """As before there were shards: an archive that was downloaded and unpacked."""
    before = list_images(photo_root / 'train')
    packed_folder = packed(photo_root)
    for folder in (photo_root, photo_root / 'train'):
        (folder / 'photos.tar').write_bytes((packed_folder / 'train' / '00000.tar').read_bytes())
    assert list_images(photo_root / 'train') == before and ignored(photo_root / 'train') == '1 .tar'
    with pytest.raises(UserError, match='val'):
        create_dataset(options(photo_root, 'colorization', phase='val'))


# ---- object storage

@pytest.fixture
def bucket(photo_root):
    """The tars of photos in the memory of fsspec."""
    fsspec = pytest.importorskip('fsspec')
    files = fsspec.filesystem('memory')
    out = packed(photo_root / 'train')
    for path in out.iterdir():
        files.pipe_file(f'/bucket/{path.name}', path.read_bytes())
    yield files
    files.store.clear()


def test_files_by_url(photo_root):
    out = packed(photo_root / 'train')
    for place in (f'file://{out}', f'file://{out}/{{00000..00002}}.tar'):
        assert [Path(path).name for path in list_images(place)] == [f'{number}.png' for number in range(5)]
        assert all(np.array_equal(read_pixels(path), read_pixels(str(photo_root / 'train' / Path(path).name)))
                   for path in list_images(Path(place)))


@pytest.mark.parametrize('place', ['memory://bucket', 'memory://bucket/{00000..00002}.tar'])
@pytest.mark.parametrize('has_index', [True, False])
def test_object_storage(place, has_index, bucket, photo_root):
    if not has_index:
        for name in ('00000', '00001', '00002'):
            bucket.rm_file(f'/bucket/{name}.tar.index')
    files = create_dataset(training(photo_root, 'colorization'))
    remotes = create_dataset(training(place, 'colorization'))
    assert len(remotes) == len(files)
    assert all(torch.equal(remotes[number, 5]['A'], files[number, 5]['A']) for number in range(5))


def test_failures_of_the_network_are_tried_again(bucket, monkeypatch):
    path = list_images('memory://bucket')[0]
    monkeypatch.setattr(remote, 'PAUSE', 0)
    failures, cat_file = [OSError('reset'), TimeoutError()], type(bucket).cat_file
    monkeypatch.setattr(type(bucket), 'cat_file', lambda self, *args, **more: (_ for _ in ()).throw(
        failures.pop()) if failures else cat_file(self, *args, **more))
    assert read_pixels(path).shape == (40, 40, 3) and not failures
    shards.read.cache_clear()
    failures += [OSError('reset')] * 3
    with pytest.raises(ImageError, match='reset'):
        read_pixels(path)


def test_a_changed_tar_in_a_bucket(bucket):
    bucket.pipe_file('/bucket/00001.tar', b'shorter')
    assert 'bucket/00001.tar has changed' in sentence(list_images, 'memory://bucket')


def test_missing_packages_are_named(monkeypatch):
    for name in ('fsspec', 's3fs'):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            assert 'pip install fsspec' in sentence(list_images, 's3://bucket/1.tar')


@pytest.mark.parametrize('place', ['memory://absent', 'memory://bucket/9.tar', 'unknown://x/1.tar'])
def test_wrong_urls(place, bucket):
    assert place in sentence(list_images, place)


def test_urls_survive_pathlib():
    for url in ('s3://bucket/a/b.tar', 'file:///data/{0..3}.tar', 'https://host/x'):
        assert remote.url_of(url) == remote.url_of(Path(url)) == url
    assert remote.url_of('C:/data/x.tar') is None and remote.url_of('/data/s3') is None


# ---- other programs

def test_webdataset_reads_our_tars(photo_root):
    webdataset = pytest.importorskip('webdataset')
    out = packed(photo_root / 'train')
    urls = [str(path) for path in sorted(out.glob('*.tar'))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode('rgb8'))
    assert [sample['__key__'] for sample in samples] == ['0', '1', '2', '3', '4']
    assert all(np.array_equal(sample['png'], read_pixels(str(photo_root / 'train' / f'{sample["__key__"]}.png')))
               for sample in samples)


def test_tars_of_webdataset_are_read(tmp_path):
    webdataset = pytest.importorskip('webdataset')
    rng = np.random.default_rng(3)
    images = {f'photo{number}': rng.integers(0, 255, (40, 40, 3), dtype=np.uint8) for number in range(5)}
    for number in range(2):
        with webdataset.TarWriter(str(tmp_path / f'{number}.tar')) as writer:
            for name in list(images)[number::2]:
                writer.write({'__key__': name, 'png': images[name], 'json': dict(name=name)})
    dataset = create_dataset(options(tmp_path / '{0..1}.tar', 'single', preprocess='none'))
    assert [Path(path).stem for path in dataset.paths] == list(images)
    assert all(np.array_equal(read_pixels(path), images[Path(path).stem]) for path in dataset.paths)
