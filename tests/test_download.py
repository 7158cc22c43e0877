"""Downloads from a local server that interrupts, lies and fails; archives made to do harm."""
import gzip
import hashlib
import io
import json
import random
import stat
import struct
import sys
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from util import download, unpack
from util.cli import run
from util.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
for folder in ('datasets', 'scripts'):
    sys.path.insert(0, str(ROOT / folder))

import download_cyclegan_model
import download_dataset
import download_pix2pix_model

BODY = b'PK\x03\x04' + random.Random(0).randbytes(300_000)
TINY = dict(max_bytes=10_000, max_members=50)


class Server(ThreadingHTTPServer):
    """Serves `files`; `script` holds what the next answers do instead: a status, 'cut' or 'page'."""
    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files = {}
        self.script = []
        self.ranges = []
        self.tag = '"one"'
        self.resumes = True
        self.url = f'http://127.0.0.1:{self.server_port}'


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        asked = self.headers.get('Range')
        self.server.ranges.append(asked)
        act = self.server.script.pop(0) if self.server.script else None
        body = self.server.files.get(self.path.lstrip('/'))
        if act == 'page':
            self.answer(200, b'<html>moved</html>', {'Content-Type': 'text/html; charset=utf-8'})
        elif isinstance(act, int) or body is None:
            self.send_error(act or 404)
        else:
            self.send_file(body, asked, cut=act == 'cut')

    def send_file(self, body, asked, cut):
        start = 0
        if asked and self.server.resumes and self.headers['If-Range'] == self.server.tag:
            start = int(asked.removeprefix('bytes=').rstrip('-'))
        headers = {'ETag': self.server.tag, 'Content-Type': 'application/octet-stream'}
        if start:
            headers['Content-Range'] = f'bytes {start}-{len(body) - 1}/{len(body)}'
        self.answer(206 if start else 200, body[start:], headers, cut)

    def answer(self, status, body, headers, cut=False):
        self.send_response(status)
        for name, value in {**headers, 'Content-Length': len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body[:len(body) // 2] if cut else body)


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(server, tmp_path):
    """Fetch `a/b.zip` of the server to `down/b.zip` without a pause between the tries."""
    def fetch():
        source = download.Source('a/b.zip', 'unpack it by hand', server.url)
        return download.fetch(source, tmp_path / 'down' / 'b.zip', tmp_path / 'sums.json', tries=3, pause=0)
    server.files['a/b.zip'] = BODY
    fetch.file = tmp_path / 'down' / 'b.zip'
    return fetch


def names_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# ---------------------------------------------------------------------------------------------- fetching

def test_a_file_is_complete_and_its_checksum_is_returned(get):
    assert get() == hashlib.sha256(BODY).hexdigest()
    assert get.file.read_bytes() == BODY
    assert names_in(get.file.parent) == ['b.zip']


def test_an_interrupted_download_is_resumed(get, server):
    server.script = ['cut', 'cut']
    get()
    half = len(BODY) // 2
    assert server.ranges == [None, f'bytes={half}-', f'bytes={half + (len(BODY) - half) // 2}-']
    assert get.file.read_bytes() == BODY


def test_the_next_call_resumes_too(get, server):
    server.script = ['cut', 503, 503, 503]
    with pytest.raises(UserError, match=f'{len(BODY) // 2} bytes'):
        get()
    assert names_in(get.file.parent) == ['b.zip.part', 'b.zip.part.tag']
    get()
    assert server.ranges[-1] == f'bytes={len(BODY) // 2}-'
    assert get.file.read_bytes() == BODY


def test_a_file_that_changed_on_the_server_is_downloaded_from_the_start(get, server):
    server.script = ['cut', 503, 503, 503]
    with pytest.raises(UserError):
        get()
    server.tag, server.files['a/b.zip'] = '"two"', b'PK\x03\x04' + b'new' * 90_000
    get()
    assert get.file.read_bytes() == server.files['a/b.zip']


def test_a_server_without_ranges_sends_the_whole_file_again(get, server):
    server.resumes, server.script = False, ['cut']
    get()
    assert get.file.read_bytes() == BODY


def test_a_server_that_never_finishes_is_not_asked_forever(get, server):
    server.resumes, server.script = False, ['cut'] * 20
    with pytest.raises(UserError, match=r'\d+ of 300004 bytes'):
        get()
    assert len(server.ranges) == 3
    assert not get.file.exists()


def test_a_busy_server_is_asked_again(get, server, capsys):
    server.script = [503, 429]
    get()
    assert len(server.ranges) == 3
    assert capsys.readouterr().err.count('trying again') == 2


def test_a_part_longer_than_the_file_is_discarded(get, server):
    server.script = ['cut', 503, 503, 503]
    with pytest.raises(UserError):
        get()
    server.script = [416]
    get()
    assert get.file.read_bytes() == BODY


@pytest.mark.parametrize('act, words', [(404, '404'), (403, '403'), ('page', 'web page')])
def test_refusals_are_final_and_leave_nothing(get, server, tmp_path, act, words):
    server.script = [act]
    with pytest.raises(UserError, match=f'{server.url}/a/b.zip .*{words}.*unpack it by hand'):
        get()
    assert len(server.ranges) == 1
    assert names_in(get.file.parent) == []


def test_a_web_page_called_zip_is_refused(get, server):
    server.files['a/b.zip'] = b'<!doctype html> Service down'
    with pytest.raises(UserError, match=r'\.zip file'):
        get()
    assert names_in(get.file.parent) == []


def test_no_server(get, server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match='unpack it by hand'):
        get()


def test_a_file_other_than_the_first_is_refused(get, server, tmp_path):
    source, table = download.Source('a/b.zip', ''), tmp_path / 'sums.json'
    download.remember(get(), source, table)
    assert json.loads(table.read_text()) == {'a/b.zip': hashlib.sha256(BODY).hexdigest()}
    get()
    get.file.unlink()
    server.files['a/b.zip'] = BODY + b'!'
    with pytest.raises(UserError, match=hashlib.sha256(BODY).hexdigest()):
        get()
    assert names_in(get.file.parent) == []


def test_a_damaged_table_of_checksums_is_reported(get, tmp_path):
    (tmp_path / 'sums.json').write_text('[')
    with pytest.raises(UserError, match='sums.json'):
        get()


def test_a_full_disk_is_reported_before_the_download(get, monkeypatch):
    monkeypatch.setattr(download.shutil, 'disk_usage', lambda folder: SimpleNamespace(free=3 << 16))
    with pytest.raises(UserError, match='0 MiB free'):
        get()


def test_a_folder_that_cannot_be_made_is_reported(get, tmp_path):
    (tmp_path / 'down').write_text('a file')
    with pytest.raises(UserError, match='b.zip.part'):
        get()


def test_a_redirect_without_https_is_refused():
    class Answer:
        url = 'http://elsewhere/b.zip'
    with pytest.raises(UserError, match='http://elsewhere'):
        download.check_response(Answer, download.Source('b.zip', ''))


# --------------------------------------------------------------------------------------------- unpacking

def zip_of(path, members, **options):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as content:
        for name, body in members:
            content.writestr(name, body, **options)
    return path


def tar_of(path, members):
    """Members are (name, bytes) or TarInfo objects."""
    with tarfile.open(path, 'w:gz' if path.suffix == '.gz' else 'w') as content:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                content.addfile(info, io.BytesIO(member[1]))
            else:
                content.addfile(member)
    return path


def special(kind, name='set/odd', linkname=''):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


def zip_entry(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def long_name_bomb(path, size=50 << 20):
    """A tar.gz of a few kB whose first header announces a name of `size` bytes."""
    header = special(tarfile.GNUTYPE_LONGNAME, '././@LongLink')
    header.size = size
    with gzip.open(path, 'wb') as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT) + b'a' * size)
    return path


GOOD = [('set/train/1.txt', b'one'), ('set/train/two words.txt', b'two'), ('set/test/3.txt', b'three' * 600)]


@pytest.mark.parametrize('make, name', [(zip_of, 'set.zip'), (tar_of, 'set.tar.gz'), (tar_of, 'set.tar')])
def test_the_folder_around_everything_is_removed(tmp_path, make, name):
    extra = [('__MACOSX/x', b''), ('.DS_Store', b'')]
    archive, target = make(tmp_path / name, GOOD + extra), tmp_path / 'data' / 'mine'
    assert unpack.unpack(archive, target) == 5
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob('*') if path.is_file()}
    assert found == {name.removeprefix('set/'): body for name, body in GOOD}
    assert names_in(target.parent) == ['mine']


