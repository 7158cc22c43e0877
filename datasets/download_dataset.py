"""Download a public data set to datasets/<NAME>, or unpack an archive that was fetched by other means.

    python datasets/download_dataset.py horse2zebra
    python datasets/download_dataset.py facades --kind pix2pix
    python datasets/download_dataset.py maps --kind cyclegan --archive ~/Downloads/maps.zip

What comes is unpacked aside, checked and then renamed. The SHA-256 of every archive is printed and noted in
datasets/checksums.json; a later download that differs is refused.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import run
from util.download import SERVER, Source, check_server, check_sum, choose, fetch, remember
from util.errors import UserError
from util.unpack import check_free, unpack

CYCLEGAN = ('ae_photos', 'apple2orange', 'summer2winter_yosemite', 'horse2zebra', 'monet2photo', 'cezanne2photo',
            'ukiyoe2photo', 'vangogh2photo', 'maps', 'facades', 'iphone2dslr_flower', 'mini', 'mini_pix2pix',
            'mini_colorization')
PIX2PIX = ('night2day', 'edges2handbags', 'edges2shoes', 'facades', 'maps')
NAMES = {'cyclegan': CYCLEGAN, 'pix2pix': PIX2PIX}
PATHS = {'cyclegan': 'cyclegan/datasets/{}.zip', 'pix2pix': 'pix2pix/datasets/{}.tar.gz'}
# SHA-256 by path on the server. The authors publish none, so each user's first download is the reference.
CHECKSUMS = {PATHS[kind].format(name): None for kind in NAMES for name in NAMES[kind]}
CITYSCAPES = """\
The licence of Cityscapes does not allow others to pass it on. To prepare it yourself:
  1. Register at www.cityscapes-dataset.com and download gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip.
  2. Unpack both; they make the folders gtFine and leftImg8bit.
  3. python datasets/prepare_cityscapes_dataset.py --gtFine_dir gtFine --leftImg8bit_dir leftImg8bit \\
         --output_dir datasets/cityscapes"""


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='\n'.join(f'{kind}: {", ".join(names)}' for kind, names in NAMES.items()))
    parser.add_argument('name', metavar='NAME', help='which data set; see below, or cityscapes')
    parser.add_argument('--kind', choices=list(NAMES), help='for names that both have: unpaired (cyclegan) or pairs')
    parser.add_argument('--datasets_dir', type=Path, default='./datasets', help='the folder that NAME is put in')
    parser.add_argument('--archive', type=Path, help='unpack this file instead of downloading one')
    parser.add_argument('--server', default=SERVER, help='address of the server or of a mirror')
    parser.add_argument('--verbose', action='store_true', help='show where an error comes from')
    return parser.parse_args(argv)


def settle_kind(opt) -> str:
    """The kind asked for, or the only one that has the name."""
    if opt.kind:
        choose(opt.name, NAMES[opt.kind])
        return opt.kind
    choose(opt.name, tuple(dict.fromkeys(CYCLEGAN + PIX2PIX)))
    kinds = [kind for kind, names in NAMES.items() if opt.name in names]
    if len(kinds) > 1:
        raise UserError(f'{opt.name} exists as unpaired folders and as pairs; add --kind cyclegan or --kind pix2pix')
    return kinds[0]


def check(opt, target):
    """Everything that can be wrong before a byte is moved, told together."""
    mistakes = []
    for test, value in ((check_server, opt.server), (check_free, target), (check_archive, opt.archive)):
        try:
            test(value)
        except UserError as error:
            mistakes.extend(error.args)
    if mistakes:
        raise UserError(*mistakes)


def check_archive(archive):
    if archive and not archive.is_file():
        raise UserError(f'there is no file {archive.absolute()}; correct --archive')


def settle_source(opt, kind) -> Source:
    path = PATHS[kind].format(opt.name)
    command = f'run: python datasets/download_dataset.py {opt.name} --kind {kind} --archive FILE'
    if str(opt.datasets_dir) != 'datasets':
        command += f' --datasets_dir {opt.datasets_dir}'
    by_hand = f'{command} (it is unpacked to {(opt.datasets_dir / opt.name).absolute()})'
    return Source(path, by_hand, opt.server, CHECKSUMS[path])


def unpack_download(archive, target) -> int:
    """Unpack and remove `archive`; it is kept only when the disk was at fault."""
    try:
        n_files = unpack(archive, target)
    except UserError:
        archive.unlink()
        raise
    except OSError as error:
        raise UserError(f'{target.absolute()} cannot be written ({error.strerror or error}); make room and run the '
                        f'same command with --archive {archive.absolute()}')
    archive.unlink()
    return n_files


def unpack_own(archive, target) -> int:
    try:
        return unpack(archive, target)
    except OSError as error:
        raise UserError(f'{archive.absolute()} cannot be unpacked to {target.absolute()} '
                        f'({error.strerror or error}); make room or choose another --datasets_dir')


def main(argv, console):
    opt = parse(argv)
    if opt.name == 'cityscapes':
        print(CITYSCAPES)
        return 1
    target, source = opt.datasets_dir / opt.name, settle_source(opt, settle_kind(opt))
    check(opt, target)
    table = opt.datasets_dir / 'checksums.json'
    if opt.archive:
        digest = check_sum(opt.archive, source, table)
        n_files = unpack_own(opt.archive, target)
    else:
        archive = opt.datasets_dir / Path(source.path).name
        digest = fetch(source, archive, table)
        n_files = unpack_download(archive, target)
    remember(digest, source, table)
    print(f'wrote {n_files} files to {target.absolute()}')


if __name__ == '__main__':
    sys.exit(run(main))
