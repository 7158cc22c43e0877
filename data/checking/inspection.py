"""Looking at the files of a data set before training, so that nothing of them surprises hours later."""
import os

from data.image_folder import ignored
from util.console import say, warn
from util.errors import UserError

from . import problems
from .headers import scan


class Inspection:
    """Headers of the folders of a data set, and the problems they show."""

    def __init__(self, opt, prepare):
        self.opt, self.prepare = opt, prepare
        self.folders = {}       # {folder: {path: header}}
        self.problems = []      # those that a data set finds itself

    def look(self, paths: list[str], folder) -> list[str]:
        """Read the headers of `paths` and return those that can be used."""
        headers = scan(paths, folder, self.opt.max_pixels, self.opt.data_timeout)
        self.folders[os.path.abspath(folder)] = headers
        good = [path for path in paths if not headers[path].problem]
        if not good and self.opt.bad_images == 'skip':
            raise UserError(*(problem.sentence.partition(' or leave them out')[0] for problem in self.unreadable()))
        return good

    @property
    def headers(self) -> dict:
        return {path: header for headers in self.folders.values() for path, header in headers.items()}

    def unreadable(self) -> list[problems.Problem]:
        return problems.about_unreadable(problems.unreadable(self.headers), len(self.headers))

    def all_problems(self, halves: int) -> list[problems.Problem]:
        """Everything that would end the training, or make it useless; what can be skipped last."""
        found = list(self.problems)
        for headers in self.folders.values():
            found += problems.about_sizes(headers, self.opt, self.prepare, halves)
            found += problems.about_numbers(headers, self.opt.max_pixels)
        return found + self.unreadable()

    def settle(self, halves: int) -> list[str]:
        """A `UserError` with all problems, or warnings and notes; returns sentences about files left out."""
        skip = self.opt.bad_images == 'skip'
        fatal = [problem.sentence for problem in self.all_problems(halves)
                 if problem.fatal and not (skip and problem.kind == 'unreadable')]
        if fatal:
            raise UserError(*fatal)
        for problem in self.problems:
            warn(problem.sentence)
        for folder, headers in self.folders.items():
            self.tell(folder, headers)
        bad = problems.unreadable(self.headers)
        if bad:
            warn(f'{len(bad)} of {len(self.headers)} images cannot be read and are left out (--bad_images skip): '
                 f'{problems.listing(bad)}')
        return [f'{os.path.abspath(path)} ({note})' for path, note in bad.items()]

    def tell(self, folder, headers):
        changed = problems.conversions(headers, min(self.opt.input_nc, self.opt.output_nc))
        others = ignored(folder)
        parts = [f'of {len(headers)} images {changed}'] * bool(changed) + [f'ignored: {others}'] * bool(others)
        if parts:
            say(f'note: {folder}: {"; ".join(parts)}')
