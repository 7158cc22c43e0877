"""What all datasets share: an index that carries its own randomness, and the folders of a phase."""
import os
import random
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import Dataset, Sampler, default_collate

from util.console import warn
from util.errors import UserError
from util.images import as_numbers
from util.machine.seeding import derive_seed
from util.registry import plain

from .checking.bad_images import BadImages
from .checking.inspection import Inspection
from .checking.problems import Problem
from .image_folder import ImageError, contents, is_image, list_images, read_image, read_levels
from .transforms import Preparation, as_channels

TRIES = 10      # samples in a row that cannot be read: then it is not the files


class BaseDataset(Dataset):
    """A dataset is one file: option tables, `__init__` with a list of `paths`, and `load(index, rng)` for one sample.

    A sample is a dict of tensors and strings with at least 'A' and 'A_paths'. Images are (C, H, W): levels as uint8,
    which become numbers in [-1, 1] on the device, or numbers as float32, which stay what they are. `--direction` is
    settled here: what models see as A is always translated to B.
    """

    defaults = {}           # other defaults for existing options
    options = {}            # own options: {name: (default, meaning[, choices])}
    train_options = {}
    test_options = {}

    keep_going = False      # give the error instead of a sample that cannot be read
    halves = 1              # 2 where one file holds A and B side by side
    any_device = False      # `load` does nothing to pictures but cut them, so they may lie on a GPU
    cache = None            # of what `kept` was asked for

    def __init__(self, opt):
        self.dataroot = Path(opt.dataroot)
        self.phase = opt.phase
        self.model = plain(opt.model)
        self.limit = opt.max_dataset_size
        self.max_pixels = opt.max_pixels
        self.reversed = opt.direction == 'BtoA'
        self.random_pairs = not opt.serial_batches
        self.prepare = Preparation(opt.preprocess, opt.load_size, opt.crop_size, flip=not opt.no_flip,
                                   fast=opt.isTrain and opt.fast_resize)
        # stored A and B have the channels of the model's A and B, which --direction may have swapped
        channels = opt.input_nc, opt.output_nc
        self.channels_A, self.channels_B = reversed(channels) if self.reversed else channels
        self.bad_images = BadImages()
        self.training = opt.isTrain
        self.inspection = Inspection(opt, self.prepare) if self.training else None
        self.n_files = self.n_bytes = 0     # and the bytes of all images at the size that windows are cut from

    def __getitem__(self, key):
        """Sample `key`: an index, or (index, seed) for a random crop, flip and partner given by the seed."""
        index, seed = key if isinstance(key, tuple) else (key, 0)
        try:
            return self.load(index, random.Random(seed))
        except ImageError as error:
            if self.keep_going:
                return error
            if not self.training:
                raise
            return self.substitute(index, seed, [str(error)])

    def substitute(self, index: int, seed: int, failed: list[str]) -> dict:
        """The next sample that can be read, a function of (index, seed) and the files; 'replaced' tells why."""
        for step in range(1, TRIES):
            try:
                sample = self.load((index + step) % len(self), random.Random(derive_seed(seed, 'instead', step)))
                return {**sample, 'replaced': failed}
            except ImageError as error:
                failed = list(dict.fromkeys([*failed, str(error)]))
        raise UserError(f'{TRIES} samples in a row could not be read: {"; ".join(failed[:3])}; is {self.dataroot} '
                        f'still there?')

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
        return self.usable(list_images(self.dataroot / name, self.limit), self.dataroot / name)

    def usable(self, paths: list[str], folder) -> list[str]:
        """In training those whose headers can be read; `check` tells of the others."""
        return self.inspection.look(paths, folder) if self.inspection else paths

    def report(self, problem: Problem):
        """A problem with the files: told with all others by `check`; a test has only this one."""
        if self.inspection:
            self.inspection.problems.append(problem)
        elif problem.fatal:
            raise UserError(problem.sentence)
        else:
            warn(problem.sentence)

    def check(self):
        """Before training: a `UserError` with all that is wrong with the files; notes of what is converted."""
        self.bad_images.left_out = self.inspection.settle(self.halves)
        headers = self.inspection.headers.values()
        self.n_files = len(headers)
        sizes = [self.prepare.resized(header.width // self.halves, header.height)
                 for header in headers if not header.problem]
        self.n_bytes = sum(3 * self.halves * width * height for width, height in sizes)
        self.inspection = None      # workers need no copy

    def other_layout(self, name: str) -> str:
        """The cure where the folders are those of another dataset mode, or there are none."""
        if not self.training and self.dataroot.is_dir() and any(map(is_image, os.listdir(self.dataroot))):
            return '; to translate the images in that folder itself, ' + {
                'colorization': f'move them into a sub-folder {name} (or another, named with --phase)',
                'munit': 'add --dataset_mode single'}.get(self.model, 'add --model test')
        if name == self.phase and (self.dataroot / f'{name}A').is_dir():
            return f'; {name}A and {name}B are for --dataset_mode unaligned'
        if name != self.phase and (self.dataroot / self.phase).is_dir():
            return f'; pairs side by side in {self.phase} are for --dataset_mode aligned'
        below = [place for place in sorted(self.dataroot.glob(f'*/{name}')) if place.is_dir()]
        return f'; add --dataroot {below[0].parent.absolute()}' if below else '; correct --dataroot or --phase'

    def open(self, path: str) -> Image.Image:
        """The image of a file as 8-bit RGB, at most --max_pixels of it; an `ImageError` if it cannot be read."""
        return read_image(path, self.max_pixels)

    def read(self, path: str) -> torch.Tensor:
        """Any image of the model's domain B as it would be prepared for testing, (1, C, H, W) in [-1, 1]."""
        channels = self.channels_A if self.reversed else self.channels_B
        return as_numbers(self.prepare.apply(self.open(path), random.Random(0), path, channels)[None])

    def picture(self, path: str, channels: int = 3) -> Image.Image | torch.Tensor:
        """An image at the size that windows are cut from: of Pillow, or its levels if --loader keeps it."""
        return self.kept(self.read_picture, path, channels)[0]

    def read_picture(self, path: str, channels: int) -> tuple:
        return self.prepare.resize(as_channels(self.open_levels(path), channels)),

    def open_levels(self, path: str) -> Image.Image | torch.Tensor:
        """As `open`; with --fast_resize perhaps as levels, (3, H, W)."""
        return read_levels(path, self.max_pixels) if self.prepare.fast else self.open(path)

    def kept(self, read, *args) -> tuple:
        """`read(*args)`, a method that gives a tuple of images; --loader may keep them from one epoch to the next."""
        return self.cache.get(read, *args) if self.cache else read(*args)

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

    def __init__(self, size: int, shuffle: bool, seed: int, batch_size: int = 1, rank: int = 0, processes: int = 1):
        """Of each `processes * batch_size` samples, process `rank` has the `rank`-th `batch_size`.

        All processes have as many batches; one that has none of the last samples repeats one, which does not count.
        """
        self.size, self.shuffle, self.seed = size, shuffle, seed
        self.rank, self.batch_size, self.processes = rank, batch_size, processes
        self.epoch, self.start = 1, 0

    @property
    def reach(self) -> int:
        """Samples in a batch of all processes."""
        return self.processes * self.batch_size

    def set_epoch(self, epoch: int, start: int = 0):
        """Choose an epoch; its first `start` samples are left out (an interrupted epoch is continued)."""
        self.epoch, self.start = epoch, start

    def __len__(self):
        whole, rest = divmod(self.size - self.start, self.reach)
        own = min(self.batch_size, max(1, rest - self.rank * self.batch_size)) if rest else 0
        return whole * self.batch_size + own

    def __iter__(self):
        order = range(self.size)
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
            order = torch.randperm(self.size, generator=generator).tolist()
        for begin in range(self.start, self.size, self.reach):
            batch = order[begin:begin + self.reach]
            first = self.rank * self.batch_size
            for index in batch[first:first + self.batch_size] or batch[:1]:
                yield index, derive_seed(self.seed, self.epoch, index)


def collate(samples: list) -> dict:
    """Samples as one batch; images of different sizes are answered with a sentence.

    A sample may be the `ImageError` that reading it gave: those are listed under 'failed'. What samples took the
    place of is listed under 'replaced'.
    """
    failed = [str(sample) for sample in samples if isinstance(sample, ImageError)]
    samples = [sample for sample in samples if not isinstance(sample, ImageError)]
    replaced = [sentence for sample in samples for sentence in sample.get('replaced', [])]
    samples = [{name: value for name, value in sample.items() if name != 'replaced'} for sample in samples]
    for sample in samples[1:]:
        for domain in 'AB':
            if domain in sample and sample[domain].shape != samples[0][domain].shape:
                raise UserError(f'images of different sizes cannot be one batch: {size_of(samples[0], domain)} and '
                                f'{size_of(sample, domain)}; use --batch_size 1 or --preprocess resize_and_crop')
    batch = as_they_lie(samples) if samples else {'A_paths': []}
    told = dict(failed=failed, replaced=replaced)
    return {**batch, **{name: sentences for name, sentences in told.items() if sentences}}


def as_they_lie(samples: list[dict]) -> dict:
    """One batch whose images lie in memory as those of the first sample: to change the order takes 10 times as long."""
    pixels = [name for name, value in samples[0].items()
              if torch.is_tensor(value) and value.ndim == 3 and value.stride(0) == 1]     # (C, H, W), channels last
    batch = default_collate([{**sample, **{name: sample[name].permute(1, 2, 0) for name in pixels}}
                             for sample in samples])
    return {**batch, **{name: batch[name].permute(0, 3, 1, 2) for name in pixels}}


def size_of(sample: dict, domain: str) -> str:
    height, width = sample[domain].shape[-2:]
    return f'{os.path.abspath(sample[f"{domain}_paths"])} ({width}x{height})'
