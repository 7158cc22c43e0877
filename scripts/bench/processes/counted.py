"""What one training step computes and sends, counted on the meta device: shapes without numbers, so no time is needed.

The networks are those of the models, and the messages those of `util.machine.distributed.Processes`.
"""
from dataclasses import dataclass, field

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from models import create_model
from models.training.trainer import without_gradients
from options import TrainOptions
from util.machine.distributed import Group, Processes
from util.machine.runtime import Runtime

META = torch.device('meta')


@dataclass
class Counts:
    """Of one update: bytes of its gradients, FLOPs of all its work and of backward, operations, other messages."""

    name: str
    gradient_bytes: int
    flops: int
    backward_flops: int
    operations: int
    messages: list[int] = field(default_factory=list)       # bytes of each message besides the gradients


class Recorded(Processes):
    """The first of `size` processes with one image each. What it sends is recorded and arrives nowhere."""

    def __init__(self, size: int):
        Group.__init__(self)
        self.size = size
        self.sent = []          # bytes of each message

    def sum(self, tensor):
        self.sent.append(tensor.numel() * tensor.element_size())
        return tensor

    def gather(self, tensor):
        return [self.sum(tensor)] * self.size

    def numbers(self, *values):
        return [list(values)] * self.size


class Operations(TorchDispatchMode):
    """Counts the operations of PyTorch inside its context, those of backward too, without views."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += not function.is_view
        return function(*args, **(kwargs or {}))


def count_step(model: str, processes: int, root, *argv) -> tuple[int, list[Counts]]:
    """The side of the image, and the counts of each update of a step with one image, at the defaults of the model.

    Args:
        processes: how many share the step; several have batch norms of their own.
        root: an empty folder, because options are checked.
        argv: more options.
    """
    opt = TrainOptions().parse(['--dataroot', str(root), '--checkpoints_dir', str(root), '--name', 'counted',
                                '--model', model, '--gpu_ids', '-1', '--seed', '1', *argv])
    group, side = Recorded(processes), opt.crop_size
    with META:
        net = create_model(opt, Runtime(META, 'meta', group=group))
    group.divide(1, processes)
    net.set_input({'A': torch.zeros(1, opt.input_nc, side, side, device=META), 'A_paths': ['none'],
                   'B': torch.zeros(1, opt.output_nc, side, side, device=META)})
    net.draw()
    return side, count_updates(net, group)


def count_updates(net, group: Recorded) -> list[Counts]:
    names = {id(optimizer): name.strip('_') for name, optimizer in net.optimizers.items()}
    rows, start = [], (0, 0)
    with FlopCounterMode(display=False) as flops, Operations() as operations:
        net.forward()       # its work counts to the first update
        for update in net.updates():
            with without_gradients(*update.frozen):
                loss = update.loss()
            before_backward = flops.get_total_flops()
            loss.backward()
            now = flops.get_total_flops(), operations.count
            messages, group.sent = group.sent, []
            group.average_gradients(update.optimizer, loss.detach())
            rows.append(Counts(names[id(update.optimizer)], group.sent.pop(), now[0] - start[0],
                               now[0] - before_backward, now[1] - start[1], messages))
            update.optimizer.zero_grad(set_to_none=True)
            start = flops.get_total_flops(), operations.count
    return rows
