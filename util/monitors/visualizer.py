"""Hands losses and images of a training run to the console, the log files, the page and the monitors."""
import os
from pathlib import Path

from util.console import ProgressBar, warn
from util.errors import UserError
from util.images import tensor_to_image
from util.monitors.create import create_monitors
from util.monitors.live_page.page import LivePage
from util.monitors.loss_log import LossLog, line_of, record_of
from util.monitors.timing import WaitHint


class Outlet:
    """What writes files that a run can do without: a disk that fails is told of once and tried in each epoch."""

    def __init__(self, what: str, make, epoch: int):
        self.what, self.make = what, make
        self.target, self.failed_in, self.told = None, 0, False
        self.call(epoch, lambda target: None)

    def call(self, epoch: int | None, action):
        """`action(target)`, of what `make()` gave, or None where the disk fails; without an epoch tried in any case."""
        if self.failed_in == epoch:
            return None
        try:
            self.target = self.target or self.make()
            return action(self.target)
        except OSError as error:
            self.failed_in = epoch
            if not self.told:
                place = f'{os.path.abspath(error.filename)}: ' if error.filename else ''
                warn(f'{self.what} cannot be written: {place}{error.strerror}; training goes on without it and tries '
                     f'again in each epoch')
            self.told = True
            return None


class Visualizer:
    """All outputs of a training run. None of them but the console ever stops it."""

    def __init__(self, opt, total_images: int, progress, device: str = ''):
        folder = Path(opt.checkpoints_dir) / opt.name
        self.bar = ProgressBar(total_images, progress.total_iters)
        self.line = self.bar.line
        self.progress, self.state = progress, 'finished'
        self.validates = True
        self.hint = WaitHint(opt.loader, opt.num_threads)
        self.log = Outlet('the loss log', lambda: LossLog(folder), progress.epoch)
        self.page = None if opt.no_html else Outlet(
            'the page', lambda: LivePage(folder, opt, total_images, progress, device, self.line), progress.epoch)
        self.to_page(lambda page: page.open(progress))
        self.monitors = create_monitors(opt, folder, self.line)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        self.bar.bar.close()
        state = self.state
        if error:
            state = f'failed: {kind.__name__}: {str(error)[:500]}' if isinstance(error, Exception) else 'interrupted'
        if self.page:
            self.page.call(None, lambda page: page.close(self.progress, state))
        for monitor in self.monitors:
            monitor.close()

    @property
    def shows_images(self) -> bool:
        return bool(self.page or self.monitors)

    def to_page(self, action):
        if self.page:
            self.page.call(self.progress.epoch, action)

    def stopped(self, cause: str):
        """The run ends before its time; `cause`: the name of a signal."""
        self.state = f'stopped by {cause}'

    def step(self, progress):
        self.progress = progress
        self.bar.advance(progress.last_batch_size, f'epoch {progress.epoch}')
        self.to_page(lambda page: page.step(progress))

    def losses(self, progress, losses: dict[str, float], timing: dict[str, float], lr: float):
        line, record = line_of(progress, losses, timing), record_of(progress, losses, timing, lr)
        self.log.call(progress.epoch, lambda log: log.write(line, record))
        self.line(f'{line}| {timing["images_per_s"]:.1f} images/s, waiting for data {100 * timing["data_wait"]:.0f} %')
        if hint := self.hint.after(timing['data_wait']):
            self.line(hint)
        if self.page and self.page.target:
            self.page.target.losses(record)
        for monitor in self.monitors:
            monitor.losses(record)

    def images(self, progress, visuals: dict):
        """Show the first image of each batch in `visuals`, {label: (N, C, H, W) in [-1, 1]}."""
        pictures = first_of(visuals)
        self.to_page(lambda page: page.images(progress, pictures))
        for monitor in self.monitors:
            monitor.images(progress, pictures, 'train')

    def validation(self, progress, visuals):
        """Show fixed images, the same each time: for each of them {label: (1, C, H, W) in [-1, 1]}."""
        try:
            samples = [first_of(images) for images in visuals]
        except UserError as error:      # an image that the networks cannot take is no reason to end
            warn(f'no pictures of the validation images: {error}') if self.validates else None
            self.validates, samples = False, []
        if not samples:
            return
        self.to_page(lambda page: page.validation(progress, samples))
        pictures = {f'{label} {index}': picture for index, sample in enumerate(samples)
                    for label, picture in sample.items()}
        for monitor in self.monitors:
            monitor.images(progress, pictures, 'validation')


class NoVisualizer:
    """Of the processes beside the first one, which shows the run."""

    shows_images = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing was opened."""

    def nothing(self, *_):
        """The first process does it."""

    line = step = losses = images = validation = stopped = nothing


def first_of(visuals: dict) -> dict:
    """The first image of each batch in {label: (N, C, H, W) in [-1, 1]} as uint8 (H, W, 3)."""
    return {label: tensor_to_image(images[0]) for label, images in visuals.items()}
