"""The FCN score of pix2pix (section 4.1): does a segmentation network recognize the classes in generated street scenes?

    python scripts/eval_cityscapes/evaluate.py --cityscapes_dir ./cityscapes --network fcn.pt \\
        --result_dir ./results/NAME/test_latest/images --output_dir ./scores

The network is a file of yours that takes RGB images (N, 3, H, W) and returns scores of the 19 training classes of
Cityscapes (N, 19, h, w), or a dict with these as 'out': TorchScript, ONNX, or a state dict of a torchvision
segmentation model (--architecture). The FCN-8s of the paper is a Caffe model; converted to ONNX, it needs
--input caffe.

--result_dir has one image for each shot of gtFine/<split>, named `<city>_<shot>_<frame>_leftImg8bit.png` or, from
test.py, `<stem>_fake_B.png`, `<stem>_fake_A.png` or `<stem>_fake.png`, where <stem> is that name or the number that
datasets/prepare_cityscapes_dataset.py gave the shot. Writes evaluation_results.txt to --output_dir.
"""
import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from models.metrics.segmentation import INPUTS, load_segmentation
from util.cli import Parser, run
from util.errors import UserError
from util.files import atomic_write
from util.raster.labels import confusion, segmentation
from util.raster.palettes import CITYSCAPES as CLASSES

UNLABELED = 255
LABELS = '_gtFine_labelIds.png'
ENDINGS = ('', '_fake_B', '_fake_A', '_fake')


def parse(argv):
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument('--cityscapes_dir', type=Path, required=True, help='Cityscapes, with gtFine/<split>/<city>/')
    parser.add_argument('--result_dir', type=Path, required=True, help='generated images')
    parser.add_argument('--output_dir', type=Path, required=True, help='where evaluation_results.txt is written')
    parser.add_argument('--caffemodel_dir', type=Path, help=argparse.SUPPRESS)      # of the reference
    parser.add_argument('--network', type=Path, help='TorchScript, ONNX, or a torchvision state dict')
    parser.add_argument('--architecture', default='fcn_resnet50', help='of a state dict, such as deeplabv3_resnet101')
    parser.add_argument('--input', default='imagenet', choices=INPUTS,
                        help='what the network is given: RGB normalized as for ImageNet; BGR levels minus the mean of '
                             'Cityscapes; RGB levels / 255')
    parser.add_argument('--split', default='val', help='train, val or test')
    parser.add_argument('--save_output_images', type=int, default=0, metavar='0|1', help='write the segmentations too')
    parser.add_argument('--gpu_id', type=int, default=0, help='number of the GPU; -1 for the CPU')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


# ---- files

def find_pairs(opt) -> list[tuple[Path, Path]]:
    """(label map, generated image) of every shot; a `UserError` names what is missing."""
    folder = opt.cityscapes_dir / 'gtFine' / opt.split
    labels = sorted(folder.glob(f'*/*{LABELS}'))
    if not labels:
        raise UserError(f'no */*{LABELS} in {folder.absolute()}; correct --cityscapes_dir or --split')
    results = {path.stem: path for path in sorted(opt.result_dir.glob('*'), reverse=True)}
    pairs = []
    for number, label in enumerate(labels):
        shot = label.name.removesuffix(LABELS)
        stems = [f'{name}{ending}' for name in (f'{shot}_leftImg8bit', shot, str(number), f'{number}_B', f'{number}_A')
                 for ending in ENDINGS]
        pairs.append((label, next((results[stem] for stem in stems if stem in results), None)))
    missing = [label for label, image in pairs if image is None]
    if missing:
        raise UserError(f'{opt.result_dir.absolute()} has no image of {len(missing)} of {len(labels)} shots, such as '
                        f'{missing[0].name.removesuffix(LABELS)}_leftImg8bit.png; test with all images of the split')
    return pairs


def read_truth(path: Path) -> np.ndarray:
    """(H, W) training classes, 255 where there is none."""
    table = np.full(256, UNLABELED, np.uint8)
    for number, (_, label, _) in enumerate(CLASSES):
        table[label] = number
    with Image.open(path) as image:
        return table[np.asarray(image)]


def read_result(path: Path, size: tuple[int, int]) -> np.ndarray:
    """The image in the size (width, height) of the label map: (H, W, 3) levels."""
    with Image.open(path) as image:
        return np.asarray(image.convert('RGB').resize(size, Image.Resampling.BILINEAR))


def device_of(gpu_id: int) -> torch.device:
    if gpu_id >= 0 and torch.accelerator.is_available():
        return torch.device(torch.accelerator.current_accelerator().type, gpu_id)
    return torch.device('cpu')


# ---- scores

def evaluate(pairs, predict, show) -> np.ndarray:
    """(19, 19) pixel counts of all pairs; `show(name, classes, truth)` is given each segmentation."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for label, image in tqdm(pairs, unit='img', disable=None):
        truth = read_truth(label)
        size = truth.shape[::-1]
        classes = predict(read_result(image, size))
        known = truth != UNLABELED
        counts += confusion(classes[known], truth[known], len(CLASSES))
        show(label.name.removesuffix(LABELS), classes, truth)
    return counts


def report(counts: np.ndarray) -> str:
    scores = segmentation(counts)
    lines = [f'Mean pixel accuracy: {scores["pixel_acc"]:f}', f'Mean class accuracy: {scores["class_acc"]:f}',
             f'Mean class IoU: {scores["iou"]:f}', '************ Per class numbers below ************']
    for number, (name, _, _) in enumerate(CLASSES):
        right = counts[number, number]
        true, either = counts[number].sum(), counts[number].sum() + counts[:, number].sum() - right
        accuracy, iou = (f'{right / whole:f}' if whole else 'nan' for whole in (true, either))
        lines.append(f'{name + ":":<15} acc = {accuracy}, iou = {iou}')
    return '\n'.join(lines)


def write_images(folder: Path):
    """A function that writes a segmentation and the truth in the colors of Cityscapes."""
    folder.mkdir(parents=True, exist_ok=True)
    palette = np.zeros((256, 3), np.uint8)
    palette[:len(CLASSES)] = [color for _, _, color in CLASSES]

    def write(name, classes, truth):
        for kind, values in (('pred', classes), ('gt', truth)):
            Image.fromarray(palette[values]).save(folder / f'{name}_{kind}.png')
    return write


def main(argv, console):
    opt = parse(argv)
    pairs = find_pairs(opt)
    predict = load_segmentation(opt.network, len(CLASSES), opt.architecture, opt.input, device_of(opt.gpu_id))
    opt.output_dir.mkdir(parents=True, exist_ok=True)
    show = write_images(opt.output_dir / 'image_outputs') if opt.save_output_images else lambda *_: None
    text = report(evaluate(pairs, predict, show))
    with atomic_write(opt.output_dir / 'evaluation_results.txt') as file:
        file.write(text + '\n')
    print(text)


if __name__ == '__main__':
    sys.exit(run(main))
