"""Checks the files of a dataset before training, so that problems do not come up hours later."""
from collections.abc import Sequence

from data.image_folder import ignored
from util.console import say, warn
from util.errors import UserError
from util.places.files import shown
from util.places.paths import sample_step, without
from util.places.remote import is_remote

from . import problems
from .headers import scan


class Inspection:
    """Headers of the folders of a dataset, and the problems they show."""

    def __init__(self, opt, prepare):
        self.opt = opt
        self.prepare = prepare
        self.folders = {}       # {folder: {path: header}}
        self.problems = []      # added by the dataset itself
        self.everything = bool(opt.as_dict().get('every_header'))
        self.sampled = []       # lists of paths of which only a sample was looked at

    def usable(self, paths: Sequence[str], folder) -> tuple[Sequence[str], list[str]]:
        """Read the headers of `paths`, or of a sample of very many; returns (paths to use, those with a good header).

        The paths to use are those whose header could be read or was not looked at.
        """
        step = self.step(paths)
        looked_at = list(paths[::step])
        headers = scan(looked_at, folder, self.opt.max_pixels, self.opt.data_timeout,
                       'headers' if step == 1 else 'sample')
        self.folders.setdefault(shown(folder), {}).update(headers)
        good = [path for path in looked_at if not headers[path].problem]
        usable = good
        if step > 1:
            self.sampled.append(paths)
            bad = {step * number for number, path in enumerate(looked_at) if headers[path].problem}
            usable = without(paths, bad)
            later = 'when they are read' if is_remote(paths[0]) else 'while training runs'
            say(f'note: {folder}: the headers of {len(looked_at)} of {len(paths)} images are checked now, the others '
                f'{later}; scripts/check_data.py checks all of them before')
        if not usable and self.skips:
            none_left = problems.unreadable_problems(self.headers, can_be_skipped=False)
            raise UserError(*(problem.sentence for problem in none_left))
        return usable, good

    def step(self, paths: Sequence[str]) -> int:
        """Every how many of these images are looked at."""
        return 1 if self.everything else sample_step(paths)

    @property
    def n_files(self) -> int:
        """Images, whether their headers were looked at or not."""
        unseen = sum(len(paths) - len(paths[::self.step(paths)]) for paths in self.sampled)
        return len(self.headers) + unseen

    @property
    def skips(self) -> bool:
        return self.opt.bad_images == 'skip'

    @property
    def headers(self) -> dict:
        return {path: header for headers in self.folders.values() for path, header in headers.items()}

    @property
    def unreadable(self) -> set[str]:
        return set(problems.unreadable(self.headers))

    def all_problems(self, halves: int) -> list[problems.Problem]:
        """Everything that would stop the training or make it useless; what can be skipped comes last."""
        found = list(self.problems)
        for headers in self.folders.values():
            found += problems.size_problems(headers, self.opt, self.prepare, halves)
        return found + problems.unreadable_problems(self.headers)

    def finish(self, halves: int) -> list[str]:
        """Raise a `UserError` with all problems, or print warnings and notes; returns messages on files left out."""
        fatal = [problem.sentence for problem in self.all_problems(halves)
                 if problem.fatal and not (self.skips and problem.kind == 'unreadable')]
        if fatal:
            raise UserError(*fatal)
        for problem in self.problems:
            warn(problem.sentence)
        for folder, headers in self.folders.items():
            self.print_note(folder, headers)
        bad = problems.unreadable(self.headers)
        if bad:
            warn(f'{len(bad)} of {len(self.headers)} images cannot be read and are left out (--bad_images skip): '
                 f'{problems.listing(bad)}')
        return [f'{shown(path)} ({why})' for path, why in bad.items()]

    def print_note(self, folder, headers):
        parts = []
        if changed := problems.conversions(headers, max(self.opt.input_nc, self.opt.output_nc)):
            parts.append(f'of {len(headers)} images {changed}')
        values = self.opt.as_dict()     # only what lists name belongs to the data
        by_list = any(values.get(name) for name in ('pairs', 'list_A', 'list_B'))
        if not by_list and (others := ignored(folder)):
            parts.append(f'ignored: {others}')
        if parts:
            say(f'note: {folder}: {"; ".join(parts)}')
