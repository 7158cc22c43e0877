"""scripts/benchmark.py --exchange: what processes send in a training step, and what it costs.

    python scripts/benchmark.py --exchange --out docs/benchmarks

Counts bytes and operations of the models at their defaults, measures small networks with gloo in 1, 2 and 4 processes
on this machine, and predicts efficiencies with GPUs. Writes exchange.json, exchange.md, and the table in DOCUMENT.
"""
import json
import os
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from bench.processes import counted, measured, predicted
from bench.processes.counted import Counts
from bench.steps import processor
from util.cli import Parser
from util.files import atomic_write
from util.machine.cores import usable_cores

MODELS = ('cyclegan', 'pix2pix', 'pix2pix --norm instance', 'munit', 'cut', 'pix2pixhd', 'spade', 'bicyclegan')
DOCUMENT = Path(__file__).resolve().parents[3] / 'docs' / 'distributed.md'
MARKS = '<!-- made by scripts/benchmark.py --exchange -->', '<!-- end of what is made -->'
SHOWN = 8           # GPUs in the short table


def count_models(models) -> list[dict]:
    rows = []
    for model in models:
        print(f'counting {model} ...', flush=True)
        with tempfile.TemporaryDirectory() as root:
            name, *argv = model.split()
            (side, alone), (_, shared) = (counted.count_step(name, n, Path(root), *argv) for n in (1, 2))
        rows.append(dict(model=model, side=side, alone=list(map(asdict, alone)), shared=list(map(asdict, shared))))
    return rows


def as_counts(rows: list[dict]) -> list[Counts]:
    return [Counts(**row) for row in rows]


def table(head: list[str], rows) -> list[str]:
    return [f'| {" | ".join(line)} |' for line in (head, ['---'] * len(head), *rows)]


def percent(share: float) -> str:
    return f'{100 * share:.0f} %'


# ---- counted and predicted

def bytes_table(counts: list[dict]) -> list[str]:
    head = ['model', 'G, MB', 'D, MB', 'together, MB', 'other messages', 'TFLOP', 'operations, 1 process', 'several']
    rows = []
    for row in counts:
        shared, alone = as_counts(row['shared']), as_counts(row['alone'])
        size = {update.name: f'{update.gradient_bytes / 1e6:.1f}' for update in shared}
        others = [message for update in shared for message in update.messages]
        rows.append([f'{row["model"]}, {row["side"]} px', size['G'], size['D'],
                     f'{sum(update.gradient_bytes for update in shared) / 1e6:.1f}',
                     f'{len(others)} ({sum(others) / 1e6:.2f} MB)' if others else '0',
                     f'{sum(update.flops for update in shared) / 1e12:.2f}',
                     *(str(sum(update.operations for update in updates)) for updates in (alone, shared))])
    return table(head, rows)


def efficiencies(row: dict, processes: int) -> list[str]:
    """For each network: predicted efficiency as it is, and with overlap."""
    alone, shared = as_counts(row['alone']), as_counts(row['shared'])
    return [' / '.join(percent(predicted.efficiency(alone, shared, processes, bandwidth, overlap))
                       for overlap in (False, True)) for bandwidth in predicted.NETWORKS.values()]


def efficiency_table(counts: list[dict], sizes) -> list[str]:
    head = ['model', 'GPUs', 'step of one GPU (assumed)', *predicted.NETWORKS]
    return table(head, [[row['model'], str(n), f'{1e3 * predicted.step_seconds(as_counts(row["alone"])):.0f} ms',
                         *efficiencies(row, n)] for row in counts for n in sizes])


def assumptions() -> str:
    rates = ', '.join(f'{name} {rate / 1e9:g}' for name, rate in predicted.NETWORKS.items())
    return (f'Assumed: a step reaches {predicted.FLOP_RATE / 1e12:.0f} TFLOP/s, or takes '
            f'{1e6 * predicted.OPERATION:.0f} us for each operation if that is longer; batch 1 on each GPU; a ring '
            f'all-reduce, in which each of n GPUs sends 2(n-1)/n of the bytes (Patarasuk and Yuan 2009), at '
            f'{percent(predicted.REACHED)} of the bandwidth, and {1e6 * predicted.LATENCY:.0f} us more for each '
            f'message. GB/s in one direction: {rates} (NVIDIA H100 data sheet: 900 for both directions of NVLink; PCI '
            f'Express 4.0: 16 lanes of 16 GT/s; IEEE 802.3: the rates in the names). Overlap: buckets of '
            f'{predicted.BUCKET / 1e6:.0f} MB (Li et al. 2020), at best: all but the last bucket of G and of D hidden '
            f'behind backward.')


# ---- measured

def milliseconds(spread: list[float]) -> str:
    return f'{1e3 * spread[0]:.0f} [{1e3 * spread[1]:.0f} .. {1e3 * spread[2]:.0f}]'


