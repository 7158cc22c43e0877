"""Which stored values are -1 and 1 for the networks: a range of values, given or found in the images of a dataset."""
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

OVERSHOOT = 0.05            # of its size: so far, values outside a usual range are still taken for noise
USUAL = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))     # ranges of floats
LITTLE = 0.5                # a range that uses less of its type is reported
SAMPLE = 4096               # values of each image, for percentiles


@dataclass(frozen=True)
class Range:
    """`lo` is -1 for the networks and `hi` is 1; values outside are clipped."""

    lo: float
    hi: float

    def __str__(self):
        return f'{self.lo:.9g},{self.hi:.9g}'

    @property
    def is_levels(self) -> bool:
        return (self.lo, self.hi) == (0, 255)

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Stored values of any type as float32 in [-1, 1]. Levels 0..255 give the numbers of 8-bit images."""
        if values.dtype == np.uint8 and self.is_levels:
            return (values.astype(np.float32) / 255 - np.float32(0.5)) / np.float32(0.5)     # as `util.images.table`
        if values.dtype.kind in 'iu' and values.dtype.itemsize == 2:
            return table_of(self, values.dtype.name)[values.view(np.uint16)]
        return self.scaled(values)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        unit = (values.astype(np.float64) - self.lo) * (2 / (self.hi - self.lo)) - 1
        return np.clip(unit, -1, 1).astype(np.float32)


    def to_stored(self, unit: np.ndarray, dtype: str) -> np.ndarray:
        """Numbers in [-1, 1] as values of the type `dtype`; integers are rounded to the nearest."""
        if dtype == 'uint8' and self.is_levels:     # the same levels as `util.images.tensor_to_image`
            return np.rint((np.clip(unit, -1, 1).astype(np.float32) + 1) * np.float32(127.5)).astype(np.uint8)
        values = (np.clip(unit.astype(np.float64), -1, 1) + 1) * ((self.hi - self.lo) / 2) + self.lo
        if dtype == 'bool':
            return values > (self.lo + self.hi) / 2
        if np.dtype(dtype).kind in 'iu':
            limits = np.iinfo(dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return values.astype(dtype)

    def outside(self, values: np.ndarray) -> int:
        """How many values are clipped."""
        return int(np.count_nonzero((values < self.lo) | (values > self.hi)))


@lru_cache(8)       # of 256 kB each; looking up is faster than computing
def table_of(value_range: Range, dtype: str) -> np.ndarray:
    """The number of each of the 65536 values of a 16-bit integer type, in the order of their bits."""
    return value_range.scaled(np.arange(65536, dtype=np.uint16).view(dtype))


def parse(text: str) -> Range | tuple[float, float] | None:
    """A checked --range_A: '0,1400' -> Range; '1%,99%' -> (1.0, 99.0), percentiles to look up; 'auto' -> None."""
    if text == 'auto':
        return None
    lo, hi = (float(part.removesuffix('%')) for part in text.split(','))
    return (lo, hi) if '%' in text else Range(lo, hi)


def of_type(dtype: str) -> Range:
    """The full range of a type: 0..65535 for uint16; 0..1 for floats and bool."""
    kind = np.dtype(dtype)
    if kind.kind in 'iu':
        limits = np.iinfo(kind)
        return Range(float(limits.min), float(limits.max))
    return Range(0.0, 1.0)


def usual(dtype: str, lo: float, hi: float) -> Range:
    """The range of a dataset whose values are in [lo, hi]: 0..255 for 8 bits; of floats, a usual one if it fits."""
    if dtype in ('bool', 'uint8'):
        return of_type(dtype)
    if np.dtype(dtype).kind == 'f':
        for low, high in USUAL:
            size = high - low
            if low - OVERSHOOT * size <= lo and abs(hi - high) <= OVERSHOOT * size and (low == 0 or lo < -OVERSHOOT):
                return Range(low, high)
    return Range(lo, hi if hi > lo else lo + 1)


@dataclass
class Values:
    """What values the images of a dataset have: the extremes, and a sample of them."""

    dtype: str
    lo: float = np.inf
    hi: float = -np.inf
    sample: list = field(default_factory=list)

    def add(self, values: np.ndarray):
        """Add an image; one that cannot be used, as a value is NaN or infinite, does not count."""
        if values.dtype.kind == 'f' and not np.isfinite(values).all():
            return
        self.lo = min(self.lo, float(values.min()))
        self.hi = max(self.hi, float(values.max()))
        flat = values.reshape(-1)
        self.sample.append(flat[::max(1, len(flat) // SAMPLE)].copy())      # a view would keep the whole image

    def percentile(self, percent: float) -> float:
        return float(np.percentile(np.concatenate(self.sample).astype(np.float64), percent))


def check_finite(values: np.ndarray):
    if values.dtype.kind == 'f':
        bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            raise ValueError(f'{bad} of {values.size} values are NaN or infinite')
