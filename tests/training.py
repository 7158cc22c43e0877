"""The trainer and the saved state of a model in a test: the same trainer each time it is asked for."""
import weakref
from pathlib import Path

from models import create_trainer
from models.training.state import TrainingState

TRAINERS = weakref.WeakKeyDictionary()


def trainer_of(model):
    """The trainer of a model that was built by hand."""
    if model not in TRAINERS:
        TRAINERS[model] = create_trainer(model.opt, model)
    return TRAINERS[model]


def state_of(model) -> TrainingState:
    opt = model.opt
    return TrainingState(trainer_of(model), Path(opt.checkpoints_dir) / opt.name, opt.as_dict())
