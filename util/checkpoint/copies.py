"""Copies of checkpoints in object storage (--copy_to URL), for machines whose disks do not last.

Each set of files has a folder of its own, `URL/<label>.<serial>/`, in which the manifest comes last: a set without one
is not complete, and is not used.
"""
import re
from contextlib import suppress
from functools import partial
from pathlib import Path

from util.errors import UserError
from util.places import remote

from . import layout, transaction
from .manifest import Manifest, next_serial, read_manifest

RECORDS = ('train_opt.txt', 'losses.jsonl', 'loss_log.txt')
SET = re.compile(r'(latest|best|\d+|iter_\d+)\.(\d+)')


def sets_at(url: str) -> dict[str, int]:
    """{label: serial of the newest complete set} of a folder in object storage."""
    files, root = remote.file_system(url)
    with suppress(FileNotFoundError):
        found = {}
        for path in remote.again(lambda: files.ls(root, detail=False), url):
            match = SET.fullmatch(path.rstrip('/').rpartition('/')[2])
            if match and exists(f'{url}/{match[0]}/{match[1]}{layout.MANIFEST}'):
                found[match[1]] = max(int(match[2]), found.get(match[1], 0))
        return found
    return {}


def exists(url: str) -> bool:
    files, path = remote.file_system(url)
    return remote.again(partial(files.exists, path), url)


def check(url: str, folder):
    """A `UserError` if the folder cannot be reached, or holds a later state than the run has here."""
    try:
        newest = max(sets_at(url).values(), default=0)
    except OSError as error:
        raise UserError(f'--copy_to {url} cannot be reached: {error}') from None
    if newest >= next_serial(folder):
        raise UserError(f'--copy_to {url} holds later checkpoints than {Path(folder).absolute()}; get them with python '
                        f'scripts/fetch_run.py {url} --name NAME, and add --continue_train, or choose another folder')


def upload(folder, label: str, url: str):
    """Copy a complete checkpoint and the logs until now; then remove older copies of this label. An `OSError`."""
    folder = Path(folder)
    manifest = read_manifest(folder, label)
    files, root = remote.file_system(url)
    target = f'{root}/{label}.{manifest.serial}'
    remote.again(partial(files.makedirs, target, exist_ok=True), url)
    records = [name for name in RECORDS if (folder / name).exists()]
    for name in (*manifest.files, *records, layout.manifest_path(folder, label).name):
        remote.again(partial(files.pipe_file, f'{target}/{name}', (folder / name).read_bytes()), url)
    for path in remote.again(partial(files.ls, root, detail=False), url):
        match = SET.fullmatch(path.rstrip('/').rpartition('/')[2])
        if match and match[1] == label and int(match[2]) < manifest.serial:
            with suppress(FileNotFoundError):       # first what makes it complete
                remote.again(partial(files.rm, f'{path}/{label}{layout.MANIFEST}'), url)
            remote.again(partial(files.rm, path, recursive=True), url)


def download(url: str, folder) -> str:
    """Get the newest checkpoint that a run can be resumed from, the best one, and the logs; returns the newest label.

    The newest one comes last, so that a download that failed can be repeated. A `UserError` if there is none, if the
    folder has other checkpoints, or if a file is not what its manifest says; an `OSError` of the storage.
    """
    folder, found = Path(folder), sets_at(url)
    if not is_part(folder, url, found):
        raise UserError(f'{folder.absolute()} has checkpoints already; choose another --name')
    regular = {label: serial for label, serial in found.items() if layout.is_regular(label)}
    if not regular:
        raise UserError(f'{url} holds no complete checkpoint; give the folder that was --copy_to')
    newest = max(regular, key=lambda label: (regular[label], label == 'latest'))
    if layout.BEST in found:
        fetch_set(f'{url}/{layout.BEST}.{found[layout.BEST]}', layout.BEST, folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in RECORDS:
        path = f'{url}/{newest}.{found[newest]}/{name}'
        if exists(path):
            (folder / name).write_bytes(remote.read_whole(path))
    fetch_set(f'{url}/{newest}.{found[newest]}', newest, folder)
    return newest


def is_part(folder: Path, url: str, found: dict[str, int]) -> bool:
    """True if a folder has no checkpoints but what an interrupted download of these left: the best one."""
    labels = {*layout.labels(folder)}
    if labels != {layout.BEST} or layout.BEST not in found:
        return not labels
    name = layout.manifest_path(folder, layout.BEST).name
    try:
        return (folder / name).read_bytes() == remote.read_whole(f'{url}/{layout.BEST}.{found[layout.BEST]}/{name}')
    except FileNotFoundError:
        return False


def fetch_set(url: str, label: str, folder: Path):
    with transaction.new_set(folder, label) as aside:
        name = layout.manifest_path(folder, label).name
        (aside / name).write_bytes(remote.read_whole(f'{url}/{name}'))
        try:
            manifest = Manifest.read(aside / name)
        except ValueError:
            raise UserError(f'{url}/{name} is damaged') from None
        for name, entry in manifest.files.items():
            content = remote.read_whole(f'{url}/{name}')
            if transaction.write_file(aside / name, lambda file, content=content: file.write(content)) != entry:
                raise UserError(f'{url}/{name} is damaged: it is not the file that was saved')
