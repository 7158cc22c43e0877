"""Updates, Adam, and moving averages of weights."""
import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

FORMS = ('fused', 'foreach', 'capturable')      # how Adam computes; not saved in checkpoints


@dataclass(frozen=True)
class Update:
    """One optimizer step down `loss()`, to which the `frozen` networks are constant."""

    optimizer: torch.optim.Optimizer
    loss: Callable[[], torch.Tensor]
    frozen: tuple[nn.Module, ...] = ()


class Adam(torch.optim.Adam):
    """Adam in the fastest form that the device has. Its state is saved in a form that loads everywhere."""

    def __init__(self, parameters, lr: float, betas: tuple[float, float], weight_decay: float):
        parameters = list(parameters)
        fused = all(parameter.is_cuda or parameter.is_cpu for parameter in parameters)
        super().__init__(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused or None)

    def make_capturable(self):
        """Keep the learning rate and step counts on the device, so that a captured graph sees them change."""
        for group in self.param_groups:
            group.update(lr=torch.tensor(float(group['lr']), device=group['params'][0].device), capturable=True)

    def state_dict(self) -> dict:
        state = super().state_dict()
        plain = dict(fused=None, foreach=None, capturable=False)
        return {**state, 'param_groups': [{**group, **plain, 'lr': float(group['lr'])}
                                          for group in state['param_groups']]}

    def load_state_dict(self, state: dict):
        """Load moments, step counts and learning rate; the form stays."""
        forms = [{name: group[name] for name in FORMS} for group in self.param_groups]
        groups = [{**group, **own} for group, own in zip(state['param_groups'], forms, strict=True)]
        super().load_state_dict({**state, 'param_groups': groups})


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float):
    """Set the learning rate in place, so that a captured graph sees it; a group may have a rate relative to it."""
    for group in optimizer.param_groups:
        if isinstance(group['lr'], torch.Tensor):
            group['lr'].fill_(lr)
        else:
            group['lr'] = lr * group.get('lr_scale', 1.0)


class WeightAverages:
    """Exponential moving averages of weights (--ema): `average <- decay * average + (1 - decay) * weight`.

    The decay of step n is at most (1 + n) / (10 + n), so that the first weights are soon forgotten.

    `nets` are copies with the keys of the networks, ready to be saved; test.py translates with them. Buffers
    (running statistics of batch norms, which are averages already) are copied. Without a decay there are none.
    """

    def __init__(self, sources: dict[str, nn.Module], decay: float):
        self.sources = sources if decay else {}
        self.decay = decay
        self.steps = 0
        self.nets = {name: copy.deepcopy(net).requires_grad_(False) for name, net in self.sources.items()}

    @torch.no_grad()
    def restart(self):
        """Begin again from the weights as they are now."""
        self.steps = 0
        for name, source in self.sources.items():
            self.nets[name].load_state_dict(source.state_dict())

    @torch.no_grad()
    def update(self):
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, source in self.sources.items():
            average = self.nets[name]
            torch._foreach_lerp_(list(average.parameters()), list(source.parameters()), 1 - decay)
            for ours, theirs in zip(average.buffers(), source.buffers(), strict=True):
                ours.copy_(theirs)
