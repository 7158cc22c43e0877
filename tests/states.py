"""The results of a training run in a comparable form: tensors as hashes, logs without times."""
import hashlib
import json
import re
from pathlib import Path

import torch

from util.checkpoint import layout
from util.checkpoint.manifest import read_manifest

TIMES = ('time', 'data', 'images_per_s', 'data_wait', 'seconds')


def flat(tree, place: str = '') -> dict:
    """Nested content as {'a/b/0': value}; tensors become type, shape and a hash of all bytes."""
    if isinstance(tree, torch.Tensor):
        digest = hashlib.sha256(tree.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
        return {place: (str(tree.dtype), tuple(tree.shape), digest)}
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, (list, tuple)) else None
    if pairs is None:
        return {place: tree}
    found = {place: len(tree)}
    for key, value in pairs:
        found.update(flat(value, f'{place}/{key}'))
    return found


def checkpoint_state(folder, label: str = 'latest') -> dict:
    """The content of a checkpoint without the options and the lengths of the logs, which contain times."""
    found = {}
    for path in layout.existing_files(folder, label):
        content = torch.load(path, weights_only=True)
        if path == layout.state_path(folder, label):
            content = {key: value for key, value in content.items() if key not in ('options', 'logs')}
        found.update(flat(content, path.name.removeprefix(f'{label}_')))
    return found


def log_lines(folder) -> list:
    """The lines of both logs, without times."""
    lines = (Path(folder) / 'loss_log.txt').read_text(encoding='utf-8').splitlines()
    lines = [re.sub(r'time: [\d.]+, data: [\d.]+', '', line) for line in lines if not line.startswith('====')]
    records = [json.loads(line) for line in (Path(folder) / 'losses.jsonl').read_text(encoding='utf-8').splitlines()]
    return lines + [{name: value for name, value in record.items() if name not in TIMES} for record in records]


def pages(folder) -> list[str]:
    """The names of all files of the pages."""
    folder = Path(folder)
    return sorted(path.relative_to(folder).as_posix() for path in (folder / 'web').rglob('*') if path.is_file())


def everything(folder) -> dict:
    """Everything in a finished run that must not depend on interruptions."""
    labels = {label: checkpoint_state(folder, label) for label in layout.labels(folder)}
    return dict(labels=labels, log=log_lines(folder), pages=pages(folder))


def differences(first: dict, second: dict, place: str = '') -> list[str]:
    """Where two results of the functions above differ; at most ten places."""
    if isinstance(first, dict) and isinstance(second, dict):
        found = [f'{place}/{key} only in one' for key in first.keys() ^ second.keys()]
        for key in first.keys() & second.keys():
            found += differences(first[key], second[key], f'{place}/{key}')
        return sorted(found)[:10]
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [f'{place}/{index}: {a} != {b}' for index, (a, b) in pairs if a != b][:10]
    return [] if first == second else [f'{place}: {first} != {second}']


def leftovers(folder) -> list[str]:
    """Files that an interrupted write left behind."""
    return sorted(path.name for path in Path(folder).rglob('.*'))


def position(folder, label: str) -> tuple:
    """When a checkpoint was saved: (epoch, images seen)."""
    progress = read_manifest(folder, label).progress
    return progress['epoch'], progress['total_iters']
