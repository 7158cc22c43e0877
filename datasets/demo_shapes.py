"""Drawn shapes: the multimodal demo (MUNIT: gray silhouette to a shape in one of six hues)."""
import colorsys
from typing import NamedTuple

import numpy as np

SIZES = (32, 64, 128, 256)
DIRECTION = 'AtoB'
CLASSES = ('background', 'shape')
HUES = tuple(k / 6 for k in range(6))
PALETTE = np.array([(235, 235, 235), (60, 60, 60)], np.uint8)
PAPER, INK = 236.0, 70.0


class Drawing(NamedTuple):
    """One shape: its gray image, its mask, the index of its hue, and what is needed to color it in any hue."""
    gray: np.ndarray
    mask: np.ndarray
    hue: int
    coverage: np.ndarray
    light: np.ndarray

    def colored(self, hue):
        """(size, size, 3) uint8: the shaded shape in hue number `hue` on plain paper."""
        ink = 255 * np.array(colorsys.hsv_to_rgb(HUES[hue], 0.78, 0.92))
        shaded = ink * self.light[..., None]
        return to_image(PAPER + self.coverage[..., None] * (shaded - PAPER))


def to_image(values):
    return values.clip(0, 255).round().astype(np.uint8)


def polygon(x, y, corners, inner=1.0):
    """Approximate signed distance to a regular polygon of radius 1, or to a star if inner < 1."""
    sector = np.pi / corners
    angle = np.abs((np.arctan2(x, -y) + sector) % (2 * sector) - sector)
    radius = np.hypot(x, y)
    tip = np.array([1.0, 0.0])
    notch = inner * np.array([np.cos(sector), np.sin(sector)])
    if inner == 1.0:
        return radius * np.cos(sector - angle) - np.cos(sector)
    along = notch - tip
    normal = np.array([along[1], -along[0]]) / np.hypot(*along)
    return (radius * np.cos(angle) - 1) * normal[0] + radius * np.sin(angle) * normal[1]


# Distance to the outline of a shape of radius 1 at (x, y): negative inside.
SHAPES = {
    'disc': lambda x, y: np.hypot(x, y) - 0.95,
    'square': lambda x, y: polygon(x, y, 4),
    'triangle': lambda x, y: polygon(x, y, 3),
    'hexagon': lambda x, y: polygon(x, y, 6),
    'star': lambda x, y: polygon(x, y, 5, inner=0.55),
    'cross': lambda x, y: np.minimum(np.maximum(np.abs(x) - 0.38, np.abs(y) - 0.95),
                                     np.maximum(np.abs(y) - 0.38, np.abs(x) - 0.95)),
}


def draw(rng, size, outline=False):
    """A `Drawing` of one random shape, as a silhouette or an outline."""
    shape = SHAPES[rng.choice(list(SHAPES))]
    radius = rng.uniform(0.46, 0.74)
    angle = rng.uniform(0, 2 * np.pi)
    hue = int(rng.integers(len(HUES)))
    centre = rng.uniform(-1, 1, 2) * (0.92 - radius)
    line = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid((line - centre[0]) / radius, (line - centre[1]) / radius)
    distance = shape(np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x)
    pixel = 2 / size / radius
    coverage = np.clip(0.5 - distance / pixel, 0, 1)
    stroke = np.clip(0.5 - (np.abs(distance + 0.06) - 0.06) / pixel, 0, 1) if outline else coverage
    gray = to_image(np.repeat((PAPER + stroke * (INK - PAPER))[..., None], 3, 2))
    light = 1.06 - 0.28 * np.hypot(x + 0.4, y + 0.4) + 0.08 * np.exp(-8 * ((x + 0.4) ** 2 + (y + 0.4) ** 2))
    return Drawing(gray, (coverage > 0.5).astype(np.uint8), hue, coverage, light)


def splits(n_train, n_test):
    return {'trainA': n_train, 'trainB': n_train, 'testA': n_test, 'testB': n_test}


def files(rng, size, split, name, outline=False):
    """The files of one image, {path in the output folder: content}; the dicts of hues are merged into one file."""
    drawing = draw(rng, size, outline)
    image = drawing.gray if split.endswith('A') else drawing.colored(drawing.hue)
    found = {f'{split}/{name}.png': image, f'truth/masks/{split}/{name}.png': drawing.mask}
    if split.endswith('B'):
        found['truth/hues.json'] = {f'{split}/{name}': drawing.hue}
    if split == 'testA':
        found.update({f'truth/testA_as_B/{name}_{hue}.png': drawing.colored(hue) for hue in range(len(HUES))})
    if split == 'testB':
        found[f'truth/testB_as_A/{name}.png'] = drawing.gray
    return found
