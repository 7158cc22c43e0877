"""The Weights & Biases monitor: losses under their names, images under results/; steps are images seen."""

import netrc
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from util.console import warn
from util.monitors.base import Monitor

SITE = 'api.wandb.ai'


class WandbMonitor(Monitor):
    """A run on wandb. Without an API key or WANDB_MODE, it is written to local files only."""

    def __init__(self, project: str, name: str, config: Mapping, folder: Path,
                 notify: Callable[[str], None] = warn):
        import wandb
        mode = None if has_key() or os.environ.get('WANDB_MODE') else 'offline'
        if mode:
            notify(f'wandb has no API key, so it writes to {Path(folder).absolute() / "wandb"} only; upload it later '
                   f'with `wandb sync`, or run `wandb login` before training')
        self._image = wandb.Image
        self._run = wandb.init(project=project, name=name, config=dict(config), dir=str(folder), mode=mode,
                               settings=wandb.Settings(console='off', silent=True))

    def losses(self, record):
        """Log the losses under their names at step `total_iters`, with learning rate and speed."""
        extra = {key: record[key] for key in ('epoch', 'lr', 'images_per_s') if key in record}
        self._run.log({**record['losses'], **extra}, step=record['total_iters'])

    def metrics(self, record):
        """Log the values of a validation as `metric/<name>`."""
        self._run.log({f'metric/{name}': value for name, value in record['metrics'].items() if value is not None},
                      step=record['total_iters'])

    def images(self, progress, images, kind):
        """Log training images as `results/<label>`, fixed images as `<kind>/<label>`."""
        group = 'results' if kind == 'train' else kind
        logged = {f'{group}/{label}': self._image(image, caption=label) for label, image in images.items()}
        self._run.log(logged, step=progress.total_iters)

    def close(self):
        self._run.finish()


def has_key() -> bool:
    """Whether wandb has an API key; otherwise it would ask for one, and training would wait for the answer."""
    if os.environ.get('WANDB_API_KEY'):
        return True
    home = Path(os.environ.get('NETRC') or Path.home() / ('_netrc' if sys.platform == 'win32' else '.netrc'))
    try:
        return netrc.netrc(str(home)).authenticators(SITE) is not None
    except (OSError, netrc.NetrcParseError):
        return False
