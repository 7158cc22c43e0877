"""Find a model or dataset class by the name of its file; no list is edited to add one.

`models/foo_model.py` with a class `FooModel` is `--model foo`. Upper case and underscores do not matter:
`cycle_gan` and `cyclegan` are one name.
"""
import ast
import difflib
import importlib
import re
import sys
import traceback
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from util.errors import UserError

TABLES = ('defaults', 'test_defaults', 'options', 'train_options', 'test_options', 'presets', 'excludes')
# what the command line must know about a class; the meaning of each is explained in BaseModel and BaseDataset
FACTS = {'two_way': False, 'twin': False, 'own_networks': False, 'size_rule': 'generator', 'dataset_modes': (),
         'netG_families': (), 'same_channels': False, 'preset_option': 'preset',
         'translates_only': False, 'translates_single': False, 'generator_alone': True, 'one_domain': False,
         'image_channels': (), 'fixed': (), 'older_names': (), 'older': False, 'translation': 'generator',
         'size_multiple': 1, 'smallest_side': 1}
# what a class written for the reference has, and none of ours
OLDER_METHODS = {'modify_commandline_options', 'initialize', 'optimize_parameters', '__getitem__', 'backward',
                 'backward_G', 'backward_D', 'backward_D_basic', 'backward_D_A', 'backward_D_B', 'compute_visuals',
                 'setup', 'test', 'save_networks', 'load_networks', 'print_networks'}
# what the constructor of a dataset uses that was written for the reference
OLDER_DATASET = re.compile(r'\w\.__init__\(self|self\.(opt|root|AB_paths|dir_\w+|[AB]_size|transform|(in|out)put_nc)\b')


def nearest(name: str, names, prefix: str = '') -> str:
    """'; did you mean X?' for the most similar name, or an empty string."""
    found = similar(name, names)
    return f'; did you mean {prefix}{found}?' if found else ''


def similar(name: str, names) -> str:
    """The name that was probably meant: equal but for upper case, or a few letters away; '' if there is none."""
    same = [known for known in names if known.lower() == name.lower()]
    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    found = same or [known for known in close if edits(name.lower(), known.lower()) <= max(2, len(name) // 3)]
    return found[0] if found else ''


def edits(one: str, other: str) -> int:
    """The letters to insert, remove or replace to make one word of the other (Levenshtein distance)."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        previous, row = row, [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (letter != wanted)))
    return row[-1]


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


@lru_cache(256)
def parsed(path: Path, _version: int) -> list:
    """The statements of a file, read once for each version of it: a command line asks for all models several times."""
    source = path.read_text(encoding='utf-8')
    try:
        return ast.parse(source).body
    except SystemError:     # of CPython 3.11 (gh-106905), if another thread parses at the same time
        return ast.parse(source).body


class Registry:
    """The classes of one package: files `<name>_<kind>.py` with a class `<Name><Kind>` each.

    Without a `kind`, files `<name>.py` with a class `<Name>` each; those of `ours` have other content. A mistake in a
    file that is not among `ours` is reported as one of the user. `renamed` gives the current names for older ones.
    """

    def __init__(self, package: str, kind: str, option: str, ours=(), renamed=None):
        self.package = package
        self.kind = kind
        self.option = option
        self.ours = ours
        self.renamed = renamed or {}
        self.folder = Path(__file__).resolve().parents[1] / package.replace('.', '/')
        self.ending = f'_{kind}' if kind else ''        # of file names, before .py

    def names(self) -> list[str]:
        ending = f'{self.ending}.py'
        files = {path.name.removesuffix(ending) for path in self.folder.glob(f'*{ending}')}
        return sorted(files - ({'base'} if self.kind else {'__init__', *self.ours}))

    def readable_names(self) -> list[str]:
        """Names of the files without a syntax error, for questions about all of them."""
        readable = []
        for name in self.names():
            try:
                self.declarations(name)
                readable.append(name)
            except UserError:
                continue
        return readable

    def resolve(self, name: str) -> str:
        """The file's own spelling of `name`; a `UserError` with the nearest and all valid names otherwise."""
        name = self.renamed.get(name, name)
        spelling = {plain(known): known for known in self.names()}
        if plain(name) not in spelling:
            alone = re.sub(rf'(?i){self.ending}(\.py)?$|{self.kind}$', '', Path(name).name) if self.kind else name
            raise UserError(f'--{self.option} {name} does not exist{nearest(alone, self.names())} '
                            f'(there are: {", ".join(self.names())})')
        return spelling[plain(name)]

    def is_older(self, name: str) -> bool:
        """Is the class of `name` written for the reference: does it take `opt` alone, or add options itself?"""
        name = self.resolve(name)
        if name in self.ours:
            return False
        node, _ = self.class_of(name)
        methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)} if node else {}
        native = {'updates', 'load'} & methods.keys() or (node and 'self.minimize(' in ast.unparse(node))
        if native:
            return False
        if self.kind == 'model' and '__init__' in methods:
            return self.is_older_constructor(methods['__init__'])
        if OLDER_METHODS & methods.keys() or ('__init__' in methods and self.is_older_constructor(methods['__init__'])):
            return True
        return any(self.is_older(base) for base in self.bases_of(node))

    def has_older(self) -> bool:
        """Is there a file written for the reference, which adds its options when it runs?"""
        return any(map(self.is_older, self.readable_names()))

    def is_older_constructor(self, method) -> bool:
        """Does it take `opt` alone, which in a native model is not enough, or use what a native dataset has not?"""
        if self.kind == 'model':
            return len(method.args.args) - len(method.args.defaults) == 2
        return OLDER_DATASET.search(ast.unparse(method)) is not None

    def bases_of(self, node) -> list[str]:
        """Names of the classes that a class extends, as far as they have files here."""
        names = {plain(f'{name}{self.kind}'): name for name in self.names()}
        bases = [plain(ast.unparse(base).rpartition('.')[2]) for base in (node.bases if node else ())]
        return [names[base] for base in bases if base in names]

    def load_older(self, name: str) -> type:
        """The class of a file written for the reference."""
        adapter = importlib.import_module(f'{self.package}.reference_adapter')
        with adapter.older_modules():
            return self.load(name)

    def load(self, name: str) -> type:
        """Import the file of `name` and return its class."""
        name = self.resolve(name)
        module = self.import_file(name)
        wanted = plain(f'{name}{self.kind}')
        for attribute, value in vars(module).items():
            if plain(attribute) == wanted and isinstance(value, type):
                return value
        raise UserError(self.no_class(module.__file__))

    def no_class(self, path) -> str:
        return (f'{path} has no class named like {Path(path).stem.replace("_", "")} (upper case and underscores do not '
                f'matter); rename its class')

    def import_file(self, name: str):
        module_name = f'{self.package}.{name}{self.ending}'
        if name in self.ours:
            return importlib.import_module(module_name)
        path = self.folder / f'{name}{self.ending}.py'
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            raise UserError(mistake_in([str(path)], error) or f'{path}: {type(error).__name__}: {error}') from error
        module.written_by_user = True
        return module

    def declarations(self, name: str) -> dict[str, dict]:
        """Option tables and facts of a class, bases included, read from its file without importing it.

        So help and mistakes on the command line are answered at once, not after torch is loaded.
        """
        found, path = self.class_of(name)
        tables = {**{table: {} for table in TABLES}, **FACTS, 'own_generator': False}
        if found is None:       # the class may be imported from elsewhere
            if f'{plain(path.stem)}' not in plain(path.read_text(encoding='utf-8')):
                raise UserError(self.no_class(path))
            return tables
        if self.is_older(name):     # it adds options itself
            own_networks = 'define_G(' not in ast.unparse(found) and not set(self.bases_of(found)) & set(self.ours)
            return {**tables, 'older': True, 'size_rule': 'none' if own_networks else 'generator'}
        for base in self.bases_of(found):
            self._inherit(tables, base)
        for node in found.body:
            tables['own_generator'] |= isinstance(node, ast.FunctionDef) and node.name == 'define_G'
            name = getattr(node.targets[0], 'id', None) if isinstance(node, ast.Assign) else None
            if name in TABLES:
                tables[name].update(table_of(node.value, path, options='options' in name))
            elif name in FACTS:
                tables[name] = literal(node.value, path)
                if not is_fact(tables[name], FACTS[name]):
                    form = 'True or False' if isinstance(FACTS[name], bool) else 'a whole number of at least 1'
                    raise UserError(f'{path}, line {node.lineno}: {name} must be {form}')
        return tables

    def class_of(self, name: str) -> tuple:
        """The syntax tree of a class, None if its file has none, and the file."""
        path = self.folder / f'{self.resolve(name)}{self.ending}.py'
        try:
            nodes = parsed(path, path.stat().st_mtime_ns)
        except (SyntaxError, ValueError) as error:
            raise UserError(f'{path}, line {getattr(error, "lineno", "?")}: {type(error).__name__}: {error.args[0]}')
        classes = [node for node in nodes if isinstance(node, ast.ClassDef) and plain(node.name) == plain(path.stem)]
        return (classes[0] if classes else None), path

    def _inherit(self, tables, base):
        for table, value in self.declarations(base).items():
            tables[table] = {**tables[table], **value} if isinstance(value, dict) else value


