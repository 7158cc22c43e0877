"""Checkpoints of tensors: `<label>_net_<name>.pth` per network, `<label>_state.pth` and `<label>_training.pth`.

Weight files have the names, keys and tensors of the reference, so each program can load the other's. The state file
has the options that rebuild the networks and the progress of the run. The training file has what is needed only to
resume. All are read with `weights_only=True`: a checkpoint cannot run code.
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
from util.errors import MisfitError, NonFiniteError, UserError

from . import damage, exported, layout, transaction

STATE_FORMAT = 1
ANOTHER = 'use another checkpoint (--epoch, or epoch=... in Python)'
COPY_AGAIN = f'{ANOTHER}, or copy the file again'
STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


# ---- saving

def save(folder, label: str, networks: dict[str, dict], state: dict, training: dict | None = None, also=()):
    """Save a checkpoint completely or not at all, under `label` and the labels `also`; an `OSError` if that fails.

    `networks` are state dicts by name. All tensors must be on the CPU, everything else of plain types.
    """
    contents = {layout.network_path(folder, label, name): weights for name, weights in networks.items()}
    contents[layout.state_path(folder, label)] = {'format': STATE_FORMAT, **state}
    if training is not None:
        contents[layout.training_path(folder, label)] = training
    files = {path.name: partial(torch.save, content) for path, content in contents.items()}
    transaction.write_set(folder, label, files, state.get('progress', {}), also)


def cpu_copy(tree, into=None):
    """Copy nested dicts and lists, with their tensors on the CPU.

    `into` is an earlier copy that is no longer needed. Its tensors are overwritten where they fit, because allocating
    new memory takes several times as long as copying.
    """
    if isinstance(tree, torch.Tensor):
        if isinstance(into, torch.Tensor) and (into.shape, into.dtype) == (tree.shape, tree.dtype):
            return into.copy_(tree.detach())
        return tree.detach().to('cpu', copy=True)
    if isinstance(tree, dict):
        old = into if isinstance(into, dict) else {}
        copied = type(tree)((key, cpu_copy(value, old.get(key))) for key, value in tree.items())
        if hasattr(tree, '_metadata'):      # state dicts keep the versions of their modules here
            copied._metadata = tree._metadata
        return copied
    if isinstance(tree, (list, tuple)):
        old = into if isinstance(into, (list, tuple)) else ()
        return type(tree)(cpu_copy(value, old_value) for value, old_value in zip_longest(tree, old[:len(tree)]))
    return tree


# ---- loading

def load_state(folder, label: str) -> dict | None:
    """The content of the state file, or None if there is none (bare weights of the reference)."""
    path = layout.state_path(folder, label)
    if not path.exists():
        return None
    state = read(path)
    if not isinstance(state, dict) or 'options' not in state:
        raise UserError(f'{path} is not a state file of this program; remove it to use the weights with the options '
                        f'of the command line')
    if state.get('format') != STATE_FORMAT:
        raise UserError(f'{path} has state format {state.get("format")}, but this program reads {STATE_FORMAT}; use '
                        f'the version of the program that wrote it')
    return state


def load_training(folder, label: str, state: dict) -> dict | None:
    """The content of the training file, or None if it was dropped on purpose; a `UserError` if it was lost."""
    path = layout.training_path(folder, label)
    if path in damage.expected_files(folder, label):
        return read(path)
    return state.get('training')        # version 0.1 saved it in the state file


def read(path: Path, cure: str = COPY_AGAIN):
    """The content of a checkpoint file, on the CPU; or a `UserError` that ends with `cure`."""
    path = Path(path).absolute()
    if not path.exists():
        raise UserError(f'no checkpoint file {path}; {cure}')
    problem = damage.single_file_problem(path)
    if problem:
        raise UserError(f'{problem}; {cure}')
    if not damage.entry_of(path):
        warn_of_old_torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UserError(f'{path} cannot be read as a checkpoint ({unreadable_because(path, error)}); {cure}')


@cache
def warn_of_old_torch():
    """For files without a manifest, which other people may have made."""
    if tuple(map(int, re.findall(r'\d+', torch.__version__)[:2])) < (2, 10):
        warn(f'PyTorch {torch.__version__} has a known security hole when it loads checkpoints (CVE-2026-24747); load '
             f'files of strangers only with 2.10 or later')


def unreadable_because(path: Path, error: Exception) -> str:
    if kind := damage.wrong_kind(path):
        return kind
    text = str(error).lower()
    if ('weights_only' in text or 'unsupported' in text) and 'unsupported operand' not in text:
        return 'it contains more than weights; such files are never loaded, because they can run code'
    with open(path, 'rb') as file:
        is_zip = file.read(2) == b'PK'
    if is_zip:
        return f'damaged or cut off after {path.stat().st_size} bytes'
    return 'not a file written by torch.save'


# ---- weights

def load_weights(path: Path, net: nn.Module, describe=None, cure: str = COPY_AGAIN):
    """Load a weight file into `net`; current and older forms of keys are accepted.

    `describe(weights)` may return the options of the network such weights are from, for the error message.
    """
    weights = read_weights(path, net, cure)
    problem = mismatch(weights, net)
    if problem:
        options = describe(weights) if describe else None
        hint = f'the file is of a network with {as_flags(options)}' if options else 'it is of another network'
        raise MisfitError(f'{Path(path).absolute()} does not fit the network: {problem}; {hint}')
    bad = next((key for key, value in weights.items() if not is_finite(value)), None)
    if bad:
        raise NonFiniteError(f'{Path(path).absolute()}: {bad} is not finite (NaN or infinite); {ANOTHER}')
    net.load_state_dict(weights)


def read_weights(path: Path, net: nn.Module, cure: str = COPY_AGAIN) -> OrderedDict:
    """The content of a weight file, with the keys that `net` has today; they may not fit it."""
    weights = exported.read_weights(path) if Path(path).suffix == '.safetensors' else read(path, cure)
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserError(f'{Path(path).absolute()} does not contain the weights of a network (a dict of tensors); give '
                        f'a file such as latest_net_G.pth')
    return upgrade_keys(weights, net)


def upgrade_keys(weights: dict, net: nn.Module) -> OrderedDict:
    """Remove prefixes of wrappers and unused statistics of instance norms; add batch counters that old files lack."""
    expected = net.state_dict()
    instance_norms = {name for name, module in net.named_modules() if isinstance(module, nn.InstanceNorm2d)}
    unused = {f'{name}.{statistic}' for name in instance_norms for statistic in STATISTICS} - expected.keys()
    renamed = ((re.sub(r'^(module\.|_orig_mod\.)+', '', key), value) for key, value in weights.items())
    upgraded = OrderedDict((key, value) for key, value in renamed if key not in unused)
    for key in expected:
        if key.endswith('num_batches_tracked'):     # since PyTorch 0.4.1
            upgraded.setdefault(key, expected[key])
    return upgraded


def mismatch(weights: dict, net: nn.Module) -> str:
    """Why `weights` do not fit `net`; '' if they do."""
    expected = net.state_dict()
    missing, unknown = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing:
        return f'{len(missing)} of {len(expected)} tensors are missing, such as {missing[0]}'
    if unknown:
        return f'{len(unknown)} tensors are unknown, such as {unknown[0]}'
    for key, value in expected.items():
        if value.shape != weights[key].shape:
            return f'{key} is {tuple(weights[key].shape)} in the file, {tuple(value.shape)} in the network'
    return ''


def as_flags(options: dict) -> str:
    """Options as they are typed: '--netG unet_256 --norm batch'; switches only if they are on."""
    return ' '.join(f'--{name}' if value is True else f'--{name} {value}'
                    for name, value in options.items() if value is not False)


def is_finite(tree) -> bool:
    """True if all tensors in nested dicts and lists are finite."""
    return all(torch.isfinite(tensor).all() for tensor in tensors_of(tree))


def tensors_of(tree):
    """Yields all tensors in nested dicts and lists."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from tensors_of(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from tensors_of(value)
