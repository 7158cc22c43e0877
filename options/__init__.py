"""Command lines: `TrainOptions().parse(argv)` and `TestOptions().parse(argv)` give read-only `Options`."""
from .base_options import Options
from .test_options import TestOptions, ValidationOptions
from .train_options import TrainOptions

__all__ = ['Options', 'TestOptions', 'TrainOptions', 'ValidationOptions']
