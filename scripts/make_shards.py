"""Pack the images of a dataset into tars, which are faster to copy, and to open on network storage and hard disks.

    python scripts/make_shards.py --dataroot ./datasets/maps --out ./shards/maps
    python scripts/make_shards.py --index others/*.tar
    python scripts/make_shards.py --check ./shards/maps

A folder of a phase or domain (train, testA, A, ...) becomes a folder of the same name with tars 00000.tar, 00001.tar
and so on, and an index next to each. The bytes of the images are not changed; other files are left out. Complete tars
are kept, so that an interrupted run is resumed by the same command. `--index` writes the index of tars that others
made. `--check` reads all tars again and compares all checksums. Exit code: 0 if all is well, 1 if a check found damage,
2 for errors in the command line or the files.
"""
import io
import os
import sys
import tarfile
import zlib
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.image_folder import ignored, list_images
from data.layout import HELD_OUT, PLACES
from util.cli import Parser, run
from util.console import counted, note, printable, say
from util.errors import UserError
from util.files import atomic_write, no_folder
from util.places import index, tar_names
from util.raster.kinds import check_file
from util.raster.read import reason

PHASES = ('train', *HELD_OUT)
NAMES = {*PHASES, 'A', 'B', *(part for place in PLACES for phase in PHASES for domain in 'AB'
                              for part in place.format(phase=phase, domain=domain).split('/'))}


def set_of(place: str) -> str:
    """Which tars an image belongs to, by its path in the dataset: the last folder in it that has a name of `NAMES`."""
    parts = place.split(os.sep)[:-1]
    named = [number for number, part in enumerate(parts, 1) if part in NAMES]
    return os.sep.join(parts[:named[-1]]) if named else ''


def planned(dataroot: Path, per_tar: int, most_bytes: int) -> dict[str, list[str]]:
    """{path of a tar without its ending: paths of its images}, all relative."""
    sets = defaultdict(list)
    for path in list_images(dataroot):
        name = os.path.relpath(path, dataroot)
        sets[set_of(name)].append(name)
    return {os.path.join(folder, f'{number:05d}'): part for folder, names in sets.items()
            for number, part in enumerate(divided(names, dataroot, per_tar, most_bytes))}


def divided(names: list[str], dataroot: Path, per_tar: int, most_bytes: int) -> list[list[str]]:
    parts, filled = [], 0
    for name in names:
        size = os.path.getsize(dataroot / name)
        if not parts or len(parts[-1]) == per_tar or filled + size > most_bytes:
            parts.append([])
            filled = 0
        parts[-1].append(name)
        filled += size
    return parts


def is_complete(tar: str, folder: str, dataroot: Path, names: list[str]) -> bool:
    """True if a tar has these images, none of which has changed since it was written.

    The time of the last change counts, which renaming sets, too: a copy may keep the time of its content.
    """
    try:
        found = index.load(tar, tar + tar_names.INDEX)
        if not found or found.head['tar'] != index.version_of(tar):
            return False
        sizes = {os.fsdecode(row['name']): int(row['size']) for row in found.table}
        states = {os.path.relpath(name, folder): os.stat(dataroot / name) for name in names}
    except OSError:
        return False
    return sizes == {name: state.st_size for name, state in states.items()} and all(
        max(state.st_mtime_ns, state.st_ctime_ns) <= found.head['tar'][1] for state in states.values())


def pack(tar: str, folder: str, dataroot: Path, names: list[str]):
    """Write a tar, read it again, and write its index if the checksums are those of the files."""
    sums = {}
    with atomic_write(tar, 'wb') as stream, tarfile.open(fileobj=stream, mode='w') as file:
        for name in names:
            data = bytes_of(dataroot / name)
            member = tarfile.TarInfo(os.path.relpath(name, folder or '.'))
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
            sums[member.name] = zlib.crc32(data)
    made = index.build(tar, checked=True)
    if sums != {name: int(crc) for name, crc in zip(made.names, made.table['crc'], strict=True)}:
        raise UserError(f'{tar} was written, but reads differently; check the disk, and run the command again')
    made.save(tar + tar_names.INDEX)


def bytes_of(path: Path) -> bytes:
    """Raises a `UserError` for what is no image file: check_data.py says more."""
    try:
        check_file(str(path))
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be packed ({reason(error)}); repair or remove it') from error


