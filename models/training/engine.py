"""How the work of a step is done (--engine): op by op, by compiled networks, or as one captured graph of a GPU."""
from collections import Counter

import torch
from torch import nn

from models.nets import norms
from models.networks import MunitGenerator
from util.console import note, warn
from util.image_pool import DevicePool

NAMES = ('auto', 'eager', 'compile', 'graph')
WARM_UP = 3         # real steps of a shape before it is captured: libraries choose their algorithms in them
MOST_GRAPHS = 4     # shapes that are captured; others are done op by op


def memory_format(runtime, training: bool, norm: str) -> torch.memory_format:
    """channels_last where it wins: see docs/performance.md, where the measurements are."""
    if runtime.device.type == 'cpu':
        wins = not training
    else:
        wins = runtime.precision != 'fp32' and (norm != 'instance' or fused_norms(runtime.device))
    return torch.channels_last if wins else torch.contiguous_format


def fused_norms(device: torch.device) -> bool:
    """Are norms one kernel with what follows them? Where Triton is, and gives the numbers of the plain form."""
    if norms.fused() or device.type == 'cpu':
        return norms.fused()
    from models.experimental import fused_norm
    problem = fused_norm.trouble(device)
    norms.use_fused(None if problem else fused_norm.fused_instance_norm)
    if problem:
        warn(f'norms are not fused on {device}: {problem}')
    return not problem


def create(name: str, model):
    """The engine of a name; one that cannot work here becomes `Eager`, with a line that tells why.

    auto is eager: the others have not been measured on a GPU, and on a CPU they win nothing.
    """
    if name == 'compile':
        note('--engine compile: the first step begins with compiling the networks, which can take minutes')
        problem = compiler_trouble(model.device)
        return Eager(model) if problem and tell(name, problem) else Compiled(model)
    if name == 'graph':
        problem = 'a CPU has no graphs' if model.device.type == 'cpu' else ''
        problem = problem or ('several processes train together' if model.group.size > 1 else '')
        return Eager(model) if problem and tell(name, problem) else Graphed(model)
    return Eager(model)


def tell(name: str, problem) -> bool:
    first = (str(problem).strip() or type(problem).__name__).splitlines()[0]
    warn(f'--engine {name} does not work here ({first}); going on with --engine eager')
    return True


class Eager:
    """Op by op."""

    def __init__(self, model):
        self.model = model

    def step(self, batch: dict):
        self.prepare(batch)
        self.model.step()

    def prepare(self, batch: dict):
        self.model.set_input(batch)
        self.model.draw()


class Compiled(Eager):
    """Networks compiled in place, which leaves their names and keys as they are; what cannot be compiled is not."""

    def __init__(self, model):
        super().__init__(model)
        torch._dynamo.config.suppress_errors = True
        twice = model.opt.gan_mode == 'wgangp'      # a gradient of gradients cannot be compiled
        for name, net in model.nets.items():
            if not (twice and name.startswith('D')):
                for part in net.children() if isinstance(net, MunitGenerator) else [net]:
                    part.compile()


def compiler_trouble(device: torch.device):
    """What keeps torch.compile from working here: tried on a small network, forward and backward."""
    try:
        net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU()).to(device)
        net.compile()
        with torch.random.fork_rng(devices=[]):
            net(torch.ones(1, 1, 8, 8, device=device)).sum().backward()
    except Exception as error:
        return error
    return None


class Plan:
    """A captured graph, what it reads, and what it writes."""

    def __init__(self, graph, inputs: dict):
        self.graph, self.inputs = graph, inputs

    def keep_results(self, model):
        self.results = tensors_of(model)
        self.losses, self.flags = dict(model.losses), list(model.guard.flags)

    def hand_results_to(self, model):
        vars(model).update(self.results)
        model.losses, model.guard.flags = dict(self.losses), list(self.flags)


class Graphed(Eager):
    """The whole step as one graph for each shape of its inputs: no work for the host but to start it.

    Random decisions and numbers are drawn on the host before each step (`model.draw`) and copied, as the images
    are, to the place where the graph reads them. The first steps of a shape are done op by op.
    """

    def __init__(self, model, backend=None):
        """`backend` is torch.<kind of device>, with its streams and graphs."""
        super().__init__(model)
        self.backend = backend or torch.get_device_module(model.device)
        self.stream = self.backend.Stream()
        self.plans, self.seen, self.working = {}, Counter(), True
        self.input_names, self.sizes = set(), set()
        for optimizer in model.optimizers.values():
            optimizer.make_capturable()
        for name, pool in model.pools.items():
            setattr(model, name, DevicePool(pool))

    def step(self, batch):
        inputs = self.prepare(batch)
        shape = tuple((name, tuple(value.shape)) for name, value in inputs.items())
        self.seen[shape] += 1
        if shape not in self.plans and self.working and WARM_UP < self.seen[shape] and len(self.plans) < MOST_GRAPHS:
            self.capture(shape, inputs)
        if shape not in self.plans:
            self.warm_up()
            return
        plan = self.plans[shape]
        for name, value in inputs.items():
            plan.inputs[name].copy_(value)
        plan.graph.replay()
        plan.hand_results_to(self.model)

    def prepare(self, batch):
        """The tensors that a step begins with, by their names: those that are made for every batch."""
        model, before = self.model, {name: value for name, value in tensors_of(self.model).items()
                                     if name not in self.input_names}
        model.set_input(batch)
        self.sizes.add(tuple(value.shape[1:] for name, value in tensors_of(model).items() if name.startswith('real_')))
        if len(self.sizes) > 1 and self.working and any(pool.size for pool in model.pools.values()):
            self.give_up('images of several sizes do not fit into one --pool_size on the GPU')
        model.draw()
        inputs = {name: value for name, value in tensors_of(model).items() if before.get(name) is not value}
        self.input_names |= inputs.keys()
        return inputs

    def give_up(self, problem):
        """All steps that follow go on op by op, with the pools as they are."""
        self.working, self.plans = False, {}
        for name, pool in self.model.pools.items():
            setattr(self.model, name, pool.as_list() if isinstance(pool, DevicePool) else pool)
        tell('graph', problem)

    def warm_up(self):
        """A real step, on the stream that a capture will use."""
        self.stream.wait_stream(self.backend.current_stream())
        with self.backend.stream(self.stream):
            self.model.step()
        self.backend.current_stream().wait_stream(self.stream)

    def capture(self, shape, inputs: dict):
        """Record a step, which does nothing yet; where that fails, all steps go on op by op."""
        model = self.model
        plan = Plan(self.backend.CUDAGraph(), {name: value.clone() for name, value in inputs.items()})
        vars(model).update(plan.inputs)
        try:
            self.backend.synchronize()
            with self.backend.graph(plan.graph, stream=self.stream):
                model.step()
        except RuntimeError as error:
            vars(model).update(inputs)
            self.working = False        # the pools have drawn for this step, so they stay
            tell('graph', error)
            return
        plan.keep_results(model)
        self.plans[shape] = plan


def tensors_of(model) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(model).items() if isinstance(value, torch.Tensor)}
