"""Measure translating with full-size networks (ngf 64, random weights) on this machine's CPU.

    python scripts/benchmark_translate.py --out docs/benchmarks/translation

Speed: one process translates a folder of 256x256 PNG files, start included. `plain` does what the original programs do:
PyTorch's own layers, one image after the other, the input and the result written as PNG. Memory: the peak of a process
that translates one square image, with PyTorch and the network. Each case runs in a process of its own.
"""
import argparse
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

from bench.plain import plain_network
from bench.steps import processor
from models import load_translator
from models.networks import create_generator, init_weights
from util.errors import UserError
from util.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]
NETS = {'resnet_9blocks': 'instance', 'unet_256': 'batch'}
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


CHILDREN = {'plain': plain, 'large': large}


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


def measure_speed(folder: Path, netG: str, photos: Path) -> list[dict]:
    count = len(list(photos.iterdir()))
    place = ['--checkpoints_dir', folder, '--gpu_ids', -1]
    test = ['--name', netG, '--dataroot', photos, '--model', 'test', '--netG', netG, '--norm', NETS[netG],
            '--no_dropout', '--num_threads', 0, '--results_dir', folder / 'results']
    cases = {'plain': [COMMAND, '--child', 'plain', folder, netG, photos, folder / f'{netG}_plain'],
             'test.py': ['test.py', *test, *place],
             'translate.py': ['scripts/translate.py', netG, photos, '--output', folder / f'{netG}_out', *place]}
    rows = []
    for name, words in cases.items():
        found = timed(words)
        rows.append(dict(netG=netG, program=name, images=count, seconds=found['wall'], cpu_seconds=found['cpu'],
                         images_per_cpu_second=count / found['cpu']))
    return rows


def measure_memory(folder: Path, netG: str, side: int, tile: int) -> dict:
    found = timed([COMMAND, '--child', 'large', folder, netG, side, tile])
    return dict(netG=netG, side=side, tile=tile, **json.loads(found['out']))


def as_markdown(results: dict) -> str:
    speed = [f'| {row["netG"]} | {row["program"]} | {row["images"]} | {row["seconds"]:.1f} | '
             f'{row["cpu_seconds"]:.1f} | {row["images_per_cpu_second"]:.2f} |' for row in results['speed']]
    memory = [f'| {row["netG"]} | {row["side"]} | {row["tile"] or "whole"} | {row["seconds"]:.0f} | '
              f'{row["memory"] / 2**20:.0f} |' for row in results['memory']]
    machine = f'{results["machine"]}, PyTorch {results["torch"]}'
    return '\n'.join([
        '# Translating', '', f'{machine}; written by `scripts/benchmark_translate.py`. ngf 64, float32.', '',
        '## A folder of 256x256 images, one process, start included', '',
        '| network | program | images | seconds | CPU seconds | images per CPU second |',
        '|---|---|---|---|---|---|', *speed, '',
        '`plain` does what the original programs do. Other programs make seconds longer, but not CPU seconds.', '',
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default='docs/benchmarks/translation', help='writes OUT.json and OUT.md')
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--sides', type=int, nargs='*', default=[1024, 2048])
    parser.add_argument('--tile', type=int, default=512)
    parser.add_argument('--child', nargs='+', help=argparse.SUPPRESS)
    opt = parser.parse_args(argv)
    if opt.child:
        return CHILDREN[opt.child[0]](*opt.child[1:])
    speed, memory = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = draw(folder / 'photos', opt.images)
        for netG, norm in NETS.items():
            (folder / netG).mkdir()
            net = init_weights(create_generator(netG, 3, 3, 64, norm))
            torch.save(net.state_dict(), folder / netG / 'latest_net_G.pth')
            speed += measure_speed(folder, netG, photos)
            memory += [measure_memory(folder, netG, side, tile) for side in opt.sides for tile in (0, opt.tile)]
    results = dict(machine=processor() or platform.machine(), torch=torch.__version__, threads=torch.get_num_threads(),
                   speed=speed, memory=memory)
    for suffix, text in (('.json', json.dumps(results, indent=1)), ('.md', as_markdown(results))):
        with atomic_write(opt.out.with_suffix(suffix)) as file:
            file.write(text)
    print(as_markdown(results))

