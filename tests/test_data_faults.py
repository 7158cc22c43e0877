"""Files and processes that fail: what is found before training, what training survives, and that samples stay equal."""
import errno
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from conftest import draw_images
from PIL import Image
from test_data import folder_with, names, noise, options, side_by_side, truncated

import data.checking.headers
import data.loading.loader
import data.loading.workers
from data import create_dataset, create_loader
from data.checking.headers import Header, read_header, scan
from data.image_folder import list_images
from data.pairs import pair_by_name
from util.errors import ResourceError, UserError
from util.places.listing import cache_place

TRAINING = dict(isTrain=True, bad_images='stop', square_pairs=False, size_multiple=4, model='cyclegan',
                netG='resnet_9blocks')
unix = pytest.mark.skipif(sys.platform == 'win32', reason='needs signals of Unix')


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Headers are cached in a folder of this test only."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'pixmorph'


def training(root, mode: str, **changes):
    """Options of a training."""
    return options(root, mode, **{**TRAINING, **changes})


def problems(root, mode: str, **changes) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        create_dataset(training(root, mode, **changes))
    assert all('\n' not in message for message in caught.value.args)
    return caught.value.args


def epoch(loader, number: int = 1, start: int = 0) -> list[dict]:
    loader.sampler.set_epoch(number, start=start)
    return list(loader)


def same(one: list[dict], two: list[dict]) -> bool:
    return len(one) == len(two) and all(
        a['A_paths'] == b['A_paths'] and torch.equal(a['A'], b['A']) and torch.equal(a['B'], b['B'])
        for a, b in zip(one, two, strict=True))


# ---- what headers show before training

def unreadable_files(folder: Path) -> list[str]:
    (folder / 'empty.png').touch()
    (folder / 'text.jpg').write_text('no image', encoding='utf-8')
    (folder / 'script.jpg').write_text('%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n', encoding='utf-8')
    (folder / 'cut.png').write_bytes((folder / '0.png').read_bytes()[:20])
    found = ['cut.png', 'empty.png', 'script.jpg', 'text.jpg']
    if sys.platform != 'win32':
        (folder / 'broken.png').symlink_to('absent')
        (folder / 'loop.png').symlink_to('loop.png')
        os.mkfifo(folder / 'pipe.jpg')
        found += ['broken.png', 'loop.png', 'pipe.jpg']
    (folder / 'folder.jpg').mkdir()     # not a member
    return found


def test_all_unreadable_files_are_reported_together(unaligned_root):
    bad = unreadable_files(unaligned_root / 'trainB')
    message, = problems(unaligned_root, 'unaligned')
    assert message.startswith(f'{len(bad)} of {10 + len(bad)} images')
    assert all(str(unaligned_root / 'trainB' / name) in message for name in bad)
    assert '(0 bytes)' in message and '--bad_images skip' in message and 'folder.jpg' not in message


def test_at_most_ten_are_named(unaligned_root):
    for number in range(14):
        (unaligned_root / 'trainA' / f'x{number}.png').touch()
    message, = problems(unaligned_root, 'unaligned')
    assert '14 of 24' in message and message.count('0 bytes') == 10 and '4 more' in message


def test_unreadable_files_are_left_out_when_asked(unaligned_root, tmp_path, capsys):
    bad = unreadable_files(unaligned_root / 'trainA')
    dataset = create_dataset(training(unaligned_root, 'unaligned', bad_images='skip'))
    warning, = (line for line in capsys.readouterr().err.splitlines() if line.startswith('warning'))
    assert f'{len(bad)} of' in warning and len(dataset) == 5
    (tmp_path / 'run').mkdir()
    dataset.bad_images.save_to(tmp_path / 'run')
    listed = (tmp_path / 'run' / 'bad_images.txt').read_text(encoding='utf-8').splitlines()
    assert sorted(Path(line.rpartition(' (')[0]).name for line in listed) == sorted(bad) or len(listed) == len(bad)
    assert all(any(str(unaligned_root / 'trainA' / name) in line for line in listed) for name in bad)


def test_a_folder_without_any_readable_image(tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'a.png').touch()
    message, = problems(tmp_path, 'colorization', bad_images='skip')
    assert '1 of 1 images' in message and '--bad_images' not in message


