"""The files of a data set that could not be read: told once each, listed for the user, and never too many."""
from pathlib import Path

from util.console import printable, warn
from util.errors import UserError
from util.files import atomic_write

FILE_NAME = 'bad_images.txt'
TOLERATED = 2       # so many at least, also in a small data set
SHARE = 0.01


class BadImages:
    """Sentences about files: those left out at the start, and those that another sample took the place of."""

    def __init__(self):
        self.left_out, self.replaced = [], []
        self.folder = None

    def replace(self, sentence: str, n_files: int):
        """Note a file that was found bad while training; a `UserError` if they are more than 1 % of `n_files`."""
        if sentence in self.replaced:
            return
        self.replaced.append(sentence)
        self.save()
        if len(self.replaced) > max(TOLERATED, SHARE * n_files):
            raise UserError(f'{len(self.replaced)} of {n_files} images could not be read since the start, more than '
                            f'{SHARE:.0%}: {"; ".join(self.replaced[:10])}')
        warn(f'{sentence}: until then another sample takes its place')

    def save_to(self, folder):
        """From now on keep the list in `folder`; entries of an earlier part of the run stay."""
        self.folder = Path(folder)
        self.save()

    def save(self):
        sentences = [printable(sentence) for sentence in self.left_out + self.replaced]
        if self.folder is None or not sentences:
            return
        path = self.folder / FILE_NAME
        try:
            earlier = path.read_text(encoding='utf-8', errors='surrogateescape').splitlines() if path.exists() else []
            lines = '\n'.join(dict.fromkeys([*earlier, *sentences])) + '\n'
            with atomic_write(path, 'wb') as file:
                file.write(lines.encode('utf-8', 'surrogateescape'))
        except OSError as error:
            warn(f'the list of bad images is not saved: {path.absolute()}: {error.strerror}')
