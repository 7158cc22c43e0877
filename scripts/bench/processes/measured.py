"""Time of steps and of their exchange with 1, 2, 4 processes of one thread each, connected by gloo on this machine.

All processes are started once. Then sets of 1, 2 and 4 take turns, while the others sleep.
"""
import multiprocessing
import os
import random
import socket
import statistics
import tempfile
import time
from pathlib import Path

import torch

from bench.steps import options_of
from models import create_model, create_trainer
from util.machine.runtime import start_runtime

SIZES = (1, 2, 4)
CASES = {'cyclegan': (64, '--ngf', '32', '--ndf', '32'),
         'pix2pix': (128, '--netG', 'unet_128', '--ngf', '32', '--ndf', '32')}
WARM_UP = 2
STEPS = 2           # in each turn


class Times:
    """Seconds on the clock, and CPU seconds of all threads of this process."""

    def __init__(self):
        self.wall = self.cpu = 0.0

    def add(self, work, *arguments):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work(*arguments)
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        return result

    def of(self, times: int) -> dict:
        return dict(wall=self.wall / times, cpu=self.cpu / times)


def work(rank: int, size: int, port: int, model: str, pipe):
    """A process: builds the networks, then does what `pipe` says until it says nothing."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), LOCAL_WORLD_SIZE=str(size),
                      MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    side, *argv = CASES[model]
    with tempfile.TemporaryDirectory() as root:
        opt = options_of(model, side, 1, Path(root), *argv)
    runtime = start_runtime('-1', 1, seed=1, precision='fp32')
    trainer = create_trainer(opt, create_model(opt, runtime))
    batch = {'A': torch.rand(1, 3, side, side) * 2 - 1, 'B': torch.rand(1, 3, side, side) * 2 - 1, 'A_paths': ['none']}
    for _ in range(WARM_UP):
        trainer.step(batch)
    trials = {'step': lambda: timed_steps(trainer, batch), 'exchange': lambda: timed_exchange(trainer)}
    pipe.send('ready')
    while (trial := pipe.recv()) is not None:
        runtime.group.numbers(0)        # begin together
        pipe.send(trials[trial]())
    runtime.group.close()


def timed_steps(trainer, batch) -> dict:
    """Seconds of a step, and of the exchange in it with the waiting for slower processes."""
    group = trainer.group
    exchange, step = Times(), Times()
    average = group.average_gradients
    group.average_gradients = lambda *arguments: exchange.add(average, *arguments)
    for _ in range(STEPS):
        step.add(trainer.step, batch)
    group.average_gradients = average
    return dict(step=step.of(STEPS), within=exchange.of(STEPS))


def timed_exchange(trainer) -> dict:
    """Seconds of the exchange of a step alone, all processes beginning together."""
    times, value = Times(), torch.zeros(1)
    for _ in range(STEPS):
        for optimizer in trainer.model.optimizers.values():
            times.add(trainer.group.average_gradients, optimizer, value)
    return dict(exchange=times.of(STEPS))


class Processes:
    """A set of processes that wait for work."""

    def __init__(self, size: int, model: str):
        context = multiprocessing.get_context('spawn')
        with socket.socket() as server:
            server.bind(('127.0.0.1', 0))
            port = server.getsockname()[1]
        self.pipes, self.children = [], []
        for rank in range(size):
            pipe, other = context.Pipe()
            child = context.Process(target=work, args=(rank, size, port, model, other), daemon=True)
            child.start()
            other.close()       # so that a child that dies is an error here
            self.pipes.append(pipe)
            self.children.append(child)
        for pipe in self.pipes:
            pipe.recv()

    def run(self, trial: str) -> list[dict]:
        for pipe in self.pipes:
            pipe.send(trial)
        return [pipe.recv() for pipe in self.pipes]

    def end(self):
        for pipe in self.pipes:
            pipe.send(None)
        for child in self.children:
            child.join()


def measure(model: str, turns: int) -> list[dict]:
    """A row for each size. `wall` is that of the slowest process, `cpu` of all processes together."""
    groups = {size: Processes(size, model) for size in SIZES}
    found = {size: {'step': [], 'within': [], 'exchange': []} for size in SIZES}
    order = random.Random(0)
    for turn in range(turns):
        for size in order.sample(SIZES, len(SIZES)):
            for trial in ('step', 'exchange'):
                answers = groups[size].run(trial)
                for name in answers[0]:
                    found[size][name].append(dict(wall=max(answer[name]['wall'] for answer in answers),
                                                  cpu=sum(answer[name]['cpu'] for answer in answers)))
        print(f'  {model}: turn {turn + 1} of {turns}', flush=True)
    for group in groups.values():
        group.end()
    return [row(model, size, values) for size, values in found.items()]


def row(model: str, size: int, values: dict) -> dict:
    side, *argv = CASES[model]
    return dict(model=model, side=side, options=argv, processes=size,
                **{f'{name}_{kind}': spread([turn[kind] for turn in turns])
                   for name, turns in values.items() for kind in ('wall', 'cpu')})


def spread(seconds: list[float]) -> list[float]:
    """Median, lowest, highest."""
    return [statistics.median(seconds), min(seconds), max(seconds)]


def predicted_wall(alone: float, exchange: float, processes: int, n_cores: int) -> float:
    """Seconds of a step if `processes` share the cores and nothing else, and then exchange gradients."""
    return alone * max(1, processes / n_cores) + exchange
