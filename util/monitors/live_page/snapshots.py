"""Images of the live page: the fixed validation images over time, a bounded number of them."""
import re
from itertools import pairwise
from pathlib import Path

from PIL import Image

from util.files import atomic_write

SNAPSHOTS = 100         # times kept over the whole run
LONGEST_SIDE = 512      # of validation images; training images are written in full size


class Snapshots:
    """The fixed validation images over time. If there are too many times, every second one is removed."""

    NAME = re.compile(r'(\d+)_(\d+)_(.+)\.jpg')
    INPUT = re.compile(r'\d+_(real.*)\.jpg')

    def __init__(self, folder: Path, progress):
        self.folder, self.has_inputs = folder, False
        names = names_in(folder)
        outputs = list(filter(None, map(self.NAME.fullmatch, names)))
        found = {int(match[1]) for match in outputs}
        self.times = sorted(time for time in found if time <= progress.total_iters)
        self.remove(found - set(self.times))    # steps that will be repeated
        self.n_samples = max((int(match[2]) + 1 for match in outputs), default=0)
        self.inputs = sorted({match[1] for match in map(self.INPUT.fullmatch, names) if match})
        self.outputs = sorted({match[3] for match in outputs})

    def add(self, progress, samples: list[dict]):
        later = {time for time in self.times if time > progress.total_iters}    # steps that are repeated
        self.times = [time for time in self.times if time not in later]
        self.remove(later)
        for index, images in enumerate(samples):
            for label, image in images.items():
                if not label.startswith('real'):
                    write_image(self.folder / f'{progress.total_iters}_{index}_{label}.jpg', image, LONGEST_SIDE)
                elif not self.has_inputs:       # the same at all times: written once
                    write_image(self.folder / f'{index}_{label}.jpg', image, LONGEST_SIDE)
        self.has_inputs = bool(samples)
        self.n_samples = len(samples)
        self.inputs = [label for label in samples[0] if label.startswith('real')] if samples else []
        self.outputs = [label for label in samples[0] if not label.startswith('real')] if samples else []
        if samples and progress.total_iters not in self.times:
            self.times.append(progress.total_iters)
        self.thin()

    def thin(self):
        """Keep times that are equally far apart, apart from those of early batches, and the newest."""
        gaps = [later - earlier for earlier, later in pairwise(self.times)]
        if len(gaps) > 2 and gaps[-2] < max(gaps[:-2]):
            self.remove({self.times.pop(-2)})
        if len(self.times) > SNAPSHOTS:
            kept = sorted({*self.times[::2], self.times[-1]})
            gone, self.times = set(self.times) - set(kept), kept
            self.remove(gone)

    def remove(self, times):
        for name in names_in(self.folder) if times else ():
            match = self.NAME.fullmatch(name)
            if match and int(match[1]) in times:
                (self.folder / name).unlink(missing_ok=True)

    def as_dict(self) -> dict:
        return dict(times=self.times, samples=self.n_samples, inputs=self.inputs, outputs=self.outputs)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def write_image(path: Path, pixels, longest_side: int = 0):
    """Write uint8 (H, W, 3), shrunk to `longest_side` if that is given. A reader never sees an incomplete file."""
    image = Image.fromarray(pixels)
    if longest_side and max(image.size) > longest_side:
        image.thumbnail((longest_side, longest_side))
    kind = dict(format='JPEG', quality=88) if path.suffix == '.jpg' else dict(format='PNG')
    with atomic_write(path, 'wb', durable=False) as file:
        image.save(file, **kind)
