"""What a step changes before its first update, kept so that a step that fails there leaves no trace."""
import random
from collections import deque

import torch

from util.machine.seeding import random_state, set_random_state

from .guard import STEPS_BEHIND


class Boundary:
    """`keep` before a step and `close` after it; in between `undo` goes back.

    Kept are random numbers, and the statistics of norms of the last few steps. Updates cannot be undone: a copy of
    all weights would cost each step more than an optimizer does.
    """

    def __init__(self, model):
        self.model, self.is_open = model, False
        buffers = [buffer for net in model.nets.values() for buffer in net.buffers()]
        kinds = {buffer.dtype for buffer in buffers}
        self.buffers = [[buffer for buffer in buffers if buffer.dtype == kind] for kind in kinds]   # one call for each
        self.copies = deque()
        self.most = 1 if model.device.type == 'cpu' else STEPS_BEHIND + 2   # a GPU tells of bad steps later

    @torch.no_grad()
    def keep(self):
        self.rng = random.getstate(), random_state(self.model.device)
        full = len(self.copies) == self.most
        copies = self.copies.popleft() if full else [[torch.empty_like(buffer) for buffer in kind]
                                                     for kind in self.buffers]
        for copy, kind in zip(copies, self.buffers, strict=True):
            torch._foreach_copy_(copy, kind)
        self.copies.append(copies)
        self.is_open = True

    def close(self):
        self.is_open = False

    @torch.no_grad()
    def restore_statistics(self, steps_ago: int = 0):
        """Those before the step under way, or before an earlier one."""
        copies = self.copies[max(0, len(self.copies) - 1 - steps_ago)]
        for copy, kind in zip(copies, self.buffers, strict=True):
            torch._foreach_copy_(kind, copy)

    def undo(self):
        self.restore_statistics()
        python, torch_state = self.rng
        random.setstate(python)
        set_random_state(torch_state, self.model.device)
        for pool in self.model.pools.values():
            pool.undo_draw()
        self.close()
