"""Several processes that train one model, each on its share of every batch; `torchrun ... train.py` starts them.

All of them have the same weights, the same image pools and the same random numbers: what is drawn, is drawn for the
images of all, and each process takes its own. So a run depends neither on their number nor on which of them saves.
"""
import json
import math
import os
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from util.errors import ResourceError, UserError
from util.machine.launch import local_rank, n_processes

SECONDS_TO_LEAVE = 10


class LostError(ResourceError):
    """Another process of the run has ended, or does not answer."""


class ToldElsewhere(UserError):
    """An error that the first process tells: the others end with its exit code, silently."""

    def __init__(self, exit_code: int):
        super().__init__()
        self.exit_code = exit_code


@dataclass(frozen=True)
class Share:
    """Which images of an update a process has in one batch: `count` of `total`, from `start` on.

    A process that has none left (`count` 0) goes along with an image of another's, which does not count.
    """

    start: int
    count: int
    total: int
    first: bool = True      # of the batches of this update

    @property
    def weight(self) -> float:
        return self.count / self.total

    @property
    def held(self) -> int:
        """Images in the batch of this process."""
        return max(1, self.count)


def share_of(rank: int, size: int, batch_size: int, total: int, part: int = 0) -> Share:
    """The share of a process in the `part`-th batch of an update on `total` images (--accumulate has several parts)."""
    before = min(total, part * size * batch_size)
    start = min(total, before + rank * batch_size)
    end = min(total, before + (rank + 1) * batch_size)
    return Share(start, end - start, total, first=part == 0)


