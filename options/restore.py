"""Options that come from a checkpoint, and what on the command line contradicts them."""
from pathlib import Path

from models import catalog, registry
from util.checkpoint import damage, exported, layout, transaction
from util.checkpoint.manifest import newest_first
from util.console import note, warn
from util.errors import UserError

ARCHITECTURE = ('model', 'input_nc', 'output_nc', 'ngf', 'ndf', 'netG', 'netD', 'n_layers_D', 'norm', 'no_dropout',
                'unconditional_D', 'num_scales_D', 'norm_D', 'antialias', 'upsample',
                'spectral_norm_G', 'spectral_norm_D')


def newest_good(folder: Path, new_if_none: bool = False) -> str:
    """The label of the newest undamaged checkpoint of a run; damaged ones are reported.

    A `UserError` if there is none; or, with `new_if_none`, '' and a note if there never was one.
    """
    transaction.complete_sets(folder)
    labels, damaged = newest_first(folder), []
    if not labels and new_if_none:
        note(f'no checkpoint in {folder.absolute()} yet; starting a new run')
        return ''
    if not labels:
        raise UserError(f'no checkpoint of this run: {layout.describe_checkpoints(folder)}')
    for label in labels:
        problems = damage.find_problems(folder, label)
        if not problems:
            damaged += damage.lost_manifests(folder, newer_than=label)
            if damaged:
                warn(f'{"; ".join(damaged)}; resuming from the newest good checkpoint, {label}')
            return label
        damaged.append(problems[0])
    raise UserError(f'no checkpoint of this run can be used: {"; ".join(damaged)}; copy one again, or train from '
                    f'scratch without --continue_train')


def is_of_job(folder: Path, job: str) -> bool:
    """True if the newest checkpoint of a run that can be read was saved by this torchrun job: it was restarted."""
    if not job:
        return False
    transaction.complete_sets(folder)
    for label in newest_first(folder):
        try:
            state = load_run(folder, label)
        except UserError:       # reported when the run is resumed
            continue
        return bool(state) and state['options'].get('job') == job
    return False


def load_run(folder: Path, label: str) -> dict | None:
    """The state file of a run, or None if it has bare weights only; a `UserError` if there is nothing."""
    transaction.complete_sets(folder)
    if label not in layout.labels(folder):
        raise UserError(f'no checkpoint {label} of this run: {layout.describe_checkpoints(folder)}')
    if not layout.state_path(folder, label).exists():
        return None
    from util.checkpoint.store import load_state
    return load_state(folder, label)


def networks_to_start_from(source: str, label: str, checkpoints_dir: str, model: str,
                           direction: str) -> tuple[str, dict]:
    """The direction of the run that --init_from names, and the options of its networks; '' and {} if it is not known.

    `model` and `direction` are those of the new run; no model means that of `source`.
    """
    try:
        files = layout.named_weights(source, label, checkpoints_dir)
    except UserError:       # reported with the other mistakes
        return '', {}
    path = next(iter(files.values()))
    label = layout.label_of(path)
    trained = exported.trained_options(path.parent)
    if label in layout.labels(path.parent):
        trained = (load_run(path.parent, label) or {}).get('options', {})
    if 'model' not in trained:
        return trained.get('direction', ''), {name: trained[name] for name in ARCHITECTURE if name in trained}
    facts = registry.declarations(trained['model'])
    same = not model or registry.resolve(model) == registry.resolve(trained['model'])
    if not same and (facts['own_networks'] or registry.declarations(model)['own_networks']):
        return trained['direction'], {}
    nets = {**catalog.options_of_net(trained['netG']), **catalog.options_of_net(trained['netD'])}
    names = {*ARCHITECTURE, *facts['options'], *nets} if same else {*ARCHITECTURE} - {'model'}
    options = {name: trained[name] for name in names if name in trained}
    if direction != trained['direction'] and facts['two_way']:
        options.update(input_nc=trained['output_nc'], output_nc=trained['input_nc'])
    return trained['direction'], options


def warn_of_lost_options(folder: Path, label: str):
    """Warn about a checkpoint that has lost its state file; the test continues with the weights alone."""
    state = layout.state_path(folder, label)
    if state in damage.expected_files(folder, label):
        warn(f'{state.absolute()} is missing, and with it the options of the training; the networks are those '
             f'that the command line describes')


def contradictions(values: dict, given: set, stored: dict, source) -> list[str]:
    """A sentence for each given option that the stored networks cannot have."""
    names = [name for name in (*ARCHITECTURE, 'direction') if name in given and name in stored]
    return [f'{as_flag(name, values[name])} contradicts {source}, which was trained with '
            f'{as_flag(name, stored[name])}; {instead_of(name, values, stored)}'
            for name in names if not compatible(name, values[name], stored, not values['isTrain'])]


def instead_of(name: str, values: dict, stored: dict) -> str:
    """What to do about a contradicting option."""
    single = name == 'model' and registry.declarations(stored['model'])['translates_single']
    if single and registry.declarations(values['model'])['translates_only']:
        return 'to translate a folder of images, give --dataset_mode single in its place'
    return 'drop the option'


def compatible(name: str, value, stored: dict, testing: bool = False) -> bool:
    if name == 'model':     # a file written for the reference may test the weights of any model
        return registry.resolve(value) == registry.resolve(stored[name]) or (testing and registry.is_older(value))
    if name == 'no_dropout' and not stored['netG'].startswith('resnet'):
        return True         # dropout does not change the keys of a U-Net
    if name == 'norm':      # synchronized statistics do not change the weights
        return value.replace('syncbatch', 'batch') == stored[name].replace('syncbatch', 'batch')
    if name == 'n_layers_D' and stored['netD'] != 'n_layers':
        return True
    return value == stored[name]


def as_flag(name: str, value) -> str:
    if name == 'no_dropout':
        return '--no_dropout' if value else '--dropout'
    if name == 'antialias':
        return '--antialias' if value else '--no_antialias'
    if name.startswith('spectral_norm') and not value:
        return f'--no_{name}'
    return f'--{name}' if value is True else f'no --{name}' if value is False else f'--{name} {value}'


def changes(values: dict, given: set, stored: dict) -> list[str]:
    """One line for each option that differs from the run that is resumed."""
    return [f'{name}: {stored[name]} -> {values[name]}' for name in sorted(given & stored.keys())
            if values[name] != stored[name]]
