"""Options of train.py."""
import argparse
import secrets

import models
from models import catalog, metrics
from util.console import say
from util.errors import UserError
from util.machine import launch

from . import rules
from .base_options import BaseOptions
from .image_options import add_augment_options
from .parser import file_name, names_of, number, place, whole
from .restore import contradictions, is_of_job, load_run, networks_to_start_from, newest_good

MONITORS = ('visdom', 'tensorboard', 'wandb', 'none')
NOT_RESTORED = {'name', 'checkpoints_dir', 'suffix', 'continue_train', 'overwrite', 'epoch', 'load_iter', 'epoch_count',
                'gpu_ids', 'cpu_threads', 'verbose', 'phase', 'isTrain', 'max_minutes', 'comm_timeout', 'job',
                'update_size'}


def metric_names(text: str) -> str:
    """Names of metrics, each once; or auto, or none."""
    if text in ('auto', 'none'):
        return text
    names = metrics.split(text)
    problems = [f'{name} is not for training; use scripts/evaluate.py' for name in names
                if name in metrics.METRICS and metrics.METRICS[name].needs] or metrics.problems(names)
    if problems or not names:
        raise argparse.ArgumentTypeError('; '.join(problems) or 'needs names of metrics, auto or none')
    return ','.join(names)


class TrainOptions(BaseOptions):
    is_train = True
    program = 'train.py'

    def add_options(self, parser):
        super().add_options(parser)
        group = parser.add_argument_group('training')
        group.add_argument('--phase', type=file_name, default='train', help='split of the dataset: train, val, test')
        group.add_argument('--bad_images', default='stop', choices=('stop', 'skip'), metavar='HOW', help='unreadable images: stop before training and list them, or skip them')
        group.add_argument('--continue_train', nargs='?', const=True, default=False, choices=('auto',), metavar='auto', help='resume the run from its newest checkpoint, or from --epoch; auto: start a new run if there is none')
        group.add_argument('--overwrite', action='store_true', help='delete an earlier run of this name instead of moving it aside')
        group.add_argument('--epoch_count', type=whole(1), default=1, help='number of the first epoch, to continue from bare weights')
        group.add_argument('--init_from', type=place, default='', metavar='RUN', help='start with the networks of another run, given by its name or folder, of a .pth file, or of an exported safetensors folder; the optimizers and the schedule are new (docs/fine_tuning.md)')
        group.add_argument('--init_epoch', type=file_name, default='latest', help='checkpoint of --init_from: latest, best, the number of an epoch, or iter_N')
        group.add_argument('--init_partial', action='store_true', help='of --init_from, load the tensors that fit and leave out the others')
        group.add_argument('--freeze', nargs='*', default=[], metavar='NAME', help='networks and layers that are not trained, such as D, G.encoder or G.model.1; * stands for any text')
        group.add_argument('--n_epochs', type=whole(0), default=100, help='epochs at the full learning rate')
        group.add_argument('--n_epochs_decay', type=whole(0), default=100, help='epochs in which the learning rate decays linearly to 0')
        group.add_argument('--max_iters', type=whole(0), default=0, help='end after N batches instead of epochs; the learning-rate schedule is stretched over them')
        group.add_argument('--max_minutes', type=number(0, below=1e6), default=0.0, help='save and end after M minutes, before a queue kills the run; 0: no limit')
        group.add_argument('--on_nonfinite', default='stop', choices=('stop', 'skip', 'rollback'), metavar='HOW', help='if a loss or gradient is not finite: stop, skip the step, or rollback to the newest checkpoint and continue with the next data')
        group.add_argument('--lr', type=number(above=0), default=0.0002, help='learning rate of Adam')
        group.add_argument('--beta1', type=number(0, below=1), default=0.5, help='momentum of Adam')
        group.add_argument('--beta2', type=number(0, below=1), default=0.999, help='decay of the second moment of Adam')
        group.add_argument('--weight_decay', type=number(0), default=0.0, help='L2 penalty on the weights, added to the gradient')
        group.add_argument('--lr_policy', default='linear', choices=('linear', 'step', 'plateau', 'cosine'), metavar='HOW', help='linear, step, plateau (on the L1 or cycle loss), cosine')
        group.add_argument('--lr_decay_iters', type=whole(1), default=50, help='epochs (or iterations, see --lr_step_unit) between steps of --lr_policy step')
        group.add_argument('--lr_gamma', type=number(above=0), default=0.1, help='factor of each step of --lr_policy step')
        group.add_argument('--lr_step_unit', default='epoch', choices=('epoch', 'iter'), metavar='UNIT', help='--lr_decay_iters counts epochs or iterations (batches)')
        group.add_argument('--gan_mode', default='lsgan', choices=catalog.GAN_MODES, metavar='MODE', help='vanilla (cross-entropy), lsgan, wgangp or hinge')
        group.add_argument('--lambda_gp', type=number(0), default=10.0, help='weight of the gradient penalty of wgangp; 0 leaves it out')
        group.add_argument('--pool_size', type=whole(0), default=50, help='generated images kept for the discriminator; 0: none')
        group.add_argument('--lr_D', type=number(0), default=0.0, help='learning rate of the discriminators; 0: that of --lr')
        group.add_argument('--n_critic', type=whole(1), default=1, help='train the generators in every N-th step only')
        group.add_argument('--ema', type=number(0, below=1), default=0.0, help='keep moving averages of the generators with this decay, such as 0.999; test.py uses them. 0: none')

        add_augment_options(parser)

        group = parser.add_argument_group('objective (docs/objectives.md)')
        group.add_argument('--relativistic', action='store_true', help='D tells which of two images is more real (not for wgangp)')
        group.add_argument('--label_smoothing', type=number(0, below=0.5), default=0.0, metavar='X', help='real images have the label 1 - X for D, such as 0.9 (for vanilla and lsgan)')
        group.add_argument('--lambda_r1', type=number(0), default=0.0, help='weight of the R1 gradient penalty of D, such as 1')
        group.add_argument('--spectral_norm_D', action='store_true', help='spectral norm on the convolutions of D')
        group.add_argument('--no_spectral_norm_D', dest='spectral_norm_D', action='store_false', default=False, help='no spectral norm, for models that have it by default')
        group.add_argument('--diffaug', type=names_of((*catalog.AUGMENTATIONS, 'none')), default='none', metavar='LIST', help='change what D sees at random, for small datasets: color,translation,cutout')
        group.add_argument('--ada_target', type=number(0, below=1), default=0.0, metavar='X', help='adaptive augmentation: --diffaug with a probability that rises while D is surer of real images than this, such as 0.6; 0: always')
        group.add_argument('--ada_kimg', type=number(above=0), default=500.0, metavar='K', help='thousands of images in which the probability of --ada_target goes from 0 to 1')
        group.add_argument('--lambda_feat', type=number(0), default=0.0, help='weight of feature matching: L1 on the features of D')
        group.add_argument('--lambda_perceptual', type=number(0), default=0.0, help='weight of the L1 loss on VGG features; needs --perceptual_weights')
        group.add_argument('--perceptual_weights', type=place, default='', metavar='FILE', help='weights of VGG19 or VGG16 from torchvision')
        group.add_argument('--lambda_lpips', type=number(0), default=0.0, help='weight of LPIPS with VGG16, a distance of features that people agree with')
        group.add_argument('--lambda_tv', type=number(0), default=0.0, help='weight of the total variation of generated images')
        group.add_argument('--lambda_gdl', type=number(0), default=0.0, help='weight of the gradient difference loss')

        group = parser.add_argument_group('validation (docs/validation.md)')
        group.add_argument('--val_metrics', type=metric_names, default='auto', metavar='LIST', help='metrics of the validation images, such as l1,psnr,kid; none; auto: l1,psnr,ssim for pairs, else kid or kid_effnet, whichever can be computed here')
        group.add_argument('--val_epoch_freq', type=whole(0, or_word='auto'), default='auto', metavar='N', help='epochs between two validations, 0: never; auto: at least 12 training images for each validation image')
        group.add_argument('--val_max_images', type=whole(1), default=200, metavar='N', help='use at most N validation images of each domain, evenly spread')
        group.add_argument('--val_phase', type=file_name, default='val', help='split of the dataset for validation: val; test, if its images are not needed for anything else')
        group.add_argument('--metric_weights', type=place, default='', metavar='FILE', help='file or folder with the weights of the networks that metrics and --lambda_lpips use')
        group.add_argument('--best_metric', default='', metavar='NAME', help='the metric by which the checkpoint `best` is chosen; default: the first of --val_metrics')
        group.add_argument('--early_stop', type=whole(0), default=0, metavar='N', help='end the run after N validations without a better --best_metric; 0: never')
        group.add_argument('--plateau_metric', action='store_true', help='--lr_policy plateau follows --best_metric, not a loss: its patience counts validations')

        group = parser.add_argument_group('speed and memory')
        group.add_argument('--engine', default='auto', choices=('auto', 'eager', 'compile', 'graph'), metavar='HOW', help='eager; compile: torch.compile; graph (experimental): each step as one CUDA graph; auto: eager (docs/performance.md)')
        group.add_argument('--loader', default='stream', choices=('stream', 'cache_ram', 'cache_gpu', 'auto'), metavar='HOW', help='read each image again, or keep it resized after its first use: cache_ram, cache_gpu; auto: what fits (docs/data_path.md)')
        group.add_argument('--fast_resize', action='store_true', help='resize several times faster; 1 of 200 pixels differs by a level or two (docs/data_path.md)')
        group.add_argument('--grad_checkpoint', action='store_true', help='less memory for more time: generators recompute activations in backward')
        group.add_argument('--accumulate', type=whole(1), default=1, help='accumulate gradients over K batches: like K times the --batch_size, with the memory of one batch')
        group.add_argument('--winograd', action='store_true', help='compute 3x3 convolutions by Winograd\'s method: faster for large images in float32 on a CPU, with other rounding errors')
        group.add_argument('--fused_norms', action='store_true', help='experimental: instance norm, activation and padding as one Triton kernel (CUDA only, not measured yet)')
        group.add_argument('--parallel', default='data', choices=('data', 'twin'), metavar='HOW', help='several processes (torchrun): data: each has a part of the batch; twin (experimental): 2 GPUs, one trains the networks *_A, the other *_B')
        group.add_argument('--comm_timeout', type=number(above=0, below=1e6), default=300.0, help='several processes (torchrun): seconds to wait for another process before aborting')
        group.add_argument('--dry_run', action='store_true', help='make two steps, print memory, speed and the duration of the whole run, then exit')

        group = parser.add_argument_group('logs and saving (counted in images; 0: never)')
        group.add_argument('--print_freq', type=whole(0), default=100, help='images between lines of losses')
        group.add_argument('--display_freq', type=whole(0), default=400, help='images between pictures')
        group.add_argument('--update_html_freq', type=whole(0), default=1000, help='images between pictures on the page')
        group.add_argument('--val_images', type=whole(0), default=4, help='fixed images on the page that show progress: of --val_phase, else of test, else training images; 0: none')
        group.add_argument('--val_freq', type=whole(0), default=400, help='images between pictures of the fixed images')
        group.add_argument('--no_html', action='store_true', help='write no page under web/')
        group.add_argument('--save_latest_freq', type=whole(0), default=5000, help='images between saves of `latest`')
        group.add_argument('--save_epoch_freq', type=whole(0), default=5, help='epochs between numbered saves; the last epoch is always saved')
        group.add_argument('--save_every_minutes', type=number(0, below=1e6), default=10.0, help='minutes after which `latest` is saved if nothing else was')
        group.add_argument('--keep_last', type=whole(0), default=0, help='keep only the newest K of the numbered checkpoints; 0: all')
        group.add_argument('--copy_to', default='', metavar='URL', help='after each save, copy the checkpoint to this folder in object storage, such as s3://bucket/name; scripts/fetch_run.py gets it back')
        group.add_argument('--save_by_iter', action='store_true', help='save `iter_N` instead of `latest` between epochs')
        group.add_argument('--display_id', type=int, default=1, help='number of the first visdom window; 0 or less: no visdom')
        group.add_argument('--display_server', default='http://localhost', help='address of the visdom server')
        group.add_argument('--display_port', type=whole(1, 65535), default=8097, help='port of the visdom server')
        group.add_argument('--display_env', default='main', help='visdom environment; default: the name of the run')
        group.add_argument('--display_ncols', type=int, default=4, help='pictures per row in visdom; 0 or less: a window for each picture')
        group.add_argument('--monitor', type=names_of(MONITORS), default='visdom', metavar='LIST', help='where else to show the run, separated by commas: visdom, tensorboard, wandb; or none')
        group.add_argument('--display_log', action='store_true', help='losses on a logarithmic axis in visdom')
        group.add_argument('--no_display_server', action='store_true', help='do not start a visdom server if none answers')
        group.add_argument('--display_stop_server', action='store_true', help='stop the visdom server with the run if the run started it')
        group.add_argument('--visdom_assets', default='', metavar='DIR', help='folder with the browser files of visdom, for a machine without internet (see scripts/visdom_assets.py)')

    def stored_options(self, argv):
        """With --continue_train, the options of the run that is resumed; with --init_from, those of its networks.

        If torchrun has restarted its processes, they resume what they have trained, whatever the command line says.
        """
        mode, = self.build_parser(argv).peek(argv, 'continue_train')
        self.resumed = ''       # the label of the checkpoint that is resumed
        self.saved = {}         # its options and the number of its processes
        self.init_direction = ''    # of the run that --init_from names
        self.restarted = self.is_restarted(argv)
        if mode or self.restarted:
            folder, label = self.run_folder(argv)
            if label == 'latest' or self.restarted:
                label = newest_good(folder, new_if_none=mode == 'auto')
            state = load_run(folder, label) if label else None
            self.resumed = label
            if state:
                self.saved = {**state['options'], 'processes': state.get('processes', 1)}
                return {name: value for name, value in state['options'].items() if name not in NOT_RESTORED}
        return {} if self.resumed else self.options_to_start_from(argv)

    def is_restarted(self, argv) -> bool:
        """Has this torchrun job saved a checkpoint of this run before?"""
        if not launch.job():
            return False
        try:
            folder, _ = self.run_folder(argv)
        except UserError:       # reported with the other mistakes
            return False
        if not is_of_job(folder, launch.job()):
            return False
        say(f'torchrun has restarted the processes: resuming {folder.absolute()}')
        return True

    def options_to_start_from(self, argv) -> dict:
        """The options of the networks that --init_from names, if they are known."""
        parser = self.build_parser(argv)
        parser.set_defaults(model='')
        source, label, folder, model, direction = parser.peek(argv, 'init_from', 'init_epoch', 'checkpoints_dir',
                                                              'model', 'direction')
        if not source:
            return {}
        self.init_direction, options = networks_to_start_from(source, label, folder, model, direction)
        return options

    def contradictions(self, values, given, stored):
        """With --init_partial, networks may differ from those that they start from."""
        source = values['init_from']
        if self.resumed or not source:
            return super().contradictions(values, given, stored)
        if values['init_partial']:
            return []
        return [f'{line}, or load what fits with --init_partial'
                for line in contradictions(values, given - {'model'}, stored, source)]

    def complete(self, values, given, stored):
        values = super().complete(values, given, stored)
        if not values['perceptual_weights'] and 'lambda_perceptual' not in given:
            values = {**values, 'lambda_perceptual': 0.0}       # a default of the model, for when there are weights
        seed = secrets.randbelow(2**31) if values['seed'] is None else values['seed']
        if 'max_iters' not in stored and {'n_epochs', 'n_epochs_decay'} & given and 'max_iters' not in given:
            values = {**values, 'max_iters': 0}     # of two ways to say how long, the one that was given
        return {**values, **self.resume_options(), 'seed': seed, 'init_direction': self.init_direction,
                'size_multiple': rules.size_multiple(values), 'job': launch.job(),
                'update_size': self.kept_update_size(values, given)}

    def kept_update_size(self, values, given) -> int:
        """Images of an update that torchrun's other number of processes must not change; 0: what the options say."""
        saved = self.saved
        sizes = {'batch_size', 'accumulate'}
        if not saved or any(values[name] != saved[name] for name in given & sizes):
            return 0
        before, now = (1 if values['parallel'] == 'twin' else number for number in
                       (saved['processes'], launch.world_size()))
        in_options = values['batch_size'] * values['accumulate']
        size = saved.get('update_size') or before * in_options
        if not (self.restarted or before == now) or size == now * in_options:
            return 0
        can_accumulate = values['engine'] not in ('compile', 'graph') and not models.registry.is_older(values['model'])
        return size if can_accumulate or size <= now * values['batch_size'] else 0

    def resume_options(self) -> dict:
        """What the options say about the checkpoint to resume; `auto` may have found none."""
        if not self.resumed:
            return {'continue_train': False}
        iteration = self.resumed.removeprefix('iter_')
        by_iteration = iteration != self.resumed and iteration.isdigit()
        label = {'epoch': 'latest', 'load_iter': int(iteration)} if by_iteration else {'epoch': self.resumed}
        if self.restarted:      # --overwrite and --load_iter were for the first start
            label = {'overwrite': False, 'load_iter': 0, **label}
        return {'continue_train': True, **label}
