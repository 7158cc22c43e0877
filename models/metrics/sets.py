"""Distances of two sets of images by the features of a network: Frechet distance (FID) and kernel distance (KID).

The formulas are functions of feature matrices (n, d), in float64.
"""
import numpy as np

from .base import Metric

SUBSETS = 100           # of KID above SUBSET_SIZE images,
SUBSET_SIZE = 1000      # as in torch-fidelity and clean-fid
ROWS = 1024             # of a kernel matrix that are computed at once


class OfSets(Metric):
    """A distance of features: `update` takes fakes, real images, or both; `compute` needs 2 of each."""

    def __init__(self, spec, networks, network: str, resize: str):
        super().__init__(spec, networks)
        self.features = networks.features(network, resize)

    def reset(self, fakes_only: bool = False):
        """Forget all images; `fakes_only` keeps the features of the real images, which do not change."""
        self.fakes = []
        if not fakes_only:
            self.reals = []

    def update(self, fakes=None, reals=None):
        for images, store in ((fakes, self.fakes), (reals, self.reals)):
            if images is not None and len(images):
                store.append(self.features(images))

    @property
    def n(self):
        return sum(map(len, self.fakes))

    @property
    def n_reals(self):
        return sum(map(len, self.reals))

    def counted(self):
        return f'n = {self.n} fakes, {self.n_reals} real images'

    def distance(self, fakes: np.ndarray, reals: np.ndarray) -> dict[str, float]:
        raise NotImplementedError

    def compute(self):
        if min(self.n, self.n_reals) < 2:
            return {}
        return self.distance(*(np.concatenate(store).astype(np.float64) for store in (self.fakes, self.reals)))


class Frechet(OfSets):
    """Frechet distance. It has no standard error: below some thousand images it is biased upwards, so print n."""

    def distance(self, fakes, reals):
        return {self.name: frechet_distance(fakes, reals)}


class Kernel(OfSets):
    """Kernel distance, unbiased, with its standard error (jackknife over the images of both sets)."""

    def distance(self, fakes, reals):
        return {self.name: kernel_distance(fakes, reals), f'{self.name}_se': kernel_error(fakes, reals)}


# ---- formulas

def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """|mu_x - mu_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)), with covariances divided by n - 1.

    The trace of the root is the sum of the roots of the eigenvalues of C_x C_y. With X'X = C_x and Y'Y = C_y these are
    the singular values of X Y': exact also for fewer images than dimensions, and without a root of a matrix.
    """
    centered = [(z - z.mean(0)) / np.sqrt(len(z) - 1) for z in (x, y)]
    x_root, y_root = (reduced(z) for z in centered)
    root_trace = np.linalg.svd(x_root @ y_root.T, compute_uv=False).sum()
    traces = sum(np.square(z).sum() for z in centered)
    return max(0.0, float(np.square(x.mean(0) - y.mean(0)).sum() + traces - 2 * root_trace))    # -1e-15 is rounding


def reduced(z: np.ndarray) -> np.ndarray:
    """A matrix with the same z'z and at most as many rows as columns."""
    return z if len(z) <= z.shape[1] else np.linalg.qr(z, mode='r')


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The cubic kernel of Binkowski 2018, (n, m)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def row_sums(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the kernel matrix of x and y over its columns (n,) and its rows (m,), without storing it."""
    rows, columns = np.zeros(len(x)), np.zeros(len(y))
    for start in range(0, len(x), ROWS):
        block = kernel(x[start:start + ROWS], y)
        rows[start:start + ROWS] = block.sum(1)
        columns += block.sum(0)
    return rows, columns


def mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate of MMD^2 (Gretton 2012, eq. 3); it can be negative."""
    return float(from_sums(*sums_of(x, y), len(x), len(y)))


def sums_of(x, y):
    """Row sums of k(x, x) and k(y, y) without their diagonals, and those of k(x, y) in both directions."""
    diagonals = [(np.square(z).sum(1) / z.shape[1] + 1) ** 3 for z in (x, y)]
    within_x, within_y = (row_sums(z, z)[0] - diagonal for z, diagonal in zip((x, y), diagonals, strict=True))
    return within_x, within_y, *row_sums(x, y)


def from_sums(within_x, within_y, across_x, _, n, m):
    return within_x.sum() / (n * (n - 1)) + within_y.sum() / (m * (m - 1)) - 2 * across_x.sum() / (n * m)


def kernel_distance(x: np.ndarray, y: np.ndarray, seed: int = 0) -> float:
    """KID: `mmd` of all images, or above `SUBSET_SIZE` images the mean over random subsets of this size."""
    size = min(len(x), len(y), SUBSET_SIZE)
    if max(len(x), len(y)) <= SUBSET_SIZE:
        return mmd(x, y)
    random = np.random.default_rng(seed)
    return float(np.mean([mmd(x[random.permutation(len(x))[:size]], y[random.permutation(len(y))[:size]])
                          for _ in range(SUBSETS)]))


def kernel_error(x: np.ndarray, y: np.ndarray) -> float:
    """Standard error of `mmd` by the jackknife: the spread of the estimates without one image, for both sets.

    sqrt(sum over the sets of (n - 1) / n * sum_i (estimate without i - their mean)^2) (Efron and Stein 1981). NaN for
    fewer than 3 images of a set.
    """
    n, m = len(x), len(y)
    if min(n, m) < 3:
        return float('nan')
    within_x, within_y, across_x, across_y = sums_of(x, y)
    inside_x, inside_y = within_x.sum(), within_y.sum()
    across = across_x.sum()
    without_x = ((inside_x - 2 * within_x) / ((n - 1) * (n - 2)) + inside_y / (m * (m - 1))
                 - 2 * (across - across_x) / ((n - 1) * m))
    without_y = (inside_x / (n * (n - 1)) + (inside_y - 2 * within_y) / ((m - 1) * (m - 2))
                 - 2 * (across - across_y) / (n * (m - 1)))
    return float(np.sqrt(sum((len(z) - 1) / len(z) * np.square(z - z.mean()).sum() for z in (without_x, without_y))))
