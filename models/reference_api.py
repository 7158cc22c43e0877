"""`BaseModel` as model files import it which were written for pytorch-CycleGAN-and-pix2pix (2018 to 2025).

In that older contract a model takes `opt` alone, lists its parts in `loss_names`, `model_names`, `visual_names` and
`optimizers`, and makes a whole step in `optimize_parameters`. Such files run unchanged: while one is imported, this
module takes the place of `models.base_model` (see reference_adapter.py). Native models know nothing of it.
"""
import os
from collections import OrderedDict
from functools import partial
from pathlib import Path

import torch

from util.checkpoint import layout, transaction
from util.checkpoint.store import load_weights


class BaseModel:
    """What a class in the older contract inherits: its attributes, and the methods that it may override or call.

    train.py and test.py call these methods at the usual places, so an override is called too. `framework` is the
    `OlderModel` through which they see the object.
    """

    framework = None

    @staticmethod
    def modify_commandline_options(parser, is_train):
        return parser

    def __init__(self, opt=None):
        if opt is not None:
            BaseModel.initialize(self, opt)

    def initialize(self, opt):
        """The constructor of 2018."""
        self.opt = opt
        self.isTrain = opt.isTrain
        self.gpu_ids = opt.gpu_ids
        self.device = opt.device
        self.save_dir = os.path.join(opt.checkpoints_dir, opt.name)
        self.loss_names = []
        self.model_names = []
        self.visual_names = []
        self.optimizers = []
        self.schedulers = []
        self.image_paths = []
        self.metric = 0

    def name(self):
        return type(self).__name__

    # ---- networks

    @property
    def named_nets(self) -> dict:
        found = {name: getattr(self, f'net{name}', None) for name in self.model_names}
        return {name: getattr(net, 'module', net) for name, net in found.items() if net is not None}

    def setup(self, opt=None, parser=None):
        """Load the checkpoint that is tested or continued, if any."""
        if self.framework.label is not None:
            self.load_networks(self.framework.label)

    def print_networks(self, verbose=False):
        print(self.framework.describe_networks(verbose, own=False))

    def load_networks(self, epoch):
        for name, net in self.named_nets.items():
            load_weights(layout.network_path(Path(self.save_dir), str(epoch), name), net)

    def save_networks(self, epoch):
        """Save the weights; for a checkpoint of the training everything is saved already."""
        if epoch != self.framework.saved:
            folder = Path(self.save_dir)
            files = {layout.network_path(folder, str(epoch), name).name: partial(torch.save, net.state_dict())
                     for name, net in self.named_nets.items()}
            transaction.write_set(folder, str(epoch), files, {})

    def set_requires_grad(self, nets, requires_grad=False):
        for net in nets if isinstance(nets, list) else [nets]:
            if net is not None:
                net.requires_grad_(requires_grad)

    def eval(self):
        for net in self.named_nets.values():
            net.eval()

    def update_learning_rate(self):
        """After an epoch: step the schedulers of the file, or follow --lr_policy if it has none."""
        if not self.schedulers:
            self.framework.follow_schedule()
        for scheduler in self.schedulers:
            if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
                scheduler.step(self.metric)
            else:
                scheduler.step()

    # ---- images and losses

    def test(self):
        with torch.no_grad():
            self.forward()
            self.compute_visuals()

    def compute_visuals(self):
        """Compute additional images to show."""

    def get_image_paths(self):
        return self.image_paths

    def get_current_visuals(self):
        return OrderedDict((name, getattr(self, name)) for name in self.visual_names if hasattr(self, name))

    def get_current_losses(self):
        found = ((name, torch.as_tensor(getattr(self, f'loss_{name}', 0.0))) for name in self.loss_names)
        return OrderedDict((name, float(value.detach())) for name, value in found)
