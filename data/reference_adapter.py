"""Dataset files written for pytorch-CycleGAN-and-pix2pix (2018 to 2025) run here unchanged.

The loader sees their classes through `OlderDataset`; scripts get a `ScriptDataset`.
"""
import random
from contextlib import contextmanager

import numpy as np
import torch

from data import base_dataset, reference_api, reference_datasets
from data.image_folder import is_image
from util.images import AS_WRITTEN, as_numbers, swap_domains
from util.registry import replaced_modules

MODULES = {'base_dataset': reference_api, 'image_folder': reference_api, **dict.fromkeys(
    ('aligned_dataset', 'unaligned_dataset', 'single_dataset', 'colorization_dataset', 'template_dataset'),
    reference_datasets)}


def older_modules():
    """Inside, `from data.base_dataset import BaseDataset` and the like give the names of the older contract."""
    return replaced_modules('data', MODULES)


class OlderDataset(base_dataset.BaseDataset):
    """A dataset in the older contract. Each sample has random state of its own, as native samples have."""

    def __init__(self, load_kind, opt):
        """`load_kind()` imports the class."""
        super().__init__(opt)
        self.inspection = None
        self.load_kind = load_kind
        kind, settings = load_kind(), opt.writable()
        if hasattr(kind, 'initialize') and kind.initialize is not reference_api.BaseDataset.initialize:
            self.client = kind()
            self.client.initialize(settings)
        else:
            self.client = kind(settings)

    def __getstate__(self):
        """A worker process that is not a fork imports the class again, by `load_kind`."""
        return {**vars(self), 'client': vars(self.client)}

    def __setstate__(self, state):
        kind = state['load_kind']()
        vars(self).update(state, client=kind.__new__(kind))
        vars(self.client).update(state['client'])

    def __len__(self):
        return int(min(len(self.client), self.limit))

    image_domains = {}        # its samples may be anything

    def check(self):
        self.n_files = len(self)

    @property
    def has_targets(self):
        """A pair is in one file, as in the datasets of the reference."""
        sample = self.load(0, random.Random(0))
        return 'B' in sample and sample.get('A_paths') == sample.get('B_paths')

    def shares_images(self, other):
        """Its files are not known: the first samples of both are compared."""
        first, theirs = ({dataset[index]['A_paths'] for index in range(min(3, len(dataset)))}
                         for dataset in (self, other))
        return bool(first & theirs)

    def load(self, index, rng):
        with seeded(rng.getrandbits(63)):
            sample = dict(self.client[index])
        texts = {key: value for key, value in sample.items() if isinstance(value, str)}
        names = [value for key, value in texts.items() if key.endswith('_paths') or is_image(value)]
        sample.setdefault('A_paths', texts.get('path', [*names, f'{index:05d}'][0]))
        sample[AS_WRITTEN] = ''
        return swap_domains(sample) if self.reversed else sample


@contextmanager
def seeded(seed: int):
    """Inside, the generators of python, numpy and torch begin with `seed`; afterwards they are as before."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


# ---- for scripts

class ScriptDataset:
    """What `create_dataset(opt)` gives such a script: an iterable of batches of floats, with a length in images."""

    def __init__(self, dataset, loader, direction: str):
        self.dataset = dataset
        self.loader = loader
        self.direction = direction
        self.epoch = 0

    def __len__(self):
        return len(self.dataset)

    def __iter__(self):
        self.epoch += 1
        self.loader.sampler.set_epoch(self.epoch)
        for batch in self.loader:
            levels = AS_WRITTEN not in batch
            floats = {key: as_numbers(value) if levels and torch.is_tensor(value) else value
                      for key, value in batch.items() if key != AS_WRITTEN}
            yield swap_domains(floats) if self.direction == 'BtoA' else floats

    def load_data(self):
        """In 2018 the loader was asked for its data."""
        return self

    def set_epoch(self, epoch):
        self.epoch = epoch - 1
