"""Cached images, merged messages, and normalization on the device: all pixels equal those of plain streaming."""
import os
import signal
import sys
import time

import numpy as np
import pytest
import torch
from conftest import draw_images
from PIL import Image
from test_data import loader_of as untrained_loader_of
from test_data import noise, options
from test_data_faults import TRAINING, epoch, kill_one, same

import data.loading.cache
import data.loading.loader
from data import create_dataset, create_loader, image_folder
from data.loading.cache import Cache, create_cache, free_in_control_groups, free_memory
from data.loading.cached_loader import CachedLoader
from data.loading.loader import Loader
from data.loading.workers import worker_count
from data.transforms import PREPROCESS, Preparation, to_levels
from util.errors import ResourceError, UserError
from util.images import as_numbers, table
from util.monitors.timing import WaitHint

CPU = torch.device('cpu')
pytestmark = pytest.mark.filterwarnings('ignore:The image decoding:DeprecationWarning')
unix = pytest.mark.skipif(sys.platform == 'win32', reason='needs signals of Unix')


def loader_of(root, mode: str, loader: str = 'stream', device=None, **changes):
    opt = options(root, mode, **{**TRAINING, 'loader': loader, **changes})
    return create_loader(create_dataset(opt), opt, device=device)


# ---- the table

def test_all_levels_are_normalized_as_in_the_reference():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    expected = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    found = as_numbers(levels)
    assert found.shape == levels.shape and found.dtype == torch.float32
    assert np.array_equal(found.numpy().ravel(), expected)
    assert (found[0, 0, 0, 0], found[0, 0, 15, 15]) == (-1, 1)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_levels_in_any_layout(layout):
    levels = torch.randint(256, (2, 3, 5, 7), dtype=torch.uint8)
    laid = levels.contiguous(memory_format=layout)
    assert torch.equal(as_numbers(laid), as_numbers(levels)) and torch.equal(
        as_numbers(laid.flip(-1)[..., 1:4]), as_numbers(levels).flip(-1)[..., 1:4])


def test_float_images_are_not_changed():
    numbers = torch.randn(1, 2, 4, 4)
    assert as_numbers(numbers) is numbers


def test_the_table_can_be_made_in_inference_mode():
    """A table made in inference mode could not be used in a training step."""
    table.cache_clear()
    image = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    with torch.inference_mode():
        as_numbers(image)
    assert not table(CPU).is_inference()
    weight = torch.ones(3, 3, 1, 1, requires_grad=True)
    torch.conv2d(as_numbers(image), weight).sum().backward()
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize('model', ['pix2pix', 'cyclegan'])
def test_a_model_gets_normalized_images(model, roots, train_options, build_model):
    opt = train_options('--dataroot', roots['aligned'], '--model', model, '--dataset_mode', 'aligned', '--netG',
                        'unet_32')
    trained, dataset = build_model(opt), create_dataset(opt)
    batch = next(iter(create_loader(dataset, opt)))
    trained.set_input(batch)
    assert batch['A'].dtype == torch.uint8 and trained.real_A.dtype == torch.float32
    assert torch.equal(trained.real_A, batch['A'].float().div(255).sub(0.5).div(0.5))


# ---- cached and streamed

MODES = ('aligned', 'unaligned', 'colorization', 'template')


@pytest.mark.parametrize('num_threads', [0, 2])
@pytest.mark.parametrize('mode', MODES)
def test_cached_samples_equal_streamed_ones(mode, num_threads, roots):
    streamed = loader_of(roots[mode], mode, batch_size=2)
    cached = loader_of(roots[mode], mode, 'cache_ram', batch_size=2, num_threads=num_threads)
    assert isinstance(cached, CachedLoader) and not isinstance(streamed, CachedLoader)
    for number in (1, 2, 3):
        assert same(epoch(cached, number), epoch(streamed, number))
    assert cached.dataset.cache.entries and streamed.dataset.cache is None


@pytest.mark.parametrize('preprocess', PREPROCESS)
@pytest.mark.parametrize('mode', ['aligned', 'unaligned'])
def test_every_preprocess(mode, preprocess, roots):
    settings = dict(preprocess=preprocess, input_nc=1)
    cached = loader_of(roots[mode], mode, 'cache_ram', **settings)
    for number in (1, 2):
        assert same(epoch(cached, number), epoch(loader_of(roots[mode], mode, **settings), number))