@pytest.mark.parametrize('members, expected', [
    ([('train/1.txt', b'')], ['train']), ([('trainA/1.txt', b'')], ['trainA']),
    ([('x/1.txt', b''), ('y/1.txt', b'')], ['x', 'y']), ([('set/1.txt', b'')], ['1.txt'])])
def test_only_a_wrapper_is_removed(tmp_path, members, expected):
    unpack.unpack(zip_of(tmp_path / 'a.zip', members), tmp_path / 'data')
    assert names_in(tmp_path / 'data') == expected


def test_an_empty_target_is_filled_and_a_full_one_refused(tmp_path):
    archive, target = zip_of(tmp_path / 'a.zip', GOOD), tmp_path / 'data'
    target.mkdir()
    unpack.unpack(archive, target)
    with pytest.raises(UserError, match=str(target)):
        unpack.unpack(archive, target)
    with pytest.raises(UserError, match='a file'):
        unpack.unpack(archive, archive)


BAD_NAMES = ['../out', 'set/../../out', '/abs/out', '..\\out', 'C:\\out', 'c:out', '\\\\host\\share\\out', '..']
SYMLINK, FIFO = stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644
ZIPS = {
    **{f'name {name}': (lambda path, name=name: zip_of(path, [('set/1', b'1'), (name, b'x')])) for name in BAD_NAMES},
    'symlink': lambda path: zip_of(path, [('set/1', b'1'), (zip_entry('set/l', SYMLINK), '../../out')]),
    'device': lambda path: zip_of(path, [('set/1', b'1'), (zip_entry('set/f', FIFO), '')]),
    'bomb': lambda path: zip_of(path, [('set/1', b'1'), ('set/b', bytes(300_000))]),
    'bomb of many': lambda path: zip_of(path, [(f'set/{n}', bytes(3_000)) for n in range(40)]),
    'too many': lambda path: zip_of(path, [(f'set/{n}', b'') for n in range(60)]),
    'no files': lambda path: zip_of(path, []),
    'folders only': lambda path: zip_of(path, [('set/', b'')]),
    'file under a file': lambda path: zip_of(path, [('set/1', b'1'), ('set/1/2', b'2')]),
}
TARS = {
    **{f'name {name}': (lambda path, name=name: tar_of(path, [('set/1', b'1'), (name, b'x')])) for name in BAD_NAMES},
    'symlink': lambda path: tar_of(path, [('set/1', b'1'), special(tarfile.SYMTYPE, linkname='../../out')]),
    'symlink and through it': lambda path: tar_of(path, [
        ('set/1', b'1'), special(tarfile.SYMTYPE, 'set/l', '../..'), ('set/l/out', b'x')]),
    'hard link': lambda path: tar_of(path, [('set/1', b'1'), special(tarfile.LNKTYPE, linkname='../../secret')]),
    'device': lambda path: tar_of(path, [('set/1', b'1'), special(tarfile.CHRTYPE)]),
    'fifo': lambda path: tar_of(path, [('set/1', b'1'), special(tarfile.FIFOTYPE)]),
    'bomb': lambda path: tar_of(path, [('set/1', b'1'), ('set/b', bytes(300_000))]),
    'too many': lambda path: tar_of(path, [(f'set/{n}', b'') for n in range(60)]),
    'no files': lambda path: tar_of(path, []),
    'twice': lambda path: tar_of(path, [('set/1', b'1'), ('set/1', b'2')]),
    'long name': long_name_bomb,
}


