"""--engine graph: the whole step as one CUDA graph. Never measured on a GPU, so it is never chosen by itself."""
from collections import Counter

import torch

from models.training.accumulate import tensors_of
from models.training.engine import Eager, warn_of_fallback
from util.image_pool import ImagePool, choose

WARM_UP = 3         # real steps of a shape before it is captured, in which libraries choose their algorithms
MAX_GRAPHS = 4      # shapes that are captured; other shapes run op by op


def create_graph_engine(trainer):
    """`Graphed`, or `Eager` with a warning where graphs cannot be used."""
    problem = ''
    if trainer.model.device.type == 'cpu':
        problem = 'a CPU has no graphs'
    elif trainer.group.size > 1:
        problem = 'several processes train together'
    if problem:
        warn_of_fallback('graph', problem)
        return Eager(trainer)
    return Graphed(trainer)


class Plan:
    """A captured graph, the tensors it reads, and those it writes."""

    def __init__(self, graph, inputs: dict):
        self.graph, self.inputs = graph, inputs

    def keep_results(self, trainer):
        model = trainer.model
        self.results = tensors_of(model)
        self.losses, self.flags = dict(model.losses), list(trainer.guard.flags)

    def hand_over_results(self, trainer):
        model = trainer.model
        vars(model).update(self.results)
        model.losses = dict(self.losses)
        trainer.guard.flags = list(self.flags)


class Graphed(Eager):
    """One graph for each shape of the inputs: the host only starts it.

    Random numbers are drawn on the host before each step (`model.draw`) and copied, like the images, to where the
    graph reads them. The first steps of a shape run op by op.
    """

    def __init__(self, trainer, backend=None):
        """`backend` is torch.<kind of device>, with its streams and graphs."""
        super().__init__(trainer)
        self.backend = backend or torch.get_device_module(self.model.device)
        self.stream = self.backend.Stream()
        self.plans = {}
        self.seen = Counter()
        self.working = True
        self.input_names, self.sizes = set(), set()
        for optimizer in self.model.optimizers.values():
            optimizer.make_capturable()
        for name, pool in self.model.pools.items():
            setattr(self.model, name, DevicePool(pool))

    def step(self, batch):
        inputs = self.prepare(batch)
        shape = tuple((name, tuple(value.shape)) for name, value in inputs.items())
        self.seen[shape] += 1
        if shape not in self.plans and self.working and WARM_UP < self.seen[shape] and len(self.plans) < MAX_GRAPHS:
            self.capture(shape, inputs)
        if shape not in self.plans:
            self.warm_up()
            return
        plan = self.plans[shape]
        for name, value in inputs.items():
            plan.inputs[name].copy_(value)
        plan.graph.replay()
        plan.hand_over_results(self.trainer)

    def prepare(self, batch) -> dict[str, torch.Tensor]:
        """The tensors that a step begins with, by name: those that are made for every batch."""
        model = self.model
        before = {name: value for name, value in tensors_of(model).items() if name not in self.input_names}
        model.set_input(batch)
        self.sizes.add(tuple(value.shape[1:] for name, value in tensors_of(model).items() if name.startswith('real_')))
        if len(self.sizes) > 1 and self.working and any(pool.size for pool in model.pools.values()):
            self.give_up('images of several sizes do not fit into one --pool_size on the GPU')
        model.draw()
        inputs = {name: value for name, value in tensors_of(model).items() if before.get(name) is not value}
        self.input_names |= inputs.keys()
        return inputs

    def give_up(self, problem):
        """From now on steps run op by op, with the pools as they are."""
        self.working, self.plans = False, {}
        for name, pool in self.model.pools.items():
            if isinstance(pool, DevicePool):
                setattr(self.model, name, pool.as_list())
        warn_of_fallback('graph', problem)

    def warm_up(self):
        """A real step, on the stream that a capture will use."""
        self.stream.wait_stream(self.backend.current_stream())
        with self.backend.stream(self.stream):
            self.trainer.work(self.trainer.whole_batch)
        self.backend.current_stream().wait_stream(self.stream)

    def capture(self, shape, inputs: dict):
        """Record a step without doing it; if that fails, steps run op by op from now on."""
        model = self.model
        plan = Plan(self.backend.CUDAGraph(), {name: value.clone() for name, value in inputs.items()})
        vars(model).update(plan.inputs)
        try:
            self.backend.synchronize()
            with self.backend.graph(plan.graph, stream=self.stream):
                self.trainer.work(self.trainer.whole_batch)
        except RuntimeError as error:
            vars(model).update(inputs)
            self.working = False        # the pools have drawn for this step, so they stay as they are
            warn_of_fallback('graph', error)
            return
        plan.keep_results(self.trainer)
        self.plans[shape] = plan


class DevicePool(ImagePool):
    """The same pool, with the same random numbers, as one tensor: `query` makes no decision on the host.

    So it can be part of a captured graph: `draw` decides for the images of the next `query`.
    """

    def __init__(self, pool: ImagePool):
        """Continue with the images of `pool`; all images must have the shape of the first query."""
        self.size, self.filled = pool.size, len(pool.images)
        self.filled_before = self.filled
        self.plans = {}     # for N images: (3, N), is a stored one returned, its slot, is the image stored there
        self.storage = torch.cat(pool.images) if pool.images else None

    @property
    def images(self) -> list[torch.Tensor]:
        return list(self.storage[:self.filled].split(1)) if self.filled else []

    def as_list(self) -> ImagePool:
        """An ordinary pool with the same images."""
        pool = ImagePool(self.size)
        pool.images = [image.clone() for image in self.images]
        return pool

    def load_state_dict(self, state: dict, device='cpu'):
        pool = ImagePool(self.size)
        pool.load_state_dict(state, device)
        self.filled, self.storage = len(pool.images), torch.cat(pool.images) if pool.images else None

    def reserve(self, images):
        """Allocate space for `size` images and keep those that are there."""
        room = images.new_zeros(self.size, *images.shape[1:])
        if self.storage is not None:
            room[:len(self.storage)] = self.storage
        self.storage = room

    def draw(self, n: int):
        if self.size == 0:
            return
        self.filled_before, rows = self.filled, []
        for _ in range(n):
            rows.append(choose(self.filled, self.size))
            self.filled += self.filled < self.size
        self.choices = torch.tensor(rows, dtype=torch.long).T.contiguous()
        if n in self.plans:
            self.plans[n].copy_(self.choices)       # always the same place in memory

    def undo_draw(self):
        self.filled = self.filled_before

    def query(self, images):
        images = images.detach()
        if self.size == 0:
            return images
        if self.storage is None or len(self.storage) < self.size:
            self.reserve(images)
        if len(images) not in self.plans:
            self.plans[len(images)] = self.choices.to(images.device)
        plan = self.plans[len(images)]
        return torch.cat([self._exchange_planned(image, plan[:, index:index + 1])
                          for index, image in enumerate(images.split(1))])

    def _exchange_planned(self, image, plan):
        exchanged, slot, stores = plan
        stored = self.storage.index_select(0, slot)
        returned = torch.where(exchanged.bool(), stored, image)
        self.storage.index_copy_(0, slot, torch.where(stores.bool(), image, stored))
        return returned
