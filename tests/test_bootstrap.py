"""The two commands that install everything: what they decide, and how they end when a machine lacks something."""
import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'scripts'))

import quickstart
import run_tests
from setup import (
    bootstrap,
    find_pip,
    find_python,
    package_home,
)
from setup import install_plan as plan

from util.errors import UserError

SCRIPTS = ('quickstart', 'run_tests')
SETUP = [path.stem for path in (ROOT / 'scripts' / 'setup').glob('*.py')]
CORE_NAMES = {'torch', 'torchvision', 'numpy', 'pillow', 'dominate', 'scikit-image', 'tqdm', 'torchmetrics'}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding='utf-8')


def imported(tree) -> set:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split('.')[0] for name in names}


@pytest.fixture
def home(tmp_path):
    """A virtual environment in name only."""
    return package_home.Home(tmp_path / '.venv', sys.executable, True)


@pytest.fixture
def programs(monkeypatch):
    """programs[word] = (exit code, output) of every command line that has the word in it; the rest succeed.

    programs.calls lists the command lines, programs.environments their variables.
    """
    class Programs(dict):
        calls, environments = [], []

        def run(self, command, environment):
            self.calls.append(command)
            self.environments.append(environment)
            line = ' '.join(map(str, command))
            return next((answer for word, answer in self.items() if word in line), (0, ''))

    answers = Programs()
    answers.calls, answers.environments = [], []
    monkeypatch.setattr(package_home, 'run_quietly', answers.run)
    monkeypatch.setattr(bootstrap, 'run_quietly', answers.run)
    return answers


def options(**changes):
    return SimpleNamespace(**{'cuda': False, 'cpu': False, 'offline': None, **changes})


# ---- bare machines


@pytest.mark.parametrize('name', [*SCRIPTS, *(f'setup/{name}' for name in SETUP)])
def test_scripts_need_nothing_but_python(name):
    ours = {'setup', 'util', *SETUP}
    tree = ast.parse(text_of(f'scripts/{name}.py'), feature_version=(3, 6))
    assert imported(tree) - ours <= set(sys.stdlib_module_names)
    for below in ('cli', 'console', 'errors'):
        tree = ast.parse(text_of(f'util/{below}.py'), feature_version=(3, 6))
        assert imported(tree) <= {'util', 'tqdm', *sys.stdlib_module_names}


@pytest.mark.parametrize('name', ['quickstart', 'run_tests'])
def test_help_on_a_bare_python(name, tmp_path):
    command = [sys.executable, '-S', '-E', '-s', str(ROOT / f'scripts/{name}.py'), '--help']
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={'PATH': '', 'COLUMNS': '100',
                            'SYSTEMROOT': os.environ.get('SYSTEMROOT', '')})
    assert answer.returncode == 0, answer.stderr
    assert all(flag in answer.stdout for flag in ('--cuda', '--cpu', '--offline DIR'))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('arguments, message', [
    (['--cuda', '--cpu'], 'not allowed with'),
    (['--offline', 'no/such/folder'], 'is no folder'),
    (['--threads', '0'], '--threads 0'),
    (['--no_such_flag'], '--no_such_flag')])
