"""Scores for the synthetic demos of datasets/make_demo.py, whose ground truth is known. Needs only NumPy and Pillow.

Images are uint8 (H, W, 3), masks are uint8 (H, W) of class numbers. Ground truth of another size is resized to the
result.
"""
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from util.errors import UserError
from util.raster.labels import confusion, segmentation

VERSION = 1
# what a trained model must reach
GATES = {
    'facades': {'class_acc': ('>=', 0.85), 'iou': ('>=', 0.70), 'psnr_gain': ('>=', 4.0)},
    'day2night': {'class_acc': ('>=', 0.54), 'l1': ('<=', 13.5), 'lit': ('>=', 0.30), 'cycle_l1': ('<=', 13.0)},
    'shapes': {'iou': ('>=', 0.60), 'entropy': ('>=', 0.85), 'modes': ('>=', 6), 'pair_l1': ('>=', 20.0),
               'guided': ('>=', 0.95)},
}
# all scores of a task, in the order of the table
SCORES = {
    'facades': ('pixel_acc', 'class_acc', 'iou', 'psnr', 'psnr_gain', 'l1'),
    'day2night': ('class_acc', 'l1', 'lit', 'cycle_l1'),
    'shapes': ('valid', 'iou', 'entropy', 'modes', 'pair_l1', 'guided'),
}
# tolerance of the color classifier, in levels: nights are darker, and the colors of their classes closer
GRAIN = {'facades': 10, 'day2night': 3}
MAX_TRAINING_PIXELS = 1_000_000
COLORED = 60             # smallest chroma, of 255, of a pixel that has a hue
HALF_COLORED = 0.5       # smallest share of colored pixels in a shape that has a hue,
ONE_HUE = 0.8            # and smallest length of the mean of their hue vectors
RARE_MODE = 0.02         # a hue counts as reached from this share of the samples on


@dataclass
class Result:
    """The outputs for one input, `<folder>/<stem>.png` of a demo.

    `fakes` is {visual: output}, `guided` {visual: style image} of those guided by one. `cycle_l1` is the L1 of the
    reconstruction, None without one.
    """
    folder: str
    stem: str
    fakes: dict[str, np.ndarray]
    guided: dict[str, np.ndarray] = field(default_factory=dict)
    cycle_l1: float | None = None


