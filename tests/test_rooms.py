"""Which room may import which: one table, read from the source. Also: no import circles, and small rooms."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('util', 'models', 'data', 'options')
PROGRAMS = ('train.py', 'test.py')
TOOLS = ('scripts', 'datasets')
MOST_FILES = 12

# Room: the rooms it may import from, besides itself. A room is a folder, or a file with rules of its own.
GROUND = {'util'}
MACHINE = GROUND | {'util/machine'}
RUN = MACHINE | {'util/checkpoint', 'util/monitors', 'util/monitors/live_page', 'util/results'}
NETS = MACHINE | {'models/nets', 'models/catalog.py'}
MODELS = RUN | NETS | {'models', 'models/training'}
DATA = MACHINE | {'data', 'data/loading', 'data/checking'}
LAYERS = {
    'util': set(),
    'util/machine': GROUND,
    'util/checkpoint': MACHINE,
    'util/monitors': MACHINE | {'util/monitors/live_page'},
    'util/monitors/live_page': MACHINE | {'util/monitors'},
    'util/results': MACHINE,
    'models/catalog.py': set(),
    'models/nets': NETS,
    'models/training': RUN | NETS,
    'models/experimental': MODELS,
    'models': MODELS,
    'models/__init__.py': MODELS | {'models/experimental'},
    'data': DATA,
    'data/loading': DATA,
    'data/checking': DATA,
    'options': MACHINE | {'util/checkpoint', 'models/catalog.py', 'models/__init__.py', 'data/__init__.py'},
}
# paths that the field knows, which only pass on names from a room above
PASSED_ON = {'util/visualizer.py'}


def shipped():
    """{name relative to the root: syntax tree} of the packages and the two programs."""
    paths = [ROOT / name for name in PROGRAMS] + [path for folder in PACKAGES for path in (ROOT / folder).rglob('*.py')]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding='utf-8')) for path in sorted(paths)}


FILES = shipped()


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
    counted = [name for name in files if not name.endswith(('_model.py', '_dataset.py'))]
    assert len(counted) <= MOST_FILES, counted
    assert ast.get_docstring(ast.parse((room / '__init__.py').read_text(encoding='utf-8'))), 'says what the room owns'


MODEL_NAMES = ('munit', 'cyclegan', 'pix2pix', 'colorization')


@pytest.mark.parametrize('name', [name for name in FILES if not name.startswith('models/')])
def test_no_model_is_named_outside_models(name):
    """What others must know about a model is a literal on its class. Docstrings may give examples."""
    docstrings = {node.body[0].value for node in ast.walk(FILES[name])
                  if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)}
    for node in ast.walk(FILES[name]):
        texts = [getattr(node, attribute, None) for attribute in ('id', 'attr', 'arg', 'name', 'value')]
        words = ' '.join(text for text in texts if isinstance(text, str)).lower().replace('_', '')
        if node not in docstrings:
            assert not [model for model in MODEL_NAMES if model in words], f'line {getattr(node, "lineno", "?")}: {words}'
