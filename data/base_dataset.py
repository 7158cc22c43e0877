"""What all datasets share: an index that carries its own randomness, and the folders of a phase."""
import os
import random
from pathlib import Path

import torch
from torch.utils.data import Dataset, Sampler, default_collate

from util.cli import UserError
from util.seeding import derive_seed

from .image_folder import ImageError, contents, list_images, read_image
from .transforms import Preparation


class BaseDataset(Dataset):
    """A dataset is one file: option tables, `__init__` with a list of `paths`, and `load(index, rng)` for one sample.

    A sample is a dict of tensors and strings with at least 'A' and 'A_paths'. `--direction` is settled here:
    what models see as A is always translated to B.
    """

    defaults = {}           # other defaults for existing options
    options = {}            # own options: {name: (default, meaning[, choices])}
    train_options = {}
    test_options = {}

    keep_going = False      # give the error instead of a sample that cannot be read

    def __init__(self, opt):
        self.dataroot = Path(opt.dataroot)
        self.phase = opt.phase
        self.limit = opt.max_dataset_size
        self.reversed = opt.direction == 'BtoA'
        self.random_pairs = not opt.serial_batches
        self.prepare = Preparation(opt.preprocess, opt.load_size, opt.crop_size, flip=not opt.no_flip)
        # stored A and B have the channels of the model's A and B, which --direction may have swapped
        channels = opt.input_nc, opt.output_nc
        self.channels_A, self.channels_B = reversed(channels) if self.reversed else channels

    def __getitem__(self, key):
        """Sample `key`: an index, or (index, seed) for a random crop, flip and partner given by the seed."""
        index, seed = key if isinstance(key, tuple) else (key, 0)
        try:
            return self.load(index, random.Random(seed))
        except ImageError as error:
            if self.keep_going:
                return error
            raise

    def __len__(self):
        """As long as the list of `paths`, unless a sub-class knows better."""
        return len(self.paths)

    def load(self, index: int, rng: random.Random) -> dict:
        raise NotImplementedError

    def list_folder(self, name: str) -> list[str]:
        """The sorted images of a sub-folder of the dataroot ('' for itself), at most --max_dataset_size."""
        if not (self.dataroot / name).is_dir():
            raise UserError(f'there is no folder {(self.dataroot / name).absolute()} ({contents(self.dataroot)})'
                            f'{self.other_layout(name)}')
        return list_images(self.dataroot / name, self.limit)

    def other_layout(self, name: str) -> str:
        """The cure where the folders are those of another dataset mode."""
        if name == self.phase and (self.dataroot / f'{name}A').is_dir():
            return f'; {name}A and {name}B are for --dataset_mode unaligned'
        if name != self.phase and (self.dataroot / self.phase).is_dir():
            return f'; pairs side by side in {self.phase} are for --dataset_mode aligned'
        return '; correct --dataroot or --phase'

    def read(self, path: str) -> torch.Tensor:
        """Any image of the model's domain B as it would be prepared for testing, (1, C, H, W) in [-1, 1]."""
        channels = self.channels_A if self.reversed else self.channels_B
        return self.prepare.apply(read_image(path), random.Random(0), path, channels)[None]

    def directed(self, sample: dict) -> dict:
        """The sample with A and B exchanged if --direction is BtoA."""
        if not self.reversed:
            return sample
        return {'A': sample['B'], 'B': sample['A'], 'A_paths': sample['B_paths'], 'B_paths': sample['A_paths']}

    @property
    def folder_A(self) -> Path:
        """The folder that result names are relative to."""
        return self.dataroot / self.phase


class EpochSampler(Sampler):
    """Indices of one epoch, each with the seed of its augmentation; both depend on (seed, epoch) alone."""

    def __init__(self, size: int, shuffle: bool, seed: int):
        self.size, self.shuffle, self.seed = size, shuffle, seed
        self.epoch, self.start = 1, 0

    def set_epoch(self, epoch: int, start: int = 0):
        """Choose an epoch; its first `start` samples are left out (an interrupted epoch is continued)."""
        self.epoch, self.start = epoch, start

    def __len__(self):
        return self.size - self.start

    def __iter__(self):
        order = range(self.size)
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
            order = torch.randperm(self.size, generator=generator).tolist()
        for index in order[self.start:]:
            yield index, derive_seed(self.seed, self.epoch, index)


def collate(samples: list) -> dict:
    """Samples as one batch; images of different sizes are answered with a sentence.

    A sample may be the `ImageError` that reading it gave: those are listed under 'failed'.
    """
    failed = [sample for sample in samples if isinstance(sample, ImageError)]
    samples = [sample for sample in samples if not isinstance(sample, ImageError)]
    for sample in samples[1:]:
        for domain in 'AB':
            if domain in sample and sample[domain].shape != samples[0][domain].shape:
                raise UserError(f'images of different sizes cannot be one batch: {size_of(samples[0], domain)} and '
                                f'{size_of(sample, domain)}; use --batch_size 1 or --preprocess resize_and_crop')
    batch = default_collate(samples) if samples else {'A_paths': []}
    return {**batch, 'failed': [str(error) for error in failed]} if failed else batch


def size_of(sample: dict, domain: str) -> str:
    height, width = sample[domain].shape[-2:]
    return f'{os.path.abspath(sample[f"{domain}_paths"])} ({width}x{height})'
