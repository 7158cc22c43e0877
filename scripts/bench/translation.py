"""Measure translating with full-size networks (ngf 64, random weights) on this machine's CPU.

    python scripts/benchmark_translate.py --out docs/benchmarks/translation

Speed: one process translates a folder of 256x256 PNG files, start included. `plain` does what the original programs do:
PyTorch's own layers, one image after the other, the input and the result written as PNG. Memory: the peak of a process
that translates one square image, with PyTorch and the network. Each case runs in a process of its own, and the results
are written after each.
"""
import argparse
import itertools
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from bench.plain import plain_network
from bench.steps import processor
from models import load_translator
from models.networks import create_generator, init_weights
from util.cli import Parser
from util.errors import UserError
from util.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]
NETS = {'unet_256': 'batch', 'resnet_9blocks': 'instance'}
COMMAND = 'scripts/benchmark_translate.py'
SIDE = 256


# ---- in a process of its own

def plain(checkpoints: str, netG: str, photos: str, output: str):
    """Translate a folder as the original programs do."""
    net = create_generator(netG, 3, 3, 64, NETS[netG])
    net.load_state_dict(torch.load(Path(checkpoints) / netG / 'latest_net_G.pth', weights_only=True))
    net = plain_network(net)
    Path(output).mkdir()
    for path in sorted(Path(photos).iterdir()):
        image = Image.open(path).convert('RGB').resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255).sub(0.5).div(0.5)
        with torch.no_grad():
            fake = net(tensor[None])[0]
        for name, result in (('real', tensor), ('fake', fake)):
            levels = (result.permute(1, 2, 0).numpy() + 1) / 2 * 255
            Image.fromarray(levels.astype(np.uint8)).save(Path(output) / f'{path.stem}_{name}.png')


def large(checkpoints: str, netG: str, side: str, tile: str):
    """Translate one image of noise; prints the seconds and the bytes."""
    translate = load_translator(Path(checkpoints) / netG, no_dropout=True)
    image = np.random.default_rng(0).integers(0, 256, (int(side), int(side), 3), dtype=np.uint8)
    start = time.process_time()
    translate(image, tile=int(tile) if tile != '0' else None)
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(dict(seconds=time.process_time() - start, memory=memory)))


def rates(checkpoints: str, netG: str):
    """Prints GFLOP of an image, and GFLOP/s of the network and of a 3x3 convolution of 256 channels, alone."""
    translate = load_translator(Path(checkpoints) / netG, no_dropout=True)
    image = torch.rand(1, 3, SIDE, SIDE)
    layer = torch.nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.rand(1, 256, 64, 64).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        cases = {'net': (lambda: translate(image), translate.translation()), 'layer': (lambda: layer(x), layer)}
        found = {}
        for name, (compute, module) in cases.items():
            with FlopCounterMode(display=False) as counter:
                module(image if name == 'net' else x)
            compute()
            found[name] = counter.get_total_flops() / 1e9, min(cpu_seconds(compute) for _ in range(5))
    print(json.dumps(dict(gflop=found['net'][0], **{name: work / seconds for name, (work, seconds) in found.items()})))


def cpu_seconds(compute) -> float:
    start = time.process_time()
    compute()
    return time.process_time() - start


CHILDREN = {'plain': plain, 'large': large, 'rates': rates}


# ---- the measurement

