"""Measuring the results of one direction with all metrics, each image read once."""
from collections import defaultdict
from pathlib import Path

import torch
from tqdm import tqdm

from data.checking.headers import read_header
from models import metrics
from models.metrics import METRICS, Metric
from util.console import note
from util.errors import UserError

from .images import Item, Task, read_levels

BATCH = 16              # images of one size that go through a network at once
DEFAULT_PAIRED = ('l1', 'psnr', 'ssim')


def default_names(task: Task, weights=None) -> list[str]:
    """L1, PSNR and SSIM of pairs; without targets KID, by the network whose weights are here."""
    if task.has_targets:
        return list(DEFAULT_PAIRED)
    if any(item.target for item in task.items):
        note(f'without {", ".join(DEFAULT_PAIRED)}: {task.why_unpaired or "not all results have a target"}')
    names = [name for name in ('kid', 'kid_effnet') if metrics.is_available(name, weights)][:1]
    return names or ['kid_effnet']


def problems_of(names: list[str], task: Task, source: str) -> list[str]:
    """Why metrics cannot be computed of these images, by their number, names and sizes; no network is needed."""
    needed = {name: METRICS[name] for name in names if name in METRICS}
    paired = [name for name, spec in needed.items() if spec.kind == 'pairs' and spec.truth == 'target']
    from_input = [name for name, spec in needed.items() if spec.truth == 'input']
    styles = [name for name, spec in needed.items() if spec.kind == 'styles']
    sets = [name for name, spec in needed.items() if spec.kind == 'sets']
    problems = []
    if paired and not task.has_targets:
        why = task.why_unpaired or 'its results list no real_B'
        problems.append(f'{", ".join(paired)}: {source} has no targets: {why}')
    if from_input and not all(item.source for item in task.items):
        problems.append(f'{", ".join(from_input)}: {source} does not list the inputs (real_A)')
    if styles and not task.has_styles:
        problems.append(f'{", ".join(styles)}: {source} has one result of each input; test with --num_styles 20')
    if sets and not task.reals:
        problems.append(f'{", ".join(sets)}: {source} has no real images of the target domain; add --real DIR')
    features = [name for name in sets if needed[name].networks]
    n_fakes = sum(len(item.fakes) for item in task.items)
    if features and task.reals and min(n_fakes, len(task.reals)) < 2:
        problems.append(f'{", ".join(features)}: {source} has {n_fakes} results and {len(task.reals)} real images, but '
                        f'2 of each are needed, and hundreds for numbers that mean something')
    compared = [*([(item, item.target) for item in task.items if item.target] if paired else []),
                *([(item, item.source) for item in task.items if item.source] if from_input else [])]
    return problems + different_sizes(compared)


def different_sizes(compared: list[tuple[Item, Path]]) -> list[str]:
    """A sentence if results have another size than the images they are compared with, by their headers."""
    found = []
    for item, other in compared:
        for fake in item.fakes.values():
            headers = read_header(str(fake)), read_header(str(other))
            sizes = [f'{header.width}x{header.height}' for header in headers]
            if sizes[0] != sizes[1] and not any(header.problem for header in headers):
                found.append(f'{fake.absolute()} is {sizes[0]}, but {other.absolute()} is {sizes[1]}')
    if not found:
        return []
    others = f' ({len(found) - 1} other pairs differ, too)' if len(found) > 1 else ''
    return [f'{found[0]}{others}; bring both to one size, or use metrics of sets (kid, fid, ...)']


class Batches:
    """Collects images of one size and hands them to metrics in batches; keeps the names of what was measured."""

    def __init__(self, measured: list[Metric]):
        self.metrics = measured
        self.waiting, self.names = [], []

    def add(self, name: str, fake, real):
        if self.waiting and self.waiting[0][0].shape != fake.shape:
            self.flush()
        if real is not None and fake.shape != real.shape:
            sizes = ['x'.join(map(str, reversed(image.shape[2:]))) for image in (fake, real)]
            raise UserError(f'{name} is {sizes[0]}, but its target is {sizes[1]}; bring both to one size, or use '
                            'metrics of sets (kid, fid, ...)')
        self.names.append(name)
        self.waiting.append((fake, real))
        if len(self.waiting) >= BATCH:
            self.flush()

    def flush(self):
        if not self.waiting:
            return
        fakes = torch.cat([fake for fake, _ in self.waiting])
        reals = torch.cat([real for _, real in self.waiting]) if self.waiting[0][1] is not None else None
        for metric in self.metrics:
            metric.update(fakes, reals)
        self.waiting = []


def measure(task: Task, measured: list[Metric]) -> dict[str, dict[str, float]]:
    """Update the metrics with all images; returns {name of a result: {metric: value}} where these have values."""
    by_kind = defaultdict(list)
    for metric in measured:
        by_kind[(metric.kind, metric.spec.truth)].append(metric)
    pairs, from_input, fakes, reals = (Batches(by_kind[key]) for key in (
        ('pairs', 'target'), ('pairs', 'input'), ('sets', 'target'), ('sets', 'target')))
    styled = []
    for item in tqdm(task.items, unit='img', disable=None):
        shown = {name: read_levels(path, task.fake_domain) for name, path in item.fakes.items()}
        target = read_levels(item.target, task.real_domain) if pairs.metrics else None
        source = read_levels(item.source) if from_input.metrics else None
        for visual, image in shown.items():
            name = item.stem if len(shown) == 1 else f'{item.stem}_{visual}'
            for batches, real in ((pairs, target), (from_input, source), (fakes, None)):
                if batches.metrics:
                    batches.add(name, image, real)
        if by_kind[('styles', 'target')] and len(shown) > 1:
            styled.append(item.stem)
            for metric in by_kind[('styles', 'target')]:
                metric.update(torch.cat(list(shown.values())))
    if fakes.metrics:
        add_reals(task, fakes)
    for batches in (pairs, from_input, fakes):
        batches.flush()
    return values_of(measured, {'pairs': pairs.names or from_input.names, 'styles': styled})


def add_reals(task: Task, fakes: Batches):
    """Give the metrics of sets the real images, in batches of one size."""
    fakes.flush()
    waiting = []
    for path in [*tqdm(task.reals, unit='real', disable=None), None]:
        image = read_levels(path, task.real_domain) if path else None
        if waiting and (image is None or len(waiting) >= BATCH or image.shape != waiting[0].shape):
            for metric in fakes.metrics:
                metric.update(None, torch.cat(waiting))
            waiting = []
        waiting += [image] if path else []


def values_of(measured: list[Metric], names: dict[str, list[str]]) -> dict[str, dict[str, float]]:
    found = defaultdict(dict)
    for metric in measured:
        for name, value in zip(names.get(metric.kind, ()), metric.per_image() or (), strict=False):
            found[name][metric.name] = value
    return dict(found)