def test_files_are_read_once(roots, monkeypatch):
    loader = loader_of(roots['aligned'], 'aligned', 'cache_ram')
    read, opened = loader.dataset.A.read, []
    monkeypatch.setattr(loader.dataset.A, 'read', lambda path, fast: opened.append(path) or read(path, fast))
    for number in (1, 2, 3):
        epoch(loader, number)
    assert sorted(opened) == sorted(loader.dataset.paths)


def test_an_interrupted_epoch_of_cached_samples(roots):
    whole = epoch(loader_of(roots['unaligned'], 'unaligned'), 4)
    for num_threads in (0, 2):
        loader = loader_of(roots['unaligned'], 'unaligned', 'cache_ram', num_threads=num_threads)
        epoch(loader, 1)
        assert same(epoch(loader, 4, start=3), whole[3:])


def test_threads_are_not_used_once_all_is_cached(roots, monkeypatch):
    loader = loader_of(roots['aligned'], 'aligned', 'cache_ram', num_threads=2)
    plain, used = loader.read_ahead, []
    monkeypatch.setattr(loader, 'read_ahead', lambda keys: used.append(1) or plain(keys))
    counts = [(epoch(loader, number), len(used))[1] for number in (1, 2, 3)]
    assert counts == [1, 2, 2] or counts == [1, 1, 1]


def test_a_test_is_never_cached(roots):
    opt = options(roots['aligned'], 'aligned', loader='cache_ram')
    assert not opt.isTrain and create_loader(dataset := create_dataset(opt), opt) and dataset.cache is None


