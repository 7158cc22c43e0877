"""The trainer's view of a model file written for the reference: `OlderModel` wraps its class."""
import copy
import inspect
from contextlib import contextmanager

import numpy as np
import torch

from models import base_model, reference_api, reference_models
from models.nets.layers import share_batches
from models.training.engine import Eager
from util.console import note
from util.errors import UserError
from util.image_pool import ImagePool
from util.images import as_numbers, swap_domains
from util.registry import replaced_modules


@contextmanager
def older_modules():
    """Inside, `from .base_model import BaseModel` and the like give the names of the older contract."""
    extended = dict.fromkeys(('pix2pix_model', 'cycle_gan_model', 'test_model'), reference_models)
    with replaced_modules('models', {'base_model': reference_api, 'networks': reference_api, **extended}):
        yield


class OlderModel(base_model.BaseModel):
    """A model in the older contract, with everything that trainer, checkpoints, pages and test.py ask of a model."""

    def __init__(self, kind: type, opt, runtime):
        super().__init__(opt, runtime)
        missing = [name for name in ('set_input', 'forward', 'optimize_parameters') if not hasattr(kind, name)]
        if missing:
            raise UserError(f'{inspect.getfile(kind)}: class {kind.__name__} has no method {missing[0]}; add it')
        settings = opt.writable()
        settings.device = runtime.device
        settings.gpu_ids = [] if runtime.device.type == 'cpu' else [runtime.device.index or 0]
        if 'initialize' in dir(kind) and kind.initialize is not reference_api.BaseModel.initialize:
            self.client = kind()
            self.client.initialize(settings)
        else:
            self.client = kind(settings)
        for net in self.nets.values():
            share_batches(net, self.group)
        if opt.isTrain:
            self.lr_scales = {name: optimizer.param_groups[0]['lr'] / opt.lr
                              for name, optimizer in self.optimizers.items()}

    @property
    def loss_names(self):
        return self.client.loss_names

    @property
    def plateau_losses(self):
        return tuple(self.client.loss_names)

    @property
    def nets(self):
        found = {name: getattr(self.client, f'net{name}', None) for name in self.client.model_names}
        return {name: getattr(net, 'module', net) for name, net in found.items() if net is not None}

    @property
    def optimizers(self):
        return {str(index): optimizer for index, optimizer in enumerate(self.client.optimizers)}

    @property
    def pools(self):
        return {name: value for name, value in vars(self.client).items() if isinstance(value, ImagePool)}

    def set_input(self, batch):
        """Older models take floats, and swap the domains for --direction BtoA themselves."""
        batch = {key: as_numbers(value) if torch.is_tensor(value) else value for key, value in batch.items()}
        self.client.set_input(swap_domains(batch) if self.opt.direction == 'BtoA' else batch)
        self.image_paths = self.client.get_image_paths()

    def draw(self):
        """Pools draw when they are queried."""

    def forward(self):
        self.client.forward()
        self.client.compute_visuals()

    def translate(self, batch):
        if 'A' in batch:
            return super().translate(batch)
        image = next(value for value in batch.values() if torch.is_tensor(value) and value.ndim == 4)
        return super().translate({**batch, 'A': image})     # the sizes of a batch are those of A

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
        with self.model.runtime.autocast():
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
        client, found = self.model.client, {}
        for name in client.loss_names:
            value = torch.as_tensor(getattr(client, f'loss_{name}', 0.0), dtype=torch.float32, device=self.model.device)
            found[name] = self.trainer.group.weighted(value.detach().mean())
        return found