def timed(words: list) -> dict:
    """Wall and CPU seconds of a process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError(f'{words[0]} failed: {done.stderr.strip()[-500:]}')
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return dict(wall=wall, cpu=cpu, out=done.stdout)


def measure_speed(folder: Path, netG: str, photos: Path):
    """Yields a row for each program."""
    count = len(list(photos.iterdir()))
    place = ['--checkpoints_dir', folder, '--gpu_ids', -1]
    test = ['--name', netG, '--dataroot', photos, '--model', 'test', '--netG', netG, '--norm', NETS[netG],
            '--no_dropout', '--num_threads', 0, '--results_dir', folder / 'results']
    command = ['scripts/translate.py', netG, photos, *place, '--output']
    cases = {'plain': [COMMAND, '--child', 'plain', folder, netG, photos, folder / f'{netG}_plain'],
             'test.py': ['test.py', *test, *place],
             'translate.py': [*command, folder / f'{netG}_1'],
             'translate.py --winograd': [*command, folder / f'{netG}_w', '--winograd'],
             'translate.py --batch_size 8': [*command, folder / f'{netG}_8', '--batch_size', 8]}
    for name, words in cases.items():
        found = timed(words)
        yield dict(netG=netG, program=name, images=count, seconds=found['wall'], cpu_seconds=found['cpu'],
                   images_per_cpu_second=count / found['cpu'])


def measure_memory(folder: Path, netG: str, side: int, tile: int) -> dict:
    """The seconds and memory; without them if the process failed, or was killed, for want of memory."""
    try:
        found = json.loads(timed([COMMAND, '--child', 'large', folder, netG, side, tile])['out'])
    except UserError as error:
        if 'memory' not in str(error) and str(error).split(': ')[-1]:
            raise
        found = dict(seconds=None, memory=None)
    return dict(netG=netG, side=side, tile=tile, **found)


def as_markdown(results: dict) -> str:
    plain_rate = {row['netG']: row['images_per_cpu_second'] for row in results['speed'] if row['program'] == 'plain'}
    speed = [f'| {row["netG"]} | {row["program"]} | {row["images"]} | {row["seconds"]:.1f} | '
             f'{row["cpu_seconds"]:.1f} | {row["images_per_cpu_second"]:.2f} | '
             f'{row["images_per_cpu_second"] / plain_rate[row["netG"]]:.2f} |' for row in results['speed']]
    rates = [f'| {row["netG"]} | {row["gflop"]:.0f} | {row["net"]:.0f} | {row["layer"]:.0f} |'
             for row in results['rates']]
    memory = [f'| {row["netG"]} | {row["side"]} | {row["tile"] or "whole"} | {row["seconds"]:.0f} | '
              f'{row["memory"] / 2**20:.0f} |' if row['memory'] else
              f'| {row["netG"]} | {row["side"]} | {row["tile"] or "whole"} | | does not fit |'
              for row in results['memory']]
    machine = f'{results["machine"]}, {results["threads"]} CPU threads, PyTorch {results["torch"]}'
    return '\n'.join([
        '# Translating', '', f'{machine}; written by `scripts/benchmark_translate.py`. ngf 64, float32.', '',
        '## A folder of 256x256 images, one process, start included', '',
        '| network | program | images | seconds | CPU seconds | images per CPU second | to plain |',
        '|---|---|---|---|---|---|---|', *speed, '',
        '`plain` does what the original programs do. Other programs make seconds longer, but CPU seconds only a '
        'little.', '',
        '| network | GFLOP of an image | GFLOP/s of the network | GFLOP/s of a 3x3 convolution alone |',
        '|---|---|---|---|', *rates, '',
        '## One large image', '',
        '| network | side | tile | CPU seconds | peak memory of the process, MiB |',
        '|---|---|---|---|---|', *memory, ''])


def draw(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f'{index:03}.png')
    return folder


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('--out', type=Path, default='docs/benchmarks/translation', help='writes OUT.json and OUT.md')
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--sides', type=int, nargs='*', default=[1024, 2048, 4096])
    parser.add_argument('--tile', type=int, default=512)
    parser.add_argument('--child', nargs='+', help=argparse.SUPPRESS)
    opt = parser.parse_args(argv)
    if opt.child:
        return CHILDREN[opt.child[0]](*opt.child[1:])
    results = dict(machine=processor() or platform.machine(), torch=torch.__version__, threads=torch.get_num_threads(),
                   speed=[], rates=[], memory=[])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = draw(folder / 'photos', opt.images)
        for netG, norm in NETS.items():
            (folder / netG).mkdir()
            net = init_weights(create_generator(netG, 3, 3, 64, norm))
            torch.save(net.state_dict(), folder / netG / 'latest_net_G.pth')
        for netG in NETS:
            for row in measure_speed(folder, netG, photos):
                results['speed'].append(row)
                write(opt.out, results)
            found = timed([COMMAND, '--child', 'rates', folder, netG])
            results['rates'].append(dict(netG=netG, **json.loads(found['out'])))
        for side in opt.sides:
            for netG, tile in itertools.product(NETS, (0, opt.tile)):
                results['memory'].append(measure_memory(folder, netG, side, tile))
                write(opt.out, results)
    print(as_markdown(results))


def write(out: Path, results: dict):
    for suffix, text in (('.json', json.dumps(results, indent=1)), ('.md', as_markdown(results))):
        with atomic_write(out.with_suffix(suffix)) as file:
            file.write(text)