def test_there_is_no_list_if_all_images_are_good(unaligned_root, tmp_path):
    create_dataset(training(unaligned_root, 'unaligned')).bad_images.save_to(tmp_path)
    assert not (tmp_path / 'bad_images.txt').exists()


def test_several_kinds_of_problems_are_reported_together(unaligned_root):
    (unaligned_root / 'trainA' / 'empty.png').touch()
    folder_with(unaligned_root / 'trainB', small=noise(20, 50), smaller=noise(50, 12))
    small, unreadable = problems(unaligned_root, 'unaligned', preprocess='crop')
    for part in ('2 of 7 images', '--crop_size 32', 'smaller.png', '50x12', '--preprocess resize_and_crop'):
        assert part in small
    assert 'empty.png' in unreadable


def test_pairs_smaller_than_the_crop(tmp_path):
    draw_images(tmp_path / 'train', 2, (80, 40))
    message, = problems(tmp_path, 'aligned', preprocess='crop', crop_size=64)
    assert '2 of 2 images' in message and '80x40' in message and '--crop_size 64' in message


@pytest.mark.parametrize(('preprocess', 'size', 'fits'), [
    ('none', (64, 32), True), ('none', (66, 40), False), ('scale_width', (40, 40), False), ('resize', (40, 40), False),
    ('scale_width_and_crop', (40, 40), True)])
def test_sizes_that_the_network_cannot_take(tmp_path, preprocess, size, fits):
    draw_images(tmp_path / 'train', 1, size)
    settings = dict(preprocess=preprocess, size_multiple=32, netG='unet_32', load_size=36)
    if fits:
        create_dataset(training(tmp_path, 'colorization', **settings))
    else:
        message, = problems(tmp_path, 'colorization', **settings)
        assert '--netG unet_32' in message and ' 32 ' in message and '0.png' in message


def test_mixed_sizes_need_single_batches(unaligned_root):
    folder_with(unaligned_root / 'trainA', wide=noise(80, 40))
    message, = problems(unaligned_root, 'unaligned', preprocess='none', batch_size=2)
    assert '0.png (40x40)' in message and 'wide.png (80x40)' in message and '--batch_size 1' in message
    create_dataset(training(unaligned_root, 'unaligned', preprocess='none'))
    create_dataset(training(unaligned_root, 'unaligned', batch_size=2))


def test_too_many_pixels(unaligned_root):
    Image.new('1', (9000, 6000)).save(unaligned_root / 'trainA' / 'bomb.png')
    message, = problems(unaligned_root, 'unaligned')
    assert all(part in message for part in ('bomb.png', '54000000', '9000x6000', '--max_pixels'))
    create_dataset(training(unaligned_root, 'unaligned', max_pixels=54_000_000))
    again, = problems(unaligned_root, 'unaligned', max_pixels=1000)      # though their headers are known
    assert '11 of 11' in again


