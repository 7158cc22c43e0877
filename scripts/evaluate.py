"""Compare the results of test.py with their targets: L1, PSNR and SSIM.

    python scripts/evaluate.py results/facades_pix2pix/test_latest

RESULTS is a folder that test.py wrote for paired data. Prints the means and writes RESULTS/metrics.json.
"""
import argparse
import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image
from tqdm import tqdm

from util.cli import run
from util.errors import UserError
from util.files import atomic_write
from util.results.metrics import compare

PAIRS = (('fake_B', 'real_B'), ('fake_B_rgb', 'real_B_rgb'))
FORMATS = {'L1': '.2f', 'PSNR': '.2f', 'SSIM': '.4f'}
UNITS = {'L1': ' of 255', 'PSNR': ' dB', 'SSIM': ''}


def read_results(folder: Path) -> list[dict]:
    """The images listed in results.json; a `UserError` without this file."""
    path = folder / 'results.json'
    if not path.exists():
        raise UserError(f'{path.absolute()} does not exist; give a folder that test.py wrote')
    return json.loads(path.read_text(encoding='utf-8'))['images']


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """{stem: {L1, PSNR, SSIM}} of each image that has a target."""
    scores = {}
    for image in tqdm(read_results(folder), unit='img', disable=None):
        for fake, real in PAIRS:
            if {fake, real} <= image['files'].keys() and 'fake_A' not in image['files']:
                pair = (np.asarray(Image.open(folder / image['files'][name]).convert('RGB')) for name in (fake, real))
                scores[image['stem']] = compare(*pair)
    if not scores:
        raise UserError(f'{folder.absolute()} has no images with targets (fake_B and real_B); only results of paired '
                        f'data (pix2pix, colorization) can be compared')
    return scores


def mean_of(name: str, scores) -> float | None:
    """Mean of the finite values: PSNR is infinite for equal images, and tiny images have no SSIM."""
    values = [score[name] for score in scores if math.isfinite(score.get(name, math.inf))]
    return float(np.mean(values)) if values else None


def main(argv, console):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('results', type=Path, metavar='RESULTS')
    folder = parser.parse_args(argv).results
    scores = measure(folder)
    means = {name: mean_of(name, scores.values()) for name in FORMATS}
    with atomic_write(folder / 'metrics.json') as file:
        finite = {stem: {name: value if math.isfinite(value) else None for name, value in score.items()}
                  for stem, score in scores.items()}
        json.dump(dict(mean=means, images=finite), file, indent=1)
    words = [f'{name} {mean:{FORMATS[name]}}{UNITS[name]}' for name, mean in means.items() if mean is not None]
    print(f'{len(scores)} images: {", ".join(words)}')


if __name__ == '__main__':
    sys.exit(run(main))
