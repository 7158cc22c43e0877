"""Differences of tiles and of exported files, for full-size networks (ngf 64) with random weights.

    python scripts/benchmark_exports.py --out docs/benchmarks/exports

Tiles: the largest and mean difference, in levels of 255, to the whole image in float32 and in float64. Exports: the
largest difference to PyTorch on five images of different sizes, for values from -1 to 1. The results are written after
each network.
"""
import json
import tempfile
import time
from pathlib import Path

import torch

from models import load_translator
from models.exporting import folder as exporting
from models.networks import MunitGenerator, create_generator, init_weights
from util.cli import Parser
from util.files import atomic_write

NETS = {'ResNet (CycleGAN)': ('resnet_9blocks', 'instance', 3, 3),
        'ResNet, batch norm': ('resnet_9blocks', 'batch', 3, 3),
        'U-Net (pix2pix)': ('unet_256', 'batch', 3, 3), 'U-Net, instance norm': ('unet_256', 'instance', 3, 3),
        'encoder-decoder': ('encdec_256', 'batch', 3, 3), 'U-Net (colorization)': ('unet_256', 'batch', 1, 2),
        'autoencoder with styles (MUNIT)': ()}


def trained(folder: Path, net: tuple, gain: float):
    """A translator for random weights."""
    folder.mkdir()
    if net:
        netG, norm, *channels = net
        weights = init_weights(create_generator(netG, *channels, 64, norm), 'normal', gain).state_dict()
        torch.save(weights, folder / 'latest_net_G.pth')
    else:
        for name in ('G_A', 'G_B'):
            torch.save(init_weights(MunitGenerator(), 'kaiming').state_dict(), folder / f'latest_net_{name}.pth')
    return load_translator(folder, no_dropout=True)


def smooth_image(side: int) -> torch.Tensor:
    """Clouds at the left, darkness at the right: tiles of their own would have other statistics."""
    generator = torch.Generator().manual_seed(0)
    image = sum(torch.nn.functional.interpolate(torch.randn(1, 3, n, n, generator=generator), (side, side),
                                                mode='bicubic') / n**0.3 for n in (4, 16, 64, 256)).clamp(-1, 1)
    image[..., side // 2:] = image[..., side // 2:] * 0.2 - 0.8
    return image


def measure_tiles(name: str, translate, side: int, tile: int) -> dict:
    image = smooth_image(side)
    code = translate.random_styles(1)[0] if translate.styled else None
    tiled, whole = translate(image, style=code, tile=tile), translate(image, style=code)
    with torch.no_grad():
        translation = translate.translation().double()
        exact = translation(image.double(), None if code is None else code.double().view(1, -1, 1, 1))
        translation.float()
    differences = {'whole': (tiled - whole).abs(), 'exact': (tiled - exact).abs(), 'whole_exact': (whole - exact).abs()}
    return dict(network=name, contrast=127.5 * whole.std().item(),
                **{f'{key}_{how}': 127.5 * getattr(value, how)().item() for key, value in differences.items()
                   for how in ('max', 'mean')})


def measure_exports(name: str, translate, folder: Path, forms) -> list[dict]:
    rows = []
    for form in forms:
        start = time.perf_counter()
        differences = exporting.export(translate, form, folder / form)
        rows.append(dict(network=name, format=form, difference=max(differences.values()),
                         seconds=time.perf_counter() - start))
    return rows


def as_markdown(results: dict) -> str:
    tiles = [f'| {row["network"]} | {row["whole_max"]:.4f} | {row["whole_mean"]:.5f} | {row["exact_max"]:.5f} | '
             f'{row["whole_exact_max"]:.4f} | {row["contrast"]:.1f} |' for row in results['tiles']]
    found = {}
    for row in results['exports']:
        found.setdefault(row['network'], {})[row['format']] = f'{row["difference"]:.1e}'
    exports = [f'| {name} | ' + ' | '.join(forms.get(form, '') for form in exporting.FILES) + ' |'
               for name, forms in found.items()]
    return '\n'.join([
        '# Tiles and exports', '', f'PyTorch {results["torch"]}; written by `scripts/benchmark_exports.py`. ngf 64, '
        'random weights.', '',
        f'## Tiles of {results["tile"]} pixels, image of {results["side"]}x{results["side"]}', '',
        'In levels of 255. `float64` is the whole image in double precision.', '',
        '| network | tiles to whole, largest | mean | tiles to float64 | whole to float64 | deviation of the image |',
        '|---|---|---|---|---|---|', *tiles, '', '## Exported files', '',
        'Largest difference to PyTorch on five images of different sizes, values from -1 to 1.', '',
        '| network | ' + ' | '.join(exporting.FILES) + ' |', '|---|' + '---|' * len(exporting.FILES), *exports, ''])


def main(argv, console):
    parser = Parser(__doc__)
    parser.add_argument('--out', type=Path, default='docs/benchmarks/exports', help='writes OUT.json and OUT.md')
    parser.add_argument('--formats', nargs='*', default=list(exporting.FILES), choices=list(exporting.FILES))
    parser.add_argument('--side', type=int, default=768)
    parser.add_argument('--tile', type=int, default=256)
    parser.add_argument('--gain', type=float, default=0.02, help='scale of the random weights')
    opt = parser.parse_args(argv)
    results = dict(torch=torch.__version__, side=opt.side, tile=opt.tile, tiles=[], exports=[])
    with tempfile.TemporaryDirectory() as name:
        for index, (network, net) in enumerate(NETS.items()):
            translate = trained(Path(name) / str(index), net, opt.gain)
            results['tiles'].append(measure_tiles(network, translate, opt.side, opt.tile))
            results['exports'] += measure_exports(network, translate, Path(name) / f'{index}_out', opt.formats)
            write(opt.out, results)
    print(as_markdown(results))


def write(out: Path, results: dict):
    for suffix, text in (('.json', json.dumps(results, indent=1)), ('.md', as_markdown(results))):
        with atomic_write(out.with_suffix(suffix)) as file:
            file.write(text)
