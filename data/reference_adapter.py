"""Dataset files written for pytorch-CycleGAN-and-pix2pix (2018 to 2025) run here unchanged.

In that older contract a dataset takes `opt` alone and `dataset[index]` gives a dict of float tensors and paths. This
module has the names that such files import (`BaseDataset`, `get_transform`, `make_dataset`, ...), and `OlderDataset`,
through which the loader sees their classes. Native datasets know nothing of it.
"""
import random
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from data import base_dataset
from data.image_folder import is_image, list_images, read_picture
from data.transforms import multiple_of_4
from util.errors import UserError
from util.images import as_numbers, swap_domains
from util.registry import replaced_modules

IMG_EXTENSIONS = ['.jpg', '.JPG', '.jpeg', '.JPEG', '.png', '.PNG', '.ppm', '.PPM', '.bmp', '.BMP', '.tif', '.TIF',
                  '.tiff', '.TIFF']


class BaseDataset(torch.utils.data.Dataset):
    """What a class in the older contract inherits."""

    @staticmethod
    def modify_commandline_options(parser, is_train):
        return parser

    def __init__(self, opt=None):
        if opt is not None:
            BaseDataset.initialize(self, opt)

    def initialize(self, opt):
        """The constructor of 2018."""
        self.opt, self.root = opt, opt.dataroot

    def name(self):
        return type(self).__name__


# ---- what older files import

def is_image_file(filename) -> bool:
    return is_image(str(filename))


def make_dataset(dir, max_dataset_size=float('inf')) -> list[str]:
    if not Path(dir).is_dir():
        raise UserError(f'there is no folder {Path(dir).absolute()}; correct --dataroot or --phase')
    return list_images(dir, max_dataset_size)


def default_loader(path) -> Image.Image:
    return read_picture(str(path))


def get_params(opt, size) -> dict:
    """A crop position and a flip that the images of a pair share; `size` is (width, height)."""
    width, height = size
    if opt.preprocess == 'resize_and_crop':
        width = height = opt.load_size
    elif opt.preprocess == 'scale_width_and_crop':
        width, height = opt.load_size, opt.load_size * height // width
    x, y = (random.randint(0, max(0, side - opt.crop_size)) for side in (width, height))
    return {'crop_pos': (x, y), 'flip': random.random() > 0.5}


def get_transform(opt, params=None, grayscale=False, method=Image.Resampling.BICUBIC, convert=True):
    """--preprocess as torchvision transforms, from a Pillow image to a float tensor in [-1, 1]."""
    from torchvision import transforms
    steps = [transforms.Grayscale(1)] if grayscale else []
    if 'resize' in opt.preprocess:
        steps.append(transforms.Lambda(partial(resize, side=opt.load_size, method=method)))
    elif 'scale_width' in opt.preprocess:
        scale = partial(scale_width, width=opt.load_size, least_height=opt.crop_size, method=method)
        steps.append(transforms.Lambda(scale))
    if 'crop' in opt.preprocess and params is None:
        steps.append(transforms.RandomCrop(opt.crop_size))
    elif 'crop' in opt.preprocess:
        steps.append(transforms.Lambda(partial(crop, position=params['crop_pos'], size=opt.crop_size)))
    if opt.preprocess == 'none':
        steps.append(transforms.Lambda(partial(resize_to_multiple, method=method)))
    if not opt.no_flip and params is None:
        steps.append(transforms.RandomHorizontalFlip())
    elif not opt.no_flip and params['flip']:
        steps.append(transforms.Lambda(ImageOps.mirror))
    if convert:
        half = (0.5,) if grayscale else (0.5, 0.5, 0.5)
        steps += [transforms.ToTensor(), transforms.Normalize(half, half)]
    return transforms.Compose(steps)


def resize(image, side: int, method) -> Image.Image:
    return image.resize((side, side), method)


def scale_width(image, width: int, least_height: int, method) -> Image.Image:
    old_width, old_height = image.size
    if old_width == width and old_height >= least_height:
        return image
    return image.resize((width, int(max(width * old_height / old_width, least_height))), method)


def crop(image, position, size: int) -> Image.Image:
    x, y = position
    return image.crop((x, y, x + size, y + size)) if max(image.size) > size else image


def resize_to_multiple(image, method) -> Image.Image:
    size = tuple(multiple_of_4(side) for side in image.size)
    return image if size == image.size else image.resize(size, method)


# ---- the loader's view

class OlderDataset(base_dataset.BaseDataset):
    """A dataset in the older contract. Each sample has random state of its own, as native samples have."""

    def __init__(self, load_kind, opt):
        """`load_kind()` imports the class."""
        super().__init__(opt)
        self.inspection = None
        self.load_kind = load_kind
        kind, settings = load_kind(), opt.writable()
        if hasattr(kind, 'initialize') and kind.initialize is not BaseDataset.initialize:
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

    domains = {}        # its samples may be anything

    def check(self):
        self.n_files = len(self)

    def load(self, index, rng):
        with seeded(rng.getrandbits(63)):
            sample = dict(self.client[index])
        paths = next((value for key, value in sample.items() if key.endswith('_paths')), f'{index:05d}')
        sample.setdefault('A_paths', sample.get('path', paths))
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


@contextmanager
def older_modules():
    """Inside, `from data.base_dataset import BaseDataset` and the like give the names of the older contract."""
    here = sys.modules[__name__]
    with replaced_modules('data', {'base_dataset': here, 'image_folder': here}):
        yield


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
            floats = {key: as_numbers(value) if torch.is_tensor(value) else value for key, value in batch.items()}
            yield swap_domains(floats) if self.direction == 'BtoA' else floats

    def load_data(self):
        """In 2018 the loader was asked for its data."""
        return self

    def set_epoch(self, epoch):
        self.epoch = epoch - 1
