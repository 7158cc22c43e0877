"""How the files of one domain become tensors for the networks: bands, channels, value range, classes."""
from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image

from util.errors import UserError
from util.raster import channels, labels, ranges
from util.raster.kinds import BANDS, MAX_PIXELS, is_jpeg, kind_of
from util.raster.ranges import Range
from util.raster.read import ImageError, image_error, read_pixels

from .image_folder import is_deep, read_image, read_levels
from .transforms import as_channels

DISAGREES = 0.5         # share of values outside the range, above which an image is not of this range


class Domain:
    """The images of A or of B, as they are stored.

    8-bit gray and RGB images stay Pillow images, which is fastest. All others, and all if an option says how to read
    them, become float32 (C, H, W) in [-1, 1] with all their bands and bits.

    Attributes:
        name: 'A' or 'B'.
        channels: what the networks have.
        range: the values that become -1 and 1; None until it is known, or if the type of each file decides.
        dtype: type of the values in files, found in training; '' if unknown.
        stored_channels: channels of the files, 1 if networks of 3 channels see gray images; 0 if unknown.
        palette: the classes of label maps, or None.
        partners: {path: further files of the same sample}, whose channels follow (--folder_A rgb depth).
        clipped: [values outside the range, values] since the sample began.
    """

    def __init__(self, name: str, channels: int, *, bands: str = '', pages: str = 'first', value_range: str = 'auto',
                 label_table: str = '', dtype: str = '', max_pixels: int = MAX_PIXELS):
        """The texts are those of the options --bands, --pages, --range_A, --labels_A and --dtype_A."""
        self.name = name
        self.channels = channels
        self.max_pixels = max_pixels
        self.bands = [int(band) for band in filter(None, bands.split(','))]
        self.all_pages = pages == 'all'
        self.asked_ranges = [ranges.parse(text) for text in value_range.split(':')]
        self.asked_labels = label_table
        self.palette = None
        if label_table not in ('', 'auto'):
            try:
                self.palette = labels.parse(label_table)
            except ValueError as error:
                raise UserError(f'--labels_{name}: {error}') from error
        self.dtype, _, count = dtype.partition(',')
        self.stored_channels = int(count or 0)
        self.trained = dtype != ''
        self.partners = {}
        self.clipped = [0, 0]

    @classmethod
    def of_options(cls, name: str, channels: int, values: dict) -> 'Domain':
        """`values` of the options; those that are not there have their defaults."""
        texts = {argument: values[option] for argument, option in (
            ('pages', 'pages'), ('value_range', f'range_{name}'), ('label_table', f'labels_{name}'),
            ('dtype', f'dtype_{name}'), ('max_pixels', 'max_pixels')) if option in values}
        return cls(name, channels, bands=values.get(f'bands_{name}') or values.get('bands', ''), **texts)

    @property
    def range(self) -> Range | None:
        return self.asked_ranges[0] if isinstance(self.asked_ranges[0], Range) else None

    @property
    def is_wide(self) -> bool:
        """True if every file is read with all its bands and bits, also one of 8 bits."""
        return bool(self.bands or self.all_pages or self.partners or self.palette or self.asked_labels
                    or self.channels not in (1, 3) or any(self.asked_ranges))

    # ---- reading

    def read(self, path: str, fast: bool = False) -> Image.Image | torch.Tensor | np.ndarray:
        """The stored image: a Pillow image (or uint8 tensor, if `fast`) of 8 bits, else an array (H, W, C)."""
        if self.is_wide:
            return self.read_all(path)
        try:
            return read_levels(path, self.max_pixels) if fast else read_image(path, self.max_pixels)
        except ImageError as error:
            if is_deep(error.__cause__):
                return self.read_all(path)
            raise

    def read_all(self, path: str) -> np.ndarray:
        """All values of the file, with those of its partners: (H, W, C)."""
        stack = [read_pixels(part, self.max_pixels, self.all_pages) for part in (path, *self.partners.get(path, ()))]
        sizes = [pixels.shape[:2] for pixels in stack]
        if len(set(sizes)) > 1:
            raise ImageError(f'the files of {path} differ in size: ' + ', '.join(f'{w}x{h}' for h, w in sizes))
        if len(stack) == 1:
            return stack[0]
        try:
            return np.concatenate([self.to_unit(pixels, part) for part, pixels in enumerate(stack)], 2)
        except ValueError as error:
            raise image_error(path, error) from error

    def encode(self, stored, path: str, to_unit: Callable | None = None) -> Image.Image | torch.Tensor:
        """A stored image with the channels of the networks: a Pillow image, uint8 (C, H, W), or float32 in [-1, 1]."""
        if not isinstance(stored, np.ndarray):
            return as_channels(stored, self.channels)
        try:
            if self.palette:
                colors = self.palette.to_colors(stored, is_jpeg(path))
                return as_channels(Image.fromarray(colors), self.channels)
            colors = self.colors_of(path, stored)
            if to_unit is None:     # files of partners have ranges of their own
                to_unit = np.asarray if self.partners else self.to_unit
            unit = channels.seen(self.chosen(stored), self.channels, colors, to_unit)
        except ValueError as error:
            raise image_error(path, error) from error
        return torch.from_numpy(np.ascontiguousarray(unit)).permute(2, 0, 1)

    def open(self, path: str, fast: bool = False) -> Image.Image | torch.Tensor:
        return self.encode(self.read(path, fast), path)

    def chosen(self, pixels: np.ndarray) -> np.ndarray:
        """The bands of --bands, counted from 1."""
        if not self.bands:
            return pixels
        missing = [band for band in self.bands if band > pixels.shape[2]]
        if missing:
            raise ValueError(f'it has {pixels.shape[2]} bands, so there is no band {missing[0]} for --bands')
        return pixels[:, :, [band - 1 for band in self.bands]]

    def colors_of(self, path: str, stored: np.ndarray) -> str:
        """How the channels are meant, where they are not those of the networks; else BANDS: they are as they are."""
        if stored.shape[2] == self.channels or self.bands or self.partners or self.all_pages:
            return BANDS
        return kind_of(path, self.max_pixels).colors

    def values(self, stored: np.ndarray, path: str) -> np.ndarray:
        """The values that become numbers by the range: those of --bands, without transparency."""
        return channels.without_alpha(self.chosen(stored), self.colors_of(path, stored))

    def to_unit(self, pixels: np.ndarray, part: int = 0) -> np.ndarray:
        """Stored values of one of the files of a sample as float32 in [-1, 1]; those outside its range are clipped."""
        ranges.check_finite(pixels)
        value_range = self.range_for(pixels, part)
        if pixels.dtype != np.uint8 or not value_range.is_levels:
            self.judge(pixels.dtype, pixels.size, value_range.outside(pixels), lambda: (pixels.min(), pixels.max()),
                       part)
        return value_range.to_unit(pixels)

    def asked_range(self, part: int = 0) -> Range | tuple | None:
        return self.asked_ranges[min(part, len(self.asked_ranges) - 1)]

    def range_for(self, pixels: np.ndarray, part: int = 0) -> Range:
        asked = self.asked_range(part)
        return asked if isinstance(asked, Range) else ranges.of_type(str(pixels.dtype))

    def judge(self, dtype: np.dtype, count: int, outside: int, extremes: Callable, part: int = 0):
        """Count the values of a file that are outside its range; a ValueError if it cannot be the right range.

        `extremes()` returns the smallest and the largest of its `count` values.
        """
        given = isinstance(self.asked_range(part), Range)
        if not given and (dtype.kind == 'i' or (dtype.kind == 'u' and dtype.itemsize > 2)):
            low, high = extremes()
            raise ValueError(f'its values of type {dtype} are from {low} to {high}; give their range with '
                             f'--range_{self.name} LO,HI')
        if outside > DISAGREES * count or (outside and not given and extremes()[1] > 1 + ranges.OVERSHOOT):
            low, high = extremes()
            value_range = self.asked_range(part) if given else ranges.of_type(str(dtype))
            where = 'training used' if self.trained else 'the range is'
            raise ValueError(f'its values are from {low:g} to {high:g}, but {where} {value_range}; give the range of '
                             f'the values with --range_{self.name} LO,HI')
        self.clipped = [self.clipped[0] + outside, self.clipped[1] + count]

    def check_blocks(self, blocks: Iterable[np.ndarray], path: str):
        """As `to_unit` checks a whole image, for one that is read in blocks, whose extremes alone say little."""
        if self.palette:
            return
        count = outside = 0
        extremes = []
        for block in blocks:
            values = self.values(block, path)
            ranges.check_finite(values)
            outside += self.range_for(values).outside(values)
            count += values.size
            extremes += [values.min(), values.max()]
            extremes = [min(extremes), max(extremes)]
        self.judge(values.dtype, count, outside, lambda: extremes)

    def encode_window(self, stored: np.ndarray, path: str) -> torch.Tensor:
        """A window of a file whose values are checked, as numbers (C, h, w); see `encode`."""
        return self.encode(stored, path, lambda values: self.range_for(values).to_unit(values))

    def count_channels(self, path: str) -> int:
        """The channels of all files of a sample."""
        return sum(kind_of(file, self.max_pixels).channels for file in (path, *self.partners[path]))

    # ---- writing

    def stored_type(self, source: str) -> tuple[str, int] | None:
        """(dtype, channels) of a result: as in training; of a run that does not know it, as the file `source`.

        None for 8-bit gray and RGB. 0 channels: those of the networks.
        """
        if self.partners or len(self.asked_ranges) > 1:
            return 'float32', 0         # the files have ranges of their own: [-1, 1]
        if self.is_wide or self.dtype not in ('', 'bool', 'uint8'):
            return self.dtype or 'uint8', self.stored_channels
        if self.dtype:
            return None
        try:
            kind = kind_of(source, self.max_pixels)
        except (OSError, ValueError):
            return None
        return None if kind.dtype in ('bool', 'uint8') else (kind.dtype, 1 if kind.channels == 1 else 0)

    def to_stored(self, image: torch.Tensor, dtype: str, channels: int = 0) -> np.ndarray:
        """An image (C, H, W) in [-1, 1] as the values of a file, (H, W, C); label maps as the nearest classes.

        With `channels` 1, the mean of the channels, which is exact if they are equal.
        """
        if channels == 1 and len(image) == 3 and not self.palette:
            image = image.detach().double().mean(0, keepdim=True)
        unit = image.detach().cpu().double().permute(1, 2, 0).numpy()
        if self.palette:
            return self.palette.to_classes(colors_of_unit(unit), dtype, channels)
        value_range = Range(-1, 1) if len(self.asked_ranges) > 1 else self.range or ranges.of_type(dtype)
        return value_range.to_stored(unit, dtype)

    def picture(self, image: torch.Tensor) -> torch.Tensor:
        """The image as pages show it: label maps in the exact colors of their classes."""
        if not self.palette:
            return image
        colors = self.palette.snapped(colors_of_unit(image.detach().float().cpu().permute(1, 2, 0).numpy()))
        return torch.from_numpy(colors).permute(2, 0, 1) / 127.5 - 1

    def fits(self, header) -> bool:
        """True if an image with this header can have the channels of the networks."""
        count = header.channels * (header.pages if self.all_pages else 1)
        if self.partners or self.palette or self.asked_labels:
            return True
        if self.bands:
            return max(self.bands) <= count and len(self.bands) in (1, self.channels)
        if header.colors == BANDS or self.all_pages:
            return count >= self.channels
        return self.channels <= max(3, count)


def colors_of_unit(unit: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3) in [-1, 1] as uint8 (H, W, 3)."""
    levels = np.rint((np.clip(unit, -1, 1) + 1) * 127.5).astype(np.uint8)
    return levels if levels.shape[2] == 3 else np.repeat(levels[..., :1], 3, 2)
