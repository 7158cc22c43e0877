"""The trainer's view of a model file written for the reference: `OlderModel` wraps its class."""
import copy
import inspect
import io
from contextlib import contextmanager, redirect_stdout

import numpy as np
import torch
from torch import nn

from models import base_model, reference_api, reference_models, reference_networks
from models.nets.layers import BatchNorm2d, Dropout, share_batches
from models.training.engine import Eager
from util.console import note
from util.errors import UserError
from util.image_pool import ImagePool
from util.images import AS_WRITTEN, as_numbers, swap_domains
from util.machine.memory import memory_explained
from util.registry import replaced_modules

MODULES = {'base_model': reference_api, 'networks': reference_networks, **dict.fromkeys(
    ('pix2pix_model', 'cycle_gan_model', 'test_model', 'colorization_model', 'template_model'), reference_models)}
SHARED_LAYERS = {nn.BatchNorm2d: BatchNorm2d, nn.Dropout: Dropout}
SMALLEST_RATE = 1e-30     # in place of 0, which has no ratio to other rates
NEEDED = ('set_input', 'forward', 'optimize_parameters')


def older_modules():
    """Inside, `from .base_model import BaseModel` and the like give the names of the older contract."""
    return replaced_modules('models', MODULES)


class OlderModel(base_model.BaseModel):
    """A model in the older contract, with everything that trainer, checkpoints, pages and test.py ask of a model.

    What the file overrides of the older base class is called in its place: the base class does the work of ours.
    """

    label = None        # of the checkpoint to load in `setup`
    saved = None        # the checkpoint saved last

    def __init__(self, kind: type, opt, runtime):
        super().__init__(opt, runtime)
        missing = [name for name in NEEDED if not hasattr(kind, name)]
        if missing:
            raise UserError(f'{inspect.getfile(kind)}: class {kind.__name__} has no method {missing[0]}; add it')
        settings = opt.writable()
        settings.device = runtime.device
        settings.gpu_ids = [] if runtime.device.type == 'cpu' else [runtime.device.index or 0]
        self.client = kind.__new__(kind)
        self.client.framework = self
        if self.overridden('initialize'):
            self.client.__init__()
            self.client.initialize(settings)
        else:
            self.client.__init__(settings)
        for net in self.nets.values():
            adopt(net.to(runtime.device), self.group)
        if opt.isTrain and not opt.continue_train:
            self.client.setup(self.client.opt)
        if opt.isTrain:
            self.first_scales = [group['lr'] / opt.lr for group in self.parameter_groups]
            self.scale_rates()

    def overridden(self, *names: str) -> bool:
        return any(getattr(type(self.client), name) is not getattr(reference_api.BaseModel, name) for name in names)

    @property
    def loss_names(self):
        return tuple(self.losses) or tuple(self.client.loss_names)

    plateau_losses = loss_names

    @property
    def nets(self):
        return self.client.named_nets

    @property
    def optimizers(self):
        return {str(index): optimizer for index, optimizer in enumerate(self.client.optimizers)}

    @property
    def parameter_groups(self) -> list[dict]:
        return [group for optimizer in self.client.optimizers for group in optimizer.param_groups]

    @property
    def pools(self):
        return {name: value for name, value in vars(self.client).items() if isinstance(value, ImagePool)}

    # ---- loading, saving, printing

    @property
    def own_loading(self):
        return self.load_by_itself if self.overridden('setup', 'load_networks') else None

    def load_by_itself(self, label: str):
        self.label = label
        self.client.setup(self.client.opt)

    def after_save(self, label):
        self.saved = int(label) if label.isdigit() else label
        self.client.save_networks(self.saved)

    def describe_networks(self, verbose=False, own=True):
        if not (own and self.overridden('print_networks')):
            return super().describe_networks(verbose)
        with redirect_stdout(io.StringIO()) as text:
            self.client.print_networks(verbose)
        return text.getvalue().rstrip()

    # ---- learning rates

    @contextmanager
    def own_rates(self):
        """A learning rate that the file sets inside stays, relative to that of --lr_policy."""
        before = [group['lr'] for group in self.parameter_groups]
        yield
        for group, rate in zip(self.parameter_groups, before, strict=True):
            if group['lr'] != rate:
                group['lr_scale'] *= max(group['lr'], SMALLEST_RATE) / rate

    def scale_rates(self):
        """The learning rate of --lr_policy in the ratio that the optimizers were created with."""
        for group, scale in zip(self.parameter_groups, self.first_scales, strict=True):
            group['lr_scale'] = scale

    def update_learning_rate(self, epoch, follow_schedule):
        def follow_from_scratch():
            self.scale_rates()
            follow_schedule()
        self.follow_schedule = follow_from_scratch
        for scheduler in self.client.schedulers:
            scheduler.last_epoch = epoch - self.opt.epoch_count     # also in a resumed run, which creates new ones
        self.client.update_learning_rate()
        rates = [group['lr'] for group in self.parameter_groups]
        follow_schedule()
        with self.own_rates():
            for group, rate in zip(self.parameter_groups, rates, strict=True):
                group['lr'] = rate

    # ---- images

    def set_input(self, batch):
        """Older models take floats, and swap the domains for --direction BtoA themselves."""
        levels = AS_WRITTEN not in batch
        batch = {key: as_numbers(value) if levels and torch.is_tensor(value) else value
                 for key, value in batch.items() if key != AS_WRITTEN}
        self.client.set_input(swap_domains(batch) if self.opt.direction == 'BtoA' else batch)
        self.image_paths = self.client.get_image_paths()

    def draw(self):
        """Pools draw when they are queried."""

    def forward(self):
        if self.opt.isTrain:
            self.client.forward()
            self.client.compute_visuals()
        else:
            self.client.test()

    def translate(self, batch):
        """Not in inference mode, because a file may compute gradients in `test`."""
        with torch.no_grad(), self.runtime.autocast(), memory_explained(self.device, batch_size=len(batch['A_paths'])):
            return self.translate_batch(batch)

    def as_tested(self, opt, averages):
        tested = super().as_tested(opt, {})
        tested.client = client = copy.copy(self.client)
        client.framework, client.isTrain = tested, False
        settings = opt.writable()
        settings.device, settings.gpu_ids = client.opt.device, client.opt.gpu_ids
        client.opt = settings
        for name, net in averages.items():
            setattr(client, f'net{name}', net)
        return tested

    def preview_batch(self, batch):
        self.client = copy.copy(self.client)    # `self` is a copy already
        return super().preview_batch(batch)

    def get_current_visuals(self):
        return {name: as_images(image) for name, image in self.client.get_current_visuals().items()}

    def eval(self):
        self.client.eval()

    def make_engine(self, trainer):
        return OlderStep(trainer)