def test_conversions_are_reported_with_counts(tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = noise(40, 40)
    folder = folder_with(tmp_path / 'train', a=image, b=image.convert('RGBA'), c=image.convert('L'),
                         e=image.convert('P'))
    noise(40, 20).save(folder / 'turned.jpg', exif=exif)
    (folder / 'x.heic').touch()
    (folder / 'Thumbs.db').touch()
    create_dataset(training(tmp_path, 'template', max_dataset_size=10))
    note, = (line for line in capsys.readouterr().out.splitlines() if line.startswith('note'))
    for part in (str(folder), '5 images', '1 gray -> RGB', '1 palette -> RGB', '1 turned',
                 '1 with transparency', '1 .heic'):
        assert part in note
    assert 'Thumbs' not in note


def test_plain_color_images_need_no_note(unaligned_root, capsys):
    create_dataset(training(unaligned_root, 'unaligned'))
    assert capsys.readouterr().out == ''


def test_header_agrees_with_the_pixels(tmp_path):
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        path = str(tmp_path / f'{orientation}.jpg')
        noise(40, 20).save(path, exif=exif)
        header = read_header(path)
        assert (header.width, header.height) == data.image_folder.read_image(path).size
        assert header.turned == (orientation != 1)


@pytest.mark.parametrize(('line', 'policy', 'multiple'), [
    ('', 'stop', 4), ('--skip_bad_images', 'skip', 4), ('--bad_images skip --netG unet_64', 'skip', 64),
    ('--model munit --n_downsample 3', 'stop', 8)])
def test_options(train_options, unaligned_root, line, policy, multiple):
    opt = train_options('--dataroot', unaligned_root, '--crop_size', 64, '--load_size', 64, *line.split())
    assert (opt.bad_images, opt.size_multiple) == (policy, multiple)
    create_dataset(opt)


@unix
@pytest.mark.parametrize('threads', [0, 2])
def test_names_with_control_characters_stay_in_one_line(tmp_path, capsys, threads):
    folder = draw_images(tmp_path / 'photos' / 'train', 3)[0].parent
    for name in ('a\nb\x1b[31m.png', 'c\u2028\x85\r.png'):
        (folder / name).touch()
    told = (str(folder / r'a\nb\x1b[31m.png'), str(folder / r'c\u2028\x85\r.png'))
    message, = problems(folder.parent, 'colorization')
    assert all(name in message for name in told)
    dataset = create_dataset(training(folder.parent, 'colorization', bad_images='skip', num_threads=threads))
    warning, = capsys.readouterr().err.splitlines()
    assert all(name in warning for name in told)
    (folder / '1.png').rename(folder / '1\n.png')
    dataset.paths[1] = str(folder / '1\n.png')
    Path(dataset.paths[1]).write_bytes(b'')
    dataset.bad_images.save_to(tmp_path)
    epoch(create_loader(dataset, training(folder.parent, 'colorization', num_threads=threads)))
    dataset.bad_images.save()
    listed = (tmp_path / 'bad_images.txt').read_text(encoding='utf-8').splitlines()
    assert all(name in line for line, name in zip(listed, (*told, str(folder / r'1\n.png')), strict=True))
    warning, = capsys.readouterr().err.splitlines()
    assert str(folder / r'1\n.png') in warning


# ---- the cache of headers

def test_headers_are_read_once(single_root, cache, monkeypatch):
    paths = list_images(single_root)
    first = scan(paths, single_root)
    assert first[paths[0]] == Header(40, 40, mode='RGB') and len(list(cache.iterdir())) == 1
    read = []
    monkeypatch.setattr(data.checking.headers, 'read_header', lambda path, *_: read.append(path) or Header(1, 1))
    assert scan(paths, single_root) == first and read == []
    noise(30, 20).save(paths[1])
    os.utime(paths[1], ns=(1, 1))
    assert scan(paths, single_root)[paths[1]] == Header(1, 1) and read == [paths[1]]


def test_nothing_is_written_next_to_the_images(single_root):
    before = sorted(single_root.rglob('*'))
    scan(list_images(single_root), single_root)
    assert sorted(single_root.rglob('*')) == before


def test_a_file_that_cannot_be_read_is_checked_again(single_root):
    path = single_root / 'later.png'
    path.touch()
    assert scan([str(path)], single_root)[str(path)].problem
    noise(40, 40).save(path)
    assert not scan([str(path)], single_root)[str(path)].problem


@pytest.mark.parametrize('content', ['', '{', '[]', '{"version": "0"}', json.dumps(
    dict(version=data.checking.headers.VERSION, entries={'x': [1, 2]})),
    json.dumps(dict(version=data.checking.headers.VERSION))])
def test_a_damaged_cache_of_headers_is_ignored(single_root, content):
    file = cache_place('headers', os.path.abspath(single_root), '.json')
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding='utf-8')
    paths = list_images(single_root)
    assert scan(paths, single_root)[paths[0]] == Header(40, 40, mode='RGB')


