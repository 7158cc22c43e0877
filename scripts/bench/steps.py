"""Benchmark training, translation and loading against a plain implementation of the same work (plain.py).

    python scripts/benchmark.py --quick                          a few minutes, also on a CPU
    python scripts/benchmark.py --all --out docs/benchmarks      every model, engine, precision and batch size

The variants of a case alternate in one process; results are medians over the rounds. On a CPU, time is the CPU time
of one thread. Writes benchmark_<device>.json and .md.
"""
import itertools
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import torch

from bench import measure
from bench.plain import FORMULATIONS, plain_network
from data import create_dataset
from models import create_model, create_trainer
from models.nets.winograd import use_winograd
from options import TrainOptions
from util.cli import Parser
from util.files import atomic_write
from util.machine.runtime import choose_device, choose_precision, gain_of_bf16, keep_freed_memory, start_runtime

SIDES = {'gpu': 256, 'cpu': 128}        # image size
SIDES_OF = {('pix2pix', 'cpu'): 256, ('colorization', 'cpu'): 256}
EXTRA_OPTIONS = {'pix2pix': ['--no_dropout'], 'colorization': ['--no_dropout'],
                 'munit': ['--dataset_mode', 'unaligned']}
GENERATORS = {'resnet_9blocks': 'cyclegan', 'unet_256': 'pix2pix'}


def options_of(model: str, side: int, batch: int, root, *argv):
    return TrainOptions().parse(['--dataroot', str(root), '--model', model, '--preprocess', 'resize_and_crop',
                                 '--load_size', str(side + 30), '--crop_size', str(side), '--batch_size', str(batch),
                                 '--num_threads', '0', '--seed', '1', *EXTRA_OPTIONS.get(model, []), *argv])


