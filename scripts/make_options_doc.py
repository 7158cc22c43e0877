"""Write docs/options.md from the option tables of the programs, models and datasets.

    python scripts/make_options_doc.py
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import data
import models
from options import TestOptions, TrainOptions
from options.parser import ALIASES, REPLACED, OptionParser
from util.cli import Parser, run
from util.files import atomic_write

PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'options.md'
HEAD = '''# Options

Written by `python scripts/make_options_doc.py`; a test compares this page with the programs.

A default comes from the first of these that has one: the command line, the checkpoint (for `test.py` and
`--continue_train`), the dataset (`--dataset_mode`), the model (`--model`), the tables here. Beginnings of names are
accepted as long as they are unambiguous (`--batch 4`), and so is `--name=value`. `python train.py --help --model NAME`
shows the options and defaults of one model. Add a model or dataset: [extending.md](extending.md).
'''
TEST_HEAD = 'The images are taken in order and never mirrored, whatever `--serial_batches` and `--no_flip` say.\n'


def base_parser(program) -> OptionParser:
    parser = OptionParser()
    program().add_options(parser)
    return parser


def groups(parser) -> dict[str, list[argparse.Action]]:
    """The options of a parser by the titles of their groups."""
    return {group.title: group._group_actions for group in parser._action_groups if group._group_actions}


def own_options(registry, program, name: str) -> list[argparse.Action]:
    """What a model or dataset adds to the options of a program."""
    parser = program().build_parser([f'--{registry.option}', name])
    return groups(parser).get(f'of --{registry.option} {name}', [])


def changed_defaults(registry, program, name: str) -> dict:
    """Defaults of shared options that a model, with the dataset it chooses, or a dataset has in a program."""
    base = {action.dest: action.default for action in base_parser(program)._actions}
    if registry is data.registry:
        found = registry.declarations(name)['defaults']
    else:
        found = vars(program().build_parser([f'--{registry.option}', name]).parse_args([]))
    return {dest: found[dest] for dest in base
            if dest in found and found[dest] != base[dest] and dest != registry.option}


def as_text(value) -> str:
    if value in (None, '', []):
        return ''
    if isinstance(value, bool):
        return 'on' if value else 'off'
    return 'all' if value == float('inf') else f'`{value}`'


def default_of(action: argparse.Action) -> str:
    return 'off' if action.nargs == 0 else as_text(action.default)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    cells = [[cell.replace('|', '&#124;').replace('<', '&lt;') for cell in row] for row in rows]
    return [*(f'| {" | ".join(line)} |' for line in (head, ['---'] * len(head), *cells)), '']


def option_table(actions: list[argparse.Action]) -> list[str]:
    return table(['option', 'default', 'meaning'],
                 [[f'`{action.option_strings[0]}`', default_of(action), action.help] for action in actions])


def shared_options() -> list[str]:
    """The groups that both programs have; where test.py has another default, it follows that of train.py."""
    lines = ['## Both programs', '']
    test = base_parser(TestOptions)
    tested = {action.dest: as_text(action.default) for action in test._actions} | {'load_size': 'as `--crop_size`'}
    for title, actions in groups(base_parser(TrainOptions)).items():
        if title not in groups(test):
            continue
        rows = []
        for action in actions:
            default = default_of(action)
            other = f' (test.py: {tested[action.dest]})' if tested[action.dest] != as_text(action.default) else ''
            rows.append([f'`{action.option_strings[0]}`', default + other, action.help])
        lines += [f'### {title.capitalize()}', '', *table(['option', 'default', 'meaning'], rows)]
    return lines


def program_options(program, other, head: str = '') -> list[str]:
    """The groups that only one of the programs has."""
    shared = groups(base_parser(other))
    lines = [f'## `{program.program}` alone', '']
    if head:
        lines.append(head)
    for title, actions in groups(base_parser(program)).items():
        if title not in shared:
            lines += [f'### {title.capitalize()}', '', *option_table(actions)]
    return lines


def section(registry, name: str) -> list[str]:
    """What a model or dataset changes and adds, by program."""
    lines = [f'### `--{registry.option} {name}`', '']
    programs = [TestOptions] if (registry.option, name) == ('model', 'test') else [TrainOptions, TestOptions]
    changes = {program: changed_defaults(registry, program, name) for program in programs}
    dests = list(dict.fromkeys(dest for changed in changes.values() for dest in changed))
    if dests:
        rows = [[f'`--{dest}`', *(as_text(changes[program].get(dest)) for program in programs)] for dest in dests]
        lines += table(['other default of', *(f'`{program.program}`' for program in programs)], rows)
    options = {program: {action.dest: action for action in own_options(registry, program, name)}
               for program in programs}
    for where, actions in by_place(options).items():
        lines += [f'Own options ({where}):', '', *option_table(actions)]
    return lines if len(lines) > 2 else [*lines, 'No other defaults and no options of its own.', '']


def by_place(options: dict) -> dict[str, list[argparse.Action]]:
    """Own options by the programs that have them."""
    places = {}
    for actions in options.values():
        for dest, action in actions.items():
            where = ' and '.join(f'`{program.program}`' for program in options if dest in options[program])
            known = places.setdefault(where, [])
            known += [action] if dest not in [other.dest for other in known] else []
    return places


def older_names() -> list[str]:
    meant = {**ALIASES, **{old: ' '.join(new) for old, new in REPLACED.items()}}
    return ['## Older names', '', 'Accepted with a note.', '',
            *table(['older', "today's"], [[f'`{old}`', f'`{new}`'] for old, new in meant.items()])]


def document() -> str:
    """The whole page."""
    lines = [HEAD, *shared_options(), *program_options(TrainOptions, TestOptions),
             *program_options(TestOptions, TrainOptions, TEST_HEAD), '## Models', '']
    for name in models.registry.names():
        lines += section(models.registry, name)
    lines += ['## Datasets', '']
    for name in data.registry.names():
        lines += section(data.registry, name)
    return '\n'.join([*lines, *older_names()]).rstrip() + '\n'


def main(argv, console):
    parser = Parser(__doc__)
    parser.parse_args(argv)
    with atomic_write(PAGE) as file:
        file.write(document())
    print(f'wrote {PAGE}')


if __name__ == '__main__':
    sys.exit(run(main))
