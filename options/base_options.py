"""Options of train.py and test.py alike, and how a command line becomes read-only options.

Precedence: shared defaults < the model's < the dataset's < the checkpoint's < the command line.
"""
import argparse
import os
import re
import sys
from pathlib import Path

import data
import models
from models import catalog
from util.checkpoint import layout
from util.console import MESSAGES, Console, note, say, warn
from util.errors import UserError
from util.files import atomic_write, move_aside

from . import rules
from .image_options import add_image_options, dataroot_of, joined
from .parser import (
    ALIASES,
    OptionParser,
    current_option,
    device_list,
    domain_names,
    duration,
    file_name,
    modernised,
    number,
    place,
    run_name,
    unknown_option,
    whole,
)
from .restore import changes, contradictions

PREPROCESS = ('resize_and_crop', 'crop', 'scale_width', 'scale_width_and_crop', 'none', 'resize', 'scale_shortside',
              'scale_shortside_and_crop')

# options whose values a file written for the reference may extend
VALUES_OF_FILES = {'model': ('netG', 'netD', 'norm', 'init_type', 'gan_mode'), 'dataset': ('preprocess',)}

NUM_TEST = 50       # the default of the reference, for scripts that count with it
WANDB_PROJECT = 'CycleGAN-and-pix2pix'      # the default of the reference


class Options:
    """Read-only options: `opt.batch_size`. `opt.given` are the names given on the command line."""

    def __init__(self, values: dict, given=()):
        object.__setattr__(self, '_values', dict(values))
        object.__setattr__(self, 'given', frozenset(given))

    def __getattr__(self, name):
        try:
            return self.__dict__['_values'][name]
        except KeyError:
            raise AttributeError(f'there is no option {name}') from None

    def __setattr__(self, name, value):
        raise AttributeError(f'options are read-only after parsing; make a copy with opt.replace({name}=...)')

    def as_dict(self) -> dict:
        return dict(self._values)

    def replace(self, **changes) -> 'Options':
        """A copy with other values."""
        return Options({**self._values, **changes}, self.given)

    def writable(self) -> 'WritableOptions':
        """A copy that can be changed, for model files and scripts written for the reference."""
        return WritableOptions(self._values, self.given)


class WritableOptions(argparse.Namespace):
    """Options that a script may assign, `opt.num_threads = 0`; older names, `opt.fineSize`, can be read too."""

    def __init__(self, values: dict, given=()):
        vars(self).update(values, given=frozenset(given))

    def __setattr__(self, name, value):
        if name not in vars(self):
            name, value = current_option(name, value)
        super().__setattr__(name, value)

    def __getattr__(self, name):
        option, value = current_option(name, True)
        if option in vars(self):
            return getattr(self, option) if f'--{name}' in ALIASES else getattr(self, option) == value
        raise AttributeError(f'there is no option {name}')

    def frozen(self) -> Options:
        """The options as they are now, for our own code."""
        values = dict(vars(self))
        given = values.pop('given')
        if isinstance(self.gpu_ids, list):
            values['gpu_ids'] = ','.join(map(str, self.gpu_ids)) or '-1'
        return Options(values, given)


