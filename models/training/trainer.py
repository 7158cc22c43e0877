"""One training step, top to bottom: every update of a model, with accumulation, finite checks and averages."""
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from models.training.guard import FiniteGuard
from models.training.optimizer import Update, WeightAverages, set_learning_rate
from models.training.schedule import Schedule
from models.training.undo import StepUndo
from util.machine.memory import memory_explained
from util.machine.seeding import restore_rng_state, rng_state


class Trainer:
    """Trains a model; `step` is one update of every optimizer.

    Args:
        model: what is trained; it has `forward`, `updates` and the networks.
        schedule: learning rate of each step.
        make_engine: `make_engine(trainer)` gives how the work of a step is done: op by op, compiled, or as a graph.
        batch_size: images of one process in one forward pass.
        accumulate: forward passes that make up one update.
        ema: decay of the moving averages of the generators; 0 for none.
        n_critic: only every n-th step updates other networks than discriminators.
        update_size: images of one update, over all processes and accumulated batches, if the last batch is not full.
    """

    def __init__(self, model, schedule: Schedule, make_engine, batch_size: int = 1, accumulate: int = 1,
                 ema: float = 0.0, n_critic: int = 1, update_size: int = 0):
        self.model, self.group = model, model.group
        self.schedule = schedule
        self.make_engine = make_engine
        self.engine = None
        self.batch_size, self.accumulate = batch_size, accumulate
        self.update_size = update_size or batch_size * self.group.size * accumulate
        self.n_critic = n_critic
        self.iteration = 0      # steps before this one
        self.averages = WeightAverages(model.generators, ema)
        self.guard = FiniteGuard(wait_for_all=model.runtime.group.size > 1)
        self.undo = StepUndo(model)
        self.saved_world_size = model.runtime.group.size
        self.start_lines = []       # for the log: what the weights are before the first step

    def step(self, batch: dict, images: int = 0):
        """Train on this process's share of `images`, as many as an update has if not given.

        Raises `BadStep` if a loss or gradient is not finite; the update it belongs to is not made.
        """
        if self.engine is None:
            self.engine = self.make_engine(self)
        model = self.model
        self.undo.begin_step()
        self.group.divide(self.batch_size, images or self.update_size, parts=self.accumulate)
        self.guard.begin(batch)
        with memory_explained(model.device, batch_size=self.batch_size, crop_size=model.opt.crop_size):
            self.engine.step(batch)
        self.guard.end(model.losses)
        self.schedule.add_losses(model.losses, self.group)
        self.undo.end_step()

    def work(self, parts):
        """The work of a step on its device. Nothing here waits for a number computed there.

        `parts(index, update)` yields once for each part of the batch, with the model ready for that part.
        """
        model = self.model
        for index, update in enumerate(self.updates()):
            update.optimizer.zero_grad(set_to_none=True)
            loss = 0.0
            for part in parts(index, update):
                loss = loss + self.backward(update, accumulate=part > 0)
            loss = self.group.average_gradients(update.optimizer, loss)
            self.guard.check(loss, model.losses, update.optimizer)
            update.optimizer.step()
        if self.trains_generators:
            self.averages.update()

    def updates(self) -> list[Update]:
        """The updates of this step: in most steps of --n_critic only those of discriminators."""
        self.trains_generators = (self.iteration + 1) % self.n_critic == 0
        if self.trains_generators:
            return self.model.updates()
        self.model.losses = {}      # none of the generators
        critics = [id(optimizer) for name, optimizer in self.model.optimizers.items() if name.startswith('_D')]
        return [update for update in self.model.updates() if id(update.optimizer) in critics]

    def backward(self, update: Update, accumulate: bool) -> torch.Tensor:
        """Add the gradients of one part of the batch; returns its share of the loss."""
        model = self.model
        model.noted.clear()
        with without_gradients(*update.frozen), model.runtime.autocast():
            loss = self.group.weighted(update.loss())
        for name, term in model.noted.items():
            term = self.group.weighted(term)
            model.losses[name] = model.losses[name] + term if accumulate else term
        parameters = (value for group in update.optimizer.param_groups for value in group['params'])
        if any(value.requires_grad for value in parameters):      # not if all of them are frozen (--freeze)
            loss.backward()
        return loss.detach()

    def whole_batch(self, index: int, update: Update):
        """The `parts` of a batch that is not split: the images of a step are computed once, before its first update."""
        if index == 0:
            with self.model.runtime.autocast():
                self.model.forward()
        yield 0

    def undo_step(self) -> bool:
        """After an error: return to the state before the step. False if an update was made, which stays."""
        if self.guard.updates:
            return False
        self.undo.undo_step()
        return True

    # ---- between steps

    def set_learning_rate(self, progress):
        """Give all optimizers the learning rate of the next step."""
        lr = self.schedule.learning_rate(progress)
        self.iteration = progress.iteration
        for name, optimizer in self.model.optimizers.items():
            set_learning_rate(optimizer, lr * self.model.lr_scales.get(name, 1))

    def finish_epoch(self, progress) -> float:
        """Set the learning rate of the next epoch; returns that of the epoch before."""
        before = self.learning_rate
        self.schedule.finish_epoch()
        self.model.update_learning_rate(progress.epoch - 1, partial(self.set_learning_rate, progress))
        return before

    @property
    def learning_rate(self) -> float:
        return float(next(iter(self.model.optimizers.values())).param_groups[0]['lr'])

    def gather_state(self):
        """Collect all that a checkpoint holds in the main process; all processes call it."""
        self.model.gather_state(self.averages.nets)

    def state_dict(self) -> dict:
        """All that the next step depends on, besides the networks."""
        model = self.model
        return dict(
            optimizers={name: optimizer.state_dict() for name, optimizer in model.optimizers.items()},
            pools={name: pool.state_dict() for name, pool in model.pools.items()},
            averaged_steps=self.averages.steps,
            **self.schedule.state_dict(),
            rng=rng_state())

    def load_state_dict(self, state: dict, rng: bool = True):
        """Load what `state_dict` gave; without `rng` random numbers continue from where they are."""
        model = self.model
        for name, optimizer in model.optimizers.items():
            optimizer.load_state_dict(state['optimizers'][name])
        for name, pool in model.pools.items():
            pool.load_state_dict(state['pools'][name], model.device)
        self.schedule.load_state_dict(state)
        self.averages.steps = state.get('averaged_steps', 10**9)       # version 0.1 had no warm-up
        self.engine = None      # a captured graph holds the tensors from before
        if rng:
            restore_rng_state(state['rng'])
            self.group.same_random_numbers(model.device)


@contextmanager
def without_gradients(*nets: nn.Module):
    """Inside, the parameters of `nets` take no gradients; afterwards they are as before."""
    frozen = [parameter for net in nets for parameter in net.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
