"""Search for good training options with Optuna (pip install optuna): each trial is a run, judged by its best metric.

    python scripts/sweep.py NAME --search lr=0.0001:0.001:log --search ngf=32,64 --trials 20 \\
        -- --dataroot ./datasets/maps --model pix2pix --n_epochs 20 --n_epochs_decay 20 --val_fraction 0.1

What follows `--` is passed to train.py and is the same in each trial. The value of a trial is the best --best_metric of
its run, which needs validation images. Runs are called NAME_0, NAME_1, ...; `python scripts/runs.py` lists them with
their options and values. The study is stored in CHECKPOINTS_DIR/NAME.sweep.db, so that the same command goes on after a
stop, and adds further trials after its end.
"""
import argparse
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from util.cli import Parser, run
from util.errors import UserError

SIGNALS = {128 + number for number in (signal.SIGINT, signal.SIGTERM)}
MISTAKE = 2             # exit code of train.py; all trials would end with it


def parse(argv):
    ours, training = (argv[:argv.index('--')], argv[argv.index('--') + 1:]) if '--' in argv else (argv, [])
    parser = Parser(__doc__)
    parser.add_argument('name', help='name of the sweep, and start of the names of its runs')
    parser.add_argument('--search', action='append', default=[], metavar='OPTION=VALUES', type=searched,
                        help='an option and its values: LOW:HIGH, LOW:HIGH:log or VALUE,VALUE,...')
    parser.add_argument('--trials', type=int, default=20, help='finished runs that this command adds')
    parser.add_argument('--seed', type=int, default=0, help='of the search; that of the runs is an option of train.py')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    opt = parser.parse_args(ours)
    opt.training = training
    places = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    places.add_argument('--checkpoints_dir', type=Path, default=Path('checkpoints'))
    opt.checkpoints_dir = ROOT / places.parse_known_args(training)[0].checkpoints_dir
    check(opt)
    return opt


def check(opt):
    problems = []
    if not opt.search:
        problems.append('there is nothing to search; add --search OPTION=VALUES, such as --search lr=0.0001:0.001:log')
    if not opt.training:
        problems.append('there are no options for train.py; add them after --, such as -- --dataroot ./datasets/maps')
    given = {word.partition('=')[0] for word in opt.training}
    problems += [f'--{name} is searched and also given after --; drop one of them'
                 for name in [*(name for name, _ in opt.search), 'name'] if f'--{name}' in given]
    if opt.trials < 1:
        problems.append(f'--trials {opt.trials}: give at least 1')
    if problems:
        raise UserError(*problems)


def searched(text: str) -> tuple:
    """(option, values) of 'lr=0.0001:0.001:log' or 'ngf=32,64'; values are (low, high, is logarithmic), or a list."""
    name, _, values = text.lstrip('-').partition('=')
    if ':' not in values:
        if not (name and values):
            raise argparse.ArgumentTypeError(f'{text}: write OPTION=VALUES')
        return name, values.split(',')
    low, high, *how = values.split(':')
    number = float if re.search(r'[.e]', values.removesuffix(':log')) else int
    try:
        low, high = number(low), number(high)
        problem = not low < high or how not in ([], ['log']) or (how and low <= 0)
    except ValueError:
        problem = True
    if problem:
        raise argparse.ArgumentTypeError(f'{text}: write {name}=LOW:HIGH or {name}=LOW:HIGH:log')
    return name, (low, high, bool(how))


def suggest(trial, name: str, values):
    """The value of an option in a trial."""
    if isinstance(values, list):
        return trial.suggest_categorical(name, values)
    low, high, logarithmic = values
    draw = trial.suggest_int if isinstance(low, int) else trial.suggest_float
    return draw(name, low, high, log=logarithmic)


def best_of(folder: Path) -> tuple[float, str] | None:
    """The best value of --best_metric in a run and its name; None if there is none."""
    from models.metrics import METRICS
    lines = [json.loads(line) for line in (folder / 'losses.jsonl').read_text(encoding='utf-8').splitlines()]
    lines = [line for line in lines if line.get('metrics', {}).get(line.get('best_metric')) is not None]
    if not lines:
        return None
    name = lines[-1]['best_metric']
    best = min if METRICS[name].better == 'lower' else max
    return best(line['metrics'][name] for line in lines if line['best_metric'] == name), name


def train(opt, study, number: int, values: dict):
    """Train the run of a trial, or go on with it, and tell the study its value."""
    import optuna
    name = f'{opt.name}_{number}'
    words = [word for option, value in values.items() for word in (f'--{option}', str(value))]
    print(f'trial {number}: {" ".join(words)}', flush=True)
    command = ['train.py', *opt.training, '--name', name, *words, '--continue_train', 'auto']
    code = subprocess.call([sys.executable, *command], cwd=ROOT)
    if code == MISTAKE or code in SIGNALS or code < 0:
        if code == MISTAKE:
            study.tell(number, state=optuna.trial.TrialState.FAIL)
        raise UserError(f'trial {number} ended with exit code {code}; the same command goes on')
    found = best_of(opt.checkpoints_dir / name) if code == 0 else None
    if code == 0 and not found:
        study.tell(number, state=optuna.trial.TrialState.FAIL)
        raise UserError(f'run {name} has no metric to compare; it needs validation images: a folder val, or add '
                        f'--val_fraction 0.1 after --')
    if not found:
        print(f'trial {number} failed with exit code {code}', flush=True)
        study.tell(number, state=optuna.trial.TrialState.FAIL)
        return
    value, metric = found
    from models.metrics import METRICS
    print(f'trial {number}: {metric} {value:.5g}', flush=True)
    sign = 1 if METRICS[metric].better == 'lower' else -1       # a study looks for the smallest value
    study.set_user_attr('metric', [metric, sign])
    study.tell(number, sign * value)


def main(argv, console):
    opt = parse(argv)
    try:
        import optuna
    except ImportError:
        raise UserError('Optuna is not installed; pip install optuna') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    opt.checkpoints_dir.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(storage=f'sqlite:///{opt.checkpoints_dir / opt.name}.sweep.db', study_name=opt.name,
                                sampler=optuna.samplers.TPESampler(seed=opt.seed), load_if_exists=True)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):       # of a stopped sweep
        train(opt, study, trial.number, trial.params)
    for _ in range(opt.trials):
        trial = study.ask()
        train(opt, study, trial.number, {name: suggest(trial, name, values) for name, values in opt.search})
    if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        raise UserError('no trial was finished; see what train.py wrote above')
    best, (metric, sign) = study.best_trial, study.user_attrs['metric']
    print(f'best: {opt.name}_{best.number} with {metric} {sign * best.value:.5g}, '
          + ', '.join(f'--{name} {value}' for name, value in best.params.items())
          + f'\nto test it: python test.py --name {opt.name}_{best.number} --epoch best --checkpoints_dir '
            f'{opt.checkpoints_dir}\nall runs: python scripts/runs.py --checkpoints_dir {opt.checkpoints_dir}')


if __name__ == '__main__':
    sys.exit(run(main))
