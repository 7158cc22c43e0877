"""What all datasets share: finding and checking files, reading them, and replacing the ones that cannot be read."""
import os
import random
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from util.console import counted, say, warn
from util.errors import MissingFolderError, UserError
from util.images import as_numbers, swap_domains
from util.machine.seeding import derive_seed
from util.places import tar_names
from util.places.paths import packed, sample_step
from util.raster.read import ImageError
from util.registry import similar

from .augment import Augmentation
from .checking.bad_images import BadImages
from .checking.headers import some_headers
from .checking.inspection import Inspection
from .checking.problems import Problem, channel_problems, left_out
from .checking.values import settle
from .domain import Domain
from .image_folder import contents, ignored, is_image, is_visible_folder, list_images
from .layout import Layout
from .loading.collate import collate
from .transforms import Preparation, span

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
    paired = True           # A and B show the same
    any_device = False      # True if `load` only crops images, so that they can be cached on a GPU
    cache = None            # set by --loader
    keep_going = False      # True: return the `ImageError` in place of a sample that cannot be read

    def __init__(self, opt):
        self.layout = Layout(opt.as_dict())
        self.dataroot = self.layout.root
        self.phase = opt.phase
        self.limit = opt.max_dataset_size
        self.max_pixels = opt.max_pixels
        self.reversed = opt.direction == 'BtoA'
        self.random_pairs = not opt.serial_batches
        self.given = opt.given
        preprocess = 'whole' if opt.as_dict().get('whole') else opt.preprocess
        self.prepare = Preparation(preprocess, opt.load_size, opt.crop_size, flip=not opt.no_flip,
                                   fast=opt.isTrain and opt.fast_resize)
        # the stored A and B have the channels of the model's A and B, which --direction may have swapped
        channels = opt.input_nc, opt.output_nc
        self.channels_A, self.channels_B = reversed(channels) if self.reversed else channels
        self.A = Domain.of_options('A', self.channels_A, opt.as_dict())
        self.B = Domain.of_options('B', self.channels_B, opt.as_dict())
        self.found = {}         # options that the images of the training decide, {name: value}
        self.files_of = {'A': {}, 'B': {}}      # {path: None} in order, of very many a sample; with good headers
        self.unseen = []        # lists of paths of which not all headers were looked at
        self.training = opt.isTrain
        self.inspection = Inspection(opt, self.prepare) if self.training else None
        self.augmentation = Augmentation(opt.as_dict().get('augment', 'none') if self.training else 'none')
        self.bad_images = BadImages()
        self.trained_on = opt.as_dict().get('trained_on') or {}     # in a test: options that named the images
        self.listed = []        # folders
        self.n_files = 0
        self.n_bytes = 0        # of all images after resizing; 0: unknown

    def __getitem__(self, key):
        """Sample `key`: an index, or (index, seed), where the seed decides about crop, flip and partner."""
        index, seed = key if isinstance(key, tuple) else (key, 0)
        for domain in self.stored_domains:
            domain.clipped = [0, 0]
        try:
            return self.augmented(self.with_counts(self.load(index, random.Random(seed))), seed)
        except ImageError as error:
            if self.keep_going:
                return error
            if not self.training:
                raise
            return self.replacement(index, seed, [str(error)])

    def augmented(self, sample: dict, seed) -> dict:
        """The sample with the changes of --augment; a pair is moved alike."""
        if not self.augmentation:
            return sample
        rng = random.Random(derive_seed(seed, 'augment'))
        moves = self.augmentation.draw(rng)
        for name in (name for name in 'AB' if name in sample):
            domain = self.image_domains.get(name)
            image = self.augmentation.apply(sample[name], moves, nearest=bool(domain and domain.palette),
                                            recolor=domain is not None)
            sample = {**sample, name: image}
            moves = moves if self.paired else self.augmentation.draw(rng)
        return sample

    def with_counts(self, sample: dict) -> dict:
        """The sample and, in a test, how many values were outside the range: 'clipped'."""
        clipped, total = map(sum, zip(*(domain.clipped for domain in self.stored_domains), strict=True))
        if self.training or not clipped:
            return sample
        return {**sample, 'clipped': (sample['A_paths'], clipped, total)}

    def replacement(self, index: int, seed: int, failed: list[str]) -> dict:
        """The next sample that can be read; it depends on (index, seed) and the files only. 'replaced' lists errors."""
        for step in range(1, MAX_TRIES):
            try:
                sample = self.load((index + step) % len(self), random.Random(derive_seed(seed, 'instead', step)))
                return {**self.augmented(sample, seed), 'replaced': failed}
            except ImageError as error:
                failed = list(dict.fromkeys([*failed, str(error)]))
        raise UserError(f'{MAX_TRIES} samples in a row could not be read: {"; ".join(failed[:3])}; is {self.dataroot} '
                        f'still there?')

    def __len__(self):
        return len(self.paths)

    def load(self, index: int, rng: random.Random) -> dict:
        raise NotImplementedError

    # ---- files

    def list_folder(self, name: str, domains: str = 'AB') -> list[str]:
        """The images of a sub-folder of the dataroot ('' for the dataroot) in natural order, at most
        --max_dataset_size; `domains` says whose they are.
        """
        folder = self.layout.phase_folder() if name and name == self.phase else self.dataroot / name
        if name != self.phase and name and tar_names.is_set(self.dataroot):
            raise UserError(f'--dataroot {self.dataroot} names tars, but A and B are needed; name those of A with '
                            f'--folder_A and those of B with --folder_B')
        if not (folder.is_dir() or tar_names.is_set(folder)):
            raise MissingFolderError(f'there is no folder {os.path.abspath(folder)} ({contents(self.dataroot)}); '
                                     f'{self.layout_hint(name)}')
        return self.images_in(folder, domains)

    def list_domain(self, name: str) -> list[str]:
        """The images of domain A or B: a list, a folder that an option names, or a usual place in the dataroot."""
        domain = self.A if name == 'A' else self.B
        if self.layout.lists[name]:
            paths = self.layout.split(self.layout.listed(name))
            return self.usable(paths[:int(min(self.limit, len(paths)))], self.dataroot, name)
        folder = self.layout.domain_folder(name)
        if folder is None:
            return self.list_folder(f'{self.phase}{name}', name)
        paths = self.images_in(folder, name)
        domain.partners = self.layout.partners(name, paths)
        return paths

    def images_in(self, folder: Path, domains: str) -> list[str]:
        self.listed.append(folder)
        paths = self.layout.split(list_images(folder), folder)
        if not paths:
            raise UserError(f'--val_fraction {self.layout.fraction:g} holds out none of the images in '
                            f'{folder.absolute()}; add images, or name a folder of test images')
        return self.usable(paths[:int(min(self.limit, len(paths)))], folder, domains)

    def usable(self, paths: list[str], folder, domains: str = 'AB') -> list[str]:
        """In training, the paths whose headers can be read; `check` reports the others."""
        if self.inspection:
            paths, known = self.inspection.usable(paths, folder)
        else:
            known = paths[::sample_step(paths)]
        for name in domains:
            self.files_of[name].update(dict.fromkeys(known))
        return packed(paths)

    @property
    def has_targets(self) -> bool:
        """Does the B of a sample show what its A should become?"""
        return self.paired

    @property
    def sizes(self) -> tuple[int, int]:
        """How many images of the model's A and B there are."""
        return len(self), len(self)

    def batch(self, index: int) -> dict:
        """A sample as a batch of one."""
        return collate([self[index]])

    def shares_images(self, other: 'BaseDataset') -> bool:
        """True if some file is in both datasets."""
        return any(self.files_of[name].keys() & other.files_of[name].keys() for name in 'AB')

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
        self.inspection.problems += self.channel_problems()
        self.bad_images.left_out = self.inspection.finish(self.halves)
        for line in (*self.odd_width(), *self.layout.unused_split()):
            say(f'note: {line}')
        for domain in self.stored_domains:
            if others := left_out(self.headers_of(domain), domain):
                say(f'note: of {counted(len(self.headers_of(domain)), "image")} of domain {domain.name} {others}')
        self.found = self.settle()
        headers = self.inspection.headers.values()
        self.n_files = self.inspection.n_files
        self.unseen = self.inspection.sampled
        sizes = [self.prepare.resized(header.width // self.halves, header.height)
                 for header in headers if not header.problem]
        bytes_per_pixel = max(4 * domain.channels if domain.is_wide else 3 for domain in (self.A, self.B))
        self.n_bytes = sum(bytes_per_pixel * self.halves * width * height for width, height in sizes)
        self.n_bytes = self.n_bytes * self.n_files // max(1, len(headers))      # by the sample of very many
        self.inspection = None      # workers need no copy

    def notes(self) -> list[str]:
        """For a test: which files are ignored, what of their images is left out, and which sizes change."""
        lines = [f'{folder}: ignored: {others}' for folder in self.listed if (others := ignored(folder))]
        paths = list(dict.fromkeys([*self.files_of['A'], *self.files_of['B']]))
        sizes = {(header.width // self.halves, header.height) for header in some_headers(paths).values()
                 if not header.problem}
        for domain in self.stored_domains:
            headers = some_headers(list(self.files_of[domain.name]))
            if others := left_out(headers, domain, training=False):
                lines.append(f'of {counted(len(headers), "image")} of domain {domain.name} {others}')
        lines += self.odd_width()
        lines += self.seen_in_training(paths)
        if change := self.prepare.describe(sizes):
            asked = {'preprocess', 'load_size', 'crop_size'} & self.given
            why = f'by --preprocess {self.prepare.preprocess}' if asked else 'as in training'
            lines.append(f'{counted(len(paths), "image")} of {span(sizes)} {change} {why}; --whole '
                         f'keeps their sizes')
        return lines

    def seen_in_training(self, paths: list[str]) -> list[str]:
        """A line about images that the networks were trained on, unless --phase asks for these."""
        if not {'dataroot', 'phase'} <= self.trained_on.keys():      # of a run of another program
            return []
        if 'phase' in self.given and self.phase == self.trained_on['phase']:
            return []
        try:
            was_seen = Layout(self.trained_on).membership()
        except UserError:       # the files of the training were moved
            return []
        seen = [path for path in paths if was_seen(path)]
        if not seen:
            return []
        return [f'{len(seen)} of {len(paths)} images are those of the training, such as {seen[0]}; name others with '
                f'--dataroot or --folder_A, or let train.py hold some out with --val_fraction 0.1']

    def odd_width(self) -> list[str]:
        """A line about images that cannot be halved."""
        return []

    def settle(self) -> dict[str, str]:
        """Find the value ranges and classes of the training images: {option: value}."""
        found = self.derive_channels()
        for domain in self.stored_domains:
            found.update(settle(domain, self.headers_of(domain), partial(self.values_of, domain)))
        for domain in self.stored_domains:
            self.try_first(domain)
            if any(name.startswith('dtype') for name in found) and not domain.dtype:    # results have its type, not A's
                domain.dtype = 'uint8'
                found[f'dtype_{domain.name}'] = f'uint8,{domain.channels}'
        return found

    @property
    def stored_domains(self) -> tuple[Domain, ...]:
        """The domains whose values are in the files."""
        return self.A, self.B

    def try_first(self, domain: Domain):
        """A `UserError` if none of a few files can be used: then it is the options, not the files."""
        errors = []
        paths = list(self.headers_of(domain))
        for path in paths[::max(1, len(paths) // 3)]:
            try:
                domain.encode(self.stored(domain, path), path)
                return
            except ImageError as error:
                errors.append(error)
        if errors:
            raise UserError(str(errors[0]))

    def derive_channels(self) -> dict[str, int]:
        """The channels of images of several files, unless --input_nc or --output_nc gives them."""
        found = {}
        for domain in (self.A, self.B):
            option = 'input_nc' if (domain is self.B) == self.reversed else 'output_nc'
            if domain.partners and option not in self.given:
                domain.channels = domain.count_channels(next(iter(domain.partners)))
                found[option] = domain.channels
        return found

    def headers_of(self, domain: Domain) -> dict:
        """{path: header} of the training images of a domain that can be read."""
        headers = self.inspection.headers
        return {path: headers[path] for path in self.files_of[domain.name]
                if path in headers and not headers[path].problem}

    def channel_problems(self) -> list[Problem]:
        return [problem for domain in self.stored_domains
                for problem in channel_problems(self.headers_of(domain), domain)]

    def stored(self, domain: Domain, path: str) -> np.ndarray:
        """All values of a domain in a file as they are stored, (H, W, C)."""
        return domain.read_all(path)

    def values_of(self, domain: Domain, path: str) -> np.ndarray:
        """The values of a domain in a file that the networks will see, before scaling."""
        return domain.values(self.stored(domain, path), path)

    def try_file(self, path: str):
        """Raise an `ImageError` if training could not use the values of this file."""
        for domain in self.stored_domains:
            if path in self.files_of[domain.name]:
                domain.encode(self.stored(domain, path), path)

    def layout_hint(self, name: str) -> str:
        """What to do when the folder `name` is missing: the folders may be those of another dataset mode."""
        if self.dataroot.name == name and any(self.dataroot.glob('*')):
            return f'use --dataroot {shlex.quote(os.path.dirname(os.path.abspath(self.dataroot)))}'
        if not self.training and self.dataroot.is_dir() and any(map(is_image, os.listdir(self.dataroot))):
            return f'to translate the images in {os.path.abspath(self.dataroot)} itself, {self.photos_hint(name)}'
        if name == self.phase and (self.dataroot / f'{name}A').is_dir():
            return f'{name}A and {name}B are for --dataset_mode unaligned'
        if name != self.phase and (self.dataroot / self.phase).is_dir():
            return f'pairs side by side in {self.phase} are for --dataset_mode aligned'
        if self.dataroot.name.removeprefix(self.phase) in ('A', 'B', '_A', '_B'):
            return f'use --dataroot {os.path.dirname(os.path.abspath(self.dataroot))}'
        below = [place for place in sorted(self.dataroot.glob(f'*/{name}')) if place.is_dir()]
        if below:
            return f'use --dataroot {os.path.abspath(below[0].parent)}'
        splits = [phase for phase in ('val', 'test', 'train') if self.layout.has_phase(phase)]
        if splits:
            return f'use --phase {similar(self.phase, splits) or splits[0]}'
        return self.naming_hint() or 'correct --dataroot or --phase'

    def naming_hint(self) -> str:
        """How to use folders that have other names, such as apples/ and oranges/; '' if there are not two of them."""
        if not self.dataroot.is_dir():
            return ''
        if any(map(is_image, os.listdir(self.dataroot))):
            return (f'move the images into sub-folders {self.phase}A and {self.phase}B, or name two folders with '
                    f'--folder_A and --folder_B')
        folders = [entry.name for entry in sorted(self.dataroot.iterdir()) if is_visible_folder(entry)]
        if len(folders) != 2:
            return ''
        A, B = (shlex.quote(os.path.join(self.dataroot, name)) for name in folders)
        return (f'name the folders with --folder_A {A} --folder_B {B}, or rename them to {self.phase}A and '
                f'{self.phase}B')

    def photos_hint(self, name: str) -> str:
        """How test.py translates images that are in no sub-folder."""
        return 'add --dataset_mode single'

    @property
    def folder_A(self) -> Path:
        """The folder that result names are relative to."""
        return self.dataroot if self.layout.is_of_shards else self.dataroot / self.phase

    # ---- images

    @property
    def image_domains(self) -> dict[str, Domain]:
        """The domains of the model's A and B; {} if the files are not what the networks see."""
        return {'A': self.B, 'B': self.A} if self.reversed else {'A': self.A, 'B': self.B}

    def read(self, path: str) -> torch.Tensor:
        """An image of the model's domain B, prepared as for testing: (1, C, H, W) in [-1, 1]."""
        domain = self.A if self.reversed else self.B
        return as_numbers(self.prepare.window(self.read_picture(path, domain)[0], random.Random(0), path)[None])

    def picture(self, path: str, domain: Domain | int = 3) -> Image.Image | torch.Tensor:
        """The image resized, ready for cropping: a Pillow image, or a tensor (C, H, W) if it has more than 8 bits or
        --loader caches it. A number of channels stands for 8-bit images, 1 or 3.
        """
        if isinstance(domain, int):
            domain = Domain('A', domain, max_pixels=self.max_pixels)
        return self.kept(self.read_picture, path, domain)[0]

    def read_picture(self, path: str, domain: Domain) -> tuple:
        return self.prepare.resize(domain.open(path, self.prepare.fast), nearest=domain.palette is not None),

    def kept(self, read, *args) -> tuple:
        """`read(*args)`, a method that returns a tuple of images; --loader may keep them between epochs."""
        return self.cache.get(read, *args) if self.cache else read(*args)

    def directed(self, sample: dict) -> dict:
        """The sample with A and B swapped if --direction is BtoA."""
        if not self.reversed:
            return sample
        return swap_domains(sample)