class Bench:
    """Runs cases until the time is over, and collects the rows of the table.

    Args:
        device: auto, cpu or gpu.
        rounds: measurements of each variant.
        minutes: no case starts after this time.
        root: folder for test images.
    """

    def __init__(self, device: str, rounds: int, minutes: float, root: Path):
        self.device = choose_device('-1' if device == 'cpu' else '0', device == 'gpu')[0]
        self.kind = 'cpu' if self.device.type == 'cpu' else 'gpu'
        if self.kind == 'cpu':
            torch.set_num_threads(1)
        self.clock = measure.Clock(self.device)
        self.rounds = rounds
        self.root = root
        self.end = time.monotonic() + 60 * minutes
        self.rows = []
        self.left_out = []
        self.keeps_memory = True        # as start_runtime sets it
        self.roofs = {precision: self.roof(precision) for precision in self.precisions()}     # FLOP/s

    def precisions(self) -> tuple[str, ...]:
        """Those that are worth measuring on this device."""
        if self.kind == 'gpu':
            return 'fp32', 'tf32', 'bf16'
        return ('fp32', 'bf16') if gain_of_bf16() > 0.5 else ('fp32',)

    def roof(self, precision: str) -> float:
        choose_precision(precision, self.device)
        dtype = torch.bfloat16 if precision == 'bf16' else torch.float32
        return measure.matrix_rate(self.clock, 8192 if self.kind == 'gpu' else 1024, dtype)

    def runtime(self, precision: str):
        gpu_ids, threads = ('-1', 1) if self.kind == 'cpu' else ('0', 0)
        return start_runtime(gpu_ids, threads, seed=1, precision=precision)

    def start(self, name: str, case, *arguments):
        """Run a case, or note that it was left out because the time is over."""
        if time.monotonic() < self.end:
            print(f'{name} ...', flush=True)
            case(*arguments)
        else:
            self.left_out.append(name)

    def add_rows(self, case: dict, times: dict, flops: int = 0, memory: dict | None = None, images: int = 1):
        """Add a row for each variant in `times`; the first variant is the plain implementation."""
        plain = next(iter(times))
        for name, taken in times.items():
            row = dict(case, variant=name, **measure.summary(taken, times[plain]), peak_gib=(memory or {}).get(name))
            roof = self.roofs.get(name.split()[-1])
            row.update(images_per_s=images / row['seconds'],
                       roofline=flops / row['seconds'] / roof if flops and roof else None)
            self.rows.append(row)
            print(f'  {name:28} {1e3 * row["seconds"]:9.1f} ms  {row["speedup"]:5.2f} x  '
                  f'[{row["speedup_lowest"]:.2f} .. {row["speedup_highest"]:.2f}]', flush=True)

    # ---- training

    def train(self, model: str, side: int, batch: int, variants):
        A, B = self.images(model, batch, side)
        inputs = {'A': A, 'B': B, 'A_paths': ['none'] * batch}
        base = 'fp32' if self.kind == 'cpu' else 'tf32'
        works = {}
        for precision, engine in variants:
            opt = options_of(model, side, batch, self.root, '--engine', engine)
            trainer = create_trainer(opt, create_model(opt, self.runtime(precision)))
            if not works:
                plain = FORMULATIONS[model](trainer.model)
                works[f'plain {base}'] = self.prepared(base, lambda plain=plain: plain.step(A, B), True)
            works[f'{engine} {precision}'] = self.prepared(precision, lambda step=trainer.step: step(inputs))
        if self.kind == 'cpu':
            opt = options_of(model, side, batch, self.root, '--winograd')
            trainer = create_trainer(opt, create_model(opt, self.runtime('fp32')))
            works['eager --winograd fp32'] = self.prepared('fp32', lambda step=trainer.step: step(inputs))
        memory = {name: self.clock.peak_of(work) for name, work in works.items()}
        if self.kind == 'gpu':      # warm up: cuDNN chooses algorithms, graphs are captured
            for work in works.values():
                measure.repeat(work, 5)
        flops = measure.flops_of(lambda: plain.step(A, B))
        times = measure.alternate(self.clock, works, self.rounds, 5 if self.kind == 'gpu' else 1)
        self.add_rows(dict(kind='train', model=model, side=side, batch=batch), times, flops, memory, batch)

    def images(self, model: str, batch: int, side: int):
        channels = (1, 2) if model == 'colorization' else (3, 3)
        return [torch.rand(batch, nc, side, side, device=self.device) * 2 - 1 for nc in channels]

    def prepared(self, precision: str, work, plain: bool = False):
        """`work`, after setting the global switches of its precision and of memory."""
        def do():
            choose_precision(precision, self.device)
            if self.kind == 'cpu' and plain == self.keeps_memory:
                keep_freed_memory(not plain)
                self.keeps_memory = not plain
            work()
        return do

    # ---- translation

    def translate(self, generator: str, side: int, precisions):
        opt = options_of(GENERATORS[generator], side, 1, self.root, '--netG', generator)
        opt = opt.replace(model='test', isTrain=False, phase='test', trained_direction='')
        image = torch.rand(1, 3, side, side, device=self.device) * 2 - 1
        batch, base = {'A': image, 'A_paths': ['none.png']}, 'fp32' if self.kind == 'cpu' else 'tf32'
        models = {precision: create_model(opt, self.runtime(precision)) for precision in precisions}
        net = plain_network(models[precisions[0]].netG)
        works = {f'plain {base}': self.prepared(base, torch.no_grad()(lambda: net(image)), True)}
        for precision, model in models.items():
            works[f'translate {precision}'] = self.prepared(precision, lambda model=model: model.translate(batch))
        if self.kind == 'cpu':
            fast = create_model(opt, self.runtime('fp32'))
            fast.netG.load_state_dict(models['fp32'].netG.state_dict())
            use_winograd(fast.netG, frozen=True)
            works['translate --winograd fp32'] = self.prepared('fp32', lambda: fast.translate(batch))
        for work in works.values():
            work()
        flops = measure.flops_of(torch.no_grad()(lambda: net(image)))
        times = measure.alternate(self.clock, works, self.rounds, 20 if self.kind == 'gpu' else 1)
        self.add_rows(dict(kind='translate', model=generator, side=side, batch=1), times, flops)

    # ---- loading

    def load(self, count: int = 60):
        folder = measure.write_images(self.root / 'images', 20, (300, 300))
        opt = options_of('pix2pix', 256, 1, folder)
        dataset, numbers = create_dataset(opt), itertools.count()
        plain = measure.plain_pairs(folder, 286, 256)
        works = {'plain': lambda: [plain() for _ in range(count)],
                 'dataset': lambda: [dataset[next(numbers) % len(dataset)] for _ in range(count)]}
        times = measure.alternate(measure.Clock(torch.device('cpu')), works, self.rounds)
        self.add_rows(dict(kind='load', model='aligned', side=256, batch=1), times, images=count)


