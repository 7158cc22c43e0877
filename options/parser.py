"""An argument parser that reports all mistakes together, one sentence each."""
import argparse
import difflib
import math
import os
import re
from collections import defaultdict

from models import catalog
from util.console import note
from util.errors import UserError
from util.registry import nearest

# names from older command lines
ALIASES = {
    '--niter': '--n_epochs', '--niter_decay': '--n_epochs_decay', '--which_direction': '--direction',
    '--fineSize': '--crop_size', '--loadSize': '--load_size', '--resize_or_crop': '--preprocess',
    '--which_model_netG': '--netG', '--which_model_netD': '--netD', '--batchSize': '--batch_size',
    '--nThreads': '--num_threads', '--which_epoch': '--epoch', '--how_many': '--num_test',
    '--ntest': '--num_test', '--identity': '--lambda_identity', '--gpu': '--gpu_ids', '--resume': '--continue_train',
    '--device': '--gpu_ids',
    '--display_single_pane_ncols': '--display_ncols', '--gan_w': '--lambda_gan', '--vgg_w': '--lambda_vgg',
    '--recon_x_w': '--lambda_recon_x', '--recon_s_w': '--lambda_recon_s', '--recon_c_w': '--lambda_recon_c',
    '--recon_x_cyc_w': '--lambda_cyc',
}
# what other programs call it
ELSEWHERE = {
    'epochs': '--n_epochs and --n_epochs_decay', 'num_epochs': '--n_epochs and --n_epochs_decay',
    'learning_rate': '--lr', 'workers': '--num_threads', 'num_workers': '--num_threads', 'bs': '--batch_size',
    'data_dir': '--dataroot', 'data_path': '--dataroot', 'dataset_path': '--dataroot', 'root': '--dataroot',
    'size': '--load_size and --crop_size', 'image_size': '--load_size and --crop_size',
    'img_size': '--load_size and --crop_size', 'resolution': '--load_size and --crop_size',
    'gpus': '--gpu_ids', 'no_cuda': '--gpu_ids -1',
    'amp': '--precision bf16', 'fp16': '--precision bf16', 'bf16': '--precision bf16',
    'output_dir': '--checkpoints_dir in train.py, and --results_dir in test.py',
    'out_dir': '--checkpoints_dir in train.py, and --results_dir in test.py',
    'pretrained': '--init_from in train.py', 'weights': '--init_from in train.py', 'exp_name': '--name',
    'run_name': '--name', 'experiment': '--name', 'lambda_idt': '--lambda_identity',
    'lambda_cycle': '--lambda_A and --lambda_B', 'tensorboard': '--monitor tensorboard',
    'no_visdom': '--display_id -1',
}
LARGEST = 2**31 - 1     # the largest size or count that every library can handle
REPLACED = {
    '--no_lsgan': ['--gan_mode', 'vanilla'], '--skip_bad_images': ['--bad_images', 'skip'],
    '--align_data': ['--dataset_mode', 'aligned'], '--use_dropout': ['--dropout'],
}
GROWING = argparse._AppendAction, argparse._AppendConstAction, argparse._CountAction   # the default is their start
OLDER_VALUES = {('--lr_policy', 'lambda'): 'linear'}


def modernised(argv: list[str]) -> list[str]:
    """The command line with older option names replaced by current ones, with a note for each."""
    tokens = []
    for token in argv:
        name, equals, value = token.partition('=')
        previous = tokens[-1] if tokens else ''
        if name in REPLACED:
            tokens += REPLACED[name]
        elif (previous, token) in OLDER_VALUES:
            tokens.append(OLDER_VALUES[previous, token])
            note(f'{previous} {token} is an older name of {previous} {tokens[-1]}')
        else:
            tokens.append(ALIASES.get(name, name) + equals + value)
    old = {token.partition('=')[0] for token in argv} & {*ALIASES, *REPLACED}
    for name in sorted(old):
        new = ALIASES.get(name) or ' '.join(REPLACED[name])
        note(f'{name} is an older name of {new}')
    refuse_two_values(argv)
    return tokens


def current_option(name: str, value) -> tuple[str, object]:
    """The current name of an option and its value there: ('no_lsgan', True) -> ('gan_mode', 'vanilla')."""
    if name == 'use_dropout':
        return 'no_dropout', not value
    if name == 'device':        # a torch.device in files written for the reference; only on command lines another name
        return name, value
    if f'--{name}' in REPLACED and value is True:
        option, value = REPLACED[f'--{name}']
        return option.removeprefix('--'), value
    return ALIASES.get(f'--{name}', name).removeprefix('--'), value


