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
sys.path[:0] = [str(ROOT), str(ROOT / 'datasets')]

import numpy as np
from demo_scores import confusion, segmentation
from PIL import Image
from tqdm import tqdm

from util.cli import run
from util.errors import UserError
from util.files import atomic_write
from util.monitors.base import install_hint

# training classes of Cityscapes: name, number in *_labelIds.png, color
CLASSES = (
    ('road', 7, (128, 64, 128)), ('sidewalk', 8, (244, 35, 232)), ('building', 11, (70, 70, 70)),
    ('wall', 12, (102, 102, 156)), ('fence', 13, (190, 153, 153)), ('pole', 17, (153, 153, 153)),
    ('traffic light', 19, (250, 170, 30)), ('traffic sign', 20, (220, 220, 0)), ('vegetation', 21, (107, 142, 35)),
    ('terrain', 22, (152, 251, 152)), ('sky', 23, (70, 130, 180)), ('person', 24, (220, 20, 60)),
    ('rider', 25, (255, 0, 0)), ('car', 26, (0, 0, 142)), ('truck', 27, (0, 0, 70)), ('bus', 28, (0, 60, 100)),
    ('train', 31, (0, 80, 100)), ('motorcycle', 32, (0, 0, 230)), ('bicycle', 33, (119, 11, 32)))
UNLABELED = 255
LABELS = '_gtFine_labelIds.png'
ENDINGS = ('', '_fake_B', '_fake_A', '_fake')
CAFFE_MEAN = (73.45286, 83.21195, 72.78044)     # of Cityscapes, RGB
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument('--cityscapes_dir', type=Path, required=True, help='Cityscapes, with gtFine/<split>/<city>/')
    parser.add_argument('--result_dir', type=Path, required=True, help='generated images')
    parser.add_argument('--output_dir', type=Path, required=True, help='where evaluation_results.txt is written')
    parser.add_argument('--caffemodel_dir', type=Path, help=argparse.SUPPRESS)      # of the reference
    parser.add_argument('--network', type=Path, help='TorchScript, ONNX, or a torchvision state dict')
    parser.add_argument('--architecture', default='fcn_resnet50', help='of a state dict, such as deeplabv3_resnet101')
    parser.add_argument('--input', default='imagenet', choices=('imagenet', 'caffe', 'levels'),
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


# ---- the network

def prepared(levels: np.ndarray, how: str) -> np.ndarray:
    """What the network is given: float32 (1, 3, H, W)."""
    image = levels.astype(np.float32)
    if how == 'caffe':
        image = (image - np.float32(CAFFE_MEAN))[:, :, ::-1]
    elif how == 'imagenet':
        image = (image / 255 - np.float32(IMAGENET[0])) / np.float32(IMAGENET[1])
    else:
        image = image / 255
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def load_network(opt):
    """A function from (1, 3, H, W) to scores (19, h, w), all float32 arrays."""
    if opt.network is None:
        raise UserError('no segmentation network given; add --network FILE (TorchScript, ONNX or a torchvision state '
                        'dict; Caffe models must be converted to ONNX)')
    if not opt.network.is_file():
        raise UserError(f'there is no file {opt.network.absolute()}; correct --network')
    if opt.network.suffix == '.onnx':
        return load_onnx(opt)
    import torch
    device = torch.device('cpu')
    if opt.gpu_id >= 0 and torch.accelerator.is_available():
        device = torch.device(torch.accelerator.current_accelerator().type, opt.gpu_id)
    try:
        net = torch.jit.load(str(opt.network), map_location=device)
    except RuntimeError:        # not TorchScript
        net = load_state_dict(opt).to(device)
    net.eval()

    def predict(image):
        with torch.inference_mode():
            scores = net(torch.from_numpy(image).to(device))
        return (scores['out'] if isinstance(scores, dict) else scores)[0].float().cpu().numpy()
    return predict


def load_onnx(opt):
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f'{opt.network} needs onnxruntime; {install_hint("onnxruntime")}')
    session = onnxruntime.InferenceSession(str(opt.network), providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0][0]


def load_state_dict(opt):
    from util.checkpoint import store
    try:
        from torchvision.models import get_model
    except (ImportError, RuntimeError):
        raise UserError(f'a state dict needs torchvision; {install_hint("torchvision")}')
    weights = store.read(opt.network, 'give a TorchScript, ONNX or state dict file with --network')
    extra = any(key.startswith('aux_classifier') for key in weights)
    try:
        net = get_model(opt.architecture, weights=None, weights_backbone=None, num_classes=len(CLASSES), aux_loss=extra)
        net.load_state_dict(weights)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f'{opt.network.absolute()} does not fit --architecture {opt.architecture} of torchvision with '
                        f'{len(CLASSES)} classes: {str(error).splitlines()[0]}')
    return net


def classes_of(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) classes from (19, h, w) scores, which are enlarged bilinearly to `size` (width, height)."""
    if scores.shape[0] != len(CLASSES):
        raise UserError(f'the network of --network returns {scores.shape[0]} classes; {len(CLASSES)} are needed')
    if scores.shape[1:] == size[::-1]:
        return scores.argmax(0)
    planes = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in scores]
    return np.stack([np.asarray(plane) for plane in planes]).argmax(0)


# ---- scores

def evaluate(pairs, predict, how: str, show) -> np.ndarray:
    """(19, 19) pixel counts of all pairs; `show(name, classes, truth)` is given each segmentation."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for label, image in tqdm(pairs, unit='img', disable=None):
        truth = read_truth(label)
        size = truth.shape[::-1]
        classes = classes_of(predict(prepared(read_result(image, size), how)), size)
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
    predict = load_network(opt)
    opt.output_dir.mkdir(parents=True, exist_ok=True)
    show = write_images(opt.output_dir / 'image_outputs') if opt.save_output_images else lambda *_: None
    text = report(evaluate(pairs, predict, opt.input, show))
    with atomic_write(opt.output_dir / 'evaluation_results.txt') as file:
        file.write(text + '\n')
    print(text)


if __name__ == '__main__':
    sys.exit(run(main))