@contextmanager
def refused(tmp_path, words='not unpacked'):
    """Expects a `UserError` and no other change of the disk."""
    (tmp_path / 'secret').write_text('secret')
    place = tmp_path / 'place'
    place.mkdir()
    before = names_in(tmp_path)
    with pytest.raises(UserError, match=words):
        yield place / 'data'
    assert names_in(place) == []
    assert names_in(tmp_path) == before
    assert (tmp_path / 'secret').read_text() == 'secret'


@pytest.mark.parametrize('make', ZIPS.values(), ids=ZIPS)
def test_bad_zips_are_refused_and_leave_nothing(tmp_path, make):
    archive = make(tmp_path / 'a.zip')
    with refused(tmp_path) as target:
        unpack.unpack(archive, target, **TINY)


@pytest.mark.parametrize('make', TARS.values(), ids=TARS)
def test_bad_tars_are_refused_and_leave_nothing(tmp_path, make):
    archive = make(tmp_path / 'a.tar.gz')
    with refused(tmp_path) as target:
        unpack.unpack(archive, target, **TINY)


def test_a_long_name_does_not_fill_the_memory(tmp_path):
    import tracemalloc
    archive = long_name_bomb(tmp_path / 'a.tar.gz')
    tracemalloc.start()
    with refused(tmp_path, 'a header') as target:
        unpack.unpack(archive, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_an_encrypted_zip_is_refused(tmp_path):
    archive = zip_of(tmp_path / 'a.zip', [('set/1', b'1')])
    data = bytearray(archive.read_bytes())
    entry = data.index(b'PK\x01\x02')
    struct.pack_into('<H', data, entry + 8, 1)
    archive.write_bytes(data)
    with refused(tmp_path, 'encrypted') as target:
        unpack.unpack(archive, target)


def test_a_false_size_in_a_header_is_refused(tmp_path):
    """A zip that announces 10 bytes and holds 300000."""
    archive = zip_of(tmp_path / 'a.zip', [('set/b', bytes(300_000))])
    data = bytearray(archive.read_bytes())
    struct.pack_into('<I', data, data.index(b'PK\x01\x02') + 24, 10)
    archive.write_bytes(data)
    with refused(tmp_path) as target:
        unpack.unpack(archive, target, **TINY)


@pytest.mark.parametrize('make, name', [(zip_of, 'a.zip'), (tar_of, 'a.tar.gz'), (tar_of, 'a.tar')])
def test_cut_archives_are_refused(tmp_path, make, name):
    whole = make(tmp_path / name, [('set/1', random.Random(1).randbytes(20_000))]).read_bytes()
    ends_in_zeros = name == 'a.tar'
    for length in (0, 3, 300, 5_000, 20_000 if ends_in_zeros else len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(UserError, match=name):
            unpack.unpack(tmp_path / name, tmp_path / 'data')
        assert names_in(tmp_path) == [name]


def test_a_tar_with_a_damaged_header_in_the_middle_is_refused(tmp_path):
    archive = tar_of(tmp_path / 'a.tar', GOOD)
    data = bytearray(archive.read_bytes())
    data[1024 + 150] ^= 255  # checksum field of the second header
    archive.write_bytes(data)
    with refused(tmp_path) as target:
        unpack.unpack(archive, target)


@pytest.mark.parametrize('make, name', [(zip_of, 'a.zip'), (tar_of, 'a.tar.gz'), (tar_of, 'a.tar')])
def test_flipped_bits_give_the_right_data_or_one_sentence(tmp_path, make, name):
    """120 damaged archives: never a traceback, nothing left, no file changed where the format has checksums.

    A damaged table of contents can hide files of a zip; only the SHA-256 of the archive shows that.
    """
    rng, whole = random.Random(2), make(tmp_path / name, GOOD).read_bytes()
    refusals, bodies = 0, {body for _, body in GOOD}
    for number in range(120):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (tmp_path / name).write_bytes(data)
        target = tmp_path / f'data{number}'
        try:
            unpack.unpack(tmp_path / name, target)
        except UserError:
            refusals += 1
            assert names_in(tmp_path) == [name]
            continue
        found = {path.read_bytes() for path in target.rglob('*') if path.is_file()}
        assert name == 'a.tar' or found <= bodies
        assert name != 'a.tar.gz' or found == bodies
        unpack.shutil.rmtree(target)
    assert refusals > 10


def test_a_failing_disk_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, 'No space left on device')
    archive = zip_of(tmp_path / 'a.zip', GOOD)
    monkeypatch.setattr(unpack.shutil, 'copyfileobj', fail)
    with pytest.raises(OSError, match='No space'):
        unpack.unpack(archive, tmp_path / 'data')
    assert names_in(tmp_path) == ['a.zip']


def test_names_that_windows_cannot_have_are_changed_there(monkeypatch):
    monkeypatch.setattr(unpack.os, 'name', 'nt')
    parts = unpack.safe_parts('set/2011-09-07 11:28:13.jpg')
    monkeypatch.undo()
    assert parts == ['set', '2011-09-07 11_28_13.jpg']


# ---------------------------------------------------------------------------------------- command lines

@pytest.fixture
def shop(server, tmp_path, monkeypatch):
    """The server with the datasets `mini` and `maps` and two models, and the working folder of a user."""
    server.files['cyclegan/datasets/mini.zip'] = zip_of(tmp_path / 'z', GOOD).read_bytes()
    server.files['pix2pix/datasets/maps.tar.gz'] = tar_of(tmp_path / 'z.gz', GOOD).read_bytes()
    server.files['cyclegan/pretrained_models/horse2zebra.pth'] = b'\x80\x02model'
    server.files['pix2pix/models-pytorch/day2night.pth'] = b'PK\x03\x04model'
    home = tmp_path / 'home'
    home.mkdir()
    monkeypatch.chdir(home)
    server.home = home
    return server


def call(tool, shop, *argv):
    return run(tool.main, [*argv, '--server', shop.url])


@pytest.mark.parametrize('argv', [['mini'], ['maps', '--kind', 'pix2pix']])
def test_a_dataset_is_downloaded(shop, capsys, argv):
    assert call(download_dataset, shop, *argv) == 0
    target = shop.home / 'datasets' / argv[0]
    assert (target / 'train' / '1.txt').read_bytes() == b'one'
    assert names_in(shop.home / 'datasets') == sorted(['checksums.json', argv[0]])
    assert f'3 files to {target}' in capsys.readouterr().out


def test_an_existing_dataset_is_not_touched(shop, capsys):
    call(download_dataset, shop, 'mini')
    shop.ranges.clear()
    assert call(download_dataset, shop, 'mini') == 2
    assert str(shop.home / 'datasets' / 'mini') in capsys.readouterr().err
    assert shop.ranges == []


def test_a_refused_archive_is_removed_and_not_remembered(shop, tmp_path, capsys):
    good = shop.files['cyclegan/datasets/mini.zip']
    shop.files['cyclegan/datasets/mini.zip'] = ZIPS['symlink'](tmp_path / 'bad').read_bytes()
    assert call(download_dataset, shop, 'mini') == 2
    assert 'set/l' in capsys.readouterr().err
    assert names_in(shop.home / 'datasets') == []
    shop.files['cyclegan/datasets/mini.zip'] = good
    assert call(download_dataset, shop, 'mini') == 0


def test_a_dataset_that_changed_is_refused(shop, tmp_path, capsys):
    call(download_dataset, shop, 'mini')
    unpack.shutil.rmtree(shop.home / 'datasets' / 'mini')
    shop.files['cyclegan/datasets/mini.zip'] = zip_of(tmp_path / 'other', [('set/1', b'other')]).read_bytes()
    assert call(download_dataset, shop, 'mini') == 2
    assert 'sha256' in capsys.readouterr().err
    assert names_in(shop.home / 'datasets') == ['checksums.json']


def test_an_archive_of_the_user_is_unpacked_and_kept(shop, tmp_path):
    archive = zip_of(tmp_path / 'by hand.zip', GOOD)
    assert call(download_dataset, shop, 'mini', '--archive', str(archive)) == 0
    assert archive.exists() and shop.ranges == []
    assert (shop.home / 'datasets' / 'mini' / 'train' / '1.txt').exists()


def test_a_name_too_long_for_the_disk_leaves_nothing(shop, tmp_path, capsys):
    shop.files['cyclegan/datasets/mini.zip'] = zip_of(tmp_path / 'long', [('set/' + 'n' * 300, b'x')]).read_bytes()
    assert call(download_dataset, shop, 'mini') == 2
    message = capsys.readouterr().err
    assert 'n' * 40 in message and 'make room' not in message
    assert names_in(shop.home / 'datasets') == []


def test_an_archive_is_kept_when_the_disk_is_full(shop, monkeypatch, capsys):
    def fail(*args):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(unpack.shutil, 'copyfileobj', fail)
    assert call(download_dataset, shop, 'mini') == 4
    assert f'--archive {shop.home / "datasets" / "mini.zip"}' in capsys.readouterr().err
    assert names_in(shop.home / 'datasets') == ['mini.zip']


def test_without_a_network_the_manual_way_is_explained(shop, monkeypatch, capsys):
    monkeypatch.setattr(download.time, 'sleep', lambda seconds: None)
    shop.shutdown()
    shop.server_close()
    assert call(download_dataset, shop, 'mini') == 2
    error = capsys.readouterr().err.splitlines()[-1]
    for text in (f'{shop.url}/cyclegan/datasets/mini.zip', str(shop.home / 'datasets' / 'mini'),
                 'python datasets/download_dataset.py mini --kind cyclegan --archive FILE'):
        assert text in error


@pytest.mark.parametrize('argv, words', [
    (['horse2zebre'], 'horse2zebra?'), (['maps'], '--kind pix2pix'),
    (['night2day', '--kind', 'cyclegan'], 'ae_photos, '), (['../mini'], '../mini')])
def test_names_are_checked(shop, capsys, argv, words):
    assert call(download_dataset, shop, *argv) == 2
    assert words in capsys.readouterr().err
    assert shop.ranges == []


def test_all_mistakes_are_reported_together(shop, capsys):
    (shop.home / 'datasets').mkdir()
    (shop.home / 'datasets' / 'mini').write_text('a file')
    assert run(download_dataset.main, ['mini', '--server', 'file:///etc', '--archive', 'none.zip']) == 2
    error = capsys.readouterr().err
    assert error.count('error: ') == 3
    assert all(words in error for words in ('--server', str(shop.home / 'datasets' / 'mini'), '--archive', 'none.zip'))


def test_cityscapes_is_explained(capsys):
    assert run(download_dataset.main, ['cityscapes']) == 1
    assert 'prepare_cityscapes_dataset.py' in capsys.readouterr().out


@pytest.mark.parametrize('tool, name', [(download_cyclegan_model, 'horse2zebra'),
                                        (download_pix2pix_model, 'day2night')])
def test_a_model_is_downloaded_once(shop, capsys, tool, name):
    assert call(tool, shop, name) == 0
    target = shop.home / 'checkpoints' / f'{name}_pretrained' / 'latest_net_G.pth'
    assert target.read_bytes().endswith(b'model')
    assert names_in(shop.home / 'checkpoints') == ['checksums.json', f'{name}_pretrained']
    assert f'--name {name}_pretrained' in capsys.readouterr().out
    assert call(tool, shop, name) == 2
    assert str(target) in capsys.readouterr().err


@pytest.mark.parametrize('tool, name, words', [(download_cyclegan_model, 'horse2zebre', 'horse2zebra?'),
                                               (download_pix2pix_model, 'horse2zebra', 'edges2shoes, ')])
def test_model_names_are_checked(shop, capsys, tool, name, words):
    assert call(tool, shop, name) == 2
    assert words in capsys.readouterr().err
    assert names_in(shop.home) == []


def test_a_file_that_is_not_a_model_leaves_nothing(shop, capsys):
    shop.files['cyclegan/pretrained_models/horse2zebra.pth'] = b'sorry, moved'
    assert call(download_cyclegan_model, shop, 'horse2zebra') == 2
    assert '.pth file' in capsys.readouterr().err
    assert names_in(shop.home / 'checkpoints') == []
