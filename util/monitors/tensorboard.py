"""The TensorBoard monitor: scalars, images, options and hyperparameters in event files in the run folder.

Steps are images seen.
"""
from collections.abc import Iterable, Mapping
from pathlib import Path

from util.monitors.base import Monitor


class TensorboardMonitor(Monitor):
    """Event files in `folder`/`name`, so that TensorBoard calls the run by its name.

    A resumed run hides what was written after the step from which it resumes. If there are no event files yet,
    `history`, earlier lines of losses.jsonl, is written first. `options` are a text and, in the tab HPARAMS, a row.
    given: names of the options that come first in the text.
    """

    def __init__(self, folder: Path, name: str = '', options: Mapping | None = None, history: Iterable[dict] = (),
                 given: Iterable[str] = ()):
        from torch.utils.tensorboard import SummaryWriter
        folder = Path(folder)
        older = any(folder.glob('events.*'))        # of version 0.2: right in the folder
        self._folder = folder if older else folder / name.replace('/', '_')
        self._make = SummaryWriter
        self._options, self._given = dict(options or {}), set(given)
        self._writer = None
        if not any(self._folder.glob('events.*')):
            for record in history:
                (self.metrics if 'metrics' in record else self.losses)(record)

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
            if self._options:
                self._write_options(step)
        return self._writer

    def _write_options(self, step):
        from torch.utils.tensorboard.summary import hparams
        rows = sorted(self._options.items(), key=lambda row: (row[0] not in self._given, row[0]))
        table = [f'| {f"**{name}**" if name in self._given else name} | {as_cell(value)} |' for name, value in rows]
        self._writer.add_text('options', '\n'.join(['| option | value |', '|---|---|', *table]), step)
        plain = {name: value if isinstance(value, (bool, int, float)) else str(value) for name, value in rows}
        _, start, _ = hparams(plain, {})        # without the others its columns are all scalars of the run
        self._writer._get_file_writer().add_summary(start, step)


def as_cell(value) -> str:
    """Text that Markdown leaves as it is, in a table."""
    return '`' + str(value).replace('|', '\\|').replace('`', "'").replace('\n', ' ') + '`' if str(value) else ''
