"""Data-parallel training with several processes, started by `torchrun ... train.py`.

All processes hold the same weights, image pools and random number generators. Random numbers are drawn for the images
of all processes, and each process uses its own part, so a run does not depend on how many processes it has.
"""
import json
import math
import os
import time
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from util.errors import UserError
from util.machine.launch import local_rank, world_size
from util.machine.rendezvous import agree_on_session, lost_rank_as_error
from util.machine.shares import Share, share_of

CLOSE_TIMEOUT = 10      # seconds to wait for the other processes before disconnecting


class ReportedByMainRank(UserError):
    """An error that the main process reports; the others exit with the same code and print nothing."""

    def __init__(self, exit_code: int):
        super().__init__()
        self.exit_code = exit_code


class Group:
    """The processes of a run. This base class is a single process; `share` is None if a batch is not split."""

    rank = 0
    size = 1
    local_rank = 0

    def __init__(self):
        self.share = None
        self.batch_size = 1

    def __deepcopy__(self, _):
        return self

    @property
    def size_here(self) -> int:
        """Number of processes on this machine."""
        return int(os.environ.get('LOCAL_WORLD_SIZE', 1)) if self.size > 1 else 1

    @property
    def is_main(self) -> bool:
        """True for rank 0, which writes all files and prints."""
        return self.rank == 0

    # ---- shares

    def divide(self, batch_size: int, total: int, part: int = 0, parts: int = 1):
        """Set `share` for an update on `total` images, `batch_size` per process and forward pass."""
        self.batch_size = batch_size
        alone = self.size == 1 and parts == 1
        self.share = None if alone else share_of(self.rank, self.size, batch_size, total, part)

    def shares(self) -> list[Share]:
        """The shares of all processes in the current batch."""
        # no images left for this process: this is the last batch of the update
        last_image = self.share.start if self.share.count else self.share.total - 1
        part = last_image // (self.size * self.batch_size)
        return [share_of(rank, self.size, self.batch_size, self.share.total, part) for rank in range(self.size)]

    @contextmanager
    def alone(self):
        """Inside the context this process runs on its own batch; nothing is split or synchronized."""
        share = self.share
        self.share = None
        try:
            yield
        finally:
            self.share = share

    def rows(self, draw, n: int) -> torch.Tensor:
        """Random rows for the `n` images of this process; `draw(m)` draws the rows for m images.

        The rows of all processes are drawn and this process takes its part. `n` may cover several calls in one.
        """
        share = self.share
        if share is None:
            return draw(n)
        calls = n // share.held
        drawn = draw(calls * share.total)
        start = min(share.start, share.total - share.held)
        return drawn.unflatten(0, (calls, share.total))[:, start:start + share.held].flatten(0, 1)

    def weighted(self, value: torch.Tensor) -> torch.Tensor:
        """Scale a mean over the images of this process so that the sum over processes is the overall mean."""
        return value if self.share is None else value * self.share.weight

    # ---- collective operations

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all processes, in place."""
        return tensor

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of all processes, by rank; shapes may differ, the number of dimensions may not."""
        return [tensor]

    def numbers(self, *values: int) -> list[list[int]]:
        """The integers of all processes, by rank. Also serves as a barrier."""
        return [[int(value) for value in values]]

    def texts(self, text: str) -> list[str]:
        """The strings of all processes, by rank."""
        return [text]

    def same_random_numbers(self, device: torch.device):
        """Copy the random number generator states of the main process to all processes."""

    def first(self, work):
        """Run `work()` in the main process and return its (JSON) result in all. An error there ends all processes."""
        return work()

    def average_gradients(self, optimizer: torch.optim.Optimizer, value: torch.Tensor) -> torch.Tensor:
        """Sum the gradients over all processes, in place and in one message; returns the sum of `value`."""
        return value

    def close(self):
        """Disconnect at the end of the run."""


class Processes(Group):
    """Several processes connected by torch.distributed: NCCL for GPU tensors, gloo for CPU tensors."""

    def __init__(self, device: torch.device, timeout: float):
        super().__init__()
        if device.type == 'cpu':
            backend, device_id = 'gloo', None
        else:
            backend, device_id = f'cpu:gloo,{device.type}:nccl', device
        limit = timedelta(seconds=timeout)
        with lost_rank_as_error():
            store, rank, size = next(dist.rendezvous('env://', timeout=limit))
            self.store = dist.PrefixStore(agree_on_session(store, rank, size, timeout), store)
            dist.init_process_group(backend, store=self.store, rank=rank, world_size=size, timeout=limit,
                                    device_id=device_id)
        self.rank = rank
        self.size = size
        self.local_rank = local_rank()

    def sum(self, tensor):
        with lost_rank_as_error():
            dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor):
        shapes = self.numbers(*tensor.shape)
        own = tensor.new_zeros(max(math.prod(shape) for shape in shapes))
        own[:tensor.numel()] = tensor.flatten()
        flat = [torch.empty_like(own) for _ in shapes]
        with lost_rank_as_error():
            dist.all_gather(flat, own)
        return [values[:math.prod(shape)].view(shape) for values, shape in zip(flat, shapes, strict=True)]

    def numbers(self, *values):
        own = torch.tensor([int(value) for value in values])
        rows = [torch.empty_like(own) for _ in range(self.size)]
        with lost_rank_as_error():
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
            answer = json.loads(self.texts('')[0])
            if 'exit_code' in answer:
                raise ReportedByMainRank(answer['exit_code'])
            return answer['result']
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
                     if parameter.grad is not None]     # the same list in all processes: their graphs are equal
        flat = self.sum(torch.cat([*(gradient.flatten() for gradient in gradients), value.detach().reshape(1)]))
        for gradient, summed in zip(gradients, flat[:-1].split([gradient.numel() for gradient in gradients]),
                                    strict=True):
            gradient.copy_(summed.view_as(gradient))
        return flat[-1]

    def close(self):
        self.numbers(0)     # barrier: a rank that exits early looks dead, and torchrun would kill the others mid-save
        deadline = time.monotonic() + CLOSE_TIMEOUT
        self.store.add('leaving', 1)        # do not close a connection that another rank still reads from
        while self.store.add('leaving', 0) < self.size and time.monotonic() < deadline:
            time.sleep(0.02)
        dist.destroy_process_group()


def start_group(device: torch.device, timeout: float = 300.0) -> Group:
    """Connect to the other processes if torchrun started several; `timeout` is in seconds."""
    if world_size() == 1:
        return Group()
    missing = [name for name in ('RANK', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT') if name not in os.environ]
    if missing:
        raise UserError(f'WORLD_SIZE is {world_size()}, but these environment variables are not set: '
                        f'{", ".join(missing)}; start the processes with torchrun, or unset WORLD_SIZE')
    return Processes(device, timeout)
