"""Long tests of reliability: kills, exact resume, memory over many steps, and a fuzz. Minutes to an hour on a CPU.

    python scripts/soak.py --out docs/benchmarks/reliability.json
    python scripts/soak.py --kills 1000 --steps 0 --fuzz 0 --seed 5

Without any of --points, --kills, --resume, --steps, --fuzz all are done. Needs what the tests need.
"""
import argparse
import json
import platform
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

import faults  # noqa: E402
import fuzzing  # noqa: E402
import numpy as np  # noqa: E402
import states  # noqa: E402
import tiny_runs  # noqa: E402
from conftest import draw_images  # noqa: E402
from test_crashes import FREQUENT, MODEL, crash_points, kill_at, saves_of  # noqa: E402
from tqdm import tqdm  # noqa: E402

from util.cli import run  # noqa: E402

JOBS = ('points', 'kills', 'resume', 'steps', 'fuzz')
STOPS = ((3, 'SIGTERM'), (4, 'SIGINT'), (6, 'SIGKILL'), (8, 'SIGHUP'), (12, 'SIGTERM'))     # 3 epochs of 4 steps
WARM_UP = 0.2           # share of the steps whose memory does not count: caches fill


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--points', type=int, nargs='?', const=1, help='the operations of a save; N: of N saves')
    parser.add_argument('--kills', type=int, help='so many kills at random moments')
    parser.add_argument('--resume', type=int, nargs='?', const=5, help='models x 0 and 2 workers x N stops')
    parser.add_argument('--steps', type=int, help='memory, open files and threads over so many steps')
    parser.add_argument('--fuzz', type=int, help='so many command lines, and as many damaged images and checkpoints')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='JSON file of the figures; those of other jobs in it stay')
    opt = parser.parse_args(argv)
    if all(getattr(opt, job) is None for job in JOBS):
        opt.points, opt.kills, opt.resume, opt.steps, opt.fuzz = 1, 200, 5, 10_000, 500
    return opt


class Soak:
    """Each method is a job: it takes the size of the job and returns its figures."""

    def __init__(self, server, folder: Path, seed: int):
        self.server, self.folder, self.seed = server, folder, seed
        self.home = tiny_runs.draw_home(folder / 'home')
        self.runs = tiny_runs.Runs(server, self.home, folder / 'runs')

    def unbroken(self, model: str, *words):
        done = self.anew().begin(model, 'run', *words)
        assert done.code == 0, done.err
        return states.everything(self.runs.folder / 'run'), done

    def anew(self):
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
            killed = self.anew().begin(MODEL, 'run', *FREQUENT, rules=[kill_at(number)])
            assert killed.code == -9, killed.err
            code = self.runs.begin(MODEL, 'run', *FREQUENT, '--continue_train', 'auto').code
            lost += code != 0
            different += code == 0 and not self.is_equal(end)
        operations = sum(len(numbers[save]) for save in range(saves))
        return dict(saves=saves, operations=operations, points=len(points), lost=lost, different=different)

    def kills(self, wanted: int) -> dict:
        end, done = self.unbroken(MODEL, *FREQUENT)
        draw, kills, starts, finished, different, lost = random.Random(self.seed), 0, 0, 0, 0, []
        with tqdm(total=wanted, desc='kills') as bar:
            while kills < wanted:
                self.anew()
                code = None
                while code != 0:
                    limit = dict(kill_after=draw.uniform(0.1, 1) * done.seconds) if kills < wanted else {}
                    again = self.runs.begin(MODEL, 'run', *FREQUENT, '--continue_train', 'auto', **limit)
                    code = again.code
                    starts, kills = starts + 1, kills + (code == -9)
                    bar.update(code == -9)
                    if code not in (0, -9):
                        lost.append(f'exit code {code}: {again.err}')
                        break
                finished += 1
                different += code == 0 and not self.is_equal(end)
        print(*lost, sep='\n')
        return dict(kills=kills, starts=starts, runs=finished, lost=len(lost), different=different)

    def resume(self, stops: int) -> dict:
        words, equal, cases, wrong = ['--save_latest_freq', 3, '--display_freq', 2], 0, 0, []
        models = [model for model in tiny_runs.MODELS if model != 'template']
        with tqdm(total=len(models) * 2 * stops, desc='resume') as bar:
            for model in models:
                end, _ = self.unbroken(model, *words)
                for workers in (0, 2):
                    for step, name in STOPS[:stops]:
                        self.anew().begin(model, 'run', *words, '--num_threads', workers, signals_at={step: name})
                        code = self.runs.go_on('run').code
                        same = code == 0 and self.is_equal(end)
                        wrong += [] if same else [f'{model} {workers} workers {name} at {step}: exit code {code}']
                        equal, cases = equal + same, cases + 1
                        bar.update()
        return dict(cases=cases, equal=equal, wrong=wrong)

    def steps(self, steps: int) -> dict:
        """Memory with pages, logs and saves going on; the slope is that of a line through all of it after a while."""
        root, every = self.folder / 'hundred', max(1, steps // 40)
        draw_images(root / 'train', 100, (80, 40))
        words = ['--dataroot', root, '--max_dataset_size', 100, '--max_iters', steps, '--print_freq', 10,
                 '--display_freq', 50, '--save_latest_freq', 500]
        begin = time.monotonic()
        print(f'{steps} steps ...', flush=True)
        done = self.anew().begin('pix2pix', 'run', *words, usage_every=every, limit=3600)
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
                wrong += [text] if (text := getattr(fuzz, kind)(number)) else []
            print(*wrong, sep='\n')
            found[kind] = dict(cases=count, wrong=len(wrong), exit_codes=dict(sorted(fuzz.codes.items(), key=str)))
        return found


def main(argv) -> int:
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


if __name__ == '__main__':
    sys.exit(run(main))
