"""Download a public dataset to datasets/<NAME>, or unpack an archive that you already have.

    python datasets/download_dataset.py horse2zebra
    python datasets/download_dataset.py facades --kind pix2pix
    python datasets/download_dataset.py maps --kind cyclegan --archive ~/Downloads/maps.zip

The archive is checked and unpacked to a temporary folder, which is renamed at the end. The authors publish no
checksums, so the SHA-256 of your first download is saved in datasets/checksums.json; a different one is refused later.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import Parser, run
from util.download import SERVER, Source, check_server, check_sum, choose, fetch, remember
from util.errors import StorageError, UserError
from util.unpack import check_free, unpack

CYCLEGAN = ('ae_photos', 'apple2orange', 'summer2winter_yosemite', 'horse2zebra', 'monet2photo', 'cezanne2photo',
            'ukiyoe2photo', 'vangogh2photo', 'maps', 'facades', 'iphone2dslr_flower', 'mini', 'mini_pix2pix',
            'mini_colorization')
PIX2PIX = ('night2day', 'edges2handbags', 'edges2shoes', 'facades', 'maps')
NAMES = {'cyclegan': CYCLEGAN, 'pix2pix': PIX2PIX}
PATHS = {'cyclegan': 'cyclegan/datasets/{}.zip', 'pix2pix': 'pix2pix/datasets/{}.tar.gz'}
CITYSCAPES = """\
The license of Cityscapes forbids others to distribute it. To prepare it yourself:
  1. Register at www.cityscapes-dataset.com and download gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip.
  2. Unpack both; this creates the folders gtFine and leftImg8bit.
  3. python datasets/prepare_cityscapes_dataset.py --gtFine_dir gtFine --leftImg8bit_dir leftImg8bit \\
         --output_dir datasets/cityscapes"""


def parse(argv):
    parser = Parser(
        __doc__.splitlines()[0], allow_abbrev=True,
        epilog='\n'.join(f'{kind}: {", ".join(names)}' for kind, names in NAMES.items()))
    parser.add_argument('name', metavar='NAME', help='which dataset; see below, or cityscapes')
    parser.add_argument('--kind', choices=list(NAMES),
                        help='unpaired images (cyclegan) or pairs (pix2pix), for names that have both')
    parser.add_argument('--datasets_dir', type=Path, default='./datasets', help='the folder in which NAME is created')
    parser.add_argument('--archive', type=Path, help='unpack this file instead of downloading one')
    parser.add_argument('--server', default=SERVER, help='address of the server or of a mirror')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def choose_kind(opt) -> str:
    """The kind asked for, or the only one that has the name."""
    if opt.kind:
        choose(opt.name, NAMES[opt.kind])
        return opt.kind
    choose(opt.name, tuple(dict.fromkeys(CYCLEGAN + PIX2PIX)))
    kinds = [kind for kind, names in NAMES.items() if opt.name in names]
    if len(kinds) > 1:
        raise UserError(f'{opt.name} exists as unpaired images and as pairs; add --kind cyclegan or --kind pix2pix')
    return kinds[0]


def check(opt, target: Path):
    """Report all mistakes together, before anything is downloaded."""
    mistakes = []
    for test, value in ((check_server, opt.server), (check_free, target), (check_archive, opt.archive)):
        try:
            test(value)
        except UserError as error:
            mistakes.extend(error.args)
    if mistakes:
        raise UserError(*mistakes)


def check_archive(archive: Path | None):
    if archive and not archive.is_file():
        raise UserError(f'--archive: there is no file {archive.absolute()}')


def source_of(opt, kind: str) -> Source:
    command = f'python datasets/download_dataset.py {opt.name} --kind {kind} --archive FILE'
    if str(opt.datasets_dir) != 'datasets':
        command += f' --datasets_dir {opt.datasets_dir}'
    by_hand = f'run: {command} (it is unpacked to {(opt.datasets_dir / opt.name).absolute()})'
    return Source(PATHS[kind].format(opt.name), by_hand, opt.server)


def unpack_to(target: Path, archive: Path, downloaded: bool) -> int:
    """Unpack `archive` and return the number of files. A download is removed, unless only the disk was at fault."""
    try:
        n_files = unpack(archive, target)
    except UserError:
        if downloaded:
            archive.unlink()
        raise
    except OSError as error:
        raise StorageError(f'{target.absolute()} cannot be written ({error.strerror or error}); make room or choose '
                           f'another --datasets_dir, and run the same command with --archive {archive.absolute()}')
    if downloaded:
        archive.unlink()
    return n_files


def main(argv, console):
    opt = parse(argv)
    if opt.name == 'cityscapes':
        print(CITYSCAPES)
        return 1
    target = opt.datasets_dir / opt.name
    source = source_of(opt, choose_kind(opt))
    check(opt, target)
    table = opt.datasets_dir / 'checksums.json'
    archive = opt.archive or opt.datasets_dir / Path(source.path).name
    digest = check_sum(archive, source, table) if opt.archive else fetch(source, archive, table)
    n_files = unpack_to(target, archive, downloaded=not opt.archive)
    remember(digest, source, table)
    print(f'wrote {n_files} files to {target.absolute()}')


if __name__ == '__main__':
    sys.exit(run(main))
