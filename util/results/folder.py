"""What a results folder says it holds, and what becomes of earlier results: none are mixed with others, or lost."""
import errno
import json
import os
import tempfile
import time
import unicodedata
from pathlib import Path

from util.files import first_free, move_aside

# options that change nothing about the images: a test with other values of these is the same test
INCIDENTAL = frozenset((
    'gpu_ids', 'cpu_threads', 'num_threads', 'batch_size', 'verbose', 'suffix', 'use_wandb', 'wandb_project_name',
    'results_dir', 'display_winsize', 'serial_batches', 'no_flip'))


def check_place(folder):
    """An `OSError` where no folder can be made, before any work; it leaves nothing behind."""
    folder = Path(folder).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        os.rmdir(tempfile.mkdtemp(dir=existing))
    except OSError as error:    # ENOENT: a place that only looks like a file system, such as /proc
        code = errno.EACCES if error.errno == errno.ENOENT else error.errno
        raise OSError(code, 'cannot be written', str(folder)) from error


def facts_of(opt) -> dict:
    """What was tested: for programs, and to tell whether another test is the same."""
    values = {**opt.as_dict(), 'checkpoints_dir': Path(opt.checkpoints_dir).absolute()}
    options = {name: str(value) for name, value in values.items() if name not in {*INCIDENTAL, 'dataroot'}}
    return dict(name=opt.name, model=opt.model, direction=opt.direction, phase=opt.phase, epoch=opt.epoch,
                dataroot=str(Path(opt.dataroot).absolute()), options=options)


def shown_facts(opt) -> dict[str, str]:
    """What the page tells of the test; no paths of this machine, as pages are sent around."""
    swapped = ' (A of the page is domain B of the data)' if opt.direction == 'BtoA' else ''
    checkpoint = f'iteration {opt.load_iter}' if opt.load_iter else opt.epoch
    return dict(name=opt.name, model=opt.model, direction=opt.direction + swapped, phase=opt.phase,
                checkpoint=checkpoint, data=as_text(Path(opt.dataroot).absolute().name),
                started=time.strftime('%Y-%m-%d %H:%M'))


def make_room(folder: Path, facts: dict):
    """Results of another test in `folder` are moved to `<folder>.1`, with a line; the same test is repeated there."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        found = json.loads((folder / 'results.json').read_text(encoding='utf-8'))
        different = [name for name in facts if name != 'options' and found.get(name) != facts[name]]
        before, now = found.get('options', {}), facts['options']
        different += [f'--{name}' for name in {**before, **now} if before.get(name) != now.get(name)
                      and name not in different]
    except (OSError, ValueError, AttributeError, TypeError):
        different = ['no list of them']
    if different:
        aside = move_aside(folder)
        yield (f'{folder.absolute()} held results of another test ({", ".join(sorted(different)[:5])}); '
               f'they are now in {aside.absolute()}')


def move_strangers_aside(folder: Path, written: set[str]):
    """Images in `folder` that this test did not write, of inputs that are gone, go to `<folder>.1`, with a line."""
    ours = {composed(file) for file in written}
    parts = [folder / name for name in ('images', 'thumbs') if not (folder / name).is_symlink()]
    strangers = [path for part in parts for path in sorted(part.rglob('*'))
                 if path.is_file() and composed(as_text(path.relative_to(folder).as_posix())) not in ours]
    if not strangers:
        return
    aside = first_free(folder)
    for path in strangers:
        new = aside / path.relative_to(folder)
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)
    yield f'{len(strangers)} images of an earlier test, of inputs that are gone, are now in {aside.absolute()}'


def as_text(name: str) -> str:
    """The name of a file with bytes that are no UTF-8 replaced."""
    return name.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')


def as_path(folder: Path, file: str) -> Path:
    """Where `file`, an address on a page, lies: its name is UTF-8 also where the system's names are ASCII."""
    return folder / os.fsdecode(file.encode())


def composed(name: str) -> str:
    """The name in the one form of its accents, as some file systems give it back in another."""
    return unicodedata.normalize('NFC', name)
