"""Which files are translated, and where each result goes."""
import glob
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from data.image_folder import ignored, list_images
from util.console import note
from util.errors import UserError
from util.places import shards, tar_names

from . import video

WILD = set('*?[')
FROM_STDIN = '-'


@dataclass(frozen=True)
class Job:
    """One image and the file that its result becomes, without a number for its style."""

    source: Path
    target: Path

    def target_of(self, index: int, count: int) -> Path:
        """The file of one of `count` results: photo.jpg, or photo_0.jpg, photo_1.jpg, ..."""
        if count == 1:
            return self.target
        return self.target.with_name(f'{self.target.stem}_{index}{self.target.suffix}')

    def line(self, count: int) -> str:
        """For a log: the image, and the files of its `count` results."""
        first, last = (self.target_of(index, count) for index in (0, count - 1))
        return f'{self.source} -> {first}' + (f' to {last.name}' if count > 1 else '')


def find_images(words: list[str], output: Path) -> list[tuple[Path, Path]]:
    """(file, name of its result in the output folder) for the words of a command line, before anything is loaded.

    Words are files, folders, patterns, and `-` for a list on stdin. Results of a folder keep its tree, all keep their
    names. A `UserError` if the output folder holds inputs or is among them, or if two results have one name.
    """
    named = [pair for word in words for pair in named_files(word)]
    if not named:
        raise UserError('the list on stdin names no file; correct the command that makes it')
    check_output_folder(output, words, [source for source, _ in named])
    jobs_of(named, output, lambda source: source.suffix)
    return named


def jobs_of(named: list[tuple[Path, Path]], output: Path, extension) -> list[Job]:
    """A job for each image; `extension(path)` is the file type of its result."""
    jobs = {}
    for source, name in named:
        job = Job(source, output / name.with_suffix(extension_for(source, extension)))
        other = jobs.setdefault(str(job.target).casefold(), job)
        if other.source.resolve() != source.resolve():
            raise UserError(f'{other.source} and {source} would both be written to {job.target}; translate them into '
                            f'two output folders')
    return list(jobs.values())


def extension_for(source: Path, extension) -> str:
    return video.extension_for(source) if video.is_video(source) else extension(source)


def named_files(word: str):
    """(file, name of its result inside the output folder) for each file that a word names."""
    if word == FROM_STDIN:
        for line in sys.stdin:
            line = line.removeprefix('\ufeff')      # some programs of Windows begin a list with it
            if line.strip():
                yield from named_files(line.rstrip('\r\n'))
    elif os.path.isdir(word) or tar_names.is_set(word):
        paths = list_images(word)
        if others := ignored(word):
            note(f'{word}: ignored: {others}')
        for path in paths:
            yield Path(path), Path(shards.name_in(path, word))
    elif os.path.lexists(word):
        yield Path(word), Path(Path(word).name)
    elif WILD & set(word):
        yield from matching_files(word)
    else:
        raise UserError(f'there is no file or folder {os.path.abspath(word)}; correct the name')


def matching_files(pattern: str):
    parts = Path(pattern).parts
    fixed = Path(*parts[:next(index for index, part in enumerate(parts) if WILD & set(part))])
    found = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    if not found:
        raise UserError(f'no file matches {pattern}; correct the name')
    for path in found:
        yield Path(path), Path(path).relative_to(fixed)


def check_output_folder(output: Path, words: list[str], sources: list[Path]):
    place = output.resolve()
    if output.exists() and not output.is_dir():
        raise UserError(f'--output {output.absolute()} is a file; give a folder')
    parent = next(folder for folder in (place, *place.parents) if folder.exists())
    if not parent.is_dir():
        raise UserError(f'--output {output.absolute()} is in {parent}, which is a file; give another folder')
    if not os.access(parent, os.W_OK):
        raise UserError(f'--output {output.absolute()} cannot be written to ({parent} is read-only); give another '
                        f'folder')
    for source in sources:
        if source.resolve().is_relative_to(place):
            raise UserError(f'--output {output.absolute()} holds the input {source}; give another folder')
    for word in words:
        if word != FROM_STDIN and os.path.isdir(word) and place.is_relative_to(Path(word).resolve()):
            raise UserError(f'--output {output.absolute()} is inside the input {word}, and would be translated, too; '
                            f'give another folder')


def make_output_folder(output: Path):
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'--output {output.absolute()} cannot be created ({error.strerror}); give another '
                        f'folder') from error
