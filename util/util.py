"""Small helpers under the names that scripts of the field import; the code is in util/images.py and util/files.py."""
import argparse
import os

import numpy as np
import torch

from util.console import write_lines
from util.images import save_image, tensor_to_image

__all__ = ['diagnose_network', 'mkdir', 'mkdirs', 'print_numpy', 'save_image', 'str2bool', 'tensor2im']


def tensor2im(image, imtype=np.uint8):
    """The first image of a batch (N, C, H, W) in [-1, 1] as an array (H, W, 3) of levels 0 to 255.

    Levels are rounded and clipped. An array is only converted to `imtype`; anything else is returned as it is.
    """
    if isinstance(image, torch.Tensor):
        image = tensor_to_image(image[0] if image.ndim == 4 else image)
    return image.astype(imtype) if isinstance(image, np.ndarray) else image


def mkdir(path):
    """Create a folder, and those it is in, unless it exists."""
    os.makedirs(path, exist_ok=True)


def mkdirs(paths):
    """`mkdir` for one path or a list of paths."""
    for path in paths if isinstance(paths, (list, tuple)) else [paths]:
        mkdir(path)


def print_numpy(x: np.ndarray, val: bool = True, shp: bool = False):
    """Print the shape of an array (`shp`), and mean, minimum, maximum, median and standard deviation (`val`)."""
    x = np.asarray(x).astype(np.float64)
    if shp:
        write_lines(f'shape, {x.shape}')
    if val:
        write_lines(f'mean = {x.mean():.3f}, min = {x.min():.3f}, max = {x.max():.3f}, median = {np.median(x):.3f}, '
                    f'std = {x.std():.3f}')


def diagnose_network(net: torch.nn.Module, name: str = 'network'):
    """Print the mean absolute gradient of a network, averaged over its parameters that have one."""
    means = [parameter.grad.abs().mean().item() for parameter in net.parameters() if parameter.grad is not None]
    write_lines(f'{name}\n{sum(means) / max(1, len(means)):.6g}')


def str2bool(v) -> bool:
    """Convert 'yes', 'true', 't', 'y', '1' and their opposites; usable as the `type` of an argparse option."""
    if isinstance(v, bool):
        return v
    if v.lower() in ('yes', 'true', 't', 'y', '1'):
        return True
    if v.lower() in ('no', 'false', 'f', 'n', '0'):
        return False
    raise argparse.ArgumentTypeError(f'{v!r} is not a boolean: yes or no is needed')
