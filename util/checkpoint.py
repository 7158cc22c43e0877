"""Checkpoints: one `<label>_net_<name>.pth` of bare weights per network and one `<label>_state.pth`.

The weight files have the names, keys and tensors of the reference, so either side can load the other's. The
state file makes them self-describing: the options that rebuild the networks, the progress of the run, and
what training needs to go on. Everything is read with `weights_only=True`: a checkpoint cannot run code.
"""
import io
import os
import re
import warnings
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from util.cli import UserError
from util.files import atomic_write
from util.run_folder import state_path

STATE_FORMAT = 1
FULL_STATES = 3     # how many of the newest state files keep what training needs to go on
STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


def save_weights(path: Path, net: nn.Module):
    """Write the weights of `net` as CPU tensors; the network itself stays on its device."""
    weights = net.state_dict()
    for key, value in weights.items():
        weights[key] = value.detach().cpu()
    write(path, weights)


def write(path: Path, content):
    """torch.save, whole or not at all; what the disk answers is an OSError, which torch would hide."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(path, 'wb') as file:
        file.write(buffer.getbuffer())


def save_state(folder, label: str, state: dict):
    """Write a state file and strip older ones, but the newest few, of what only training needs."""
    write(state_path(folder, label), {'format': STATE_FORMAT, **state})
    states = sorted(Path(folder).glob('*_state.pth'), key=lambda path: path.stat().st_mtime)
    for path in states[:-FULL_STATES]:
        old, times = read(path), path.stat()
        if old.pop('training', None) is not None:
            write(path, old)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))   # else it would count as one of the newest


def load_state(folder, label: str) -> dict | None:
    """The state file of a label, or None if there is none (bare weights of the reference)."""
    path = state_path(folder, label)
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


def read(path: Path):
    """The content of a checkpoint file on the CPU; a `UserError` in one sentence if it is none."""
    path = Path(path).absolute()
    if not path.exists():
        raise UserError(f'no checkpoint file {path}')
    if path.stat().st_size == 0:
        raise UserError(f'{path} is empty (0 bytes); use another checkpoint (--epoch) or copy the file again')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UserError(f'{path} cannot be read as a checkpoint ({reason(path, error)}); use another one '
                        f'(--epoch) or copy the file again')


def reason(path: Path, error: Exception) -> str:
    head = path.read_bytes()[:16]
    if head.lstrip()[:1] in (b'<', b'{'):
        return f'it starts with {head.lstrip()[:9].decode("utf-8", "replace")!r}: a web page or text'
    said = str(error).lower()
    if ('weights_only' in said or 'unsupported' in said) and 'unsupported operand' not in said:
        return 'it holds more than weights; such files are never loaded, because they can run code'
    if head[:2] == b'PK':
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
    net.load_state_dict(weights)


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