class Group:
    """The processes of a run; this class is the group of one. `share` is None where a batch is not shared."""

    rank, size, local_rank = 0, 1, 0

    def __init__(self):
        self.share = None
        self.batch_size = 1

    def __deepcopy__(self, _):
        return self

    @property
    def size_here(self) -> int:
        """How many of the processes run on this machine."""
        return int(os.environ.get('LOCAL_WORLD_SIZE', 1)) if self.size > 1 else 1

    @property
    def is_main(self) -> bool:
        """The process that writes files and lines."""
        return self.rank == 0

    # ---- shares

    def divide(self, batch_size: int, total: int, part: int = 0, parts: int = 1):
        """From now on this process has its share of an update on `total` images, of `batch_size` at a time."""
        self.batch_size = batch_size
        alone = self.size == 1 and parts == 1
        self.share = None if alone else share_of(self.rank, self.size, batch_size, total, part)

    def shares(self) -> list[Share]:
        """Of all processes, in the batch under way."""
        part = self.share.start // (self.size * self.batch_size) if self.share.count else None
        if part is None:        # nothing left for this process: the part is the last one
            part = (self.share.total - 1) // (self.size * self.batch_size)
        return [share_of(rank, self.size, self.batch_size, self.share.total, part) for rank in range(self.size)]

    @contextmanager
    def alone(self):
        """Inside, this process works for itself: no batch is shared."""
        before, self.share = self.share, None
        try:
            yield
        finally:
            self.share = before

    def rows(self, draw, n: int) -> torch.Tensor:
        """Random rows for `n` images of this process out of `draw(m)`, those for m images (of several calls in one)."""
        share = self.share
        if share is None:
            return draw(n)
        calls = n // share.held
        drawn = draw(calls * share.total)
        start = min(share.start, share.total - share.held)
        return drawn.unflatten(0, (calls, share.total))[:, start:start + share.held].flatten(0, 1)

    def weighted(self, value: torch.Tensor) -> torch.Tensor:
        """A mean over the images of this process as its part of the mean over all."""
        return value if self.share is None else value * self.share.weight

    # ---- what several processes do together

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        return tensor

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of all processes; they have as many dimensions each."""
        return [tensor]

    def numbers(self, *values: int) -> list[list[int]]:
        """Whole numbers of all processes; everybody waits for the last one."""
        return [[int(value) for value in values]]

    def texts(self, text: str) -> list[str]:
        """The texts of all processes."""
        return [text]

    def same_random_numbers(self, device: torch.device):
        """Go on with the generators of the first process."""

    def first(self, work):
        """What `work()` gives the first process, for all: numbers, texts, lists, dicts. Its errors end all."""
        return work()

    def average_gradients(self, optimizer: torch.optim.Optimizer, value: torch.Tensor) -> torch.Tensor:
        """Sum the gradients over all processes, in place and in one message, and return the sum of `value`."""
        return value

    def close(self):
        """Leave the others, when nothing is left to be done together."""


class Processes(Group):
    """The group of several processes, by torch.distributed: NCCL between GPUs, gloo for all that lies on the CPU."""

    def __init__(self, device: torch.device, timeout: float):
        super().__init__()
        backend, place = ('gloo', {}) if device.type == 'cpu' else (f'cpu:gloo,{device.type}:nccl',
                                                                    {'device_id': device})
        with losses_told():
            store, rank, size = next(dist.rendezvous('env://', timeout=timedelta(seconds=timeout)))
            self.store = dist.PrefixStore(meet(store, rank, size, timeout), store)
            dist.init_process_group(backend, store=self.store, rank=rank, world_size=size,
                                    timeout=timedelta(seconds=timeout), **place)
        self.rank, self.size, self.local_rank = dist.get_rank(), dist.get_world_size(), local_rank()

    def sum(self, tensor):
        with losses_told():
            dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor):
        shapes = self.numbers(*tensor.shape)
        own = tensor.new_zeros(max(math.prod(shape) for shape in shapes))
        own[:tensor.numel()] = tensor.flatten()
        flat = [torch.empty_like(own) for _ in shapes]
        with losses_told():
            dist.all_gather(flat, own)
        return [values[:math.prod(shape)].view(shape) for values, shape in zip(flat, shapes, strict=True)]

    def numbers(self, *values):
        own = torch.tensor([int(value) for value in values])
        rows = [torch.empty_like(own) for _ in range(self.size)]
        with losses_told():
            dist.all_gather(rows, own)
        return [row.tolist() for row in rows]

    def texts(self, text):
        rows = self.gather(torch.frombuffer(bytearray(text.encode('utf-8', 'surrogateescape') + b'\0'),
                                            dtype=torch.uint8))
        return [bytes(row.tolist())[:-1].decode('utf-8', 'surrogateescape') for row in rows]

    def same_random_numbers(self, device):
        torch.set_rng_state(self.gather(torch.get_rng_state())[0])
        if device.type != 'cpu':
            module = torch.get_device_module(device)
            module.set_rng_state(self.gather(module.get_rng_state(device))[0], device)

    def first(self, work):
        if not self.is_main:
            told = json.loads(self.texts('')[0])
            if 'exit_code' in told:
                raise ToldElsewhere(told['exit_code'])
            return told['result']
        try:
            result = work()
        except Exception as error:
            self.texts(json.dumps({'exit_code': getattr(error, 'exit_code', 1)}))
            raise
        self.texts(json.dumps({'result': result}))
        return result

    @torch.no_grad()
    def average_gradients(self, optimizer, value):
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group['params']
                     if parameter.grad is not None]     # the same on all processes, whose graphs are the same
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]
                                  + [value.detach().reshape(1)]))
        for gradient, summed in zip(gradients, flat[:-1].split([gradient.numel() for gradient in gradients]),
                                    strict=True):
            gradient.copy_(summed.view_as(gradient))
        return flat[-1]

    def close(self):
        self.numbers(0)     # who ends first would be taken for lost, and the others be ended while they save
        deadline = time.monotonic() + SECONDS_TO_LEAVE
        self.store.add('leaving', 1)        # nobody closes a connection that another still reads from
        while self.store.add('leaving', 0) < self.size and time.monotonic() < deadline:
            time.sleep(0.02)
        dist.destroy_process_group()


def meet(store, rank: int, size: int, timeout: float) -> str:
    """A name of this start of the run, the same for all processes that live.

    torchrun keeps its store when it starts processes again, with the addresses of those that died: who reads them
    waits for the dead. So each process is welcomed by a name that only it knows, and answers.
    """
    own, deadline = secrets.token_hex(8), time.monotonic() + timeout
    if rank:
        store.set(f'arrived/{rank}', own)
        session = store.get(f'welcome/{own}').decode()
        store.set(f'ready/{session}/{rank}', '1')
        return session
    absent = set(range(1, size))
    while absent:
        for other in absent:
            if store.check([f'arrived/{other}']):
                store.set(f'welcome/{store.get(f"arrived/{other}").decode()}', own)
        absent = {other for other in absent if not store.check([f'ready/{own}/{other}'])}
        if time.monotonic() > deadline:
            raise RuntimeError(f'{len(absent)} of {size} processes did not arrive in {timeout:g} seconds')
        time.sleep(0.02)
    return own


@contextmanager
def losses_told():
    """Inside, an error of torch.distributed is one sentence: a process was lost."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        first = next(iter(str(error).splitlines()), '')
        raise LostError(f'another process of this run has ended or does not answer ({first[:150]}); '
                        f'its own lines tell why. Start again with --continue_train auto') from error


def start_group(device: torch.device, timeout: float = 300.0) -> Group:
    """Meet the other processes, if torchrun started several."""
    if n_processes() == 1:
        return Group()
    missing = [name for name in ('RANK', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT') if name not in os.environ]
    if missing:
        raise UserError(f'WORLD_SIZE is {n_processes()}, but {", ".join(missing)} not set; start several processes '
                        f'with torchrun, or unset WORLD_SIZE')
    return Processes(device, timeout)
