"""The Weights & Biases monitor: losses under their names, images under results/, a step per image seen."""

from collections.abc import Callable, Mapping

import numpy as np

from util.cli import warn


class WandbBoard:
    """A run on wandb. No method raises: the first failure is told in a line and ends the logging only."""

    def __init__(self, project: str, name: str, config: Mapping, notify: Callable[[str], None] = warn):
        self._notify = notify
        self._run = self._wandb = None
        try:
            import wandb

            self._wandb = wandb
            self._run = wandb.init(project=project, name=name, config=dict(config))
        except ImportError:
            notify('wandb is not installed - training goes on without it; `pip install wandb` installs it')
        except Exception as error:
            self._switch_off(error)

    def losses(self, progress, values: Mapping[str, float]) -> None:
        """Log `values` under their names at step `progress.total_iters`."""
        self._attempt(lambda: self._run.log(dict(values), step=progress.total_iters))

    def images(self, progress, visuals: Mapping[str, np.ndarray]) -> None:
        """Log H x W x C uint8 images as `results/<label>` at step `progress.total_iters`."""
        self._attempt(lambda: self._run.log(self._captioned(visuals), step=progress.total_iters))

    def close(self) -> None:
        """End the run on wandb; nothing is logged afterwards."""
        self._attempt(lambda: self._run.finish())
        self._run = None

    def _captioned(self, visuals):
        image = self._wandb.Image
        return {f'results/{label}': image(pixels, caption=label) for label, pixels in visuals.items()}

    def _attempt(self, action):
        if self._run is None:
            return
        try:
            action()
        except Exception as error:
            self._switch_off(error)

    def _switch_off(self, error):
        self._run = None
        reason = ' '.join(str(error).split()) or type(error).__name__
        self._notify(f'wandb switched off ({reason}) - training goes on without it')
