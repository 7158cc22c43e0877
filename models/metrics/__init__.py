"""Metrics of generated images, each as the field computes it, with its protocol: `create(names)` makes them.

The table and the checks of this file need no torch, so that mistakes on a command line are reported at once.
"""
import importlib
import importlib.util

from util.errors import UserError
from util.registry import nearest

from . import weights as weight_files
from .base import Metric, Spec

INSTALL = 'pip install --no-deps -r requirements-metrics.txt'

SETTINGS = {'palette': 'the colors of the classes; add --palette cityscapes, facades, FILE or "0 0 170, 0 0 255"',
            'segmentation': 'a segmentation network; add --network FILE (TorchScript, ONNX or torchvision)'}

INCEPTION = 'Inception of 2015-12-05, pool3 (2048)'
TF_RESIZE = 'resized to 299 as TensorFlow 1 does, as in torch-fidelity and torchmetrics'
CLEAN_RESIZE = 'resized to 299 by antialiased bicubic in floating point, as in clean-fid'
TORCH_RESIZE = 'resized to 299 bilinearly by PyTorch, as in pytorch-fid'
FRECHET = 'Frechet distance of Gaussians (Heusel 2017, eq. 6)'
KERNEL = 'unbiased MMD^2, kernel (x.y / d + 1)^3 (Binkowski 2018); above 1,000 images the mean of 100 subsets of 1,000'
EFFNET = 'EfficientNet-Lite0 of ImageNet, pooled features (1280) at 224; ranks models, not comparable with papers'
LPIPS = 'Zhang 2018, version 0.1, input in [-1, 1], no resize'


def of_inception(name: str, measure: str, says: str, resize: str, how: str) -> Spec:
    return Spec(name, f'sets.{measure}', 'lower', 'sets', f'{says}; {INCEPTION}, {how}', networks=('inception',),
                format='.2f' if measure == 'Frechet' else '.5f',
                settings=dict(network='inception', resize=resize))


METRICS = {spec.name: spec for spec in (
    Spec('l1', 'pixels.L1', 'lower', 'pairs', 'mean absolute difference', 'of 255', '.2f'),
    Spec('psnr', 'pixels.PSNR', 'higher', 'pairs', 'per image, range 255, by torchmetrics; equal images are left out',
         'dB', '.2f'),
    Spec('ssim', 'pixels.SSIM', 'higher', 'pairs', 'Wang 2004: Gaussian window of 11 pixels, sigma 1.5, range 255, by '
         'torchmetrics; images below 6 pixels are left out'),
    Spec('ms_ssim', 'pixels.MSSSIM', 'higher', 'pairs', 'Wang 2003: SSIM at 5 scales, range 255, by torchmetrics; '
         'images below 176 pixels are left out'),
    Spec('lpips', 'perceptual.PairedLPIPS', 'lower', 'pairs', f'LPIPS with AlexNet ({LPIPS})', networks=('alexnet',),
         settings=dict(trunk='alexnet')),
    Spec('lpips_vgg', 'perceptual.PairedLPIPS', 'lower', 'pairs', f'LPIPS with VGG16 ({LPIPS})', networks=('vgg16',),
         settings=dict(trunk='vgg16')),
    Spec('dists', 'perceptual.PairedDISTS', 'lower', 'pairs', 'DISTS with VGG16 (Ding 2020), no resize; alpha and beta '
         'as shipped by torchmetrics', networks=('vgg16',)),
    Spec('diversity', 'perceptual.Diversity', 'higher', 'styles', 'mean LPIPS (AlexNet) between results of one input, '
         '19 random pairs of each input (Huang 2018, section 5.2, with 100 inputs)', networks=('alexnet',)),
    of_inception('fid', 'Frechet', FRECHET, 'tensorflow', TF_RESIZE),
    of_inception('clean_fid', 'Frechet', FRECHET, 'clean', CLEAN_RESIZE),
    of_inception('fid_pytorch', 'Frechet', FRECHET, 'torch', TORCH_RESIZE),
    of_inception('kid', 'Kernel', KERNEL, 'tensorflow', TF_RESIZE),
    of_inception('clean_kid', 'Kernel', KERNEL, 'clean', CLEAN_RESIZE),
    Spec('kid_effnet', 'sets.Kernel', 'lower', 'sets', f'{KERNEL}; {EFFNET}', networks=('efficientnet_lite0',),
         settings=dict(network='efficientnet_lite0', resize='imagenet')),
    Spec('frechet_effnet', 'sets.Frechet', 'lower', 'sets', f'{FRECHET}; {EFFNET}', networks=('efficientnet_lite0',),
         settings=dict(network='efficientnet_lite0', resize='imagenet')),
    Spec('histogram', 'histogram.Histogram', 'higher', 'sets', 'intersection of color distributions, mean of L, a and '
         'b (Isola 2017, figure 7)'),
    Spec('fcn_labels', 'segmentation.LabelMaps', 'higher', 'pairs', 'mean class IoU of label maps, classes by the '
         'nearest color (Isola 2017, table 6)', needs=('palette',)),
    Spec('fcn_photos', 'segmentation.Photos', 'higher', 'pairs', 'mean class IoU of what a segmentation network sees '
         'on photos, against the label maps they were made from (Isola 2017, section 4.1)', truth='input',
         needs=('palette', 'segmentation')),
)}


