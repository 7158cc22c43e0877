"""Options of train.py."""
import secrets

from models import catalog

from .base_options import BaseOptions
from .parser import file_name, number, whole
from .restore import load_run

NOT_RESTORED = {'name', 'checkpoints_dir', 'suffix', 'continue_train', 'overwrite', 'epoch', 'load_iter', 'epoch_count',
                'gpu_ids', 'cpu_threads', 'verbose', 'phase', 'isTrain'}


class TrainOptions(BaseOptions):
    is_train = True
    program = 'train.py'

    def add_options(self, parser):
        super().add_options(parser)
        group = parser.add_argument_group('training')
        group.add_argument('--phase', type=file_name, default='train', help='which part of the data: train, val, test')
        group.add_argument('--continue_train', action='store_true', help='go on from the checkpoint --epoch (latest) of the run')
        group.add_argument('--overwrite', action='store_true', help='discard an earlier run of this name instead of moving it aside')
        group.add_argument('--epoch_count', type=whole(1), default=1, help='number of the first epoch, to go on from bare weights')
        group.add_argument('--n_epochs', type=whole(0), default=100, help='epochs with the full learning rate')
        group.add_argument('--n_epochs_decay', type=whole(0), default=100, help='epochs in which the learning rate falls linearly')
        group.add_argument('--max_iters', type=whole(0), default=0, help='end after N batches instead of after epochs; the schedule of the learning rate is stretched over them')
        group.add_argument('--lr', type=number(above=0), default=0.0002, help='learning rate of Adam')
        group.add_argument('--beta1', type=number(0, below=1), default=0.5, help='momentum of Adam')
        group.add_argument('--weight_decay', type=number(0), default=0.0, help='L2 penalty on the weights, added to the gradient')
        group.add_argument('--lr_policy', default='linear', choices=('linear', 'step', 'plateau', 'cosine'), metavar='HOW', help='linear, step, plateau (on the L1 or cycle loss), cosine')
        group.add_argument('--lr_decay_iters', type=whole(1), default=50, help='epochs (or iterations, see --lr_step_unit) between steps of --lr_policy step')
        group.add_argument('--lr_gamma', type=number(above=0), default=0.1, help='factor of each step of --lr_policy step')
        group.add_argument('--lr_step_unit', default='epoch', choices=('epoch', 'iter'), metavar='UNIT', help='--lr_decay_iters counts epochs or iterations (batches)')
        group.add_argument('--gan_mode', default='lsgan', choices=catalog.GAN_MODES, metavar='MODE', help='vanilla (cross-entropy), lsgan or wgangp')
        group.add_argument('--lambda_gp', type=number(0), default=10.0, help='weight of the gradient penalty of wgangp; 0 leaves it out')
        group.add_argument('--pool_size', type=whole(0), default=50, help='generated images kept for the discriminator; 0: none')

        group = parser.add_argument_group('logs and saving (counted in images; 0: never)')
        group.add_argument('--print_freq', type=whole(0), default=100, help='images between lines of losses')
        group.add_argument('--display_freq', type=whole(0), default=400, help='images between pictures')
        group.add_argument('--update_html_freq', type=whole(0), default=1000, help='images between pictures on the page')
        group.add_argument('--no_html', action='store_true', help='no page under web/')
        group.add_argument('--save_latest_freq', type=whole(0), default=5000, help='images between saves of `latest`')
        group.add_argument('--save_epoch_freq', type=whole(0), default=5, help='epochs between numbered saves; the last epoch is always saved')
        group.add_argument('--save_by_iter', action='store_true', help='save `iter_N` instead of `latest` between epochs')
        group.add_argument('--display_id', type=int, default=1, help='number of the first visdom window; 0 or less: no visdom')
        group.add_argument('--display_server', default='http://localhost', help='address of the visdom server')
        group.add_argument('--display_port', type=whole(1, 65535), default=8097, help='port of the visdom server')
        group.add_argument('--display_env', default='main', help='visdom environment')
        group.add_argument('--display_ncols', type=int, default=4, help='pictures in a row; 0 or less: a window for each')

    def stored_options(self, argv):
        """With --continue_train, the options of the run that goes on."""
        continued, = self.build_parser(argv).peek(argv, 'continue_train')
        state = load_run(*self.run_folder(argv)) if continued else None
        return {name: value for name, value in state['options'].items() if name not in NOT_RESTORED} if state else {}

    def complete(self, values, given, stored):
        values = super().complete(values, given, stored)
        seed = secrets.randbelow(2**31) if values['seed'] is None else values['seed']
        return {**values, 'seed': seed}
