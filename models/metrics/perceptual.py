"""Perceptual metrics: LPIPS and DISTS of pairs, and the diversity of several results of one input."""
import itertools

import numpy as np
import torch

from util.errors import UserError

from .base import Metric, PerImage, levels, summary

PAIRS = 19      # of each input, in MUNIT and BicycleGAN


def rgb(images: torch.Tensor, name: str) -> torch.Tensor:
    """Gray images as float32 RGB; other numbers of bands are a `UserError`, because the networks saw RGB only."""
    if images.shape[1] not in (1, 3):
        raise UserError(f'{name} measures gray or RGB images, and these have {images.shape[1]} bands; leave it out, or '
                        'measure the pictures in views/')
    return images.float().expand(-1, 3, -1, -1)


class Paired(PerImage):
    """A network that compares two batches; subclasses say which, and which range it needs."""

    def distances(self, fakes, reals):
        raise NotImplementedError

    @torch.inference_mode()
    def scores(self, fakes, reals):
        fakes, reals = (rgb(images, self.name).to(self.networks.device) for images in (fakes, reals))
        with torch.autocast(fakes.device.type, enabled=False):
            return self.distances(fakes, reals).tolist()


class PairedLPIPS(Paired):
    def __init__(self, spec, networks, trunk: str):
        super().__init__(spec, networks)
        self.net = networks.lpips(trunk)

    def distances(self, fakes, reals):
        return self.net(fakes / 127.5 - 1, reals / 127.5 - 1)


class PairedDISTS(Paired):
    def __init__(self, spec, networks):
        super().__init__(spec, networks)
        self.net = networks.dists()

    def distances(self, fakes, reals):
        return self.net(fakes / 255, reals / 255)


class Diversity(Metric):
    """Mean LPIPS between random pairs of the results of one input; `update` is given those of one input.

    With 20 results or more, `PAIRS` pairs are drawn (always the same for a number of results); with fewer, all pairs
    are measured if these are not more. The standard error is that over the inputs.
    """

    def __init__(self, spec, networks):
        super().__init__(spec, networks)
        self.net = networks.lpips('alexnet')

    def reset(self):
        self.values, self.pairs = [], 0

    @property
    def n(self):
        return len(self.values)

    def counted(self):
        return f'n = {self.n} inputs, {self.pairs} pairs'

    @torch.inference_mode()
    def update(self, fakes, reals=None):
        if len(fakes) < 2:
            raise ValueError(f'{self.name} compares the results of one input, and there is {len(fakes)}')
        images = rgb(levels(fakes), self.name).to(self.networks.device) / 127.5 - 1
        chosen = pairs_of(len(images))
        with torch.autocast(images.device.type, enabled=False):
            features = [self.net.features(image[None]) for image in images]
            distances = [self.net.distance(features[one], features[other]).item() for one, other in chosen]
        self.values.append(sum(distances) / len(distances))
        self.pairs += len(distances)

    def per_image(self):
        return list(self.values)

    def compute(self):
        return summary(self.name, self.values)


def pairs_of(n: int) -> list[tuple[int, int]]:
    """At most `PAIRS` pairs of n results, drawn without replacement by a generator of their own."""
    pairs = list(itertools.combinations(range(n), 2))
    if len(pairs) <= PAIRS:
        return pairs
    return [pairs[index] for index in sorted(np.random.default_rng(n).permutation(len(pairs))[:PAIRS])]
