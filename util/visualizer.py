"""`Visualizer(opt)` and `save_images` as training loops and scripts of the reference call them.

The outputs are those of train.py, which uses util/monitors/visualizer.py itself.
"""
from functools import cached_property
from pathlib import Path

from models.training.progress import Progress
from util.monitors.visualizer import Visualizer as Outputs
from util.util import save_image, tensor2im

__all__ = ['Visualizer', 'save_images']


class Visualizer:
    """Losses and images of a loop that counts for itself: log files, the page under web/, and the monitors."""

    def __init__(self, opt):
        opt = opt.frozen() if hasattr(opt, 'frozen') else opt
        self.opt, self.progress = opt, Progress()

    @cached_property
    def outputs(self) -> Outputs:
        """Opened when something is shown, so that a script that shows nothing writes nothing."""
        opt = self.opt
        self.progress.epoch, self.progress.last_epoch = opt.epoch_count, opt.n_epochs + opt.n_epochs_decay
        return Outputs(opt, 0, self.progress)

    def reset(self):
        """A new epoch begins."""

    def display_current_results(self, visuals, epoch, *position):
        """`position`: `save_result` (2021), or `total_iters, save_result` (2025)."""
        outputs = self.outputs
        self.progress.epoch = epoch
        outputs.images(self.progress, dict(visuals))

    def print_current_losses(self, epoch, iters, losses, t_comp, t_data):
        """Print and log losses; `t_comp` and `t_data` are seconds."""
        progress, outputs = self.progress, self.outputs
        progress.total_iters += iters - (progress.epoch_iter if progress.epoch_iter < iters else 0)
        progress.epoch, progress.epoch_iter = epoch, iters
        seconds = max(t_comp + t_data, 1e-9)
        timing = dict(time=t_comp, data=t_data, images_per_s=1 / seconds, data_wait=t_data / seconds)
        outputs.losses(progress, dict(losses), timing, self.opt.lr)

    def plot_current_losses(self, *position_and_losses):
        """`print_current_losses` plots them too."""


def save_images(webpage, visuals, image_path, aspect_ratio=1.0, width=256, use_wandb=False):
    """Save the first image of each of `visuals` as `<stem>_<label>.png`, and add them as a row to `webpage`."""
    stem = Path(image_path[0]).stem
    files = {label: f'{stem}_{label}.png' for label in visuals}
    for label, image in visuals.items():
        save_image(tensor2im(image), Path(webpage.get_image_dir()) / files[label], aspect_ratio=aspect_ratio)
    webpage.add_header(stem)
    webpage.add_images(list(files.values()), list(files), list(files.values()), width=width)
