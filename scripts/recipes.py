"""Train the ablations of a paper in a reduced form, and write the table next to the paper's.

    python datasets/make_demo.py --task facades --out datasets/demo/facades
    python scripts/recipes.py losses --dataroot datasets/demo/facades --seeds 0,1,2
    python scripts/recipes.py patches --dataroot datasets/facades --size 128 --epochs 20 -- --gpu_ids 0

Tables: losses, skips, patches (pix2pix, tables 1 to 3: labels to photo), labels (table 6: photo to labels), styles
(MUNIT, table 1). Each row is trained and tested for each seed; what is finished is kept, so that the same command
continues. Results are in OUT/table.md and OUT/table.json. What follows `--` is passed to train.py.

Demo datasets are scored against their ground truth, which is an FCN score. Others have L1, SSIM and, if their weights
are here, LPIPS and KID; photo to labels has FCN scores by the nearest color.
"""
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'datasets'), str(ROOT / 'scripts')]

import numpy as np

from util.cli import Parser, run
from util.errors import UserError
from util.files import atomic_write

FCN = ('pixel_acc', 'class_acc', 'iou')
LARGE_PATCH = 128       # smallest images that --netD patch286 takes


class Row(NamedTuple):
    name: str
    options: tuple
    paper: tuple            # values of the paper, for `Table.paper_scores`
    smallest: int = 0       # side of the images


class Table(NamedTuple):
    source: str
    paper_scores: tuple     # what the paper reports, best last
    rows: tuple
    direction: str = 'BtoA'
    model: tuple = ('--model', 'pix2pix')
    main: str = 'iou'       # the score whose order is compared
    test: tuple = ()


L1_ALONE, CGAN, GAN = ('--lambda_gan', '0'), ('--lambda_L1', '0'), ('--lambda_L1', '0', '--unconditional_D')
TABLES = {
    'losses': Table('pix2pix, table 1: labels to photo on Cityscapes, by loss', FCN, (
        Row('L1', L1_ALONE, (0.42, 0.15, 0.11)), Row('GAN', GAN, (0.22, 0.05, 0.01)),
        Row('cGAN', CGAN, (0.57, 0.22, 0.16)), Row('L1+GAN', ('--unconditional_D',), (0.64, 0.20, 0.15)),
        Row('L1+cGAN', (), (0.66, 0.23, 0.17)))),
    'skips': Table('pix2pix, table 2: labels to photo on Cityscapes, by generator', FCN, (
        Row('encoder-decoder, L1', ('--netG', 'encdec_{size}', *L1_ALONE), (0.35, 0.12, 0.08)),
        Row('encoder-decoder, L1+cGAN', ('--netG', 'encdec_{size}'), (0.29, 0.09, 0.05)),
        Row('U-Net, L1', L1_ALONE, (0.48, 0.18, 0.13)), Row('U-Net, L1+cGAN', (), (0.55, 0.20, 0.14)))),
    'patches': Table('pix2pix, table 3: labels to photo on Cityscapes, by receptive field of the discriminator', FCN, (
        Row('1x1', ('--netD', 'pixel'), (0.39, 0.15, 0.10)), Row('16x16', ('--netD', 'patch16'), (0.65, 0.21, 0.17)),
        Row('70x70', ('--netD', 'patch70'), (0.66, 0.23, 0.17)),
        Row('286x286', ('--netD', 'patch286'), (0.42, 0.16, 0.11), LARGE_PATCH))),
    'labels': Table('pix2pix, table 6: photo to labels on Cityscapes, by loss', FCN, (
        Row('L1', L1_ALONE, (0.86, 0.42, 0.35)), Row('cGAN', CGAN, (0.74, 0.28, 0.22)),
        Row('L1+cGAN', (), (0.83, 0.36, 0.29))), direction='AtoB'),
    'styles': Table('MUNIT, table 1: edges to shoes, LPIPS between styles', ('diversity',), (
        Row('without L_recon^x', ('--lambda_recon_x', '0'), (0.213,)),
        Row('without L_recon^c', ('--lambda_recon_c', '0'), (0.172,)),
        Row('without L_recon^s', ('--lambda_recon_s', '0'), (0.070,)), Row('MUNIT', (), (0.109,))),
        direction='AtoB', model=('--model', 'munit'), main='diversity', test=('--num_styles', '20')),
}


def parse(argv):
    ours, more = (argv[:argv.index('--')], argv[argv.index('--') + 1:]) if '--' in argv else (argv, [])
    parser = Parser(__doc__)
    parser.add_argument('table', choices=TABLES)
    parser.add_argument('--dataroot', type=Path, required=True, help='dataset with train, and val or test')
    parser.add_argument('--out', type=Path, help='folder of the runs and the table (default: ./recipes/TABLE)')
    parser.add_argument('--seeds', default='0,1,2', help='each row is trained with each of these')
    parser.add_argument('--size', type=int, default=64, help='side of the images: a power of 2')
    parser.add_argument('--epochs', type=int, default=10, help='half of them with a falling learning rate')
    parser.add_argument('--ngf', type=int, default=16, help='width of both networks; 64 in the papers')
    parser.add_argument('--batch_size', type=int, default=4)
    parser.add_argument('--lr', default='0.0004')
    parser.add_argument('--phase', default='', help='which images are tested (default: test, or val)')
    parser.add_argument('--palette', default='', help='colors of the classes for the table `labels`')
    parser.add_argument('--metric_weights', type=Path, metavar='PATH', help='weights of networks of metrics')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    opt = parser.parse_args(ours)
    opt.more = more
    opt.out = (opt.out or Path('recipes') / opt.table).absolute()
    opt.dataroot = opt.dataroot.absolute()
    check(opt)
    return opt


