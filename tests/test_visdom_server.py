"""Servers that a run starts, their command, a password, and the browser files of their page."""

import hashlib
import io
import os
import socket
import sys
import tarfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from util.cli import run as run_tool
from util.errors import UserError
from util.monitors import visdom_server
from util.monitors.visdom_server import find_or_start, is_free

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'scripts'))

import browser
import visdom_assets as visdom_assets_tool
import visdom_server as server_script
from visdom_runs import (
    NO_REGISTRY,
    PATIENCE,
    answering,
    endless,
    eventually,
    free_port,
    own_home,
    plain,
    port,
    running_server,
    start,
    start_server,
    stops,
    visdom,
    window,
)

# ---- a server that the run starts

@pytest.mark.parametrize('status', [404, 200])
def test_a_server_is_started_next_to_another_program_and_stopped_at_the_end(status, start, visdom, own_home, stops):
    with answering(status, lambda: [b'true']) as other:
        number, notice = find_or_start(other, own_home, stop=True)
    assert number > other and str(other) in notice and str(number) in notice
    assert str(own_home / 'visdom_server.log') in notice
    run = start(number)
    run.loss(1, G=1.0)
    assert run.close() and window(number, 'loss') and len(run.notices) == 1
    if sys.platform == 'linux':
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.2', number), timeout=5)
    stop, = stops
    stop()
    eventually(lambda: is_free(number))
    assert 'http://localhost' in (own_home / 'visdom_server.log').read_text()


@pytest.mark.parametrize('body', [endless, lambda: [b'ok']])
def test_programs_that_are_not_visdom_are_passed_over(body, port, visdom, own_home, stops):
    """Nothing is started where a visdom answers at one of the next ports."""
    with answering(200, body) as other, pytest.MonkeyPatch.context() as patch:
        patch.setattr(visdom_server, 'range', lambda *_: (other, port), raising=False)
        number, notice = find_or_start(other, own_home)
    assert number == port and str(other) in notice and str(port) in notice
    assert not (own_home / 'visdom_server.log').exists()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_no_worker_is_forked_while_a_server_is_started(own_home, monkeypatch):
    """It would keep the pipe on which Popen waits: the monitor would hang for as long as the worker lives."""
    begun, calls = Event(), []

    def popen(*_, **__):
        begun.set()
        time.sleep(0.5)
        calls.append('started')
        return SimpleNamespace(poll=lambda: 1, kill=lambda: None)

    monkeypatch.setattr(visdom_server.subprocess, 'Popen', popen)
    thread = Thread(target=visdom_server.start, args=(free_port(), own_home, own_home / 'log', False, ''))
    thread.start()
    assert begun.wait(PATIENCE)
    if not (worker := os.fork()):
        os._exit(0)
    calls.append('forked')
    os.waitpid(worker, 0)
    thread.join()
    assert calls == ['started', 'forked']


def test_a_running_server_is_used_and_never_stopped(visdom, own_home, stops):
    number = free_port()
    with running_server(number, own_home):
        assert find_or_start(number, own_home, stop=True) == (number, '')
    assert stops == []


def test_a_server_keeps_running_after_the_run_and_the_notice_says_how_to_stop_it(visdom, own_home, stops):
    number = free_port()
    found, notice = find_or_start(number, own_home)
    assert found == number and f'--stop {number}' in notice and stops == []


def test_servers_are_listed_and_stopped(visdom, tmp_path, capsys):
    """A server that was killed leaves an entry, which is not shown, and goes."""
    first, second = free_port(), free_port()
    env = tmp_path / 'env'

    def call(*words):
        code = run_tool(server_script.main, ['--env_path', str(env), *map(str, words)])
        return code, capsys.readouterr()

    with running_server(first, tmp_path) as process, running_server(second, tmp_path):
        code, streams = call('--list')
        assert code == 0 and [f'--stop {port}' in streams.out for port in (first, second)] == [True, True]
        code, streams = call('--stop')          # which one?
        assert code == 2 and str(first) in streams.err and str(second) in streams.err
        assert call('--stop', 1)[0] == 2
        assert call('--stop', second)[0] == 0 and is_free(second) and not is_free(first)
        assert f'--stop {second}' not in call('--list')[1].out
        process.kill()
        process.wait()
    assert f'--stop {first}' not in call('--list')[1].out and not list((env / 'servers').iterdir())
    assert call('--stop')[0] == 2


@pytest.mark.parametrize('entry', ['', '{}', '[]', '{"pid": "x", "bind": "127.0.0.1"}',
                                   '{"pid": 1, "bind": "127.0.0.1"}'])
def test_entries_of_no_server_are_not_shown_and_nothing_is_ended(tmp_path, entry, monkeypatch):
    (tmp_path / 'servers').mkdir()
    (tmp_path / 'servers' / '8097.json').write_text(entry, encoding='utf-8')
    monkeypatch.setattr(server_script, 'is_free', lambda *_: False)     # a program of another kind has the port
    monkeypatch.setattr(server_script.os, 'kill', lambda *_: pytest.fail('ended another program'))
    assert server_script.running(tmp_path) == {}