def refuse_two_values(argv: list[str]):
    """A `UserError` if an older and the current name, or two older ones, give an option different values."""
    found = defaultdict(dict)       # {current name: {name as given: its value}}
    for token, following in zip(argv, [*argv[1:], ''], strict=False):
        name, equals, value = token.partition('=')
        if name in REPLACED:
            new, value = [*REPLACED[name], ''][:2]
        else:
            new, value = ALIASES.get(name, name), value if equals or following.startswith('--') else following
        found[new][name] = value
    problems = []
    for names in found.values():
        if len(set(names.values())) > 1:
            typed = [name if name in REPLACED else f'{name} {value}'.strip() for name, value in names.items()]
            problems.append(f'{" and ".join(typed)} give one option different values; drop one of them')
    if problems:
        raise UserError(*problems)


class OptionParser(argparse.ArgumentParser):
    """Accepts unambiguous prefixes of names; wrong values are collected in `problems`."""

    def __init__(self, **settings):
        super().__init__(add_help=False, formatter_class=HelpFormatter, **settings)
        self.problems = []
        self.argv = None        # the command line, for models that look at it to choose defaults

    def parse_known_args(self, args=None, namespace=None):
        return super().parse_known_args(self.argv if args is None else args, namespace)

    def error(self, message):
        switch = re.match(r"argument (\S+): ignored explicit argument '(.*)'", message)
        if switch:
            message = f'{switch[1]}={switch[2]}: the option takes no value; give {switch[1]} alone, or leave it out'
        raise UserError(*self.problems, re.sub(r'^argument ', '', message))

    def _get_value(self, action, arg_string):
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:
            self.problems.append(f'{action.option_strings[0]} {arg_string}: {error.message}')
            return action.default

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            name, choices = action.option_strings[0], ', '.join(action.choices)
            alone = f'; give {name} alone or with one of these, or leave it out' if action.nargs == '?' else ''
            self.problems.append(f'{name} {value} does not exist{nearest(str(value), action.choices)} '
                                 f'(there are: {choices}){alone}')

    def set_defaults(self, **values):
        """As in argparse; files written for the reference may set options under older names."""
        super().set_defaults(**dict(current_option(name, value) for name, value in values.items()))

    def refuse_unknown_defaults(self, owner: str, defaults: dict):
        """A `UserError` if a class has a default for an option that there is not, or one that it cannot have."""
        actions = {action.dest: action for action in self._actions}
        for name, value in defaults.items():
            action = actions.get(name)
            if action is None:
                raise UserError(f'{owner} has a default for {name}, but there is no such option'
                                f'{nearest(name, actions)}')
            if action.choices is not None and value not in action.choices:
                raise UserError(f'{owner} has the default {value} for {name}, which does not exist'
                                f'{nearest(str(value), action.choices)} (there are: {", ".join(action.choices)})')

    def add_older_name(self, old: str, new: str):
        """Accept `--old` for `--new`, if there is such an option here."""
        action = self._option_string_actions.get(f'--{new}')
        if action:
            self._option_string_actions[f'--{old}'] = action    # only here, so that it is not in the help

    def resolve_conflicts(self):
        """Options that are added from now on may have the name of one of ours, and replace it."""
        for group in (self, *self._action_groups):
            group.conflict_handler = 'resolve'

    def accept_any_value(self, *names: str):
        for action in self._actions:
            if action.dest in names:
                action.choices = None

    def peek(self, argv: list[str], *names: str) -> list:
        """The values of some options, before the rest of the command line can be understood."""
        values = self.parse_known_args(argv)[0]
        self.problems.clear()
        return [getattr(values, name) for name in names]

    def starts(self) -> dict:
        """What the values of options that may be given several times are added to."""
        return {action.dest: action.default for action in self._actions if isinstance(action, GROWING)}

    def parse_all(self, argv: list[str], elsewhere: dict[str, str], starts: dict) -> tuple[dict, set[str]]:
        """All values, and the names of those that were given; mistakes are added to `problems`.

        `elsewhere` describes options that exist, but not here: {'--lambda_L1': 'an option of train.py'}.
        """
        dests = [action.dest for action in self._actions if action.dest != 'help']
        untouched = {**dict.fromkeys(dests, object()), **starts}
        namespace = argparse.Namespace(**untouched)
        namespace, unknown = self.parse_known_args(argv, namespace)
        for token in unknown:
            self.problems += self.about_unknown(token, elsewhere, self.switch_before(token, argv))
        given = {dest for dest in dests if getattr(namespace, dest) is not untouched[dest]}
        defaults = {action.dest: self.converted_default(action) for action in self._actions}
        values = {dest: getattr(namespace, dest) if dest in given else defaults[dest] for dest in dests}
        return values, given

    def converted_default(self, action):
        """As in argparse, a default that is a text is converted like a word of the command line."""
        default = self.get_default(action.dest)
        return self._get_value(action, default) if isinstance(default, str) and action.option_strings else default

    def switch_before(self, token: str, argv: list[str]) -> str:
        """The option in front of a word, if it is one without a value, else ''."""
        place = argv.index(token) if token in argv else 0
        action = self._option_string_actions.get(argv[place - 1]) if place else None
        return argv[place - 1] if action is not None and action.nargs == 0 else ''

    def about_unknown(self, token: str, elsewhere: dict[str, str], switch: str) -> list[str]:
        name = token.partition('=')[0]
        if not name.startswith('--'):
            if token.lower() in ('true', 'false'):
                return [f'unexpected argument {token}: a switch takes no value; give its name alone, or leave it out']
            if switch:
                return [f'unexpected argument {token}: {switch} takes no value; drop {token}']
            return [] if self.problems_are_options() else [f'unexpected argument {token}; options begin with --']
        if name in elsewhere:
            return [f'{name} is {elsewhere[name]}; drop it here']
        return [unknown_option(name, [*self._option_string_actions, *elsewhere])]

    def problems_are_options(self) -> bool:
        """Was the last problem an unknown option, so that a word after it is only its value?"""
        return bool(self.problems) and re.search(r'^unknown option|^--\w+ is ', self.problems[-1]) is not None

    def add_table(self, title: str, table: dict[str, tuple]):
        """Add options from a table {name: (default, meaning[, valid values])}; a default of False makes a switch.

        One whose default is True is turned off with `--name False`.

        The valid values are words, or the smallest and largest whole number.
        """
        group = self.add_argument_group(title)
        for name, (default, meaning, *valid) in table.items():
            meaning = meaning.replace('%', '%%')        # argparse would insert values
            if f'--{name}' in self._option_string_actions:
                raise UserError(f'the options {title} have a --{name}, but there is such an option already; rename it')
            if default is False:
                group.add_argument(f'--{name}', action='store_true', help=meaning)
            elif default is True:
                group.add_argument(f'--{name}', default=True, help=meaning, type=boolean, metavar='True|False')
            elif isinstance(default, int):
                limits = valid[0] if valid else ()
                group.add_argument(f'--{name}', default=default, help=meaning, type=whole(*limits), metavar='N')
            elif isinstance(default, float):    # weights are never negative
                group.add_argument(f'--{name}', default=default, help=meaning, metavar='X',
                                   type=number(0) if name.startswith('lambda') else number())
            else:
                group.add_argument(f'--{name}', default=default, help=meaning, choices=valid[0] if valid else None,
                                   metavar='TEXT')


