"""Losses and gradients that are not finite are found before they reach the weights, without waiting for a GPU."""
import math
from collections import deque

import torch

from util.errors import NonFiniteError

STEPS_BEHIND = 8        # answers of a GPU that may be on their way


class FiniteGuard:
    """Looks at the losses and gradients of every update; `train_step` calls `begin` and `end`.

    On the CPU a bad update raises `BadStep` before it is made. On a GPU nobody waits for the answer: the flag
    travels with the update (`found_inf` of the fused Adam, which then changes nothing) and is read when it has
    arrived, a step or a few later.
    """

    def __init__(self, together: bool = False):
        """`together`: several processes must find the same at the same step, so none reads an answer early."""
        self.together = together
        self.batch = None           # what the step under way is shown
        self.flags = []             # one for each update of the step under way
        self.updates = 0            # updates of the step under way: after the first one the state is between two steps
        self.arriving = deque()     # of steps before, on a GPU: (flags on the host, event, losses, batch)

    def begin(self, batch: dict):
        self.batch, self.flags, self.updates = batch, [], 0
        while self.arriving and (len(self.arriving) > STEPS_BEHIND
                                 or (not self.together and self.arriving[0][1].query())):
            flags, event, losses, batch = self.arriving.popleft()
            event.synchronize()
            if flags.any():
                raise BadStep(losses, batch, steps_ago=len(self.arriving) + 1)

    def check(self, value: torch.Tensor, losses: dict, optimizer: torch.optim.Optimizer):
        """`optimizer` is about to make its step down `value`, of which `losses` are the parts."""
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group['params']
                     if parameter.grad is not None]
        bad = ~torch.isfinite(torch.stack([value.detach(), *summaries(gradients)])).all()
        if bad.device.type != 'cpu':
            self.flags.append(bad)
            optimizer.found_inf = bad.float()
        elif bad:
            raise BadStep(losses, self.batch)
        self.updates += 1

    def end(self, losses: dict):
        """The step is done; on a GPU its flags set out for the host."""
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


class BadStep(NonFiniteError):
    """A step whose losses or gradients are not finite; its updates were not made."""

    def __init__(self, losses: dict, batch: dict, steps_ago: int = 0):
        self.steps_ago = steps_ago
        self.losses, self.batch = {name: float(value) for name, value in losses.items()}, batch
        bad = [f'loss {name} is {value}' for name, value in self.losses.items() if not math.isfinite(value)]
        super().__init__(', '.join(bad) or 'a gradient is not finite')
