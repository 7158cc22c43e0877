"""Find a model or dataset class by the name of its file; no list is edited to add one.

`models/foo_model.py` with a class `FooModel` is `--model foo`. Upper case and underscores do not matter:
`cycle_gan` and `cyclegan` are one name.
"""
import ast
import difflib
import importlib
import sys
from contextlib import contextmanager
from pathlib import Path

from util.errors import UserError

TABLES = ('defaults', 'test_defaults', 'options', 'train_options', 'test_options', 'presets', 'excludes')
# what the command line must know about a class; the meaning of each is explained in BaseModel and BaseDataset
FACTS = {'two_way': False, 'twin': False, 'own_networks': False, 'size_rule': 'generator', 'dataset_modes': (),
         'translates_only': False, 'translates_single': False, 'generator_alone': True, 'one_domain': False,
         'image_channels': (), 'fixed': ()}


def nearest(name: str, names, prefix: str = '') -> str:
    """'; did you mean X?' for the most similar name, or an empty string."""
    same = [known for known in names if known.lower() == name.lower()]
    found = same or difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f'; did you mean {prefix}{found[0]}?' if found else ''


@contextmanager
def replaced_modules(package: str, modules: dict):
    """Inside, imports find `modules`, {name: module}, in place of modules of `package`."""
    attributes = vars(sys.modules[package])
    before = {name: (sys.modules.get(f'{package}.{name}'), attributes.get(name)) for name in modules}
    for name, module in modules.items():
        sys.modules[f'{package}.{name}'] = attributes[name] = module
    try:
        yield
    finally:
        for name, (module, attribute) in before.items():
            put_back(sys.modules, f'{package}.{name}', module)
            put_back(attributes, name, attribute)


def put_back(table: dict, name: str, value):
    if value is None:
        del table[name]
    else:
        table[name] = value


class Registry:
    """The classes of one package: files `<name>_<kind>.py` with a class `<Name><Kind>` each."""

    def __init__(self, package: str, kind: str, option: str):
        self.package, self.kind, self.option = package, kind, option
        self.folder = Path(__file__).resolve().parents[1] / package

    def names(self) -> list[str]:
        ending = f'_{self.kind}.py'
        files = (path.name.removesuffix(ending) for path in self.folder.glob(f'*{ending}'))
        return sorted(name for name in files if name != 'base')

    def resolve(self, name: str) -> str:
        """The file's own spelling of `name`; a `UserError` with the nearest and all valid names otherwise."""
        spelling = {plain(known): known for known in self.names()}
        if plain(name) not in spelling:
            raise UserError(f'--{self.option} {name} does not exist{nearest(name, self.names())} '
                            f'(there are: {", ".join(self.names())})')
        return spelling[plain(name)]

    def is_older(self, name: str) -> bool:
        """Is the class of `name` written for the reference: does it take `opt` alone, or add options itself?"""
        node, _ = self.class_of(name)
        methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)} if node else {}
        native = {'updates', 'load'} & methods.keys() or (node and 'self.minimize(' in ast.unparse(node))
        if native:
            return False
        if self.kind == 'model' and '__init__' in methods:
            return len(methods['__init__'].args.args) == 2
        return bool({'modify_commandline_options', 'initialize', 'optimize_parameters', '__getitem__'} & methods.keys())

    def load_older(self, name: str) -> type:
        """The class of a file written for the reference."""
        adapter = importlib.import_module(f'{self.package}.reference_adapter')
        with adapter.older_modules():
            return self.load(name)

    def load(self, name: str) -> type:
        """Import the file of `name` and return its class."""
        name = self.resolve(name)
        module = importlib.import_module(f'{self.package}.{name}_{self.kind}')
        wanted = plain(f'{name}{self.kind}')
        for attribute, value in vars(module).items():
            if plain(attribute) == wanted and isinstance(value, type):
                return value
        raise UserError(f'{module.__file__} has no class named like {name}{self.kind} '
                        f'(upper case and underscores do not matter); rename its class')

    def declarations(self, name: str) -> dict[str, dict]:
        """Option tables and facts of a class, bases included, read from its file without importing it.

        So help and mistakes on the command line are answered at once, not after torch is loaded.
        """
        found, path = self.class_of(name)
        tables = {**{table: {} for table in TABLES}, **FACTS}
        if found is None:
            return tables
        for base in found.bases:
            self._inherit(tables, base)
        for node in found.body:
            name = getattr(node.targets[0], 'id', None) if isinstance(node, ast.Assign) else None
            if name in TABLES:
                tables[name].update(literal(node.value, path))
            elif name in FACTS:
                tables[name] = literal(node.value, path)
        return tables

    def class_of(self, name: str) -> tuple:
        """The syntax tree of a class, None if its file has none, and the file."""
        path = self.folder / f'{self.resolve(name)}_{self.kind}.py'
        nodes = ast.parse(path.read_text(encoding='utf-8')).body
        classes = [node for node in nodes if isinstance(node, ast.ClassDef) and plain(node.name) == plain(path.stem)]
        return (classes[0] if classes else None), path

    def _inherit(self, tables, base):
        base_name = plain(getattr(base, 'id', '')).removesuffix(self.kind)
        for known in self.names():
            if plain(known) == base_name:
                for table, value in self.declarations(known).items():
                    tables[table] = {**tables[table], **value} if isinstance(value, dict) else value


def literal(node: ast.expr, path: Path):
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise UserError(f'{path}, line {node.lineno}: option tables and facts must be plain '
                        f'literals, because they are read without running the file')


def plain(name: str) -> str:
    return name.replace('_', '').lower()