def test_nothing_is_started_at_the_port_of_a_server_that_hangs(visdom, own_home, monkeypatch):
    monkeypatch.setattr(visdom_server, 'ANSWER_SECONDS', 0.5)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        number = silent.getsockname()[1]
        assert find_or_start(number, own_home) == (number, '')
    assert not (own_home / 'visdom_server.log').exists()


@pytest.mark.parametrize('script', ['import sys; sys.exit("no such luck")', 'import time; time.sleep(60)'])
def test_a_server_that_cannot_start_gives_one_notice(script, visdom, own_home, monkeypatch, stops):
    monkeypatch.setattr(visdom_server, 'SCRIPT', own_home / 'broken.py')
    monkeypatch.setattr(visdom_server, 'START_SECONDS', 2.0)
    visdom_server.SCRIPT.write_text(script)
    number = free_port()
    found, notice = find_or_start(number, own_home)
    assert found == number and str(own_home / 'visdom_server.log') in notice and '\n' not in notice
    assert 'sleep' in script or 'no such luck' in notice


# ---- a password

def test_a_password_is_required_and_never_printed_or_stored(start, visdom, tmp_path, monkeypatch):
    monkeypatch.setenv('VISDOM_PASSWORD', 'swordfish')
    number = free_port()
    process = start_server(number, tmp_path, '--bind', '127.0.0.1')
    try:
        eventually(lambda: not is_free(number), lambda: (tmp_path / 'log').read_text())
        assert window(number, 'loss') is None       # without a login
        run = start(number, options={'name': 'run'})
        run.loss(1, G=1.0)
        assert run.close(), run.notices
        monkeypatch.setenv('VISDOM_PASSWORD', 'wrong')
        stranger = start(number)
        stranger.loss(1, G=1.0)
        assert not stranger.close() and '400' in stranger.notices[0]
    finally:
        process.kill()
        process.wait()
    written = [path for path in tmp_path.rglob('*') if path.is_file() and path.suffix in ('', '.json', '.jsonl')]
    assert written and not any(b'swordfish' in path.read_bytes() for path in written)
    assert 'swordfish' not in ' '.join([*run.notices, *stranger.notices])


# ---- the server

def test_the_page_is_served_with_every_tornado_and_to_this_machine_only(port):
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=5) as answer:
        page = answer.read().decode()
    assert answer.status == 200 and '"/user/style.css"' in page
    for address in ('/user/style.css', '/static/js/main.js'):
        assert urllib.request.urlopen(f'http://127.0.0.1:{port}{address}', timeout=5).status == 200
    if sys.platform == 'linux':
        # All of 127.* is this machine, so a server on every interface would answer here.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.2', port), timeout=5)


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [(['--port', '0'], '--port 0'), ([], '--port'), (['--env_path', __file__], '--env_path'),
     (['--bind', '0.0.0.0'], 'VISDOM_PASSWORD'), (['--bind', 'here'], '--bind here'),
     (['--visdom_assets', 'nowhere'], '--visdom_assets')],
    ids=['no port', 'port taken', 'no folder', 'open to all', 'no address', 'no assets'],
)
def test_mistakes_on_the_command_line_of_the_server_are_one_sentence(visdom, tmp_path, arguments, complaint):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        process = start_server(taken.getsockname()[1], tmp_path, *arguments)
        assert process.wait(PATIENCE) == 2
    log = (tmp_path / 'log').read_text()
    assert log.startswith('error: ') and complaint in log and len(log.splitlines()) == 1


def test_the_server_prints_its_address_how_to_stop_it_and_what_its_page_lacks(visdom, tmp_path):
    number = free_port()
    with running_server(number, tmp_path) as process:
        lines = eventually(lambda: (lines := (tmp_path / 'log').read_text().splitlines())[1:] and lines)
        assert len(lines) == 2
        assert f'http://localhost:{number}' in lines[0] and 'Ctrl-C' in lines[0]
        assert 'jquery' in lines[1] and '--visdom_assets DIR' in lines[1]
        if sys.platform == 'linux':
            assert 'libtorch' not in Path(f'/proc/{process.pid}/maps').read_text()


# ---- the browser files of the page

CONTENT = {'js/a.js': b'alert(1)', 'css/b.css': b'b {}'}
MEMBERS = {'js/a.js': 'dist/a.js', 'css/b.css': 'b.css'}


