"""Hands losses and images of a training run to the console, the log files, the page and the monitors."""
import json
import re
import time
from pathlib import Path

from util.console import ProgressBar
from util.html import Page
from util.images import save_image, tensor_to_image


class LossLog:
    """`loss_log.txt` in the reference's format and `losses.jsonl`, one JSON object a line."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.text, self.json = folder / 'loss_log.txt', folder / 'losses.jsonl'
        self._append(self.text, f'================ Training Loss ({time.strftime("%c")}) ================')

    def write(self, progress, losses: dict[str, float], timing: dict[str, float], lr: float) -> str:
        values = ''.join(f'{name}: {value:.3f} ' for name, value in losses.items())
        line = (f'(epoch: {progress.epoch}, iters: {progress.epoch_iter}, time: {timing["time"]:.3f}, '
                f'data: {timing["data"]:.3f}) {values}')
        self._append(self.text, line)
        self._append(self.json, json.dumps(dict(
            epoch=progress.epoch, iters=progress.epoch_iter, total_iters=progress.total_iters, lr=lr, **timing,
            losses=losses)))
        return line

    def _append(self, path, line):
        with open(path, 'a', encoding='utf-8') as file:
            file.write(line + '\n')


class TrainingPage:
    """`web/index.html`: pictures of each epoch, the newest first."""

    def __init__(self, folder: Path, name: str, width: int):
        self.folder, self.name, self.width = folder / 'web', name, width
        (self.folder / 'images').mkdir(parents=True, exist_ok=True)

    def images(self, progress, pictures: dict):
        for label, picture in pictures.items():
            save_image(picture, self.folder / 'images' / f'epoch{progress.epoch:03d}_{label}.png')
        self.write(list(pictures))

    def write(self, labels):
        page = Page(self.folder, f'Experiment name = {self.name}', refresh=60)
        for epoch in self.epochs():
            files = {label: f'images/epoch{epoch:03d}_{label}.png' for label in labels}
            page.add_row(f'epoch [{epoch}]', files, self.width)
        page.save(newest_first=True)

    def epochs(self) -> list[int]:
        found = (re.match(r'epoch(\d+)_', path.name) for path in (self.folder / 'images').glob('epoch*.png'))
        return sorted({int(match[1]) for match in found if match})


class Visualizer:
    """All outputs of a training run. Monitors fail by themselves, with a line, and never stop the run."""

    def __init__(self, opt, total_images: int, progress):
        folder = Path(opt.checkpoints_dir) / opt.name
        self.bar = ProgressBar(total_images, progress.total_iters)
        self.line = self.bar.line
        self.log = LossLog(folder)
        self.page = None if opt.no_html else TrainingPage(folder, opt.name, opt.display_winsize)
        self.page_epoch = None      # the last epoch that has pictures on the page
        self.html_freq = opt.update_html_freq
        self.monitors = list(create_monitors(opt, folder, self.line))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.bar.close()
        for monitor in self.monitors:
            monitor.close()

    def step(self, progress):
        self.bar.advance(progress.step, f'epoch {progress.epoch}')

    def losses(self, progress, losses: dict[str, float], timing: dict[str, float], lr: float):
        line = self.log.write(progress, losses, timing, lr)
        self.line(f'{line}| {timing["images_per_s"]:.1f} images/s, waiting for data {100 * timing["data_wait"]:.0f} %')
        for monitor in self.monitors:
            monitor.losses(progress, losses)

    def images(self, progress, visuals: dict):
        """Show the first image of each batch in `visuals`, {label: (N, C, H, W) in [-1, 1]}."""
        pictures = {label: tensor_to_image(images[0]) for label, images in visuals.items()}
        for monitor in self.monitors:
            monitor.images(progress, pictures)
        if self.page and (self.page_epoch != progress.epoch or progress.every(self.html_freq)):
            self.page.images(progress, pictures)
            self.page_epoch = progress.epoch


def create_monitors(opt, folder: Path, line):
    """The monitors that the options ask for; each is imported only then."""
    if opt.display_id > 0:
        from util.visdom_board import VisdomBoard
        yield VisdomBoard(opt.name, opt.display_server, opt.display_port, opt.display_env, opt.display_ncols,
                          opt.display_id, opt.display_winsize, notify=line,
                          where=str((folder / 'losses.jsonl').absolute()))
    if opt.use_wandb:
        from util.wandb_board import WandbBoard
        yield WandbBoard(opt.wandb_project_name, opt.name, opt.as_dict(), notify=line)
