"""Statistics of metrics over images, and how they are written: JSON, CSV, a table on the terminal."""
import csv
import io
import json
import math
from pathlib import Path

import numpy as np

from models.metrics import Metric
from util.files import atomic_write

RESAMPLES = 1000
OLDER_NAMES = {'l1': 'L1', 'psnr': 'PSNR', 'ssim': 'SSIM'}      # in metrics.json, as in results.json


def statistics(metric: Metric, seed: int = 0) -> dict:
    """Value, standard error, spread and a 95 % interval of one metric; None for what it does not have.

    Of metrics with a value for each image, the interval is the percentile bootstrap over the images (Efron 1979, 1,000
    resamples); of others with a standard error, the value plus and minus 1.96 of these.
    """
    found = metric.compute()
    value = found.get(metric.name)
    error = found.get(f'{metric.name}_se')
    entry = dict(value=value, se=error, median=None, std=None, low=None, high=None, n=metric.n,
                 better=metric.better, unit=metric.unit, protocol=metric.protocol)
    entry.update({name: number for name, number in found.items() if name not in (metric.name, f'{metric.name}_se')})
    per_image = metric.per_image()
    finite = np.array([number for number in per_image or () if math.isfinite(number)])
    if len(finite):
        entry.update(median=float(np.median(finite)), std=float(finite.std(ddof=1)) if len(finite) > 1 else None)
        entry['low'], entry['high'] = bootstrap(finite, seed)
    elif error is not None and math.isfinite(error):
        entry['low'], entry['high'] = value - 1.96 * error, value + 1.96 * error
    return entry


def bootstrap(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean."""
    random = np.random.default_rng(seed)
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def content(measured: list[Metric], images: dict[str, dict[str, float]]) -> dict:
    """The object of metrics.json: `mean` and `images` as test.py names them, and `metrics` with everything.

    Infinite values are null, because JSON has no infinity.
    """
    metrics = {metric.name: statistics(metric) for metric in measured}
    return dict(
        mean={older(name): entry['value'] for name, entry in metrics.items()},
        images={stem: {older(name): value if math.isfinite(value) else None for name, value in values.items()
                       if not math.isnan(value)} for stem, values in images.items()},
        metrics={name: {key: None if isinstance(value, float) and not math.isfinite(value) else value
                        for key, value in entry.items()} for name, entry in metrics.items()})


def older(name: str) -> str:
    return OLDER_NAMES.get(name, name)


def write_json(path: Path, found: dict):
    with atomic_write(path) as file:
        json.dump(found, file, indent=1, allow_nan=False)


def write_csv(path: Path, images: dict[str, dict[str, float]]):
    """A row for each image; empty where a metric has no value."""
    names = list(dict.fromkeys(name for values in images.values() for name in values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['image', *names])
    for stem, values in images.items():
        writer.writerow([stem, *(cell(values.get(name, math.nan)) for name in names)])
    with atomic_write(path) as file:
        file.write(text.getvalue())


def cell(value: float | None) -> str:
    """None is infinite, as in metrics.json."""
    if value is None:
        return 'inf'
    return '' if math.isnan(value) else f'{value:.9g}'


def table(measured: list[Metric], entries: dict[str, dict]) -> str:
    """One line for each metric."""
    rows = [('metric', 'value', 'se', 'median', 'std', '95 % interval', 'n')]
    for metric in measured:
        entry = entries[metric.name]
        value, error, median, spread, low, high = (
            '-' if entry[key] is None else f'{entry[key]:{metric.format}}'
            for key in ('value', 'se', 'median', 'std', 'low', 'high'))
        arrow = 'lower' if metric.better == 'lower' else 'higher'
        unit = f' {metric.unit}' if metric.unit else ''
        rows.append((f'{metric.name}{unit} ({arrow} is better)', value, error, median, spread,
                     '-' if low == '-' else f'{low} to {high}', str(entry['n'])))
        rows += [(f'  {key.removeprefix(metric.name + "_")}', f'{number:{metric.format}}', *[''] * 5)
                 for key, number in entry.items() if key.startswith(f'{metric.name}_')]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return '\n'.join('  '.join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width)
                               in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows)
