"""Options that say how image files are read and written: value ranges, bands, classes, folders, augmentation."""
import argparse
import math
import re
from pathlib import Path

from util.raster.palettes import PALETTES

from .parser import names_of, number, place, whole

NUMBER = r'[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?'
DOMAINS = ('A', 'B')
AUGMENTATIONS = ('none', 'flip', 'vflip', 'rot90', 'affine', 'color')    # of data/augment.py; flip is there by default


def value_range(text: str) -> str:
    """`auto`, `0,1400` or `1%,99%`; for several folders, one for each, separated by colons."""
    for part in text.split(':'):
        pair = re.fullmatch(rf'\s*({NUMBER})(%?)\s*,\s*({NUMBER})(%?)\s*', part)
        finite = pair and math.isfinite(float(pair[1])) and math.isfinite(float(pair[3]))
        if part != 'auto' and not (finite and float(pair[1]) < float(pair[3]) and pair[2] == pair[4]):
            raise argparse.ArgumentTypeError('needs auto, or the lowest and the highest value, such as 0,1400 or 1%,99%')
        if pair and pair[2] and not 0 <= float(pair[1]) < float(pair[3]) <= 100:
            raise argparse.ArgumentTypeError('needs percentiles from 0% to 100%')
    return text.replace(' ', '')


def band_list(text: str) -> str:
    """Numbers of bands from 1, separated by commas."""
    if text and not re.fullmatch(r'[1-9]\d*(,[1-9]\d*)*', text):
        raise argparse.ArgumentTypeError('needs numbers of bands from 1, such as 4,3,2')
    return text


def shown_bands(text: str) -> str:
    if band_list(text).count(',') not in (0, 2):
        raise argparse.ArgumentTypeError('needs one band for gray, or three for red, green and blue, such as 4,3,2')
    return text


def label_table(text: str) -> str:
    """`auto`, the name of a palette, a file with the classes, or the classes themselves."""
    if text in PALETTES:
        return ','.join(' '.join(map(str, color)) for colors in PALETTES[text] for color in colors)
    if text in ('', 'auto') or '=' in text or ',' in text:
        return text
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f'needs auto, {", ".join(PALETTES)}, or a file with a line for each class, such as 0 = 255 0 0')
    lines = [line.partition('#')[0].strip() for line in Path(text).read_text(encoding='utf-8').splitlines()]
    if not any(lines):
        raise argparse.ArgumentTypeError('needs a file with a line for each class, such as 0 = 255 0 0; this one is empty')
    return ','.join(line.replace(',', ' ') for line in lines if line)


def add_image_options(parser):
    """Options of train.py and test.py alike."""
    group = parser.add_argument_group('files (docs/datasets.md)')
    for name in DOMAINS:
        group.add_argument(f'--folder_{name}', type=place, nargs='+', default=(), metavar='DIR', help=f'folder of {name}, instead of the usual places in --dataroot; several folders are channels of one image, matched by name')
    for name in DOMAINS:
        group.add_argument(f'--list_{name}', type=place, default='', metavar='FILE', help=f'file with the path of an image of {name} in each line, relative to --dataroot')
    group.add_argument('--pairs', type=place, default='', metavar='FILE', help='pairs in a CSV file (path of A, path of B) or in JSON lines ({"A": ..., "B": ...}), relative to --dataroot')
    group.add_argument('--val_fraction', type=number(0, below=1), default=0.0, metavar='X', help='hold out this part of the training images, as phases val and test, where these have no folder')
    group.add_argument('--split_seed', type=whole(0), default=0, help='seed of --val_fraction')
    group = parser.add_argument_group('images (docs/datasets.md)')
    for name in DOMAINS:
        group.add_argument(f'--range_{name}', type=value_range, default='auto', metavar='LO,HI', help=f'values of {name} that are -1 and 1 for the networks, such as 0,1400, or percentiles 1%%,99%%; auto: the full range for 8 bits, else the range found in the training images')
    group.add_argument('--bands', type=band_list, default='', metavar='N,N', help='bands to read, counted from 1, such as 4,3,2; default: the first ones')
    for name in DOMAINS:
        group.add_argument(f'--bands_{name}', type=band_list, default='', metavar='N,N', help=f'--bands of {name} alone')
    group.add_argument('--pages', default='first', choices=('first', 'all'), metavar='HOW', help='of a file with several pages or frames: first, or all as channels')
    for name in DOMAINS:
        group.add_argument(f'--labels_{name}', type=label_table, default='', metavar='FILE', help=f'images of {name} are label maps: a file with the classes (0 = 255 0 0 in each line), cityscapes, facades, or auto')
    for name in DOMAINS:
        group.add_argument(f'--dtype_{name}', default='', metavar='TYPE', help=f'type and channels of the files of {name}, such as uint16,1; found in training, and used to write results')
    group.add_argument('--show_bands', type=shown_bands, default='', metavar='N,N,N', help='bands that pages show as red, green and blue; default: the first three, or the first')


def add_augment_options(parser):
    """Options of train.py."""
    group = parser.add_argument_group('augmentation')
    group.add_argument('--augment', type=names_of(AUGMENTATIONS), default='none', metavar='NAMES', help=f'random changes of training images besides crop and flip, separated by commas: {", ".join(AUGMENTATIONS[1:])}; a pair is moved alike')
    group.add_argument('--augment_preview', type=whole(0), default=0, metavar='N', help='write N augmented samples to augment_preview.png in the run folder')


def add_output_options(parser):
    """Options of test.py."""
    group = parser.add_argument_group('results')
    group.add_argument('--save_as', default='', choices=('png', 'jpg', 'tif', 'npy'), metavar='TYPE', help='file type of results: png, jpg, tif, npy; default: png for 8-bit images, else that of the input')
    group.add_argument('--clip', action='store_true', help='list how many values of each image are outside the range and were clipped')


def joined(argv: list[str]) -> list[str]:
    """`--range_A -1000,3000` as one word: argparse would take the value for an option."""
    words = []
    for word in argv:
        if words and words[-1].startswith('--range_') and '=' not in words[-1] and re.match(r'-[\d.]', word):
            words[-1] += f'={word}'
        else:
            words.append(word)
    return words


def dataroot_of(values: dict) -> str | None:
    """--dataroot, or where the folders, lists or pairs are that the command line names."""
    named = [*(values.get('folder_A') or ()), *(values.get('folder_B') or ()),
             *filter(None, (values.get(name) for name in ('pairs', 'list_A', 'list_B')))]
    return values['dataroot'] or (str(Path(named[0]).parent) if named else None)
