"""How the files of one domain become tensors for the networks: bands, channels, value range, classes."""
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from PIL import Image

from util.console import note, say
from util.errors import UserError
from util.raster import labels, ranges
from util.raster.kinds import BANDS, GRAY_ALPHA, MAX_PIXELS, RGBA, kind_of
from util.raster.ranges import Range, Values
from util.raster.read import ImageError, image_error, read_pixels

from .image_folder import is_deep, read_image, read_levels
from .transforms import as_channels

GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)      # ITU-R 601, as Pillow's
THREADS = 4
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
        clipped: [values outside the range, values] since `start_count`.
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
        units = [self.to_unit(pixels, path, number) for number, pixels in enumerate(stack)]
        return np.concatenate(units, 2)

    def encode(self, stored, path: str) -> Image.Image | torch.Tensor:
        """A stored image with the channels of the networks: a Pillow image, uint8 (C, H, W), or float32 in [-1, 1]."""
        if not isinstance(stored, np.ndarray):
            return as_channels(stored, self.channels)
        try:
            if self.palette:
                return as_channels(Image.fromarray(self.palette.to_colors(stored)), self.channels)
            unit = stored if self.partners else self.to_unit(stored, path, 0)
            unit = fit_channels(self.chosen(unit), self.channels, self.colors_of(path, stored), self.name)
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
        """How the channels are meant; only asked where they are not those of the networks."""
        if stored.shape[2] == self.channels or self.bands or self.partners or self.all_pages:
            return BANDS
        return kind_of(path, self.max_pixels).colors

    def to_unit(self, pixels: np.ndarray, path: str, number: int) -> np.ndarray:
        """Stored values as float32 in [-1, 1]; values outside the range are clipped and counted."""
        ranges.check_finite(pixels)
        asked = self.asked_ranges[min(number, len(self.asked_ranges) - 1)]
        unusual = pixels.dtype.kind == 'i' or (pixels.dtype.kind == 'u' and pixels.dtype.itemsize > 2)
        if unusual and not isinstance(asked, Range):
            raise ValueError(f'its values of type {pixels.dtype} are from {pixels.min()} to {pixels.max()}; give their '
                             f'range with --range_{self.name} LO,HI')
        value_range = asked if isinstance(asked, Range) else ranges.of_type(str(pixels.dtype))
        if pixels.dtype == np.uint8 and value_range.is_levels:
            return value_range.to_unit(pixels)
        outside = value_range.outside(pixels)
        self.clipped = [self.clipped[0] + outside, self.clipped[1] + pixels.size]
        if outside > DISAGREES * pixels.size or (outside and not isinstance(asked, Range)
                                                 and pixels.max() > 1 + ranges.OVERSHOOT):
            where = 'training used' if self.trained else 'the range is'
            raise ValueError(f'its values are from {pixels.min():g} to {pixels.max():g}, but {where} {value_range}; '
                             f'give the range of the values with --range_{self.name} LO,HI')
        return value_range.to_unit(pixels)

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

    # ---- before training

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

    def settle(self, headers: dict, pixels_of) -> dict[str, str]:
        """Find what the options leave open in the training images: {option: value}, to be stored with the run.

        `headers` are those of the files, `pixels_of(path)` reads one file. Raises a `UserError` with both ranges, or
        types, if the files do not agree.
        """
        if not headers:
            return {}
        if self.partners:
            return self.settle_parts(headers)
        found = {}
        if self.asked_labels == 'auto' and not self.palette:
            self.palette = self.find_labels(headers, pixels_of)
            found[f'labels_{self.name}'] = str(self.palette)
        kinds = Counter(header.dtype for header in headers.values())
        deep = {dtype: count for dtype, count in kinds.items() if dtype not in ('bool', 'uint8')}
        asked = self.asked_ranges[0]
        if deep and not self.palette and not isinstance(asked, Range):
            self.refuse_mixed(kinds)
        if self.palette or not (deep or isinstance(asked, tuple)):
            return {**found, **self.settled_type(kinds, headers)}
        if not isinstance(asked, Range):
            self.asked_ranges = [self.find_range(headers, pixels_of, next(iter(kinds)))]
            found[f'range_{self.name}'] = str(self.range)
        return {**found, **self.settled_type(kinds, headers)}

    def settle_parts(self, headers: dict) -> dict[str, str]:
        """As `settle`, for images of several files: a range for each folder."""
        texts = []
        for number in range(1 + len(next(iter(self.partners.values())))):
            files = {path: (path, *self.partners[path])[number] for path in headers}
            kinds = Counter(kind_of(file, self.max_pixels).dtype for file in files.values())
            self.refuse_mixed(kinds)
            asked = self.asked_ranges[number] if number < len(self.asked_ranges) else None
            if asked is None:
                read = partial(read_pixels, max_pixels=self.max_pixels)
                asked = self.find_range(files.values(), read, next(iter(kinds)))
            texts.append(str(asked))
        self.asked_ranges = [ranges.parse(text) for text in texts]
        return {f'range_{self.name}': ':'.join(texts)}

    def settled_type(self, kinds: Counter, headers: dict) -> dict[str, str]:
        """The type and channels of the files, if they are not 8-bit gray or RGB."""
        dtype = kinds.most_common(1)[0][0]
        if not self.is_wide and dtype in ('bool', 'uint8'):
            return {}
        self.dtype = dtype
        gray = all(header.channels == 1 for header in headers.values()) and not (self.partners or self.all_pages)
        self.stored_channels = 1 if gray else self.channels
        return {f'dtype_{self.name}': f'{self.dtype},{self.stored_channels}'}

    def refuse_mixed(self, kinds: Counter):
        if len(kinds) > 1:
            counts = ' and '.join(f'{count} of type {dtype}' for dtype, count in kinds.most_common())
            raise UserError(f'domain {self.name} has {counts}, whose values may mean different things; convert them '
                            f'to one type, or give the range of all values with --range_{self.name} LO,HI')

    def find_range(self, headers: dict, pixels_of, dtype: str) -> Range:
        values = Values(dtype)

        def look(path):
            try:
                return pixels_of(path)
            except ImageError:      # a damaged file is replaced in training, and reported by check_data
                return None
        with ThreadPoolExecutor(THREADS) as pool:
            for pixels in pool.map(look, headers):
                values.add(pixels)
        if values.sample is None:
            raise UserError(f'none of the {len(headers)} images of domain {self.name} can be used: they are damaged, '
                            f'or have values that are NaN or infinite; repair or replace them')
        asked = self.asked_ranges[0]
        if isinstance(asked, tuple):
            lo, hi = (values.percentile(percent) for percent in asked)
            if lo == hi:
                raise UserError(f'{asked[0]:g} % and {asked[1]:g} % of the values of domain {self.name} are both '
                                f'{lo:g}; give the range of its values with --range_{self.name} LO,HI')
            found = Range(lo, hi)
        else:
            found = ranges.usual(dtype, values.lo, values.hi)
        self.report_range(values, found, len(headers))
        return found

    def report_range(self, values: Values, found: Range, count: int):
        """Say what was found, in training before it starts; a type that is hardly used is a note of its own."""
        low, high = values.percentile(1), values.percentile(99)
        say(f'--range_{self.name} {found}: found in {count} images of type {values.dtype}, whose values are from '
            f'{values.lo:g} to {values.hi:g} (middle 98 %: {low:g} to {high:g}; --range_{self.name} 1%,99% uses those)')
        if np.dtype(values.dtype).kind in 'iu':
            full = ranges.of_type(values.dtype)
            share = (values.hi - values.lo) / (full.hi - full.lo)
            if share < ranges.LITTLE:
                note(f'these values use {share:.2%} of the type {values.dtype} ({full.lo:g} to {full.hi:g}); '
                     f'--range_{self.name} {full} would use the whole type')
        outside = found.outside(np.concatenate(values.sample))
        if values.lo < found.lo or values.hi > found.hi:
            note(f'about {outside / sum(map(len, values.sample)):.2%} of the values of domain {self.name} are outside '
                 f'{found} and are clipped')

    def find_labels(self, headers: dict, pixels_of) -> labels.Palette:
        try:
            palette = labels.found_in(pixels_of(path) for path in headers)
        except ValueError as error:
            raise UserError(f'--labels_{self.name} auto: {error}; give the classes in a file, --labels_{self.name} '
                            f'palette.txt, or drop the option')
        say(f'--labels_{self.name}: {len(palette.stored)} classes found in {len(headers)} images')
        return palette


def colors_of_unit(unit: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3) in [-1, 1] as uint8 (H, W, 3)."""
    levels = np.rint((np.clip(unit, -1, 1) + 1) * 127.5).astype(np.uint8)
    return levels if levels.shape[2] == 3 else np.repeat(levels[..., :1], 3, 2)


def fit_channels(unit: np.ndarray, channels: int, colors: str, name: str) -> np.ndarray:
    """An image (H, W, C) in [-1, 1] with as many channels as the networks have; a ValueError if it cannot."""
    count = unit.shape[2]
    if count == channels:
        return unit
    if colors in (GRAY_ALPHA, RGBA) and channels <= 3:      # transparency is shown on white
        alpha = (unit[..., -1:] + 1) / 2
        return fit_channels(unit[..., :-1] * alpha + (1 - alpha), channels, '', name)
    if count == 1 and channels == 3:
        return np.repeat(unit, 3, 2)
    if count == 3 and channels == 1 and colors != BANDS:
        return unit @ GRAY_WEIGHTS[:, None]
    if count > channels and colors == BANDS:
        return unit[..., :channels]
    raise ValueError(f'it has {count} channels, but the networks have {channels} for domain {name}; choose channels '
                     f'with --bands, or set --input_nc or --output_nc')
