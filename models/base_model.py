"""What all models share: creating networks and optimizers, the inputs of a step, and losses for the log."""
import torch
from torch import nn

from models import catalog, networks
from models.nets.layers import share_batches
from models.objectives import Objectives
from models.training.optimizer import Adam, Update
from models.translating import Translating
from util.errors import SizeError
from util.image_pool import ImagePool
from util.images import as_numbers
from util.machine.runtime import memory_format


class BaseModel(Objectives, Translating):
    """A model is one file: option tables, `__init__`, `forward`, `updates`, `get_current_visuals`.

    Attributes named `net*` are networks: `self.netG_A` is saved as `<label>_net_G_A.pth`. Attributes named
    `optimizer*` are optimizers. Both, and every `ImagePool`, are found, saved and resumed automatically.
    """

    defaults = {}           # other defaults for existing options
    options = {}            # new options for training and test: {name: (default, meaning[, choices])}
    train_options = {}
    test_options = {}
    # What the command line must know: literals like the tables, read without importing the file
    two_way = False         # net*_A and net*_B belong to domains; --direction chooses one at test time
    twin = False            # supports --parallel twin
    own_networks = False    # --netG, --netD and --norm have no effect
    size_rule = 'generator'     # which image sizes are allowed: a rule in options/rules.py
    netG_families = ()      # the kinds of --netG that it supports: resnet, unet, encdec; () for all
    same_channels = False   # --input_nc and --output_nc must be equal
    preset_option = 'preset'    # the option whose value chooses defaults from `presets`, {value: {option: default}}
    dataset_modes = ()      # the dataset modes that it supports; () for all
    older_names = ()        # pairs (old, new) of option names that are older ones for this model alone
    excludes = {}           # {option: {value: reason}}: values that it does not support
    translates_only = False     # it cannot be trained
    translates_single = False   # supports --dataset_mode single, so it needs no --model test
    generator_alone = True  # the output of its generator is an image
    translation = 'generator'   # how its generator is used alone: a name in models/translation/kinds.py

    owns_full_state = True  # False if this process holds only part of the state
    loss_names = ()         # order of the losses in the log
    make_engine = None      # `make_engine(trainer)`, if its steps are made in a way of their own
    own_loading = None      # `own_loading(label)`, if its networks are loaded in a way of their own
    after_save = None       # `after_save(label)`, if it writes files besides a checkpoint
    lr_scales = {}          # {optimizer: its learning rate relative to --lr}, if it is not 1
    target = None           # ('fake_B', 'real_B'): a translation, and the image that scores compare it with
    plateau_losses = ()     # losses whose sum, averaged over an epoch, drives --lr_policy plateau

    def __init__(self, opt, runtime):
        self.opt = opt
        self.runtime = runtime
        self.device = runtime.device
        self.group = runtime.group
        self.memory_format = memory_format(runtime, opt.isTrain, opt.norm, opt.fused_norms)
        self.losses = {}            # {name: tensor on the device} of the last step
        self.noted = {}             # terms of the loss computed last
        self.style_sources = {}     # {visual: path of the image that its style comes from}
        if opt.isTrain:
            self.prepare_objectives()

    # ---- networks and optimizers

    def define_G(self, input_nc: int, output_nc: int) -> nn.Module:
        """The generator that --netG, --ngf, --norm, --no_dropout, --antialias and --upsample describe."""
        opt = self.opt
        net = networks.create_generator(opt.netG, input_nc, output_nc, opt.ngf, opt.norm, not opt.no_dropout,
                                        opt.antialias, opt.upsample, **self.options_of_net(opt.netG))
        return self.normalized(self.prepare(net))

    def define_D(self, input_nc: int) -> nn.Module:
        """The discriminator that --netD, --ndf, --n_layers_D, --norm and --antialias describe."""
        opt = self.opt
        net = networks.create_discriminator(opt.netD, input_nc, opt.ndf, opt.n_layers_D, opt.norm, opt.antialias,
                                            **self.options_of_net(opt.netD))
        return self.regularized(self.prepare(net))

    def options_of_net(self, name: str) -> dict:
        return {option: getattr(self.opt, option) for option in catalog.options_of_net(name)}

    def prepare(self, net: nn.Module, init_type: str = '') -> nn.Module:
        """Initialize the weights of `net` and move it to the device."""
        net = networks.init_weights(net, init_type or self.opt.init_type, self.opt.init_gain)
        return share_batches(net.to(self.device, memory_format=self.memory_format), self.group)

    def define_optimizer(self, *nets: nn.Module) -> torch.optim.Optimizer:
        """One Adam over all parameters of `nets`."""
        parameters = [parameter for net in nets for parameter in net.parameters()]
        return Adam(parameters, self.opt.lr, (self.opt.beta1, self.opt.beta2), self.opt.weight_decay)

    def named(self, prefix: str, kind: type) -> dict:
        return {name.removeprefix(prefix): value for name, value in vars(self).items()
                if name.startswith(prefix) and isinstance(value, kind)}

    @property
    def nets(self) -> dict[str, nn.Module]:
        return self.named('net', nn.Module)

    @property
    def generators(self) -> dict[str, nn.Module]:
        return {name: net for name, net in self.nets.items() if name.startswith('G')}

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return self.named('optimizer', torch.optim.Optimizer)

    @property
    def pools(self) -> dict[str, ImagePool]:
        return self.named('', ImagePool)

    # ---- one step

    def set_input(self, batch: dict):
        """Set `real_A` and `real_B` to the images of the batch: (N, C, H, W) in [-1, 1] on the device."""
        for domain in 'AB':
            if domain in batch:
                image = as_numbers(batch[domain].to(self.device, non_blocking=True))
                setattr(self, f'real_{domain}', image.contiguous(memory_format=self.memory_format))
        self.image_paths = batch['A_paths']
        self.first_paths = [batch.get(f'{domain}_paths', batch['A_paths'])[0] for domain in 'AB' if domain in batch]
        self.check_sizes()

    def check_sizes(self):
        """Raise a `SizeError` for images that the networks cannot process, or would return in another size."""
        opt = self.opt
        own = type(self).define_G is not BaseModel.define_G     # it says itself what it cannot take
        multiple = 1 if own else catalog.size_multiple(opt.netG)
        needed = multiple if opt.isTrain or multiple > 4 else 1
        height, width = self.real_A.shape[-2:]
        if height % needed or width % needed:
            raise SizeError(self.image_paths[0], f'is {width}x{height} after --preprocess {opt.preprocess}, but '
                            f'--netG {opt.netG} needs multiples of {needed}; {self.size_cure()}')
        smallest = 1 if own else catalog.smallest_input(opt.netG, opt.norm)
        if opt.isTrain:
            smallest = max(smallest, catalog.smallest_image(opt.netD, opt.n_layers_D, getattr(opt, 'num_scales_D', 1)))
        for domain, path in zip('AB', self.first_paths, strict=False):
            height, width = getattr(self, f'real_{domain}').shape[-2:]
            if min(height, width) < smallest:
                raise SizeError(path, f'is {width}x{height} after --preprocess {opt.preprocess}, but the networks '
                                f'need sides of at least {smallest}; {self.size_cure()}, or remove the image')

    def draw(self):
        """Draw the random numbers that the host needs in the next step. Called after `set_input`."""
        for pool in self.pools.values():
            pool.group = self.group
            if not self.group.share:
                pool.draw(len(self.real_A))
            elif self.group.share.first:
                pool.draw(self.group.share.total)

    def forward(self):
        """Compute the images of a step from `real_A` and `real_B`."""
        raise NotImplementedError

    def updates(self) -> list[Update]:
        """The updates of a step, in order: an optimizer, its loss function, and the networks frozen in it."""
        self._updates = []
        self.optimize_parameters()      # of models for version 0.1, which calls `minimize`
        return self._updates

    def minimize(self, loss, optimizer: torch.optim.Optimizer, frozen=()):
        """For `optimize_parameters`: add an update."""
        self._updates.append(Update(optimizer, loss, tuple(frozen)))

    def total(self, **terms):
        """The sum of the weighted terms of a loss. Each term is logged under its name."""
        self.note(**terms)
        return sum(terms.values())

    def note(self, **terms):
        """Log losses. They stay on the device until they are printed."""
        self.noted.update({name: term.detach() for name, term in terms.items()})

    def gather_state(self, averages: dict[str, nn.Module]):
        """All processes call it, so that the main one has the full state and the `averages` of networks."""

    def update_learning_rate(self, epoch: int, follow_schedule):
        """After `epoch`: `follow_schedule()` gives all optimizers the learning rate of the next one."""
        follow_schedule()

    def get_current_losses(self) -> dict[str, float]:
        """The losses of the last step, those of `loss_names` first. Synchronizes with the device and all processes."""
        known = {name: self.losses.get(name) for name in dict.fromkeys([*self.loss_names, *self.losses])}
        tensors = [value for value in known.values() if value is not None]
        values = iter(self.group.sum(torch.stack([tensor.float() for tensor in tensors])).tolist() if tensors else [])
        return {name: 0.0 if value is None else next(values) for name, value in known.items()}