def check(opt):
    problems = []
    if opt.size < 32 or opt.size & (opt.size - 1):
        problems.append(f'--size {opt.size} is not a power of 2 of at least 32')
    if not all(seed.strip().isdecimal() for seed in opt.seeds.split(',')):
        problems.append(f'--seeds {opt.seeds}: give whole numbers, such as 0,1,2')
    if min(opt.epochs, opt.ngf, opt.batch_size) < 1:
        problems.append('--epochs, --ngf and --batch_size must be at least 1')
    splits = [name for name in ('test', 'val', 'testA') if (opt.dataroot / name).is_dir()]
    if not splits:
        problems.append(f'{opt.dataroot} has neither test nor val; give a dataset with --dataroot')
    if opt.table == 'labels' and not (opt.palette or is_demo(opt.dataroot)):
        problems.append('the table labels needs the colors of the classes; add --palette cityscapes, facades or FILE')
    if problems:
        raise UserError(*problems)
    opt.phase = opt.phase or splits[0].removesuffix('A')
    opt.seeds = [int(seed) for seed in opt.seeds.split(',')]


def is_demo(folder: Path) -> bool:
    return (folder / 'demo.json').is_file() and (folder / 'truth').is_dir()


# ---- running

def train_words(opt, table: Table, row: Row, seed: int, name: str) -> list[str]:
    falling = opt.epochs // 2
    generator = ['--netG', f'unet_{opt.size}', '--ndf', str(opt.ngf)] if 'pix2pix' in table.model else []
    length = ['--n_epochs', str(opt.epochs - falling), '--n_epochs_decay', str(falling), '--lr', opt.lr]
    chosen = [option.format(size=opt.size) for option in row.options]
    if '--netG' in chosen:
        generator = generator[2:]
    return ['train.py', '--dataroot', str(opt.dataroot), '--name', name, '--checkpoints_dir', str(opt.out / 'runs'),
            '--overwrite', *table.model, '--direction', table.direction, *generator, '--ngf', str(opt.ngf),
            '--load_size', str(opt.size), '--crop_size', str(opt.size), '--batch_size', str(opt.batch_size), *length,
            '--seed', str(seed), '--num_threads', '0', '--display_id', '-1', '--no_html', *chosen, *opt.more]


def test_words(opt, table: Table, name: str) -> list[str]:
    devices = opt.more[opt.more.index('--gpu_ids'):][:2] if '--gpu_ids' in opt.more else []
    return ['test.py', '--dataroot', str(opt.dataroot), '--name', name, '--checkpoints_dir', str(opt.out / 'runs'),
            '--results_dir', str(opt.out / 'results'), '--phase', opt.phase, '--num_test', 'inf', '--num_threads', '0',
            *table.test, *devices]