def split(names) -> list[str]:
    """Names from 'a,b' or a sequence, each once, in their order."""
    names = names.split(',') if isinstance(names, str) else names
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))


def problems(names, **settings) -> list[str]:
    """What is wrong with `names` apart from weights: unknown names, missing libraries and settings. Needs no torch."""
    found = []
    for name in split(names):
        spec = METRICS.get(name)
        if spec is None:
            found.append(f'there is no metric {name}{nearest(name, METRICS)} (there are: {", ".join(METRICS)})')
            continue
        missing = [library for library in spec.libraries if not importlib.util.find_spec(library)]
        found += [f'{name} needs the library {library}; install it with `{INSTALL}`' for library in missing]
        found += [f'{name} needs {SETTINGS[setting]}' for setting in spec.needs if settings.get(setting) is None]
    return found


def is_available(name: str, weights=None) -> bool:
    """True if the metric can be computed here and now, without a download."""
    spec = METRICS[name]
    return (not problems([name], **dict.fromkeys(spec.needs, ''))
            and all(weight_files.local(network, weights) for network in spec.networks))


def create(names, weights=None, device='cpu', **settings) -> list[Metric]:
    """The metrics of the names, 'a,b' or a sequence, in their order; metrics of the same network share it.

    Args:
        weights: a file or folder with weights of networks (`--metric_weights`); None: those of installed packages, of
            torch's cache, or else a download into this cache.
        settings: what single metrics need, see `Spec.needs`.

    Raises one `UserError` with all problems: unknown names, missing libraries, settings and weights.
    """
    names = split(names)
    found, files = problems(names, **settings), {}
    for network in dict.fromkeys(network for name in names if name in METRICS for network in METRICS[name].networks):
        try:
            files[network] = weight_files.find(network, weights)
        except UserError as error:
            users = [name for name in names if name in METRICS and network in METRICS[name].networks]
            found += [f'{", ".join(users)}: {message}' for message in error.args]
    if found:
        raise UserError(*found)
    from .networks import Networks
    networks = Networks(files, device)
    return [make(METRICS[name], networks, settings) for name in names]


def make(spec: Spec, networks, settings: dict) -> Metric:
    file, _, cls = spec.place.partition('.')
    given = {name: settings[name] for name in spec.needs}
    return getattr(importlib.import_module(f'{__name__}.{file}'), cls)(spec, networks, **spec.settings, **given)