class Demo:
    """A demo on disk, in `root` or its parent folder; a `UserError` if there is none."""

    def __init__(self, root):
        root = Path(root).absolute()
        places = [place for place in (root, root.parent) if (place / 'demo.json').is_file()]
        self.facts = read_json(places[0] / 'demo.json') if places else {}
        if self.facts.get('task') not in GATES or not self.facts.get('complete'):
            raise UserError(f'{root} contains no complete demo (demo.json); make one with python '
                            'datasets/make_demo.py, or give its folder with --dataroot')
        self.root = places[0]
        self.task = self.facts['task']
        self.classes = self.facts['classes']

    def image(self, *parts) -> np.ndarray:
        return read_image(self.root.joinpath(*parts))

    def photo(self, folder: str, stem: str) -> np.ndarray:
        """The photo of an aligned pair: its left half."""
        pair = self.image(folder, f'{stem}.png')
        return pair[:, :pair.shape[1] // 2]

    def mask(self, folder: str, stem: str, shape=None) -> np.ndarray:
        path = self.root / 'truth' / 'masks' / folder / f'{stem}.png'
        mask = open_image(path)
        if shape is not None:
            mask = mask.resize((shape[1], shape[0]), Image.Resampling.NEAREST)
        return np.asarray(mask)

    def knows(self, folder: str, stem: str) -> bool:
        """True if the ground truth of this image exists."""
        wanted = {'facades': 'masks/{}/{}.png', 'day2night': '{}_as_B/{}.png', 'shapes': 'masks/{}/{}.png'}
        return (self.root / 'truth' / wanted[self.task].format(folder, stem)).is_file()

    def stems(self, folder: str) -> list[str]:
        return sorted(path.stem for path in (self.root / folder).glob('*.png'))

    @cached_property
    def training(self) -> list:
        """(image, mask) pairs of the target domain, as many as the classifier needs."""
        folder = 'train' if self.task == 'facades' else 'trainB'
        stems = self.stems(folder)[:max(16, MAX_TRAINING_PIXELS // self.facts['size'] ** 2)]
        if self.task == 'facades':
            return [(self.photo(folder, stem), self.mask(folder, stem)) for stem in stems]
        return [(self.image(folder, f'{stem}.png'), self.mask(folder, stem)) for stem in stems]

    @cached_property
    def classifier(self) -> 'ColorClassifier':
        return ColorClassifier(self.training, len(self.classes), GRAIN[self.task])

    @cached_property
    def mean_photo(self) -> np.ndarray:
        return np.mean([image for image, _ in self.training], 0).round().astype(np.uint8)


class ColorClassifier:
    """One Gaussian per class over the color of a pixel and the mean color around it: a substitute for the FCN score."""

    def __init__(self, training, n_classes: int, grain: float):
        colors = np.concatenate([color_features(image) for image, _ in training])
        labels = np.concatenate([mask.ravel() for _, mask in training])
        self.classes = [k for k in range(n_classes) if (labels == k).sum() > 6]
        groups = [colors[labels == k] for k in self.classes]
        self.means = [group.mean(0) for group in groups]
        covariances = [np.cov(group.T) + grain ** 2 * np.eye(6) for group in groups]
        self.whitening = [np.linalg.cholesky(np.linalg.inv(covariance)) for covariance in covariances]
        self.offsets = [np.linalg.slogdet(covariance)[1] for covariance in covariances]

    def predict(self, image: np.ndarray) -> np.ndarray:
        """(H, W) class of every pixel, with equal prior probabilities."""
        colors = color_features(image)
        misfits = [(((colors - mean) @ white) ** 2).sum(1) + offset
                   for mean, white, offset in zip(self.means, self.whitening, self.offsets, strict=True)]
        return np.array(self.classes)[np.argmin(misfits, 0)].reshape(image.shape[:2])


def color_features(image: np.ndarray) -> np.ndarray:
    """(H * W, 6): color of each pixel and mean color of the 3x3 pixels around it."""
    height, width = image.shape[:2]
    padded = np.pad(image.astype(np.float32), ((1, 1), (1, 1), (0, 0)), mode='edge')
    around = sum(padded[y:y + height, x:x + width] for y in range(3) for x in range(3)) / 9
    return np.concatenate([image, around], 2).reshape(-1, 6)


def open_image(path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f'{path} cannot be read ({error}); make the demo or run test.py again')


def read_image(path) -> np.ndarray:
    return np.asarray(open_image(path).convert('RGB'))


def read_json(path) -> dict:
    """The dict in a JSON file; a `UserError` if there is none."""
    try:
        found = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read ({error}); run the command that writes it again')
    if not isinstance(found, dict):
        raise UserError(f'{path} contains no JSON object; run the command that writes it again')
    return found


def resized(image: np.ndarray, shape) -> np.ndarray:
    """`image` with the height and width of `shape`."""
    if image.shape[:2] == tuple(shape[:2]):
        return image
    return np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def l1(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference in levels (0-255)."""
    return float(np.abs(one.astype(np.float32) - resized(other, one.shape)).mean())


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """In dB; at most 59 dB, the error of rounding to 8 bits, so that it is always finite."""
    error = np.mean((one.astype(np.float64) - resized(other, one.shape)) ** 2)
    return float(10 * np.log10(255 ** 2 / max(error, 1 / 12)))


def classified(demo: Demo, results) -> dict:
    """`segmentation` scores of the first output of each result."""
    n, counts = len(demo.classes), 0
    for result in results:
        fake = only_fake(result)
        counts = counts + confusion(demo.classifier.predict(fake), demo.mask(result.folder, result.stem, fake.shape), n)
    return segmentation(counts)


def only_fake(result: Result) -> np.ndarray:
    return next(iter(result.fakes.values()))


def score_facades(demo: Demo, results) -> dict:
    """Labels to photo: colors by class, and distance to the true photo."""
    pairs = [(only_fake(result), demo.photo(result.folder, result.stem)) for result in results]
    quality = np.mean([psnr(fake, truth) for fake, truth in pairs])
    plain = np.mean([psnr(resized(demo.mean_photo, fake.shape), truth) for fake, truth in pairs])
    return dict(classified(demo, results), psnr=float(quality), psnr_gain=float(quality - plain),
                l1=float(np.mean([l1(fake, truth) for fake, truth in pairs])))


def score_day2night(demo: Demo, results) -> dict:
    """Day to night: colors by class, distance to the true night, lit windows, and the reconstruction if any."""
    cycles = [result.cycle_l1 for result in results if result.cycle_l1 is not None]
    distances, lit = [], []
    for result in results:
        fake = only_fake(result)
        distances.append(l1(fake, demo.image('truth', f'{result.folder}_as_B', f'{result.stem}.png')))
        lit.append(is_lit(demo, fake[demo.mask(result.folder, result.stem, fake.shape) == window_class(demo)]))
    scores = dict(class_acc=classified(demo, results)['class_acc'], l1=float(np.mean(distances)),
                  lit=float(np.concatenate(lit).mean()))
    if cycles:
        scores['cycle_l1'] = float(np.mean(cycles))
    return scores


def window_class(demo: Demo) -> int:
    return demo.classes.index('window')


def is_lit(demo: Demo, panes: np.ndarray) -> np.ndarray:
    """(N,) bools: pixels of `panes` (N, 3) at least half as bright and half as warm as windows at night."""
    warmth = np.array([[1, 1, 1], [1, 0, -1]]).T
    typical = np.mean([image[mask == window_class(demo)].mean(0) for image, mask in demo.training
                       if (mask == window_class(demo)).any()], 0)
    return ((panes @ warmth) >= typical @ warmth / 2).all(1)


def hues(image: np.ndarray):
    """Two arrays (H, W): True where a pixel has a hue, and the hue as a complex unit vector on the color circle."""
    red, green, blue = np.moveaxis(image.astype(np.float32), 2, 0)
    circle = red - (green + blue) / 2 + 1j * np.sqrt(3) / 2 * (green - blue)
    colored = image.max(2).astype(int) - image.min(2) >= COLORED
    return colored, circle / np.maximum(np.abs(circle), 1e-6)


def hue_number(image: np.ndarray, mask: np.ndarray) -> int | None:
    """Which of the six hues most of the masked part has; None without a dominant hue."""
    colored, circle = hues(image)
    inside = mask.astype(bool)
    seen = circle[colored & inside]
    if len(seen) < max(1, HALF_COLORED * inside.sum()) or np.abs(seen.mean()) < ONE_HUE:
        return None
    return int(np.round(np.angle(seen.mean()) / (2 * np.pi) * 6)) % 6


def hue_of_style(image: np.ndarray) -> int | None:
    return hue_number(image, hues(image)[0])


def pair_distance(samples, mask: np.ndarray) -> float:
    """Mean L1 over all pairs of samples of one input, inside the mask."""
    inside = [sample[mask > 0].astype(np.float32) for sample in samples]
    return float(np.mean([np.abs(a - b).mean() for i, a in enumerate(inside) for b in inside[:i]]))


def score_shapes(demo: Demo, results) -> dict:
    """Silhouette to colored shape: same shape, one hue each, all hues over random styles, hue of the style image."""
    ious, distances = [], []
    found, guided = [], []         # hues of random styles; whether guided outputs have the hue of their style
    for result in results:
        random = []
        for label, fake in result.fakes.items():
            mask = demo.mask(result.folder, result.stem, fake.shape)
            colored, hue = hues(fake)[0], hue_number(fake, mask)
            ious.append((colored & (mask > 0)).sum() / max(1, (colored | (mask > 0)).sum()))
            if label in result.guided:
                guided.append(hue is not None and hue == hue_of_style(result.guided[label]))
            else:
                random.append(fake)
                found.append(hue)
        if len(random) > 1:
            distances.append(pair_distance(random, demo.mask(result.folder, result.stem, random[0].shape)))
    scores = dict(iou=float(np.mean(ious)), **variety(found))
    for name, values in dict(pair_l1=distances, guided=guided).items():
        if values:
            scores[name] = float(np.mean(values))
    return scores


def variety(found: list) -> dict:
    """How evenly samples with random styles spread over the six hues; {} without such samples."""
    if not found:
        return {}
    counts = np.bincount([hue for hue in found if hue is not None], minlength=6)
    shares = counts[counts > 0] / max(1, counts.sum())
    return dict(valid=float(counts.sum() / len(found)), entropy=float((shares * np.log(1 / shares)).sum() / np.log(6)),
                modes=int((counts > RARE_MODE * len(found)).sum()))


def score(demo: Demo, results: list[Result]) -> dict:
    """{name: value} of the `SCORES` that these results allow."""
    scorers = {'facades': score_facades, 'day2night': score_day2night, 'shapes': score_shapes}
    return scorers[demo.task](demo, results)


def failures(task: str, scores: dict) -> list[str]:
    """The gates that were missed, as text; scores that the results do not allow are not checked."""
    return [f'{name} {scores[name]:.3f} (needs {sign} {limit:g})' for name, (sign, limit) in GATES[task].items()
            if name in scores and not (scores[name] >= limit if sign == '>=' else scores[name] <= limit)]
