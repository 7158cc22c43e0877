"""The results of test.py: images, pages to look at them and a list for programs."""
import hashlib
import itertools
import json
import math
import time
from pathlib import Path

from PIL import Image

from util.console import say
from util.files import atomic_write
from util.images import save_image, tensor_to_image
from util.results.folder import as_path, as_text, facts_of, make_room, move_strangers_aside, shown_facts
from util.results.gallery import Gallery

from . import metrics

SECONDS_BETWEEN_PAGES = 2
SHARE_OF_PAGES = 20     # on a slow disk more seconds, so that pages take this part of the time at most
SHARE_OF_LIST = 50      # results.json grows with the results: this part of the time at most is spent on it
LONGEST_NAME = 150      # bytes of one part of a path, so that labels and endings fit the limits of file systems
LARGEST_UNTHUMBED = 320     # pixels of a side; larger images get a thumbnail of that size


class Results:
    """`<results_dir>/<name>/<phase>_<epoch>/` with `images/<stem>_<label>.png`, `index.html`, `results.json`.

    Pages are written as results come and at the end, also when the work is interrupted: `with Results(...)`.
    `target` are the labels of an image and of what it should be, where a model has such: they are compared.
    `notify` is given lines about results of earlier tests.
    """

    def __init__(self, opt, source_folder, target: tuple[str, str] | None = None, notify=say):
        iteration = f'_iter{opt.load_iter}' if opt.load_iter else ''
        self.folder = Path(opt.results_dir) / opt.name / f'{opt.phase}_{opt.epoch}{iteration}'
        self.opt, self.source_folder, self.target = opt, Path(source_folder), target
        self.facts = facts_of(opt)
        self.notify = notify
        for line in make_room(self.folder, self.facts):
            notify(line)
        self.images, self.failures, self.sums = [], [], {}      # images: what results.json tells, as JSON
        self.stems, self.turns, self.written = {}, {}, set()
        (self.folder / 'images').mkdir(parents=True, exist_ok=True)
        self.gallery = Gallery(self.folder, f'Experiment = {opt.name}, Phase = {opt.phase}, Epoch = {opt.epoch}',
                               shown_facts(opt), opt.display_winsize)
        self.started = self.saved = self.listed = time.monotonic()
        self.list_cost = self.pages_cost = 0.0

    def __enter__(self):
        self.save('running')
        return self

    def __exit__(self, kind, *_):
        self.save('interrupted' if kind else 'finished')
        if not kind:
            for line in move_strangers_aside(self.folder, self.written):
                self.notify(line)

    def show_above(self, examples: dict):
        """Images that concern all results, {label: (1, C, H, W) in [-1, 1]}, as the first row of the page.

        None for an image leaves its place empty, so that the columns below are headed by the others.
        """
        files = {label: None if image is None else f'images/{label}.png' for label, image in examples.items()}
        for label, file in files.items():
            if file:
                self.save_picture(tensor_to_image(examples[label][0]), file)
        self.gallery.show_above(files)

    def add(self, paths: list[str], visuals: dict, styles: dict[str, str]):
        """Save the images of a batch, {label: (N, C, H, W) in [-1, 1]}, under the names of their sources.

        `styles`: of which image a result has its style, {label: path}; noted for programs.
        """
        for index, path in enumerate(paths):
            stem = self.unused(stem_of(path, self.source_folder), path)
            pictures = {label: tensor_to_image(tensors[index]) for label, tensors in visuals.items()}
            files = {label: f'images/{stem}_{label}.png' for label in visuals}
            as_path(self.folder, files[next(iter(files))]).parent.mkdir(parents=True, exist_ok=True)
            for label, picture in pictures.items():
                self.save_picture(picture, files[label], self.opt.aspect_ratio)
            thumbs = self.save_thumbs(stem, pictures)
            scores = self.compare(pictures)
            self.gallery.add(stem, files, size=displayed_size(pictures, self.opt.aspect_ratio),
                             **dict(thumbs=thumbs) if thumbs else {}, **dict(metrics=scores) if scores else {})
            self.note(stem, path, files, styles, scores)
        if time.monotonic() - self.saved > max(SECONDS_BETWEEN_PAGES, SHARE_OF_PAGES * self.pages_cost):
            self.save('running')

    def note(self, stem, path, files, styles, scores):
        """What results.json tells of a result."""
        sources = {label: as_text(str(Path(source).absolute())) for label, source in styles.items()}
        image = dict(stem=stem, source=as_text(str(Path(path).absolute())), files=files,
                     **dict(styles=sources) if styles else {}, **dict(metrics=scores) if scores else {})
        self.images.append(json.dumps(image, allow_nan=False))

    def save_picture(self, picture, file: str, aspect_ratio: float = 1.0):
        save_image(picture, as_path(self.folder, file), aspect_ratio)
        self.written.add(file)

    def save_thumbs(self, stem: str, pictures: dict) -> dict[str, str]:
        """Small files for images that are large on a page, {label: file}."""
        large = {label: picture for label, picture in pictures.items() if max(picture.shape) > LARGEST_UNTHUMBED}
        files = {label: f'thumbs/{stem}_{label}.jpg' for label in large}
        for label, picture in large.items():
            width, height = displayed_size({label: picture}, self.opt.aspect_ratio)
            scale = LARGEST_UNTHUMBED / max(width, height)
            path = as_path(self.folder, files[label])
            path.parent.mkdir(parents=True, exist_ok=True)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            Image.fromarray(picture).resize(size, Image.Resampling.BOX, reducing_gap=2).save(path, quality=85)
            self.written.add(files[label])
        return files

    def compare(self, pictures: dict) -> dict[str, float | None]:
        """Distances between an image and its target, where there is one; an infinite PSNR is None, as JSON has none.

        Measured before --aspect_ratio.
        """
        if not self.target or not set(self.target) <= pictures.keys():
            return {}
        image, target = (pictures[label] for label in self.target)
        if image.shape != target.shape:
            return {}
        try:
            scores = metrics.compare(image, target)
        except ImportError as error:    # results are worth more than their measures
            self.notify(f'no PSNR, SSIM and L1 of the results: {error}; pip install -r requirements.txt')
            self.target = None
            return {}
        for name in metrics.NAMES:
            if math.isfinite(scores.get(name, math.inf)):
                total, count = self.sums.get(name, (0.0, 0))
                self.sums[name] = total + scores[name], count + 1
        return {name: scores[name] if math.isfinite(scores[name]) else None for name in metrics.NAMES if name in scores}

    @property
    def means(self) -> dict[str, float]:
        """Of the finite values."""
        return {name: total / count for name, (total, count) in self.sums.items()}

    def add_failure(self, message: str):
        """An image that could not be read; told on the page."""
        self.failures.append(as_text(message))

    @property
    def page_path(self) -> Path:
        return self.folder.absolute() / 'index.html'

    def unused(self, stem: str, path: str) -> str:
        """`stem`, or a like name if another source or an earlier turn of this one has it: results are never lost.

        Names that differ in case only are alike to some file systems, and so they are here.
        """
        if self.stems.get(stem.casefold(), path) != path:
            stem += Path(path).suffix.replace('.', '_')
        free = stem
        for number in itertools.count(self.turns.get(stem.casefold(), 2)):
            if free.casefold() not in self.stems:
                break
            free = f'{stem}_{number}'
            self.turns[stem.casefold()] = number + 1
        self.stems[free.casefold()] = path
        return free

    def save(self, state: str):
        """Write the pages and, while it is cheap and at the end, the list of all images so far."""
        start = time.monotonic()
        self.gallery.target = self.target if self.sums else None
        self.gallery.means, self.gallery.failures = self.means, self.failures
        self.gallery.save(state, start - self.started)
        self.pages_cost = time.monotonic() - start
        if state != 'running' or time.monotonic() - self.listed >= SHARE_OF_LIST * self.list_cost:
            self.save_list(state)
        self.saved = time.monotonic()

    def save_list(self, state: str):
        start = time.monotonic()
        head = json.dumps({**self.facts, 'state': state, 'target': self.target, 'mean_metrics': self.means,
                           'failures': self.failures}, indent=1)
        with atomic_write(self.folder / 'results.json') as file:
            file.write(head.removesuffix('\n}') + ',\n "images": [\n  ' + ',\n  '.join(self.images) + '\n ]\n}\n')
        self.listed = time.monotonic()
        self.list_cost = self.listed - start


def displayed_size(pictures: dict, aspect_ratio: float) -> tuple[int, int]:
    """(width, height) of the first picture as it is saved."""
    height, width = next(iter(pictures.values())).shape[:2]
    return (width, int(height * aspect_ratio)) if aspect_ratio >= 1 else (int(width / aspect_ratio), height)


def stem_of(path: str, folder: Path) -> str:
    """The path below `folder` without its ending, '/' between its parts, each of a safe length."""
    path = Path(path)
    path = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    return '/'.join(shortened(as_text(part)) for part in path.with_suffix('').parts)


def shortened(part: str) -> str:
    if len(part.encode()) <= LONGEST_NAME:
        return part
    digest = hashlib.sha256(part.encode()).hexdigest()[:10]
    return part.encode()[:LONGEST_NAME - 11].decode(errors='ignore') + '-' + digest
