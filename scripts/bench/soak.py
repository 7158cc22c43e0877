"""Long reliability tests: kills, mixed faults, exact resume, lost processes, memory over many steps, and fuzzing.

Takes minutes to an hour on a CPU.

    python scripts/soak.py --out docs/benchmarks/reliability.json
    python scripts/soak.py --kills 1000 --steps 0 --fuzz 0 --seed 5

Runs all jobs unless some of --points, --kills, --faults, --resume, --ranks, --steps, --fuzz are given. Needs
requirements-dev.txt, like the tests.
"""
import argparse
import collections
import json
import os
import platform
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests'))

import faults
import fuzzing
import numpy as np
import states
import tiny_runs
from conftest import draw_images
from test_crashes import FREQUENT, MODEL, crash_points, kill_at, saves_of
from test_distributed import children_of, read_until, torchrun
from tqdm import tqdm

DEFAULT_SIZES = dict(points=1, kills=200, faults=200, resume=5, ranks=20, steps=10_000, fuzz=500)
JOBS = tuple(DEFAULT_SIZES)
STOPS = ((3, 'SIGTERM'), (4, 'SIGINT'), (6, 'SIGKILL'), (8, 'SIGHUP'), (12, 'SIGTERM'))     # in 3 epochs of 4 steps
ENDING = {'SIGTERM': 143, 'SIGINT': 130, 'SIGKILL': -9, 'killed operation': -9, 'torn write': -9}   # {fault: exit code}
OTHERS = {'ENOSPC': 4, 'EIO': 4, 'SIGSTOP': 0, 'killed worker': 0}      # 4 if the run cannot continue without the file
SAVED_EVERY = 8         # images between two saves of the run with two processes
NO_LOG = '^(?!loss|web)'    # no disk errors in logs and pages: the run continues without them, so they would differ
GAP = 12                # most steps between two faults; workers load about 8 images ahead
LIMIT = 600             # seconds after which a run counts as hanging
WARM_UP = 0.2           # first share of the steps, in which caches fill; its memory is not counted


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--points', type=int, nargs='?', const=1, help='kill at the file operations of N saves (1)')
    parser.add_argument('--kills', type=int, help='number of kills at random moments')
    parser.add_argument('--faults', type=int, help='number of faults of all kinds, several in each start of a run')
    parser.add_argument('--resume', type=int, nargs='?', const=5, help='N stops (5) per model, with 0 and 2 workers')
    parser.add_argument('--ranks', type=int, help='number of runs with two processes, one of which is killed')
    parser.add_argument('--steps', type=int, help='number of steps while memory, files and threads are measured')
    parser.add_argument('--fuzz', type=int, help='number of random command lines, and of damaged files')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='JSON file for the figures; figures of other jobs in it are kept')
    opt = parser.parse_args(argv)
    if all(getattr(opt, job) is None for job in JOBS):
        vars(opt).update(DEFAULT_SIZES)
    return opt


