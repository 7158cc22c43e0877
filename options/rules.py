"""Mistakes that the options alone show, found before any image or network is touched. Needs no torch.

Each rule is named after what it forbids and yields one sentence for each mistake. What a rule must know about a model
or dataset is a literal on its class.
"""
import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import data
import models
from models import catalog, metrics
from util.checkpoint import layout
from util.errors import UserError
from util.files import no_folder
from util.places import tar_names
from util.registry import nearest

from .image_options import dataroot_of
from .parser import file_name

# options of the losses that the models here share
OBJECTIVE = ('relativistic', 'label_smoothing', 'lambda_r1', 'spectral_norm_G', 'spectral_norm_D', 'diffaug',
             'ada_target', 'lambda_feat', 'lambda_perceptual', 'lambda_lpips', 'lambda_tv',
             'lambda_gdl', 'lr_D', 'n_critic')


@dataclass
class Choice:
    """The values of all options, and the facts about the model and dataset they name."""

    values: dict
    model: dict
    dataset: dict

    def __getitem__(self, name):
        return self.values[name]

    def get(self, name, default=None):
        return self.values.get(name, default)

    @property
    def generator_is_known(self) -> bool:
        """Do the rules of --netG apply?"""
        facts = self.model
        return not facts['own_generator'] and (facts['own_networks'] or not any(unknown_generator(self)))


def choice_of(values: dict) -> Choice:
    return Choice(values, models.registry.declarations(values['model']),
                  data.registry.declarations(values['dataset_mode']))


def problems_of(values: dict, is_train: bool) -> list[str]:
    """A sentence for each mistake; an empty list if there is none."""
    opt = choice_of(values)
    rules = [missing_data_folder, wrong_dataset_mode, changed_fixed_option, load_smaller_than_crop, unfit_family,
             SIZE_RULES[opt.model['size_rule']], wrong_channels]
    if not opt.model['older']:      # whose networks and inputs may be its own
        rules += [one_domain_only, unknown_generator]
    if is_train:
        rules += [resume_and_overwrite, missing_start, freeze_of_others, model_that_only_translates,
                  nothing_to_train, useless_grad_checkpoint, accumulate_with_engine,
                  window_too_small_for_discriminator, excluded_value, different_channels, identity_of_other_channels,
                  own_discriminator_of_scales, unfit_objective, missing_vgg_weights, graph_of_other_steps,
                  twin_of_others, twin_with_mixed_batches, options_without_metrics, unknown_best_metric]
    else:
        rules.append(bad_model_suffix)
        if 'style_image' in opt.model['test_options']:      # else a file may have options of these names
            rules += [examples_and_random_styles, missing_examples]
    return [problem for rule in rules for problem in rule(opt)]


def problems_without_checkpoint(values: dict) -> list[str]:
    """The mistakes that no checkpoint can cure: reported before one is read, which takes a while."""
    opt = Choice(values, {}, {})
    rules = [resume_and_overwrite, missing_examples, bad_model_suffix]
    if values['dataroot']:
        rules.insert(0, missing_data_folder)
    return [problem for rule in rules for problem in rule(opt)]


def options_without_effect(values: dict, given) -> list[str]:
    """A warning for each given option that nothing reads."""
    opt, warnings = choice_of(values), []
    if opt.model['own_networks']:
        warnings += [f'--{name} {opt[name]} has no effect: --model {opt["model"]} has networks of its own'
                     for name in ('netG', 'netD', 'norm', 'antialias', 'upsample') if name in given
                     and not (name == 'norm' and opt.model['size_rule'] == 'pyramid')]
    if opt['isTrain'] and models.registry.is_older(opt['model']):
        warnings += [f'--{name} has no effect: --model {opt["model"]} computes its losses itself'
                     for name in OBJECTIVE if name in given]
    if opt['isTrain'] and opt['continue_train'] and 'init_from' in given:
        warnings.append(f'--init_from {opt["init_from"]} has no effect: the run is resumed with its own weights')
    if 'init_from' in given and not opt['init_from']:
        warnings.append('--init_from is empty, so all networks start from scratch')
    if opt['isTrain'] and not opt['init_from']:
        warnings += [f'--{name} has no effect without --init_from' for name in ('init_epoch', 'init_partial')
                     if name in given]
    if opt['isTrain'] and not opt['continue_train']:
        warnings += [f'--{name} {opt[name]} has no effect without --continue_train'
                     for name, default in (('epoch', 'latest'), ('load_iter', 0)) if opt[name] != default]
    return warnings


# ---- data

