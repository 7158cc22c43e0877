"""The results of test.py: images, a page and a list for programs."""
import hashlib
import json
import time
from pathlib import Path

from util.files import atomic_write
from util.html import Page
from util.images import save_image, tensor_to_image

SECONDS_BETWEEN_PAGES = 10
LONGEST_NAME = 150      # bytes of one part of a path, so that labels and endings fit the limits of file systems


class Results:
    """`<results_dir>/<name>/<phase>_<epoch>/` with `images/<stem>_<label>.png`, `index.html`, `results.json`.

    The page is written now and then and at the end, also when the work is interrupted: `with Results(...)`.
    """

    def __init__(self, opt, source_folder):
        iteration = f'_iter{opt.load_iter}' if opt.load_iter else ''
        self.folder = Path(opt.results_dir) / opt.name / f'{opt.phase}_{opt.epoch}{iteration}'
        self.opt, self.source_folder = opt, Path(source_folder)
        self.page = Page(self.folder, f'Experiment = {opt.name}, Phase = {opt.phase}, Epoch = {opt.epoch}')
        self.images, self.failures, self.stems, self.saved = [], [], {}, time.monotonic()
        (self.folder / 'images').mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.save()

    def show_above(self, examples: dict):
        """Images that concern all results, {label: (1, C, H, W) in [-1, 1]}, as the first row of the page.

        None for an image leaves its place empty, so that the columns below are headed by the others.
        """
        files = {label: None if image is None else f'images/{label}.png' for label, image in examples.items()}
        for label, file in files.items():
            if file:
                save_image(tensor_to_image(examples[label][0]), self.folder / file)
        if files:
            self.page.add_row('examples', files, self.opt.display_winsize)

    def add(self, paths: list[str], visuals: dict, styles: dict[str, str]):
        """Save the images of a batch, {label: (N, C, H, W) in [-1, 1]}, under the names of their sources.

        `styles`: of which image a result has its style, {label: path}; noted for programs.
        """
        for index, path in enumerate(paths):
            stem = self.unused(stem_of(path, self.source_folder), path)
            files = {label: f'images/{stem}_{label}.png' for label in visuals}
            (self.folder / files[next(iter(files))]).parent.mkdir(parents=True, exist_ok=True)
            for label, tensors in visuals.items():
                save_image(tensor_to_image(tensors[index]), self.folder / files[label], self.opt.aspect_ratio)
            self.page.add_row(stem, files, self.opt.display_winsize)
            sources = {label: printable(str(Path(source).absolute())) for label, source in styles.items()}
            self.images.append(dict(stem=stem, source=printable(str(Path(path).absolute())), files=files,
                                    **dict(styles=sources) if styles else {}))
        if time.monotonic() - self.saved > SECONDS_BETWEEN_PAGES:
            self.save()

    def add_failure(self, message: str):
        """An image that could not be read; told on the page."""
        self.failures.append(printable(message))
        self.page.notes.append(f'failed: {printable(message)}')

    @property
    def page_path(self) -> Path:
        return self.folder.absolute() / 'index.html'

    def unused(self, stem: str, path: str) -> str:
        """`stem`, or a like name if another source or an earlier turn of this one has it: results are never lost."""
        if self.stems.get(stem, path) != path:
            stem += Path(path).suffix.replace('.', '_')
        names = [stem, *(f'{stem}_{number}' for number in range(2, len(self.stems) + 3))]
        free = next(name for name in names if name not in self.stems)
        self.stems[free] = path
        return free

    def save(self):
        """Write the page and the list of all images so far."""
        opt = self.opt
        self.page.save()
        with atomic_write(self.folder / 'results.json') as file:
            json.dump(dict(name=opt.name, model=opt.model, direction=opt.direction, phase=opt.phase, epoch=opt.epoch,
                           dataroot=str(Path(opt.dataroot).absolute()), images=self.images,
                           failures=self.failures), file, indent=1)
        self.saved = time.monotonic()


def stem_of(path: str, folder: Path) -> str:
    """The path below `folder` without its ending, '/' between its parts, each of a safe length."""
    path = Path(path)
    path = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    return '/'.join(shortened(printable(part)) for part in path.with_suffix('').parts)


def printable(name: str) -> str:
    """The name with bytes that are no text replaced."""
    return name.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')


def shortened(part: str) -> str:
    if len(part.encode()) <= LONGEST_NAME:
        return part
    digest = hashlib.sha256(part.encode()).hexdigest()[:10]
    return part.encode()[:LONGEST_NAME - 11].decode(errors='ignore') + '-' + digest
