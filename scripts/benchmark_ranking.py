"""Which metric finds the best checkpoint? Trains the demo tasks, and scores every epoch by the task's own score.

    python scripts/benchmark_ranking.py --out docs/benchmarks/ranking.md

A part of the training images is held out for the metrics of the training; the task's own score is that of the test
images, whose ground truth is known. For each metric: the score of the epoch that it calls best, relative to the best
score of all epochs. Runs are kept in --folder, so that the same command continues.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'datasets'), str(ROOT / 'scripts')]

import numpy as np

from models.metrics import METRICS
from util.cli import Parser, run
from util.files import atomic_write

SMALL = ['--num_threads', '0', '--display_id', '-1', '--no_html', '--loader', 'cache_ram']
N_TRAIN, N_VAL = 200, 40
# {task: (its main score, side of the images, options of the training, metrics)}: the runs of docs/results.md
TASKS = {
    'facades': ('iou', 64, ['--model', 'pix2pix', '--direction', 'BtoA', '--netG', 'unet_64', '--ngf', '32', '--ndf',
                            '32', '--netD', 'n_layers', '--n_layers_D', '2', '--batch_size', '2', '--lr', '0.0004',
                            '--n_epochs', '6', '--n_epochs_decay', '6'], 'kid_effnet,l1,psnr,ssim,lpips'),
    'day2night': ('class_acc', 64, ['--model', 'cyclegan', '--netG', 'resnet_3blocks', '--ngf', '20', '--ndf', '32',
                                    '--netD', 'n_layers', '--n_layers_D', '2', '--batch_size', '2', '--lr', '0.0004',
                                    '--n_epochs', '4', '--n_epochs_decay', '4'], 'kid_effnet'),
    'shapes': ('iou', 32, ['--model', 'munit', '--ngf', '24', '--ndf', '24', '--style_dim', '4', '--mlp_dim', '64',
                           '--n_res', '2', '--num_scales_D', '1', '--n_layers_D', '3', '--batch_size', '2', '--lr',
                           '0.0003', '--n_epochs', '25', '--n_epochs_decay', '0'], 'kid_effnet,diversity'),
}


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('--out', type=Path, required=True, help='the table, such as docs/benchmarks/ranking.md')
    parser.add_argument('--folder', type=Path, default=Path('ranking'), help='folder of data, runs and results')
    parser.add_argument('--tasks', default=','.join(TASKS))
    parser.add_argument('--seeds', default='1,2,3')
    parser.add_argument('--gpu_ids', default='-1')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def call(*words):
    subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def epochs_of(opt, task: str, seed: int) -> list[dict]:
    """[{name of a score or metric: value}] of the epochs of a run, which is trained now unless it is there."""
    from demo_scores import Demo, score
    from score_demo import load, read_run
    done = opt.folder / 'scores' / f'{task}_{seed}.json'
    if done.is_file():
        return json.loads(done.read_text(encoding='utf-8'))
    _, side, training, metrics = TASKS[task]
    data, name = opt.folder / 'data' / task, f'{task}_{seed}'
    places = ['--name', name, '--checkpoints_dir', opt.folder / 'checkpoints', '--gpu_ids', opt.gpu_ids]
    call('datasets/make_demo.py', '--task', task, '--out', data, '--size', side, '--n_train', N_TRAIN + N_VAL)
    call('train.py', '--dataroot', data, *places, *SMALL, '--load_size', side, '--crop_size', side, '--seed', seed,
         '--overwrite', '--save_epoch_freq', 1, '--val_fraction', N_VAL / (N_TRAIN + N_VAL), '--val_metrics', metrics,
         '--val_epoch_freq', 1, *training)
    lines = [json.loads(line) for line in
             (opt.folder / 'checkpoints' / name / 'losses.jsonl').read_text(encoding='utf-8').splitlines()]
    found = []
    for line in (line for line in lines if 'metrics' in line):
        call('test.py', *places, '--epoch', line['epoch'], '--results_dir', opt.folder / 'results')
        results = opt.folder / 'results' / name / f'test_{line["epoch"]}'
        scores = score(Demo(data), [load(results, entry) for entry in read_run(results)['images']])
        found.append(dict(epoch=line['epoch'], scores=scores, metrics=line['metrics']))
    with atomic_write(done) as file:
        json.dump(found, file, indent=1)
    return found


def chosen(epochs: list[dict], metric: str) -> dict:
    """The epoch that is best by a metric."""
    best = min if METRICS[metric].better == 'lower' else max
    return best((one for one in epochs if one['metrics'][metric] is not None), key=lambda one: one['metrics'][metric])


def table(found: dict[str, dict[int, list[dict]]]) -> str:
    lines = ['| task: score | chosen by | score of the chosen epoch / best score of all epochs, for each seed | mean |',
             '|---|---|---|---|']
    for task, runs in found.items():
        name = TASKS[task][0]
        choices = {metric: [chosen(epochs, metric) for epochs in runs.values()] for metric in TASKS[task][3].split(',')}
        choices['the last epoch'] = [epochs[-1] for epochs in runs.values()]
        for metric, epochs in choices.items():
            best = [max(one['scores'][name] for one in epochs_of_run) for epochs_of_run in runs.values()]
            shares = [one['scores'][name] / value for one, value in zip(epochs, best, strict=True)]
            cells = ', '.join(f'{share:.3f} (epoch {one["epoch"]})' for share, one in zip(shares, epochs, strict=True))
            lines.append(f'| {task}: {name} | {metric} | {cells} | {np.mean(shares):.3f} |')
    return '\n'.join(lines) + '\n'


def main(argv, console):
    opt = parse(argv)
    opt.folder, opt.out = opt.folder.absolute(), opt.out.absolute()
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    found = {}
    for task in opt.tasks.split(','):
        found[task] = {}
        for seed in map(int, opt.seeds.split(',')):
            found[task][seed] = epochs_of(opt, task, seed)
            print(f'{task}, seed {seed}: {len(found[task][seed])} epochs', flush=True)
    with atomic_write(opt.out) as file:
        file.write(table(found))
    print(table(found))


if __name__ == '__main__':
    sys.exit(run(main))