def missing_data_folder(opt):
    missing = list(missing_named_places(opt))
    yield from missing
    around = dataroot_of({**opt.values, 'dataroot': None})
    if around and (not opt['dataroot'] or missing and opt['dataroot'] == around):
        return      # no --dataroot was given
    if not opt['dataroot']:
        yield 'no images given; add their folder with --dataroot DIR'
        return
    if tar_names.is_set(opt['dataroot']):
        yield from missing_tars(opt['dataroot'])
        return
    path = os.path.abspath(opt['dataroot'])
    if os.path.isfile(path):
        yield f'{path} is a file; --dataroot needs the folder of the images'
    elif not os.path.isdir(path):
        yield no_folder(opt['dataroot'], '--dataroot')


def missing_named_places(opt):
    for option in ('folder_A', 'folder_B'):
        for folder in opt.get(option) or ():
            if tar_names.is_set(folder):
                yield from missing_tars(folder)
            elif not Path(folder).is_dir():
                yield no_folder(folder, f'--{option}')
    for option in ('pairs', 'list_A', 'list_B'):
        if opt.get(option) and not Path(opt[option]).is_file():
            yield f'there is no file {Path(opt[option]).absolute()}; correct --{option}'


def missing_tars(place: str):
    try:
        tar_names.expand(place)
    except UserError as error:
        yield str(error)


def wrong_dataset_mode(opt):
    modes = opt.model['dataset_modes']
    if modes and not opt.dataset['older'] and data.registry.resolve(opt['dataset_mode']) not in modes:
        yield (f'--model {opt["model"]} needs --dataset_mode {" or ".join(modes)}, not {opt["dataset_mode"]}; drop the '
               f'option')


def changed_fixed_option(opt):
    fixed = {name: opt.dataset['defaults'][name] for name in opt.dataset['fixed']}
    if any(opt[name] != value for name, value in fixed.items()):
        needed = ', '.join(f'--{name} {value}' for name, value in fixed.items())
        found = ', '.join(str(opt[name]) for name in fixed)
        yield f'--dataset_mode {opt["dataset_mode"]} has {needed}, not {found}; drop these options'


def one_domain_only(opt):
    if not opt.dataset['one_domain'] or opt.model['translates_only' if opt['isTrain'] else 'translates_single']:
        return
    cure = 'train with aligned, unaligned or colorization' if opt['isTrain'] else 'translate them with --model test'
    yield f'--dataset_mode {opt["dataset_mode"]} has images of one domain only; {cure}'


def wrong_channels(opt):
    possible = opt.dataset['image_channels']
    for name in ('input_nc', 'output_nc'):
        if possible and opt[name] not in possible:
            yield f'--{name} {opt[name]}: images have 1 (gray) or 3 (RGB) channels'


# ---- networks and sizes

def unknown_generator(opt):
    if opt.model['own_generator']:
        return
    try:
        catalog.parse_netG(opt['netG'])
    except ValueError as error:
        yield f'--netG {error}{nearest(opt["netG"], ("resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128"))}'


def unfit_family(opt):
    families = opt.model['netG_families']
    if families and opt.generator_is_known and catalog.parse_netG(opt['netG'])[0] not in families:
        yield (f'--netG {opt["netG"]} is not for --model {opt["model"]}, which needs a {" or ".join(families)} '
               f'generator; drop the option')


def size_multiple(values: dict) -> int:
    """Sides of training images are multiples of this; 1 if the generator is unknown."""
    opt = choice_of(values)
    if opt.model['size_rule'] == 'autoencoder':
        return 2**opt['n_downsample']
    if opt.model['size_rule'] == 'pyramid':
        return catalog.pyramid_multiple(values)
    known = opt.generator_is_known and opt.model['size_rule'] != 'none'
    return catalog.size_multiple(opt['netG']) if known else 1


def window_of(opt) -> tuple[str, int | None]:
    """The option that fixes the side of the squares a network sees, and that side; None if sizes vary."""
    if 'crop' in opt['preprocess']:
        return '--crop_size', opt['crop_size']
    return '--load_size', opt['load_size'] if opt['preprocess'] == 'resize' else None


def load_smaller_than_crop(opt):
    load, crop = opt['load_size'], opt['crop_size']
    if opt['preprocess'].endswith('_and_crop') and load < crop:
        yield (f'--load_size {load} is smaller than --crop_size {crop}; add --load_size {crop} '
               f'(or {round(crop * 286 / 256)} for random jitter)')


