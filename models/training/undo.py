"""Undoing a step that failed before its first update."""
import random
from collections import deque

import torch

from models.training.guard import STEPS_BEHIND
from util.machine.seeding import random_state, set_random_state


class StepUndo:
    """Keeps what a step changes before its first update, so that a step which fails there leaves no trace.

    That is random state, and the running statistics of the last few steps. Updates cannot be undone: copying all
    weights would cost each step more than the optimizer does.
    """

    def __init__(self, model):
        self.model = model
        self.in_step = False
        buffers = [buffer for net in model.nets.values() for buffer in net.buffers()]
        dtypes = {buffer.dtype for buffer in buffers}
        # grouped, because a foreach call takes one dtype
        self.buffers = [[buffer for buffer in buffers if buffer.dtype == dtype] for dtype in dtypes]
        self.copies = deque()
        self.most = 1 if model.device.type == 'cpu' else STEPS_BEHIND + 2   # a GPU reports bad steps later

    @torch.no_grad()
    def begin_step(self):
        self.rng = random.getstate(), random_state(self.model.device)
        full = len(self.copies) == self.most
        copies = self.copies.popleft() if full else [[torch.empty_like(buffer) for buffer in buffers]
                                                     for buffers in self.buffers]
        for copy, buffers in zip(copies, self.buffers, strict=True):
            torch._foreach_copy_(copy, buffers)
        self.copies.append(copies)
        self.in_step = True

    def end_step(self):
        self.in_step = False

    @torch.no_grad()
    def restore_statistics(self, steps_ago: int = 0):
        """Restore the running statistics from before the current step, or an earlier one."""
        copies = self.copies[max(0, len(self.copies) - 1 - steps_ago)]
        for copy, buffers in zip(copies, self.buffers, strict=True):
            torch._foreach_copy_(buffers, copy)

    def undo_step(self):
        """Restore the state from before the current step; between steps there is nothing to do."""
        if not self.in_step:
            return
        self.restore_statistics()
        python, torch_state = self.rng
        random.setstate(python)
        set_random_state(torch_state, self.model.device)
        for pool in self.model.pools.values():
            pool.undo_draw()
        self.end_step()
