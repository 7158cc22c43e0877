"""Mistakes that the options alone show, before any image or network is touched. Needs no torch."""
import argparse
from pathlib import Path

from models import catalog
from util.registry import nearest, plain

from .parser import file_name

MUNIT_LAYERS_D = 8      # 64 channels become 8192


def problems_of(values: dict, is_train: bool) -> list[str]:
    """A sentence for each mistake; an empty list if there is none."""
    checks = [data_folder, dataset, generator, munit_sizes if is_munit(values) else sizes, channels]
    checks += [two_ways, training, losses, twin] if is_train else [styles, examples, model_suffix]
    return [problem for check in checks for problem in check(values)]


def without_checkpoint(values: dict) -> list[str]:
    """Those mistakes that no checkpoint can mend: told before one is read, which takes a while."""
    checks = [data_folder] * bool(values['dataroot']) + [two_ways, examples, model_suffix]
    return [problem for check in checks for problem in check(values)]


def is_munit(opt) -> bool:
    return plain(opt['model']) == 'munit'


def unused(opt, given):
    """A warning for each given option that nobody looks at."""
    if is_munit(opt):
        for name in ('netG', 'netD', 'norm'):
            if name in given:
                yield f'--{name} {opt[name]} has no effect: --model munit has networks of its own'
    if opt['isTrain'] and not opt['continue_train']:
        for name, default in (('epoch', 'latest'), ('load_iter', 0)):
            if opt[name] != default:
                yield f'--{name} {opt[name]} has no effect without --continue_train'


def data_folder(opt):
    if not opt['dataroot']:
        yield 'give the folder of the images with --dataroot DIR'
        return
    path = Path(opt['dataroot']).absolute()
    if path.is_file():
        yield f'{path} is a file; --dataroot needs the folder of the images'
    elif not path.is_dir():
        yield f'there is no folder {path}; correct --dataroot'


def dataset(opt):
    model, mode = plain(opt['model']), plain(opt['dataset_mode'])
    if model == 'colorization' and mode != 'colorization':
        yield f'--model colorization needs --dataset_mode colorization, not {mode}; drop the option'
    made = opt['input_nc'], opt['output_nc'], opt['direction']
    if mode == 'colorization' and made != (1, 2, 'AtoB'):
        yield (f'--dataset_mode colorization makes --input_nc 1, --output_nc 2, --direction AtoB, not {made[0]}, '
               f'{made[1]}, {made[2]}; drop these options')
    if mode == 'single' and opt['isTrain'] and model != 'test':
        yield '--dataset_mode single has images of one domain only; train with aligned, unaligned or colorization'
    if mode == 'single' and not opt['isTrain'] and model not in ('test', 'munit'):
        yield '--dataset_mode single has images of one domain only; translate them with --model test'


def generator(opt):
    try:
        catalog.parse_netG(opt['netG'])
    except ValueError as error:
        yield f'--netG {error}{nearest(opt["netG"], ("resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128"))}'


def size_multiple(opt) -> int:
    """Sides of training images are multiples of this; 1 if the generator is unknown."""
    if 'n_downsample' in opt:
        return 2**opt['n_downsample']
    return 1 if next(generator(opt), None) else catalog.size_multiple(opt['netG'])


def cut_size(opt) -> int | None:
    """The side of the squares that a network sees, if the options fix it."""
    if 'crop' in opt['preprocess']:
        return opt['crop_size']
    return opt['load_size'] if opt['preprocess'] == 'resize' else None


def load_size(opt):
    load, crop = opt['load_size'], opt['crop_size']
    if opt['preprocess'].endswith('_and_crop') and load < crop:
        yield (f'--load_size {load} is smaller than --crop_size {crop}; add --load_size {crop} '
               f'(or {round(crop * 286 / 256)} for random jitter)')


def sizes(opt):
    yield from load_size(opt)
    side = cut_size(opt)
    if side is None or next(generator(opt), None):
        return
    if side < 8:
        yield f'windows of {side}x{side} are too small for every generator; use a --crop_size of at least 8'
        return
    multiple = catalog.size_multiple(opt['netG'])
    if side % multiple and (opt['isTrain'] or multiple > 4):
        which = '--load_size' if opt['preprocess'] == 'resize' else '--crop_size'
        fitting = max(multiple, round(side / multiple) * multiple)
        yield (f'{which} {side} does not suit --netG {opt["netG"]}, which needs a multiple of {multiple}; '
               f'use {which} {fitting} or another --netG, such as unet_128 or resnet_9blocks')