def size_unfit_for_generator(opt):
    option, side = window_of(opt)
    if side is None or not opt.generator_is_known:
        return
    if side < 8:
        yield f'windows of {side}x{side} are too small for every generator; use a --crop_size of at least 8'
        return
    multiple = catalog.size_multiple(opt['netG'])
    if side % multiple and (opt['isTrain'] or multiple > 4):
        fitting = max(multiple, round(side / multiple) * multiple)
        others = generators_for(side, opt.model['netG_families']) if opt['isTrain'] else ()
        cure = f' or a --netG that fits: {" or ".join(others)}' if others else ''
        yield (f'{option} {side} does not fit --netG {opt["netG"]}, which needs a multiple of {multiple}; '
               f'use {option} {fitting}{cure}')


def generators_for(side: int, families=()) -> list[str]:
    """Generators of ours for squares of this side: the deepest U-Net, and a ResNet."""
    depth = (side & -side).bit_length() - 1      # the largest power of 2 in it
    fitting = {f'unet_{2**min(depth, 8)}': depth >= 5, 'resnet_9blocks': depth >= 2}
    return [name for name, fits in fitting.items() if fits and (not families or name.partition('_')[0] in families)]


def size_unfit_for_autoencoder(opt):
    option, side = window_of(opt)
    depth = ()
    if opt['isTrain']:
        depth = (opt['n_layers_D'], opt['num_scales_D'])
        if opt['n_layers_D'] > catalog.MAX_LAYERS_OF_SCALES:
            yield (f'--n_layers_D {opt["n_layers_D"]}: each layer of a discriminator of --model {opt["model"]} is '
                   f'twice as wide as the one before; use at most {catalog.MAX_LAYERS_OF_SCALES}')
            return
    multiple = 2**opt['n_downsample']
    smallest = catalog.smallest_autoencoder(opt['n_downsample'], opt['n_downsample_style'], *depth)
    if side is None or (side >= smallest and not (opt['isTrain'] and side % multiple)):
        return
    fitting = max(smallest, round(side / multiple) * multiple)
    smaller = settings_for_autoencoder(opt, side) if 8 <= side < smallest else {}
    present = ' '.join(f'--{name} {opt[name]}' for name in smaller or (['n_downsample'] if side % multiple else []))
    changed = ' '.join(f'--{name} {value}' for name, value in smaller.items())
    multiple_then = 2**smaller.get('n_downsample', opt['n_downsample'])
    kept = max(1, round(side / multiple_then)) * multiple_then
    cures = [f'{option} {fitting}'] if fitting <= 8 * side or not smaller else []
    cures += [changed if kept == side else f'{option} {kept} {changed}'] if smaller else []
    yield (f'{option} {side} does not fit --model {opt["model"]}, which needs a multiple of {multiple}, at least '
           f'{smallest}{" with " if present else ""}{present}; use {" or ".join(cures)}')


def settings_for_autoencoder(opt, side: int) -> dict[str, int]:
    """The options that must be smaller for squares of this side, with the largest values that fit."""
    depth = max(1, side.bit_length() - 1)       # so often can the side be halved
    found = {'n_downsample': min(opt['n_downsample'], depth - 1),
             'n_downsample_style': min(opt['n_downsample_style'], depth)}
    if opt['isTrain']:
        found['n_layers_D'] = min(opt['n_layers_D'], depth)
        found['num_scales_D'] = min(opt['num_scales_D'], depth - found['n_layers_D'] + 1)
    return {name: value for name, value in found.items() if value != opt[name]}


def nothing(opt):
    return ()


def size_unfit_for_encoder(opt):
    """For a generator next to an encoder of latent codes."""
    yield from size_unfit_for_generator(opt)
    option, side = window_of(opt)
    smallest = catalog.smallest_encoded(opt['n_blocks_E'])
    if side is not None and 8 <= side < smallest:
        yield (f'{option} {side} is too small for --n_blocks_E {opt["n_blocks_E"]}, which needs {smallest}; use fewer '
               f'blocks')


def size_unfit_for_pyramid(opt):
    """For a generator that works from coarse to fine; its norms need 2x2 values where it begins."""
    option, side = window_of(opt)
    multiple = catalog.pyramid_multiple(opt.values)
    if side is not None and (side < 2 * multiple or side % multiple):
        fitting = max(2 * multiple, round(side / multiple) * multiple)
        names = [name for name in ('n_ups', 'n_downsample_global', 'n_local_enhancers') if name in opt.values]
        settings = ' '.join(f'--{name} {opt[name]}' for name in names)
        yield (f'{option} {side} does not fit --model {opt["model"]}, which needs a multiple of {multiple} from '
               f'{2 * multiple} with {settings}; use {option} {fitting}, or a smaller --{names[0]}')


