"""Translating images: the part of every model that test.py and previews during training use."""
import copy
from contextlib import contextmanager
from pathlib import Path

import torch

from models import networks
from models.translation.fitting import fitted
from util.machine.memory import memory_explained
from util.machine.seeding import derive_seed, restore_rng_state, rng_state


class Translating:
    """A base class of models; uses their `set_input`, `forward`, `get_current_visuals` and `nets`."""

    def size_cure(self) -> str:
        """What helps against images of a size that the networks cannot take."""
        return 'use --preprocess resize_and_crop' if self.opt.isTrain else 'add --whole, which extends images'

    def translate(self, batch: dict) -> dict:
        """Images by name, in the precision of the run. Out of memory raises an error that names the sizes."""
        height, width = batch['A'].shape[-2:]
        translate = self.translate_whole if self.opt.as_dict().get('whole') else self.translate_batch
        with torch.inference_mode(), self.runtime.autocast(), \
                memory_explained(self.device, batch_size=len(batch['A']), size=f'{width}x{height}'):
            return translate(batch)

    def translate_whole(self, batch: dict) -> dict:
        """Translate images of any size: they are extended to what the networks take, and the results are cropped."""
        height, width = batch['A'].shape[-2:]
        nets = self.generators.values()
        multiple, smallest = max(net.multiple for net in nets), max(net.smallest for net in nets)
        extended = {name: fitted(batch[name], multiple, smallest) for name in 'AB' if name in batch}
        visuals = self.translate_batch({**batch, **extended})
        return {name: image[..., :height, :width] for name, image in visuals.items()}

    def translate_batch(self, batch: dict) -> dict:
        """Translate a batch. The result for an image does not depend on the batch size or the other images.

        If a network mixes the images of a batch (batch norm in training mode, dropout), they are translated one by
        one, each with noise seeded by --seed and its file name. On a CPU this is always done: batches are not
        faster there, and results are bit-identical.
        """
        mixed = any(networks.mixes_batch(net) for net in self.nets.values())
        if not mixed and self.device.type != 'cpu':
            self.set_input(batch)
            self.forward()
            return self.get_current_visuals()
        singles = []
        for index, path in enumerate(batch['A_paths']):
            torch.manual_seed(derive_seed(self.opt.seed, Path(path).name))
            self.set_input({key: part_of(value, index) for key, value in batch.items() if key != 'failed'})
            self.forward()
            singles.append(self.get_current_visuals())
        return {name: torch.cat([single[name] for single in singles]) for name in singles[0]}

    def preview(self, batch: dict) -> dict:
        """Visuals of a batch during training, (N, C, H, W) in [-1, 1]; the noise is the same at each call.

        Training is not affected: the work is done by a copy of the model with the same networks, and random state
        and running statistics are restored. Only the process that shows the visuals needs to call this.
        """
        with self.without_trace(self.nets), self.runtime.autocast():
            torch.manual_seed(derive_seed(self.opt.seed, 'preview'))
            return copy.copy(self).preview_batch(batch)

    @contextmanager
    def without_trace(self, nets: dict):
        """For work between two steps: afterwards random state and the running statistics of `nets` are as before."""
        rng = rng_state()
        try:
            with torch.no_grad(), self.group.alone(), unchanged_statistics(nets.values()):
                yield
        finally:
            restore_rng_state(rng)

    @contextmanager
    def tested(self, opt, averages: dict):
        """Inside, a model in training translates as in test.py with the options `opt`, without a trace.

        Yields a copy that shares the networks, but has those of `averages`, {name: network}, in their place.
        """
        copied = self.as_tested(opt, averages)
        with self.without_trace(copied.nets):
            yield copied

    def as_tested(self, opt, averages: dict) -> 'Translating':
        """The copy for `tested`."""
        tested = copy.copy(self)
        tested.opt = opt
        for name, net in averages.items():
            setattr(tested, f'net{name}', net)
        tested.prepare_test(None, None)     # no options name further images
        return tested

    def preview_batch(self, batch: dict) -> dict:
        self.set_input(batch)
        self.forward()
        return {name: image for name, image in self.get_current_visuals().items() if not name.startswith('idt')}

    def saved_names(self, found: list[str]) -> dict[str, str]:
        """The name in the checkpoint of each network: {'G_A': 'G_B', ...}; the checkpoint has the names `found`.

        The networks of A and B are swapped if --direction is the opposite of that in training.
        """
        opt = self.opt
        if not self.two_way or opt.isTrain or opt.trained_direction in ('', opt.direction):
            return {name: name for name in self.nets}
        other = str.maketrans('AB', 'BA')
        return {name: name[:-1] + name[-1].translate(other) for name in self.nets}

    def prepare_test(self, read_image, list_images) -> dict:
        """Called before the first translation, for models that need images besides those of the dataset.

        `read_image(path)` returns (1, C, H, W), `list_images(folder)` sorted paths. Returns images to show above
        the results, {name: (1, C, H, W)}; None leaves a gap.
        """
        return {}

    def about_results(self) -> str:
        """A sentence for the page of test.py about results that are not a function of the input alone."""
        return ''

    def about_codes(self, name: str, example_codes: int = 0) -> str:
        """That sentence for a model with random codes, or codes of example images; `name`: 'style', 'code'."""
        opt = self.opt
        if example_codes:
            many = f'{name}s of the {example_codes} images above the columns' if example_codes > 1 \
                else f'{name} of the image above the column'
            return f'The {many}, the same in all rows.'
        if opt.as_dict().get('interpolate'):
            what = f'{opt.num_styles} equal steps from one random {name} to another'
        else:
            what = f'{opt.num_styles} random {name}s' if opt.num_styles > 1 else f'One random {name}'
        rows = 'the same in all rows (--sync_styles)' if opt.sync_styles \
            else 'drawn for each row (--sync_styles would share them)'
        return f'{what}, {rows}; --style_seed {opt.style_seed}.'

    def describe_networks(self, verbose: bool = False) -> str:
        """Names and sizes of the networks, with their structure if `verbose`."""
        return networks.describe(self.nets, verbose)

    def eval(self):
        """Switch to evaluation mode (--eval): batch norms use their running statistics, and dropout is off."""
        for net in self.nets.values():
            net.eval()


def part_of(value, index: int):
    """Sample `index` of a batch, as a batch of one: of tensors and lists of strings, also in dicts and lists."""
    if isinstance(value, dict):
        return {key: part_of(item, index) for key, item in value.items()}
    if isinstance(value, list) and value and not isinstance(value[0], str):
        return [part_of(item, index) for item in value]
    return value[index:index + 1]


@contextmanager
def unchanged_statistics(nets):
    """Restore the running statistics of `nets` on exit."""
    buffers = [(buffer, buffer.clone()) for net in nets for buffer in net.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
