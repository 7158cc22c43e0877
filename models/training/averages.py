"""Moving averages of weights (--ema): test.py translates with them, and training goes on without them."""
import copy

import torch
from torch import nn


class WeightAverages:
    """`average <- decay * average + (1 - decay) * weight` after each step; nothing without networks.

    `nets` are copies with the keys of the networks, ready to be saved. Statistics of batch norms, which are averages
    already, are copied.
    """

    def __init__(self, sources: dict[str, nn.Module], decay: float):
        self.sources, self.decay = sources, decay
        self.nets = {name: copy.deepcopy(net).requires_grad_(False) for name, net in sources.items()}

    @torch.no_grad()
    def update(self):
        for name, source in self.sources.items():
            average = self.nets[name]
            torch._foreach_lerp_(list(average.parameters()), list(source.parameters()), 1 - self.decay)
            for ours, theirs in zip(average.buffers(), source.buffers(), strict=True):
                ours.copy_(theirs)
