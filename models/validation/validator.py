"""Metrics of the validation images, translated by the networks as they are now, in the way of test.py."""
from typing import NamedTuple

import torch

from util.console import warn
from util.errors import UserError

from .images import Compared, compared, levels

CACHE_BYTES = 2**28     # of prepared images that are kept between validations; the others are read again


class Item(NamedTuple):
    """A sample of the dataset, and which of its images are used: A is translated, B is a real image."""

    index: int
    use_A: bool = True
    use_B: bool = True


def plan_of(n_A: int, n_B: int, limit: int) -> list[Item]:
    """At most `limit` images of each domain, evenly spread; sample i has the images i % n_A of A and i % n_B of B."""
    used_A, used_B = (set(spread(n, limit)) for n in (n_A, n_B))
    return [Item(index, index in used_A, index in used_B) for index in sorted(used_A | used_B)]


def spread(n: int, limit: int) -> list[int]:
    """At most `limit` of the numbers below n, evenly spread."""
    count = min(n, limit)
    return [index * n // count for index in range(count)]


class Validator:
    """Computes metrics of a model in training, without a trace in the training.

    All processes translate, each its share of the images; the metrics are computed in the main one. Images that cannot
    be read or translated are left out, which is said once.

    Args:
        trainer: with the model, and the moving averages of its weights, which are used if there are any.
        opt: the options of test.py for this run.
        dataset: of the validation images; `dataset.batch(index)` has 'failed' if an image cannot be read.
        plan: which of them are used, see `plan_of`.
        metrics: those of models/metrics.
    """

    def __init__(self, trainer, opt, dataset, plan: list, metrics: list):
        self.trainer = trainer
        self.model = trainer.model
        self.group = self.model.runtime.group
        self.opt = opt
        self.dataset = dataset
        self.domains = dataset.image_domains
        self.plan = plan
        self.metrics = metrics
        self.paired = dataset.has_targets and any(metric.kind == 'pairs' for metric in metrics)
        self.has_reals = False  # do the metrics of sets know the real images already?
        self.kept = {}          # {index: batch}
        self.kept_bytes = 0
        self.failures = {}      # messages that were printed

    @property
    def size(self) -> int:
        """How many images are translated."""
        return sum(item.use_A for item in self.plan)

    def run(self, may_continue, tick=lambda: None) -> dict[str, float] | None:
        """{name: value} for the networks as they are now; None if it was interrupted.

        All processes call it. After each image they call `may_continue()`, and `tick()`, which shows that the run is
        alive.
        """
        plan = self.begin()
        with self.model.tested(self.opt, self.trainer.averages.nets) as model:
            for start in range(0, len(plan), self.group.size):
                own = plan[start + self.group.rank:][:1]
                for image in self.gathered(self.image(model, *own[0]) if own else ''):
                    self.update(image)
                tick()
                if not may_continue():
                    return None
        self.has_reals = True
        return self.group.first(self.compute)

    def begin(self) -> list:
        """Reset the metrics; returns what they need to see. The real images are the same each time."""
        for metric in self.metrics:
            if metric.kind == 'sets':
                metric.reset(fakes_only=self.has_reals)
            else:
                metric.reset()
        return [item for item in self.plan if item.use_A] if self.has_reals else self.plan

    # ---- images

    def image(self, model, index: int, use_A: bool, use_B: bool) -> Compared | str:
        """What the metrics compare of a validation image, or why there is nothing."""
        try:
            batch = self.batch(index)
            if not batch['A_paths']:
                return '; '.join(batch['failed'])
            if not use_A:
                return Compared([], [levels(batch['B'], self.domains.get('B'))], [])
            found = compared(model.translate(batch), batch, model.target, self.domains, self.paired)
        except UserError as error:      # of a size that the networks cannot process, or that memory cannot hold
            return str(error)
        return Compared(found.fakes, found.real if use_B and not self.has_reals else [], found.pair)

    def batch(self, index: int) -> dict:
        """The batch of an image, from memory if there is room."""
        if index in self.kept:
            return self.kept[index]
        batch = self.dataset.batch(index)
        size = sum(value.nbytes for value in batch.values() if torch.is_tensor(value))
        if self.kept_bytes + size <= CACHE_BYTES:
            self.kept[index] = batch
            self.kept_bytes += size
        return batch

    def gathered(self, image: Compared | str) -> list[Compared | str]:
        """In the main process, the images of all processes, in the order of the plan."""
        if self.group.size == 1:
            return [image]
        failures = self.group.texts(image if isinstance(image, str) else '')
        own = ([], [], []) if isinstance(image, str) else (image.fakes, image.real, image.pair)
        counts = self.group.numbers(*map(len, own))
        most = [max(column) for column in zip(*counts, strict=True)]
        parts = [[self.group.gather(part[place] if place < len(part) else torch.empty(0, 0, 0, 0, dtype=torch.uint8))
                  for place in range(count)] for part, count in zip(own, most, strict=True)]
        if not self.group.is_main:
            return []
        return [failure or Compared(*([tensors[rank] for tensors in part][:count]
                                      for part, count in zip(parts, counts[rank], strict=True)))
                for rank, failure in enumerate(failures)]

    # ---- metrics

    def update(self, image: Compared | str):
        """Show an image to the metrics, each of which takes its kind."""
        if isinstance(image, str):
            self.report(image)
            return
        try:
            for metric in self.metrics:
                if metric.kind == 'pairs' and image.pair:
                    metric.update(*image.pair)
                elif metric.kind == 'sets':
                    metric.update(*(part[0] if part else None for part in (image.fakes, image.real)))
                elif metric.kind == 'styles' and image.fakes:
                    metric.update(torch.cat(image.fakes))
        except ValueError as error:     # of channels that the metric cannot compare
            self.report(str(error))

    def report(self, failure: str):
        """Say once why an image is left out."""
        if failure and failure not in self.failures:
            self.failures[failure] = True
            warn(f'the metrics leave out a validation image: {failure}')

    def compute(self) -> dict[str, float]:
        """The values by name, and what else the metrics report, such as standard errors."""
        return {name: float(value) for metric in self.metrics for name, value in metric.compute().items()}
