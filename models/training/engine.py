"""How the work of a step is done (--engine): op by op, or with compiled networks.

An engine has `step(batch)`, which shows the batch to the model and calls `trainer.work`. The engine that replays a
CUDA graph is in models/experimental/graph.py.
"""
import torch
from torch import nn

from util.console import note, warn


def create_engine(name: str, trainer):
    """The engine for --engine `name`; one that cannot work here is replaced by `Eager`, with a warning."""
    if name != 'compile':
        return Eager(trainer)
    problem = compiler_problem(trainer.model.device)
    if problem:
        warn_of_fallback(name, problem)
        return Eager(trainer)
    note('--engine compile: the first step compiles the networks, which can take minutes')
    return Compiled(trainer)


def warn_of_fallback(name: str, problem):
    first = (str(problem).strip() or type(problem).__name__).splitlines()[0]
    warn(f'--engine {name} does not work here ({first}); using --engine eager')


class Eager:
    """Op by op."""

    def __init__(self, trainer):
        self.trainer, self.model = trainer, trainer.model

    def step(self, batch: dict):
        self.prepare(batch)
        self.trainer.work(self.trainer.whole_batch)

    def prepare(self, batch: dict):
        self.model.set_input(batch)
        self.model.draw()


class Compiled(Eager):
    """Networks are compiled in place, which keeps their names and keys; what cannot be compiled runs op by op."""

    def __init__(self, trainer):
        super().__init__(trainer)
        torch._dynamo.config.suppress_errors = True
        opt = self.model.opt
        second_derivative = opt.gan_mode == 'wgangp' or opt.lambda_r1 > 0       # of D; it cannot be compiled
        for name, net in self.model.nets.items():
            if not (second_derivative and name.startswith('D')):
                for part in net.children() if getattr(net, 'compile_parts', False) else [net]:
                    part.compile()


def compiler_problem(device: torch.device) -> Exception | None:
    """What keeps torch.compile from working here; found by compiling a small network, forward and backward."""
    try:
        with torch.random.fork_rng(devices=[]):
            net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU()).to(device)
            net.compile()
            net(torch.ones(1, 1, 8, 8, device=device)).sum().backward()
    except Exception as error:
        return error
    return None