class BaseOptions:
    """The parser that TrainOptions and TestOptions share and extend."""

    is_train = None     # set by the sub-classes, and so is `program`
    program = ''
    for_script = False  # options of a script written for the reference

    def add_options(self, parser):
        """Options of both programs; sub-classes add their own."""
        group = parser.add_argument_group('run')
        group.add_argument('--dataroot', type=place, metavar='DIR', help='folder of the images, or tars of them such as shards/{000..099}.tar (required)')
        group.add_argument('--name', type=run_name, default='experiment_name', help='name of the run: a sub-folder of --checkpoints_dir')
        group.add_argument('--gpu_ids', type=device_list, default='0', help='number of the GPU, -1 for the CPU, or mps or xpu; default: GPU 0 if there is one')
        group.add_argument('--checkpoints_dir', type=place, metavar='DIR', default='./checkpoints', help='folder of all runs')
        group.add_argument('--cpu_threads', type=whole(0, 1024), default=0, help='CPU threads for computing; 0: one for each core')
        group.add_argument('--precision', default='auto', choices=('auto', 'fp32', 'tf32', 'bf16'), metavar='HOW', help='compute precision: fp32, tf32, bf16 (half the time, see docs/performance.md); auto: tf32 on GPUs that support it, else fp32')
        group.add_argument('--seed', type=whole(0, 2**63 - 1), default=None, help='seed of all random numbers (default: drawn and printed in training, 0 in tests)')
        group.add_argument('--deterministic', action='store_true', help='two runs on one machine are equal to the last bit; slower on a GPU')
        group.add_argument('--verbose', action='store_true', help='print the structure of the networks, and tracebacks')
        group.add_argument('--suffix', default='', help="appended to --name, with options in braces: --suffix '{model}_{netG}_size{load_size}'")
        group.add_argument('--use_wandb', action='store_true', help='log to Weights & Biases too')
        group.add_argument('--wandb_project_name', default=WANDB_PROJECT, help='project in Weights & Biases')

        group = parser.add_argument_group('model')
        group.add_argument('--model', default=catalog.DEFAULT_MODEL, help=f'one of {", ".join(models.registry.names())}')
        group.add_argument('--input_nc', type=whole(1), default=3, help='channels of the input images: 3 for RGB, 1 for gray')
        group.add_argument('--output_nc', type=whole(1), default=3, help='channels of the output images')
        group.add_argument('--ngf', type=whole(1, 16384), default=64, help='channels after the first layer of the generator')
        group.add_argument('--ndf', type=whole(1, 16384), default=64, help='channels after the first layer of the discriminator')
        group.add_argument('--netG', default='resnet_9blocks', help=catalog.NET_G_HELP)
        group.add_argument('--netD', default='basic', choices=(*catalog.NET_D, *catalog.own_nets.names()), metavar='NET', help=f'one of {", ".join(catalog.NET_D)}; basic is a 70x70 PatchGAN')
        group.add_argument('--n_layers_D', type=whole(1, 30), default=3, help='layers of the discriminator for --netD n_layers')
        group.add_argument('--norm', default='instance', choices=(*catalog.NORMS, 'sync_batch', 'sync_instance'), metavar='NORM', help='instance, batch, none, or syncbatch (statistics over all processes)')
        group.add_argument('--init_type', default='normal', choices=catalog.INIT_TYPES, metavar='TYPE', help=f'initial weights: {", ".join(catalog.INIT_TYPES)}')
        group.add_argument('--init_gain', type=number(0), default=0.02, help='scale of the initial weights for normal, xavier and orthogonal')
        group.add_argument('--no_dropout', action='store_true', help='no dropout in the generator')
        group.add_argument('--dropout', dest='no_dropout', action='store_false', default=False, help='dropout in the generator, for models that have none by default')
        group.add_argument('--antialias', action='store_true', help='filter the features of ResNet generators and PatchGANs where their size changes')
        group.add_argument('--no_antialias', dest='antialias', action='store_false', default=False, help='do not filter, for models that do by default')

        group.add_argument('--upsample', default='transposed', choices=catalog.UPSAMPLING, metavar='HOW', help='how ResNet and U-Net generators double the size: transposed (convolutions), or resize (nearest neighbor, then a convolution), which leaves no checkerboards')
        group.add_argument('--spectral_norm_G', action='store_true', help='spectral norm on the convolutions of the generator')
        group.add_argument('--no_spectral_norm_G', dest='spectral_norm_G', action='store_false', default=False, help='no spectral norm, for models that have it by default')

        group = parser.add_argument_group('data')
        group.add_argument('--dataset_mode', default='unaligned', help=f'one of {", ".join(data.registry.names())}')
        group.add_argument('--direction', default='AtoB', choices=('AtoB', 'BtoA'), metavar='DIR', help='AtoB or BtoA')
        group.add_argument('--serial_batches', action='store_true', help='images in order, not shuffled')
        group.add_argument('--num_threads', type=whole(0, or_word='auto'), default=4, metavar='N', help='worker processes that load images; 0: load in the main process; auto: by the number of cores')
        group.add_argument('--batch_size', type=whole(1), default=1, help='images in a batch')
        group.add_argument('--load_size', type=whole(1, 65535), default=286, help='images are resized to this size')
        group.add_argument('--crop_size', type=whole(1, 65535), default=256, help='then cropped to this size')
        group.add_argument('--max_dataset_size', type=whole(1), default=float('inf'), help='use only the first N images of each folder')
        group.add_argument('--preprocess', default='resize_and_crop', choices=PREPROCESS, metavar='HOW', help=', '.join(PREPROCESS))
        group.add_argument('--no_flip', action='store_true', help='no random horizontal flips')
        group.add_argument('--max_pixels', type=whole(1), default=50_000_000, help='refuse larger images: a small file can claim any size')
        group.add_argument('--data_timeout', type=duration, default=120.0, help='seconds to wait for an image before the run is saved and ends; 0: no limit')
        group.add_argument('--domain_names', type=domain_names, default='', metavar='A,B', help='what A and B are called on result pages, such as day,night')
        group.add_argument('--display_winsize', type=whole(1), default=256, help='width of images on pages, in pixels')

        add_image_options(parser)

        group = parser.add_argument_group('checkpoint')
        group.add_argument('--epoch', type=file_name, default='latest', help='checkpoint to load: latest or the number of an epoch')
        group.add_argument('--load_iter', type=whole(0), default=0, help='load checkpoint iter_N instead')

    def initialize(self, parser):
        """Scripts written for the reference override this to add options of their own."""
        self.add_options(parser)
        if type(self).initialize is not BaseOptions.initialize:
            parser.resolve_conflicts()
        return parser

    def build_parser(self, argv, stored: dict | None = None) -> OptionParser:
        """The full parser for this command line: shared options, then the model's, then the dataset's."""
        stored = stored or {}
        parser = OptionParser(prog=f'python {self.program}', usage=f'python {self.program} --dataroot DIR --name NAME [options]')
        parser.argv = argv
        self.initialize(parser)
        parser.set_defaults(**stored)
        for option, registry in (('model', models.registry), ('dataset_mode', data.registry)):
            name, = parser.peek(argv, option)
            stored = self.extend(parser, argv, registry, name, stored)
        for option in ('netG', 'netD'):
            name, = parser.peek(argv, option)
            parser.add_table(f'of --{option} {name}', catalog.options_of_net(name))
        parser.set_defaults(**stored)
        parser.add_argument('-h', '--help', action='help', help='show this and exit; with --model M also the options of M')
        return parser

    def extend(self, parser, argv, registry, name, stored):
        """Add the options of a class and set its defaults; values from a checkpoint beat them.

        Returns what beats the defaults of the classes after it.
        """
        tables = registry.declarations(name)
        phase = 'train' if self.is_train else 'test'
        parser.add_table(f'of --{registry.option} {name}', {**tables['options'], **tables[f'{phase}_options']})
        for old, new in tables['older_names']:
            parser.add_older_name(old, new)
        if self.is_train:       # test.py has not all of them
            parser.refuse_unknown_defaults(f'--{registry.option} {name}', tables['defaults'])
        parser.set_defaults(**tables['defaults'])
        if tables['preset_option'] in tables[f'{phase}_options']:
            preset, = parser.peek(argv, tables['preset_option'])
            parser.set_defaults(**tables['presets'].get(preset, {}))
        if registry.is_older(name):
            parser.accept_any_value(*VALUES_OF_FILES[registry.kind])
            add_older_options(parser, registry.load_older(name), self.is_train)
        beats = stored if self.is_train else {**stored, **tables['test_defaults']}
        parser.set_defaults(**beats)
        return beats

    def parse(self, argv=None) -> Options:
        """Options of a command line; a `UserError` lists every mistake in it.

        Without `argv` for a script written for the reference, which may assign options.
        """
        if argv is None:
            return self.parse_for_script()
        argv = run_by_path(joined(modernised(list(argv))))
        self.refuse_unknown_classes(argv)
        stored = {} if {'-h', '--help'} & set(argv) else self.stored_options(argv)
        parser = self.build_parser(argv, stored)
        # the values of the checkpoint are replaced by those given, and not added to
        classes = {name: stored[name] for name in ('model', 'dataset_mode', 'netG', 'netD') if name in stored}
        fresh = self.build_parser(argv, classes) if stored and parser.starts() else parser
        values, given = parser.parse_all(argv, self.options_of_other_programs(), fresh.starts())
        note_older_names(argv, values['model'])
        self.defaults = {name: parser.get_default(name) for name in values}
        values = self.complete(values, given, stored)
        # an option that must be dropped causes no further problems, nor does the default used for a wrong value
        refused = {problem.split()[0] for problem in parser.problems}   # '--crop_size 0: needs ...'
        further = (self.contradictions(values, given, stored) or rules.problems_of(values, self.is_train))
        problems = parser.problems + [line for line in further if refused.isdisjoint(re.findall(r'--\w+', line))]
        if problems:
            raise UserError(*problems)
        for line in rules.options_without_effect(values, given):
            warn(line)
        self.changes = changes(values, given, stored)
        return Options(values, given)

    def refuse_unknown_classes(self, argv):
        """A `UserError` if there is no such --model or --dataset_mode, with all other mistakes of the command line.

        Without their class nothing can be said about the rest, so that is read as if they were not given.
        """
        parser = OptionParser()
        self.add_options(parser)
        named = zip(('model', 'dataset_mode'), parser.peek(argv, 'model', 'dataset_mode'), strict=True)
        problems, before = [], argv
        for option, name in named:
            try:
                {'model': models.registry, 'dataset_mode': data.registry}[option].resolve(name)
            except UserError as error:
                problems += error.args
                argv = without(argv, option)
        if not problems:
            return
        if argv == before:      # it was abbreviated, as in --mode, and would be found again
            raise UserError(*problems)
        try:
            self.parse(argv)
        except UserError as error:
            problems += error.args
        raise UserError(*problems)

    def parse_for_script(self) -> 'WritableOptions':
        """The options of the command line, printed and saved; mistakes in it end the program with exit code 2."""
        if not MESSAGES.handlers:
            Console().attach()
        self.for_script = True
        try:
            options = self.parse(sys.argv[1:])
        except UserError as error:
            for message in error.args:
                print(f'error: {message}', file=sys.stderr)
            sys.exit(error.exit_code)
        say(save_options(options, self.defaults))
        gpu_ids = [options.gpu_ids] if options.gpu_ids[0].isalpha() else [
            int(number) for number in options.gpu_ids.split(',') if int(number) >= 0]
        limits = {'num_test': NUM_TEST} if options.as_dict().get('num_test') == float('inf') else {}
        return options.replace(gpu_ids=gpu_ids, **limits).writable()

    def contradictions(self, values: dict, given: set, stored: dict) -> list[str]:
        """A sentence for each given option that the networks of a checkpoint cannot have."""
        return contradictions(values, given, stored, (Path(values['checkpoints_dir']) / values['name']).absolute())

    def stored_options(self, argv) -> dict:
        """Options that come from a checkpoint."""
        raise NotImplementedError

    def complete(self, values: dict, given: set, stored: dict) -> dict:
        """Values that follow from others."""
        values = self.filled(values)
        norm = {'sync_batch': 'syncbatch', 'sync_instance': 'instance'}.get(values['norm'], values['norm'])
        return {**values, 'norm': norm, 'name': full_name(values), 'isTrain': self.is_train,
                'dataroot': dataroot_of(values)}

    def filled(self, values: dict) -> dict:
        """Values that default to those of other options."""
        return values

    def options_of_other_programs(self) -> dict[str, str]:
        """Options of the other program, of models and of datasets, with what to say if they are given here."""
        other = next(cls for cls in BaseOptions.__subclasses__() if cls.is_train != self.is_train)
        parser = OptionParser()
        other().add_options(parser)
        found = dict.fromkeys(parser._option_string_actions, f'an option of {other.program}')
        for registry in (data.registry, models.registry):
            for table, where in (('options', ''), ('train_options', ' in train.py'), ('test_options', ' in test.py')):
                owners = {}
                for name in registry.readable_names():
                    for option in registry.declarations(name)[table]:
                        owners.setdefault(option, []).append(name)
                found.update((f'--{option}', f'an option of --{registry.option} {" or ".join(names)}{where}')
                             for option, names in owners.items())
        return found

    def unknown_option_errors(self, unknown: list[str], parser) -> list[str]:
        """A sentence for each option that neither this parser nor any model or dataset knows."""
        known = [*parser._option_string_actions, *self.options_of_other_programs()]
        names = [token.partition('=')[0] for token in unknown]
        return [unknown_option(name, known) for name in names
                if name.startswith('--') and not any(word.startswith(name) for word in known)]

    def examples(self, argv) -> dict:
        """Options that name files, of a model that only the checkpoint knows."""
        return {}

    def run_folder(self, argv) -> tuple[Path, str]:
        """The folder and label of the checkpoint that a command line names."""
        parser = self.build_parser(argv)
        names = [action.dest for action in parser._actions if action.dest != 'help']
        values, unknown = parser.parse_known_args(argv)
        values = self.filled({name: getattr(values, name) for name in names})
        problems = [*parser.problems,      # a wrong --name must not become the default one
                    *rules.problems_without_checkpoint({**values, 'style_dir': '', **self.examples(argv)})]
        label = f'iter_{values["load_iter"]}' if values['load_iter'] else values['epoch']
        folder = Path(values['checkpoints_dir']) / (values['name'] if problems else full_name(values))
        # only a run of a file that was written for the reference may know options that nobody else does
        if problems or not folder.is_dir() or not (models.registry.has_older() or data.registry.has_older()):
            problems += self.unknown_option_errors(unknown, parser)
        if problems:
            raise UserError(*problems)
        named = any(word.partition('=')[0] == '--name' for word in argv)
        if not named and not values['suffix'] and not folder.is_dir():
            runs = ', '.join(layout.run_names(folder.parent)) or 'none yet; train one first'
            raise UserError(f'no run given; add --name NAME. The runs in {os.path.abspath(folder.parent)}: {runs}')
        return folder, label