def create_older_model(kind: type, opt, runtime) -> OlderModel:
    """The model of an older file; says once what the older contract cannot do."""
    if opt.isTrain:
        note(f'--model {opt.model} is written for the older contract: --engine, --accumulate and --parallel do not '
             f'apply, and it resumes exactly only if its state is in its networks, optimizers and pools')
    return OlderModel(kind, opt, runtime)


def adopt(net: nn.Module, group):
    """Let the batch norms and dropouts of a network share the batches of several processes."""
    if group.size > 1:
        for module in net.modules():
            if not isinstance(module, nn.BatchNorm2d) or (module.affine and module.track_running_stats):
                module.__class__ = SHARED_LAYERS.get(type(module), type(module))
    share_batches(net, group)


def as_images(image) -> torch.Tensor:
    """(N, C, H, W) in [-1, 1]; older models may show a numpy image (H, W, C) in 0..255."""
    if isinstance(image, np.ndarray):
        return torch.from_numpy(image.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    return image


class OlderStep(Eager):
    """A step of a model that makes its updates itself: its optimizers check and average gradients before each one."""

    def __init__(self, trainer):
        super().__init__(trainer)
        if trainer.accumulate > 1:
            raise UserError('--accumulate needs a model with `updates` (docs/extending.md); drop the option')
        for optimizer in self.model.optimizers.values():
            optimizer.register_step_pre_hook(self.before_update)

    def step(self, batch):
        self.prepare(batch)
        with self.model.runtime.autocast(), self.model.own_rates():
            self.model.client.optimize_parameters()
        self.model.losses = self.current_losses()
        self.trainer.averages.update()

    def before_update(self, optimizer, *_):
        group, device = self.trainer.group, self.model.device
        if group.share is not None:
            for parameters in optimizer.param_groups:
                for parameter in parameters['params']:
                    if parameter.grad is not None:
                        parameter.grad.mul_(group.share.weight)
        loss = group.average_gradients(optimizer, torch.zeros((), device=device))
        self.trainer.guard.check(loss, self.current_losses(), optimizer, at_once=True)

    def current_losses(self) -> dict:
        client = self.model.client
        if self.model.overridden('get_current_losses'):
            found = client.get_current_losses()
        else:
            found = {name: getattr(client, f'loss_{name}', 0.0) for name in client.loss_names}
        return {name: self.as_loss(value) for name, value in found.items()}

    def as_loss(self, value) -> torch.Tensor:
        value = torch.as_tensor(value, dtype=torch.float32, device=self.model.device)
        return self.trainer.group.weighted(value.detach().mean())
