"""What all models share: making networks, one optimizer step, logs, and saving. The arithmetic is theirs."""
import os
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from util import checkpoint, run_folder
from util.cli import UserError, warn
from util.image_pool import ImagePool
from util.progress import Progress
from util.schedule import Plateau, lr_multiplier
from util.seeding import derive_seed, restore_rng_state, rng_state

from . import catalog, networks
from .losses import gradient_penalty


class BaseModel:
    """A model is one file: option tables, `__init__`, `forward`, `optimize_parameters`, `get_current_visuals`.

    Networks are attributes named `net*`: `self.netG_A` is saved as `<label>_net_G_A.pth`. Optimizers are
    attributes named `optimizer*`. Both are found by their names, and so is an `ImagePool`.
    """

    defaults = {}           # other defaults for existing options
    options = {}            # own options of training and test: {name: (default, meaning[, choices])}
    train_options = {}
    test_options = {}
    two_way = False         # networks net*_A and net*_B translate both ways, --direction chooses at test time
    loss_names = ()         # order of the losses in the log
    plateau_losses = ()     # losses whose sum, as a mean over an epoch, steers --lr_policy plateau

    def __init__(self, opt, runtime):
        self.opt = opt
        self.device = runtime.device
        self.losses = {}
        self.plateau = Plateau()
        self.epoch_metric, self.epoch_batches = 0.0, 0
        self.style_sources = {}     # of which image a translation has its style: {label: path}

    # ---- networks and optimizers

    def define_G(self, input_nc: int, output_nc: int) -> nn.Module:
        opt = self.opt
        net = networks.create_generator(opt.netG, input_nc, output_nc, opt.ngf, opt.norm, not opt.no_dropout)
        return self.prepare(net)

    def define_D(self, input_nc: int) -> nn.Module:
        opt = self.opt
        return self.prepare(networks.create_discriminator(opt.netD, input_nc, opt.ndf, opt.n_layers_D, opt.norm))

    def prepare(self, net: nn.Module, init_type: str = '') -> nn.Module:
        """Initial weights, and onto the device."""
        return networks.init_weights(net, init_type or self.opt.init_type, self.opt.init_gain).to(self.device)

    def define_optimizer(self, *nets: nn.Module) -> torch.optim.Optimizer:
        """One Adam over all parameters of `nets`."""
        parameters = [parameter for net in nets for parameter in net.parameters()]
        return torch.optim.Adam(parameters, lr=self.opt.lr, betas=(self.opt.beta1, 0.999),
                                weight_decay=self.opt.weight_decay)

    def named(self, prefix: str, kind: type) -> dict:
        return {name.removeprefix(prefix): value for name, value in vars(self).items()
                if name.startswith(prefix) and isinstance(value, kind)}

    @property
    def nets(self) -> dict[str, nn.Module]:
        return self.named('net', nn.Module)

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return self.named('optimizer', torch.optim.Optimizer)

    @property
    def pools(self) -> dict[str, ImagePool]:
        return self.named('', ImagePool)

    # ---- one step

    def set_input(self, batch: dict):
        """Images of the batch as `real_A`, `real_B`: (N, C, H, W) in [-1, 1] on the device."""
        for domain in 'AB':
            if domain in batch:
                setattr(self, f'real_{domain}', batch[domain].to(self.device, non_blocking=True))
        self.image_paths = batch['A_paths']
        self.check_sizes()

    def check_sizes(self):
        """A `UserError` for images that the generator cannot take, or would return in another size."""
        multiple = catalog.size_multiple(self.opt.netG)
        needed = multiple if self.opt.isTrain or multiple > 4 else 1
        height, width = self.real_A.shape[-2:]
        if height % needed or width % needed:
            path = os.path.abspath(self.image_paths[0])
            raise UserError(f'{path} is {width}x{height} after --preprocess {self.opt.preprocess}, and --netG '
                            f'{self.opt.netG} needs multiples of {needed}; use --preprocess resize_and_crop '
                            f'or another --netG')

    def train_step(self, batch: dict):
        self.set_input(batch)
        self.forward()
        self.optimize_parameters()
        if self.opt.lr_policy == 'plateau':
            self.epoch_metric = self.epoch_metric + sum(self.losses[name] for name in self.plateau_losses)
            self.epoch_batches += 1

    def minimize(self, loss, optimizer: torch.optim.Optimizer, frozen=()):
        """One optimizer step down the function `loss`; the networks in `frozen` are constants to it."""
        with without_gradients(*frozen):
            value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    def total(self, **terms):
        """The sum of the weighted terms of a loss, each noted for the log under its own name."""
        self.note(**terms)
        return sum(terms.values())

    def critic_penalty(self, netD, real, fake):
        """The gradient penalty that a Wasserstein critic needs; 0 for other objectives."""
        if self.opt.gan_mode != 'wgangp' or self.opt.lambda_gp == 0:
            return 0.0
        return gradient_penalty(netD, real, fake, self.opt.lambda_gp)

    def note(self, **terms):
        """Keep losses for the log; they stay on the device until somebody reads them."""
        self.losses.update((name, term.detach()) for name, term in terms.items())

    @torch.no_grad()
    def translate(self, batch: dict):
        """Translate a batch; every image comes out as it would alone, whatever the size of the batch.

        Where a network mixes the images of a batch (statistics of a batch norm in training mode, dropout),
        they go through one by one, each with its own noise, given by --seed and the image's name. So they do
        on a CPU, which gains nothing by batches: the same image is then the same to the last bit.
        """
        mixed = any(networks.mixes_batch(net) for net in self.nets.values())
        if not mixed and self.device.type != 'cpu':
            self.set_input(batch)
            self.forward()
            return self.get_current_visuals()
        singles = []
        for index, path in enumerate(batch['A_paths']):
            torch.manual_seed(derive_seed(self.opt.seed, Path(path).name))
            self.set_input({key: value[index:index + 1] for key, value in batch.items() if key != 'failed'})
            self.forward()
            singles.append(self.get_current_visuals())
        return {name: torch.cat([single[name] for single in singles]) for name in singles[0]}

    def prepare_test(self, read_image, list_images) -> dict:
        """Called before the first translation, for models that need other images than the dataset's.

        `read_image(path)` gives (1, C, H, W), `list_images(folder)` sorted paths. Returns images to be shown
        above all results, {label: (1, C, H, W)}; None leaves a place empty.
        """
        return {}

    def eval(self):
        """Running statistics for batch norms, no dropout (--eval)."""
        for net in self.nets.values():
            net.eval()

    # ---- logs and schedule

    def get_current_losses(self) -> dict[str, float]:
        """The losses of the last step, in the order of `loss_names`. Waits for the device."""
        known = {name: self.losses.get(name) for name in self.loss_names}
        tensors = [value for value in known.values() if value is not None]
        values = iter(torch.stack([tensor.float() for tensor in tensors]).tolist() if tensors else [])
        return {name: 0.0 if value is None else next(values) for name, value in known.items()}

    def set_learning_rate(self, progress: Progress):
        """Give all optimizers the rate of the step that comes next."""
        opt = self.opt
        if opt.lr_policy == 'plateau':
            multiplier = self.plateau.multiplier
        else:
            iteration = progress.iteration + 1 if opt.lr_step_unit == 'iter' else None
            multiplier = lr_multiplier(opt.lr_policy, progress.schedule_epoch, opt.n_epochs, opt.n_epochs_decay,
                                       opt.lr_decay_iters, opt.lr_gamma, iteration)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group['lr'] = opt.lr * multiplier

    def finish_epoch(self):
        """Let --lr_policy plateau see the epoch's mean loss."""
        if self.epoch_batches:
            self.plateau.update(float(self.epoch_metric) / self.epoch_batches)
        self.epoch_metric, self.epoch_batches = 0.0, 0

    @property
    def learning_rate(self) -> float:
        return next(iter(self.optimizers.values())).param_groups[0]['lr']

    # ---- checkpoints

    @property
    def folder(self) -> Path:
        return Path(self.opt.checkpoints_dir) / self.opt.name

    @property
    def label(self) -> str:
        """The checkpoint to load: `latest`, an epoch's number or `iter_N`."""
        return f'iter_{self.opt.load_iter}' if self.opt.load_iter else self.opt.epoch

    def weight_files(self) -> dict[str, Path]:
        """Which file each network is loaded from.

        With a --direction opposite to that of training, the networks of A and B take each other's place.
        """
        files = {name: run_folder.network_path(self.folder, self.label, name) for name in self.nets}
        swapped = self.two_way and not self.opt.isTrain and self.opt.trained_direction not in ('', self.opt.direction)
        if not swapped:
            return files
        other = str.maketrans('AB', 'BA')
        return {name: files[name[:-1] + name[-1].translate(other)] for name in files}

    def load_networks(self):
        """Load all networks of this model; a `UserError` tells what is missing or does not fit."""
        for name, path in self.weight_files().items():
            if not path.exists():
                raise UserError(f'no checkpoint {path.absolute()}: {run_folder.what_is_there(self.folder)}')
            checkpoint.load_weights(path, self.nets[name], networks.describe_generator)

    def resume(self) -> Progress:
        """Load everything and return where the run goes on; bare weights go on at --epoch_count."""
        self.load_networks()
        state = checkpoint.load_state(self.folder, self.label)
        if state is None:
            return Progress(epoch=self.opt.epoch_count)
        progress = Progress(**state['progress'])
        if 'epoch_count' in self.opt.given and self.opt.epoch_count != progress.epoch:
            raise UserError(f'--epoch_count {self.opt.epoch_count} contradicts {self.folder.absolute()}, '
                            f'which goes on with epoch {progress.epoch}; drop the option')
        if 'training' in state:
            self.load_training_state(state['training'])
        else:
            warn(f'{run_folder.state_path(self.folder, self.label).absolute()} is an older checkpoint that keeps '
                 f'weights and counters only; optimizers, pools and random numbers start anew')
        return progress

    def save(self, label: str, progress) -> Path:
        """Write all networks and the state under a label; returns the folder."""
        for name, net in self.nets.items():
            checkpoint.save_weights(run_folder.network_path(self.folder, label, name), net)
        checkpoint.save_state(self.folder, label, dict(
            options=self.opt.as_dict(), progress=progress.state_dict(), networks=list(self.nets),
            training=self.training_state()))
        return self.folder.absolute()

    def training_state(self) -> dict:
        """All that the next step depends on, besides the networks."""
        return dict(
            optimizers={name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            pools={name: pool.state_dict() for name, pool in self.pools.items()},
            plateau=self.plateau.state_dict(),
            epoch_metric=float(self.epoch_metric), epoch_batches=self.epoch_batches,
            rng=rng_state())

    def load_training_state(self, training: dict):
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(training['optimizers'][name])
        for name, pool in self.pools.items():
            pool.load_state_dict(training['pools'][name], self.device)
        self.plateau.load_state_dict(training['plateau'])
        self.epoch_metric, self.epoch_batches = training['epoch_metric'], training['epoch_batches']
        restore_rng_state(training['rng'])

    def describe_networks(self, verbose: bool = False) -> str:
        """Names and sizes of the networks, with their structure if `verbose`."""
        lines = ['---------- Networks initialized -------------']
        for name, net in self.nets.items():
            count = sum(parameter.numel() for parameter in net.parameters())
            lines += [str(net)] * verbose + [f'[Network {name}] Total number of parameters : {count / 1e6:.3f} M']
        return '\n'.join([*lines, '-----------------------------------------------'])


@contextmanager
def without_gradients(*nets: nn.Module):
    """Inside, the parameters of `nets` take no gradients; afterwards they are as they were."""
    frozen = [parameter for net in nets for parameter in net.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
