"""Losses and gradients that are not finite are found before they reach the weights."""
import math
from collections import deque

import torch

from util.errors import NonFiniteError
from util.machine.memory import pins_memory

STEPS_BEHIND = 8        # steps whose answer may still be on its way from a GPU


class BadStep(NonFiniteError):
    """A step with a loss or gradient that is not finite; the update it belongs to was not made."""

    def __init__(self, losses: dict, batch: dict, steps_ago: int = 0):
        self.steps_ago = steps_ago
        self.losses, self.batch = {name: float(value) for name, value in losses.items()}, batch
        bad = [f'loss {name} is {value}' for name, value in self.losses.items() if not math.isfinite(value)]
        super().__init__(', '.join(bad) or 'a gradient is not finite')


class FiniteGuard:
    """Checks the loss and gradients of every update.

    On the CPU a bad update raises `BadStep` before it is made. On a GPU the host does not wait: the flag goes with the
    update (`found_inf` of the fused Adam, which then changes nothing) and is read once it has arrived, steps later.
    """

    def __init__(self, wait_for_all: bool = False):
        """`wait_for_all`: several processes must find the same in the same step, so no answer is read early."""
        self.wait_for_all = wait_for_all
        self.batch = None           # what the current step is shown
        self.flags = []             # one for each update of the current step
        self.updates = 0            # updates made in the current step: after the first one it cannot be undone
        self.arriving = deque()     # of earlier steps, on a GPU: (flags on the host, event, losses, batch)

    def begin(self, batch: dict):
        """A step begins; raises the `BadStep` of an earlier one whose answer has arrived."""
        self.batch = batch
        self.flags = []
        self.updates = 0
        while self.arriving and (len(self.arriving) > STEPS_BEHIND
                                 or (not self.wait_for_all and self.arriving[0][1].query())):
            flags, event, losses, batch = self.arriving.popleft()
            event.synchronize()
            if flags.any():
                raise BadStep(losses, batch, steps_ago=len(self.arriving) + 1)

    def check(self, loss: torch.Tensor, terms: dict, optimizer: torch.optim.Optimizer, at_once: bool = False):
        """`optimizer` is about to step down `loss`, the sum of `terms`.

        `at_once`: wait for the answer on a GPU too, for optimizers other than the fused Adam.
        """
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group['params']
                     if parameter.grad is not None]
        bad = ~torch.isfinite(torch.stack([loss.detach(), *summaries(gradients)])).all()
        if pins_memory(bad.device) and not at_once:
            self.flags.append(bad)
            optimizer.found_inf = bad.float()
        elif bad:
            raise BadStep(terms, self.batch)
        self.updates += 1

    def end(self, losses: dict):
        """The step is done; on a GPU its flags are sent to the host."""
        self.updates = 0
        if not self.flags:
            return
        flags = torch.stack(self.flags)
        arrived = torch.empty(flags.shape, dtype=torch.bool, pin_memory=True)
        arrived.copy_(flags, non_blocking=True)
        event = torch.get_device_module(flags.device).Event()
        event.record()
        self.arriving.append((arrived, event, dict(losses), self.batch))


def summaries(gradients: list[torch.Tensor]) -> list[torch.Tensor]:
    """A number for each gradient, finite if the gradient is; sums on a CPU, where maxima take 20 times as long."""
    if not gradients or gradients[0].device.type == 'cpu':
        return [gradient.sum() for gradient in gradients]
    return torch._foreach_norm(gradients, ord=math.inf)
