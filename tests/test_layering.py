"""The rules of the house, read from the source: who may import whom, what is forbidden, and names that must agree."""
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import data
import data.transforms
import models
from models import catalog, losses, networks
from models.training.schedule import lr_multiplier
from options import TestOptions, TrainOptions
from options.base_options import PREPROCESS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('data', 'models', 'options', 'util')
TOOLS = ('scripts', 'datasets')
WITHOUT_TORCH = ('options', 'options.parser', 'options.rules', 'options.restore', 'models', 'models.catalog',
                 'models.metrics', 'models.translation.place', 'data', 'util.cli', 'util.registry', 'util.files',
                 'util.checkpoint.layout', 'train', 'test')
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


# ---- rooms

MOST_FILES = 12
PROGRAMS = ('train.py', 'test.py')

# Room: the rooms it may import from, besides itself. A room is a folder, or a file with rules of its own.
GROUND = {'util', 'util/places', 'util/raster'}
MACHINE = GROUND | {'util/machine'}
RUN = MACHINE | {'util/checkpoint', 'util/monitors', 'util/monitors/live_page', 'util/results'}
PARTS = MACHINE | {'models/nets', 'models/catalog.py'}
NETS = PARTS | {'models/nets/methods'}
METRICS = {'models/metrics', 'models/metrics/__init__.py'}
TRAINING = RUN | NETS | METRICS | {'models/validation'}
MODELS = TRAINING | {'models', 'models/training'}
DATA = MACHINE | {'data', 'data/loading', 'data/checking'}
LAYERS = {
    'util': set(),
    'util/places': {'util'},
    'util/raster': {'util', 'util/places'},
    'util/machine': GROUND,
    'util/checkpoint': MACHINE,
    'util/monitors': MACHINE | {'util/monitors/live_page'},
    'util/monitors/live_page': MACHINE | {'util/monitors'},
    'util/results': MACHINE,
    'models/catalog.py': GROUND,
    'models/nets': PARTS,
    'models/nets/methods': PARTS,
    'models/validation': RUN | NETS | METRICS,
    'models/training': TRAINING,
    'models/experimental': MODELS,
    'models/translation': RUN | NETS,
    'models/metrics': RUN | NETS | METRICS,
    'models/exporting': RUN | NETS | {'models/translation'},
    'models': MODELS | {'models/translation'},
    'models/__init__.py': MODELS | {'models/experimental', 'models/translation'},
    'data': DATA,
    'data/__init__.py': DATA,
    'data/loading': DATA,
    'data/checking': DATA,
    'models/metrics/__init__.py': GROUND | {'models/metrics'},
    'options': MACHINE | {'util/checkpoint', 'models/catalog.py', 'models/__init__.py', 'models/metrics/__init__.py',
                          'data/__init__.py'},
}
# paths that the field knows, which only pass on names from a room above
PASSED_ON = {'util/visualizer.py', 'util/get_data.py'}


FILES = {name: tree for name, tree in SHIPPED.items() if name.partition('/')[0] in (*PROGRAMS, *PACKAGES)}


def file_of(module: str) -> str | None:
    """The file of a module of ours: 'util.cli' -> 'util/cli.py', 'data' -> 'data/__init__.py'."""
    path = module.replace('.', '/')
    return next((name for name in (f'{path}.py', f'{path}/__init__.py') if name in FILES), None)


def imports_of(name: str) -> set[str]:
    """Files of ours that a file imports, at its top or in a function."""
    package = name.rpartition('/')[0].replace('/', '.')
    found = set()
    for node in ast.walk(FILES[name]):
        if isinstance(node, ast.Import):
            found |= {file_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = package.rsplit('.', node.level - 1)[0] if node.level else ''
            module = '.'.join(filter(None, [parent, node.module]))
            found |= {file_of(f'{module}.{alias.name}') or file_of(module) for alias in node.names}
    return found - {None, name}


def room_of(name: str) -> str:
    return name if name in LAYERS else name.rpartition('/')[0]


@pytest.mark.parametrize('name', [name for name in FILES if name not in PROGRAMS and name not in PASSED_ON])
def test_a_room_imports_from_the_rooms_below(name):
    room = room_of(name)
    allowed = LAYERS[room] | {room, room.rpartition('/')[0] if room.endswith('.py') else room}
    above = {imported for imported in imports_of(name) if room_of(imported) not in allowed}
    assert not above


def test_the_trainer_knows_no_model_file():
    for name in FILES:
        if name.startswith(('models/training/', 'models/nets/')):
            assert not [imported for imported in imports_of(name) if imported.endswith('_model.py')], name


def test_nobody_imports_the_programs():
    for name in FILES:
        assert not imports_of(name) & set(PROGRAMS), name


def test_there_are_no_import_circles():
    """Not even through imports inside functions: each file can be read, and tested, from the bottom up."""
    graph = {name: imports_of(name) for name in FILES}
    while True:
        leaves = {name for name, imported in graph.items() if not imported & graph.keys()}
        if not leaves:
            break
        graph = {name: imported for name, imported in graph.items() if name not in leaves}
    circles = {name: sorted(imported & graph.keys()) for name, imported in graph.items()}
    assert circles == {}


@pytest.mark.parametrize('room', sorted({path.parent for folder in PACKAGES for path in (ROOT / folder).rglob('*.py')}))
def test_a_room_is_small(room):
    """Files that are found by their names (`*_model.py`, `*_dataset.py`) are not counted: anyone adds one."""
    files = [path.name for path in room.glob('*.py') if path.name != '__init__.py']
    passed_on = {(ROOT / name).name for name in PASSED_ON if (ROOT / name).parent == room}
    counted = [name for name in files if not name.endswith(('_model.py', '_dataset.py')) and name not in passed_on]
    assert len(counted) <= MOST_FILES, counted
    assert ast.get_docstring(ast.parse((room / '__init__.py').read_text(encoding='utf-8'))), 'says what the room owns'


# ---- model names

MODEL_NAMES = ('munit', 'cyclegan', 'pix2pix')      # `colorization` is a dataset mode, too
WANDB_PROJECT = 'CycleGAN-and-pix2pix'              # a default of the reference


@pytest.mark.parametrize('name', [name for name in FILES if not name.startswith('models/')])
def test_no_model_is_named_outside_models(name):
    """What others must know about a model is a literal on its class. Docstrings may give examples."""
    docstrings = {node.body[0].value for node in ast.walk(FILES[name])
                  if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)}
    for node in ast.walk(FILES[name]):
        texts = [getattr(node, attribute, None) for attribute in ('id', 'attr', 'arg', 'name', 'value')]
        words = ' '.join(text for text in texts if isinstance(text, str)).lower().replace('_', '')
        if node not in docstrings and WANDB_PROJECT not in texts:
            assert not [model for model in MODEL_NAMES if model in words], f'line {getattr(node, "lineno", "?")}'


