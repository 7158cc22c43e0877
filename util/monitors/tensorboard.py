"""The TensorBoard monitor: scalars and images in event files in the run folder; steps are images seen."""

from pathlib import Path

from util.monitors.base import Monitor


class TensorboardMonitor(Monitor):
    """Event files in `folder`. A resumed run hides what was written after the step from which it resumes."""

    def __init__(self, folder: Path):
        from torch.utils.tensorboard import SummaryWriter
        self._folder = Path(folder)
        self._make = SummaryWriter
        self._writer = None

    def losses(self, record):
        step = record['total_iters']
        for name, value in record['losses'].items():
            self._at(step).add_scalar(f'loss/{name}', value, step)
        for name in ('lr', 'images_per_s'):
            if name in record:
                self._at(step).add_scalar(f'run/{name}', record[name], step)

    def metrics(self, record):
        for name, value in record['metrics'].items():
            if value is not None:
                self._at(record['total_iters']).add_scalar(f'metric/{name}', value, record['total_iters'])

    def images(self, progress, images, kind):
        for label, image in images.items():
            self._at(progress.total_iters).add_image(f'{kind}/{label}', image, progress.total_iters,
                                                     dataformats='HWC')

    def close(self):
        if self._writer:
            self._writer.close()

    def _at(self, step):
        """The writer. It is made at the first step, where a resumed run begins."""
        if self._writer is None:
            resumed = step if any(self._folder.glob('events.*')) else None
            self._writer = self._make(str(self._folder), purge_step=resumed, flush_secs=10)
        return self._writer