SIZE_RULES = {'generator': size_unfit_for_generator, 'autoencoder': size_unfit_for_autoencoder,
              'latent': size_unfit_for_encoder, 'pyramid': size_unfit_for_pyramid, 'none': nothing}


def window_too_small_for_discriminator(opt):
    known = (*catalog.NET_D, *catalog.own_nets.names())
    if opt['netD'] not in known or opt.model['own_networks'] or opt.model['size_rule'] == 'none':
        return      # reported by the parser, or by the size rule of the model
    _, side = window_of(opt)
    smallest = catalog.smallest_image(opt['netD'], opt['n_layers_D'], opt.get('num_scales_D', 1))
    if side is not None and 8 <= side < smallest:      # smaller ones do not fit the generator
        yield (f'--crop_size {side} is too small for --netD {opt["netD"]}, which needs {smallest}; '
               f'use a larger --crop_size, --netD n_layers --n_layers_D 1 or --netD pixel')


# ---- training

def resume_and_overwrite(opt):
    if opt.get('continue_train') and opt.get('overwrite'):
        yield '--continue_train resumes a run, and --overwrite discards it; drop one of them'


def missing_start(opt):
    if opt['init_from'] and not opt['continue_train']:
        try:
            layout.named_weights(opt['init_from'], opt['init_epoch'], opt['checkpoints_dir'])
        except UserError as error:
            yield from error.args


def freeze_of_others(opt):
    if opt['freeze'] and opt['parallel'] == 'twin':
        yield '--freeze does not work with --parallel twin; drop one of them'
    if opt['freeze'] and models.registry.is_older(opt['model']):
        yield f'--freeze needs a model with `updates`, which --model {opt["model"]} is not; drop it'


def model_that_only_translates(opt):
    if opt.model['translates_only']:
        yield f'--model {opt["model"]} only translates; train with another --model'


def nothing_to_train(opt):
    last = opt['n_epochs'] + opt['n_epochs_decay']
    if last == 0:
        yield 'nothing to train: --n_epochs and --n_epochs_decay are both 0; raise one of them'
    elif opt['epoch_count'] > last and not opt['max_iters']:
        yield (f'nothing to train: --epoch_count {opt["epoch_count"]} is after the last epoch {last}; '
               f'raise --n_epochs or --n_epochs_decay')


def useless_grad_checkpoint(opt):
    if not opt['grad_checkpoint'] or opt.model['own_networks'] or not opt.generator_is_known:
        return
    if catalog.parse_netG(opt['netG'])[0] != 'resnet' or 'batch' in opt['norm']:
        yield (f'--grad_checkpoint is for generators of residual blocks without batch norm, not for --netG '
               f'{opt["netG"]} --norm {opt["norm"]}; drop it')


def accumulate_with_engine(opt):
    if opt['accumulate'] > 1 and opt['engine'] in ('compile', 'graph'):
        yield f'--accumulate does not work with --engine {opt["engine"]}; drop one of them'


def excluded_value(opt):
    for name, reasons in opt.model['excludes'].items():
        if opt[name] in reasons:
            yield f'--{name} {opt[name]} is not for --model {opt["model"]}: {reasons[opt[name]]}; drop the option'


def different_channels(opt):
    if opt.model['same_channels'] and opt['input_nc'] != opt['output_nc']:
        yield (f'--model {opt["model"]} needs --input_nc equal to --output_nc, not {opt["input_nc"]} and '
               f'{opt["output_nc"]}, because its generator sees its own results')


def identity_of_other_channels(opt):
    identity = opt.get('lambda_identity', 0)
    if identity > 0 and opt['input_nc'] != opt['output_nc'] and not any(wrong_channels(opt)):
        yield (f'--lambda_identity {identity} needs --input_nc equal to --output_nc, not {opt["input_nc"]} and '
               f'{opt["output_nc"]}; set --lambda_identity 0')


def own_discriminator_of_scales(opt):
    if 'num_scales_D' in opt.values and opt['netD'] in catalog.own_nets.names():
        yield (f'--netD {opt["netD"]} is not for --model {opt["model"]}, whose discriminators have several scales; '
               f'drop the option')


