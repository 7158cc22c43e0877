"""The rules of the house, read from the source: who may import whom, what is forbidden, and names that must agree."""
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import data.transforms
from models import catalog, losses, networks
from models.training.schedule import lr_multiplier
from options import TestOptions, TrainOptions
from options.base_options import PREPROCESS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('data', 'models', 'options', 'util')
TOOLS = ('scripts', 'datasets')
MAY_IMPORT = {
    'util': {'util'}, 'data': {'data', 'util'}, 'models': {'models', 'util'},
    'options': {'options', 'data', 'models', 'util'},
}
WITHOUT_TORCH = ('options', 'options.parser', 'options.checks', 'options.restore', 'models', 'models.catalog', 'data',
                 'util.cli', 'util.registry', 'util.files', 'util.checkpoint.layout', 'train', 'test')
LONGEST_FUNCTION = 60


def sources(*folders):
    """(name relative to the root, syntax tree) of all Python files in the folders; '' for those right in the root."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob('*.py') if folder else ROOT.glob('*.py')):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding='utf-8'))


SHIPPED = dict(sources('', *PACKAGES, *TOOLS))
EVERYTHING = {**SHIPPED, **dict(sources('tests'))}


def imported(tree, package=''):
    """Modules that a file imports anywhere: ('models.networks', 'torch', ...)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = '.'.join(filter(None, [package if node.level else '', node.module]))
            yield from (f'{module}.{alias.name}' for alias in node.names)


def calls(tree):
    """(name as written, call) of all calls: 'os.system', 'eval', 'net.eval', ..."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def keywords(call):
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def test_the_files_are_found():
    assert {'train.py', 'test.py', 'util/cli.py', 'models/networks.py', 'options/parser.py'} <= SHIPPED.keys()
    assert len(SHIPPED) > 40


# ---- arrows

@pytest.mark.parametrize('package', PACKAGES)
def test_nothing_imports_upwards(package):
    ours = {*PACKAGES, *TOOLS, 'tests', 'train', 'test'}
    for name, tree in sources(package):
        tops = {module.partition('.')[0] for module in imported(tree, package)}
        assert tops & ours <= MAY_IMPORT[package], name


def test_tools_do_not_import_the_programs():
    for name, tree in sources(*TOOLS):
        assert not {'train', 'test', 'tests'} & {module.partition('.')[0] for module in imported(tree)}, name


def test_models_stand_on_networks_and_losses():
    below = {'models/catalog.py', 'models/networks.py', 'models/losses.py'}
    for name, tree in sources('models'):
        modules = {module for module in imported(tree, 'models') if module.startswith('models.')}
        if name in below:
            assert not [module for module in modules if '_model' in module], name
        if name == 'models/base_model.py':
            assert not [module for module in modules if re.search(r'(?<!base)_model\b', module)], name


def test_networks_and_losses_know_no_options():
    for name in ('models/networks.py', 'models/losses.py', 'models/training/schedule.py', 'util/image_pool.py'):
        names = {node.id for node in ast.walk(SHIPPED[name]) if isinstance(node, ast.Name)}
        arguments = {node.arg for node in ast.walk(SHIPPED[name]) if isinstance(node, ast.arg)}
        assert 'opt' not in names | arguments, name


def test_answers_on_the_command_line_do_not_wait_for_torch():
    script = f'import sys\nfor name in {WITHOUT_TORCH}:\n    __import__(name)\nprint("torch" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ('False', '')


# ---- what is forbidden

def test_the_device_is_chosen_in_one_place():
    for name, tree in sources(*PACKAGES):
        if name in ('util/machine/runtime.py', 'util/machine/seeding.py'):      # saves the devices' generators
            continue
        for node in ast.walk(tree):
            said = getattr(node, 'attr', None) or getattr(node, 'id', None) or getattr(node, 'value', None)
            assert not re.match(r'cuda(:|$)', said if isinstance(said, str) else ''), f'{name}:{node.lineno}'


@pytest.mark.parametrize('name', SHIPPED)
def test_no_code_from_texts(name):
    tree = SHIPPED[name]
    tops = {module.partition('.')[0] for module in imported(tree)}
    assert not tops & {'pickle', 'cPickle', 'dill', 'cloudpickle', 'marshal', 'shelve'}
    for call_name, call in calls(tree):
        assert call_name not in ('eval', 'exec', 'os.system', 'os.popen', 'compile'), f'line {call.lineno}'
        assert keywords(call).get('shell', 'False') == 'False', f'line {call.lineno}'
        assert keywords(call).get('allow_pickle', 'False') == 'False', f'line {call.lineno}'
        assert call_name not in ('yaml.load', 'yaml.unsafe_load'), f'line {call.lineno}'


@pytest.mark.parametrize('name', SHIPPED)
def test_checkpoints_are_loaded_as_weights_only(name):
    for call_name, call in calls(SHIPPED[name]):
        if call_name in ('torch.load', 'load_state_dict_from_url'):
            assert keywords(call).get('weights_only') == 'True', f'line {call.lineno}'


@pytest.mark.parametrize('name', SHIPPED)
def test_text_files_have_an_encoding(name):
    for call_name, call in calls(SHIPPED[name]):
        if call_name.rpartition('.')[2] in ('read_text', 'write_text'):
            assert 'encoding' in keywords(call), f'line {call.lineno}'


@pytest.mark.parametrize('name', EVERYTHING)
def test_functions_are_short(name):
    for node in ast.walk(EVERYTHING[name]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name != 'add_options':
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f'{node.name} has {length} lines'


@pytest.mark.parametrize('path', sorted(ROOT.glob('requirements*.txt')), ids=lambda path: path.name)
def test_every_requirement_says_what_it_is_for(path):
    lines = path.read_text(encoding='utf-8').splitlines()
    entries = [line for line in lines if line.strip() and not line.startswith(('#', '-'))]
    assert entries and all(re.search(r'\s#\s*\w', line) for line in entries)


# ---- names that stand in two places

def test_variants_offered_are_variants_built():
    assert set(catalog.NORMS) == set(networks.NORM_LAYERS)
    assert set(catalog.GAN_MODES) == set(losses.GAN_LOSSES)
    assert set(catalog.INIT_TYPES) == set(networks.INITIALISERS)
    assert set(PREPROCESS) == set(data.transforms.PREPROCESS)
    assert set(catalog.PATCH_LAYERS) | {'n_layers', 'pixel'} == set(catalog.NET_D)


@pytest.mark.parametrize('options', (TrainOptions, TestOptions))
def test_the_parser_offers_the_catalog(options):
    parser = options().build_parser([])
    choices = {action.dest: set(action.choices) for action in parser._actions if action.choices}
    assert choices['netD'] == set(catalog.NET_D) and choices['init_type'] == set(catalog.INIT_TYPES)
    assert choices['norm'] == {*catalog.NORMS, 'sync_batch', 'sync_instance'}
    assert choices['preprocess'] == set(PREPROCESS)
    if options is TrainOptions:
        assert choices['gan_mode'] == set(catalog.GAN_MODES)
        assert all(lr_multiplier(policy, 1, 1, 1, 1) == 1 for policy in choices['lr_policy'] - {'plateau'})


def test_generators_named_in_the_help_exist():
    names = re.findall(r'\b(?:resnet_\d+blocks|(?:unet|encdec)_\d+)\b', catalog.NET_G_HELP)
    assert len(names) >= 6
    for name in names:
        assert catalog.parse_netG(name)
