"""Headers that were not looked at before training are looked at while it runs."""
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice

from util.console import say, warn
from util.places.paths import sample_step

from .bad_images import SHARE, BadImages, too_many
from .headers import read_header

AT_ONCE = 50
PAUSE = 0.1         # seconds after so many: the training keeps the processor


class BackgroundCheck(threading.Thread):
    """Reports files that cannot be read. A daemon thread: it does not keep the program from exiting."""

    def __init__(self, lists: list[Sequence[str]], max_pixels: int, bad_images: BadImages):
        super().__init__(daemon=True)
        self.lists = lists
        self.max_pixels = max_pixels
        self.bad_images = bad_images

    def run(self):
        paths, found = self.paths(), 0
        total = sum(map(len, self.lists))
        while some := list(islice(paths, AT_ONCE)):
            for path in some:
                if problem := read_header(path, self.max_pixels).problem:
                    found += 1
                    self.bad_images.add_found(path, problem)
            if too_many(found, total):
                warn(f'found in the background: more than {SHARE:.0%} of {total} images cannot be read, and it goes no '
                     f'further; python scripts/check_data.py finds all')
                return
            time.sleep(PAUSE)
        say(f'checked in the background: {found} of {total} images cannot be read')

    def paths(self) -> Iterator[str]:
        """Those that were not in the sample."""
        for paths in self.lists:
            step = sample_step(paths)
            yield from (path for number, path in enumerate(paths) if number % step)
