"""What `create_model(opt)` gives a script with a loop of its own: any model here, with the methods of the reference."""
from collections import OrderedDict
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch

from models.reference_adapter import OlderModel
from models.training.progress import Progress
from models.training.state import TrainingState, load_networks
from util.checkpoint import store
from util.console import say
from util.images import AS_WRITTEN, swap_domains
from util.machine.runtime import start_runtime


class ScriptModel:
    """`setup`, `set_input`, `optimize_parameters`, `test`, `save_networks`, ... as scripts of the reference call them.

    Attributes that are not here are those of the model: `model.netG`, `model.fake_B`, `model.loss_names`.
    """

    def __init__(self, opt, create_model, create_trainer):
        self.opt = opt = opt.frozen()
        runtime = start_runtime(opt.gpu_ids, opt.cpu_threads, opt.seed, 'gpu_ids' in opt.given, opt.precision,
                                opt.deterministic)
        self.model = create_model(opt, runtime)
        self.trainer = create_trainer(opt, self.model) if opt.isTrain else None
        self.folder = Path(opt.checkpoints_dir) / opt.name
        self.save_dir, self.isTrain = str(self.folder), opt.isTrain
        self.progress = Progress(epoch=opt.epoch_count if opt.isTrain else 1)
        self.progress.last_epoch = opt.n_epochs + opt.n_epochs_decay if opt.isTrain else 1
        self.batch = self.visuals = None
        if self.trainer:
            self.trainer.set_learning_rate(self.progress)
        self.target = self.model.client if isinstance(self.model, OlderModel) else self.model

    def __setattr__(self, name, value):
        """What a script assigns, such as `model.real_A`, is for the model, unless it is an attribute of this class."""
        own = 'target' not in vars(self) or name in vars(self)
        object.__setattr__(self if own else self.target, name, value)

    def __getattr__(self, name):
        """Of the model, or of the object that an older model file defines."""
        model, target = self.__dict__['model'], self.__dict__['target']
        short = name.partition('_')[2]
        if target is not model and hasattr(target, name):
            return getattr(target, name)
        if name.startswith('loss_') and short in model.losses:
            return model.losses[short]
        if name.startswith('backward_') and hasattr(model, f'loss_{short}'):
            return partial(self.backward, getattr(model, f'loss_{short}'))
        if name == 'visual_names':
            return list(model.get_current_visuals())
        return getattr(model, name)

    @property
    def model_names(self):
        return list(self.model.nets)

    @property
    def loss_names(self):
        return list(self.model.loss_names)

    @property
    def optimizers(self):
        return list(self.model.optimizers.values())

    @property
    def schedulers(self):
        """One for all optimizers."""
        return [SimpleNamespace(step=self.update_learning_rate)]

    def backward(self, loss):
        """The gradients of an update, for a loop that makes it itself: `backward_G()`, then `optimizer_G.step()`."""
        update = next(update for update in self.model.updates() if update.loss == loss)
        self.trainer.backward(update, accumulate=False)

    def setup(self, opt=None):
        """Load the weights of a test, or of --continue_train, and print the networks."""
        if not self.trainer or self.opt.continue_train:
            self.load_networks(f'iter_{self.opt.load_iter}' if self.opt.load_iter else self.opt.epoch)
        self.print_networks(self.opt.verbose)

    def print_networks(self, verbose=False):
        say(self.model.describe_networks(verbose))

    def load_networks(self, epoch):
        """The weights of a checkpoint; in training everything else that it holds, too."""
        if self.trainer:
            last_epoch, state = self.progress.last_epoch, TrainingState(self.trainer, self.folder, self.opt.as_dict())
            self.progress, _ = state.resume(str(epoch), keep_threads=True)
            self.progress.epoch, self.progress.last_epoch = self.opt.epoch_count, last_epoch
            self.trainer.set_learning_rate(self.progress)
        else:
            load_networks(self.model, self.folder, str(epoch), averages=not self.opt.no_ema)

    def save_networks(self, epoch):
        state = TrainingState(self.trainer, self.folder, self.opt.as_dict())
        store.save(self.folder, str(epoch), **state.snapshot(self.progress))
        if self.model.after_save:
            self.model.after_save(str(epoch))

    # ---- steps

    def set_input(self, input):
        """A batch of `create_dataset(opt)`, or one made by hand; domains are those of the files."""
        batch = {key: value for key, value in input.items()}
        images = next((value for value in batch.values() if torch.is_tensor(value)), [None])
        batch.setdefault('A_paths', [''] * len(images))
        batch[AS_WRITTEN] = ''
        self.batch = swap_domains(batch) if self.opt.direction == 'BtoA' else batch
        self.visuals = None
        self.model.set_input(self.batch)

    def optimize_parameters(self):
        self.trainer.step(self.batch)
        self.progress.advance(len(self.batch['A_paths']))

    def forward(self):
        self.model.forward()

    def test(self):
        with torch.no_grad(), self.model.runtime.autocast():    # a script may compute gradients from the result
            self.visuals = self.model.translate_batch(self.batch)
        vars(self.model).update(self.visuals)

    def compute_visuals(self):
        """`get_current_visuals` computes what it shows."""

    def eval(self):
        self.model.eval()

    # ---- between steps

    def get_current_visuals(self):
        visuals = self.visuals or self.model.get_current_visuals()
        chosen = vars(self.model).get('visual_names', visuals)      # by a script
        return OrderedDict((name, image) for name, image in visuals.items() if name in chosen)

    def get_current_losses(self):
        return OrderedDict(self.model.get_current_losses())

    def get_image_paths(self):
        return self.model.image_paths

    def set_requires_grad(self, nets, requires_grad=False):
        for net in nets if isinstance(nets, list) else [nets]:
            net.requires_grad_(requires_grad)

    def update_learning_rate(self):
        """Called once in each epoch: the learning rate of the next one."""
        self.progress.finish_epoch()
        before = self.trainer.finish_epoch(self.progress)
        say(f'learning rate {before:.7f} -> {self.trainer.learning_rate:.7f}')