def mistake_in(files, error: BaseException) -> str:
    """'<file>, line <n>: <error>' for an error that was raised below the code of one of `files`; else ''."""
    if isinstance(error, SyntaxError) and error.filename in files:
        return f'{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}'
    # as text, because the error of a worker process has the original traceback in its message only
    text = ''.join(traceback.format_exception(error)).rstrip()
    places = [(file, line) for file, line in re.findall(r'File "(.+?)", line (\d+)', text) if file in files]
    if not places:
        return ''
    return f'{places[-1][0]}, line {places[-1][1]}: {text.splitlines()[-1]}'


def literal(node: ast.expr, path: Path):
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise UserError(f'{path}, line {node.lineno}: option tables and facts must be plain '
                        f'literals, because they are read without running the file')


def is_fact(value, default) -> bool:
    """Can a fact have this value? Switches, and numbers from 1, are checked."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    return not isinstance(default, int) or (type(value) is int and value >= 1)


def table_of(node: ast.expr, path: Path, options: bool) -> dict:
    """A table of `TABLES`; with `options`, one of {name: (default, meaning[, valid values])}."""
    table = literal(node, path)
    form = "{'name': (default, 'meaning')}" if options else "{'name': value}"
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table):
        raise UserError(f'{path}, line {node.lineno}: this table must be {form}')
    wrong = next((name for name, row in table.items() if options and not is_option(name, row)), None)
    if wrong is not None:
        raise UserError(f'{path}, line {node.lineno}: the option {wrong!r} must be {form}, with a default that is a '
                        f'number, a text, True or False')
    return table


def is_option(name: str, row) -> bool:
    return (name.isidentifier() and name != 'help' and isinstance(row, tuple) and len(row) in (2, 3)
            and isinstance(row[0], (bool, int, float, str)) and isinstance(row[1], str))


def plain(name: str) -> str:
    return name.replace('_', '').lower()
