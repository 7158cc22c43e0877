"""--accumulate K: the gradients of K batches are summed before an optimizer steps, with the memory of one batch."""
import torch

from models.nets.layers import BatchNorm2d
from models.training.engine import Eager
from util.machine.seeding import random_state, set_random_state


class Accumulated(Eager):
    """A step on K batches equals the step on all their images at once, up to rounding.

    Every update (of D, of G) goes through all batches before its optimizer steps. The first update computes the images
    of each batch. Later updates see these images again; those that train the generators compute them once more, with
    the same random numbers, because their gradients go through them. Only batch norm makes a difference: it has the
    statistics of each batch alone.
    """

    def __init__(self, trainer):
        super().__init__(trainer)
        self.group, self.device = trainer.group, self.model.device
        self.generators = list(self.model.generators.values())
        self.generator_weights = {id(weight) for net in self.generators for weight in net.parameters()}

    def step(self, batch: dict):
        total, batch_size = self.group.share.total, self.trainer.batch_size
        n_parts = -(-total // (batch_size * self.group.size))
        self.batches = batch['parts'][:n_parts]
        self.total = total
        self.computed = []      # for each batch: what the first update computed
        self.rng_before = random_state(self.device)
        self.trainer.work(self.parts)
        self.divide(0)

    def divide(self, part: int):
        self.group.divide(self.trainer.batch_size, self.total, part, len(self.batches))

    def parts(self, index: int, update):
        """Yields the number of each batch once the model is ready to compute the loss of `update` on it."""
        rng_of_update = random_state(self.device)
        for part, batch in enumerate(self.batches):
            self.divide(part)
            if index == 0:
                self.compute(batch)
                yield part
            elif self.trains_generators(update):
                # their running statistics have counted these images already
                statistics = [(buffer, buffer.clone()) for net in self.generators for buffer in net.buffers()]
                self.compute_again(part)
                set_random_state(rng_of_update, self.device)
                yield part
                restore(statistics)
            else:
                vars(self.model).update(self.computed[part])
                set_random_state(rng_of_update, self.device)
                yield part

    def compute(self, batch: dict):
        set_random_state(self.rng_before, self.device)
        self.prepare(batch)
        self.rng_of_forward = random_state(self.device)
        self.forward()
        self.computed.append({name: value.detach() for name, value in tensors_of(self.model).items()})

    def compute_again(self, part: int):
        vars(self.model).update(self.computed[part])
        set_random_state(self.rng_of_forward, self.device)
        self.forward()

    def forward(self):
        with self.model.runtime.autocast():
            self.model.forward()

    def trains_generators(self, update) -> bool:
        return any(id(weight) in self.generator_weights
                   for group in update.optimizer.param_groups for weight in group['params'])


def restore(values: list[tuple[torch.Tensor, torch.Tensor]]):
    with torch.no_grad():
        for tensor, value in values:
            tensor.copy_(value)


def tensors_of(model) -> dict[str, torch.Tensor]:
    """The tensors among the attributes of a model: inputs, images, codes."""
    return {name: value for name, value in vars(model).items() if isinstance(value, torch.Tensor)}


def update_lines(trainer, keeps_size: bool = False) -> list[str]:
    """Lines about what an update consists of, if it is more than one batch, and whether that has changed."""
    model = trainer.model
    size = trainer.group.size
    parts = trainer.accumulate
    lines = []
    now = model.runtime.group.size
    if trainer.saved_world_size != now:
        lines.append(f'trained by {trainer.saved_world_size} process(es) so far and by {now} from now on: the order of '
                     f'images is the same, but numbers differ by rounding'
                     + (f'; an update keeps its {trainer.update_size} images' if keeps_size else ''))
    if not model.owns_full_state:
        lines.append('one process trains the networks *_A, the other one *_B (--parallel twin)')
    idle = size - -(-trainer.update_size // trainer.batch_size)
    if idle > 0:        # a machine has joined a job whose updates are small
        lines.append(f'{idle} of {size} processes get no images in an update and only wait; start the job with '
                     f'--accumulate {size} to give each process its own')
    if trainer.update_size == trainer.batch_size:
        return lines
    factors, scopes = [], []
    if size > 1:
        factors.append(f'{size} processes')
        scopes.append('all processes')
    if parts > 1:
        factors.append(f'{parts} batches (--accumulate)')
        scopes.append('each batch alone')
    together = '=' if trainer.update_size == size * parts * trainer.batch_size else 'without the last ones ='
    lines.append(f'one update: {" x ".join(factors)} x {trainer.batch_size} images (--batch_size) {together} '
                 f'{trainer.update_size} images')
    if any(isinstance(layer, BatchNorm2d) for net in model.nets.values() for layer in net.modules()):
        lines.append(f'batch norms have the statistics of {", ".join(scopes)}')
    return lines