def measured_table(rows: list[dict], n_cores: int) -> list[str]:
    head = ['networks', 'processes', 'step, ms on the clock', 'exchange in it, with waiting', 'exchange alone',
            'predicted step', 'efficiency: predicted', 'measured', 'CPU ms of a step in each process',
            'of one process / this']
    alone = {row['model']: row for row in rows if row['processes'] == 1}
    lines = []
    for row in rows:
        size, one = row['processes'], alone[row['model']]['step_wall'][0]
        cpu = [seconds / size for seconds in row['step_cpu']]
        expected = measured.predicted_wall(one, row['exchange_wall'][0], size, n_cores)
        lines.append([f'{row["model"]} {row["side"]} px {" ".join(row["options"])}', str(size),
                      milliseconds(row['step_wall']), milliseconds(row['within_wall']),
                      milliseconds(row['exchange_wall']), f'{1e3 * expected:.0f}', percent(one / expected),
                      percent(one / row['step_wall'][0]), milliseconds(cpu),
                      percent(alone[row['model']]['step_cpu'][0] / cpu[0])])
    return table(head, lines)


def measured_text(results: dict) -> str:
    facts = results['machine']
    n_cores, load = facts['cores'], facts['load']
    return (f'{facts["device"]} for each process, batch 1 each, gloo on one machine with {n_cores} cores. Other '
            f'programs ran at the same time (load average {load[0]:.1f} at the start, {load[1]:.1f} at the end), so '
            f'times on the clock spread widely and do not test the prediction, which knows no other programs. CPU '
            f'time, which they change less, does not contain waiting. 4 processes share {n_cores} cores: their best '
            f'efficiency is {percent(min(1, n_cores / 4))}. {facts["turns"]} turns of {measured.STEPS} steps, '
            f'alternating between 1, 2 and 4 processes; medians, lowest and highest in brackets. The predicted '
            f'step is that of one process, times the processes for each core, plus the exchange alone.')


def document_block(results: dict) -> str:
    """The part of DOCUMENT between the marks."""
    lines = ['**Predicted, not measured** (GPU: not available): efficiency of weak scaling on '
             f'{SHOWN} GPUs at batch 1, that is images per second relative to {SHOWN} single GPUs, as it is / with '
             'overlap.', '', *efficiency_table(results['counts'], [SHOWN]), '', assumptions()]
    if results['measured']:
        lines += ['', '**Measured** with gloo on a CPU, where the cores are shared:', '',
                  *measured_table(results['measured'], results['machine']['cores']), '', measured_text(results)]
    return '\n'.join(lines)


def as_markdown(results: dict) -> str:
    facts = results['machine']
    lines = ['# What processes exchange in a step', '',
             f'PyTorch {facts["torch"]}, Python {facts["python"]}. Made by `python scripts/benchmark.py --exchange`; '
             f'what follows from it is in [distributed.md](../distributed.md).', '', '## Bytes: counted', '',
             'Models at their defaults, one image in each process, float32. The networks are on the meta device; '
             'gradients of G and of D are one message each. Other messages: statistics of batch norms, and images for '
             'the pools. Operations are those of PyTorch without views, with one process and with several, which have '
             'batch norms of their own.', '', *bytes_table(results['counts']), '',
             '## Efficiency with GPUs: predicted', '', 'As it is / with overlap. ' + assumptions(), '',
             *efficiency_table(results['counts'], (2, 4, 8))]
    if results['measured']:
        lines += ['', '## Time with gloo: measured', '', measured_text(results), '',
                  *measured_table(results['measured'], facts['cores'])]
    return '\n'.join([*lines, ''])


def replaced(text: str, block: str) -> str:
    """`text` with another block between the marks."""
    before, begin, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not end:
        raise ValueError(f'{DOCUMENT} has no {MARKS[0]} and {MARKS[1]}')
    return f'{before}{begin}\n{block}\n{end}{after}'


def load_average() -> float:
    return os.getloadavg()[0] if hasattr(os, 'getloadavg') else float('nan')


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('--turns', type=int, default=5, help='turns of the measurement; 0: count and predict only')
    parser.add_argument('--cases', nargs='+', default=list(measured.CASES), choices=list(measured.CASES))
    parser.add_argument('--out', type=Path, default=Path('.'), metavar='DIR', help='folder for the two files')
    parser.add_argument('--document', action='store_true', help='also write the table in docs/distributed.md')
    args = parser.parse_args(argv)
    load = load_average()
    rows = [row for case in args.cases for row in measured.measure(case, args.turns)] if args.turns else []
    facts = dict(device=processor(), cores=usable_cores(), torch=torch.__version__, turns=args.turns,
                 python=platform.python_version(), load=[load, load_average()])
    results = dict(machine=facts, counts=count_models(MODELS), measured=rows)
    texts = {args.out / 'exchange.json': json.dumps(results, indent=1) + '\n',
             args.out / 'exchange.md': as_markdown(results)}
    if args.document:
        texts[DOCUMENT] = replaced(DOCUMENT.read_text(encoding='utf-8'), document_block(results))
    for path, text in texts.items():
        with atomic_write(path) as file:
            file.write(text)
        print(path.absolute())