def test_mistakes_are_one_sentence(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(bootstrap, 'open_home', lambda cuda: pytest.fail('work was started'))
    assert quickstart.run(quickstart.main, arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith('error: ') and message in lines[0]


def test_arguments_of_pytest_go_to_pytest():
    parsed, others = run_tests.parse(['--cpu', '-k', 'bootstrap and not slow', 'tests/test_cli.py', '-x', '--', '-q'])
    assert parsed.cpu and not parsed.cuda
    assert others == ['-k', 'bootstrap and not slow', 'tests/test_cli.py', '-x', '-q']


# ---- which Python


@pytest.mark.parametrize('version, expected', [
    ((3, 9, 18), False), ((3, 10, 0), True), ((3, 13, 9), True), ((3, 14, 0), False), ((2, 7, 18), False)])
def test_versions_that_fit(version, expected):
    assert find_python.fits(version) is expected


def test_newest_fitting_python_is_found():
    there = {'python3.13': None, 'python3.12': ((3, 11, 2), '/odd'), 'python3.11': ((3, 11, 9), '/b'),
             'python3.10': ((3, 10, 1), '/c')}
    there['python3.12'] = ((3, 9, 2), '/a')       # a name that promises too much
    assert find_python.find_python(lambda command: there[command[0]], windows=False) == '/b'


def test_no_python_is_found():
    assert find_python.find_python(lambda command: None, windows=True) is None


def test_windows_launcher_is_asked():
    commands = find_python.python_commands(windows=True)
    assert ['py', '-3.13'] in commands and ['python3.10'] in commands
    assert not any('py' in command for command in find_python.python_commands(windows=False))


def test_ask_python(tmp_path):
    assert find_python.ask_python([sys.executable]) == (sys.version_info[:3], sys.executable)
    assert find_python.ask_python([str(tmp_path / 'none')]) is None
    assert find_python.ask_python([sys.executable, '-c', 'print("not a version")']) is None


def test_old_python_is_refused_in_one_line():
    with pytest.raises(UserError) as error:
        find_python.use_fitting_python((3, 8, 10), lambda: None)
    assert 'Python 3.8.10' in str(error.value) and '3.10 to 3.13' in str(error.value)
    assert '\n' not in str(error.value)


def test_old_python_starts_a_newer_one(monkeypatch):
    calls = []
    monkeypatch.setattr(sys, 'argv', ['scripts/quickstart.py', '--cpu'])
    monkeypatch.setattr(find_python.subprocess, 'call', lambda command: calls.append(command) or 7)
    with pytest.raises(SystemExit) as end:
        find_python.use_fitting_python((3, 8, 10), lambda: '/usr/bin/python3.12')
    assert end.value.code == 7
    assert calls == [['/usr/bin/python3.12', 'scripts/quickstart.py', '--cpu']]


def test_newer_python_goes_on_with_a_warning(capsys):
    find_python.use_fitting_python((3, 15, 0), lambda: None)
    assert capsys.readouterr().err.startswith('warning: this is Python 3.15.0')


# ---- what to install


def test_requirement_files_are_read_without_comments():
    assert plan.requirement_lines('# all\ntorch>=2.6  # why\n\n  numpy\n') == ['torch>=2.6', 'numpy']
    assert plan.split_torch(['torch>=2.6', 'torchvision', 'torchmetrics', 'Torch']) == (
        ['torch>=2.6', 'torchvision', 'Torch'], ['torchmetrics'])


@pytest.mark.parametrize('version, cuda, expected', [
    ('2.6.0', False, True), ('2.15.0+cu132', True, True), ('2.15.0+cpu', False, True), ('2.15.0+cpu', True, False),
    ('2.5.1', False, False), ('10.0', False, True), ('', False, False)])
def test_torch_that_is_there(version, cuda, expected):
    assert plan.torch_will_do(version, cuda) is expected


def sources(asked='', offline=None, system='Linux', gpu=False, reachable=True):
    """Index and message of each source, and how often the index was probed."""
    probes = []
    found = plan.torch_sources(asked, offline, system, gpu, lambda: probes.append(1) or reachable)
    return [source.index for source in found], found[-1].what, len(probes)


def test_cpu_builds_where_there_is_no_gpu():
    indexes, _, probes = sources()
    assert indexes == [plan.CPU_INDEX, ''] and probes == 1
    assert sources(asked='cpu', gpu=True)[0] == [plan.CPU_INDEX, '']


def test_cuda_build_where_the_index_of_cpu_builds_is_out_of_reach():
    indexes, what, probes = sources(reachable=False)
    assert indexes == [''] and probes == 1
    assert '3 GB' in what and '5.6 GB' in what and 'out of reach' in what


@pytest.mark.parametrize('facts', [
    dict(gpu=True), dict(asked='cuda'), dict(system='Darwin'), dict(system='Windows', gpu=True),
    dict(offline=Path('wheels')), dict(offline=Path('wheels'), asked='cpu')])
def test_index_of_cpu_builds_is_left_alone(facts):
    indexes, _, probes = sources(**facts)
    assert indexes == [''] and probes == 0


def test_both_wheels_come_from_one_index():
    cpu = plan.Source(plan.CPU_INDEX, '', 1)
    assert plan.index_arguments(cpu, alone=True) == ['--index-url', plan.CPU_INDEX]
    assert plan.index_arguments(cpu, alone=False) == ['--extra-index-url', plan.CPU_INDEX]
    assert plan.index_arguments(cpu._replace(index=''), alone=True) == []


def test_environment_of_pip_keeps_what_the_user_set(tmp_path):
    theirs = {'PIP_DEFAULT_TIMEOUT': '7', 'PIP_INDEX_URL': 'https://mirror.example/simple', 'PIP_USER': '1'}
    made = plan.pip_environment(theirs)
    assert made['PIP_DEFAULT_TIMEOUT'] == '7' and made['PIP_INDEX_URL'] == theirs['PIP_INDEX_URL']
    assert made['PIP_RETRIES'] == made['PIP_RESUME_RETRIES'] == '10'
    assert made['PIP_USER'] == '0' and 'PIP_NO_INDEX' not in made and 'PIP_CONSTRAINT' not in made
    offline = plan.pip_environment({}, tmp_path / 'my wheels')
    assert offline['PIP_NO_INDEX'] == '1' and offline['PIP_DEFAULT_TIMEOUT'] == '120'
    assert offline['PIP_FIND_LINKS'].startswith('file:///') and ' ' not in offline['PIP_FIND_LINKS']


def test_visdom_is_built_under_constraints(tmp_path):
    made = plan.build_constraints({'PIP_CONSTRAINT': 'mine.txt'}, tmp_path / 'a b')
    assert set(made) == {'PIP_CONSTRAINT', 'PIP_BUILD_CONSTRAINT'}
    assert made['PIP_CONSTRAINT'].split() == ['mine.txt', made['PIP_BUILD_CONSTRAINT']]
    assert made['PIP_BUILD_CONSTRAINT'].endswith('/a%20b/constraints-build.txt')


def test_last_error_is_the_telling_line():
    assert plan.last_error('a\nERROR: no wheel\n\nhint: x\n') == 'no wheel'
    assert plan.last_error('Traceback\n  File\nRuntimeError: operator does not exist\n').startswith('RuntimeError')
    assert plan.last_error('just this\n') == 'just this' and plan.last_error('') == 'no message'


# ---- the stamp


STAMP = {'python': '3.11', 'torch': '2.15.0+cpu', 'files': {'requirements.txt': 'a', 'requirements-visdom.txt': 'b'}}
DIGESTS = {'requirements.txt': 'a', 'requirements-visdom.txt': 'b'}


@pytest.mark.parametrize('changes, expected', [
    ({}, []),
    ({'stamp': {}}, list(DIGESTS)),
    ({'python': '3.12'}, list(DIGESTS)),
    ({'digests': {**DIGESTS, 'requirements.txt': 'new'}}, ['requirements.txt']),
    ({'digests': {**DIGESTS, 'requirements-dev.txt': 'c'}}, ['requirements-dev.txt']),
    ({'digests': {'requirements.txt': 'a'}}, []),
    ({'cuda': True}, ['requirements.txt'])])
def test_only_what_changed_is_installed(changes, expected):
    facts = {'stamp': STAMP, 'python': '3.11', 'digests': DIGESTS, 'cuda': False, **changes}
    assert plan.outdated(**facts) == expected


@pytest.mark.parametrize('content', [None, '{"half', '[]'])
def test_stamp_that_cannot_be_read_is_none(content, tmp_path):
    if content is not None:
        (tmp_path / bootstrap.STAMP).write_text(content, encoding='utf-8')
    assert bootstrap.read_stamp(tmp_path) == {}


def test_digests_follow_the_files(tmp_path):
    for name in (plan.CORE, plan.VISDOM, plan.BUILD_CONSTRAINTS):
        (tmp_path / name).write_text(name, encoding='utf-8')
    before = bootstrap.digests_of([plan.CORE, plan.VISDOM], tmp_path)
    assert before[plan.CORE] == hashlib.sha256(b'requirements.txt').hexdigest()
    (tmp_path / plan.BUILD_CONSTRAINTS).write_text('setuptools<70', encoding='utf-8')
    after = bootstrap.digests_of([plan.CORE, plan.VISDOM], tmp_path)
    assert after[plan.CORE] == before[plan.CORE] and after[plan.VISDOM] != before[plan.VISDOM]


@pytest.fixture
def ready_made(monkeypatch, home):
    """bootstrap.ready with this Python as its home; returns the lists of files that were installed."""
    home.folder.mkdir()
    installed = []
    monkeypatch.setattr(bootstrap, 'use_fitting_python', lambda: None)
    monkeypatch.setattr(bootstrap, 'open_home', lambda cuda: home)
    monkeypatch.setattr(bootstrap, 'install', lambda home, options, names: installed.append(names) or '2.15.0')
    return installed


def test_second_start_installs_nothing(ready_made, home):
    bootstrap.ready(options(), (plan.CORE, plan.VISDOM))
    bootstrap.ready(options(), (plan.CORE, plan.VISDOM))
    assert ready_made == [[plan.CORE, plan.VISDOM]]
    bootstrap.ready(options(), (plan.CORE, plan.VISDOM, plan.DEVELOPMENT))
    bootstrap.ready(options(), (plan.CORE, plan.VISDOM))
    assert ready_made[1:] == [[plan.DEVELOPMENT]]
    assert json.loads((home.folder / bootstrap.STAMP).read_text(encoding='utf-8'))['torch'] == '2.15.0'


def test_failed_installation_leaves_no_stamp(ready_made, home, monkeypatch):
    def fail(home, options, names):
        raise UserError('no network')
    monkeypatch.setattr(bootstrap, 'install', fail)
    with pytest.raises(UserError):
        bootstrap.ready(options(), [plan.CORE])
    assert bootstrap.read_stamp(home.folder) == {}


# ---- the home of the packages


def test_folder_that_is_no_venv_is_not_touched(tmp_path):
    (tmp_path / '.venv').mkdir()
    (tmp_path / '.venv' / 'mine.txt').write_text('x', encoding='utf-8')
    with pytest.raises(UserError, match='not a virtual environment'):
        package_home.open_home(root=tmp_path)
    assert (tmp_path / '.venv' / 'mine.txt').exists()


def test_venv_of_an_old_python_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(package_home, 'ask_python', lambda command: ((3, 9, 1), 'x'))
    with pytest.raises(UserError, match=r'has Python 3\.9\.1'):
        package_home.open_home(root=tmp_path)


def test_broken_venv_is_made_again(tmp_path, monkeypatch):
    (tmp_path / '.venv').mkdir()
    (tmp_path / '.venv' / 'pyvenv.cfg').write_text('home = gone', encoding='utf-8')
    monkeypatch.setattr(package_home, 'caller_torch', lambda cuda: '')
    home = package_home.open_home(root=tmp_path)
    assert find_python.ask_python([home.python])[0] == sys.version_info[:3]
    assert home.environment() == dict(os.environ)


def test_python_without_the_venv_module(tmp_path, monkeypatch):
    monkeypatch.setattr(package_home.importlib.util, 'find_spec', lambda name: None)
    monkeypatch.setenv('PYTHONPATH', 'theirs')
    home = package_home.open_home(root=tmp_path)
    assert home == (tmp_path / '.deps', sys.executable, False)
    assert home.environment()['PYTHONPATH'].split(os.pathsep) == [str(tmp_path / '.deps'), 'theirs']


@pytest.mark.parametrize('torch, flag', [('', False), ('2.15.0', True)])
def test_existing_torch_is_used(torch, flag, home, programs, monkeypatch):
    monkeypatch.setattr(package_home, 'link_packages', lambda home: None)
    package_home.make_venv(home, torch)
    assert ('--system-site-packages' in programs.calls[0]) is flag


@pytest.mark.parametrize('answer, cuda, expected', [
    ((0, 'a warning\n2.15.0+cpu\n'), False, '2.15.0+cpu'), ((0, '2.15.0+cpu'), True, ''), ((0, '2.1.0'), False, ''),
    ((1, 'OSError: libcudnn.so.9'), False, '')])
def test_torch_of_the_caller_counts_if_it_works(answer, cuda, expected, programs, monkeypatch):
    monkeypatch.setattr(package_home.importlib.util, 'find_spec', lambda name: object())
    programs['import torch'] = answer
    assert package_home.caller_torch(cuda) == expected


def test_pip_by_ensurepip(home, programs):
    programs['pip --version'] = (1, 'No module named pip')
    package_home.ensure_pip(home, None)
    assert programs.calls[-1][1:] == ['-Im', 'ensurepip']


def test_pip_from_its_wheel_without_ensurepip(home, programs, monkeypatch):
    programs.update({'pip --version': (1, ''), 'ensurepip': (1, 'No module named ensurepip')})
    monkeypatch.setattr(find_pip, 'find_wheel', lambda folder, offline: Path('wheels/pip-26.3-py3-none-any.whl'))
    package_home.ensure_pip(home, None)
    assert programs.calls[-1][1] == str(Path('wheels/pip-26.3-py3-none-any.whl/pip'))


def test_no_pip_to_be_had(home, programs, monkeypatch):
    programs.update({'pip --version': (1, ''), 'ensurepip': (1, '')})
    monkeypatch.setattr(find_pip, 'find_wheel', lambda folder, offline: None)
    with pytest.raises(UserError, match='apt install python3-venv'):
        package_home.ensure_pip(home, None)


# ---- the wheel of pip


def test_newest_wheel_on_disk(tmp_path):
    for name in ('pip-9.0.1-py3-none-any.whl', 'pip-26.3-py3-none-any.whl', 'pip-23.2.1-py3-none-any.whl',
                 'pip_audit-99-py3-none-any.whl'):
        (tmp_path / name).touch()
    assert find_pip.wheel_on_disk([tmp_path, tmp_path / 'none']).name == 'pip-26.3-py3-none-any.whl'
    assert find_pip.wheel_on_disk([tmp_path / 'none']) is None


def test_index_of_pip_settings(tmp_path):
    broken, plain, strong = (tmp_path / name for name in ('broken', 'plain', 'strong'))
    broken.write_text('index-url = no section', encoding='utf-8')
    plain.write_text('[global]\nindex-url = https://plain.example/%20/simple\n', encoding='utf-8')
    strong.write_text('[global]\nindex-url = x\n[install]\nindex-url = https://strong.example\n', encoding='utf-8')
    assert find_pip.configured_index({}, [broken, tmp_path / 'none', plain]) == 'https://plain.example/%20/simple'
    assert find_pip.configured_index({}, [strong, plain]) == 'https://strong.example'
    assert find_pip.configured_index({'PIP_INDEX_URL': 'https://env.example'}, [plain]) == 'https://env.example'
    assert find_pip.configured_index({}, [broken]) is None


@pytest.fixture
def package_index(tmp_path):
    """index(checksum of the newest wheel) -> address of a package index in a folder; its wheels hold b'wheel'."""
    def make(checksum):
        folder = tmp_path / 'simple' / 'pip'
        folder.mkdir(parents=True)
        links = [('pip-26.3-py3-none-any.whl', '&gt;=3.10', checksum), ('pip-25.0-py3-none-any.whl', '', 'f' * 64),
                 ('pip-99.0-py3-none-any.whl', '&gt;=3.99', checksum), ('pip-27.0.tar.gz', '', checksum)]
        (folder / 'page.html').write_text('<h1>pip</h1>' + ''.join(
            f'<a href="../files/{name}#sha256={sha}" data-requires-python="{python}">{name}</a>'
            for name, python, sha in links), encoding='utf-8')
        (tmp_path / 'simple' / 'files').mkdir()
        (tmp_path / 'simple' / 'files' / 'pip-26.3-py3-none-any.whl').write_bytes(b'wheel')
        return (tmp_path / 'simple').as_uri()
    return make


@pytest.mark.parametrize('right', [True, False])
def test_wheel_from_an_index_has_its_checksum(right, package_index, tmp_path, monkeypatch):
    index = package_index(hashlib.sha256(b'wheel').hexdigest() if right else '0' * 64)
    fetch = find_pip.download
    monkeypatch.setattr(find_pip, 'download', lambda request: fetch(
        request if isinstance(request, str) else request.full_url + 'page.html'))
    found = find_pip.from_index(tmp_path, index)
    assert (found == tmp_path / 'pip-26.3-py3-none-any.whl' and found.read_bytes() == b'wheel') if right else not found


def test_index_that_does_not_answer(tmp_path):
    assert find_pip.from_index(tmp_path, (tmp_path / 'none').as_uri()) is None
    assert find_pip.from_index(tmp_path, None) is None


def test_offline_takes_pip_from_the_folder_only(tmp_path, monkeypatch):
    monkeypatch.setattr(find_pip, 'wheel_folders', list)
    monkeypatch.setattr(find_pip, 'from_own_pip', lambda folder: pytest.fail('the network was asked'))
    assert find_pip.find_wheel(tmp_path / 'new', tmp_path) is None
    (tmp_path / 'pip-26.3-py3-none-any.whl').touch()
    assert find_pip.find_wheel(tmp_path / 'new', tmp_path).name == 'pip-26.3-py3-none-any.whl'


# ---- installing


def pip_calls(programs) -> list:
    """The requirements and options of each `pip install`."""
    return [call[call.index('--quiet') + 1:] for call in programs.calls if 'install' in call and '--quiet' in call]


@pytest.fixture
def bare(home, programs, monkeypatch):
    """A home in which nothing is installed, on Linux without GPU and with the index of CPU builds."""
    monkeypatch.setattr(bootstrap, 'installed', lambda home, package: ('', ''))
    monkeypatch.setattr(bootstrap, 'has_gpu', lambda: False)
    monkeypatch.setattr(bootstrap, 'index_reachable', lambda: True)
    monkeypatch.setattr(bootstrap, 'check_room', lambda folder, needed_gb: None)
    monkeypatch.setattr(bootstrap.platform, 'system', lambda: 'Linux')
    return home


REQUIREMENTS = ['torch>=2.6', 'torchvision', 'numpy']


def test_torch_and_torchvision_in_one_command(bare, programs):
    bootstrap.install_core(bare, options(), REQUIREMENTS)
    assert pip_calls(programs) == [['--index-url', plan.CPU_INDEX, 'torch>=2.6', 'torchvision'], ['numpy']]


def test_cpu_builds_that_do_not_download_give_way(bare, programs):
    programs['--index-url'] = (1, 'ERROR: timed out')
    bootstrap.install_core(bare, options(), REQUIREMENTS)
    assert pip_calls(programs)[2:] == [['torch>=2.6', 'torchvision'], ['numpy']]


def test_plain_folder_is_filled_by_one_command(bare, programs):
    bootstrap.install_core(bare._replace(is_venv=False), options(), REQUIREMENTS)
    assert pip_calls(programs) == [['--target', str(bare.folder), '--extra-index-url', plan.CPU_INDEX, *REQUIREMENTS]]


def test_torch_that_is_there_is_not_replaced(bare, programs, monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap, 'installed', lambda home, package: {'torch': ('2.7.0', str(tmp_path))}.get(
        package, ('', '')))
    bootstrap.install_core(bare, options(), REQUIREMENTS)
    assert pip_calls(programs) == [['numpy']]


def test_half_of_the_pair_is_completed(bare, programs, monkeypatch):
    inside = bare.folder / 'lib' / 'site-packages'
    monkeypatch.setattr(bootstrap, 'installed', lambda home, package: {'torch': ('2.7.0', str(inside))}.get(
        package, ('', '')))
    bootstrap.install_core(bare, options(), REQUIREMENTS)
    assert pip_calls(programs)[0][-2:] == ['torch>=2.6', 'torchvision']


def test_cpu_build_gives_way_to_cuda(bare, programs, monkeypatch):
    inside = str(bare.folder / 'lib' / 'site-packages')
    monkeypatch.setattr(bootstrap, 'installed', lambda home, package: ('2.15.0+cpu', inside))
    bootstrap.install_core(bare, options(cuda=True), REQUIREMENTS)
    assert pip_calls(programs)[0] == ['--force-reinstall', 'torch>=2.6', 'torchvision']


def test_failure_is_tried_twice_and_told_in_a_sentence(bare, programs, capsys):
    programs['numpy'] = (1, 'ERROR: no space left')
    with pytest.raises(UserError, match='numpy could not be installed: no space left'):
        bootstrap.install_others(bare, ['numpy'], None)
    assert len(programs.calls) == 2 and 'no space left' in capsys.readouterr().err


def test_network_that_is_down_is_told_early(bare, programs, capsys):
    bootstrap.update_pip(bare, None)
    assert capsys.readouterr().err == ''
    programs['--upgrade pip'] = (0, 'WARNING: Retrying (Retry(total=1)) after connection broken\n')
    bootstrap.update_pip(bare, None)
    assert 'does not answer' in capsys.readouterr().err
    assert programs.environments[-1]['PIP_RETRIES'] == '2'


def test_visdom_may_fail(bare, programs, capsys):
    programs['visdom'] = (1, "ModuleNotFoundError: No module named 'pkg_resources'\n")
    bootstrap.install_visdom(bare, ['visdom==0.2.4'], None)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith('warning: visdom') and 'pkg_resources' in lines[0]
    assert programs.environments[-1]['PIP_BUILD_CONSTRAINT'].endswith('constraints-build.txt')


def test_torchvision_that_does_not_fit_is_taken_out(bare, programs, capsys):
    programs['print(torch.__version__'] = (0, 'a warning\n2.15.0 False\n')
    programs['torchvision'] = (1, 'RuntimeError: operator torchvision::nms does not exist\n')
    assert bootstrap.prove(bare, cpu=False) == '2.15.0'
    assert programs.calls[-1][2:4] == ['pip', 'uninstall']
    assert 'nms does not exist' in capsys.readouterr().err


def test_torch_that_does_not_import_ends_it(bare, programs):
    programs['import torch'] = (1, 'ImportError: libcudnn.so.9\n')
    with pytest.raises(UserError, match=r'libcudnn\.so\.9'):
        bootstrap.prove(bare, cpu=False)


def test_gpu_that_cannot_be_used_is_told(bare, programs, monkeypatch, capsys):
    programs['print(torch.__version__'] = (0, '2.15.0 False')
    monkeypatch.setattr(bootstrap, 'has_gpu', lambda: True)
    bootstrap.prove(bare, cpu=True)
    assert capsys.readouterr().err == ''
    bootstrap.prove(bare, cpu=False)
    assert 'cannot use the GPU' in capsys.readouterr().err


def test_full_disk_is_told_before_the_download(tmp_path):
    bootstrap.check_room(tmp_path, 0)
    with pytest.raises(UserError, match='make room'):
        bootstrap.check_room(tmp_path, 1e9)


@pytest.mark.parametrize('script, gpu', [('echo "GPU 0: X"', True), ('echo "No devices were found"', False),
                                         ('echo "GPU"; exit 9', False)])
@pytest.mark.skipif(os.name == 'nt', reason='the stand-in for nvidia-smi is a shell script')
def test_gpu_by_its_driver(script, gpu, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert bootstrap.has_gpu() is False
    (tmp_path / 'nvidia-smi').write_text(f'#!/bin/sh\n{script}\n', encoding='utf-8')
    (tmp_path / 'nvidia-smi').chmod(0o755)
    assert bootstrap.has_gpu() is gpu


# ---- quickstart


@pytest.fixture
def stages(monkeypatch, home):
    """What quickstart calls; stages.codes gives the exit code of a script."""
    made = SimpleNamespace(calls=[], codes={})

    def call(command, **_):
        made.calls.append(command[1:])
        return made.codes.get(command[1], 0)
    monkeypatch.setattr(quickstart.bootstrap, 'ready', lambda options, names: home)
    monkeypatch.setattr(quickstart.subprocess, 'call', call)
    return made


def test_quickstart_draws_trains_tests_and_scores(stages, capsys):
    assert quickstart.main(['--cpu', '--threads', '2'], None) == 0
    assert [call[0] for call in stages.calls] == ['datasets/make_demo.py', 'train.py', 'test.py',
                                                  'scripts/score_demo.py']
    assert all(call[-4:] == ['--cpu_threads', '2', '--gpu_ids', '-1'] for call in stages.calls[1:3])
    assert str(ROOT / 'results/quickstart/test_latest/index.html') in capsys.readouterr().out


def test_quickstart_leaves_the_machine_to_train_py(stages):
    quickstart.main([], None)
    assert not {'--cpu_threads', '--gpu_ids'} & {word for call in stages.calls for word in call}


def test_bad_score_is_the_exit_code(stages):
    stages.codes['scripts/score_demo.py'] = 1
    assert quickstart.main([], None) == 1


def test_failed_training_ends_quickstart(stages, capsys):
    stages.codes['train.py'] = 3
    assert quickstart.run(quickstart.main, []) == 2
    assert capsys.readouterr().err.startswith('error: training ended with exit code 3')
    assert len(stages.calls) == 2


def test_options_of_quickstart_exist(monkeypatch):
    from options import TestOptions, TrainOptions
    monkeypatch.chdir(ROOT)
    train = TrainOptions().build_parser(quickstart.TRAIN[1:])
    test = TestOptions().build_parser(quickstart.TEST[1:])
    for command, parser in ((quickstart.TRAIN, train), (quickstart.TEST, test)):
        flags = {word for word in command if word.startswith('--')}
        assert flags <= set(parser._option_string_actions)


# ---- the files


@pytest.mark.parametrize('name', [plan.CORE, plan.VISDOM, plan.DEVELOPMENT, plan.BUILD_CONSTRAINTS])
def test_every_requirement_says_why(name):
    lines = [line for line in text_of(name).splitlines() if line and not line.startswith('#')]
    assert lines and all(re.search(r'\s# \w.{10}', line) for line in lines)


def test_visdom_stands_apart():
    core = {plan.package_name(line) for line in plan.requirement_lines(text_of(plan.CORE))}
    assert core == CORE_NAMES
    assert plan.requirement_lines(text_of(plan.VISDOM)) == ['visdom==0.2.4']
    assert plan.requirement_lines(text_of(plan.BUILD_CONSTRAINTS)) == ['setuptools<81']


def test_every_way_to_install_reads_the_same_list():
    assert re.search(r'^\s+- -r requirements\.txt$', text_of('environment.yml'), re.M)
    assert 'pip install -r requirements.txt' in text_of('Dockerfile')
    assert 'dependencies = { file = ["requirements.txt"] }' in text_of('pyproject.toml')
    assert 'build-constraint-dependencies = ["setuptools<81"]' in text_of('pyproject.toml')
    names = '|'.join(CORE_NAMES - {'torch'})
    assert not re.search(rf'^\s*- ({names})', text_of('environment.yml'), re.M)


def test_oldest_torch_is_that_of_the_requirements():
    assert f'torch>={find_python.dotted(plan.OLDEST_TORCH)}' in plan.requirement_lines(text_of(plan.CORE))


def test_ci_runs_the_tests():
    assert 'python3 scripts/run_tests.py' in text_of('.ci/run')
    assert os.name == 'nt' or os.access(ROOT / '.ci' / 'run', os.X_OK)
