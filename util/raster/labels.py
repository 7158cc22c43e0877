"""Label maps: images whose values are classes. A table gives the color of each class, for networks and for people."""
import re

import numpy as np

MOST_CLASSES = 256


class Palette:
    """Classes as they are stored, and their colors.

    Args:
        stored: (N, C) values of a pixel of each class in a file: a number, or a color.
        colors: uint8 (N, 3), what a network sees.
    """

    def __init__(self, stored: np.ndarray, colors: np.ndarray):
        self.stored = np.asarray(stored)
        self.colors = np.asarray(colors, np.uint8)

    def __str__(self):
        """As --labels_A takes it: '0=0 0 0,1=255 255 255', or colors alone."""
        entries = []
        for value, color in zip(self.stored.tolist(), self.colors.tolist(), strict=True):
            prefix = f'{value[0]:g}=' if len(value) == 1 else ''
            entries.append(prefix + ' '.join(map(str, color)))
        return ','.join(entries)

    def to_colors(self, pixels: np.ndarray, blurred: bool = False) -> np.ndarray:
        """Stored classes (H, W, C) as colors, uint8 (H, W, 3). A ValueError names the first value of no class.

        `blurred`: from a JPEG file. Its compression changes colors, so they are set to the nearest of the table.
        """
        if blurred and pixels.shape[2] == 3:
            return self.snapped(pixels)
        if pixels.shape[2] == 3 and self.stored.shape[1] == 1 and pixels.dtype == np.uint8 and self.holds(pixels):
            return pixels
        if pixels.shape[2] != self.stored.shape[1]:
            pixels = to_width(pixels, self.stored.shape[1])
        found, index = distinct(pixels)
        known = {tuple(value): number for number, value in enumerate(self.stored.tolist())}
        unknown = [value for value in map(tuple, found.tolist()) if value not in known]
        if unknown:
            raise ValueError(f'{len(unknown)} of its values are no class of the table, such as '
                             f'{text_of(unknown[0])}; list all classes')
        lookup = np.array([known[tuple(value)] for value in found.tolist()])
        return self.colors[lookup[index]].reshape(*pixels.shape[:2], 3)

    def holds(self, pixels: np.ndarray) -> bool:
        """True if all pixels (H, W, 3) have colors of the table: label maps may show them instead of numbers."""
        found = distinct(pixels)[0].tolist()
        return {tuple(color) for color in found} <= {tuple(color) for color in self.colors.tolist()}

    def to_classes(self, colors: np.ndarray, dtype: str, channels: int = 0) -> np.ndarray:
        """Generated colors, uint8 (H, W, 3), as the stored value of the nearest class: (H, W, C) of type `dtype`.

        With 3 `channels`, of files that show the colors of numbered classes, as these colors.
        """
        if channels == 3 and self.stored.shape[1] == 1:
            return self.snapped(colors)
        return self.stored[self.nearest(colors)].astype(dtype)

    def snapped(self, colors: np.ndarray) -> np.ndarray:
        """Generated colors as those of the nearest classes, uint8 (H, W, 3)."""
        return self.colors[self.nearest(colors)]

    def nearest(self, colors: np.ndarray) -> np.ndarray:
        """The number of the class with the nearest color for each pixel: (H, W)."""
        rows = [np.square(row.astype(np.int32)[:, None] - self.colors.astype(np.int32)).sum(2).argmin(1)
                for row in colors]
        return np.stack(rows)


def distinct(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values of the pixels (H, W, C), (N, C), and which of them each pixel has, (H * W)."""
    rows = pixels.reshape(-1, pixels.shape[2])
    if rows.shape[1] > 1 and rows.dtype == np.uint8 and rows.shape[1] <= 4:     # 10x faster than by rows
        packed = rows.astype(np.uint32) @ (256 ** np.arange(rows.shape[1], dtype=np.uint32))
        _, first, index = np.unique(packed, return_index=True, return_inverse=True)
        return rows[first], index.reshape(-1)
    found, index = np.unique(rows, axis=0, return_inverse=True)
    return found, index.reshape(-1)


def to_width(pixels: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3 and pixels.shape[2] == 1:
        return np.repeat(pixels, 3, 2)
    if channels == 1 and pixels.shape[2] == 3 and (pixels[..., :1] == pixels).all():
        return pixels[..., :1]
    return pixels[..., :channels] if pixels.shape[2] > channels else pixels


def text_of(value) -> str:
    return ' '.join(f'{number:g}' for number in value)


def parse(text: str) -> Palette:
    """A table as text, with commas between the classes: `0 = 255 0 0`, `0 255 0 0` or `255 0 0`.

    Raises a ValueError with the class that cannot be understood.
    """
    stored, colors = [], []
    for line in filter(str.strip, text.split(',')):
        match = re.fullmatch(r'\s*(?:(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*[= ])?\s*(\d+)\s+(\d+)\s+(\d+)\s*', line)
        color = [int(part) for part in match.groups()[1:]] if match else [256]
        if max(color) > 255 or ('=' in line and not match[1]):
            raise ValueError(f'{line.strip()} is not a class; write 0 = 255 0 0, or 255 0 0')
        stored.append([float(match[1])] if match[1] else color)
        colors.append(color)
    if len({len(value) for value in stored}) != 1:
        raise ValueError('give all classes with numbers, or none')
    values = np.array(stored)
    return Palette(values.astype(np.int64) if (values == np.rint(values)).all() else values, np.array(colors))


def found_in(images) -> Palette:
    """The classes in images (H, W, C). Gray values are spread over the gray levels; colors are kept.

    Raises a ValueError if there are more than 256: then they are no label maps.
    """
    values = set()
    for pixels in images:
        values.update(map(tuple, distinct(pixels)[0].tolist()))
        if len(values) > MOST_CLASSES:
            raise ValueError(f'more than {MOST_CLASSES} different values, so these are no label maps')
    stored = np.array(sorted(values))
    if stored.shape[1] == 3:
        return Palette(stored, stored)
    levels = np.rint(np.linspace(0, 255, max(2, len(stored))))[:len(stored)]
    return Palette(stored[:, :1], np.repeat(levels[:, None], 3, 1))


# ---- scores of label maps

def confusion(predicted: np.ndarray, truth: np.ndarray, n: int) -> np.ndarray:
    """(n, n) pixel counts: row = true class, column = predicted class."""
    return np.bincount(truth.ravel().astype(int) * n + predicted.ravel(), minlength=n * n).reshape(n, n)


def segmentation(counts: np.ndarray) -> dict:
    """Pixel accuracy, mean class accuracy and mean IoU over the classes that occur (the FCN scores)."""
    present = counts.sum(1) > 0
    right = np.diag(counts)[present]
    true = counts.sum(1)[present]
    predicted = counts.sum(0)[present]
    return dict(pixel_acc=float(np.diag(counts).sum() / counts.sum()), class_acc=float((right / true).mean()),
                iou=float((right / (true + predicted - right)).mean()))