class Soak:
    """Each job is a method that takes the size of the job and returns its figures."""

    def __init__(self, server, folder: Path, seed: int):
        self.server = server
        self.folder = folder
        self.seed = seed
        self.home = tiny_runs.draw_home(folder / 'home')
        self.runs = tiny_runs.Runs(server, self.home, folder / 'runs')

    def unbroken(self, model: str, *words, **limit):
        """Train without a fault; returns the final state of the run folder, and the finished process."""
        done = self.fresh_runs().begin(model, 'run', *words, **limit)
        assert done.code == 0, done.err
        return states.everything(self.runs.folder / 'run'), done

    def fresh_runs(self):
        shutil.rmtree(self.runs.folder, ignore_errors=True)
        return self.runs

    def is_equal(self, end: dict) -> bool:
        folder = self.runs.folder / 'run'
        return not states.differences(end, states.everything(folder)) and not states.leftovers(folder)

    def points(self, saves: int) -> dict:
        end, done = self.unbroken(MODEL, *FREQUENT)
        numbers = saves_of(done.operations)
        points = [point for save in range(min(saves, len(numbers))) for point in crash_points(done.operations, save, 3)]
        lost, different = 0, 0
        for number in tqdm(points, 'crash points'):
            killed = self.fresh_runs().begin(MODEL, 'run', *FREQUENT, rules=[kill_at(number)])
            assert killed.code == -9, killed.err
            code = self.runs.begin(MODEL, 'run', *FREQUENT, '--continue_train', 'auto').code
            lost += code != 0
            different += code == 0 and not self.is_equal(end)
        operations = sum(len(numbers[save]) for save in range(saves))
        return dict(saves=saves, operations=operations, points=len(points), lost=lost, different=different)

    def kills(self, wanted: int) -> dict:
        end, done = self.unbroken(MODEL, *FREQUENT)
        draw, lost = random.Random(self.seed), []
        kills = starts = finished = different = 0
        with tqdm(total=wanted, desc='kills') as bar:
            while kills < wanted:
                self.fresh_runs()
                code = None
                while code != 0:
                    limit = dict(kill_after=draw.uniform(0.1, 1) * done.seconds) if kills < wanted else {}
                    again = self.runs.begin(MODEL, 'run', *FREQUENT, '--continue_train', 'auto', **limit)
                    code = again.code
                    starts += 1
                    if code == -9:
                        kills += 1
                        bar.update()
                    elif code != 0:
                        lost.append(f'exit code {code}: {again.err}')
                        break
                finished += 1
                different += code == 0 and not self.is_equal(end)
        print(*lost, sep='\n')
        return dict(kills=kills, starts=starts, runs=finished, lost=len(lost), different=different)

    def faults(self, wanted: int) -> dict:
        """Each start of a run has several faults, the last of which ends it; then the same command is repeated.

        The run is long enough for all faults, and its epochs are so long that workers never load a whole one ahead.
        """
        root, steps = self.folder / 'forty', GAP * wanted
        for name in ('trainA', 'trainB', 'testA', 'testB'):
            draw_images(root / name, 40 if 'train' in name else 3)
        words = ['--dataroot', root, '--max_dataset_size', 40, '--max_iters', steps, '--save_latest_freq', 3,
                 '--save_epoch_freq', 0, '--display_freq', 5, '--num_threads', 2]
        end, done = self.unbroken(MODEL, *words, limit=LIMIT)
        per_step = {op: count / steps for op, count in operations_of(done, NO_LOG).items()}
        draw = random.Random(self.seed)
        found, lost = collections.Counter(), []
        starts = finished = different = 0
        with tqdm(total=wanted, desc='faults') as bar:
            while found.total() < wanted:
                self.fresh_runs()
                code, step = None, 0
                while code != 0:
                    plan = drawn_faults(draw, step, per_step) if found.total() < wanted else {}
                    again = self.runs.begin(MODEL, 'run', *words, '--continue_train', 'auto', **as_arguments(plan))
                    code, starts = again.code, starts + 1
                    step = max([step, *map(int, re.findall(r'^usage (\d+)', again.err, re.MULTILINE))])
                    met = [kind for kind, fault in plan.items() if was_met(kind, fault, again, step)]
                    found.update(met)
                    bar.update(len(met))
                    if code not in {0, *({**ENDING, **OTHERS}[kind] for kind in met)} or again.left:
                        lost.append(f'{plan}: exit code {code}, {again.left} processes left: {again.err}')
                        break
                finished += code == 0
                different += code == 0 and not self.is_equal(end)
        print(*lost, sep='\n')
        return dict(faults=dict(sorted(found.items())), total=found.total(), starts=starts, finished=finished,
                    lost=len(lost), different=different)

    def resume(self, stops: int) -> dict:
        words, wrong = ['--save_latest_freq', 3, '--display_freq', 2], []
        cases = equal = 0
        models = tiny_runs.MODELS.keys() - {'template'}
        with tqdm(total=len(models) * 2 * stops, desc='resume') as bar:
            for model in sorted(models):
                end, _ = self.unbroken(model, *words)
                for workers in (0, 2):
                    for step, name in STOPS[:stops]:
                        self.fresh_runs().begin(model, 'run', *words, '--num_threads', workers, signals_at={step: name})
                        code = self.runs.resume('run').code
                        cases += 1
                        if code == 0 and self.is_equal(end):
                            equal += 1
                        else:
                            wrong.append(f'{model} {workers} workers {name} at {step}: exit code {code}')
                        bar.update()
        return dict(cases=cases, equal=equal, wrong=wrong)

    def ranks(self, repetitions: int) -> dict:
        """Kill one of two processes at a random step, alternating between them; torchrun restarts both."""
        words = self.runs.words('pix2pix', 'run', '--n_epochs', 40, '--save_latest_freq', SAVED_EVERY)
        process, _, err = torchrun(*words)
        assert process.returncode == 0, err
        end, draw = states.everything(self.runs.folder / 'run'), random.Random(self.seed)
        finished, wrong = 0, []
        end_seconds = []
        resume_seconds = []
        repeated_images = []
        for number in tqdm(range(repetitions), 'ranks'):
            self.fresh_runs()
            process = torchrun(*words, '--continue_train', 'auto', restarts=3, wait=False)
            watch = threading.Timer(LIMIT, process.terminate)
            watch.start()
            place = f'epoch: {draw.randint(1, 16)}, iters: {draw.choice((2, 4))}'
            assert read_until(process, f'({place}')
            children = children_of(process)
            os.kill(children[number % 2], signal.SIGKILL)
            begin = time.monotonic()
            while set(children) & set(children_of(process)):
                time.sleep(0.05)
            end_seconds.append(time.monotonic() - begin)
            read_until(process, 'The number of training images')
            read_until(process, '(epoch: ')
            resume_seconds.append(time.monotonic() - begin)
            process.communicate()
            watch.cancel()
            finished += process.returncode == 0
            if process.returncode != 0 or not self.is_equal(end):
                wrong.append(f'process {number % 2} killed at {place}: exit code {process.returncode}')
            dropped = set(self.runs.folder.glob('*/losses.jsonl*')) - {self.runs.folder / 'run' / 'losses.jsonl'}
            repeated_images.append(2 * sum(len(path.read_text(encoding='utf-8').splitlines()) for path in dropped))
        return dict(repetitions=repetitions, finished=finished, equal=repetitions - len(wrong), wrong=wrong,
                    saved_every_images=SAVED_EVERY, most_images_again=max(repeated_images),
                    slowest_end_s=round(max(end_seconds), 1), slowest_going_on_s=round(max(resume_seconds), 1))

    def steps(self, steps: int) -> dict:
        """Memory of a training with pages, logs and saves; the slope is a linear fit after the warm-up."""
        root = self.folder / 'hundred'
        every = max(1, steps // 40)
        draw_images(root / 'train', 100, (80, 40))
        words = ['--dataroot', root, '--max_dataset_size', 100, '--max_iters', steps, '--print_freq', 10,
                 '--display_freq', 50, '--save_latest_freq', 500]
        begin = time.monotonic()
        print(f'{steps} steps ...', flush=True)
        done = self.fresh_runs().begin('pix2pix', 'run', *words, usage_every=every, limit=3600)
        assert done.code == 0, done.err
        lines = [list(map(int, line.split()[1:])) for line in done.err.splitlines() if line.startswith('usage')]
        usage = np.array([line for line in lines if line[0] > WARM_UP * steps], dtype=float)
        slope = np.polyfit(usage[:, 0], usage[:, 1], 1)[0] * 1000 / 1e6
        page = sum(path.stat().st_size for path in (self.runs.folder / 'run' / 'web').glob('*.*'))
        return dict(steps=steps, mb_per_1000_steps=round(float(slope), 3), mb=round(float(usage[-1, 1]) / 1e6, 1),
                    open_files=sorted(set(map(int, usage[:, 2]))), threads=sorted(set(map(int, usage[:, 3]))),
                    page_kb=round(page / 1e3, 1), seconds=round(time.monotonic() - begin))

    def fuzz(self, cases: int) -> dict:
        fuzz, found = fuzzing.Fuzz(self.server, self.home, self.folder / 'fuzz', self.seed), {}
        for kind, count in (('options', cases), ('images', cases // 2), ('checkpoints', cases - cases // 2)):
            fuzz.codes, wrong = {}, []
            for number in tqdm(range(count), kind):
                complaint = getattr(fuzz, kind)(number)
                if complaint:
                    wrong.append(complaint)
            print(*wrong, sep='\n')
            found[kind] = dict(cases=count, wrong=len(wrong), exit_codes=dict(sorted(fuzz.codes.items(), key=str)))
        return found


def operations_of(done, path: str = '') -> collections.Counter:
    """Number of operations of each kind on files whose names match `path`."""
    return collections.Counter(op for _, op, name in done.operations if re.search(path, name))


def drawn_faults(draw, step: int, per_step: dict) -> dict:
    """Random faults after `step`, {kind: step, or rule of `injected.Storage`}; the last one ends the run."""
    plan = {}
    kinds = [*draw.sample(sorted(OTHERS), draw.randrange(len(OTHERS))), draw.choice(sorted(ENDING))]
    for kind in kinds:
        step += draw.randint(1, GAP)
        plan[kind] = step
        if kind in ('ENOSPC', 'EIO', 'killed operation', 'torn write'):
            error = kind in OTHERS
            op = 'write' if kind == 'torn write' else draw.choice(sorted(per_step))
            plan[kind] = dict(op=op, path=NO_LOG if error else '', after=int(draw.uniform(0, GAP) * per_step[op]),
                              times=1, action=kind if error else 'kill')
    return plan


def as_arguments(plan: dict) -> dict:
    """The faults as arguments of `faults.Server.run`."""
    return dict(limit=LIMIT, usage_every=1, values_of={'models.training.saving.RETRY_SECONDS': 0},
                signals_at={plan[kind]: kind for kind in plan.keys() & {'SIGTERM', 'SIGINT', 'SIGKILL'}},
                suspended_at={plan[kind]: 0.2 for kind in plan.keys() & {'SIGSTOP'}},
                worker_killed_at=[plan[kind] for kind in plan.keys() & {'killed worker'}],
                rules=[fault for fault in plan.values() if isinstance(fault, dict)])


def was_met(kind: str, fault, done, last_step: int) -> bool:
    """True if a finished start reached this fault."""
    if kind == 'killed worker':     # and the loader noticed
        return 'process that loads images died' in done.err
    if ENDING.get(kind) == -9:
        return done.code == -9
    if isinstance(fault, dict):
        return operations_of(done, fault['path'])[fault['op']] > fault['after']
    return fault <= last_step


def main(argv, console) -> int:
    opt = parse(argv)
    figures = json.loads(opt.out.read_text(encoding='utf-8')) if opt.out and opt.out.exists() else {}
    with tempfile.TemporaryDirectory() as folder, faults.Server() as server:
        soak = Soak(server, Path(folder), opt.seed)
        for job in JOBS:
            if getattr(opt, job):
                figures[job] = getattr(soak, job)(getattr(opt, job))
                print(f'{job}: {figures[job]}', flush=True)
                figures.update(date=time.strftime('%Y-%m-%d'), seed=opt.seed, python=platform.python_version())
                if opt.out:
                    opt.out.parent.mkdir(parents=True, exist_ok=True)
                    opt.out.write_text(json.dumps(figures, indent=1) + '\n', encoding='utf-8')
    return 0
