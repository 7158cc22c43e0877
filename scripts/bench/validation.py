"""Measure the cost of a validation image relative to a training image, and its share of the time at the defaults.

    python scripts/benchmark_validation.py --out docs/benchmarks/validation

Each round makes some training steps and validates some images, in turn. On a CPU, time is the CPU time of one thread.
"""
import json
import platform
import shutil
import statistics
import tempfile
from pathlib import Path

import torch

from bench import measure
from bench.steps import SIDES, SIDES_OF, options_of
from data import create_dataset, create_loader, held_out
from models import create_model, create_trainer, create_validation
from models.training.progress import Progress
from models.validation.validation import TRAINING_PER_VALIDATION
from options import ValidationOptions
from util.cli import Parser
from util.files import atomic_write
from util.machine.runtime import choose_device, start_runtime

IMAGES = 12     # of each split and domain
CASES = {'pix2pix': 'l1,psnr,ssim', 'cyclegan': 'kid_effnet', 'munit': 'kid_effnet,diversity'}     # metrics


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('--models', default=','.join(CASES), help='names, separated by commas')
    parser.add_argument('--gpu_ids', default='0', help='-1 for the CPU')
    parser.add_argument('--rounds', type=int, default=5, help='rounds of each case')
    parser.add_argument('--out', type=Path, help='write OUT.json and OUT.md instead of printing')
    return parser.parse_args(argv)


def draw(folder: Path) -> Path:
    """Images of all datasets, for training and for validation."""
    if not folder.exists():
        measure.write_images(folder, IMAGES, (300, 300))
        for name in ('train', 'trainA', 'trainB'):
            shutil.copytree(folder / name, folder / name.replace('train', 'val'))
    return folder


def case(model: str, root: Path, gpu_ids: str, rounds: int) -> dict:
    """Seconds of a training image and a validation image, the same networks and images, in each round."""
    metrics = CASES[model]
    device = choose_device(gpu_ids, False)[0]
    kind = 'cpu' if device.type == 'cpu' else 'gpu'
    side = SIDES_OF.get((model, kind), SIDES[kind])
    opt = options_of(model, side, 1, draw(root / 'images'), '--val_metrics', metrics, '--gpu_ids', gpu_ids)
    runtime = start_runtime(gpu_ids, 1 if kind == 'cpu' else 0, seed=1, precision='auto')
    dataset = create_dataset(opt)
    trainer = create_trainer(opt, create_model(opt, runtime))
    test_opt = ValidationOptions(opt).parse()
    validation = create_validation(opt, test_opt, trainer, held_out(test_opt, dataset), len(dataset))
    trainer.set_learning_rate(Progress(last_epoch=200))
    batches = [batch for batch in create_loader(dataset, opt, device=runtime.device)][:4]
    images = validation.validator.size
    works = {'train': lambda: [trainer.step(batch) for batch in batches],
             'validate': lambda: validation.validator.run(lambda: True)}
    for work in works.values():
        work()
    times = measure.alternate(measure.Clock(runtime.device), works, rounds)
    step = [seconds / len(batches) for seconds in times['train']]
    image = [seconds / images for seconds in times['validate']]
    shares = sorted(100 * b / (TRAINING_PER_VALIDATION * a + b) for a, b in zip(step, image, strict=True))
    return dict(model=model, side=side, metrics=metrics, train_ms=1e3 * statistics.median(step),
                validate_ms=1e3 * statistics.median(image), percent=statistics.median(shares),
                percent_lowest=shares[0], percent_highest=shares[-1], device=runtime.description)


def markdown(rows: list[dict], rounds: int) -> str:
    lines = ['# What validation during training costs', '',
             f'Networks and sizes of the models, batches of 1, {rounds} rounds in which training steps and validations '
             f'alternate. On a CPU, time is the CPU time of one thread, without reading training images, so that the '
             f'share is an upper bound. The share is that of a run with the default --val_epoch_freq auto: '
             f'{TRAINING_PER_VALIDATION} training images for each validation image. The first validation of a run also '
             f'imports libraries and computes the features of the real images: some seconds, once.', '',
             '| model | metrics | training image (ms) | validation image (ms) | share of the time | lowest to highest '
             'round |', '| --- | --- | --- | --- | --- | --- |']
    for row in rows:
        lines.append(f'| {row["model"]}, {row["side"]} px | {row["metrics"]} | {row["train_ms"]:.0f} | '
                     f'{row["validate_ms"]:.0f} | {row["percent"]:.2f} % | {row["percent_lowest"]:.2f} to '
                     f'{row["percent_highest"]:.2f} % |')
    return '\n'.join([*lines, '', f'Device: {rows[0]["device"]}; PyTorch {torch.__version__}, Python '
                      f'{platform.python_version()}. Repeat with `python scripts/benchmark_validation.py --out '
                      'docs/benchmarks/validation`.', ''])


def main(argv, console):
    opt = parse(argv)
    with tempfile.TemporaryDirectory() as root:
        rows = [case(model, Path(root), opt.gpu_ids, opt.rounds) for model in opt.models.split(',')]
    if opt.out is None:
        print(markdown(rows, opt.rounds))
        return
    for ending, text in (('.json', json.dumps(rows, indent=1) + '\n'), ('.md', markdown(rows, opt.rounds))):
        with atomic_write(opt.out.with_name(opt.out.name + ending)) as file:
            file.write(text)
    print(f'wrote {opt.out.absolute()}.md and .json')