def make(opt):
    dataroot, out = Path(opt.dataroot), Path(opt.out)
    if out.resolve().is_relative_to(dataroot.resolve()) or dataroot.resolve().is_relative_to(out.resolve()):
        raise UserError(f'--out {out} and --dataroot {dataroot} are in each other; choose another folder for the tars')
    if tar := next(dataroot.rglob('*.tar'), None):
        raise UserError(f'--dataroot {dataroot} has images in tars already, such as {tar}; give a folder of '
                        f'image files')
    plan = planned(dataroot, opt.images, round(opt.megabytes * 10**6))
    together = {name.split(os.sep)[0] for tar, names in plan.items() if not os.path.dirname(tar) for name in names
                if os.sep in name}
    if len(together) > 1:
        note(f'{" and ".join(sorted(together)[:2])} in {dataroot} have no name of a phase or domain (train, testA, '
             f'A, ...), so their images are packed together; pack each folder by itself if they are domains')
    made = 0
    for number, (tar, names) in enumerate(plan.items(), 1):
        folder = os.path.dirname(tar)
        if not is_complete(str(out / f'{tar}.tar'), folder, dataroot, names):
            pack(str(out / f'{tar}.tar'), folder, dataroot, names)
            made += 1
            say(f'{number} of {len(plan)}: {out / tar}.tar, {counted(len(names), "image")}')
    if others := ignored(dataroot):
        say(f'left out: {others}')
    more = sorted({str(path) for path in out.rglob('*.tar')} - {str(out / f'{tar}.tar') for tar in plan})
    if more:
        raise UserError(f'{len(more)} tars in {out} are not of this dataset, or of other settings, such as {more[0]}; '
                        f'remove them, or choose another --out')
    images = counted(sum(map(len, plan.values())), 'image')
    say(f'{images} in {counted(len(plan), "tar")} in {out}; {made} made now')


def write_indices(tars: list[str]):
    for tar in tars:
        if not os.path.isfile(tar):
            raise UserError(f'there is no file {os.path.abspath(tar)}; correct --index')
    for tar in tars:
        found = index.build(tar, checked=True)
        found.save(tar + tar_names.INDEX)
        say(f'{tar}{tar_names.INDEX}: {counted(len(found), "file")}')


def damage(folder: str) -> list[str]:
    """A sentence for each tar that is not as its index says."""
    tars = sorted(map(str, Path(folder).rglob('*.tar')))
    if not tars:
        raise UserError(f'there are no tars in {os.path.abspath(folder)}; correct --check')
    found = []
    for tar in tars:
        try:
            expected = index.load(tar, tar + tar_names.INDEX)
            actual = index.build(tar, checked=True)
            if expected is None:
                found.append(f'{tar} has no index that can be read; make it with --index {tar}')
            elif bad := sorted(set(expected.table.tolist()) ^ set(actual.table.tolist())):
                found.append(f'{tar} differs from its index, such as in {os.fsdecode(bad[0][0])}; copy it again')
        except UserError as error:
            found.append(str(error))
    return found


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('--dataroot', help='folder of the images, with sub-folders as for train.py')
    parser.add_argument('--out', help='folder of the tars')
    parser.add_argument('--images', type=int, default=10_000, help='images in a tar, at most (default: 10000)')
    parser.add_argument('--megabytes', type=float, default=1000, help='size of a tar, at most (default: 1000)')
    parser.add_argument('--index', nargs='+', default=[], metavar='TAR', help='write the index of these tars only')
    parser.add_argument('--check', metavar='DIR', help='compare all tars in a folder with their checksums only')
    opt = parser.parse_args(argv)
    if opt.index:
        write_indices(opt.index)
    elif opt.check:
        found = damage(opt.check)
        for sentence in found:
            print(printable(sentence))
        print('all tars are as they were made' if not found else f'{len(found)} tars are damaged: see above')
        return int(bool(found))
    elif not (opt.dataroot and opt.out):
        raise UserError('nothing to do: give --dataroot DIR and --out DIR, or --index TARS, or --check DIR')
    elif tar_names.is_set(opt.dataroot):
        raise UserError(f'--dataroot {opt.dataroot} has images in tars already; give a folder of image files')
    elif not os.path.isdir(opt.dataroot):
        raise UserError(no_folder(opt.dataroot, '--dataroot'))
    elif opt.images < 1 or opt.megabytes <= 0:
        raise UserError('--images and --megabytes must be positive')
    else:
        make(opt)
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
