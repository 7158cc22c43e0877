"""The image files of a run that could not be read: reported once, listed in a file, and limited in number."""
import threading
from pathlib import Path

from util.console import printable, warn
from util.errors import UserError
from util.files import atomic_write
from util.places.files import shown

FILE_NAME = 'bad_images.txt'
TOLERATED = 2       # at least so many, also in a small dataset
SHARE = 0.01        # of the files of a dataset
PRINTED = 5         # messages of the check in the background
SAVING = threading.Lock()   # that check is a thread


def too_many(bad: int, total: int) -> bool:
    """True if so many images cannot be read that training must not continue without them."""
    return bad > max(TOLERATED, SHARE * total)


class BadImages:
    """Messages about files: those left out before training, and those replaced by other samples while training."""

    def __init__(self):
        self.left_out = []
        self.replaced = []
        self.found = []
        self.folder = None

    def add_replaced(self, message: str, n_files: int):
        """Add a file that failed while training. Raises a `UserError` if more than 1 % of `n_files` did."""
        if message in self.replaced:
            return
        self.replaced.append(message)
        self.save()
        if too_many(len(self.replaced), n_files):
            raise UserError(f'{len(self.replaced)} of {n_files} images could not be read since the start, more than '
                            f'{SHARE:.0%}: {"; ".join(self.replaced[:10])}')
        warn(f'{message}; another sample is used instead')

    def add_found(self, path: str, why: str):
        """Add a file that the check in the background found; the first ones are printed."""
        self.found.append(f'{shown(path)} ({why})')
        self.save()
        if len(self.found) < PRINTED:
            warn(f'found in the background: cannot read {self.found[-1]}; another sample will be used instead')
        elif len(self.found) == PRINTED:
            warn(f'{PRINTED} images that cannot be read were found in the background; further ones are in {FILE_NAME} '
                 f'of the run; python scripts/check_data.py finds all')

    def save_to(self, folder):
        """Keep the list in `folder` from now on; entries from before a resume stay."""
        self.folder = Path(folder)
        self.save()

    def save(self):
        messages = [printable(message) for message in [*self.left_out, *self.found, *self.replaced]]
        if self.folder is None or not messages:
            return
        path = self.folder / FILE_NAME
        try:
            with SAVING:
                self.write(path, messages)
        except OSError as error:
            warn(f'cannot save the list of bad images {path.absolute()}: {error.strerror}')

    def write(self, path, messages):
        earlier = path.read_text(encoding='utf-8', errors='surrogateescape').splitlines() if path.exists() else []
        lines = '\n'.join(dict.fromkeys([*earlier, *messages])) + '\n'
        with atomic_write(path, 'wb') as file:
            file.write(lines.encode('utf-8', 'surrogateescape'))
