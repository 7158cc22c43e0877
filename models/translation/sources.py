"""Where a translator gets its networks: a run folder, weight files of the reference, or an exported folder."""
from dataclasses import dataclass, field
from pathlib import Path

import torch

from models import catalog
from models.nets.factory import describe_autoencoder, describe_generator
from util.checkpoint import exported, layout, store
from util.checkpoint.exported import CONFIG, ENCODER, WEIGHTS
from util.errors import UserError

from . import kinds, programs
from .place import GIVE, find_networks

DEFAULTS = {'input_nc': 3, 'output_nc': 3, 'ngf': 64, 'netG': 'resnet_9blocks', 'norm': 'instance',
            'no_dropout': False, 'antialias': False, 'upsample': 'transposed', 'spectral_norm_G': False, 'style_dim': 8,
            'mlp_dim': 256, 'n_downsample': 2, 'n_downsample_style': 4, 'n_res': 4, 'pad_type': 'reflect'}
DIRECTIONS = ('AtoB', 'BtoA')


@dataclass(frozen=True)
class Recipe:
    """All that is needed to build one translation and to describe it; plain values.

    Attributes:
        kind: a name in `kinds.BUILDERS`.
        options: those that the network is built from, in this direction.
        direction: 'AtoB' or 'BtoA', of the dataset that the run was trained on.
        training: all options of the training; {} if they are not known.
        label: the checkpoint, such as 'latest'.
        name: of the run.
    """

    kind: str
    options: dict
    direction: str = 'AtoB'
    training: dict = field(default_factory=dict)
    label: str = 'latest'
    name: str = ''


class Source:
    """Translations in one or both directions. `trained_direction` is the default."""

    trained_direction = 'AtoB'
    two_way = False

    def check_direction(self, direction: str):
        if direction not in DIRECTIONS:
            raise UserError(f'direction {direction} does not exist; use AtoB or BtoA')
        if direction != self.trained_direction and not self.two_way:
            raise UserError(f'{self.place} translates {self.trained_direction} only, not {direction}; drop '
                            f'the direction')

    def load(self, direction: str) -> tuple[kinds.Translation, Recipe]:
        raise NotImplementedError


class RunFolder(Source):
    """A folder of checkpoints, of this program or of the reference, or one weight file of it.

    Args:
        declarations: function from the name of a model to the facts of its class.
        averages: use moving averages of the weights if there are any.
        given: options of the networks, for files without the options of their training.
    """

    def __init__(self, place: Path, declarations, label: str, averages: bool, given: dict):
        self.place = place
        networks = find_networks(place, label)
        self.folder = networks.folder
        self.file = networks.file
        self.label = networks.label
        self.found = networks.generators
        self.averages, self.given = averages, given
        state = store.load_state(self.folder, self.label)
        self.training = state['options'] if state else {}
        if self.training and given:
            raise UserError(f'{networks.path.absolute()} has the options of its training; drop '
                            f'{", ".join(sorted(given))}')
        facts = declarations(self.training['model']) if self.training else {}
        if facts.get('older') and not is_known_netG(self.training['netG']):
            raise UserError(f'{networks.path.absolute()} was trained with --model {self.training["model"]}, which has '
                            f'networks of its own; use test.py')
        self.kind = facts.get('translation', '')
        if self.kind and self.kind not in kinds.BUILDERS:
            raise UserError(f'{networks.path.absolute()} was trained with --model {self.training["model"]}, whose '
                            f'results depend on a code as well; use test.py')
        self.forward = self.trained_direction = self.training.get('direction', 'AtoB')
        self.two_way = facts.get('two_way', {'G_A', 'G_B'} <= set(self.found))
        if self.training and place.is_file() and self.kind != 'styles' and self.two_way:    # one of two generators
            self.two_way = False
            if self.found[0] == 'G_B':
                self.trained_direction = 'BtoA' if self.forward == 'AtoB' else 'AtoB'

    def load(self, direction):
        self.check_direction(direction)
        ours = 'A' if direction == self.forward else 'B'
        if not self.kind:
            styled = describe_autoencoder(self.weights_of(self.name_of(ours)))
            self.kind = 'styles' if styled else 'generator'
        if self.kind == 'styles':
            translation, options = self.load_styled(ours)
        elif self.kind == 'codes':
            translation, options = self.load_coded(ours)
        else:
            translation, options = self.load_generator(self.name_of(ours), ours)
        kind = next(name for name, kind in kinds.CLASSES.items() if type(translation) is kind)
        return translation, Recipe(kind, options, direction, self.training, self.label, self.folder.absolute().name)

    def name_of(self, domain: str) -> str:
        """The name of the generator that translates images of `domain`."""
        single = [name for name in self.found if name == 'G' or len(self.found) == 1]
        return single[0] if single else f'G_{domain}'

    def path_of(self, name: str) -> Path:
        if self.place.is_file() and self.found == (name,):     # the file itself, not its moving averages
            return self.place
        average = layout.network_path(self.folder, self.label, f'{name}_ema')
        return average if self.averages and average.exists() else layout.network_path(self.folder, self.label, name)

    def weights_of(self, name: str) -> dict:
        return store.read_weights(self.path_of(name), torch.nn.Module())

    def load_generator(self, name: str, domain: str):
        options = self.options(domain)
        kind = self.kind
        if not self.training:
            options = {**DEFAULTS, **self.described(name), **self.given}
            kind = 'colors' if (options['input_nc'], options['output_nc']) == (1, 2) else 'generator'
        options = kinds.options_of(kind, options)
        translation = built(kind, options)
        store.load_weights(self.path_of(name), translation.net, describe_generator)
        return translation, options

    def described(self, name: str) -> dict:
        """The options of a generator that its weights show; a `UserError` if `given` contradicts them."""
        weights = self.weights_of(name)
        place = self.path_of(name).absolute()
        found = describe_generator(weights) or {}
        if not found and 'netG' not in self.given:
            example = f', such as {next(iter(weights))}' if weights else ''
            raise UserError(f'{place} has the weights of no generator that is known by its weights ({len(weights)} '
                            f'tensors{example}); {GIVE}, or the option netG=... in Python')
        wrong = [option for option in self.given if option in found and found[option] != self.given[option]]
        if wrong:
            raise UserError(f'{place} is of a network with {wrong[0]}={found[wrong[0]]!r}, not '
                            f'{self.given[wrong[0]]!r}; drop this option')
        return found

    def load_styled(self, domain: str):
        """The content encoder of one domain in the autoencoder of the other."""
        if self.file:
            raise UserError(f'{self.file.absolute()} is one of the two generators of a model with styles; give a '
                            f'folder with both, latest_net_G_A.pth and latest_net_G_B.pth')
        other = 'B' if domain == 'A' else 'A'
        options = self.options(domain)
        if not self.training:
            found, target = (describe_autoencoder(self.weights_of(f'G_{name}')) or {} for name in (domain, other))
            options = {**DEFAULTS, **found, 'input_nc': found.get('nc'), 'output_nc': target.get('nc'), **self.given}
        options = kinds.options_of('styles', options)
        nc_in, nc_out = options['input_nc'], options['output_nc']
        source, target = (built('styles', {**options, 'input_nc': nc, 'output_nc': nc}) for nc in (nc_in, nc_out))
        store.load_weights(self.path_of(f'G_{domain}'), source.net)
        store.load_weights(self.path_of(f'G_{other}'), target.net)
        target.net.enc_content = source.net.enc_content
        target.channels_in = nc_in
        return target, options

    def load_coded(self, domain: str):
        options = kinds.options_of('codes', self.options(domain))
        translation = built('codes', options)
        store.load_weights(self.path_of('G'), translation.net)
        store.load_weights(self.path_of('E'), translation.encoder)
        return translation, options

    def options(self, domain: str) -> dict:
        options = {**DEFAULTS, **self.training, **self.given}
        options['labels'] = options.get(f'labels_{kinds.domains_of(self.kind, self.trained_direction)[0]}', '')
        if domain == 'B':
            options.update(input_nc=options['output_nc'], output_nc=options['input_nc'])
        return options


