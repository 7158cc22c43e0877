"""Checkpoints: `<label>_net_<name>.pth` of bare weights per network, `<label>_state.pth` and `<label>_training.pth`.

The weight files have the names, keys and tensors of the reference, so either side can load the other's. The
state file makes them self-describing: the options that rebuild the networks and the progress of the run. The
training file has what only training needs to go on; the newest checkpoints keep it. Everything is read with
`weights_only=True`: a checkpoint cannot run code.
"""
import re
import warnings
from collections import OrderedDict
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path

import torch
from torch import nn

from util.console import warn
from util.errors import NonFiniteError, UserError

from . import layout, transaction

STATE_FORMAT = 1
STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


def save(folder, label: str, networks: dict[str, dict], state: dict, training: dict | None = None, also=()) -> int:
    """Write a checkpoint, whole or not at all: weights of each network, the state, and what only training needs.

    It gets the labels `also` too, at the same moment.

    Everything is CPU tensors and plain types. Returns the size in bytes; an `OSError` if the disk fails.
    """
    contents = {layout.network_path(folder, label, name): weights for name, weights in networks.items()}
    contents[layout.state_path(folder, label)] = {'format': STATE_FORMAT, **state}
    if training is not None:
        contents[layout.training_path(folder, label)] = training
    files = {path.name: partial(torch.save, content) for path, content in contents.items()}
    return transaction.write_set(folder, label, files, state.get('progress', {}), also)


def cpu_copy(tree, into=None):
    """The same dicts and lists with copies of their tensors on the CPU: what changes later is not saved.

    `into` is an earlier copy that nobody needs any more: its tensors are written over where they fit, since fresh
    memory costs several times the copying.
    """
    if isinstance(tree, torch.Tensor):
        if isinstance(into, torch.Tensor) and (into.shape, into.dtype) == (tree.shape, tree.dtype):
            return into.copy_(tree.detach())
        return tree.detach().to('cpu', copy=True)
    if isinstance(tree, dict):
        before = into if isinstance(into, dict) else {}
        copied = type(tree)((key, cpu_copy(value, before.get(key))) for key, value in tree.items())
        if hasattr(tree, '_metadata'):      # of a state_dict: the versions of its modules
            copied._metadata = tree._metadata
        return copied
    if isinstance(tree, (list, tuple)):
        before = into if isinstance(into, (list, tuple)) else ()
        return type(tree)(cpu_copy(value, old) for value, old in zip_longest(tree, before[:len(tree)]))
    return tree


def load_state(folder, label: str) -> dict | None:
    """The state file of a label, or None if there is none (bare weights of the reference)."""
    path = layout.state_path(folder, label)
    if not path.exists():
        return None
    state = read(path)
    if not isinstance(state, dict) or 'options' not in state:
        raise UserError(f'{path} is not a state file of this program; remove it to use the weights beside it '
                        f'with the options given on the command line')
    if state.get('format') != STATE_FORMAT:
        raise UserError(f'{path} has state format {state.get("format")}, this program reads {STATE_FORMAT}; '
                        f'use the version of the program that wrote it')
    return state


def load_training(folder, label: str, state: dict) -> dict | None:
    """What only training needs, or None where only weights and counters were kept; a `UserError` if it was lost."""
    path = layout.training_path(folder, label)
    kept = path in transaction.entries_of(folder, label)
    return read(path) if kept else state.get('training')    # within the state: files of version 0.1


def read(path: Path, cure: str = 'use another checkpoint (--epoch) or copy the file again'):
    """The content of a checkpoint file on the CPU; a `UserError` in one sentence, with the cure, if it is none."""
    path = Path(path).absolute()
    if not path.exists():
        raise UserError(f'no checkpoint file {path}; {cure}')
    problem = problem_of(path)
    if problem:
        raise UserError(f'{problem}; {cure}')
    if not entry_of(path):
        warn_of_old_torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UserError(f'{path} cannot be read as a checkpoint ({reason(path, error)}); {cure}')


@cache
def warn_of_old_torch():
    """Files of others, read by a version whose `weights_only` is known to have a hole."""
    if tuple(map(int, re.findall(r'\d+', torch.__version__)[:2])) < (2, 10):
        warn(f'PyTorch {torch.__version__} has a known hole in reading checkpoints (CVE-2026-24747); read those of '
             f'strangers with 2.10 or later only')


