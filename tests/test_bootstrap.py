"""The two programs that install everything: what they install, and how they end when a machine lacks something."""
import ast
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'scripts'))

import quickstart
import run_tests
from setup import environment, install
from setup.install import BUILD_CONSTRAINTS, CORE, CPU_INDEX, DEVELOPMENT, VISDOM, Installer

from util.errors import UserError

SCRIPTS = ('quickstart', 'run_tests')
SETUP = [path.stem for path in (ROOT / 'scripts' / 'setup').glob('*.py')]
CORE_NAMES = {'torch', 'torchvision', 'numpy', 'pillow', 'dominate', 'scikit-image', 'tqdm', 'torchmetrics', 'tifffile',
              'imagecodecs'}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding='utf-8')


def imported(tree) -> set:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split('.')[0] for name in names}


def options(**changes):
    return SimpleNamespace(**{'cuda': False, 'cpu': False, 'offline': None, **changes})


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """The folder of a virtual environment in name only, with this Python in it."""
    folder = tmp_path / '.venv'
    folder.mkdir()
    (folder / 'pyvenv.cfg').write_text('include-system-site-packages = false\n', encoding='utf-8')
    monkeypatch.setattr(install, 'VENV', folder)
    return folder


@pytest.fixture
def programs(monkeypatch):
    """programs.answers[word] = (exit code, output) of every command line that has the word in it; the rest succeed.

    programs.calls lists the command lines, programs.variables their environments.
    """
    made = SimpleNamespace(answers={}, calls=[], variables=[])

    def run_step(what, command, variables):
        made.calls.append(command)
        made.variables.append(variables)
        line = ' '.join(map(str, command))
        return next((answer for word, answer in made.answers.items() if word in line), (0, ''))

    def ask(command, timeout=300):
        code, output = run_step('', command, {})
        return '' if code else output or 'fine'
    for module in (environment, install):
        monkeypatch.setattr(module, 'run_step', run_step)
        monkeypatch.setattr(module, 'ask', ask)
    return made


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
    (['--cuda', '--cpu'], '--cuda'),
    (['--offline', 'no/such/folder'], 'no/such/folder'),
    (['--threads', '0'], '--threads 0'),
    (['--no_such_flag'], '--no_such_flag')])
