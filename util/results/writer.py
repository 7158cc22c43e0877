"""Writes the output of test.py: image files, pages to look at them, and results.json for programs."""
import hashlib
import json
import math
import time
from pathlib import Path

import numpy as np
from PIL import Image

from util.console import counted, say
from util.files import atomic_write, save_picture
from util.images import save_image, stretched, stretched_picture, stretched_size, tensor_to_image
from util.places import shards, tar_names
from util.raster.write import extension_for, write_pixels
from util.results import metrics
from util.results.folder import (
    address_of_training,
    as_path,
    as_text,
    domain_names,
    facts_of,
    move_other_test_aside,
    move_unknown_aside,
    page_facts,
)
from util.results.gallery import Gallery

PAGES_EVERY = 2         # seconds between two updates of the pages,
PAGES_SHARE = 0.05      # or longer on a slow disk: they take at most this share of the time
LIST_SHARE = 0.02       # results.json grows with the results: it takes at most this share of the time
LONGEST_NAME = 150      # bytes of one part of a path, so that suffixes still fit the limit of file systems
FROM_B = ('real_B', 'fake_A', 'rec_B', 'idt_A')     # visuals made from images of B, where A and B are no pairs
SHOWN = ('.png', '.jpg', '.jpeg')     # by browsers, if they have 8 bits
THUMB_SIZE = 320        # pixels of the longer side; larger images get a thumbnail of this size


