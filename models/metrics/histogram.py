"""Distributions of colors in Lab, compared with those of the real images (Isola 2017, section 4.2 and figure 7)."""
import numpy as np

from .base import Metric
from .segmentation import as_levels

BINS = 100
RANGES = {'L': (0.0, 100.0), 'a': (-110.0, 110.0), 'b': (-110.0, 110.0)}


class Histogram(Metric):
    """Mean over L, a and b of the intersection of two distributions, sum of min(p, q): 1 if they are equal.

    Pixels of all fakes are one distribution, those of all real images the other: images need not correspond.
    """

    def reset(self, fakes_only: bool = False):
        self.fakes = np.zeros((3, BINS))
        self.n_fakes = 0
        if not fakes_only:
            self.reals = np.zeros((3, BINS))
            self.n_reals = 0

    @property
    def n(self):
        return self.n_fakes

    def counted(self):
        return f'n = {self.n} fakes, {self.n_reals} real images, {BINS} bins'

    def update(self, fakes=None, reals=None):
        if fakes is not None:
            self.fakes += counts_of(fakes)
            self.n_fakes += len(fakes)
        if reals is not None:
            self.reals += counts_of(reals)
            self.n_reals += len(reals)

    def distributions(self) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """{channel: (middles of the bins, probabilities of the fakes, of the real images)}, for a plot."""
        found = {}
        for number, (channel, (low, high)) in enumerate(RANGES.items()):
            edges = np.linspace(low, high, BINS + 1)
            found[channel] = ((edges[1:] + edges[:-1]) / 2, self.fakes[number] / self.fakes[number].sum(),
                              self.reals[number] / self.reals[number].sum())
        return found

    def compute(self):
        if not (self.n_fakes and self.n_reals):
            return {}
        shared = {channel: float(np.minimum(p, q).sum()) for channel, (_, p, q) in self.distributions().items()}
        return {self.name: sum(shared.values()) / 3,
                **{f'{self.name}_{channel}': value for channel, value in shared.items()}}


def counts_of(images) -> np.ndarray:
    """(3, BINS) pixels of a batch in each bin of L, a and b."""
    from skimage.color import rgb2lab
    counts = np.zeros((3, BINS))
    for image in as_levels(images):
        lab = rgb2lab(image).reshape(-1, 3)
        for number, limits in enumerate(RANGES.values()):
            counts[number] += np.histogram(lab[:, number].clip(*limits), BINS, limits)[0]
    return counts