def unknown_option(name: str, known) -> str:
    """A sentence with the program that the option is from, if that is known, or the most similar option here."""
    option, names = name.removeprefix('--'), [word.removeprefix('--') for word in known]
    fork = catalog.fork_of(option)
    grouped = catalog.JOLIGEN.fullmatch(option)
    if option in ELSEWHERE:
        return f'unknown option {name}; here it is {ELSEWHERE[option]}'
    if fork:
        return f'unknown option {name}; it is an option of {fork}; there is none like it here, drop it'
    if grouped and not difflib.get_close_matches(option, names, n=1, cutoff=0.8):
        here = f'here it is --{grouped[2]}' if grouped[2] in names else 'there is none like it here, drop it'
        return f'unknown option {name}; it looks like an option of joliGEN; {here}'
    return f'unknown option {name}{nearest(option, names, "--")}'


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    def __init__(self, prog):
        super().__init__(prog, max_help_position=32, width=110)

    def _get_help_string(self, action):
        if action.default is None or action.default == '' or action.nargs == 0:
            return action.help
        return super()._get_help_string(action)


def whole(low: int | None = None, high: int = LARGEST, or_word: str = ''):
    """A whole number from `low` to `high`, or a word."""
    def convert(text):
        if or_word and text == or_word:
            return text
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or (low is not None and value < low) or value > high:
            limits = []
            if low is not None:
                limits.append(f'at least {low}')
            if high < LARGEST or (value is not None and value > high):
                limits.append(f'at most {high}')
            limit = f' of {" and ".join(limits)}' if limits else ''
            raise argparse.ArgumentTypeError(f'needs a whole number{limit}' + (f', or {or_word}' if or_word else ''))
        return value
    return convert


