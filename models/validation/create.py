"""From options to the validation of a run. All errors are reported before the run folder is touched."""
from pathlib import Path

from models import metrics
from util.console import counted
from util.errors import UserError
from util.machine.seeding import derive_seed

from .best import Best
from .choice import choose
from .validation import Validation, epochs_between
from .validator import Validator, plan_of

NEEDING = ('val_metrics', 'best_metric', 'early_stop', 'plateau_metric')    # options that need validation images
STYLES = 2      # results of one input, for metrics of styles
CURES = ('put some into {folder} ({phase}/, or {phase}A/ and {phase}B/), or hold out training images with '
         '--val_fraction 0.1')


def create_validation(opt, test_opt, trainer, dataset, epoch_size: int) -> Validation:
    """The validation of a run.

    Args:
        opt: the options of the training.
        test_opt: those with which test.py would translate the validation images.
        dataset: of the validation images; or a text that says why there are none.
        epoch_size: training images in an epoch.
    """
    if opt.val_metrics == 'none' or opt.val_epoch_freq == 0:
        return Validation()
    asked = [f'--{name}' if value is True else f'--{name} {value}' for name, value in opt.as_dict().items()
             if name in NEEDING and name in opt.given and value not in ('auto', '', 0, False)]
    if isinstance(dataset, str):
        asked += [f'--val_phase {opt.val_phase}'] if 'val_phase' in opt.given else []
        return without(asked, f'no validation images{": " if dataset else ""}{dataset}; '
                       + CURES.format(folder=Path(opt.dataroot or '.').absolute(), phase=opt.val_phase))
    styled = 'num_styles' in test_opt.as_dict()
    names, note = choose(opt.val_metrics, dataset.has_targets, styled, opt.metric_weights)
    if not names:
        return without(asked, note)
    if opt.best_metric and opt.best_metric not in names:
        raise UserError(f'--best_metric {opt.best_metric} is not among the metrics of this run, {", ".join(names)}; '
                        f'add it to --val_metrics, or choose one of these')
    found = metrics.create(names, opt.metric_weights or None, trainer.model.device)
    if styled:
        count = STYLES if any(metric.kind == 'styles' for metric in found) else 1
        test_opt = test_opt.replace(num_styles=count)
    plan = plan_of(*dataset.sizes, opt.val_max_images)
    validator = Validator(trainer, test_opt, dataset, plan, found)
    chosen = next(metric for metric in found if metric.name == (opt.best_metric or names[0]))
    freq = epochs_between(opt.val_epoch_freq, validator.size, epoch_size)
    line = (f'validation: {", ".join(names)} of {counted(validator.size, "image")} '
            f'{"after each epoch" if freq == 1 else f"every {freq} epochs"}; '
            f'the best checkpoint has the {better_word(chosen)} {chosen.name}')
    best = Best(chosen.name, chosen.better, opt.early_stop, images_of(dataset, plan))
    return Validation(validator, freq, best, [line])


def without(asked: list[str], why: str) -> Validation:
    """No metrics: an error if an option needs them, else a note."""
    if asked:
        raise UserError(f'{asked[0]} needs metrics, but there are {why}')
    return Validation(lines=[f'note: no metrics during training: {why}'])


def images_of(dataset, plan) -> str:
    """A text that changes with the validation images, by their names."""
    names = sorted(Path(path).name for paths in dataset.files_of.values() for path in paths)
    return f'{derive_seed(names, [tuple(item) for item in plan]):x}'


def better_word(metric) -> str:
    return 'lowest' if metric.better == 'lower' else 'highest'