def without(argv: list[str], option: str) -> list[str]:
    """A command line without an option and its value."""
    words = []
    for previous, word in zip(['', *argv], argv, strict=False):
        if f'--{option}' not in (previous, word.partition('=')[0]):
            words.append(word)
    return words


def run_by_path(argv: list[str]) -> list[str]:
    """`--name checkpoints/maps` as `--name maps`: people complete the names of folders."""
    parser = OptionParser(allow_abbrev=False)
    parser.add_argument('--name', default='')
    parser.add_argument('--checkpoints_dir')
    try:
        given = parser.parse_known_args(argv)[0]
    except UserError:       # reported with the other mistakes
        return argv
    folder, name = os.path.split(given.name.rstrip('/'))
    if not folder:
        return argv
    runs = given.checkpoints_dir or './checkpoints'
    if os.path.abspath(folder) == os.path.abspath(runs):
        return [*without(argv, 'name'), '--name', name]
    if given.checkpoints_dir is None and layout.holds_run(given.name):
        return [*without(argv, 'name'), '--name', name, '--checkpoints_dir', folder]
    return argv


def note_older_names(argv: list[str], model: str):
    """A note for each name on the command line that is an older one for this model, or of it."""
    given = {token.partition('=')[0] for token in argv}
    names = dict(models.registry.declarations(model)['older_names'])
    for old, new in names.items():
        if f'--{old}' in given:
            note(f'--{old} is an older name of --{new} of --model {model}')
    if model in models.registry.renamed:
        note(f'--model {model} is an older name of --model {models.registry.renamed[model]}')