def test_a_mistake_is_one_sentence(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(install, 'open_venv', lambda *_: pytest.fail('work was started'))
    assert quickstart.run(quickstart.main, arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith('error: ') and message in lines[0]


def test_cuda_is_refused_where_no_build_has_it(monkeypatch):
    monkeypatch.setattr(install.platform, 'system', lambda: 'Darwin')
    monkeypatch.setattr(install, 'open_venv', lambda *_: pytest.fail('work was started'))
    with pytest.raises(UserError, match='--cuda'):
        install.ready(options(cuda=True), (CORE,))


# ---- run_tests


def test_arguments_of_pytest_go_to_pytest():
    parsed, others = run_tests.parse(['--cpu', '-k', 'bootstrap and not slow', 'tests/test_cli.py', '-x', '--', '-q'])
    assert parsed.cpu and not parsed.cuda
    assert others == ['-k', 'bootstrap and not slow', 'tests/test_cli.py', '-x', '-q']


def test_tests_run_on_all_cores():
    assert run_tests.parallel(['-k', 'norms', '-x'], cores=2)[:2] == ['-n', '2']
    assert run_tests.parallel([], cores=128)[:2] == ['-n', str(run_tests.MOST_WORKERS)]
    assert run_tests.parallel([], cores=1) == []


@pytest.mark.parametrize('arguments', [
    ['-n', '4'], ['-n4'], ['-n=0'], ['--numprocesses=3'], ['-p', 'no:xdist'], ['-pno:xdist'], ['--pdb'], ['--trace']])
def test_the_user_may_choose_the_number_of_processes(arguments):
    assert run_tests.parallel(['-q', *arguments], cores=8) == []


# ---- which Python


@pytest.fixture
def pythons(monkeypatch):
    """{command: version} of the interpreters on the PATH, and the commands that are started."""
    made = SimpleNamespace(versions={}, started=[])

    def call(command):
        made.started.append(command)
        return 7
    monkeypatch.setattr(environment, 'version_of', lambda python: made.versions.get(python, ()))
    monkeypatch.setattr(environment.subprocess, 'call', call)
    monkeypatch.setattr(sys, 'argv', ['scripts/quickstart.py', '--cpu'])
    return made


@pytest.mark.parametrize('version', [(3, 10), (3, 11), (3, 13)])
def test_a_python_that_fits_is_used(version, pythons):
    pythons.versions['python3.12'] = (3, 12)
    environment.use_fitting_python(version)
    assert pythons.started == []


@pytest.mark.parametrize('version', [(2, 7), (3, 9), (3, 14)])
def test_the_newest_python_that_fits_is_started_instead(version, pythons, capsys):
    pythons.versions = {'python3.12': (3, 9), 'python3.11': (3, 11), 'python3.10': (3, 10)}    # the first is misnamed
    with pytest.raises(SystemExit) as end:
        environment.use_fitting_python(version)
    assert end.value.code == 7
    assert pythons.started == [['python3.11', 'scripts/quickstart.py', '--cpu']]


def test_an_old_python_is_refused_in_one_line(pythons):
    with pytest.raises(UserError, match=r'3\.8.*3\.10 to 3\.13') as error:
        environment.use_fitting_python((3, 8))
    assert '\n' not in str(error.value)


def test_a_newer_python_continues_with_a_warning(pythons, capsys):
    environment.use_fitting_python((3, 15))
    assert re.match(r'warning: .*3\.15', capsys.readouterr().err)


def test_supported_versions_are_named():
    assert environment.SUPPORTED == ' to '.join('.'.join(map(str, version)) for version in (
        environment.OLDEST, environment.NEWEST))


def test_version_of_an_interpreter(tmp_path):
    assert environment.version_of(sys.executable) == sys.version_info[:2]
    assert environment.version_of(str(tmp_path / 'none')) == ()


# ---- running programs


def test_ask_gives_the_last_line_of_a_program_that_works():
    assert environment.ask([sys.executable, '-c', 'print("a warning"); print("2.14.1")']) == '2.14.1'
    assert environment.ask([sys.executable, '-c', 'print("x"); raise SystemExit(1)']) == ''
    assert environment.ask([sys.executable, '-c', 'import time; time.sleep(60)'], timeout=0.1) == ''


def test_elapsed_time_is_printed_while_a_program_runs(capsys):
    code = 'import time, os; time.sleep(0.5); print(os.environ["MINE"]); raise SystemExit(3)'
    assert environment.run_step('working', [sys.executable, '-c', code], {'MINE': 'x'}, beat=0.1) == (3, 'x\n')
    assert re.fullmatch(r'working \.\.\.( 0 s \.\.\.){1,6}( 1 s \.\.\.)* [01] s\n', capsys.readouterr().out)


def test_an_interrupted_step_ends_its_program(tmp_path, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt
    monkeypatch.setattr(environment, 'as_duration', interrupt)
    child = f'import time; time.sleep(3); open({str(tmp_path / "late")!r}, "w")'
    with pytest.raises(KeyboardInterrupt):
        environment.run_step('working', [sys.executable, '-c', child], {}, beat=0.1)
    time.sleep(3)
    assert not (tmp_path / 'late').exists()


def test_last_error_is_the_line_that_explains():
    assert environment.last_error('a\nERROR: no wheel\n\nhint: x\n') == 'no wheel'
    assert environment.last_error('Traceback\n  File\nRuntimeError: no operator\n') == 'RuntimeError: no operator'
    assert environment.last_error('just this\n') == 'just this' and environment.last_error('') != ''


# ---- the virtual environment


def test_a_folder_that_is_not_a_venv_is_not_touched(tmp_path):
    (tmp_path / '.venv').mkdir()
    (tmp_path / '.venv' / 'mine.txt').write_text('x', encoding='utf-8')
    with pytest.raises(UserError, match=re.escape(str(tmp_path / '.venv'))):
        environment.open_venv(tmp_path / '.venv', bool)
    assert (tmp_path / '.venv' / 'mine.txt').exists()


def test_a_venv_of_an_old_python_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, 'version_of', lambda python: (3, 9))
    with pytest.raises(UserError, match=r'3\.10 to 3\.13'):
        environment.open_venv(tmp_path / '.venv', bool)


def test_a_broken_venv_is_made_again(tmp_path):
    folder = tmp_path / '.venv'
    folder.mkdir()
    (folder / 'pyvenv.cfg').write_text('home = gone', encoding='utf-8')
    (folder / 'old').touch()
    python = environment.open_venv(folder, lambda version: False)
    assert environment.version_of(python) == sys.version_info[:2]
    assert not (folder / 'old').exists()
    assert environment.open_venv(folder, lambda version: pytest.fail('made twice')) == python


def test_a_python_without_the_venv_module_is_one_sentence(tmp_path, programs):
    programs.answers = {'-m venv': (1, '/usr/bin/python3: No module named venv\n')}
    with pytest.raises(UserError, match='No module named venv.*python3-venv'):
        environment.make_venv(tmp_path / '.venv', 'python', '')


@pytest.mark.parametrize('answer, shared', [
    ((0, '2.15.0+cpu'), True), ((0, '2.1.0'), False), ((1, 'OSError: libcudnn.so.9'), False)])
def test_the_torch_of_the_calling_python_is_shared_if_it_works(answer, shared, tmp_path, programs, monkeypatch):
    monkeypatch.setattr(sys, 'prefix', sys.base_prefix)
    programs.answers = {'import torch': answer, 'version_info': (1, '')}
    environment.open_venv(tmp_path / '.venv', lambda version: install.torch_fits(version, cuda=False))
    assert ('--system-site-packages' in programs.calls[-1]) is shared


def test_a_venv_made_from_a_venv_sees_its_packages(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    python = str(tmp_path / '.venv' / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python'))
    environment.make_venv(tmp_path / '.venv', python, '2.14')
    question = 'import sys; print([path for path in sys.path])'
    assert environment.sysconfig.get_path('platlib') in environment.ask([python, '-c', question])


# ---- pip


def test_pip_comes_from_ensurepip(programs):
    programs.answers = {'pip --version': (1, 'No module named pip')}
    environment.add_pip('python', None)
    assert programs.calls[-1] == ['python', '-Im', 'ensurepip']


def test_pip_comes_from_its_wheel_where_ensurepip_is_missing(programs, tmp_path):
    programs.answers = {'pip --version': (1, ''), 'ensurepip': (1, 'No module named ensurepip')}
    wheel = tmp_path / 'pip-26.3-py3-none-any.whl'
    wheel.touch()
    environment.add_pip('python', tmp_path)
    assert programs.calls[-1][:3] == ['python', str(wheel / 'pip'), 'install']
    assert not any('sh' in call for call in programs.calls)       # --offline uses no network


def test_a_wheel_of_pip_is_downloaded_if_there_is_none(programs, tmp_path, monkeypatch):
    monkeypatch.setattr(environment.Path, 'glob', lambda folder, pattern: [])
    programs.answers = {'sh -c': (0, '')}
    assert environment.pip_wheel(tmp_path, None) is None
    assert [call[0] for call in programs.calls] == ['sh'] and str(tmp_path) == programs.calls[0][-1]
    (tmp_path / 'usr').mkdir()
    (tmp_path / 'usr' / 'pip-26.3-py3-none-any.whl').touch()
    assert environment.pip_wheel(tmp_path, None).name == 'pip-26.3-py3-none-any.whl'


def test_no_pip_anywhere_is_one_sentence(programs, monkeypatch):
    programs.answers = {'pip --version': (1, ''), 'ensurepip': (1, '')}
    monkeypatch.setattr(environment, 'pip_wheel', lambda folder, offline: None)
    with pytest.raises(UserError, match='apt install python3-venv'):
        environment.add_pip('python', None)


# ---- which build of PyTorch


@pytest.mark.parametrize('version, cuda, expected', [
    ('2.6.0', False, True), ('2.15.0+cu132', True, True), ('2.15.0+cpu', False, True), ('2.15.0+cpu', True, False),
    ('2.5.1', False, False), ('10.0', False, True), ('', False, False)])
def test_which_torch_fits(version, cuda, expected):
    assert install.torch_fits(version, cuda) is expected


@pytest.fixture
def machine(monkeypatch):
    """Sets what the machine is; machine.probes counts the requests to the index of CPU builds."""
    made = SimpleNamespace(probes=0)

    def become(system='Linux', gpu=False, reachable=True):
        def probe():
            made.probes += 1
            return reachable
        monkeypatch.setattr(install.platform, 'system', lambda: system)
        monkeypatch.setattr(install, 'has_gpu', lambda: gpu)
        monkeypatch.setattr(install, 'index_reachable', probe)
    made.become = become
    become()
    return made


def test_cpu_build_where_there_is_no_gpu(machine):
    assert install.torch_source(options())[0] == ['--index-url', CPU_INDEX] and machine.probes == 1
    machine.become(gpu=True)
    assert install.torch_source(options(cpu=True))[0] == ['--index-url', CPU_INDEX]


def test_cuda_build_where_the_index_of_cpu_builds_does_not_answer(machine):
    machine.become(reachable=False)
    arguments, description, needed_gb = install.torch_source(options())
    assert arguments == [] and '3 GB' in description and needed_gb > 5.6


@pytest.mark.parametrize('facts, asked', [
    (dict(gpu=True), {}), ({}, dict(cuda=True)), (dict(system='Darwin'), {}), (dict(system='Windows', gpu=True), {}),
    ({}, dict(offline=Path('wheels'))), ({}, dict(offline=Path('wheels'), cpu=True))])
def test_the_index_of_cpu_builds_is_asked_only_if_it_matters(facts, asked, machine):
    machine.become(**facts)
    assert CPU_INDEX not in install.torch_source(options(**asked))[0] and machine.probes == 0


@pytest.mark.parametrize('script, gpu', [('echo "GPU 0: X"', True), ('echo "No devices were found"', False),
                                         ('echo "GPU"; exit 9', False)])
@pytest.mark.skipif(os.name == 'nt', reason='the stand-in for nvidia-smi is a shell script')
def test_a_gpu_is_found_by_its_driver(script, gpu, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert install.has_gpu() is False
    (tmp_path / 'nvidia-smi').write_text(f'#!/bin/sh\n{script}\n', encoding='utf-8')
    (tmp_path / 'nvidia-smi').chmod(0o755)
    assert install.has_gpu() is gpu


def test_an_index_that_does_not_answer_is_not_an_error(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError('no route')
    monkeypatch.setattr(install.urllib.request, 'urlopen', fail)
    assert install.index_reachable() is False
    monkeypatch.setenv('PIP_CERT', 'no/such/file')
    assert install.index_reachable() is False


# ---- what is installed when


@pytest.fixture
def installed(monkeypatch, venv):
    """install.ready with this Python in `venv`; returns the lists of files that were installed."""
    files = []

    def install_files(installer, names):
        files.append(names)
        return '2.15.0+cpu'
    monkeypatch.setattr(install, 'use_fitting_python', lambda: None)
    monkeypatch.setattr(install, 'open_venv', lambda folder, torch_fits: sys.executable)
    monkeypatch.setattr(Installer, 'install', install_files)
    return files


def test_a_second_start_installs_nothing(installed, venv):
    for names in ((CORE, VISDOM), (CORE, VISDOM), (CORE, VISDOM, DEVELOPMENT), (CORE, VISDOM)):
        assert install.ready(options(), names) == sys.executable
    assert installed == [[CORE, VISDOM], [DEVELOPMENT]]
    assert json.loads((venv / install.STAMP).read_text(encoding='utf-8'))['torch'] == '2.15.0+cpu'


@pytest.mark.parametrize('change, expected', [
    (lambda patch: patch.setattr(install, 'version_of', lambda python: (3, 99)), [CORE, VISDOM]),
    (lambda patch: patch.setattr(install, 'OLDEST_TORCH', (2, 20)), [CORE]),
    (lambda patch: patch.setattr(install, 'requirements', lambda name: [name]), [CORE, VISDOM])])
def test_what_changed_is_installed_again(change, expected, installed, monkeypatch):
    install.ready(options(), (CORE, VISDOM))
    change(monkeypatch)
    install.ready(options(), (CORE, VISDOM))
    assert installed[1:] == [expected]


@pytest.mark.parametrize('file', [VISDOM, BUILD_CONSTRAINTS])
def test_requirement_and_constraint_files_are_watched(file, installed, tmp_path, monkeypatch):
    for name in (CORE, VISDOM, BUILD_CONSTRAINTS):
        (tmp_path / name).write_text(text_of(name), encoding='utf-8')
    monkeypatch.setattr(install, 'ROOT', tmp_path)
    install.ready(options(), (CORE, VISDOM))
    (tmp_path / file).write_text(text_of(file) + '# a comment\n', encoding='utf-8')
    install.ready(options(), (CORE, VISDOM))
    assert len(installed) == 1
    (tmp_path / file).write_text('other>=1\n', encoding='utf-8')
    install.ready(options(), (CORE, VISDOM))
    assert len(installed) == 2 and VISDOM in installed[1]


def test_cuda_replaces_a_cpu_build(installed):
    install.ready(options(), (CORE, VISDOM))
    install.ready(options(cuda=True), (CORE, VISDOM))
    assert installed[1:] == [[CORE]]


def test_a_failed_installation_is_not_remembered(installed, venv, monkeypatch):
    def fail(installer, names):
        raise UserError('no network')
    monkeypatch.setattr(Installer, 'install', fail)
    with pytest.raises(UserError):
        install.ready(options(), [CORE])
    assert install.read_stamp(venv) == {}


@pytest.mark.parametrize('content', [None, '{"half', '[]', '3'])
def test_a_damaged_stamp_counts_as_none(content, tmp_path):
    if content is not None:
        (tmp_path / install.STAMP).write_text(content, encoding='utf-8')
    assert install.read_stamp(tmp_path) == {}


# ---- installing


def pip_calls(programs) -> list:
    """The requirements and options of each `pip install`."""
    return [call[call.index('--quiet') + 1:] for call in programs.calls if 'install' in call and '--quiet' in call]


@pytest.fixture
def bare(venv, machine, programs):
    """An installer for a venv in which nothing is installed, on Linux without GPU; bare.calls() lists calls of pip."""
    programs.answers = {'importlib.metadata': (1, '')}
    return Installer('python', options())


REQUIREMENTS = ['torch>=2.6', 'torchvision', 'torchmetrics>=1.0']


def test_torch_and_torchvision_are_installed_in_one_command(bare, programs):
    bare.core(CORE, REQUIREMENTS)
    assert pip_calls(programs) == [['--index-url', CPU_INDEX, 'torch>=2.6', 'torchvision'], ['torchmetrics>=1.0']]


@pytest.mark.parametrize('shared, packages', [(True, ['torch']), (False, ['torch', 'torchvision'])])
def test_a_torch_that_is_there_is_not_replaced(shared, packages, bare, venv, programs):
    """A shared one counts alone; in the venv itself, torch without torchvision is half of an installation."""
    (venv / 'pyvenv.cfg').write_text(f'include-system-site-packages = {str(shared).lower()}', encoding='utf-8')
    programs.answers = {str(packages): (0, '2.7.0')}
    bare.core(CORE, REQUIREMENTS)
    assert pip_calls(programs) == [['torchmetrics>=1.0']]


def test_a_cpu_build_is_replaced_by_a_cuda_build(bare, programs):
    programs.answers = {'importlib.metadata': (0, '2.15.0+cpu 0.30.0+cpu')}
    bare._replace(options=options(cuda=True)).core(CORE, REQUIREMENTS)
    assert pip_calls(programs)[0] == ['--force-reinstall', 'torch>=2.6', 'torchvision']


def test_pip_runs_with_patience_and_the_settings_of_the_user(bare, programs, monkeypatch, tmp_path):
    for name, value in dict(DEFAULT_TIMEOUT='7', INDEX_URL='https://mirror.example/simple', USER='1').items():
        monkeypatch.setenv(f'PIP_{name}', value)
    monkeypatch.delenv('PIP_RETRIES', raising=False)
    bare.pip('', [], {})
    made = programs.variables[-1]
    assert made['PIP_DEFAULT_TIMEOUT'] == '7' and made['PIP_INDEX_URL'] == 'https://mirror.example/simple'
    assert made['PIP_RETRIES'] == made['PIP_RESUME_RETRIES'] == '10'
    assert made['PIP_USER'] == '0' and 'PIP_NO_INDEX' not in made and 'PIP_CONSTRAINT' not in made
    bare._replace(options=options(offline=tmp_path / 'my wheels')).pip('', [], {})
    made = programs.variables[-1]
    assert made['PIP_NO_INDEX'] == '1'
    assert made['PIP_FIND_LINKS'].startswith('file:///') and ' ' not in made['PIP_FIND_LINKS']


def test_a_failure_is_tried_twice_and_is_one_sentence_below_the_output_of_pip(bare, programs, capsys):
    programs.answers = {'numpy': (1, 'Collecting numpy\nERROR: no space left')}
    with pytest.raises(UserError, match=f'{CORE}.*no space left.*--offline') as error:
        bare.others(CORE, ['numpy'])
    assert '\n' not in str(error.value)
    assert len(programs.calls) == 2 and 'Collecting numpy\nERROR: no space left' in capsys.readouterr().err


def test_a_network_that_is_down_is_reported_early(bare, programs, capsys, monkeypatch):
    monkeypatch.setattr(Installer, 'check_torch', lambda installer: '2.15.0')
    bare.install([])
    assert capsys.readouterr().err == ''
    programs.answers = {'--upgrade pip': (0, 'WARNING: Retrying (Retry(total=1)) after connection broken\n')}
    bare.install([])
    assert capsys.readouterr().err.startswith('warning: ')
    assert programs.variables[-1]['PIP_RETRIES'] == '2'


def test_every_requirement_file_is_installed_in_its_way(bare, programs):
    programs.answers['import torch; print'] = (0, '2.15.0 False')
    assert bare.install([CORE, VISDOM, DEVELOPMENT]) == '2.15.0'
    calls = [call[-1] for call in pip_calls(programs)]
    assert calls == ['pip', 'torchvision', install.requirements(CORE)[-1], 'visdom==0.2.4',
                     install.requirements(DEVELOPMENT)[-1]]


def test_visdom_is_built_under_constraints_and_may_fail(bare, programs, capsys, monkeypatch):
    monkeypatch.setenv('PIP_CONSTRAINT', 'mine.txt')
    monkeypatch.setattr(install, 'ROOT', ROOT / 'a b')
    programs.answers = {'visdom': (1, "ModuleNotFoundError: No module named 'pkg_resources'\n")}
    bare.visdom(VISDOM, ['visdom==0.2.4'])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith('warning: visdom') and 'pkg_resources' in lines[0]
    made = programs.variables[-1]
    assert made['PIP_CONSTRAINT'].split() == ['mine.txt', made['PIP_BUILD_CONSTRAINT']]
    assert made['PIP_BUILD_CONSTRAINT'].endswith('/a%20b/constraints-build.txt')


def test_a_torchvision_that_does_not_fit_is_removed(bare, programs, capsys):
    programs.answers = {'print(torch.__version__': (0, 'a warning\n2.15.0 False\n'), 'import torchvision': (1, '')}
    assert bare.check_torch() == '2.15.0'
    assert programs.calls[-1][2:4] == ['pip', 'uninstall']
    assert 'torchvision' in capsys.readouterr().err


def test_a_torch_that_does_not_import_is_one_sentence(bare, programs):
    programs.answers = {'import torch': (1, 'ImportError: libcudnn.so.9\n')}
    with pytest.raises(UserError, match=r'libcudnn\.so\.9'):
        bare.check_torch()


def test_a_gpu_that_cannot_be_used_is_reported(bare, programs, machine, capsys):
    programs.answers = {'print(torch.__version__': (0, '2.15.0 False')}
    machine.become(gpu=True)
    bare._replace(options=options(cpu=True)).check_torch()
    assert capsys.readouterr().err == ''
    bare.check_torch()
    assert 'GPU' in capsys.readouterr().err


def test_a_full_disk_is_reported_before_the_download(bare, programs, monkeypatch):
    monkeypatch.setattr(install.shutil, 'disk_usage', lambda folder: SimpleNamespace(free=1e9))
    with pytest.raises(UserError, match=r'1\.0 GB free'):
        bare.torch(REQUIREMENTS[:2])
    assert programs.calls == []


# ---- quickstart


@pytest.fixture
def stages(monkeypatch):
    """stages.calls lists what quickstart runs; stages.codes gives the exit code of a script."""
    made = SimpleNamespace(calls=[], codes={})

    def call(command, **_):
        made.calls.append(command[1:])
        return made.codes.get(command[1], 0)
    monkeypatch.setattr(quickstart.install, 'ready', lambda options, names: sys.executable)
    monkeypatch.setattr(quickstart.subprocess, 'call', call)
    return made


def test_quickstart_draws_trains_tests_and_scores(stages, capsys):
    assert quickstart.main(['--cpu', '--threads', '2'], None) == 0
    assert [call[0] for call in stages.calls] == ['datasets/make_demo.py', 'train.py', 'test.py',
                                                  'scripts/score_demo.py']
    assert all(call[-4:] == ['--cpu_threads', '2', '--gpu_ids', '-1'] for call in stages.calls[1:3])
    assert str(ROOT / 'results/quickstart/test_latest/index.html') in capsys.readouterr().out


def test_quickstart_leaves_the_choice_of_device_to_train_py(stages):
    quickstart.main([], None)
    assert not {'--cpu_threads', '--gpu_ids'} & {word for call in stages.calls for word in call}


def test_a_bad_score_is_the_exit_code(stages):
    stages.codes['scripts/score_demo.py'] = 1
    assert quickstart.main([], None) == 1


def test_a_failed_training_ends_quickstart(stages, capsys):
    stages.codes['train.py'] = 3
    assert quickstart.run(quickstart.main, []) == 2
    assert re.match('error: training .*exit code 3', capsys.readouterr().err)
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


@pytest.mark.parametrize('name', [CORE, VISDOM, DEVELOPMENT, BUILD_CONSTRAINTS])
def test_every_requirement_says_why(name):
    lines = [line for line in text_of(name).splitlines() if line and not line.startswith('#')]
    assert lines and all(re.search(r'\s# \w.{10}', line) for line in lines)


def test_visdom_is_not_a_core_requirement():
    core = {re.match(r'[\w-]+', line)[0] for line in install.requirements(CORE)}
    assert core == CORE_NAMES
    assert install.requirements(VISDOM) == ['visdom==0.2.4']
    assert install.requirements(BUILD_CONSTRAINTS) == ['setuptools<81']


def test_every_way_to_install_reads_the_same_list():
    assert re.search(r'^\s+- -r requirements\.txt$', text_of('environment.yml'), re.M)
    assert 'pip install -r requirements.txt' in text_of('Dockerfile')
    assert 'dependencies = { file = ["requirements.txt"] }' in text_of('pyproject.toml')
    assert 'build-constraint-dependencies = ["setuptools<81"]' in text_of('pyproject.toml')
    names = '|'.join(CORE_NAMES - {'torch'})
    assert not re.search(rf'^\s*- ({names})', text_of('environment.yml'), re.M)


def test_oldest_torch_is_that_of_the_requirements():
    assert 'torch>={}.{}'.format(*install.OLDEST_TORCH) in install.requirements(CORE)


def test_ci_runs_the_tests_in_one_command():
    assert text_of('.ci/run').rstrip().splitlines()[-1] == 'exec python3 scripts/run_tests.py'
    assert os.name == 'nt' or os.access(ROOT / '.ci' / 'run', os.X_OK)
