"""Learning-rate schedules: pure functions of the epoch, but for `Plateau`, which follows a measured loss."""
import math


def lr_multiplier(policy: str, epoch: int, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int,
                  lr_gamma: float = 0.1, iteration: int | None = None) -> float:
    """The factor on the learning rate during `epoch` (from 1 to n_epochs + n_epochs_decay); never 0.

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

    The numbers are those of torch's ReduceLROnPlateau as the reference uses it; the metric is a real one here.
    """

    factor, threshold, patience = 0.2, 0.01, 5

    def __init__(self):
        self.multiplier, self.best, self.bad_epochs = 1.0, math.inf, 0

    def update(self, metric: float):
        if metric < self.best * (1 - self.threshold):
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            self.multiplier, self.bad_epochs = self.multiplier * self.factor, 0

    def state_dict(self) -> dict:
        return dict(vars(self))

    def load_state_dict(self, state: dict):
        vars(self).update(state)
