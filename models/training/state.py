"""How a model is saved and loaded: its networks, and all that its next step depends on."""
from pathlib import Path

import torch

from models import networks
from util.checkpoint import layout, store, transaction
from util.console import warn
from util.errors import NonFiniteError, UserError
from util.machine.seeding import restore_rng_state, rng_state

from .progress import Progress


class Persistent:
    """The part of `BaseModel` that knows files; it finds networks, optimizers and pools by their names."""

    @property
    def folder(self) -> Path:
        return Path(self.opt.checkpoints_dir) / self.opt.name

    @property
    def label(self) -> str:
        """The checkpoint to load: `latest`, an epoch's number or `iter_N`."""
        return f'iter_{self.opt.load_iter}' if self.opt.load_iter else self.opt.epoch

    def file_of(self, name: str) -> Path:
        """The file of a network's weights; at test time that of their moving average where there is one."""
        average = layout.network_path(self.folder, self.label, f'{name}_ema')
        wanted = not self.opt.isTrain and not getattr(self.opt, 'no_ema', True)
        return average if wanted and average.exists() else layout.network_path(self.folder, self.label, name)

    def weight_files(self) -> dict[str, Path]:
        """Which file each network is loaded from.

        With a --direction opposite to that of training, the networks of A and B take each other's place.
        """
        files = {name: self.file_of(name) for name in self.nets}
        swapped = self.two_way and not self.opt.isTrain and self.opt.trained_direction not in ('', self.opt.direction)
        if not swapped:
            return files
        other = str.maketrans('AB', 'BA')
        return {name: files[name[:-1] + name[-1].translate(other)] for name in files}

    def load_networks(self):
        """Load all networks of this model; a `UserError` tells what is missing or does not fit."""
        for name, path in self.weight_files().items():
            if not path.exists():
                raise UserError(f'no checkpoint {path.absolute()}: {layout.what_is_there(self.folder)}')
            store.load_weights(path, self.nets[name], networks.describe_generator)

    def load_averages(self, label: str):
        """The moving averages of a checkpoint, where it has some; else they begin with its weights."""
        for name, net in self.averages.nets.items():
            path = layout.network_path(self.folder, label, f'{name}_ema')
            if path.exists():
                store.load_weights(path, net)

    def resume(self) -> tuple[Progress, dict]:
        """Load everything; returns where the run goes on, and the lengths of its logs there.

        Bare weights go on at --epoch_count.
        """
        try:
            self.load_networks()
        except NonFiniteError as error:
            finite = [label for label in transaction.by_age(self.folder) if self.is_finite(label)]
            raise UserError(f'{error}; finite ones here: {", ".join(finite) or "none"}')
        self.load_averages(self.label)
        state = store.load_state(self.folder, self.label)
        if state is None:
            self.check_bare()
            return Progress(epoch=self.opt.epoch_count), {}
        progress = Progress(**state['progress'])
        if 'epoch_count' in self.opt.given and self.opt.epoch_count != progress.epoch:
            raise UserError(f'--epoch_count {self.opt.epoch_count} contradicts {self.folder.absolute()}, '
                            f'which goes on with epoch {progress.epoch}; drop the option')
        if self.device.type == 'cpu' and 'cpu_threads' not in self.opt.given and 'threads' in state:
            torch.set_num_threads(state['threads'])     # others would round sums otherwise
        self.processes_before = state.get('processes', 1)
        self.load_training(state)
        return progress, state.get('logs', {})

    def check_bare(self):
        """A `UserError` for weights that are bare only because their state was lost, unless --epoch_count says how."""
        path = layout.state_path(self.folder, self.label)
        if path in transaction.entries_of(self.folder, self.label) and 'epoch_count' not in self.opt.given:
            raise UserError(f'{path.absolute()} is missing; use another checkpoint (--epoch), copy the file again, or '
                            f'go on from bare weights by --epoch_count')

    def is_finite(self, label: str) -> bool:
        """Has a checkpoint of this run only finite weights?"""
        files = (layout.network_path(self.folder, label, name) for name in self.nets)
        return all(path.exists() and store.is_finite(store.read(path)) for path in files)

    def load_training(self, state: dict):
        training = store.load_training(self.folder, self.label, state)
        if training:
            self.load_training_state(training)
        else:
            path = layout.training_path(self.folder, self.label).absolute()
            warn(f'{self.label} is an older checkpoint that keeps weights and counters only (there is no {path}); '
                 f'optimizers, pools and random numbers start anew')

    def roll_back(self, label: str):
        """Weights, optimizers and pools of a checkpoint of this run; random numbers go on from where they are."""
        for name, net in self.nets.items():
            store.load_weights(layout.network_path(self.folder, label, name), net)
        self.load_averages(label)
        training = store.load_training(self.folder, label, store.load_state(self.folder, label))
        self.load_training_state(training, rng=False)

    def save(self, label: str, progress) -> Path:
        """Write all networks and the state under a label; returns the folder."""
        store.save(self.folder, label, **self.snapshot(progress))
        return self.folder.absolute()

    def gather_state(self):
        """Have all that a checkpoint holds here, where several processes have parts of it; all of them call it."""

    def snapshot(self, progress, logs: dict | None = None, into: dict | None = None) -> dict:
        """Copies, on the CPU, of all that a checkpoint holds; `logs` are the lengths of the log files.

        The memory of `into`, an earlier snapshot, is used again.
        """
        averages = {f'{name}_ema': net for name, net in self.averages.nets.items()}
        return store.cpu_copy(dict(
            networks={name: net.state_dict() for name, net in {**self.nets, **averages}.items()},
            state=dict(options=self.opt.as_dict(), progress=progress.state_dict(), networks=list(self.nets),
                       logs=logs or {}, threads=torch.get_num_threads(), processes=self.runtime.group.size),
            training=self.training_state()), into)

    def training_state(self) -> dict:
        """All that the next step depends on, besides the networks."""
        return dict(
            optimizers={name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            pools={name: pool.state_dict() for name, pool in self.pools.items()},
            plateau=self.plateau.state_dict(),
            epoch_metric=float(self.epoch_metric), epoch_batches=self.epoch_batches,
            rng=rng_state())

    def load_training_state(self, training: dict, rng: bool = True):
        """What `training_state` gave; without `rng` the random numbers go on from where they are."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(training['optimizers'][name])
        for name, pool in self.pools.items():
            pool.load_state_dict(training['pools'][name], self.device)
        self.plateau.load_state_dict(training['plateau'])
        self.epoch_metric, self.epoch_batches = training['epoch_metric'], training['epoch_batches']
        self.engine = None      # a captured step has the tensors of before
        if rng:
            restore_rng_state(training['rng'])
            self.group.same_random_numbers(self.device)