def archive_of(members: dict[str, bytes]) -> bytes:
    """A .tgz as npm makes it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w:gz') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


ARCHIVE = archive_of({'package/dist/a.js': CONTENT['js/a.js'], '../evil.js': b'',
                      'package/b.css': CONTENT['css/b.css']})


@pytest.fixture
def small_page(monkeypatch):
    """A page that needs two files of one package."""
    monkeypatch.setattr(visdom_server, 'PACKAGES', {'page-1.0.0': MEMBERS})
    monkeypatch.setattr(visdom_server, 'SHA256', hashlib.sha256(b''.join(CONTENT.values())).hexdigest())
    monkeypatch.setattr(visdom_server, 'MAX_BYTES', 1000)
    monkeypatch.setenv('NPM_CONFIG_REGISTRY', NO_REGISTRY)


@contextmanager
def registry(archive, monkeypatch):
    """A registry that has one package."""
    with answering(200, lambda: [archive], '/page/-/page-1.0.0.tgz') as number:
        monkeypatch.setenv('NPM_CONFIG_REGISTRY', f'http://127.0.0.1:{number}/')
        yield


def placed(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_assets_come_from_the_registry_and_nothing_else_of_the_archive_does(tmp_path, small_page, monkeypatch):
    static = tmp_path / 'in' / 'static'
    with registry(ARCHIVE, monkeypatch):
        visdom_server.complete(static)
    visdom_server.complete(static)      # nothing is missing
    assert placed(tmp_path / 'in') == {f'static/{path}': data for path, data in CONTENT.items()}


@pytest.mark.parametrize('served', [
    archive_of({'package/dist/a.js': b'alert(2)', 'package/b.css': CONTENT['css/b.css']}),
    archive_of({'package/b.css': CONTENT['css/b.css']}), b'no archive', ARCHIVE[:60],
    ARCHIVE + bytes(10 << 10), archive_of({'package/dist/a.js': bytes(10 << 20), 'package/b.css': b''})],
    ids=['another file', 'no such file', 'no archive', 'half an archive', 'endless', 'huge'])
def test_files_other_than_the_known_ones_are_not_used(tmp_path, small_page, monkeypatch, served):
    with registry(served, monkeypatch):
        if served.startswith(ARCHIVE):      # what follows the archive is not read
            visdom_server.complete(tmp_path)
            return
        with pytest.raises(UserError):
            visdom_server.complete(tmp_path)
    assert placed(tmp_path) == {}


def test_without_a_registry_there_is_one_sentence(tmp_path, small_page):
    with pytest.raises(UserError, match=r'page-1\.0\.0.*--visdom_assets'):
        visdom_server.complete(tmp_path)


@pytest.mark.parametrize('files', [CONTENT, {'page-1.0.0.tgz': ARCHIVE}], ids=['files', 'archive'])
def test_assets_come_from_a_folder(tmp_path, small_page, files):
    for name, data in files.items():
        (tmp_path / 'from #1' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'from #1' / name).write_bytes(data)
    visdom_server.complete(tmp_path / 'to', str(tmp_path / 'from #1'))
    assert placed(tmp_path / 'to') == CONTENT


def test_a_wrong_file_in_a_folder_is_not_used(tmp_path, small_page):
    for name, data in {**CONTENT, 'js/a.js': b'alert(2)'}.items():
        (tmp_path / 'from' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'from' / name).write_bytes(data)
    with pytest.raises(UserError):
        visdom_server.complete(tmp_path / 'to', str(tmp_path / 'from'))
    assert placed(tmp_path / 'to') == {}


def test_the_tool_says_what_is_missing(tmp_path, capsys):
    assert run_tool(visdom_assets_tool.main, ['--out', str(tmp_path / 'to'), '--visdom_assets', str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 7 and all(line.startswith('error: ') and '--visdom_assets DIR' in line for line in errors)


@pytest.fixture(scope='module')
def real_assets(tmp_path_factory):
    """The files themselves, from this user's servers or the registry."""
    folder = tmp_path_factory.mktemp('assets')
    try:
        visdom_server.complete(folder, str(visdom_server.ENVIRONMENTS / 'page'))
    except UserError:
        try:
            visdom_server.complete(folder)
        except UserError as error:
            pytest.skip(f'the browser files of visdom cannot be had here: {error}')
    return folder


def test_the_page_is_drawn_by_a_browser_without_internet(visdom, start, real_assets, tmp_path):
    browser.require()
    number = free_port()
    with running_server(number, tmp_path, '--visdom_assets', str(real_assets)):
        run = start(number, options={'ngf': 8})
        for image in range(1, 20):
            run.loss(image, G=1 / image)
        run.images({'real_A': plain(0), 'fake_B': plain(100)})
        assert run.close()
        eventually((tmp_path / 'env' / 'page' / 'js' / 'sjcl.js').exists)
        offline = '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost'
        with browser.Browser(tmp_path, offline) as page:
            page.open(f'http://localhost:{number}/env/run')
            page.wait('document.querySelectorAll(".js-plotly-plot").length == 3')
            page.wait('document.querySelector("img[src^=\\"data:image\\"]") !== null')
            page.wait('document.body.innerText.includes("run loss over time")')
            page.wait('document.body.innerText.includes("online")')
            assert 'ngf' in page.eval('document.body.innerText')
            kind = ('[...document.querySelectorAll(".js-plotly-plot")].find(plot => plot.layout.updatemenus)'
                    '.layout.yaxis.type')
            assert page.eval(kind) == 'linear'
            page.eval('[...document.querySelectorAll(".updatemenu-button")][1].dispatchEvent(new Event("click"))')
            page.wait(f'{kind} == "log"')
            assert [error for error in page.errors if '404' not in error] == []     # files that are not needed