def test_networks_and_losses_know_no_options():
    for name in ('models/networks.py', 'models/losses.py', 'models/training/schedule.py', 'util/image_pool.py'):
        names = {node.id for node in ast.walk(SHIPPED[name]) if isinstance(node, ast.Name)}
        arguments = {node.arg for node in ast.walk(SHIPPED[name]) if isinstance(node, ast.arg)}
        assert 'opt' not in names | arguments, name


def test_answers_on_the_command_line_do_not_wait_for_torch():
    script = f'import sys\nfor name in {WITHOUT_TORCH}:\n    __import__(name)\nprint("torch" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ('False', '')


def test_a_step_can_be_read_in_one_go():
    """From the batch to the weights: the files of the longest model, and how many lines they have."""
    way = ['models/cyclegan_model.py', 'models/base_model.py', 'models/losses.py', 'models/training/trainer.py',
           'models/training/optimizer.py', 'models/training/guard.py']
    assert sum(len((ROOT / name).read_text(encoding='utf-8').splitlines()) for name in way) <= 700
    assert len((ROOT / 'train.py').read_text(encoding='utf-8').splitlines()) <= 120


# ---- what is forbidden

def test_no_condition_prints():
    """A question has no effect: what an `if` calls does not warn, note, say or print."""
    functions = [node for tree in SHIPPED.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    answering = [function for function in functions
                 if any(isinstance(node, ast.Return) and node.value for node in ast.walk(function))]
    speaking = {function.name for function in answering
                if {'warn', 'note', 'say', 'print'} & {name for name, _ in calls(function)}}
    for name, tree in SHIPPED.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.If, ast.While, ast.IfExp)):
                called = {call_name.rpartition('.')[2] for call_name, _ in calls(node.test)}
                assert not called & speaking, f'{name}, line {node.lineno}'


@pytest.mark.parametrize('name', SHIPPED)
def test_there_are_no_puzzles(name):
    """No expression used as a statement for its effect, and no arithmetic with truth values and texts."""
    for node in ast.walk(SHIPPED[name]):
        line = f'line {getattr(node, "lineno", "?")}'
        if isinstance(node, ast.Expr):
            assert not isinstance(node.value, (ast.IfExp, ast.BoolOp, ast.Compare)), line
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            sides = (node.left, node.right)
            texts = [isinstance(side, (ast.JoinedStr, ast.List, ast.Tuple))
                     or isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides]
            truths = [isinstance(side, (ast.Compare, ast.BoolOp)) or ast.unparse(side).startswith(('not ', 'bool('))
                      for side in sides]
            assert not (any(texts) and any(truths)), line


@pytest.mark.parametrize('name', SHIPPED)
def test_one_assignment_sets_one_thing(name):
    """`a, b, c = 1, 2, 3` hides what belongs together. Groups of constants of a module or class are fine."""
    for function in ast.walk(SHIPPED[name]):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
                    several = [target for target in node.targets if isinstance(target, ast.Tuple)]
                    assert not several or len(node.value.elts) <= 2, f'line {node.lineno}'


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


# ---- names that are in two places

@pytest.mark.parametrize('registry', [models.registry, data.registry], ids=('models', 'datasets'))
def test_the_registry_knows_what_is_shipped(registry):
    ending = f'_{registry.kind}.py'
    files = {path.name.removesuffix(ending) for path in (ROOT / registry.package).glob(f'*{ending}')} - {'base'}
    assert set(registry.ours) == files


def test_networks_of_ones_own_are_those_that_are_not_ours():
    files = {path.stem for path in (ROOT / 'models' / 'nets').glob('*.py')} - {'__init__'}
    assert set(catalog.own_nets.ours) == files and catalog.own_nets.names() == []


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
