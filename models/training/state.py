"""What a checkpoint of a training holds: networks, averages, and all that the next step depends on."""
from pathlib import Path

import torch

from models.nets.factory import describe_generator
from models.training.progress import Progress
from models.validation.validation import Validation
from util.checkpoint import damage, layout, store
from util.checkpoint.manifest import newest_first
from util.console import note, warn
from util.errors import NonFiniteError, UserError


def weight_files(model, folder: Path, label: str, averages: bool = False) -> dict[str, Path]:
    """The file that each network is loaded from; with `averages` that of its moving average if there is one."""
    files = {}
    for name, saved in model.saved_names(layout.labels(folder).get(label, [])).items():
        average = layout.network_path(folder, label, f'{saved}_ema')
        files[name] = average if averages and average.exists() else layout.network_path(folder, label, saved)
    return files


def load_networks(model, folder: Path, label: str, averages: bool = False) -> list[Path]:
    """Load all networks of a model and return their files; a `UserError` says what is missing or does not fit."""
    if model.own_loading:
        model.own_loading(label)
        return []
    files = weight_files(model, folder, label, averages)
    for name, path in files.items():
        if not path.exists():
            found = layout.labels(folder).get(label)
            raise UserError(f'no checkpoint {path.absolute()}: ' + (
                f'{label} has only the networks {", ".join(found)}; choose another --epoch, or the --model or '
                f'--model_suffix of these' if found else layout.describe_checkpoints(folder)))
        store.load_weights(path, model.nets[name], describe_generator)
    return list(files.values())


class TrainingState:
    """Saves a trainer to, and loads it from, the checkpoints of one run.

    Args:
        folder: the run folder.
        options: all options of the run as a dict; they are saved with every checkpoint.
        validation: the `Validation` of the run.
    """

    def __init__(self, trainer, folder: Path, options: dict, validation: Validation | None = None):
        self.trainer, self.model = trainer, trainer.model
        self.folder, self.options = folder, options
        self.validation = validation or Validation()
        self.resumed_options = {}       # of the run as it was saved

    # ---- saving

    def snapshot(self, progress: Progress, logs: dict | None = None, into: dict | None = None) -> dict:
        """Copies, on the CPU, of all that a checkpoint holds; `logs` are the lengths of the log files.

        The memory of `into`, an earlier snapshot, is used again.
        """
        averages = {f'{name}_ema': net for name, net in self.trainer.averages.nets.items()}
        nets = self.model.nets
        return store.cpu_copy(dict(
            networks={name: net.state_dict() for name, net in {**nets, **averages}.items()},
            state=dict(options=self.options, progress=progress.state_dict(), networks=list(nets), logs=logs or {},
                       validation=self.validation.state_dict(), threads=torch.get_num_threads(),
                       processes=self.model.runtime.group.size),
            training=self.trainer.state_dict()), into)

    def sizes(self) -> tuple[int, int]:
        """About how many bytes the weights and the training file of a checkpoint will have."""
        model = self.model
        weights = sum(tensor.nbytes for net in [*model.nets.values(), *self.trainer.averages.nets.values()]
                      for tensor in net.state_dict().values())
        moments = sum(2 * parameter.nbytes for optimizer in model.optimizers.values()      # Adam has two per weight
                      for group in optimizer.param_groups for parameter in group['params'])
        images = sum(pool.size for pool in model.pools.values()) * getattr(model, 'real_A', torch.empty(0))[:1].nbytes
        return weights, moments + images

    # ---- loading

    def resume(self, label: str, epoch_count: int | None = None,
               keep_threads: bool = False) -> tuple[Progress, dict]:
        """Load everything; returns the progress of the run, and the lengths of its logs at that point.

        `epoch_count`: --epoch_count if it was given; the first epoch of a run that has bare weights only.
        `keep_threads`: the number of CPU threads was given, so that of the checkpoint is not restored.
        """
        try:
            load_networks(self.model, self.folder, label)
        except NonFiniteError as error:
            finite = [other for other in newest_first(self.folder) if self.is_finite(other)]
            raise UserError(f'{error}; finite checkpoints here: {", ".join(finite) or "none"}')
        self.load_averages(label)
        state = store.load_state(self.folder, label)
        if state is None:
            if epoch_count is None:
                self.require_state_file(label)
            return Progress(epoch=epoch_count or 1), {}
        self.resumed_options = state['options']
        self.validation.load(state.get('validation', {}), self.folder)
        progress = Progress(**state['progress'])
        if epoch_count is not None and epoch_count != progress.epoch:
            note(f'--epoch_count {epoch_count} has no effect: {self.folder.absolute()} continues with epoch '
                 f'{progress.epoch}, as its checkpoint says')
        if self.model.device.type == 'cpu' and not keep_threads and 'threads' in state:
            torch.set_num_threads(state['threads'])     # another number would round sums differently
        self.trainer.saved_world_size = state.get('processes', 1)
        self.load_training(label, state)
        return progress, state.get('logs', {})

    def require_state_file(self, label: str):
        """A `UserError` for weights that are bare only because their state file was lost."""
        path = layout.state_path(self.folder, label)
        if path in damage.expected_files(self.folder, label):
            raise UserError(f'{path.absolute()} is missing; use another checkpoint (--epoch), copy the file again, or '
                            f'continue from bare weights with --epoch_count')

    def load_averages(self, label: str):
        """Load the moving averages of a checkpoint; without them they start from its weights."""
        self.trainer.averages.restart()
        for name, net in self.trainer.averages.nets.items():
            path = layout.network_path(self.folder, label, f'{name}_ema')
            if path.exists():
                store.load_weights(path, net)

    def load_training(self, label: str, state: dict):
        training = store.load_training(self.folder, label, state)
        if training:
            self.trainer.load_state_dict(training)
        else:
            path = layout.training_path(self.folder, label).absolute()
            warn(f'{label} has weights and counters only ({path} does not exist); optimizers, pools and random state '
                 f'start from scratch')

    def roll_back(self, label: str):
        """Load weights, optimizers and pools of a checkpoint; random numbers continue from where they are."""
        for name, net in self.model.nets.items():
            store.load_weights(layout.network_path(self.folder, label, name), net)
        self.load_averages(label)
        training = store.load_training(self.folder, label, store.load_state(self.folder, label))
        self.trainer.load_state_dict(training, rng=False)

    def is_finite(self, label: str) -> bool:
        """Has a checkpoint of this run only finite weights?"""
        files = (layout.network_path(self.folder, label, name) for name in self.model.nets)
        return all(path.exists() and store.is_finite(store.read(path)) for path in files)