def unfit_objective(opt):
    mode = opt['gan_mode']
    if opt['relativistic'] and mode == 'wgangp':
        yield '--relativistic does not work with --gan_mode wgangp; drop one of them'
    if opt['label_smoothing'] and mode not in ('vanilla', 'lsgan'):
        yield f'--label_smoothing needs --gan_mode vanilla or lsgan, not {mode}; drop one of them'
    if opt['lambda_perceptual'] and not opt['perceptual_weights']:
        yield '--lambda_perceptual needs a file with the weights of VGG19 or VGG16; add --perceptual_weights FILE'
    for name in ('lambda_perceptual', 'lambda_lpips'):
        if opt[name] and opt['output_nc'] not in (1, 3):
            yield f'--{name} needs images of 1 or 3 channels, not {opt["output_nc"]}; drop it'
    if opt['ada_target'] and opt['diffaug'] == 'none':
        yield '--ada_target changes how often --diffaug does something; add --diffaug color,translation,cutout'


def graph_of_other_steps(opt):
    """A captured step is the same each time."""
    for name, plain in (('n_critic', 1), ('ema', 0)):
        if opt['engine'] == 'graph' and opt[name] != plain:
            yield f'--{name} does not work with --engine graph; drop one of them'


def missing_vgg_weights(opt):
    for name in ('vgg_weights', 'perceptual_weights'):
        path = opt.get(name)
        if path and not Path(path).is_file():
            yield f'there is no file {Path(path).absolute()}; correct --{name}'


def twin_of_others(opt):
    if opt['parallel'] != 'twin':
        return
    plain = opt['accumulate'] == opt['n_critic'] == 1 and opt['engine'] not in ('compile', 'graph')
    if not opt.model['twin'] or not plain:
        able = [name for name in models.registry.readable_names() if models.registry.declarations(name)['twin']]
        yield (f'--parallel twin is for --model {" and ".join(able)}, without --accumulate or --n_critic and '
               f'with --engine eager')


def twin_with_mixed_batches(opt):
    """Each process of a twin has whole batches, but only if no network mixes the images of a batch."""
    if opt['parallel'] != 'twin':
        return
    own = opt.model['own_networks']
    norm, dropout = (opt.get('norm_D'), False) if own else (opt['norm'], not opt['no_dropout'])
    if dropout or norm in ('batch', 'syncbatch') or opt['gan_mode'] == 'wgangp':
        yield ('--parallel twin is for networks without dropout and batch norm, and not for --gan_mode wgangp; drop '
               'the option')


# ---- validation

def options_without_metrics(opt):
    off = {'--val_metrics none': opt['val_metrics'] == 'none', '--val_epoch_freq 0': opt['val_epoch_freq'] == 0}
    needing = {'--best_metric': opt['best_metric'], '--early_stop': opt['early_stop'],
               '--plateau_metric': opt['plateau_metric']}
    for switch in (name for name, is_off in off.items() if is_off):
        for name in (name for name, value in needing.items() if value):
            yield f'{name} needs metrics of validation images, but {switch} turns them off; drop one of them'
    if opt['plateau_metric'] and opt['lr_policy'] != 'plateau':
        yield f'--plateau_metric is for --lr_policy plateau, not {opt["lr_policy"]}; drop it'


def unknown_best_metric(opt):
    names, best = metrics.split(opt['val_metrics']), opt['best_metric']
    if best and best not in metrics.METRICS:
        yield f'--best_metric {best}: {"; ".join(metrics.problems([best]))}'
    elif best and names not in (['auto'], ['none']) and best not in names:
        yield (f'--best_metric {best} is not among --val_metrics {",".join(names)}; add it there, or choose one of '
               f'these')


# ---- testing

def examples_and_random_styles(opt):
    example = next((name for name in ('style_image', 'style_dir') if opt.get(name)), None)
    for name in ('interpolate', 'sync_styles'):
        if example and opt[name]:
            yield f'--{name} is for random styles, but --{example} gives the styles; drop one of them'


def missing_examples(opt):
    if opt.get('style_image'):
        path = Path(opt['style_image']).absolute()
        if path.is_dir():
            yield f'--style_image {path} is a folder; use --style_dir'
        elif not path.exists():
            yield f'there is no file {path}; correct --style_image'
    if opt.get('style_dir'):
        path = Path(opt['style_dir']).absolute()
        if path.is_file():
            yield f'--style_dir {path} is a file; use --style_image'
        elif not path.is_dir():
            yield f'there is no folder {path}; correct --style_dir'


def bad_model_suffix(opt):
    suffix = opt.get('model_suffix')
    try:
        file_name(suffix or '_')
    except argparse.ArgumentTypeError as error:
        yield f'--model_suffix {suffix}: {error}'
