"""The weights before the first step: those of another run (--init_from), and which of them are kept (--freeze).

Optimizers, schedule, pools and counters of the new run start from scratch.
"""
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from models.nets.factory import describe_generator
from util.checkpoint import layout, store
from util.errors import MisfitError, NonFiniteError, UserError

CURE = 'give another file or run with --init_from, or another --init_epoch'


def start(model, opt) -> list[str]:
    """Do what --init_from and --freeze say; returns lines for the log."""
    lines = []
    if opt.init_from and not opt.continue_train:
        files = layout.named_weights(opt.init_from, opt.init_epoch, opt.checkpoints_dir)
        swapped = opt.init_direction not in ('', opt.direction)
        lines += load_networks(model.nets, files, swapped, opt.init_partial)
    if opt.freeze:
        lines.append(freeze(model.nets, opt.freeze))
    return lines


# ---- --init_from

def load_networks(nets: dict[str, nn.Module], files: dict[str, Path], swapped: bool = False,
                  partial: bool = False) -> list[str]:
    """Load networks from the `files` of another run, {'G': path, ...}; returns a line about each network.

    `swapped`: that run has the opposite --direction. `partial`: leave out tensors that are missing or have another
    shape, instead of raising a `UserError`.
    """
    sources = {name: source_of(name, files, swapped) for name in nets}
    if not any(sources.values()):
        raise UserError(f'--init_from has the networks {", ".join(files)}, but this model has {", ".join(nets)}; use '
                        f'another --model')
    lines = [f'networks from {next(iter(files.values())).absolute().parent}:']
    for name, source in sources.items():
        if source is None:
            lines.append(f'  {name}: from scratch, because there is no weight file of it')
            continue
        if partial:
            loaded = load_what_fits(nets[name], files[source])
        else:
            load_all(nets[name], files[source])
            loaded = f'all {len(nets[name].state_dict())} tensors of {files[source].name}'
        other_way = swapped and name == source and not name.endswith(('_A', '_B'))
        lines.append(f'  {name}: {loaded}' + ('; trained for the opposite --direction' if other_way else ''))
    return lines


def source_of(name: str, files, swapped: bool) -> str | None:
    """The network among `files` that does the work of `name`: G_A takes G_A or G, and G takes G or G_A."""
    stem, domain = (name[:-2], name[-2:]) if name.endswith(('_A', '_B')) else (name, '')
    same = stem + (domain.translate(str.maketrans('AB', 'BA')) if swapped else domain)
    forward = '_B' if swapped else '_A'     # what a run of two directions calls the network that others call G
    other = {'': stem + forward, forward: stem}.get(domain)
    return next((candidate for candidate in (same, other) if candidate in files), None)


def load_all(net: nn.Module, path: Path):
    try:
        store.load_weights(path, net, describe_generator, CURE)
    except MisfitError as error:
        raise UserError(f'{error}; load what fits with --init_partial')


def load_what_fits(net: nn.Module, path: Path) -> str:
    """Load the tensors with the right name and shape; returns which were loaded and which were left out."""
    weights, expected = store.read_weights(path, net, CURE), net.state_dict()
    fitting = {key: weights[key] for key, value in expected.items()
               if key in weights and weights[key].shape == value.shape}
    if not store.is_finite(fitting):
        raise NonFiniteError(f'{path.absolute()} has weights that are not finite (NaN or infinite); use another file')
    net.load_state_dict({**expected, **fitting})
    left = {'missing': [key for key in expected if key not in weights],
            'other shape': [key for key in expected if key in weights and key not in fitting],
            'not used': [key for key in weights if key not in expected]}
    return '; '.join([f'{len(fitting)} of {len(expected)} tensors of {path.name}',
                      *(f'{why}: {some(keys)}' for why, keys in left.items() if keys)])


def some(keys: list[str]) -> str:
    """The first of many names."""
    return ', '.join(keys[:3]) + (f' and {len(keys) - 3} more' if len(keys) > 3 else '')


# ---- --freeze

def freeze(nets: dict[str, nn.Module], patterns: list[str]) -> str:
    """Stop the training of parameters by name: 'D', 'G.model.1', 'G.*.bias', 'G.encoder'; returns a line about it.

    Batch norms and spectral norms whose weights are frozen keep their buffers too. A frozen batch norm still normalizes
    with the statistics of the batch, as before and as in test.py without --eval.
    """
    names = {f'{label}.{key}': value for label, net in nets.items() for key, value in net.named_parameters()}
    frozen = set()
    for pattern in patterns:
        found = named(nets, names, pattern)
        frozen |= found
        if not found:
            raise UserError(f'--freeze {pattern} is no network or layer; the networks are {", ".join(nets)}, and '
                            f'parameters have names such as {next(iter(names))}')
    if len(frozen) == len(names):
        raise UserError(f'--freeze {" ".join(patterns)} leaves nothing to train; freeze less')
    for name in frozen:
        names[name].requires_grad_(False)
    for net in nets.values():
        for module in net.modules():
            keep_buffers(module)
    count = sum(names[name].numel() for name in frozen)
    return f'frozen (--freeze): {len(frozen)} of {len(names)} tensors, {count / 1e6:.3f} M parameters'


def named(nets: dict[str, nn.Module], names: dict[str, nn.Parameter], pattern: str) -> set[str]:
    """The parameters among `names` that a pattern means; 'G.encoder' is the part of a generator before its middle."""
    found = {name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f'{pattern}.*')}
    for label, net in nets.items():
        if hasattr(net, 'encoder_layers') and fnmatchcase(f'{label}.encoder', pattern):
            inner = {id(value) for layer in net.encoder_layers() for value in layer.parameters()}
            found |= {name for name, value in names.items() if id(value) in inner}
    return found


def keep_buffers(module: nn.Module):
    """Keep the running statistics of a batch norm, and the vectors of a spectral norm, whose weight is frozen."""
    weights = list(module.parameters())
    if not weights or any(weight.requires_grad for weight in weights):
        return
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.track_running_stats = False      # with its buffers still there, for --eval and checkpoints
    elif isinstance(module, nn.utils.parametrize.ParametrizationList):
        module.eval()
