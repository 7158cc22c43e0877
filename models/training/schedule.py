"""Learning rate: pure functions of the progress of a run, except for `Plateau`, which follows a measured loss."""
import math


def lr_multiplier(policy: str, epoch: int, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int,
                  lr_gamma: float = 0.1, iteration: int | None = None) -> float:
    """The factor on the learning rate in `epoch` (from 1 to n_epochs + n_epochs_decay); never 0.

    linear: 1 for `n_epochs`, then down in equal steps that would reach 0 one epoch after the last.
    step: times `lr_gamma` every `lr_decay_iters` epochs, or iterations if `iteration` (from 1) is given.
    cosine: half a cosine over all epochs.
    """
    if policy == 'linear':
        return 1 - max(0, epoch - n_epochs) / (n_epochs_decay + 1)
    if policy == 'step':
        return lr_gamma ** ((epoch - 1 if iteration is None else iteration) // lr_decay_iters)
    if policy == 'cosine':
        return (1 + math.cos(math.pi * (epoch - 1) / (n_epochs + n_epochs_decay))) / 2
    raise ValueError(f'no schedule named {policy}')


class Plateau:
    """Times 0.2 when the metric has not fallen by 1 % of its best for more than 5 epochs.

    The numbers are those of torch's ReduceLROnPlateau as the reference uses it.
    """

    factor, threshold, patience = 0.2, 0.01, 5

    def __init__(self):
        self.multiplier = 1.0
        self.best = math.inf
        self.bad_epochs = 0

    def update(self, metric: float):
        needed = 1 - self.threshold if self.best > 0 else 1 + self.threshold     # a metric may be negative
        if metric < self.best * needed:
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            self.multiplier, self.bad_epochs = self.multiplier * self.factor, 0

    def state_dict(self) -> dict:
        return dict(vars(self))

    def load_state_dict(self, state: dict):
        vars(self).update(state)


class Schedule:
    """The learning rate of every step; `policy` plateau follows the mean of `plateau_losses` over an epoch."""

    def __init__(self, policy: str, lr: float, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int = 50,
                 lr_gamma: float = 0.1, step_unit: str = 'epoch', plateau_losses: tuple[str, ...] = ()):
        self.policy, self.lr = policy, lr
        self.n_epochs, self.n_epochs_decay = n_epochs, n_epochs_decay
        self.lr_decay_iters = lr_decay_iters
        self.lr_gamma = lr_gamma
        self.step_unit = step_unit
        self.plateau_losses = plateau_losses
        self.plateau = Plateau()
        self.epoch_metric, self.epoch_batches = 0.0, 0

    @property
    def follows_losses(self) -> bool:
        return self.policy == 'plateau' and bool(self.plateau_losses)

    def learning_rate(self, progress) -> float:
        """The learning rate of the step that comes next."""
        if self.policy == 'plateau':
            return self.lr * self.plateau.multiplier
        iteration = progress.iteration + 1 if self.step_unit == 'iter' else None
        return self.lr * lr_multiplier(self.policy, progress.schedule_epoch, self.n_epochs, self.n_epochs_decay,
                                       self.lr_decay_iters, self.lr_gamma, iteration)

    def add_losses(self, losses: dict, group):
        """After a step: add its losses, on the device, to the mean of the epoch."""
        if self.follows_losses and all(name in losses for name in self.plateau_losses):
            metric = sum(losses[name] for name in self.plateau_losses)
            self.epoch_metric = self.epoch_metric + group.sum(metric.clone())
            self.epoch_batches += 1

    def follow(self, value: float, better: str):
        """Instead of losses, plateau follows a metric of the validations, of which `better` is 'lower' or 'higher'."""
        self.plateau.update(value if better == 'lower' else -value)

    def finish_epoch(self):
        if self.epoch_batches:
            self.plateau.update(float(self.epoch_metric) / self.epoch_batches)
        self.epoch_metric, self.epoch_batches = 0.0, 0

    def state_dict(self) -> dict:
        return dict(plateau=self.plateau.state_dict(), epoch_metric=float(self.epoch_metric),
                    epoch_batches=self.epoch_batches)

    def load_state_dict(self, state: dict):
        self.plateau.load_state_dict(state['plateau'])
        self.epoch_metric, self.epoch_batches = state['epoch_metric'], state['epoch_batches']
