"""Bring checkpoints of the original MUNIT here, and back.

    python scripts/convert_munit.py gen_01000000.pt --name shoes [--dis dis_01000000.pt]
    python scripts/convert_munit.py --name shoes --export gen_01000000.pt

The first makes a run that `python test.py --dataroot D --name shoes` translates with; files of PyTorch 0.3 are read
too. A checkpoint does not tell its padding: models of before May 2018 may need --pad_type zero.
"""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.training.progress import Progress
from options import TrainOptions
from util.checkpoint import layout, store
from util.cli import Parser, run
from util.console import warn
from util.errors import UserError
from util.files import atomic_write

ADAPTIVE = re.compile(r'dec\.model\.0\.model\.\d+\.model\.\d\.conv\.weight')
OLD = re.compile(r'\.(running_mean|running_var|num_batches_tracked)$')


def read_pair(path: Path) -> tuple[dict, dict]:
    """The weights of domain a and b of an original file, without statistics that no layer uses."""
    if not path.is_file():
        raise UserError(f'there is no file {path.absolute()}; give a checkpoint of MUNIT, such as gen_01000000.pt')
    content = store.read(path, cure='give a checkpoint of MUNIT')
    if not isinstance(content, dict) or not {'a', 'b'} <= content.keys():
        raise UserError(f'{path.absolute()} is no checkpoint of MUNIT: it has no parts a and b; give another file')
    return tuple({key: value for key, value in content[domain].items() if not OLD.search(key)} for domain in 'ab')


def describe_generator(weights: dict) -> dict:
    """The options that build an auto-encoder with these weights."""
    def count(pattern):
        return sum(re.fullmatch(pattern, key) is not None for key in weights)
    try:
        style_convs = count(r'enc_style\.model\.\d+\.conv\.weight')
        return dict(ngf=weights['enc_content.model.0.conv.weight'].shape[0],
                    style_dim=weights[f'enc_style.model.{style_convs + 1}.weight'].shape[0],
                    mlp_dim=weights['mlp.model.0.fc.weight'].shape[0],
                    n_downsample=count(r'dec\.model\.\d+\.norm\.gamma'), n_downsample_style=style_convs - 1,
                    n_res=count(r'enc_content\.model\.\d+\.model\.\d+\.model\.0\.conv\.weight'))
    except KeyError as error:
        raise UserError(f'the generator has no {error}; is it a gen_*.pt of MUNIT?')


def describe_discriminator(weights: dict) -> dict:
    """The options that build a discriminator with these weights."""
    convs = [key for key in weights if re.fullmatch(r'cnns\.\d+\.\d+\.conv\.weight', key)]
    if not convs:
        raise UserError('the discriminator has no plain convolutions; spectral norm cannot be converted')
    scales = {key.split('.')[1] for key in convs}
    return dict(ndf=weights['cnns.0.0.conv.weight'].shape[0], num_scales_D=len(scales),
                n_layers_D=len(convs) // len(scales))


def import_munit(args):
    generators = read_pair(args.gen)
    options = describe_generator(generators[0])
    networks = {'G_A': generators[0], 'G_B': generators[1]}
    if args.dis:
        networks['D_A'], networks['D_B'] = read_pair(args.dis)
        options.update(describe_discriminator(networks['D_A']))
    channels = (part['enc_content.model.0.conv.weight'].shape[1] for part in generators)
    options.update(zip(('input_nc', 'output_nc'), channels, strict=True))
    folder = Path(args.checkpoints_dir) / args.name
    if layout.holds_run(folder):
        raise UserError(f'{folder.absolute()} holds a run already; choose another --name')
    argv = [word for name, value in options.items() for word in (f'--{name}', str(value))]
    opt = TrainOptions().parse(['--model', 'munit', '--dataroot', '.', '--name', args.name, '--checkpoints_dir',
                                args.checkpoints_dir, '--pad_type', args.pad_type, *argv])
    stored = {name: value for name, value in opt.as_dict().items() if name != 'dataroot'}
    state = dict(options=stored, progress=Progress().state_dict(), networks=list(networks))
    store.save(folder, 'latest', networks, state)
    print(f'wrote {", ".join(networks)} to {folder.absolute()} ({store.as_flags(options)})')


def write(path: Path, content: dict):
    import torch
    with atomic_write(path, 'wb') as file:
        torch.save(content, file)


def export_munit(args):
    """Write the generators of a run as an original file, with the buffers that the original expects."""
    import torch
    folder = Path(args.checkpoints_dir) / args.name
    parts = {}
    for domain, name in (('a', 'G_A'), ('b', 'G_B')):
        path = layout.network_path(folder, args.epoch, name)
        if not path.exists():
            raise UserError(f'no checkpoint {path.absolute()}: {layout.describe_checkpoints(folder)}')
        weights = dict(store.read(path))
        adaptive = [key for key in weights if ADAPTIVE.fullmatch(key)]
        for key in adaptive:
            norm, channels = key.replace('conv.weight', 'norm'), len(weights[key])
            weights[f'{norm}.running_mean'] = torch.zeros(channels)
            weights[f'{norm}.running_var'] = torch.ones(channels)
        parts[domain] = weights
    if args.export.exists():
        warn(f'{args.export.absolute()} is replaced')
    write(args.export, parts)
    print(f'wrote {args.export.absolute()}')


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('gen', type=Path, nargs='?', help='gen_*.pt of the original')
    parser.add_argument('--dis', type=Path, help='dis_*.pt of the original, to continue training')
    parser.add_argument('--name', help='name of the run (required)')
    parser.add_argument('--checkpoints_dir', default='./checkpoints')
    parser.add_argument('--pad_type', default='reflect', choices=('reflect', 'replicate', 'zero'))
    parser.add_argument('--export', type=Path, metavar='FILE', help='write the generators of the run as such a file')
    parser.add_argument('--epoch', default='latest', help='which checkpoint to export')
    args = parser.parse_args(argv)
    if (args.gen is None) == (args.export is None):
        raise UserError('give a gen_*.pt to import, or --export FILE')
    if not args.name:
        raise UserError('give the name of the run with --name NAME')
    if args.export:
        export_munit(args)
    else:
        import_munit(args)


if __name__ == '__main__':
    sys.exit(run(main))
