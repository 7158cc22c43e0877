"""Options of test.py."""
import data
import models
from models import catalog
from util.errors import UserError

from .base_options import BaseOptions
from .image_options import add_output_options
from .parser import OptionParser, file_name, number, place, whole
from .restore import load_run, warn_of_lost_options

# what test.py takes over from training; its other options are about testing
RESTORED = ('model', 'input_nc', 'output_nc', 'ngf', 'netG', 'norm', 'no_dropout', 'antialias', 'upsample', 'spectral_norm_G',
            'dataset_mode', 'direction', 'preprocess', 'crop_size', 'max_pixels', 'display_winsize', 'domain_names', 'range_A', 'range_B', 'bands',
            'bands_A', 'bands_B', 'pages', 'labels_A', 'labels_B', 'dtype_A', 'dtype_B', 'show_bands', 'square_pairs')
# where the images of the training are; not for a test that has a --dataroot of its own
PLACES = ('dataroot', 'folder_A', 'folder_B', 'list_A', 'list_B', 'pairs', 'val_fraction', 'split_seed')


# after training on crops an image is tested in the size of a crop; else in the size of training
CROPPED = ('resize_and_crop', 'crop', 'scale_width_and_crop')


def limit(text: str) -> float:
    """A whole number, or `inf` for all, as in 2018."""
    return float('inf') if text == 'inf' else whole(1)(text)


class TestOptions(BaseOptions):
    is_train = False
    program = 'test.py'
    __test__ = False    # not a test class of pytest

    def add_options(self, parser):
        super().add_options(parser)
        parser.set_defaults(model='test', load_size=None)
        group = parser.add_argument_group('testing')
        group.add_argument('--phase', type=file_name, default='test', help='split of the dataset: test, val, train')
        group.add_argument('--results_dir', type=place, metavar='DIR', default='./results/', help='folder of the results')
        group.add_argument('--num_test', type=limit, default=float('inf'), help='translate at most N images')
        group.add_argument('--eval', action='store_true', help='use running statistics in batch norms, and no dropout')
        group.add_argument('--no_ema', action='store_true', help='use the raw weights even if there are moving averages (--ema)')
        group.add_argument('--fused_norms', action='store_true', help='experimental: instance norm, activation and padding as one Triton kernel (CUDA only, not measured yet)')
        group.add_argument('--whole', action='store_true', help='keep the size of each image, whatever --preprocess says: it is extended to what the networks take, and the result is cropped; the default for single photos if no size is given')
        group.add_argument('--aspect_ratio', type=number(above=0.01, below=100), default=1.0, help='saved images are taller (above 1) or wider (below 1) by this factor')
        add_output_options(parser)

    def stored_options(self, argv):
        """What the checkpoint knows of its networks and data, seen in the direction of this test."""
        self.trained = {}
        state = self.state_of_run(argv)
        if state is None:
            warn_of_lost_options(*self.run_folder(argv))
            return {}
        self.trained = trained = state['options']
        own = self.own_options(trained)
        stored = {name: trained[name] for name in (*PLACES, *RESTORED, *own) if name in trained}
        if trained['preprocess'] not in CROPPED:
            stored['load_size'] = trained['load_size']
        model, dataset_mode, direction = self.asked_for(argv)
        if (model and models.registry.resolve(model) == 'test') or (not model and dataset_mode == 'single'):
            stored.update(one_sided(trained))
            del stored['dataroot']      # of training: pairs, or both domains
        elif model and models.registry.is_older(model) and model != trained['model']:     # it has defaults of its own
            for name in ('model', 'dataset_mode', 'dataroot'):
                del stored[name]
        if 'dataroot' not in stored or self.given_places(argv):
            stored = {name: value for name, value in stored.items() if name not in PLACES}
        if direction != trained['direction'] and works_both_ways(trained['model']):
            stored.update(direction=direction, input_nc=trained['output_nc'], output_nc=trained['input_nc'])
        return stored

    def state_of_run(self, argv) -> dict | None:
        """The content of the state file of the checkpoint; None for bare weights."""
        return load_run(*self.run_folder(argv))

    def given_places(self, argv) -> bool:
        """True if the command line says where the images are."""
        return any(word.partition('=')[0] in {f'--{name}' for name in PLACES} for word in argv)

    def own_options(self, trained: dict) -> list[str]:
        """Names of the options of the model and dataset; of those in older files all that nobody else has."""
        named = ((models.registry, trained['model']), (data.registry, trained['dataset_mode']))
        if any(registry.is_older(name) for registry, name in named):
            parser = OptionParser()
            for options in BaseOptions.__subclasses__():
                parser.conflict_handler = 'resolve'
                options().add_options(parser)
            return [name for name in trained if name not in {action.dest for action in parser._actions}]
        return [*catalog.options_of_net(trained['netG']),
                *(option for registry, name in named for option in registry.declarations(name)['options'])]

    def examples(self, argv):
        names = 'style_image', 'style_dir'
        able = [name for name in models.registry.readable_names()
                if set(names) <= models.registry.declarations(name)['test_options'].keys()]
        if not able or not any(word.startswith(('--style_i', '--style_dir')) for word in argv):
            return {}
        return dict(zip(names, self.build_parser([*argv, '--model', able[0]]).peek(argv, *names), strict=True))

    def asked_for(self, argv) -> tuple[str, str, str]:
        """Model, dataset mode and direction if they are on the command line; else '', '', that of training.

        `--model_suffix` alone is a question for the model that has this option, as in the reference.
        """
        parser = self.build_parser(argv)
        suffix = any(word.startswith('--model_suffix') for word in argv)
        parser.set_defaults(model='test' if suffix else '', dataset_mode='', direction=self.trained['direction'])
        return parser.peek(argv, 'model', 'dataset_mode', 'direction')

    def filled(self, values):
        return {**values, 'load_size': values['load_size'] or values['crop_size']}

    def complete(self, values, given, stored):
        values = super().complete(values, given, stored)
        alone = data.registry.declarations(values['dataset_mode'])['one_domain']
        if alone and not self.for_script and not models.registry.is_older(values['model']):
            keeps_sizes = not {'preprocess', 'load_size', 'crop_size'} & given
            values = {**values, 'whole': values['whole'] or keeps_sizes}
        return {**values, 'seed': values['seed'] or 0, 'serial_batches': True,
                'no_flip': True, 'trained_direction': self.trained.get('direction', ''),
                'trained_on': {name: self.trained[name] for name in (*PLACES, 'phase') if name in self.trained}}


class ValidationOptions(TestOptions):
    """The options with which test.py would translate the validation images of a run that is being trained."""

    def __init__(self, opt):
        """`opt`: the options of the training."""
        self.run = opt

    def state_of_run(self, argv):
        return {'options': self.run.as_dict()}

    def parse(self, argv=()):
        run = self.run
        return super().parse(['--name', run.name, '--checkpoints_dir', run.checkpoints_dir, '--phase', run.val_phase,
                              '--max_dataset_size', '1000000000', *argv])


def one_sided(trained: dict) -> dict:
    """Options to use one generator of a run on single images."""
    facts = models.registry.declarations(trained['model'])
    if not facts['generator_alone']:
        raise UserError(f'--model test cannot make images of a {trained["model"]} run, whose generator makes only a part '
                        f'of their channels; drop --model and --dataset_mode')
    if facts['translates_single']:
        return dict(dataset_mode='single')
    return dict(model='test', dataset_mode='single')


def works_both_ways(model: str) -> bool:
    """Has the model a generator for each direction, so that --direction chooses one?"""
    return models.registry.declarations(model)['two_way']
