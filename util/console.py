"""Progress on the console: a bar with the time to go on a terminal, plain lines in a log."""
import os
import sys

from tqdm import tqdm

from util import cli


class ProgressBar:
    """Counts images up to `total`; `line` prints without disturbing the bar."""

    def __init__(self, total: int, done: int = 0):
        self.done = done
        self.bar = tqdm(total=total, initial=done, unit='img', dynamic_ncols=True, smoothing=0.05,
                        disable=not sys.stderr.isatty())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def advance(self, n_images: int, description: str = ''):
        self.done += n_images
        if not self.bar.disable:
            self.bar.set_description(description, refresh=False)
            self.bar.update(n_images)

    def line(self, text: str, terminal: bool = True):
        """Print a line; with `terminal=False` only where there is no bar that tells the same."""
        if terminal or self.bar.disable:
            say(text)


def say(text: str):
    """Print lines. When the reader has gone, or its disk is full, the work goes on and the log files tell."""
    if cli.silent:
        return
    try:
        tqdm.write('\n'.join(map(cli.printable, text.split('\n'))), file=sys.stdout)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
