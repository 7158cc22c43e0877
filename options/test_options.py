"""Options of test.py."""
import data
import models
from util.errors import UserError

from .base_options import BaseOptions
from .parser import file_name, number, whole
from .restore import load_run, warn_of_lost_options

# what test.py takes over from training; the rest of its options concern the way of testing
RESTORED = ('dataroot', 'model', 'input_nc', 'output_nc', 'ngf', 'netG', 'norm', 'no_dropout', 'dataset_mode',
            'direction', 'preprocess', 'crop_size', 'max_pixels', 'display_winsize')


# after training on windows an image is tested in the size of a window; else in the size of training
CROPPED = ('resize_and_crop', 'crop', 'scale_width_and_crop')


class TestOptions(BaseOptions):
    is_train = False
    program = 'test.py'
    __test__ = False    # not a test class of pytest

    def add_options(self, parser):
        super().add_options(parser)
        parser.set_defaults(model='test', load_size=None)
        group = parser.add_argument_group('testing')
        group.add_argument('--phase', type=file_name, default='test', help='which part of the data: test, val, train')
        group.add_argument('--results_dir', metavar='DIR', default='./results/', help='where results are saved')
        group.add_argument('--num_test', type=whole(1), default=float('inf'), help='translate at most N images')
        group.add_argument('--eval', action='store_true', help='running statistics for batch norms, no dropout')
        group.add_argument('--no_ema', action='store_true', help='translate with the weights themselves where moving averages of them (--ema) are there')
        group.add_argument('--aspect_ratio', type=number(above=0.01, below=100), default=1.0, help='saved images are this much higher (above 1) or wider (below 1)')

    def stored_options(self, argv):
        """What the checkpoint knows of its networks and data, seen in the direction of this test."""
        self.trained = {}
        state = load_run(*self.run_folder(argv))
        if state is None:
            warn_of_lost_options(*self.run_folder(argv))
            return {}
        self.trained = trained = state['options']
        own = (*models.registry.declarations(trained['model'])['options'],
               *data.registry.declarations(trained['dataset_mode'])['options'])
        uncropped = ('load_size',) * (trained['preprocess'] not in CROPPED)
        stored = {name: trained[name] for name in (*RESTORED, *own, *uncropped) if name in trained}
        model, dataset_mode, direction = self.asked_for(argv)
        if model == 'test' or (not model and dataset_mode == 'single'):
            stored.update(one_sided(trained))
            del stored['dataroot']      # of training: pairs, or both domains
        if direction != trained['direction'] and works_both_ways(trained['model']):
            stored.update(direction=direction, input_nc=trained['output_nc'], output_nc=trained['input_nc'])
        return stored

    def examples(self, argv):
        names = 'style_image', 'style_dir'
        if not any(word.startswith(('--style_i', '--style_dir')) for word in argv):
            return {}
        return dict(zip(names, self.build_parser([*argv, '--model', 'munit']).peek(argv, *names), strict=True))

    def asked_for(self, argv) -> tuple[str, str, str]:
        """Model, dataset mode and direction if they stand on the command line; else '', '', that of training."""
        parser = self.build_parser(argv)
        parser.set_defaults(model='', dataset_mode='', direction=self.trained['direction'])
        return parser.peek(argv, 'model', 'dataset_mode', 'direction')

    def filled(self, values):
        return {**values, 'load_size': values['load_size'] or values['crop_size']}

    def complete(self, values, given, stored):
        values = super().complete(values, given, stored)
        return {**values, 'seed': values['seed'] or 0, 'serial_batches': True,
                'no_flip': True, 'trained_direction': self.trained.get('direction', '')}


def one_sided(trained: dict) -> dict:
    """Options to use one generator of a run on single images."""
    if models.registry.resolve(trained['model']) == 'colorization':
        raise UserError('--model test cannot make lightness and colour of an image; a colorization run is tested '
                        'by its own model: drop --model and --dataset_mode')
    if models.registry.resolve(trained['model']) == 'munit':
        return dict(dataset_mode='single')
    return dict(model='test', dataset_mode='single')


def works_both_ways(model: str) -> bool:
    """Has the model a generator for each direction, so that --direction chooses one?"""
    return models.registry.resolve(model) in ('cyclegan', 'munit')