class ExportedFolder(Source):
    """A folder that `scripts/export.py` wrote: weights, or a graph."""

    def __init__(self, place: Path):
        self.place = place
        config = exported.config_of(place)
        self.is_graph = config.get('file_format') in programs.FILES
        if config and config.get('file_format') != 'safetensors' and not self.is_graph:
            raise UserError(f'{place.absolute()} is an export for other programs ({config["file_format"]}); use the '
                            f'run, or an export with --format safetensors')
        if config.get('kind') not in kinds.BUILDERS:
            raise UserError(f'{(place / CONFIG).absolute()} is damaged, or not of a translator of this program; '
                            f'export it again')
        self.recipe = Recipe(**{name: config[name] for name in Recipe.__dataclass_fields__})
        self.trained_direction = self.recipe.direction

    def load(self, direction):
        self.check_direction(direction)
        if self.is_graph:
            return programs.GraphTranslation(self.place, exported.config_of(self.place)), self.recipe
        translation = built(self.recipe.kind, self.recipe.options)
        for file, net in weight_files(translation).items():
            weights = exported.read_weights(self.place / file)
            problem = store.mismatch(weights, net)
            if problem:
                raise UserError(f'{(self.place / file).absolute()} does not fit {CONFIG}: {problem}; export it again')
            net.load_state_dict(weights)
        return translation, self.recipe


def is_known_netG(name: str) -> bool:
    try:
        catalog.parse_netG(name)
    except ValueError:
        return False
    return True


def weight_files(translation: kinds.Translation) -> dict[str, torch.nn.Module]:
    """The files of an exported folder, and the network in each of them."""
    encoder = {ENCODER: translation.encoder} if translation.encoder else {}
    return {WEIGHTS: translation.net, **encoder}


def built(kind: str, options: dict) -> kinds.Translation:
    """A translation with weights that are not set; no random number is drawn."""
    with torch.device('meta'):
        translation = kinds.BUILDERS[kind](options)
    translation.to_empty(device='cpu')
    for buffer in translation.buffers():
        buffer.zero_()
    return translation


def source_of(place, declarations, label: str, averages: bool, given: dict) -> Source:
    """The source that a path is; a `UserError` if there is nothing."""
    unknown = sorted(given.keys() - DEFAULTS.keys() - catalog.options_of_net(given.get('netG', '')).keys())
    if unknown:
        raise UserError(f'unknown option {unknown[0]}; networks have {", ".join(DEFAULTS)}')
    place = Path(place)
    if (place / CONFIG).is_file():
        if given:
            raise UserError(f'{place.absolute()} has the options of its networks; drop {", ".join(sorted(given))}')
        return ExportedFolder(place)
    return RunFolder(place, declarations, label, averages, given)

