"""The part of every model that translates images, for test.py and for previews during training."""
import copy
from contextlib import contextmanager
from pathlib import Path

import torch

from models import networks
from util.machine.memory import memory_explained
from util.machine.seeding import derive_seed, restore_rng_state, rng_state


class Translating:
    """Needs `set_input`, `forward`, `get_current_visuals` and `nets` of the model it is a part of."""

    def translate(self, batch: dict) -> dict:
        """`translate_batch` in the precision of the run; out of memory is an error that names the sizes."""
        height, width = batch['A'].shape[-2:]
        with torch.inference_mode(), self.runtime.autocast(), \
                memory_explained(self.device, batch_size=len(batch['A']), size=f'{width}x{height}'):
            return self.translate_batch(batch)

    def translate_batch(self, batch: dict) -> dict:
        """Translate a batch; every image gives the same result as alone, whatever the batch size.

        Where a network mixes the images of a batch (batch norm in training mode, dropout), they go through one by
        one, each with its own noise, seeded by --seed and the file name. On a CPU they always do: batches gain
        nothing there, and the result is the same to the last bit.
        """
        mixed = any(networks.mixes_batch(net) for net in self.nets.values())
        if not mixed and self.device.type != 'cpu':
            self.set_input(batch)
            self.forward()
            return self.get_current_visuals()
        singles = []
        for index, path in enumerate(batch['A_paths']):
            torch.manual_seed(derive_seed(self.opt.seed, Path(path).name))
            self.set_input({key: value[index:index + 1] for key, value in batch.items() if key != 'failed'})
            self.forward()
            singles.append(self.get_current_visuals())
        return {name: torch.cat([single[name] for single in singles]) for name in singles[0]}

    def preview(self, batch: dict) -> dict:
        """Visuals of a batch during training, (N, C, H, W) in [-1, 1], with the same noise each time.

        Training is not affected: a copy of the model that shares its networks does the work, and random state and
        running statistics are restored. Only the process that shows the visuals needs to call this.
        """
        with torch.no_grad(), self.runtime.autocast(), self.group.alone(), unchanged_statistics(self.nets.values()):
            rng = rng_state()
            torch.manual_seed(derive_seed(self.opt.seed, 'preview'))
            try:
                return copy.copy(self).preview_batch(batch)
            finally:
                restore_rng_state(rng)

    def preview_batch(self, batch: dict) -> dict:
        self.set_input(batch)
        self.forward()
        return {name: image for name, image in self.get_current_visuals().items() if not name.startswith('idt')}

    def prepare_test(self, read_image, list_images) -> dict:
        """Called before the first translation, for models that need other images than those of the dataset.

        `read_image(path)` gives (1, C, H, W), `list_images(folder)` sorted paths. Returns images to show above all
        results, {name: (1, C, H, W)}; None leaves a place empty.
        """
        return {}

    def eval(self):
        """Use the running statistics of batch norms, and no dropout (--eval)."""
        for net in self.nets.values():
            net.eval()


@contextmanager
def unchanged_statistics(nets):
    """Restores the running statistics of `nets` afterwards."""
    buffers = [(buffer, buffer.clone()) for net in nets for buffer in net.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
