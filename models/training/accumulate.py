"""--accumulate K: the gradients of K batches are summed before an optimizer moves, with the memory of one batch."""
import torch

from util.machine.seeding import random_state, set_random_state

from .engine import Eager, tensors_of


class Accumulated(Eager):
    """A step on several batches that is the step on all their images at once, to rounding.

    Every update of the step (of D, of G) goes through all batches before its optimizer moves. Later updates see the
    images that were made before the first one; those that train the generators make them once more, with the same
    random numbers, as their gradients go through them. Only a batch norm sees the difference: it has the statistics
    of each batch alone.
    """

    def __init__(self, model):
        super().__init__(model)
        model.accumulation = self
        self.seen = []
        self.generators = [net for name, net in model.nets.items() if name.startswith('G')]
        self.weights = {id(weight) for net in self.generators for weight in net.parameters()}

    def step(self, batch: dict):
        model, group = self.model, self.model.runtime.group
        total = group.share.total
        reach = model.opt.batch_size * group.size
        self.parts = -(-total // reach)
        self.optimizers, self.made = [], []     # of each update; of each batch, what is computed before the first one
        self.update, self.value = 0, 0.0
        begin = random_state(model.device)
        while self.update == 0 or self.update < len(self.optimizers):
            after = random_state(model.device)
            for part in range(self.parts):
                self.part = part
                group.divide(model.opt.batch_size, total, self.part, self.parts)
                self.calls = 0
                self.enter(batch['parts'][self.part], begin, after)
                model.optimize_parameters()
            self.update, self.value = self.update + 1, 0.0
        model.averages.update()
        group.divide(model.opt.batch_size, total, 0, self.parts)

    def enter(self, batch: dict, begin, after):
        """Everything as it is for one batch when the update under way begins."""
        model = self.model
        if self.update == 0:
            set_random_state(begin, model.device)
            self.prepare(batch)
            self.forward()
            self.made.append({name: value.detach() for name, value in tensors_of(model).items()})
            return
        made = self.made[self.part]
        vars(model).update(made)
        if self.trains_generators():
            set_random_state(self.before_forward, model.device)
            # running statistics have seen these images already; they are put back when backward has used them
            self.seen = [(buffer, buffer.clone()) for net in self.generators for buffer in net.buffers()]
            self.forward()
        set_random_state(after, model.device)

    def forward(self):
        self.before_forward = random_state(self.model.device)
        with self.model.runtime.autocast():
            self.model.forward()

    def trains_generators(self) -> bool:
        groups = self.optimizers[self.update].param_groups
        return any(id(weight) in self.weights for group in groups for weight in group['params'])

    # ---- asked by `minimize`

    def comes(self, optimizer) -> bool:
        """Is it the turn of this call of `minimize`? The calls before are done, those after come later."""
        if self.update == 0 and self.part == 0:
            self.optimizers.append(optimizer)
        self.calls += 1
        return self.calls - 1 == self.update

    @property
    def is_first(self) -> bool:
        return self.part == 0

    @property
    def is_last(self) -> bool:
        return self.part == self.parts - 1

    def add(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of the values of the batches so far; backward is done."""
        with torch.no_grad():
            for buffer, value in self.seen:
                buffer.copy_(value)
        self.seen = []
        self.value = self.value + value.detach()
        return self.value