@pytest.mark.parametrize('place', ['/proc/absent', 'relative', ''])
def test_without_a_folder_for_the_cache_of_headers(single_root, monkeypatch, place, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', place)
    monkeypatch.setenv('HOME', '/proc/absent')
    monkeypatch.chdir(tmp_path)
    paths = list_images(single_root)
    assert scan(paths, single_root)[paths[0]] == Header(40, 40, mode='RGB')
    assert not (tmp_path / 'relative').exists()


def test_a_disk_that_does_not_answer(single_root, monkeypatch):
    def read(path, *_):
        time.sleep(60 * path.endswith('1.png'))
        return Header(1, 1)
    monkeypatch.setattr(data.checking.headers, 'read_header', read)
    with pytest.raises(ResourceError, match='1.png .*--data_timeout 1 ') as caught:
        scan(list_images(single_root), single_root, timeout=1)
    assert caught.value.exit_code == 5


# ---- pairs in two folders

def test_partners_by_name():
    A = ['a/1.png', 'a/2.jpg', 'a/3_A.png', 'a/4.png', 'a/4.jpg', 'a/5.png', 'a/sub/1.png', 'a/6.png', 'a/6.jpg']
    B = ['b/1.png', 'b/2.bmp', 'b/3_B.png', 'b/4.png', 'b/4.jpg', 'b/sub/1.jpg', 'b/6.bmp', 'b/7.png']
    pairs, alone = pair_by_name(A, 'a', B, 'b')
    assert pairs == [('a/1.png', 'b/1.png'), ('a/2.jpg', 'b/2.bmp'), ('a/3_A.png', 'b/3_B.png'),
                     ('a/4.jpg', 'b/4.jpg'), ('a/4.png', 'b/4.png'), ('a/sub/1.png', 'b/sub/1.jpg')]
    assert alone == ['a/5.png', 'a/6.png', 'a/6.jpg', 'b/6.bmp', 'b/7.png']


@pytest.mark.parametrize('folders', [('trainA', 'trainB'), ('A/train', 'B/train')])
@pytest.mark.parametrize('direction', ['AtoB', 'BtoA'])
def test_two_folders_give_the_pairs_of_one(tmp_path, folders, direction, capsys):
    for number in range(3):
        left, right = noise(40, 48, number), noise(40, 48, 10 + number)
        folder_with(tmp_path / 'two' / folders[0], **{f'{number}': left})
        folder_with(tmp_path / 'two' / folders[1], **{f'{number}_B': right})
        folder_with(tmp_path / 'one' / 'train', **{f'{number}': side_by_side(left, right)})
    two = create_dataset(training(tmp_path / 'two', 'aligned', direction=direction))
    note, = capsys.readouterr().err.splitlines()
    assert note.startswith('note: ') and '3 pairs' in note and '--model' in note
    one = create_dataset(training(tmp_path / 'one', 'aligned', direction=direction))
    for index in range(3):
        mine, theirs = two[index, 7], one[index, 7]
        assert torch.equal(mine['A'], theirs['A']) and torch.equal(mine['B'], theirs['B'])
        assert all(Path(path).is_relative_to(two.folder_A) for path in [mine['A_paths']])
    assert two.folder_A == tmp_path / 'two' / folders[direction == 'BtoA']


@pytest.mark.parametrize('train', [True, False])
def test_images_without_partner(unaligned_root, train, capsys):
    (unaligned_root / 'trainB' / '4.png').unlink()
    settings = dict(isTrain=train)
    message, = problems(unaligned_root, 'aligned', **settings)
    for part in ('1 of 9', str(unaligned_root / 'trainA' / '4.png'), '--allow_unmatched', '--dataset_mode unaligned'):
        assert part in message
    dataset = create_dataset(training(unaligned_root, 'aligned', allow_unmatched=True, **settings))
    assert len(dataset) == 4 and '4.png' in capsys.readouterr().err


def test_pairs_of_different_sizes(unaligned_root):
    noise(30, 40).save(unaligned_root / 'trainB' / '2.png')
    message, = problems(unaligned_root, 'aligned')
    assert '1 of 5 pairs' in message and all(part in message for part in ('2.png', 'A 40x40', 'B 30x40'))
    test = create_dataset(training(unaligned_root, 'aligned', isTrain=False))
    test.keep_going = True
    assert '30x40' in str(test[2]) and 'A' in test[1]


def test_a_pair_with_one_bad_image_is_left_out(unaligned_root):
    (unaligned_root / 'trainB' / '2.png').write_bytes(b'')
    dataset = create_dataset(training(unaligned_root, 'aligned', bad_images='skip'))
    assert names(dataset.paths) == names(dataset.partners) == ['0.png', '1.png', '3.png', '4.png']


def test_square_images_are_not_pairs_side_by_side(photo_root):
    message, = problems(photo_root, 'aligned')
    for part in ('all 5 images', '40x40', '--dataset_mode unaligned', '--square_pairs'):
        assert part in message
    create_dataset(training(photo_root, 'aligned', square_pairs=True))
    draw_images(photo_root / 'train' / 'more', 1, (80, 40))
    create_dataset(training(photo_root, 'aligned'))


def test_the_images_are_one_folder_deeper(tmp_path):
    draw_images(tmp_path / 'maps' / 'trainA', 1)
    message, = problems(tmp_path, 'unaligned')
    assert f'--dataroot {tmp_path / "maps"}' in message


# ---- images that fail while training

@pytest.fixture
def broken_root(unaligned_root) -> Path:
    """One image has a good header and bad pixels."""
    truncated(unaligned_root / 'trainA' / '2.png')
    return unaligned_root


@pytest.mark.parametrize('bad_images', ['stop', 'skip'])
@pytest.mark.parametrize('num_threads', [0, 2])
def test_another_sample_is_used_instead_of_a_bad_one(broken_root, capsys, num_threads, bad_images):
    opt = training(broken_root, 'unaligned', num_threads=num_threads, serial_batches=True, bad_images=bad_images)
    loader = create_loader(create_dataset(opt), opt)
    assert [names(batch['A_paths'])[0] for n in (1, 2) for batch in epoch(loader, n)] == \
        ['0.png', '1.png', '3.png', '3.png', '4.png'] * 2
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1 and str(broken_root / 'trainA' / '2.png') in warnings[0]


def test_the_replacement_depends_on_seed_and_files_only(broken_root):
    def batches(num_threads, start=0):
        opt = training(broken_root, 'unaligned', num_threads=num_threads, batch_size=2)
        return epoch(create_loader(create_dataset(opt), opt), 3, start)
    whole = batches(0)
    assert same(whole, batches(2)) and same(whole[1:], batches(2, start=2))
    assert all('replaced' not in batch for batch in whole)


def test_another_partner_is_drawn_instead_of_a_bad_one(unaligned_root):
    """The next sample with the same seed would always get the same partner."""
    truncated(unaligned_root / 'trainB' / '1.png')
    opt = training(unaligned_root, 'unaligned')
    loader = create_loader(create_dataset(opt), opt)
    partners = [names(batch['B_paths'])[0] for number in range(1, 9) for batch in epoch(loader, number)]
    assert len(partners) == 40 and set(partners) == {'0.png', '2.png', '3.png', '4.png'}


def test_a_file_that_disappears(unaligned_root, tmp_path):
    opt = training(unaligned_root, 'unaligned', serial_batches=True)
    dataset = create_dataset(opt)
    dataset.bad_images.save_to(tmp_path)
    (unaligned_root / 'trainA' / '0.png').unlink()
    loader = create_loader(dataset, opt)
    assert names(epoch(loader)[0]['A_paths']) == ['1.png']
    assert '0.png' in (tmp_path / 'bad_images.txt').read_text(encoding='utf-8')


@pytest.mark.parametrize(('count', 'bad', 'ends'), [(20, 2, False), (20, 3, True), (400, 4, False), (400, 5, True)])
def test_too_many_bad_images_stop_the_training(tmp_path, count, bad, ends):
    noise(8, 8).save(tmp_path / 'good.png')
    truncated(tmp_path / 'bad.png')
    (tmp_path / 'train').mkdir()
    for number in range(count):
        os.link(tmp_path / ('bad.png' if number % 4 == 3 and number // 4 < bad else 'good.png'),
                tmp_path / 'train' / f'{number:03}.png')
    opt = training(tmp_path, 'template', serial_batches=True, max_dataset_size=count, load_size=8, crop_size=8)
    loader = create_loader(create_dataset(opt), opt)
    if ends:
        with pytest.raises(UserError, match=rf'{bad} of {count} images .* 1%.*003.png'):
            epoch(loader)
    else:
        assert len(epoch(loader)) == count


def test_a_folder_that_disappears(unaligned_root):
    opt = training(unaligned_root, 'unaligned', num_threads=2)
    loader = create_loader(create_dataset(opt), opt)
    (unaligned_root / 'trainB').rename(unaligned_root / 'away')
    with pytest.raises(UserError, match='10 samples in a row') as caught:
        epoch(loader)
    assert caught.value.exit_code == 2


def test_a_test_does_not_replace_anything(broken_root):
    dataset = create_dataset(options(broken_root, 'unaligned'))
    with pytest.raises(UserError, match='2.png'):
        dataset[2]


# ---- workers that die

@pytest.fixture
def many(tmp_path) -> Path:
    draw_images(tmp_path / 'many' / 'trainA', 24)
    draw_images(tmp_path / 'many' / 'trainB', 24)
    return tmp_path / 'many'


def loader_of(root, **changes):
    opt = training(root, 'unaligned', **changes)
    return create_loader(create_dataset(opt), opt)


def kill_one(loader) -> int:
    worker = loader.workers[0]
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(10)
    return worker.pid


@pytest.mark.sample(1)
@unix
@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'])
def test_a_signal_to_the_process_group_while_workers_start(many, name, monkeypatch, capfd):
    """They ignore it from the start, print nothing, and load their samples."""
    number, fork = getattr(signal, name), os.fork

    def interrupted():
        pid = fork()
        if pid == 0:
            os.kill(os.getpid(), number)
        return pid
    expected = epoch(loader_of(many))
    monkeypatch.setattr(os, 'fork', interrupted)
    loader = loader_of(many, num_threads=2)
    assert same(epoch(loader), expected) and len(loader.workers) == 2
    for worker in loader.workers:
        os.kill(worker.pid, number)
    assert same(epoch(loader), expected) and capfd.readouterr().err == ''


@unix
@pytest.mark.parametrize('after', [1, 5])
def test_a_killed_worker_costs_no_sample(many, after, capsys):
    expected = epoch(loader_of(many, batch_size=2), 2)
    loader = loader_of(many, batch_size=2, num_threads=2)
    epoch(loader, 1)
    loader.sampler.set_epoch(2)
    found = []
    for batch in loader:
        found.append(batch)
        if len(found) == after:
            pid = kill_one(loader)
    assert same(found, expected)
    warning, = capsys.readouterr().err.splitlines()
    assert f'pid {pid}' in warning and 'SIGKILL' in warning and '--num_threads' in warning
    assert same(epoch(loader, 3), epoch(loader_of(many, batch_size=2), 3))


@unix
def test_a_death_between_two_epochs(many):
    loader = loader_of(many, num_threads=2)
    epoch(loader, 1)
    kill_one(loader)
    assert same(epoch(loader, 2), epoch(loader_of(many), 2))


@unix
def test_a_death_in_an_epoch_that_was_continued(many):
    expected = epoch(loader_of(many), 2)[10:]
    loader = loader_of(many, num_threads=2)
    loader.sampler.set_epoch(2, start=10)
    found = []
    for batch in loader:
        found.append(batch)
        if len(found) == 3:
            kill_one(loader)
    assert same(found, expected) and loader.sampler.start == 10


@unix
def test_a_death_does_not_disturb_the_training_step(many):
    """PyTorch's SIGCHLD handler would raise its error during the step."""
    loader = loader_of(many, num_threads=2)
    iterator = iter(loader)
    next(iterator)
    kill_one(loader)
    time.sleep(0.1)
    assert sum(1 for _ in iterator) == 23


@unix
def test_an_error_that_comes_before_the_death_that_caused_it(many, monkeypatch, capsys):
    """A dying process closes its pipes first."""
    expected = epoch(loader_of(many), 2)
    loader = loader_of(many, num_threads=2)
    begin = loader.begin

    def dying():
        yield next(begin())
        monkeypatch.setattr(loader, 'begin', begin)
        threading.Timer(0.2, os.kill, (loader.workers[1].pid, signal.SIGKILL)).start()
        raise ConnectionResetError(errno.ECONNRESET, 'Connection reset by peer')
    monkeypatch.setattr(loader, 'begin', dying)
    assert same(epoch(loader, 2), expected)
    warning, = capsys.readouterr().err.splitlines()
    assert 'SIGKILL' in warning


@unix
def test_all_workers_killed_at_once(many, capsys):
    """As the kernel does when a container runs out of memory; at several moments, since timing matters."""
    expected = epoch(loader_of(many), 2)
    for moment in range(6):
        loader, found = loader_of(many, num_threads=2), []
        loader.sampler.set_epoch(2)
        for batch in loader:
            found.append(batch)
            if len(found) == 3:
                time.sleep(0.0005 * moment)
                for worker in loader.workers:
                    os.kill(worker.pid, signal.SIGKILL)
        assert same(found, expected)
        assert len(capsys.readouterr().err.splitlines()) == 1


@unix
def test_workers_that_die_again_and_again(many):
    loader, given = loader_of(many, num_threads=2), 0
    with pytest.raises(ResourceError, match='60 seconds.*SIGKILL.*--num_threads') as caught:
        for _ in loader:
            given += 1
            if given in (2, 8):
                kill_one(loader)
    assert caught.value.exit_code == 5 and given >= 8 and loader.sampler.start == 0


@unix
def test_deaths_that_are_far_apart_are_survived(many, monkeypatch):
    monkeypatch.setattr(data.loading.loader, 'SECONDS_BETWEEN_DEATHS', 0)
    loader, given = loader_of(many, num_threads=2), 0
    for _ in loader:
        given += 1
        if given in (2, 8):
            kill_one(loader)
    assert given == 24


def test_an_error_in_a_dataset_is_raised_unchanged(many, monkeypatch):
    loader = loader_of(many, num_threads=2)
    monkeypatch.setattr(loader.dataset, 'load', lambda *_: torch.ones(2) + torch.ones(3))
    with pytest.raises(RuntimeError, match='must match the size'):
        epoch(loader)


# ---- full shared memory, and reads that hang

def free(monkeypatch, size: int):
    monkeypatch.setattr(data.loading.workers.shutil, 'disk_usage', lambda _: type('Usage', (), dict(free=size)))


@pytest.mark.skipif(not os.path.isdir('/dev/shm'), reason='needs /dev/shm')
@pytest.mark.parametrize(('batches', 'workers'), [(100, 2), (8, 2), (6, 1), (2, 0), (0, 0)])
def test_workers_fit_into_the_shared_memory(many, monkeypatch, capsys, batches, workers):
    batch = 2 * 2 * 3 * 32 * 32
    free(monkeypatch, batches * batch)
    loader = loader_of(many, num_threads=2, batch_size=2)
    found = epoch(loader)
    assert loader.n_workers == workers and len(found) == 12
    said = capsys.readouterr().err
    assert ('--shm-size=1g' in said) == (workers < 2) and said.count('\n') == (workers < 2)


def test_shared_memory_that_is_full_later(many, monkeypatch, capsys):
    loader = loader_of(many, num_threads=2)
    build, failures = loader.begin, [OSError(errno.ENOSPC, 'No space left on device')]

    def begin():
        if failures and loader.loader is not None:
            raise failures.pop()
        return build()
    epoch(loader, 1)
    monkeypatch.setattr(loader, 'begin', begin)
    assert same(epoch(loader, 2), epoch(loader_of(many), 2)) and loader.n_workers == 0
    assert '/dev/shm' in capsys.readouterr().err


@unix
@pytest.mark.parametrize('num_threads', [0, 2])
def test_a_read_that_hangs(many, monkeypatch, num_threads):
    loader = loader_of(many, num_threads=num_threads, data_timeout=3, serial_batches=True)
    load = loader.dataset.load

    def hang(index, rng):
        if index == 3:
            with open(many / 'trainA' / '3.png', 'rb'):
                time.sleep(60)
        return load(index, rng)
    monkeypatch.setattr(loader.dataset, 'load', hang)
    before, given = signal.getsignal(signal.SIGALRM), 0
    with pytest.raises(ResourceError, match='3 seconds.*--data_timeout') as caught:
        for _ in loader:
            given += 1
    assert caught.value.exit_code == 5 and given == 3
    assert ('3.png' in str(caught.value)) or not os.path.isdir('/proc')
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@unix
def test_a_slow_step_is_not_a_slow_read(many):
    for number, _ in enumerate(loader_of(many, data_timeout=5)):
        time.sleep(5.5 * (number == 1))
    assert number == 23
