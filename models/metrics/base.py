"""What a metric is: facts that are known without torch, and the interface of all metrics."""
import math
from collections.abc import Sequence
from typing import NamedTuple


class Spec(NamedTuple):
    """The facts of a metric, as a row of the table `METRICS`.

    `kind` is what it compares: 'pairs' (each fake with its target), 'sets' (all fakes with all real images, which need
    not correspond), or 'styles' (several results of one input with each other).
    """
    name: str
    place: str                  # file of this room and class in it
    better: str                 # 'lower' or 'higher'
    kind: str
    says: str                   # the protocol and its source, in one sentence
    unit: str = ''
    format: str = '.4f'
    networks: tuple = ()        # names in `weights.NETWORKS`
    libraries: tuple = ()       # modules that requirements.txt does not have
    needs: tuple = ()           # settings of `create` without which it cannot be computed
    settings: dict = {}         # further arguments of the class
    truth: str = 'target'       # of pairs: what `reals` are, 'target' or 'input'


class Metric:
    """One number for many images: `update` with batches, then `compute`.

    Images are tensors (N, C, H, W), uint8 or floats in 0..255 (levels), on any device. What is computed is stored on
    the CPU, in the order of the updates. No global random state is used.

    Attributes:
        name, better, kind, unit, format: see `Spec`; format is for the value, as in f'{value:{metric.format}}'.
    """

    def __init__(self, spec: Spec, networks):
        self.spec = spec
        self.networks = networks
        self.reset()

    name = property(lambda self: self.spec.name)
    better = property(lambda self: self.spec.better)
    kind = property(lambda self: self.spec.kind)
    unit = property(lambda self: self.spec.unit)
    format = property(lambda self: self.spec.format)

    @property
    def protocol(self) -> str:
        """Source and definition, the SHA-256 of the weights, and n: what must be printed with the number."""
        hashes = [f'{name} weights sha256 {self.networks.sha256(name)}' for name in self.spec.networks]
        return '; '.join([self.spec.says, *hashes, self.counted()])

    def counted(self) -> str:
        """The n of the protocol, as text."""
        return f'n = {self.n}'

    @property
    def n(self) -> int:
        """How many fakes were measured."""
        raise NotImplementedError

    def reset(self):
        """Forget all images."""
        raise NotImplementedError

    def update(self, fakes, reals=None):
        """Add a batch.

        'pairs': `reals[i]` is the target of `fakes[i]`. 'sets': the numbers may differ, and each may be None.
        'styles': `fakes` are the results of one input; `reals` is not used.
        """
        raise NotImplementedError

    def per_image(self) -> list[float] | None:
        """A value for each fake ('styles': for each input) in the order of the updates, NaN where it is not defined;
        None for metrics of sets."""
        return None

    def compute(self) -> dict[str, float]:
        """{name: value, name_se: its standard error, and further values `name_...`}; {} before the first image."""
        raise NotImplementedError


class PerImage(Metric):
    """A metric with a value for each image: subclasses define `scores`. Its value is the mean of the finite ones."""

    def reset(self):
        self.values = []

    @property
    def n(self):
        return sum(map(math.isfinite, self.values))

    def scores(self, fakes, reals) -> Sequence[float]:
        """The values of float images (N, C, H, W) in 0..255."""
        raise NotImplementedError

    def update(self, fakes, reals=None):
        if reals is None or fakes.shape != reals.shape:
            shape = None if reals is None else tuple(reals.shape)
            raise ValueError(f'{self.name} compares pairs of one size, not {tuple(fakes.shape)} with {shape}')
        self.values += map(float, self.scores(levels(fakes), levels(reals)))

    def per_image(self):
        return list(self.values)

    def compute(self):
        return summary(self.name, [value for value in self.values if math.isfinite(value)])


def summary(name: str, values: list[float]) -> dict[str, float]:
    """Mean and standard error of independent values."""
    if not values:
        return {}
    mean = math.fsum(values) / len(values)
    found = {name: mean}
    if len(values) > 1:
        variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
        found[f'{name}_se'] = math.sqrt(variance / len(values))
    return found


def levels(images):
    """Float images in 0..255."""
    return images.detach() if images.is_floating_point() else images.float()