class Results:
    """One results folder, `<results_dir>/<name>/<phase>_<epoch>/`.

    It holds `images/<stem>_<visual>.png`, the pages (`index.html`, ...) and `results.json`. Images that have more than
    8-bit gray or RGB are written in the kind of their domain (.tif, .npy, 16-bit .png), and `views/` has a picture of
    each for the pages. The pages are updated as results arrive and at the end, also when the test is interrupted: use
    it as `with Results(...) as results`.

    Args:
        opt: the options of the test.
        source_folder: folder of the inputs; results are named after their paths inside it.
        target: names of the two visuals to compare, (output, ground truth), or None.
        notify: called with each line about earlier results.
        domains: {'A': ..., 'B': ...} of the model, which turn images into the values of a file.
        checkpoint: {'epoch', 'iteration', 'images'} of the training when the checkpoint was saved, if known.
        about: a sentence about the results, for the page.
        folder_B: folder of the images of B, if they are no partners of those of A.
    """

    def __init__(self, opt, source_folder, target: tuple[str, str] | None = None, notify=say,
                 domains: dict | None = None, checkpoint: dict | None = None, about: str = '', folder_B=None):
        iteration = f'_iter{opt.load_iter}' if opt.load_iter else ''
        self.folder = Path(opt.results_dir) / opt.name / f'{opt.phase}_{opt.epoch}{iteration}'
        self.aspect_ratio = opt.aspect_ratio
        self.source_folder = Path(source_folder)
        self.folder_B = Path(folder_B) if folder_B else None
        self.target = target
        self.domains = domains or {}
        self.save_as = opt.as_dict().get('save_as', '')
        self.bands = [int(band) for band in filter(None, opt.as_dict().get('show_bands', '').split(','))]
        self.notify = notify
        self.facts = facts_of(opt)
        move_other_test_aside(self.folder, self.facts, notify)
        self.checkpoint = checkpoint or {}
        self.images = []            # entries of results.json, as JSON
        self.directions = {}        # {'A to B': entries}, if A and B are no pairs
        self.listed = set()         # (direction, source path)
        self.failures = []
        self.scores = {}            # {metric: finite values}
        self.stems = {}             # stem in lower case: source path
        self.next_number = {}       # stem in lower case: suffix of its next duplicate
        self.written = set()        # files of this test
        (self.folder / 'images').mkdir(parents=True, exist_ok=True)
        title = f'Experiment = {opt.name}, Phase = {opt.phase}, Epoch = {opt.epoch}'
        self.gallery = Gallery(self.folder, title, page_facts(opt, self.checkpoint), opt.display_winsize, opt.name)
        self.gallery.about = about
        self.gallery.domains = domain_names(opt)
        self.gallery.training = address_of_training(self.folder, Path(opt.checkpoints_dir) / opt.name)
        self.started = self.pages_saved = self.list_saved = time.monotonic()
        self.pages_cost = self.list_cost = 0.0

    def __enter__(self):
        self.save('running')
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.save('interrupted')
        else:
            self.save('finished')
            move_unknown_aside(self.folder, self.written, self.notify)

    @property
    def page_path(self) -> Path:
        return self.folder.absolute() / 'index.html'

    def show_above(self, examples: dict):
        """Show images that concern all results, {name: (1, C, H, W) in [-1, 1]}, in the first row of the page.

        None leaves a place empty, so that the other images are above the right columns.
        """
        files = {name: None if image is None else f'images/{name}.png' for name, image in examples.items()}
        for name, file in files.items():
            if file:
                save_image(tensor_to_image(examples[name][0]), self.new_path(file))
        self.gallery.show_above(files)

    def add(self, paths: list[str], visuals: dict, styles: dict[str, str], others: list[str] | None = None):
        """Save a batch: `paths` of the inputs, `visuals` {name: (N, C, H, W) in [-1, 1]}.

        `styles`: {name: path} of the style image that a visual was guided by, for results.json.
        `others`: paths of the images of B, if they are no partners of those of A. What was made from them is listed
        under their names. All files are named after the inputs, as in the reference.
        """
        for index, path in enumerate(paths):
            self.add_one(path, {name: images[index] for name, images in visuals.items()}, styles,
                         others[index] if others else None)
        if time.monotonic() - self.pages_saved > max(PAGES_EVERY, self.pages_cost / PAGES_SHARE):
            self.save('running')

    def add_one(self, path: str, images: dict, styles: dict[str, str], other: str | None = None):
        stem = self.unique_stem(stem_of(path, self.source_folder), path)
        pictures = {name: self.picture_of(name, image) for name, image in images.items()}
        files, views = {}, {}
        for name, image in images.items():
            domain = self.domain_of(name)
            files[name], views[name] = self.save_image(f'{stem}_{name}', domain, image, pictures[name], path)
        thumbs, scores = self.save_thumbs(stem, pictures), self.compare(self.compared(images, pictures))
        entry = dict(stem=stem, source=as_text(str(Path(path).absolute())), files=files)
        if other is None:
            self.gallery.add(stem, views, displayed_size(pictures, self.aspect_ratio), thumbs, scores)
        else:
            entry['source_B'] = as_text(str(Path(other).absolute()))
            self.add_to_lists(path, other, pictures, files, views, thumbs)
        if styles:
            entry['styles'] = {name: as_text(str(Path(source).absolute())) for name, source in styles.items()}
        if scores:
            entry['metrics'] = scores
        self.images.append(json.dumps(entry, allow_nan=False))

    def add_to_lists(self, path: str, other: str, pictures: dict, files: dict, views: dict, thumbs: dict):
        """List what was made from A and what was made from B: they have nothing to do with each other.

        Each source is listed once, though the shorter domain is tested again and again until the longer one ends.
        """
        names = self.gallery.domains or {'A': 'A', 'B': 'B'}
        for source, folder, here, there in ((path, self.source_folder, 'A', 'B'), (other, self.folder_B, 'B', 'A')):
            labels = [name for name in files if (name in FROM_B) == (here == 'B')]
            direction = f'{names[here]} to {names[there]}'
            if (direction, source) in self.listed or not any(name.startswith('fake') for name in labels):
                continue
            self.listed.add((direction, source))
            stem = stem_of(source, folder or Path(source).parent)
            self.gallery.add(stem, {name: views[name] for name in labels},
                             displayed_size({labels[0]: pictures[labels[0]]}, self.aspect_ratio),
                             {name: thumbs[name] for name in labels if name in thumbs}, direction=direction)
            entry = dict(stem=stem, source=as_text(str(Path(source).absolute())),
                         files={name: files[name] for name in labels})
            self.directions.setdefault(direction, []).append(json.dumps(entry, allow_nan=False))

    def domain_of(self, name: str):
        """The domain of a visual, by its name: fake_B is an image of B, `real` of A, `fake` of B."""
        letter = {'real': 'A', 'fake': 'B'}.get(name) or next((part for part in name.split('_') if part in 'AB'), '')
        return self.domains.get(letter)

    def picture_of(self, name: str, image) -> np.ndarray:
        domain = self.domain_of(name)
        return tensor_to_image(domain.picture(image) if domain else image, self.bands)

    def save_image(self, name: str, domain, image, picture: np.ndarray, source: str) -> tuple[str, str]:
        """Write one image; returns its file, and the file that pages show, which is the same for 8-bit pictures."""
        stored = domain.stored_type(source) if domain else None
        if not stored and self.save_as in ('', 'png'):
            file = f'images/{name}.png'
            save_image(picture, self.new_path(file), self.aspect_ratio)
            return file, file
        if stored:
            values = stretched(image, self.aspect_ratio, nearest=domain.palette is not None)
            pixels = domain.to_stored(values, *stored)
        else:
            pixels = np.asarray(stretched_picture(picture, self.aspect_ratio))
        exact = domain is not None and domain.palette is not None
        extension = extension_for(source, pixels.dtype.name, pixels.shape[2], self.save_as, exact)
        file = f'images/{name}{extension}'
        write_pixels(self.new_path(file), pixels, source)
        if extension in SHOWN and is_shown(pixels, np.asarray(stretched_picture(picture, self.aspect_ratio))):
            return file, file
        view = f'views/{name}.png'
        save_image(picture, self.new_path(view), self.aspect_ratio)
        return file, view

    def add_failure(self, message: str):
        """List an image that could not be read or translated."""
        self.failures.append(as_text(message))

    def new_path(self, file: str) -> Path:
        """Where to write `file`, which is relative to the page."""
        self.written.add(file)
        path = as_path(self.folder, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save_thumbs(self, stem: str, pictures: dict) -> dict[str, str]:
        """Save thumbnails of the large images; returns {name: file}."""
        files = {name: f'thumbs/{stem}_{name}.jpg' for name, picture in pictures.items()
                 if max(picture.shape) > THUMB_SIZE}
        for name, file in files.items():
            width, height = displayed_size({name: pictures[name]}, self.aspect_ratio)
            scale = THUMB_SIZE / max(width, height)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            thumb = Image.fromarray(pictures[name]).resize(size, Image.Resampling.BOX, reducing_gap=2)
            save_picture(thumb, self.new_path(file), quality=85)
        return files

    def compared(self, images: dict, pictures: dict) -> dict:
        """The output and its target: the pictures, or all bands of images that are more than 8-bit gray or RGB."""
        domains = [self.domain_of(name) for name in self.target or ()]
        if not any(domain and domain.is_wide for domain in domains) or not set(self.target) <= images.keys():
            return pictures
        return {name: (images[name].detach().double().cpu().permute(1, 2, 0).numpy().clip(-1, 1) + 1) * 127.5
                for name in self.target}

    def compare(self, pictures: dict) -> dict[str, float | None]:
        """PSNR, SSIM and L1 of the output against the target, before --aspect_ratio; {} without a target.

        An infinite PSNR is None, because JSON has no infinity.
        """
        if not self.target or not set(self.target) <= pictures.keys():
            return {}
        image, target = (pictures[name] for name in self.target)
        if image.shape != target.shape:
            return {}
        try:
            scores = metrics.compare(image, target)
        except ImportError as error:    # the results matter more than their metrics
            self.notify(f'PSNR, SSIM and L1 are not computed: {error}; pip install -r requirements.txt')
            self.target = None
            return {}
        finite = {name: score for name, score in scores.items() if math.isfinite(score)}
        for name, score in finite.items():
            self.scores.setdefault(name, []).append(score)
        return {name: finite.get(name) for name in metrics.NAMES if name in scores}

    @property
    def means(self) -> dict[str, float]:
        """Means of the finite values."""
        return {name: math.fsum(self.scores[name]) / len(self.scores[name])
                for name in metrics.NAMES if name in self.scores}

    @property
    def spread(self) -> dict[str, dict]:
        """{metric: median, sample standard deviation (None for one image), lowest, highest, number of values}."""
        return {name: dict(median=float(np.median(values)), std=float(np.std(values, ddof=1)) if values[1:] else None,
                           low=min(values), high=max(values), n=len(values))
                for name, values in self.scores.items()}

    def means_as_text(self) -> str:
        """The means as one line: 'mean PSNR 13.11 dB, SSIM 0.2432, L1 44.70 of 255 (100 images)'."""
        words = [f'{name} {value:{metrics.FORMATS[name]}}{metrics.UNITS[name]}' for name, value in self.means.items()]
        return f'mean {", ".join(words)} ({counted(len(self.images), "image")})'

    def unique_stem(self, stem: str, path: str) -> str:
        """`stem`, extended if another result has it, so that no result overwrites another.

        Names that differ only in case count as equal, as on some file systems.
        """
        if self.stems.get(stem.casefold(), path) != path:
            stem += Path(path).suffix.replace('.', '_')
        unique = stem
        number = self.next_number.get(stem.casefold(), 2)
        while unique.casefold() in self.stems:
            unique = f'{stem}_{number}'
            number += 1
        self.next_number[stem.casefold()] = number
        self.stems[unique.casefold()] = path
        return unique

    def save(self, state: str):
        """Update the pages and, if it is cheap or the test ends, results.json."""
        start = time.monotonic()
        self.gallery.target = self.target if self.scores else None
        self.gallery.means, self.gallery.spread = self.means, self.spread
        self.gallery.failures = self.failures
        self.gallery.save(state, start - self.started)
        self.pages_cost = time.monotonic() - start
        if state != 'running' or time.monotonic() - self.list_saved >= self.list_cost / LIST_SHARE:
            self.save_list(state)
        self.pages_saved = time.monotonic()

    def save_list(self, state: str):
        start = time.monotonic()
        head = json.dumps({**self.facts, 'state': state, 'target': self.target, 'mean_metrics': self.means,
                           'metric_spread': self.spread, 'checkpoint': self.checkpoint, 'failures': self.failures},
                          indent=1)
        lists = [f' "images": {as_list(self.images)}']
        if self.directions:
            found = (f'  {json.dumps(name)}: {as_list(entries)}' for name, entries in self.directions.items())
            lists.append(' "directions": {\n' + ',\n'.join(found) + '\n }')
        with atomic_write(self.folder / 'results.json') as file:
            file.write(head.removesuffix('\n}') + ',\n' + ',\n'.join(lists) + '\n}\n')
        self.list_saved = time.monotonic()
        self.list_cost = self.list_saved - start


def as_list(entries: list[str]) -> str:
    """JSON entries as a list, one on each line."""
    return '[\n   ' + ',\n   '.join(entries) + '\n  ]'


def is_shown(pixels: np.ndarray, picture: np.ndarray) -> bool:
    """True if a file with these values, (H, W, C), looks like the picture, (H, W, 3)."""
    return pixels.shape[2] in (1, 3) and np.array_equal(np.broadcast_to(pixels, picture.shape), picture)


def displayed_size(pictures: dict, aspect_ratio: float) -> tuple[int, int]:
    """(width, height) of the first picture in its file."""
    height, width = next(iter(pictures.values())).shape[:2]
    return stretched_size((width, height), aspect_ratio)


def check_save_as(save_as: str, domains: dict, source: str):
    """A `UserError` if --save_as cannot hold results in the domains of a model; `source` is the first image."""
    for domain in domains.values():
        stored = domain.stored_type(source)
        if stored:
            dtype, channels = stored
            extension_for(source, dtype, channels or domain.channels, save_as)


def stem_of(path: str, folder: Path) -> str:
    """The path inside `folder` without its extension, joined by '/', each part short enough for file systems."""
    path, folder = Path(shards.as_if_unpacked(str(path))), Path(tar_names.base_of(folder))
    path = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    return '/'.join(shortened(as_text(part)) for part in path.with_suffix('').parts)


def shortened(part: str) -> str:
    if len(part.encode()) <= LONGEST_NAME:
        return part
    digest = hashlib.sha256(part.encode()).hexdigest()[:10]
    return part.encode()[:LONGEST_NAME - 11].decode(errors='ignore') + '-' + digest
