"""Hashes of everything that short trainings and tests compute, to show that a refactoring changed none of them.

    python scripts/bench/fingerprints.py --out before.json
    git switch my-refactoring
    python scripts/bench/fingerprints.py --out after.json
    python scripts/bench/fingerprints.py --compare before.json after.json

Every run is a real command line: 20 iterations on the CPU with tiny networks and synthetic images. Compare hashes only
on the same machine with the same version of PyTorch.
"""
import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
STEPS = 20
TINY = ('--crop_size', '32', '--ngf', '4', '--ndf', '4', '--num_threads', '0', '--gpu_ids', '-1')
TRAINING = (*TINY, '--load_size', '36', '--display_id', '-1', '--seed', '1', '--print_freq', '1', '--n_epochs', '100',
            '--val_freq', '8', '--cpu_threads', '1')
MODELS = {
    'cyclegan': ('unaligned', ('--netG', 'resnet_6blocks')),
    'pix2pix': ('aligned', ('--netG', 'unet_32')),
    'colorization': ('photos', ('--netG', 'unet_32')),
    'munit': ('unaligned', ('--n_downsample_style', '2', '--n_res', '2', '--num_scales_D', '1', '--n_layers_D', '2')),
    'template': ('aligned', ('--netG', 'unet_32')),
}
TEST_OPTIONS = {'munit': ('--num_styles', '2')}
VARIANTS = {
    'batch1': (),
    'batch2': ('--batch_size', '2'),
    'accumulate2': ('--accumulate', '2'),
    'ema': ('--ema', '0.9'),
    'bf16': ('--precision', 'bf16'),
    'plateau': ('--lr_policy', 'plateau'),
    'batch_norm': ('--norm', 'batch', '--batch_size', '2', '--accumulate', '2'),
    'wgangp': ('--gan_mode', 'wgangp'),
    'grad_checkpoint': ('--grad_checkpoint',),
    '2 processes': (),
    '2 processes, accumulate2': ('--accumulate', '2'),
    'twin': ('--parallel', 'twin'),
}
ONLY = {    # models of the variants that not every model has
    'batch_norm': ('cyclegan', 'pix2pix', 'colorization'),
    'wgangp': ('cyclegan', 'pix2pix'),
    'grad_checkpoint': ('cyclegan', 'munit'),
    'twin': ('cyclegan', 'munit'),
}


def draw_data(folder: Path):
    """Write single photos, aligned pairs and two domains: 5 training, 3 test and 2 validation images each."""
    rng = np.random.default_rng(0)
    for kind, sub, size in (('aligned', '', (80, 40)), ('photos', '', (40, 40)), ('unaligned', 'A', (40, 40)),
                            ('unaligned', 'B', (40, 40))):
        for split, count in (('train', 5), ('test', 3), ('val', 2)):
            place = folder / kind / f'{split}{sub}'
            place.mkdir(parents=True)
            for index in range(count):
                coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
                coarse.resize(size, Image.Resampling.BICUBIC).save(place / f'{index}.png')