def add_older_options(parser, kind: type, is_train: bool):
    """Let a class written for the reference add its options and defaults."""
    if hasattr(kind, 'modify_commandline_options'):
        parser.resolve_conflicts()
        kind.modify_commandline_options(parser, is_train)


def full_name(values: dict) -> str:
    """`--name` with `--suffix`, whose braces may hold names of options only."""
    if not values['suffix']:
        return values['name']

    def value_of(match):
        if match[1] not in values:
            raise UserError(f'--suffix {values["suffix"]}: there is no option {match[1]}')
        return str(values[match[1]])
    name = f'{values["name"]}_{re.sub(r"{([^{}]*)}", value_of, values["suffix"])}'
    try:
        return file_name(name)
    except argparse.ArgumentTypeError as error:
        raise UserError(f'--suffix gives the name {name}: {error}')


def option_text(values: dict, defaults: dict) -> str:
    """Options as a block in the layout of the reference, with defaults where the values differ."""
    lines = ['----------------- Options ---------------']
    for name, value in sorted(values.items()):
        note = f'\t[default: {defaults.get(name)}]' if value != defaults.get(name) else ''
        lines.append(f'{name:>25}: {str(value):<30}{note}')
    return '\n'.join([*lines, '----------------- End -------------------'])


def changed_options(opt: Options, defaults: dict) -> dict:
    """The options that were given, or have another value than their default."""
    return {name: value for name, value in opt.as_dict().items()
            if name in opt.given or (name in defaults and value != defaults[name])}


def save_options(opt: Options, defaults: dict) -> str:
    """Write all options as `<phase>_opt.txt` into the run folder; returns the text to print, which has the changed ones.

    A test on the training images does not replace the options of the training; a test may run without a place to write.
    """
    text = option_text(opt.as_dict(), defaults)
    changed = changed_options(opt, defaults)
    phase = 'test' if opt.phase == 'train' and not opt.isTrain else opt.phase
    path = Path(opt.checkpoints_dir) / opt.name / f'{phase}_opt.txt'
    try:
        if opt.isTrain and path.exists():   # keep the options of every start of a run
            move_aside(path)
        with atomic_write(path, 'wb') as file:
            file.write(f'{text}\n'.encode('utf-8', 'surrogateescape'))     # paths may have bytes that are not UTF-8
    except OSError as error:
        if opt.isTrain:
            raise
        warn(f'the options are not saved: {path.absolute()}: {error.strerror}')
        return option_text(changed, defaults)
    others = f'the other {len(opt.as_dict()) - len(changed)} options have their defaults: {os.path.abspath(path)}'
    return f'{option_text(changed, defaults)}\n{others}'