def munit_sizes(opt):
    """As `sizes`, for networks that --netG and --netD do not name."""
    side, multiple = cut_size(opt), size_multiple(opt)
    depth = (opt['n_layers_D'], opt['num_scales_D']) if opt['isTrain'] else ()
    smallest = catalog.smallest_munit(opt['n_downsample'], opt['n_downsample_style'], *depth)
    yield from load_size(opt)
    if depth and opt['n_layers_D'] > MUNIT_LAYERS_D:
        yield (f'--n_layers_D {opt["n_layers_D"]}: each layer of a discriminator of --model munit is twice as wide as '
               f'the one before; use at most {MUNIT_LAYERS_D}')
    elif side is not None and (side < smallest or opt['isTrain'] and side % multiple):
        which = '--load_size' if opt['preprocess'] == 'resize' else '--crop_size'
        yield (f'{which} {side} does not suit --model munit, which needs at least {smallest} and a multiple of '
               f'{multiple} with --n_downsample {opt["n_downsample"]} --n_downsample_style {opt["n_downsample_style"]}'
               + ' --n_layers_D {} --num_scales_D {}'.format(*depth) * bool(depth)
               + f'; use another {which} or fewer of these')


def channels(opt):
    if opt['dataset_mode'] in ('aligned', 'unaligned', 'single', 'template'):
        for name in ('input_nc', 'output_nc'):
            if opt[name] not in (1, 3):
                yield f'--{name} {opt[name]}: images have 1 (grey) or 3 (RGB) channels'


def styles(opt):
    example = next((name for name in ('style_image', 'style_dir') if opt.get(name)), None)
    for name in ('interpolate', 'sync_styles'):
        if example and opt[name]:
            yield f'--{name} is for random styles, and --{example} gives the styles; drop one of them'


def examples(opt):
    """Examples of styles that are not there."""
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


def model_suffix(opt):
    suffix = opt.get('model_suffix')
    try:
        file_name(suffix or '_')
    except argparse.ArgumentTypeError as error:
        yield f'--model_suffix {suffix}: {error}'


def losses(opt):
    """Losses that these images or networks cannot have."""
    identity, vgg = opt.get('lambda_identity', 0), opt.get('vgg_weights')
    if identity > 0 and opt['input_nc'] != opt['output_nc'] and not any(channels(opt)):
        yield (f'--lambda_identity {identity} needs --input_nc equal to --output_nc, not {opt["input_nc"]} and '
               f'{opt["output_nc"]}; set --lambda_identity 0')
    if is_munit(opt) and opt['gan_mode'] == 'wgangp':
        yield ('--gan_mode wgangp is not for MUNIT, whose discriminators have several scales; '
               'use lsgan or vanilla')
    if vgg and not Path(vgg).is_file():
        yield f'there is no file {Path(vgg).absolute()}; correct --vgg_weights'


def twin(opt):
    """What two processes with different networks cannot do."""
    model = plain(opt['model'])
    if opt['parallel'] != 'twin':
        return
    if model not in ('cyclegan', 'munit') or opt['accumulate'] > 1 or opt['engine'] in ('compile', 'graph'):
        yield '--parallel twin is for --model cyclegan and munit, without --accumulate and with --engine eager'
    norm = opt['norm_D'] if model == 'munit' else opt['norm']
    dropout = model != 'munit' and not opt['no_dropout']
    if dropout or norm in ('batch', 'syncbatch') or opt['gan_mode'] == 'wgangp':
        yield ('--parallel twin is for networks without dropout and batch norm, and not for --gan_mode '
               'wgangp; drop the option')


def two_ways(opt):
    if opt.get('continue_train') and opt.get('overwrite'):
        yield '--continue_train goes on with a run, and --overwrite discards it; drop one of them'


def training(opt):
    if plain(opt['model']) == 'test':
        yield '--model test only translates; train with --model cyclegan, pix2pix or colorization'
    last = opt['n_epochs'] + opt['n_epochs_decay']
    if last == 0:
        yield 'nothing to train: --n_epochs and --n_epochs_decay are both 0; raise one of them'
    elif opt['epoch_count'] > last and not opt['max_iters']:
        yield (f'nothing to train: --epoch_count {opt["epoch_count"]} is after the last epoch {last}; '
               f'raise --n_epochs or --n_epochs_decay')
    if opt['grad_checkpoint'] and plain(opt['model']) != 'munit' and not next(generator(opt), None) and (
            catalog.parse_netG(opt['netG'])[0] != 'resnet' or 'batch' in opt['norm']):
        yield (f'--grad_checkpoint is for generators of residual blocks without batch norm, not for --netG '
               f'{opt["netG"]} --norm {opt["norm"]}; drop it')
    if opt['accumulate'] > 1 and opt['engine'] in ('compile', 'graph'):
        yield f'--accumulate is not for --engine {opt["engine"]}; drop one of them'
    side = cut_size(opt)
    if opt['netD'] not in catalog.NET_D or is_munit(opt):
        return      # told by the parser, or by `munit_sizes`
    smallest = catalog.smallest_image(opt['netD'], opt['n_layers_D'])
    if side is not None and 8 <= side < smallest:      # smaller ones: see `sizes`
        yield (f'--crop_size {side} is too small for --netD {opt["netD"]}, which needs {smallest}; '
               f'use a larger --crop_size, --netD n_layers --n_layers_D 1 or --netD pixel')
