"""What dataset files import that were written for pytorch-CycleGAN-and-pix2pix (2018 to 2025).

In that older contract a dataset takes `opt` alone and `dataset[index]` gives a dict of float tensors and paths. While
such a file is imported, this module takes the place of `data.base_dataset` and `data.image_folder` (see
reference_adapter.py). Native datasets know nothing of it.
"""
import random
from functools import partial
from pathlib import Path

import torch
from PIL import Image, ImageOps

from data.image_folder import is_image, list_images, read_picture
from data.transforms import multiple_of_4
from util.errors import UserError

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


def is_image_file(filename) -> bool:
    return is_image(str(filename))


def make_dataset(dir, max_dataset_size=float('inf')) -> list[str]:
    if not Path(dir).is_dir():
        raise UserError(f'there is no folder {Path(dir).absolute()}; correct --dataroot or --phase')
    return list(list_images(dir, max_dataset_size))


def default_loader(path) -> Image.Image:
    return read_picture(str(path))


class ImageFolder(torch.utils.data.Dataset):
    """The images of a folder, each as `transform(image)`; with `return_paths`, each with its path."""

    def __init__(self, root, transform=None, return_paths=False, loader=default_loader):
        self.root = root
        self.transform = transform
        self.return_paths = return_paths
        self.loader = loader
        self.imgs = make_dataset(root)

    def __getitem__(self, index):
        path = self.imgs[index]
        image = self.loader(path)
        image = self.transform(image) if self.transform else image
        return (image, path) if self.return_paths else image

    def __len__(self):
        return len(self.imgs)


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