def call(words: list[str], log: Path):
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'a', encoding='utf-8') as file:
        print('$ python', *words, file=file, flush=True)
        code = subprocess.call([sys.executable, *words], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    if code:
        last = log.read_text(encoding='utf-8', errors='replace').strip().splitlines()[-1]
        raise UserError(f'{words[0]} ended with exit code {code}: {last}; the whole output is in {log}')


def finished(opt, table: Table, row: Row, seed: int) -> dict:
    """The scores of a row for a seed, trained now unless they are there."""
    name = re.sub(r'[^\w.-]+', '_', f'{row.name}_{seed}')
    training, testing = train_words(opt, table, row, seed, name), test_words(opt, table, name)
    words = [*training, *testing]
    path, log = opt.out / 'scores' / f'{name}.json', opt.out / 'logs' / f'{name}.txt'
    if path.is_file():
        found = json.loads(path.read_text(encoding='utf-8'))
        if found['words'] == words:
            return found['scores']
    call(training, log)
    call(testing, log)
    scores = scores_of(opt, table, opt.out / 'results' / name / f'{opt.phase}_latest')
    with atomic_write(path) as file:
        json.dump(dict(words=words, scores=scores), file, indent=1)
    return scores


def scores_of(opt, table: Table, folder: Path) -> dict[str, float]:
    """{name: value} of the results in a folder."""
    found = {}
    if is_demo(opt.dataroot) and opt.table != 'labels':
        from demo_scores import Demo, score
        from score_demo import load, read_run
        content = read_run(folder)
        found = score(Demo(opt.dataroot), [load(folder, entry) for entry in content['images']])
    return {**measured(opt, table, folder), **found}


def measured(opt, table: Table, folder: Path) -> dict[str, float]:
    from evaluation.images import tasks_of_results
    from evaluation.measure import measure

    from models import metrics
    task = tasks_of_results(folder)[0]
    names = ['l1', 'ssim', 'lpips', 'kid_effnet'] if task.has_targets else ['kid_effnet', 'diversity']
    names = [name for name in names if metrics.is_available(name, opt.metric_weights)]
    palette = {}
    if opt.table == 'labels':
        names, palette = ['fcn_labels', *names], {'palette': opt.palette or demo_palette(opt.dataroot)}
    made = metrics.create(names, opt.metric_weights, **palette)
    measure(task, made)
    found = {name: value for metric in made for name, value in metric.compute().items() if not name.endswith('_se')}
    renamed = {'fcn_labels': 'iou', 'fcn_labels_class_acc': 'class_acc', 'fcn_labels_pixel_acc': 'pixel_acc'}
    return {renamed.get(name, name): value for name, value in found.items()}


def demo_palette(dataroot: Path):
    """The colors of the labels of a demo: the right halves of its pairs."""
    from PIL import Image

    from models.metrics.segmentation import Colors
    from util.raster.labels import found_in
    pairs = [np.asarray(Image.open(path).convert('RGB')) for path in sorted((dataroot / 'train').glob('*.png'))[:20]]
    return Colors(found_in(pair[:, pair.shape[1] // 2:] for pair in pairs).colors)


# ---- the table

def means_of(scores: list[dict]) -> dict[str, tuple[float, float]]:
    """{name: (mean, standard deviation)} over the seeds."""
    names = [name for name in scores[0] if all(name in one for one in scores)]
    values = {name: np.array([one[name] for one in scores]) for name in names}
    return {name: (float(value.mean()), float(value.std(ddof=1)) if len(value) > 1 else 0.0)
            for name, value in values.items()}


def order_text(table: Table, rows: list[Row], means: dict) -> str:
    """Which pairs of rows are in another order than in the paper."""
    name, number = table.main, table.paper_scores.index(table.main)
    if not all(name in found for found in means.values()):
        return f'The order is not compared: these results have no {name}.'
    pairs = [(one, other) for one, other in itertools.combinations(rows, 2) if one.paper[number] != other.paper[number]]
    turned, unclear = [], []
    for one, other in pairs:
        difference = means[one.name][name][0] - means[other.name][name][0]
        spread = np.hypot(means[one.name][name][1], means[other.name][name][1])
        text = f'{one.name} and {other.name}'
        if abs(difference) < spread:
            unclear.append(text)
        elif (difference > 0) != (one.paper[number] > other.paper[number]):
            turned.append(text)
    agree = len(pairs) - len(turned) - len(unclear)
    parts = [f'By {name}, {agree} of {len(pairs)} pairs of rows are in the order of the paper']
    parts += [f'in the opposite order: {"; ".join(turned)}'] if turned else []
    parts += [f'closer than the spread over the seeds: {"; ".join(unclear)}'] if unclear else []
    return '. '.join(part[0].upper() + part[1:] for part in parts) + '.'


def markdown(opt, table: Table, rows: list[Row], means: dict) -> str:
    names = list(dict.fromkeys(name for found in means.values() for name in found))
    names = [*(name for name in table.paper_scores if name in names),
             *(name for name in names if name not in table.paper_scores)]
    head = ['', *names, *(f'paper: {name}' for name in table.paper_scores)]
    lines = [f'# {table.source}', '', f'{opt.dataroot.name}, {opt.size} px, {opt.epochs} epochs, batch '
             f'{opt.batch_size}, ngf {opt.ngf}, seeds {", ".join(map(str, opt.seeds))}: mean and standard deviation '
             'over the seeds.', '', '| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    for row in rows:
        cells = [f'{means[row.name][name][0]:.3g} ± {means[row.name][name][1]:.2g}' if name in means[row.name] else '-'
                 for name in names]
        lines.append('| ' + ' | '.join([row.name, *cells, *(f'{value:g}' for value in row.paper)]) + ' |')
    left_out = [row.name for row in table.rows if row not in rows]
    notes = [f'{", ".join(left_out)}: needs images of {LARGE_PATCH} px.'] if left_out else []
    return '\n'.join([*lines, '', order_text(table, rows, means), *notes, ''])


def main(argv, console):
    opt = parse(argv)
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    table = TABLES[opt.table]
    rows = [row for row in table.rows if opt.size >= row.smallest]
    found = {row.name: [] for row in rows}
    for seed in opt.seeds:
        for row in rows:
            found[row.name].append(finished(opt, table, row, seed))
            print(f'{row.name}, seed {seed}: ' + ', '.join(
                f'{name} {value:.4g}' for name, value in found[row.name][-1].items()), flush=True)
    means = {name: means_of(scores) for name, scores in found.items()}
    text = markdown(opt, table, rows, means)
    with atomic_write(opt.out / 'table.md') as file:
        file.write(text)
    with atomic_write(opt.out / 'table.json') as file:
        json.dump(dict(table=opt.table, seeds=opt.seeds, scores=found), file, indent=1)
    print(f'\n{text}\n{opt.out / "table.md"}')


if __name__ == '__main__':
    sys.exit(run(main))
