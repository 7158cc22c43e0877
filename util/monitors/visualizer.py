"""Sends losses and images of a training run to the console, the log files, the live page and the monitors."""
import os
import shlex
from pathlib import Path

from util.console import ProgressBar, warn
from util.errors import UserError
from util.images import tensor_to_image
from util.monitors.base import close_all
from util.monitors.create import create_monitors
from util.monitors.health import Health
from util.monitors.live_page.page import LivePage
from util.monitors.loss_log import LossLog, line_of, record_of
from util.monitors.timing import WaitHint

# of fixed images, for monitors
KINDS = {'validation': 'validation', 'test': 'test', 'training': 'fixed_training'}


class Outlet:
    """Writes files that training can do without: if the disk fails, it warns once and tries again in each epoch."""

    def __init__(self, what: str, make, epoch: int):
        self.what, self.make = what, make
        self.target = None
        self.failed_in = 0
        self.warned = False
        self.call(epoch, lambda target: None)

    def call(self, epoch: int | None, action):
        """Return `action(target)`, with `target` from `make()`; None if the disk fails, now or earlier in this epoch.

        Without an epoch it is tried in any case.
        """
        if self.failed_in == epoch:
            return None
        try:
            self.target = self.target or self.make()
            return action(self.target)
        except OSError as error:
            self.failed_in = epoch
            if not self.warned:
                place = f'{os.path.abspath(error.filename)}: ' if error.filename else ''
                warn(f'cannot write {self.what}: {place}{error.strerror}; training continues without it and tries '
                     f'again in each epoch')
            self.warned = True
            return None


class Visualizer:
    """All outputs of a training run. Only the console can stop the run."""

    def __init__(self, opt, total_images: int, progress, device: str = ''):
        folder = Path(opt.checkpoints_dir) / opt.name
        self.bar = ProgressBar(total_images, progress.total_iters)
        self.line = self.bar.line
        self.progress, self.state = progress, 'finished'
        self.validates = True
        self.bands = [int(band) for band in filter(None, opt.as_dict().get('show_bands', '').split(','))]
        self.hint = WaitHint(opt.loader, opt.num_threads)
        self.log = Outlet('the loss log', lambda: LossLog(folder), progress.epoch)
        self.page = None
        if not opt.no_html:
            self.page = Outlet('the live page', lambda: live_page(
                opt, folder, total_images, progress, device, self.line), progress.epoch)
        self.to_page(lambda page: page.open(progress))
        self.page_line = f'live page: {(folder / "web" / "index.html").absolute()}' if self.page else ''
        self.next_line = f'to test it: python test.py {shlex.join(words_of_run(opt))}'
        if self.page_line:
            self.line(self.page_line)
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
        close_all(self.monitors)
        if not error:
            for line in filter(None, [self.page_line, self.next_line if self.state == 'finished' else '']):
                self.line(line)

    @property
    def shows_images(self) -> bool:
        return bool(self.page or self.monitors)

    def to_page(self, action):
        if self.page:
            self.page.call(self.progress.epoch, action)

    def stopped(self, cause: str):
        """Call when the run is stopped before its end; `cause`: the name of a signal, or an option."""
        self.state = f'stopped by {cause}'

    def step(self, progress, current_losses=None):
        """Call after each step; `current_losses()` gives the losses of a step that is shown because it is an early one.

        These are on the terminal only: the logs have lines at multiples of --print_freq.
        """
        self.progress = progress
        self.bar.advance(progress.last_batch_size, f'epoch {progress.epoch}')
        self.to_page(lambda page: page.step(progress))
        if current_losses and progress.is_early:
            losses = current_losses()
            self.line(f'step {progress.iteration}: {as_text(losses)}')
            self.bar.show(as_text(losses))

    def losses(self, progress, losses: dict[str, float], timing: dict[str, float], lr: float,
               means: dict[str, float] | None = None):
        """Show the `losses` of the last step, and their `means` over the steps since the last call."""
        means = {name: means[name] for name in losses if name in means} if means else {}
        line, record = line_of(progress, losses, timing), record_of(progress, losses, timing, lr, means)
        self.log.call(progress.epoch, lambda log: log.write(line, record))
        mean = f'| mean {as_text(means)} ' if means else ''
        self.line(f'{line}{mean}| {timing["images_per_s"]:.1f} images/s, waiting for data '
                  f'{100 * timing["data_wait"]:.0f} %')
        self.bar.show(as_text({**losses, **means}))
        if hint := self.hint.after(timing['data_wait']):
            self.line(hint)
        if self.page and self.page.target:
            self.page.target.losses(record)
        for monitor in self.monitors:
            monitor.losses(record)

    def alive(self, progress):
        """Call within long work between two steps, so that the page does not look dead."""
        self.to_page(lambda page: page.step(progress))

    def metrics(self, progress, record: dict, line: str):
        """Show a validation: `record` is a line of losses.jsonl with 'metrics' {name: value}."""
        self.line(line)
        self.log.call(progress.epoch, lambda log: log.add(record))
        if self.page and self.page.target:
            self.page.target.metrics(record)
        for monitor in self.monitors:
            monitor.metrics(record)

    def images(self, progress, visuals: dict):
        """Show the first image of each batch in `visuals`, {label: (N, C, H, W) in [-1, 1]}."""
        images = first_of(visuals, self.bands)
        self.to_page(lambda page: page.images(progress, images))
        for monitor in self.monitors:
            monitor.images(progress, images, 'train')

    def previews(self, progress, visuals, source: str):
        """Show the fixed images: `visuals` yields {label: (1, C, H, W) in [-1, 1]} for each of them.

        `source` says what they are: 'validation', 'test' or 'training' images.
        """
        try:
            samples = [first_of(images, self.bands) for images in visuals]
        except UserError as error:      # the networks cannot process an image: not a reason to stop training
            if self.validates:
                warn(f'the fixed {source} images are not shown: {error}')
            self.validates, samples = False, []
        if not samples:
            return
        self.to_page(lambda page: page.validation(progress, samples, source))
        images = {f'{label} {index}': image for index, sample in enumerate(samples)
                  for label, image in sample.items()}
        for monitor in self.monitors:
            monitor.images(progress, images, KINDS[source])


class NoVisualizer:
    """For all processes but the first one, which shows the run."""

    shows_images = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """There is nothing to close."""

    def nothing(self, *_):
        """The first process does it."""

    def step(self, progress, current_losses=None):
        """The losses of a step are summed over all processes, so all take part."""
        if current_losses and progress.is_early:
            current_losses()

    line = alive = losses = metrics = images = previews = stopped = nothing


def as_text(losses: dict[str, float]) -> str:
    return ' '.join(f'{name} {value:.3f}' for name, value in losses.items())


def words_of_run(opt) -> list[str]:
    """What names this run on a command line."""
    place = ['--checkpoints_dir', opt.checkpoints_dir] if 'checkpoints_dir' in opt.given else []
    return ['--name', opt.name, *place]


def live_page(opt, folder: Path, total_images: int, progress, device: str, notify) -> LivePage:
    options = [[name, str(value), name in opt.given] for name, value in sorted(opt.as_dict().items())]
    return LivePage(folder, opt.name, options, total_images, progress, image_width=opt.display_winsize,
                    html_freq=opt.update_html_freq, health=Health(opt.gan_mode, notify), device=device)


def first_of(visuals: dict, bands=()) -> dict:
    """The first image of each batch in {label: (N, C, H, W) in [-1, 1]} as uint8 (H, W, 3)."""
    return {label: tensor_to_image(images[0], bands) for label, images in visuals.items()}
