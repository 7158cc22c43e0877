"""What all models share: making networks, one optimizer step, logs, and saving. The arithmetic is theirs."""
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from util.errors import SizeError
from util.image_pool import ImagePool
from util.images import as_numbers
from util.machine.memory import memory_explained
from util.machine.seeding import derive_seed, restore_rng_state, rng_state

from . import catalog, networks
from .losses import gradient_penalty
from .nets.layers import share_batches
from .nets.recompute import recompute
from .training import engine
from .training.accumulate import Accumulated
from .training.averages import WeightAverages
from .training.boundary import Boundary
from .training.guard import FiniteGuard
from .training.optimizer import Adam, set_rate
from .training.progress import Progress
from .training.schedule import Plateau, lr_multiplier
from .training.state import Persistent


class BaseModel(Persistent):
    """A model is one file: option tables, `__init__`, `forward`, `optimize_parameters`, `get_current_visuals`.

    Networks are attributes named `net*`: `self.netG_A` is saved as `<label>_net_G_A.pth`. Optimizers are
    attributes named `optimizer*`. Both are found by their names, and so is an `ImagePool`.
    """

    defaults = {}           # other defaults for existing options
    options = {}            # own options of training and test: {name: (default, meaning[, choices])}
    train_options = {}
    test_options = {}
    whole = True            # has this process all that a checkpoint holds?
    two_way = False         # networks net*_A and net*_B translate both ways, --direction chooses at test time
    loss_names = ()         # order of the losses in the log
    plateau_losses = ()     # losses whose sum, as a mean over an epoch, steers --lr_policy plateau

    def __init__(self, opt, runtime):
        self.opt = opt
        self.runtime = runtime
        self.device = runtime.device
        self.group = runtime.group
        self.accumulation = None    # an engine that makes a step of several batches
        self.processes_before = runtime.group.size      # when the run was saved that goes on
        self.memory_format = engine.memory_format(runtime, opt.isTrain, opt.norm)
        self.engine = None          # made for the first step, when all networks are there
        self.losses = {}
        self.guard = FiniteGuard(self.group.size > 1)
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
        net = networks.init_weights(net, init_type or self.opt.init_type, self.opt.init_gain)
        return share_batches(net.to(self.device, memory_format=self.memory_format), self.group)

    def define_optimizer(self, *nets: nn.Module) -> torch.optim.Optimizer:
        """One Adam over all parameters of `nets`."""
        parameters = [parameter for net in nets for parameter in net.parameters()]
        return Adam(parameters, self.opt.lr, (self.opt.beta1, 0.999), self.opt.weight_decay)

    @cached_property
    def averages(self) -> WeightAverages:
        """Moving averages of the generators (--ema), from the weights they have when first asked for."""
        generators = {name: net for name, net in self.nets.items() if name.startswith('G')}
        return WeightAverages(generators if self.opt.isTrain and self.opt.ema else {}, self.opt.ema)

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
                image = as_numbers(batch[domain].to(self.device, non_blocking=True))
                setattr(self, f'real_{domain}', image.contiguous(memory_format=self.memory_format))
        self.image_paths = batch['A_paths']
        self.first_paths = [batch.get(f'{domain}_paths', batch['A_paths'])[0] for domain in 'AB' if domain in batch]
        self.check_sizes()

    def check_sizes(self):
        """A `SizeError` for images that the generator cannot take, or would return in another size."""
        multiple = catalog.size_multiple(self.opt.netG)
        needed = multiple if self.opt.isTrain or multiple > 4 else 1
        height, width = self.real_A.shape[-2:]
        if height % needed or width % needed:
            raise SizeError(self.image_paths[0], f'is {width}x{height} after --preprocess {self.opt.preprocess}, and '
                            f'--netG {self.opt.netG} needs multiples of {needed}; use --preprocess resize_and_crop '
                            f'or another --netG')
        smallest = catalog.smallest_input(self.opt.netG, self.opt.norm)
        if self.opt.isTrain:
            smallest = max(smallest, catalog.smallest_image(self.opt.netD, self.opt.n_layers_D))
        for domain, path in zip('AB', self.first_paths, strict=False):
            height, width = getattr(self, f'real_{domain}').shape[-2:]
            if min(height, width) < smallest:
                raise SizeError(path, f'is {width}x{height} after --preprocess {self.opt.preprocess}, and the '
                                f'networks need sides of at least {smallest}; use --preprocess resize_and_crop, or '
                                f'leave the image out')

    @property
    def update_size(self) -> int:
        """Images of an update: of all processes, and of all batches of --accumulate."""
        return self.opt.batch_size * self.group.size * self.opt.accumulate

    def train_step(self, batch: dict, images: int = 0):
        """A step on the share that this process has of `images`; as many as an update has if not given."""
        self.engine = self.engine or self.start_engine()
        self.boundary.keep()
        self.group.divide(self.opt.batch_size, images or self.update_size, parts=self.opt.accumulate)
        self.guard.begin(batch)
        with memory_explained(self.device, batch_size=self.opt.batch_size, crop_size=self.opt.crop_size):
            self.engine.step(batch)
        self.guard.end(self.losses)
        if self.opt.lr_policy == 'plateau':
            metric = sum(self.losses[name] for name in self.plateau_losses)
            self.epoch_metric = self.epoch_metric + self.group.sum(metric.clone())
            self.epoch_batches += 1
        self.boundary.close()

    @cached_property
    def boundary(self) -> Boundary:
        return Boundary(self)

    def undo_step(self) -> bool:
        """After an error: be between two steps again. False within a step that has made an update, which stays."""
        if self.guard.updates:
            return False
        if self.boundary.is_open:
            self.boundary.undo()
        return True

    def start_engine(self):
        if self.opt.grad_checkpoint:
            for net in self.nets.values():
                recompute(net)
        assert self.averages.decay == self.opt.ema      # made here at the latest: they begin before the first step
        return Accumulated(self) if self.opt.accumulate > 1 else engine.create(self.opt.engine, self)

    def draw(self):
        """All random numbers that the host draws for the step that comes; `set_input` was called."""
        for pool in self.pools.values():
            pool.group = self.group
            if not self.group.share:
                pool.draw(len(self.real_A))
            elif self.group.share.first:
                pool.draw(self.group.share.total)

    def step(self):
        """The work of a step on its device: no decision here waits for a number computed there."""
        with self.runtime.autocast():
            self.forward()
        self.optimize_parameters()
        self.averages.update()

    def minimize(self, loss, optimizer: torch.optim.Optimizer, frozen=()):
        """One optimizer step down the function `loss`; the networks in `frozen` are constants to it."""
        parts = self.accumulation
        if parts and not parts.comes(optimizer):
            return
        with without_gradients(*frozen), self.runtime.autocast():
            value = self.group.weighted(loss())
        if not parts or parts.is_first:
            optimizer.zero_grad(set_to_none=True)
        value.backward()
        value = parts.add(value) if parts else value
        if parts and not parts.is_last:
            return
        value = self.group.average_gradients(optimizer, value)
        self.guard.check(value, self.losses, optimizer)
        optimizer.step()

    def total(self, **terms):
        """The sum of the weighted terms of a loss, each noted for the log under its own name."""
        self.note(**terms)
        return sum(terms.values())

    def critic_penalty(self, netD, real, fake):
        """The gradient penalty that a Wasserstein critic needs; 0 for other objectives."""
        if self.opt.gan_mode != 'wgangp' or self.opt.lambda_gp == 0:
            return 0.0
        position = self.group.rows(lambda n: torch.rand(n, 1, 1, 1, device=real.device, dtype=real.dtype), len(real))
        return gradient_penalty(netD, real, fake, self.opt.lambda_gp, position)

    def note(self, **terms):
        """Keep losses for the log; they stay on the device until somebody reads them. Of a shared batch, its part."""
        for name, term in terms.items():
            value = self.group.weighted(term.detach())
            later = self.accumulation and not self.accumulation.is_first
            self.losses[name] = self.losses[name] + value if later else value

    def translate(self, batch: dict) -> dict:
        """`translate_batch` in the precision of the run, with the sizes told if memory does not suffice."""
        height, width = batch['A'].shape[-2:]
        with torch.inference_mode(), self.runtime.autocast(), \
                memory_explained(self.device, batch_size=len(batch['A']), size=f'{width}x{height}'):
            return self.translate_batch(batch)

    def translate_batch(self, batch: dict) -> dict:
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

    def preview(self, batch: dict) -> dict:
        """Visuals of a batch while training, (N, C, H, W) in [-1, 1]; it leaves no trace in the training.

        The same noise each time, and afterwards the random numbers, running statistics and current images of before.
        Only the process that shows it need call this: the others are not waited for.
        """
        before, rng = dict(vars(self)), rng_state()
        buffers = [(buffer, buffer.clone()) for net in self.nets.values() for buffer in net.buffers()]
        torch.manual_seed(derive_seed(self.opt.seed, 'preview'))
        try:
            with torch.no_grad(), self.runtime.autocast(), self.group.alone():
                visuals = self.preview_batch(batch)
        finally:
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
            vars(self).clear()
            vars(self).update(before)
            restore_rng_state(rng)
        return visuals

    def preview_batch(self, batch: dict) -> dict:
        self.set_input(batch)
        self.forward()
        return {label: image for label, image in self.get_current_visuals().items() if not label.startswith('idt')}

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
        """The losses of the last step, in the order of `loss_names`. Waits for the device, and for all processes."""
        known = {name: self.losses.get(name) for name in self.loss_names}
        tensors = [value for value in known.values() if value is not None]
        together = self.group.sum(torch.stack([tensor.float() for tensor in tensors])) if tensors else torch.zeros(0)
        values = iter(together.tolist())
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
            set_rate(optimizer, opt.lr * multiplier)

    def finish_epoch(self):
        """Let --lr_policy plateau see the epoch's mean loss."""
        if self.epoch_batches:
            self.plateau.update(float(self.epoch_metric) / self.epoch_batches)
        self.epoch_metric, self.epoch_batches = 0.0, 0

    @property
    def learning_rate(self) -> float:
        return float(next(iter(self.optimizers.values())).param_groups[0]['lr'])

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