def run(bench: Bench, models, everything: bool):
    gpu = bench.kind == 'gpu'
    precisions = ('tf32', 'bf16') if gpu else bench.precisions()
    engines = ('eager', 'graph') if gpu else ('eager',)
    variants = [(precision, engine) for engine, precision in itertools.product(engines, precisions)]
    if gpu:
        variants.insert(0, ('fp32', 'eager'))
    for generator in GENERATORS:
        bench.start(f'translate {generator} 256 px', bench.translate, generator, 256, precisions)
    bench.start('load aligned pairs 256 px', bench.load)
    cases = [(model, batch, variants) for batch in ((1, 8) if gpu and everything else (1,)) for model in models]
    if everything and gpu:
        cases += [(model, 1, [('tf32', 'compile'), ('bf16', 'compile')]) for model in ('cyclegan', 'pix2pix')]
    for model, batch, chosen in cases:
        side = SIDES_OF.get((model, bench.kind), SIDES[bench.kind])
        bench.start(f'train {model} {side} px, batch {batch}', bench.train, model, side, batch, chosen)


def machine(bench: Bench) -> dict:
    name = bench.clock.backend.get_device_name(bench.device) if bench.kind == 'gpu' else processor()
    return dict(device=name, torch=torch.__version__, python=platform.python_version(), rounds=bench.rounds,
                matmul_tflops={name: roof / 1e12 for name, roof in bench.roofs.items()}, left_out=bench.left_out,
                load_average=os.getloadavg()[0] if hasattr(os, 'getloadavg') else None)


def processor() -> str:
    info = Path('/proc/cpuinfo')
    lines = info.read_text(encoding='utf-8').splitlines() if info.exists() else []
    return next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')),
                platform.processor() or platform.machine()) + ', one thread'


def as_markdown(facts: dict, rows: list[dict]) -> str:
    lines = [f'# Measured on {facts["device"]}', '',
             f'PyTorch {facts["torch"]}, medians of {facts["rounds"]} alternating rounds. "plain" is the same step in '
             f'the plain implementation (scripts/bench/plain.py). The speed-up compares times of the same round; the '
             f'lowest and highest are in brackets. "of the roof": FLOP/s as a share of a matrix product in the same '
             f'precision ({", ".join(f"{name} {rate:.3f}" for name, rate in facts["matmul_tflops"].items())} TFLOP/s).',
             '', '| what | variant | ms | images/s | speed-up | peak GiB | of the roof |',
             '|---|---|---|---|---|---|---|']
    for row in rows:
        what = f'{row["kind"]} {row["model"]} {row["side"]} px, batch {row["batch"]}'
        peak = '' if row['peak_gib'] is None else f'{row["peak_gib"]:.2f}'
        roof = '' if row['roofline'] is None else f'{100 * row["roofline"]:.0f} %'
        lines.append(f'| {what} | {row["variant"]} | {1e3 * row["seconds"]:.1f} | {row["images_per_s"]:.2f} | '
                     f'{row["speedup"]:.2f} [{row["speedup_lowest"]:.2f} .. {row["speedup_highest"]:.2f}] | {peak} | '
                     f'{roof} |')
    if facts['left_out']:
        lines += ['', f'Left out because the time was over: {", ".join(facts["left_out"])}.']
    return '\n'.join(lines) + '\n'


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('--all', action='store_true', help='all models; on a GPU also all engines and batch sizes')
    parser.add_argument('--quick', action='store_true', help='fewer rounds, CycleGAN and pix2pix only')
    parser.add_argument('--models', nargs='+', choices=sorted(FORMULATIONS), help='train only these models')
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'gpu'))
    parser.add_argument('--rounds', type=int, default=0, help='default: 7; 3 with --quick')
    parser.add_argument('--minutes', type=float, default=9, help='start no case after this time')
    parser.add_argument('--out', metavar='DIR', default='.', help='folder for the two files')
    args = parser.parse_args(argv)
    models = args.models or (sorted(FORMULATIONS) if args.all else ['cyclegan', 'pix2pix'])
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args.device, args.rounds or (3 if args.quick else 7), args.minutes, Path(folder))
        run(bench, models, args.all)
    facts = machine(bench)
    for ending, text in (('json', json.dumps(dict(machine=facts, rows=bench.rows), indent=1)),
                         ('md', as_markdown(facts, bench.rows))):
        path = Path(args.out) / f'benchmark_{bench.kind}.{ending}'
        with atomic_write(path) as file:
            file.write(text)
        print(path.absolute())