def test_a_bad_file_with_a_cache(roots, capsys):
    bad = roots['unaligned'] / 'trainA' / '2.png'
    content = bad.read_bytes()
    bad.write_bytes(content[:len(content) // 2])
    expected = epoch(loader_of(roots['unaligned'], 'unaligned'), 2)
    assert '2.png' in capsys.readouterr().err
    for num_threads in (0, 2):
        loader = loader_of(roots['unaligned'], 'unaligned', 'cache_ram', num_threads=num_threads)
        assert same(epoch(loader, 2), expected) and '2.png' in capsys.readouterr().err


@unix
@pytest.mark.parametrize('num_threads', [0, 2])
def test_a_read_that_hangs(roots, num_threads, monkeypatch):
    loader = loader_of(roots['unaligned'], 'unaligned', 'cache_ram', num_threads=num_threads, data_timeout=2,
                       serial_batches=True)
    load = loader.dataset.load
    monkeypatch.setattr(loader.dataset, 'load',
                        lambda index, rng: time.sleep(20 * (index == 3)) or load(index, rng))
    given, begin = [], time.monotonic()
    with pytest.raises(ResourceError, match='2 seconds.*--data_timeout'):
        given.extend(loader)
    assert time.monotonic() - begin < 15 and signal.getitimer(signal.ITIMER_REAL) == (0, 0)


# ---- how much is kept

def pictures(count: int, side: int = 32) -> dict:
    return {f'{number}.png': noise(side, side, number) for number in range(count)}


def test_images_that_do_not_fit_into_the_cache_are_read_again(monkeypatch, capsys):
    monkeypatch.setattr(data.loading.cache, 'BLOCK', 4 * 3 * 32 * 32)
    images, read = pictures(10), []
    cache = Cache(CPU, limit=6 * 3 * 32 * 32)

    def read_picture(name):
        read.append(name)
        return images[name],
    for _ in range(2):
        for name, image in images.items():
            found, = cache.get(read_picture, name)
            assert torch.equal(found, to_levels(image))
    assert len(cache.entries) == 8 and cache.size == 8 * 3 * 32 * 32       # two blocks
    assert read == [*images, '8.png', '9.png']
    assert capsys.readouterr().err.count('warning') == 1


def test_the_cache_leaves_the_reserve_free(monkeypatch, capsys):
    module = data.loading.cache
    monkeypatch.setattr(module, 'free_memory', lambda _: module.RESERVE + module.BLOCK - 1)
    cache = Cache(CPU, limit=float('inf'))
    cache.get(lambda: (noise(8, 8),))
    assert cache.entries == {} and 'warning' in capsys.readouterr().err


def test_images_larger_than_a_block(monkeypatch):
    monkeypatch.setattr(data.loading.cache, 'BLOCK', 100)
    cache, image = Cache(CPU, float('inf')), noise(40, 30)
    for _ in range(2):
        assert torch.equal(cache.get(lambda: (image, image.convert('L')))[0], to_levels(image))
    assert cache.misses == 1 and cache.size == 4 * 40 * 30


@pytest.mark.parametrize(('wanted', 'device', 'n_bytes', 'any_device', 'expected'), [
    ('stream', 'meta', 10, True, None), ('cache_ram', 'meta', 10, True, 'cpu'), ('cache_gpu', 'meta', 10, True, 'meta'),
    ('auto', 'meta', 39, True, 'meta'), ('auto', 'meta', 41, True, 'cpu'), ('auto', 'meta', 501, True, None),
    ('auto', 'meta', 39, False, 'cpu'), ('auto', 'cpu', 499, True, 'cpu'), ('auto', 'cpu', 0, True, None),
    ('cache_gpu', 'cpu', 10, True, 'cpu'), ('cache_gpu', 'meta', 10, False, 'cpu'),
    ('cache_gpu', 'meta', 99, True, 'meta')])
def test_where_images_are_cached(monkeypatch, wanted, device, n_bytes, any_device, expected):
    """The free memory is 1000 bytes, and 100 of the other device."""
    monkeypatch.setattr(data.loading.cache, 'free_memory', lambda place: 1000 if place.type == 'cpu' else 100)
    cache = create_cache(wanted, n_bytes, any_device, torch.device(device))
    assert (cache and cache.device.type) == expected
    if cache:
        assert cache.limit == pytest.approx(800 if expected == 'cpu' else 60)


def test_a_complete_cache_has_the_size_computed_from_the_headers(roots):
    for mode in ('aligned', 'unaligned'):
        loader = loader_of(roots[mode], mode, 'cache_ram')
        for number in range(1, 30):
            epoch(loader, number)
        assert loader.dataset.cache.size == loader.dataset.n_bytes == 10 * 3 * 36 * 36


def test_limits_of_control_groups(tmp_path):
    inner = tmp_path / 'root' / 'job' / 'task'
    inner.mkdir(parents=True)
    for folder, limit, usage in ((inner, 'max', 10), (inner.parent, 5000, 3000), (tmp_path / 'root', 9000, 1000)):
        (folder / 'memory.max').write_text(f'{limit}\n')
        (folder / 'memory.current').write_text(f'{usage}\n')
        (folder / 'memory.stat').write_text('anon 7\ninactive_file 500\n')
    (tmp_path / 'groups').write_text('0::/job/task\n')
    assert free_in_control_groups(tmp_path / 'root', tmp_path / 'groups') == [2500, 8500]
    assert free_in_control_groups(tmp_path, tmp_path / 'absent') == []
    assert free_memory(CPU) > 2**20


# ---- several batches in a message

@pytest.fixture
def many(tmp_path):
    for domain in 'AB':
        draw_images(tmp_path / 'many' / f'train{domain}', 24)
    return tmp_path / 'many'


@pytest.fixture
def large_messages(monkeypatch):
    """As if the dataset were large."""
    monkeypatch.setattr(Loader, 'messages_per_worker', 1)


@pytest.mark.parametrize('batch_size', [1, 2, 3, 7])
def test_messages_of_several_batches(many, large_messages, batch_size):
    expected = loader_of(many, 'unaligned', batch_size=batch_size)
    loader = loader_of(many, 'unaligned', batch_size=batch_size, num_threads=2)
    for number, start in ((1, 0), (2, 5), (3, 23), (4, 24), (5, 0)):
        assert same(epoch(loader, number, start), epoch(expected, number, start))
    assert loader.batches_per_message == {1: 8, 2: 4, 3: 2, 7: 1}[batch_size]


def test_small_datasets_have_small_messages(many):
    loader = loader_of(many, 'unaligned', num_threads=2)
    epoch(loader)
    assert loader.batches_per_message == 1


@pytest.mark.sample(1)
@unix
@pytest.mark.parametrize('after', [1, 3, 9])
def test_a_killed_worker_costs_no_sample_of_its_messages(many, large_messages, monkeypatch, after, capsys):
    monkeypatch.setattr(Loader, 'samples_per_message', 3)
    monkeypatch.setattr(data.loading.loader, 'PREFETCH', 1)
    expected = epoch(loader_of(many, 'unaligned'), 2)
    loader = loader_of(many, 'unaligned', num_threads=2)
    loader.sampler.set_epoch(2)
    found = []
    for batch in loader:
        found.append(batch)
        if len(found) == after:
            kill_one(loader)
    assert loader.batches_per_message == 3 and same(found, expected)
    assert 'SIGKILL' in capsys.readouterr().err


def test_bad_files_in_large_messages(many, large_messages, capsys):
    for name in ('3.png', '17.png'):
        (many / 'trainA' / name).write_bytes((many / 'trainA' / name).read_bytes()[:60])
    expected = epoch(loader_of(many, 'unaligned', batch_size=2), 1)
    warnings = capsys.readouterr().err
    assert same(epoch(loader_of(many, 'unaligned', batch_size=2, num_threads=2), 1), expected)
    assert capsys.readouterr().err == warnings and warnings.count('warning') == 2


def test_an_error_is_raised_at_the_position_of_its_batch(tmp_path, large_messages):
    draw_images(tmp_path / 'images', 16)
    (tmp_path / 'images' / '5.png').write_bytes(b'no image')
    for num_threads in (0, 2):
        loader, given = untrained_loader_of(tmp_path / 'images', 'single', num_threads=num_threads,
                                            serial_batches=True), []
        with pytest.raises(UserError, match='5.png'):
            for batch in loader:
                given.append(batch)
        names = [os.path.basename(batch['A_paths'][0]) for batch in given]
        assert names == [f'{n}.png' for n in range(5)]


def test_images_of_different_sizes_are_sent_separately(tmp_path, large_messages):
    for number in range(16):
        draw_images(tmp_path / 'images' / str(number), 1, (40 + 4 * (number % 3), 40))
    settings = dict(preprocess='none', serial_batches=True)
    alone, together = (list(untrained_loader_of(tmp_path / 'images', 'single', num_threads=n, **settings))
                       for n in (0, 2))
    assert all(torch.equal(a['A'], b['A']) for a, b in zip(alone, together, strict=True)) and len(alone) == 16


# ---- other parts

def test_a_fast_resize_differs_by_two_levels_at_most(tmp_path):
    image = draw_images(tmp_path, 1, (100, 80))[0]
    for preprocess in ('resize_and_crop', 'scale_width', 'scale_shortside_and_crop'):
        plain, fast = (Preparation(preprocess, 72, 64, fast=fast).resize(Image.open(image)) for fast in (False, True))
        apart = (to_levels(plain).int() - fast.int()).abs()
        assert fast.shape == to_levels(plain).shape and apart.max() <= 2 and (apart > 0).float().mean() < 0.05


def test_a_fast_resize_is_only_for_training_and_only_on_request(roots):
    noise(80, 40).save(roots['aligned'] / 'train' / '0.png')
    settings = dict(load_size=72, fast_resize=True)
    fast, plain, test = (create_dataset(options(roots['aligned'], 'aligned', **{**TRAINING, **settings, **more}))
                         for more in ({}, dict(fast_resize=False), dict(isTrain=False)))
    A = [dataset[0, 1]['A'] for dataset in (fast, plain, test)]
    assert torch.equal(A[1], A[2]) and not torch.equal(A[0], A[1])
    assert fast[0, 1]['A'].shape == plain[0, 1]['A'].shape


def test_a_faster_decoder_gives_the_same_pixels(tmp_path, monkeypatch):
    """Pillow is used for everything else: other formats and modes, rotated and damaged files."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image, saved = noise(65, 40), {}
    for name, picture, more in (('444', image, dict(quality=95, subsampling=0)), ('420', image, dict(subsampling=2)),
                                ('progressive', image, dict(progressive=True)), ('turned', image, dict(exif=exif)),
                                ('grey', image.convert('L'), {}), ('cmyk', image.convert('CMYK'), {})):
        saved[name] = tmp_path / f'{name}.jpg'
        picture.save(saved[name], **more)
    image.save(tmp_path / 'a.png')
    for name, path in (*saved.items(), ('png', tmp_path / 'a.png')):
        found = image_folder.read_levels(str(path))
        assert torch.equal(to_levels(found), to_levels(image_folder.read_image(str(path)))), name
        if image_folder.jpeg_decoder():
            assert torch.is_tensor(found) == (name in ('444', '420', 'progressive'))
    with pytest.raises(UserError, match='--max_pixels 100'):
        image_folder.read_levels(str(saved['444']), 100)
    saved['444'].write_bytes(saved['444'].read_bytes()[:2000])
    with pytest.raises(image_folder.ImageError, match='444.jpg'):
        image_folder.read_levels(str(saved['444']))
    monkeypatch.setattr(image_folder, 'jpeg_decoder', lambda: None)
    assert isinstance(image_folder.read_levels(str(saved['420'])), Image.Image)


@pytest.mark.parametrize('mode', MODES)
def test_all_datasets_with_a_fast_resize(mode, roots):
    for path in sorted(roots[mode].rglob('*.png')):
        Image.open(path).save(path.with_suffix('.jpg'), quality=95)
        path.unlink()
    for more in ({}, {} if mode == 'colorization' else dict(input_nc=1)):
        plain, fast = (loader_of(roots[mode], mode, serial_batches=True, fast_resize=fast, **more)
                       for fast in (False, True))
        for a, b in zip(epoch(plain), epoch(fast), strict=True):
            scale = 100 if a['A'].is_floating_point() else 1
            apart = max((a[domain].float() - b[domain].float()).abs().max().item() * scale for domain in 'AB')
            assert a['A'].shape == b['A'].shape and a['A_paths'] == b['A_paths'] and apart <= 4


def test_number_of_threads(monkeypatch, train_options, roots):
    assert train_options('--dataroot', roots['aligned'], '--num_threads', 'auto').num_threads == 'auto'
    with pytest.raises(UserError, match='--num_threads many.*at least 0, or auto'):
        train_options('--dataroot', roots['aligned'], '--num_threads', 'many')
    for cores, threads in ((1, 1), (2, 1), (8, 7), (64, 16)):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda _, cores=cores: range(cores), raising=False)
        assert worker_count('auto') == threads
    assert [worker_count(n) for n in (0, 5)] == [0, 5]


def test_a_hint_after_three_slow_reports():
    def told(shares, **settings):
        hint = WaitHint(**{'loader': 'stream', 'num_threads': 4, **settings})
        return [hint.after(share) for share in shares]
    assert not any(told([0.1, 0.5, 0.5, 0.2, 0.9, 0.9, 0.2]))
    lines = told([0.3, 0.3, 0.3, 0.3, 0.1, 0.9, 0.9, 0.9])
    assert [bool(line) for line in lines] == [False, False, True, *[False] * 5]
    for part in ('20%', '--loader cache_ram', '--num_threads auto', 'instead of 4', '--fast_resize'):
        assert part in lines[2]
    assert '--loader cache_ram' not in told([1, 1, 1], loader='cache_ram')[2]
    assert '--num_threads' not in told([1, 1, 1], num_threads='auto')[2]
    assert told([1, 1, 1], loader='cache_gpu', num_threads='auto')[2]


# ---- a whole run

@pytest.mark.sample(1)
@pytest.mark.parametrize('num_threads', [0, 2])
def test_a_stopped_run_with_a_cache_ends_as_a_streamed_one(runs, num_threads):
    import states
    done = runs.begin('pix2pix', 'streamed')
    assert (done.code, done.err) == (0, '')
    stopped = runs.begin('pix2pix', 'run', '--loader', 'cache_ram', '--num_threads', num_threads,
                         signals_at={3: 'SIGTERM'})
    assert stopped.code == 143 and '--loader cache_ram' in stopped.out
    done = runs.resume('run')
    assert (done.code, done.err) == (0, '')
    assert states.differences(*(states.everything(runs.folder / name) for name in ('streamed', 'run'))) == []
