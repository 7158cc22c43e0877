"""Find a model or dataset class by the name of its file; no list is edited to add one.

`models/foo_model.py` with a class `FooModel` is `--model foo`. Upper case and underscores do not matter:
`cycle_gan` and `cyclegan` are one name.
"""
import ast
import difflib
import importlib
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
        path = self.folder / f'{self.resolve(name)}_{self.kind}.py'
        classes = [node for node in ast.parse(path.read_text(encoding='utf-8')).body
                   if isinstance(node, ast.ClassDef)]
        wanted = plain(path.stem)
        found = next((node for node in classes if plain(node.name) == wanted), None)
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
