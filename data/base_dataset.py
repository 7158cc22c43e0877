"""What all datasets share: finding and checking files, reading them, and replacing the ones that cannot be read."""
import os
import random
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import Dataset

from util.console import warn
from util.errors import UserError
from util.images import as_numbers, swap_domains
from util.machine.seeding import derive_seed

from .checking.bad_images import BadImages
from .checking.inspection import Inspection
from .checking.problems import Problem
from .image_folder import ImageError, contents, is_image, list_images, read_image, read_levels
from .transforms import Preparation, as_channels

MAX_TRIES = 10      # unreadable samples in a row; after so many the cause is not single files


class BaseDataset(Dataset):
    """A dataset is one file: option tables, `__init__` with a list of `paths`, and `load(index, rng)` for one sample.

    A sample is a dict of tensors and strings with at least 'A' and 'A_paths'. Images are (C, H, W), either uint8, which
    the device converts to [-1, 1], or float32, which is used as it is. `--direction` is applied here: models always
    translate A to B.
    """

    defaults = {}           # other defaults for existing options
    options = {}            # own options: {name: (default, meaning[, choices])}
    train_options = {}
    test_options = {}

    # facts that the command line must know; plain literals, as the tables
    one_domain = False      # there are images of A only
    image_channels = ()     # values of --input_nc and --output_nc that it can make; () for any
    fixed = ()              # options that must have the values of `defaults`

    halves = 1              # 2 if a file holds A and B side by side
    any_device = False      # True if `load` only crops images, so that they can be cached on a GPU
    cache = None            # set by --loader
    keep_going = False      # True: return the `ImageError` in place of a sample that cannot be read

    def __init__(self, opt):
        self.dataroot = Path(opt.dataroot)
        self.phase = opt.phase
        self.limit = opt.max_dataset_size
        self.max_pixels = opt.max_pixels
        self.reversed = opt.direction == 'BtoA'
        self.random_pairs = not opt.serial_batches
        self.prepare = Preparation(opt.preprocess, opt.load_size, opt.crop_size, flip=not opt.no_flip,
                                   fast=opt.isTrain and opt.fast_resize)
        # the stored A and B have the channels of the model's A and B, which --direction may have swapped
        channels = opt.input_nc, opt.output_nc
        self.channels_A, self.channels_B = reversed(channels) if self.reversed else channels
        self.training = opt.isTrain
        self.inspection = Inspection(opt, self.prepare) if self.training else None
        self.bad_images = BadImages()
        self.n_files = 0
        self.n_bytes = 0        # of all images after resizing; 0: unknown

    def __getitem__(self, key):
        """Sample `key`: an index, or (index, seed), where the seed decides about crop, flip and partner."""
        index, seed = key if isinstance(key, tuple) else (key, 0)
        try:
            return self.load(index, random.Random(seed))
        except ImageError as error:
            if self.keep_going:
                return error
            if not self.training:
                raise
            return self.replacement(index, seed, [str(error)])

    def replacement(self, index: int, seed: int, failed: list[str]) -> dict:
        """The next sample that can be read; it depends on (index, seed) and the files only. 'replaced' lists errors."""
        for step in range(1, MAX_TRIES):
            try:
                sample = self.load((index + step) % len(self), random.Random(derive_seed(seed, 'instead', step)))
                return {**sample, 'replaced': failed}
            except ImageError as error:
                failed = list(dict.fromkeys([*failed, str(error)]))
        raise UserError(f'{MAX_TRIES} samples in a row could not be read: {"; ".join(failed[:3])}; is {self.dataroot} '
                        f'still there?')

    def __len__(self):
        return len(self.paths)

    def load(self, index: int, rng: random.Random) -> dict:
        raise NotImplementedError

    # ---- files

    def list_folder(self, name: str) -> list[str]:
        """The sorted images of a sub-folder of the dataroot ('' for the dataroot), at most --max_dataset_size."""
        folder = self.dataroot / name
        if not folder.is_dir():
            raise UserError(f'there is no folder {folder.absolute()} ({contents(self.dataroot)}); '
                            f'{self.layout_hint(name)}')
        return self.usable(list_images(folder, self.limit), folder)

    def usable(self, paths: list[str], folder) -> list[str]:
        """In training, the paths whose headers can be read; `check` reports the others."""
        return self.inspection.usable(paths, folder) if self.inspection else paths

    def add_problem(self, problem: Problem):
        """Report a problem with the files: in training together with all others in `check`, else at once."""
        if self.inspection:
            self.inspection.problems.append(problem)
        elif problem.fatal:
            raise UserError(problem.sentence)
        else:
            warn(problem.sentence)

    def check(self):
        """Before training: raise a `UserError` with all problems of the files; print notes about conversions."""
        self.bad_images.left_out = self.inspection.finish(self.halves)
        headers = self.inspection.headers.values()
        self.n_files = len(headers)
        sizes = [self.prepare.resized(header.width // self.halves, header.height)
                 for header in headers if not header.problem]
        self.n_bytes = sum(3 * self.halves * width * height for width, height in sizes)
        self.inspection = None      # workers need no copy

    def layout_hint(self, name: str) -> str:
        """What to do when the folder `name` is missing: the folders may be those of another dataset mode."""
        if not self.training and self.dataroot.is_dir() and any(map(is_image, os.listdir(self.dataroot))):
            return f'to translate the images in {self.dataroot.absolute()} itself, {self.photos_hint(name)}'
        if name == self.phase and (self.dataroot / f'{name}A').is_dir():
            return f'{name}A and {name}B are for --dataset_mode unaligned'
        if name != self.phase and (self.dataroot / self.phase).is_dir():
            return f'pairs side by side in {self.phase} are for --dataset_mode aligned'
        below = [place for place in sorted(self.dataroot.glob(f'*/{name}')) if place.is_dir()]
        return f'use --dataroot {below[0].parent.absolute()}' if below else 'correct --dataroot or --phase'

    def photos_hint(self, name: str) -> str:
        """How test.py translates images that are in no sub-folder."""
        return 'add --dataset_mode single'

    @property
    def folder_A(self) -> Path:
        """The folder that result names are relative to."""
        return self.dataroot / self.phase

    # ---- images

    def open(self, path: str) -> Image.Image:
        """The image as 8-bit RGB. Raises an `ImageError` if it cannot be read or has more than --max_pixels."""
        return read_image(path, self.max_pixels)

    def open_levels(self, path: str) -> Image.Image | torch.Tensor:
        """As `open`; with --fast_resize possibly as a uint8 tensor (3, H, W)."""
        return read_levels(path, self.max_pixels) if self.prepare.fast else self.open(path)

    def read(self, path: str) -> torch.Tensor:
        """An image of the model's domain B, prepared as for testing: (1, C, H, W) in [-1, 1]."""
        channels = self.channels_A if self.reversed else self.channels_B
        return as_numbers(self.prepare.apply(self.open(path), random.Random(0), path, channels)[None])

    def picture(self, path: str, channels: int = 3) -> Image.Image | torch.Tensor:
        """The image resized, ready for cropping: a Pillow image, or uint8 (C, H, W) if --loader caches it."""
        return self.kept(self.read_picture, path, channels)[0]

    def read_picture(self, path: str, channels: int) -> tuple:
        return self.prepare.resize(as_channels(self.open_levels(path), channels)),

    def kept(self, read, *args) -> tuple:
        """`read(*args)`, a method that returns a tuple of images; --loader may keep them between epochs."""
        return self.cache.get(read, *args) if self.cache else read(*args)

    def directed(self, sample: dict) -> dict:
        """The sample with A and B swapped if --direction is BtoA."""
        if not self.reversed:
            return sample
        return swap_domains(sample)
