"""Earlier results in a folder: the same test overwrites them, the results of another test are moved aside."""
import errno
import json
import os
import tempfile
import time
import unicodedata
from pathlib import Path

from util.console import counted
from util.files import first_free, move_aside

# options that do not change the images: tests that differ only in these are the same test
INCIDENTAL = frozenset((
    'gpu_ids', 'cpu_threads', 'num_threads', 'batch_size', 'verbose', 'suffix', 'use_wandb', 'wandb_project_name',
    'results_dir', 'display_winsize', 'serial_batches', 'no_flip', 'domain_names'))


def check_place(folder):
    """Raise `OSError` before any work if `folder` cannot be created."""
    folder = Path(folder).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        os.rmdir(tempfile.mkdtemp(dir=existing))
    except OSError as error:    # ENOENT: not a real file system, such as /proc
        code = errno.EACCES if error.errno == errno.ENOENT else error.errno
        raise OSError(code, 'cannot be written', str(folder)) from error


def facts_of(opt) -> dict:
    """What was tested, for results.json; equal facts mean the same test."""
    values = {**opt.as_dict(), 'checkpoints_dir': Path(opt.checkpoints_dir).absolute()}
    options = {name: str(value) for name, value in values.items() if name not in {*INCIDENTAL, 'dataroot'}}
    return dict(name=opt.name, model=opt.model, direction=opt.direction, phase=opt.phase, epoch=opt.epoch,
                dataroot=str(Path(opt.dataroot).absolute()), options=options)


def is_complete(content) -> bool:
    """True for the content of a results.json that a program can use: with images, and everything of its type."""
    images = content.get('images') if isinstance(content, dict) else None
    target = content.get('target') if images else None
    return (isinstance(images, list) and bool(images) and all(map(is_entry, images))
            and (target is None or is_texts(target) and len(target) == 2)
            and is_numbers(content.get('mean_metrics', {})) and isinstance(content.get('options', {}), dict))


def is_entry(image) -> bool:
    """True for one of the images of results.json."""
    return (isinstance(image, dict) and isinstance(image.get('stem'), str) and isinstance(image.get('files'), dict)
            and bool(image['files']) and is_texts([*image['files'].values()]) and is_numbers(image.get('metrics', {}))
            and isinstance(image.get('source') or '', str))


def is_texts(found) -> bool:
    return isinstance(found, list) and all(isinstance(text, str) for text in found)


def is_numbers(found) -> bool:
    return isinstance(found, dict) and all(value is None or isinstance(value, (int, float))
                                           for value in found.values())


def page_facts(opt, moment: dict) -> dict[str, str]:
    """What was tested, for the page; without absolute paths, because pages are sent to other people.

    `moment` is where the training was when the checkpoint was saved; it says what `latest` was.
    """
    swapped = ' (A on this page is domain B of the dataset)' if opt.direction == 'BtoA' else ''
    names = domain_names(opt)
    direction = f'{names["A"]} to {names["B"]}' if names else opt.direction + swapped
    checkpoint = f'iteration {opt.load_iter}' if opt.load_iter else f'epoch {opt.epoch}' if opt.epoch.isdigit() \
        else opt.epoch
    reached = [f'{name} {moment[name]:,}' for name in ('epoch', 'iteration')
               if moment.get(name) and not checkpoint.startswith((name, 'iteration'))]
    return dict(model=opt.model, direction=direction,
                checkpoint=f'{checkpoint} ({", ".join(reached)})' if reached else checkpoint,
                data=f'{as_text(Path(opt.dataroot).absolute().name)}, {opt.phase}',
                started=time.strftime('%Y-%m-%d %H:%M'))


def domain_names(opt) -> dict[str, str]:
    """{'A': 'day', 'B': 'night'} as on the page, where A is the input, by --domain_names; {} without it."""
    names = [name.strip() for name in opt.as_dict().get('domain_names', '').split(',')]
    if len(names) != 2:
        return {}
    return dict(zip('AB', reversed(names) if opt.direction == 'BtoA' else names, strict=True))


def address_of_training(folder: Path, run: Path) -> dict | None:
    """The addresses of the page of a run, and of an image next to it, relative to the folder of the results.

    None if there is none, or if the address would name folders up to the root of the disk. A browser shows the link
    where it can load the image: not on another computer, where only the results are.
    """
    page = run.absolute() / 'web' / 'index.html'
    images = sorted((page.parent / 'images').glob('*.png'))
    if not page.is_file() or not images:
        return None
    try:
        shared = os.path.commonpath([page, folder.absolute()])
    except ValueError:      # on other drives
        return None
    if shared == page.anchor:
        return None
    return {name: Path(os.path.relpath(path, folder.absolute())).as_posix()
            for name, path in (('page', page), ('probe', images[-1]))}


def move_other_test_aside(folder: Path, facts: dict, notify):
    """Move the results of another test from `folder` to `<folder>.1`; results of the same test stay."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        found = json.loads((folder / 'results.json').read_text(encoding='utf-8'))
        reasons = differences(found, facts)
    except (OSError, ValueError, AttributeError, TypeError):
        reasons = ['no results.json']
    if reasons:
        aside = move_aside(folder)
        notify(f'moved the results of another test ({", ".join(sorted(reasons)[:5])}) from {folder.absolute()} to '
               f'{aside.absolute()}')


def differences(found: dict, facts: dict) -> list[str]:
    """Names of the facts and options that differ."""
    names = [name for name in facts if name != 'options' and found.get(name) != facts[name]]
    before, now = found.get('options', {}), facts['options']
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return names + [f'--{name}' for name in changed if name not in names]


def move_unknown_aside(folder: Path, written: set[str], notify):
    """Move images that this test did not write, whose inputs no longer exist, from `folder` to `<folder>.1`."""
    ours = {composed(file) for file in written}
    parts = [folder / name for name in ('images', 'views', 'thumbs') if not (folder / name).is_symlink()]
    unknown = [path for part in parts for path in sorted(part.rglob('*'))
               if path.is_file() and composed(as_text(path.relative_to(folder).as_posix())) not in ours]
    if not unknown:
        return
    aside = first_free(folder)
    for path in unknown:
        new = aside / path.relative_to(folder)
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)
    notify(f'moved {counted(len(unknown), "image")} of an earlier test, whose inputs no longer exist, to '
           f'{aside.absolute()}')


def what_to_give(folder: Path, otherwise: str) -> str:
    """The results inside a folder that has none itself, as that of a run; without such, `otherwise`."""
    inside = [as_text(str(path.parent)) for path in sorted(folder.glob('*/results.json'))]
    return f'give {" or ".join(inside)}' if inside else otherwise


def as_text(name: str) -> str:
    """A file name with the bytes replaced that are not UTF-8."""
    return name.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')


def as_path(folder: Path, file: str) -> Path:
    """The path of `file`, an address on a page; its name is UTF-8 even if the system's encoding is ASCII."""
    return folder / os.fsdecode(file.encode())


def composed(name: str) -> str:
    """The name in Unicode form NFC; some file systems return names in another form."""
    return unicodedata.normalize('NFC', name)
