"""The loop of scripts/translate.py: images are read ahead and written behind the translation, by threads."""
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

from data.transforms import size_of
from models.translation.pixels import Picture
from util.console import ProgressBar
from util.errors import UserError

from . import pictures, video
from .inputs import Job

AHEAD = 4       # images that are read, or written, while another one is translated


class Work:
    """Translates jobs.

    Args:
        files: reads and writes images.
        translate: function from (images, their names) to a list of results for each image.
        count: results of each image.
        combine: '' for a file for each result, or 'strip' or 'gif' for one file of all.

    Attributes:
        written: number of images whose results are complete.
        failures: sentences about the others.
    """

    def __init__(self, files: pictures.Files, translate, count: int, combine: str):
        self.files, self.combine = files, combine
        self.translate, self.count = translate, count
        self.written = 0
        self.failures = []

    def run(self, jobs: list[Job], batch_size: int):
        videos = [job for job in jobs if video.is_video(job.source)]
        if videos and (self.count > 1 or self.combine):
            raise UserError(f'{videos[0].source} is a video, which takes one style; drop --interpolate and '
                            f'--num_styles')
        with ThreadPoolExecutor(2) as pool, ProgressBar(len(jobs)) as bar:
            writing = deque()
            images = [job for job in jobs if job not in videos]
            for group in batches(self.read_ahead(images, pool, bar), batch_size):
                for item in self.translated(group, bar):
                    writing.append((item[0], pool.submit(self.write, *item)))
                while len(writing) > AHEAD:
                    self.finish(bar, *writing.popleft())
            for item in writing:
                self.finish(bar, *item)
            for job in videos:
                self.translate_video(bar, job)

    def read_ahead(self, jobs, pool, bar):
        """Yields (job, image) in order; those that cannot be read are failures."""
        waiting, remaining = deque(), deque(jobs)
        while waiting or remaining:
            while remaining and len(waiting) < AHEAD:
                job = remaining.popleft()
                waiting.append((job, pool.submit(self.files.read, job.source)))
            job, image = waiting.popleft()
            try:
                yield job, image.result()
            except (UserError, OSError) as error:
                self.fail(bar, job, error)

    def translated(self, group: list, bar):
        """(job, results) of each image of a batch."""
        jobs, images = zip(*group, strict=True)
        try:
            return list(zip(jobs, self.translate(images, [job.source.name for job in jobs]), strict=True))
        except UserError as error:
            for job in jobs:
                self.fail(bar, job, error)
            return []

    def write(self, job: Job, results: list):
        if self.combine == 'gif':
            pictures.write_animation(job.target, results)
        elif self.combine == 'strip':
            self.files.write(job.target, pictures.strip(results), job.source)
        else:
            for index, result in enumerate(results):
                self.files.write(job.target_of(index, len(results)), result, job.source)

    def finish(self, bar, job: Job, future: Future):
        """Wait until an image is written. A full disk ends the program, as it would fail for all others."""
        future.result()
        self.written += 1
        bar.line(job.line(1 if self.combine else self.count), terminal=False)
        bar.advance(1)

    def translate_video(self, bar, job: Job):
        """The noise of a model, and a random style, are the same for all frames."""
        try:
            video.translate_video(job.source, job.target,
                                  lambda frame: self.translate([frame], [job.source.name])[0][0])
        except UserError as error:
            self.fail(bar, job, error)
            return
        self.written += 1
        bar.line(job.line(1 if self.combine else self.count), terminal=False)
        bar.advance(1)

    def fail(self, bar, job: Job, error: Exception):
        name = str(job.source.absolute())
        self.failures.append(str(error) if name in str(error) else f'{name}: {error}')
        bar.line(f'failed: {self.failures[-1]}')
        bar.advance(1)

    def is_done(self, job: Job) -> bool:
        """Are all results of an image there? They are complete, as files appear only when they are."""
        return all(target.is_file() for target in self.targets(job))

    def older_than(self, moment: float, jobs: list[Job]) -> int:
        """How many images have all results, one of them written before this time (in seconds)."""
        return sum(self.is_done(job) and min(target.stat().st_mtime for target in self.targets(job)) < moment
                   for job in jobs)

    def targets(self, job: Job) -> list[Path]:
        count = 1 if self.combine else self.count
        return [job.target_of(index, count) for index in range(count)]


def size_of_image(image) -> tuple[int, int]:
    """(width, height)."""
    return image.size[::-1] if isinstance(image, Picture) else size_of(image)


def batches(pairs, size: int):
    """Lists of up to `size` pairs in a row whose images have one size."""
    for _, group in groupby(pairs, key=lambda pair: size_of_image(pair[1])):
        batch = []
        for pair in group:
            batch.append(pair)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
