"""Measure what a monitor costs a training step: none, TensorBoard, and visdom with healthy, absent and bad servers.

    python scripts/benchmark_monitor.py --out docs/benchmarks/monitoring
"""

import json
import platform
import socket
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch

from models.training.progress import Progress
from util.cli import Parser
from util.files import atomic_write
from util.monitors.base import Background, Monitor
from util.monitors.tensorboard import TensorboardMonitor
from util.monitors.visdom import VisdomMonitor
from util.monitors.visdom_server import find_or_start

REPORT_EVERY, SHOW_EVERY = 5, 20  # steps; far more often than training does
PICTURES = {f'picture {index}': np.random.default_rng(index).integers(0, 256, (256, 256, 3), dtype=np.uint8)
            for index in range(6)}


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('--rounds', type=int, default=8, help='rounds of each case')
    parser.add_argument('--steps', type=int, default=60, help='steps of a round')
    parser.add_argument('--out', type=Path, help='write OUT.json and OUT.md instead of printing')
    return parser.parse_args(argv)


# ---- healthy and bad servers

def free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as probe:
        return probe.getsockname()[1]


class Slow(BaseHTTPRequestHandler):
    def do_POST(self):
        time.sleep(1)
        self.send_error(500)

    def log_message(self, *_):
        pass


@contextmanager
def ports(folder):
    """{case: port} for a visdom server, no server, one that never answers, and one that fails after a second."""
    port, notice = find_or_start(free_port(), folder, stop=True)
    if not notice.startswith('started'):
        raise SystemExit(notice)
    slow = ThreadingHTTPServer(('127.0.0.1', 0), Slow)
    slow.daemon_threads = True
    threading.Thread(target=slow.serve_forever, daemon=True).start()
    with socket.create_server(('127.0.0.1', 0)) as silent:
        yield {'visdom, a server': port, 'visdom, no server': free_port(),
               'visdom, a server that never answers': silent.getsockname()[1],
               'visdom, a server that fails after 1 s': slow.server_port}
    slow.shutdown()


def makers(folder, numbers):
    """{case: make() -> monitor}"""
    def quiet(_):
        pass

    def visdom(port):
        return lambda: Background('visdom', lambda: VisdomMonitor(
            'benchmark', {}, server='http://127.0.0.1', port=port, notify=quiet), quiet, interval=1.0)

    return {'no monitor': Monitor, **{case: visdom(port) for case, port in numbers.items()},
            'TensorBoard': lambda: Background('tensorboard', lambda: TensorboardMonitor(folder / 'events'), quiet)}


# ---- measuring

def make_step():
    """A step of training: a small network, forward, backward and Adam."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 7, padding=3), torch.nn.ReLU(),
                                  torch.nn.Conv2d(32, 32, 3, padding=1), torch.nn.ReLU(),
                                  torch.nn.Conv2d(32, 3, 7, padding=3))
    optimizer = torch.optim.Adam(network.parameters())
    batch = torch.rand(1, 3, 96, 96)

    def step():
        optimizer.zero_grad()
        (network(batch) - batch).square().mean().backward()
        optimizer.step()
    return step


def run_case(make, step, steps) -> tuple[list[float], list[float]]:
    """Seconds of each step with the calls to the monitor, and of those calls."""
    monitor = make()
    progress = Progress()
    seconds = []
    calls = []
    for index in range(1, steps + 1):
        start = time.perf_counter()
        step()
        progress.advance(1)
        record = dict(epoch=1, iters=index, total_iters=index, lr=1e-4, images_per_s=10.0,
                      losses={name: 1 / index for name in ('G_GAN', 'G_L1', 'D_real', 'D_fake')})
        before = time.perf_counter()
        if index % REPORT_EVERY == 0:
            monitor.losses(record)
        if index % SHOW_EVERY == 0:
            monitor.images(progress, PICTURES, 'train')
        after = time.perf_counter()
        calls.append(after - before)
        seconds.append(after - start)
    monitor.close()
    return seconds, calls


def measure(rounds, steps) -> dict:
    """{case: summary}; the cases alternate, in forward and backward order."""
    step, done = make_step(), {}
    with tempfile.TemporaryDirectory() as place, ports(Path(place)) as numbers:
        cases = makers(Path(place), numbers)
        for case in cases:      # imports and first connections
            run_case(cases[case], step, 20)
        for index in range(rounds):
            order = list(cases) if index % 2 else list(cases)[::-1]
            for case in order:
                done.setdefault(case, []).append(run_case(cases[case], step, steps))
    return {case: summary(done[case], done['no monitor']) for case in cases}


def quick(seconds) -> float:
    """The lower quartile: the time of a step that other programs do not disturb."""
    return statistics.quantiles(seconds, n=4)[0]


def summary(own, without) -> dict:
    """Statistics of a case over all its steps, of its ratio to no monitor per round, and of the calls."""
    steps, others = ([second for seconds, _ in rounds for second in seconds] for rounds in (own, without))
    calls = [second for _, seconds in own for second in seconds]
    ratios = [quick(seconds) / quick(other) for (seconds, _), (other, _) in zip(own, without, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {'step_ms': 1e3 * quick(steps), 'ratio': quick(steps) / quick(others), 'ratio_quartiles': [low, high],
            'calls_percent': 100 * sum(calls) / sum(steps), 'longest_call_ms': 1e3 * max(calls)}


def markdown(results, opt) -> str:
    rows = [f'| {case} | {row["step_ms"]:.2f} | {row["ratio"]:.3f} | {row["ratio_quartiles"][0]:.3f} to '
            f'{row["ratio_quartiles"][1]:.3f} | {row["calls_percent"]:.3f} % | {row["longest_call_ms"]:.2f} |'
            for case, row in results.items()]
    widest = max(high - low for low, high in (row['ratio_quartiles'] for row in results.values()))
    return '\n'.join([
        '# What monitors cost a training step', '',
        f'A small network on one CPU thread, with losses every {REPORT_EVERY} steps and {len(PICTURES)} images of '
        f'256x256 every {SHOW_EVERY} steps, far more often than in real training. Each case runs {opt.rounds} rounds '
        f'of {opt.steps} steps; the cases alternate, in forward and backward order. "step" is the lower quartile of '
        'all steps of a case, because other programs ran on the machine. "quartiles of the rounds" are those of the '
        'ratios of neighboring rounds, so they include the noise of the machine. "calls" is the time the training '
        'thread spends in the monitor; the rest of the work is done by other threads.', '',
        '| case | step (ms) | ratio to no monitor | quartiles of the rounds | share of calls | longest call (ms) |',
        '| --- | --- | --- | --- | --- | --- |', *rows, '',
        f'The quartiles are up to {widest:.2f} apart, so a ratio that differs from 1 by less than half of that is '
        'noise. The last two columns are less affected.', '',
        f'Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}. Repeat with '
        '`python scripts/benchmark_monitor.py --out docs/benchmarks/monitoring`.', ''])


def main(argv, console):
    opt = parse(argv)
    torch.set_num_threads(1)
    results = measure(opt.rounds, opt.steps)
    if opt.out is None:
        print(markdown(results, opt))
        return
    for ending, text in (('.json', json.dumps(results, indent=2) + '\n'), ('.md', markdown(results, opt))):
        with atomic_write(opt.out.with_name(opt.out.name + ending)) as file:
            file.write(text)
    print(f'wrote {opt.out.absolute()}.md and .json')