def call(tree: Path, command, processes: int = 1):
    """Run a program of `tree`; raises RuntimeError with its output if it fails."""
    launcher = [] if processes == 1 else ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node',
                                          str(processes), '--']
    done = subprocess.run([sys.executable, *launcher, *map(str, command)], cwd=tree, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{" ".join(map(str, command))}: exit code {done.returncode}\n{done.stderr[-2000:]}')


def hash_of(tree) -> str:
    """One hash of nested dicts and lists of tensors and values, in the order of their names."""
    digest = hashlib.sha256()

    def add(value, name=''):
        if isinstance(value, torch.Tensor):
            digest.update(f'{name}{value.dtype}{tuple(value.shape)}'.encode())
            if value.numel():
                digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                add(value[key], f'{name}.{key}')
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                add(item, f'{name}[{index}]')
        else:
            digest.update(f'{name}={value!r}'.encode())
    add(tree)
    return digest.hexdigest()[:16]


def hashes_of_run(folder: Path) -> dict:
    """Hashes of the weights, of the training state (optimizers, pools, ...), and of the losses of every step."""
    found = {path.name: hash_of(torch.load(path, map_location='cpu', weights_only=True))
             for path in sorted(folder.glob('latest_net_*.pth'))}
    training = torch.load(folder / 'latest_training.pth', map_location='cpu', weights_only=True)
    found.update({f'training {name}': hash_of(part) for name, part in training.items()})
    records = map(json.loads, (folder / 'losses.jsonl').read_text(encoding='utf-8').splitlines())
    found['losses'] = hash_of([[record['total_iters'], record['lr'], record['losses']] for record in records])
    return found


def hashes_of_images(folder: Path) -> dict:
    paths = sorted(path for path in folder.rglob('*.png') if 'thumb' not in str(path))
    return {str(path.relative_to(folder)): hash_of(torch.from_numpy(np.array(Image.open(path)))) for path in paths}


def fingerprint(tree: Path, data: Path, work: Path, model: str, variant: str) -> dict:
    """Hashes of a training, of its test, and of the same training stopped in the middle and resumed."""
    kind, options = MODELS[model]
    name = f'{model}_{variant}'.replace(' ', '_').replace(',', '')
    places = ('--checkpoints_dir', work / 'checkpoints', '--dataroot', data / kind, '--name', name)
    processes = 2 if '2 processes' in variant or variant == 'twin' else 1
    train = ['train.py', *places, '--model', model, *TRAINING, *options, *VARIANTS[variant]]
    found = {}
    call(tree, [*train, '--max_iters', STEPS], processes)
    found['train'] = hashes_of_run(work / 'checkpoints' / name)
    if variant in ('batch1', 'ema', 'bf16'):
        call(tree, ['test.py', *places, '--results_dir', work / 'results', '--gpu_ids', '-1', '--num_threads', '0',
                    '--cpu_threads', '1', *TEST_OPTIONS.get(model, ())])
        found['test'] = hashes_of_images(work / 'results' / name)
    if variant in ('batch1', 'accumulate2', 'ema'):
        call(tree, [*train, '--max_iters', STEPS // 2 - 3, '--overwrite'], processes)
        call(tree, ['train.py', *places, '--continue_train', '--max_iters', STEPS], processes)
        found['resumed'] = hashes_of_run(work / 'checkpoints' / name)
    return found


def measure(tree: Path, jobs: int) -> dict:
    """{'model, variant': hashes} of all cases, `jobs` at a time."""
    cases = [(model, variant) for model in MODELS for variant in VARIANTS if model in ONLY.get(variant, MODELS)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        data, work = Path(folder) / 'data', Path(folder) / 'work'
        draw_data(data)

        def one(case):
            try:
                result = fingerprint(tree, data, work, *case)
            except RuntimeError as error:
                result = {'error': str(error)}
            print(*case, 'failed' if 'error' in result else 'ok', flush=True)
            return result
        return {f'{model}, {variant}': result
                for (model, variant), result in zip(cases, pool.map(one, cases), strict=True)}


def flat(tree: dict, prefix: str = '') -> dict:
    """Nested dicts as one: {'a / b': value}."""
    lines = {}
    for key, value in tree.items():
        lines.update(flat(value, f'{prefix}{key} / ') if isinstance(value, dict) else {f'{prefix}{key}': value})
    return lines


def compare(before: dict, after: dict) -> int:
    """Print the hashes that differ; returns their number."""
    before, after = flat(before), flat(after)
    differing = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    for name in differing:
        print(f'{name}: {before.get(name)} -> {after.get(name)}')
    print(f'{len(before.keys() & after.keys()) - len(differing)} equal, {len(differing)} different')
    return len(differing)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--tree', type=Path, default=ROOT, help='folder of the project to run')
    parser.add_argument('--out', type=Path, help='file for the hashes')
    parser.add_argument('--jobs', type=int, default=2, help='number of runs at the same time')
    parser.add_argument('--compare', type=Path, nargs=2, metavar=('BEFORE', 'AFTER'),
                        help='compare two files of hashes instead of running')
    args = parser.parse_args()
    if args.compare:
        return min(1, compare(*(json.loads(path.read_text(encoding='utf-8')) for path in args.compare)))
    hashes = measure(args.tree.resolve(), args.jobs)
    args.out.write_text(json.dumps(hashes, indent=1), encoding='utf-8')
    return int(any('error' in result for result in hashes.values()))


if __name__ == '__main__':
    sys.exit(main())