def number(low: float | None = None, above: float | None = None, below: float | None = None):
    """A finite number of at least `low`, or greater than `above`, and less than `below`."""
    def convert(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        ok = math.isfinite(value) and (low is None or value >= low) and (above is None or value > above)
        if not ok or (below is not None and value >= below):
            limits = {'of at least': low, 'above': above, 'below': below}
            words = ' and '.join(f'{word} {limit:g}' for word, limit in limits.items() if limit is not None)
            raise argparse.ArgumentTypeError(f'needs a finite number {words}'.strip())
        return value
    return convert


def boolean(text: str) -> bool:
    if text.lower() not in ('true', 'false'):
        raise argparse.ArgumentTypeError('needs True or False')
    return text.lower() == 'true'


def duration(text: str) -> float:
    """Seconds that a timer can measure; 0 for no limit."""
    value = number(0)(text)
    if value and not 0.001 <= value <= 1e6:
        raise argparse.ArgumentTypeError('needs 0, or a number from 0.001 to 1000000')
    return value


def names_of(known: tuple[str, ...]):
    """Words of `known`, separated by commas; 'none' only alone."""
    def convert(text):
        words = [word.strip() for word in text.split(',') if word.strip()]
        unknown = next((word for word in words if word not in known), None)
        if unknown is not None:
            raise argparse.ArgumentTypeError(f'{unknown} does not exist{nearest(unknown, known)} '
                                             f'(there are: {", ".join(known)})')
        if not words or ('none' in words and len(words) > 1):
            raise argparse.ArgumentTypeError('needs names separated by commas, or none alone')
        return ','.join(words)
    return convert


def file_name(text: str) -> str:
    """A word that is safe as part of a file name."""
    if not re.fullmatch(r'[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}', text):
        raise argparse.ArgumentTypeError('needs a name of letters, digits, "_", "-" and ".", at most 100, '
                                         'not starting with "."')
    return text


def domain_names(text: str) -> str:
    """Two names with a comma between them, or nothing."""
    names = [name.strip() for name in text.split(',')]
    if text and (len(names) != 2 or not all(names) or names[0] == names[1] or not text.isprintable()):
        raise argparse.ArgumentTypeError(f'{text!r}: give two different names, such as day,night')
    return ','.join(names)


def run_name(text: str) -> str:
    """A `file_name`; of a path, the error says how to give the folder."""
    try:
        return file_name(text)
    except argparse.ArgumentTypeError as error:
        folder, _, name = text.rstrip('/').rpartition('/')
        cure = f'; folders of runs are named with --checkpoints_dir {folder} --name {name}' if folder and name else ''
        raise argparse.ArgumentTypeError(f'{error}{cure}')


def place(text: str) -> str:
    """A path; `~` is the home folder, also where the shell does not say so."""
    return os.path.expanduser(text)


def device_list(text: str) -> str:
    """`-1` for the CPU, or numbers of GPUs, separated by commas; also `cpu`, `cuda`, `cuda:1`, and `mps` or `xpu`."""
    if re.fullmatch(r'mps|xpu(:\d+)?', text):
        return text
    if device := re.fullmatch(r'(?:cuda)(?::(\d+))?', text):
        text = device[1] or '0'
    text = '-1' if text == 'cpu' else text
    if not re.fullmatch(r'\s*-?\d+(\s*,\s*-?\d+)*\s*', text):
        raise argparse.ArgumentTypeError('needs -1 for the CPU, the number of a GPU, such as 0, or cpu, cuda:0, mps or '
                                         'xpu')
    numbers = [int(word) for word in text.split(',')]
    twice = next((number for number in numbers if number >= 0 and numbers.count(number) > 1), None)
    if twice is not None:
        raise argparse.ArgumentTypeError(f'names GPU {twice} twice; name each once')
    return text
