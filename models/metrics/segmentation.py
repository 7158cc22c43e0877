"""The FCN score of pix2pix (Isola 2017, section 4.1): are the classes of label maps right, or recognized in photos?

For photos to labels, a pixel of a generated map is of the class with the nearest color (table 6). For labels to photos,
a segmentation network of the user says what is on the generated photo, and the label map of the input is the truth.
"""
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from util.errors import UserError
from util.monitors.base import install_hint
from util.raster import labels
from util.raster.palettes import PALETTES

from .base import Metric

CAFFE_MEAN = (73.45286, 83.21195, 72.78044)     # of Cityscapes, RGB
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INPUTS = ('imagenet', 'caffe', 'levels')


class Colors:
    """The colors of classes (K, 3), and colors that are no class: pixels of the truth near these do not count."""

    def __init__(self, colors, void=()):
        self.n = len(colors)
        self.palette = labels.Palette(np.arange(self.n)[:, None], np.array(colors))
        everything = np.array([*map(tuple, colors), *void])
        self.with_void = labels.Palette(np.arange(len(everything))[:, None], everything)

    def classes(self, image: np.ndarray) -> np.ndarray:
        """(H, W) numbers of the nearest of the K colors, for levels (H, W, 3)."""
        return self.palette.nearest(image)

    def truth(self, image: np.ndarray) -> np.ndarray:
        """(H, W) numbers of classes; K and above: not a class."""
        return self.with_void.nearest(image)


def parse_palette(text: str) -> Colors:
    """'cityscapes', 'facades', colors as '0 0 170, 0 0 255', or a file with a color in each line."""
    if text in PALETTES:
        return Colors(*PALETTES[text])
    path = Path(text)
    try:
        if path.is_file():
            text = ','.join(path.read_text(encoding='utf-8').splitlines())
        return Colors(labels.parse(text).colors)
    except (OSError, ValueError) as error:
        raise UserError(f'--palette {path} is neither {", ".join(PALETTES)}, nor a file, nor colors such as '
                        f'"0 0 170, 0 0 255" ({error})')


def as_levels(images) -> list[np.ndarray]:
    """(H, W, 3) uint8 arrays of a batch (N, 1 or 3, H, W) in 0..255."""
    rounded = images if images.dtype == torch.uint8 else images.detach().round().clamp(0, 255).byte()
    return list(rounded.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy())


class LabelMaps(Metric):
    """FCN score of generated label maps. Its value is the mean class IoU; pixel and class accuracy are returned, too.

    Args:
        palette: `Colors`, or what `parse_palette` takes.
    """

    def __init__(self, spec, networks, palette):
        self.colors = parse_palette(palette) if isinstance(palette, str) else palette
        super().__init__(spec, networks)

    def reset(self):
        self.counts = np.zeros((self.colors.n, self.colors.n), np.int64)
        self.images = 0

    @property
    def n(self):
        return self.images

    def counted(self):
        return f'n = {self.n}, {self.colors.n} classes'

    def predicted(self, image: np.ndarray) -> np.ndarray:
        return self.colors.classes(image)

    def update(self, fakes, reals=None):
        """`reals` are the true label maps, in their colors, of the size of the fakes."""
        for fake, real in zip(as_levels(fakes), as_levels(reals), strict=True):
            truth = self.colors.truth(real)
            known = truth < self.colors.n
            self.counts += labels.confusion(self.predicted(fake)[known], truth[known], self.colors.n)
            self.images += 1

    def compute(self):
        if not self.counts.any():
            return {}
        scores = labels.segmentation(self.counts)
        return {self.name: scores['iou'], f'{self.name}_class_acc': scores['class_acc'],
                f'{self.name}_pixel_acc': scores['pixel_acc']}


class Photos(LabelMaps):
    """FCN score of generated photos; `reals` are the label maps that they were made from.

    Args:
        segmentation: a function from levels (H, W, 3) to classes (H, W), see `load_segmentation`.
    """

    def __init__(self, spec, networks, palette, segmentation):
        super().__init__(spec, networks, palette)
        self.segmentation = segmentation

    def predicted(self, image):
        return self.segmentation(image)


# ---- segmentation networks of the user

def prepared(levels: np.ndarray, how: str) -> np.ndarray:
    """What the network is given: float32 (1, 3, H, W)."""
    image = levels.astype(np.float32)
    if how == 'caffe':
        image = (image - np.float32(CAFFE_MEAN))[:, :, ::-1]
    elif how == 'imagenet':
        image = (image / 255 - np.float32(IMAGENET[0])) / np.float32(IMAGENET[1])
    else:
        image = image / 255
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def load_segmentation(file, n_classes: int, architecture: str = 'fcn_resnet50', how: str = 'imagenet', device='cpu'):
    """A function from levels (H, W, 3) to classes (H, W).

    Args:
        file: TorchScript, ONNX, or a state dict of a segmentation network of torchvision (`architecture`).
        how: what it is given, one of `INPUTS`: RGB normalized as for ImageNet; BGR levels minus the mean of
            Cityscapes; RGB levels / 255.
    """
    if file is None:
        raise UserError('no segmentation network given; add --network FILE (TorchScript, ONNX or a torchvision state '
                        'dict; Caffe models must be converted to ONNX)')
    file = Path(file)
    if not file.is_file():
        raise UserError(f'there is no file {file.absolute()}; correct --network')
    predict = load_onnx(file) if file.suffix == '.onnx' else load_torch(file, n_classes, architecture, device)

    def segment(levels):
        height, width = levels.shape[:2]
        return classes_of(predict(prepared(levels, how)), (width, height), n_classes)
    return segment


def load_torch(file: Path, n_classes: int, architecture: str, device):
    try:
        net = torch.jit.load(str(file), map_location=device)
    except RuntimeError:        # not TorchScript
        net = load_state_dict(file, n_classes, architecture).to(device)
    net.eval()

    def predict(image):
        with torch.inference_mode():
            scores = net(torch.from_numpy(image).to(device))
        return (scores['out'] if isinstance(scores, dict) else scores)[0].float().cpu().numpy()
    return predict


def load_onnx(file: Path):
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f'{file} needs onnxruntime; {install_hint("onnxruntime")}')
    session = onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0][0]


def load_state_dict(file: Path, n_classes: int, architecture: str):
    from util.checkpoint import store
    try:
        from torchvision.models import get_model
    except (ImportError, RuntimeError):
        raise UserError(f'a state dict needs torchvision; {install_hint("torchvision")}')
    weights = store.read(file, 'give a TorchScript, ONNX or state dict file with --network')
    extra = any(key.startswith('aux_classifier') for key in weights)
    try:
        net = get_model(architecture, weights=None, weights_backbone=None, num_classes=n_classes, aux_loss=extra)
        net.load_state_dict(weights)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f'{file.absolute()} does not fit --architecture {architecture} of torchvision with '
                        f'{n_classes} classes: {str(error).splitlines()[0]}')
    return net


def classes_of(scores: np.ndarray, size: tuple[int, int], n_classes: int) -> np.ndarray:
    """(H, W) classes from scores (classes, h, w), which are enlarged bilinearly to `size` (width, height)."""
    if scores.shape[0] != n_classes:
        raise UserError(f'the network of --network returns {scores.shape[0]} classes; {n_classes} are needed')
    if scores.shape[1:] == size[::-1]:
        return scores.argmax(0)
    planes = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in scores]
    return np.stack([np.asarray(plane) for plane in planes]).argmax(0)