def entry_of(path: Path) -> dict | None:
    """Size and sum of a file of a checkpoint, as its manifest tells them."""
    manifest = transaction.manifest_of(path.parent, label_of(path))
    return manifest.files.get(path.name) if manifest else None


def label_of(path: Path) -> str:
    match = re.fullmatch(r'(.+?)_(net_.+|state|training)\.pth', path.name)
    return match[1] if match else path.stem


def problem_of(path: Path) -> str:
    """What is wrong with a file of a checkpoint, or with the manifest that should tell; '' if nothing is found."""
    return (transaction.problem_of_manifest(path.parent, label_of(path))
            or transaction.problem_of_file(path, entry_of(path)))


def reason(path: Path, error: Exception) -> str:
    if kind := transaction.wrong_kind(path):
        return kind
    said = str(error).lower()
    if ('weights_only' in said or 'unsupported' in said) and 'unsupported operand' not in said:
        return 'it holds more than weights; such files are never loaded, because they can run code'
    with open(path, 'rb') as file:
        is_zip = file.read(2) == b'PK'
    if is_zip:
        return f'damaged or cut off after {path.stat().st_size} bytes'
    return 'not a file that torch.save wrote'


def load_weights(path: Path, net: nn.Module, described=None):
    """Load a weight file into `net`; today's and older forms of the keys are accepted.

    `described(weights)` may give the options such weights belong to, for the message when they do not fit.
    """
    weights = read(path)
    if not isinstance(weights, dict) or not all(isinstance(v, torch.Tensor) for v in weights.values()):
        raise UserError(f'{path} holds no weights of a network (a dict of tensors is needed)')
    weights = modernised(weights, net)
    problem = mismatch(weights, net)
    if problem:
        found = described(weights) if described else None
        hint = f'the file is of a network with {as_flags(found)}' if found else 'it is of another network'
        raise UserError(f'{Path(path).absolute()} does not fit the network: {problem}; {hint}')
    bad = next((key for key, value in weights.items() if not is_finite(value)), None)
    if bad:
        raise NonFiniteError(f'{Path(path).absolute()}: {bad} is not finite (NaN or infinite); use another checkpoint '
                             f'(--epoch)')
    net.load_state_dict(weights)


def is_finite(tree) -> bool:
    """Are all numbers of all tensors in dicts and lists finite?"""
    return all(torch.isfinite(tensor).all() for tensor in tensors_of(tree))


def tensors_of(tree):
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from tensors_of(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from tensors_of(value)


def modernised(weights: dict, net: nn.Module) -> OrderedDict:
    """Old forms of keys brought to today's: wrappers' prefixes, running statistics of instance norms."""
    without_prefix = ((re.sub(r'^(module\.|_orig_mod\.)+', '', key), value) for key, value in weights.items())
    ours = net.state_dict()
    instance_norms = {name for name, module in net.named_modules() if isinstance(module, nn.InstanceNorm2d)}
    unused = {f'{name}.{statistic}' for name in instance_norms for statistic in STATISTICS} - ours.keys()
    kept = OrderedDict((key, value) for key, value in without_prefix if key not in unused)
    for key in ours:    # files of before PyTorch 0.4.1 do not count batches
        if key.endswith('num_batches_tracked') and key not in kept:
            kept[key] = ours[key]
    return kept


def mismatch(weights: dict, net: nn.Module) -> str:
    """What keeps `weights` from fitting `net`, in a few words; an empty string if nothing does."""
    ours = net.state_dict()
    missing, unknown = sorted(ours.keys() - weights.keys()), sorted(weights.keys() - ours.keys())
    shapes = [key for key in ours if key in weights and ours[key].shape != weights[key].shape]
    if missing:
        return f'{len(missing)} of {len(ours)} tensors are missing, such as {missing[0]}'
    if unknown:
        return f'{len(unknown)} tensors are unknown, such as {unknown[0]}'
    if shapes:
        key = shapes[0]
        return f'{key} is {tuple(weights[key].shape)} in the file, {tuple(ours[key].shape)} in the network'
    return ''


def as_flags(options: dict) -> str:
    """Options as they are typed: --netG unet_256 --norm batch; of a switch only what is on."""
    words = (f'--{name}' if value is True else f'--{name} {value}'
             for name, value in options.items() if value is not False)
    return ' '.join(words)
