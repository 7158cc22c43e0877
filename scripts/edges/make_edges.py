"""Make edges2photos pairs from photos: edges (A, black on white) left, the photo (B) right, as for edges2shoes.

    python scripts/edges/make_edges.py --images_dir ./photos --output_dir ./datasets/edges2mine/train
    python scripts/edges/make_edges.py --images_dir ./photos --output_dir ./datasets/edges2mine/train --detector hed \\
        --prototxt deploy.prototxt --caffemodel hed_pretrained_bsds.caffemodel

The edges of the public datasets are HED (Xie and Tu 2015), thinned, without small parts. Its network is a file of
yours: the published Caffe model (OpenCV 4 reads it; OpenCV 5 does not), or a conversion to ONNX. Without one,
--detector canny finds edges by gradients: finer and noisier than HED, so a model trained on one does not fit the other.
"""
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'datasets')]

import numpy as np
from combine_A_and_B import side_by_side
from PIL import Image
from tqdm import tqdm

from data.image_folder import list_images, read_image
from util.cli import Parser, run
from util.errors import UserError
from util.files import save_picture

HED_MEAN = (104.00698793, 116.66876762, 122.67891434)   # BGR
BORDER = 128            # reflected around the image, because HED invents edges at its border
OPENCV = 'install it with `pip install "opencv-python-headless<5"`'


def parse(argv):
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument('--images_dir', type=Path, required=True, help='the photos')
    parser.add_argument('--output_dir', type=Path, required=True, help='where the pairs are written')
    parser.add_argument('--detector', default='canny', choices=('canny', 'hed'), help='how edges are found')
    parser.add_argument('--caffemodel', type=Path, help='weights of HED: .caffemodel, or a whole network as .onnx')
    parser.add_argument('--prototxt', type=Path, help='layers of HED, for a .caffemodel')
    parser.add_argument('--size', type=int, default=256, help='side of the square images of a pair')
    parser.add_argument('--threshold', type=float, default=25 / 255, help='smallest strength of an HED edge, 0 to 1')
    parser.add_argument('--sigma', type=float, default=2.0, help='blur before --detector canny; more gives fewer edges')
    parser.add_argument('--small_edge', type=int, default=5, help='drop edges of fewer pixels')
    parser.add_argument('--edges_only', action='store_true', help='write the edges alone, not pairs')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


# ---- detectors: functions from levels (H, W, 3) to a boolean map of edges

def canny(levels: np.ndarray, sigma: float) -> np.ndarray:
    from skimage.color import rgb2gray
    from skimage.feature import canny
    return canny(rgb2gray(levels), sigma=sigma)


def hed(levels: np.ndarray, strength, threshold: float) -> np.ndarray:
    return strength(levels) > threshold


def load_hed(opt):
    """A function from levels (H, W, 3) to the strength of edges (H, W) in 0..1."""
    needed = [opt.caffemodel] if opt.caffemodel and opt.caffemodel.suffix == '.onnx' else [opt.caffemodel, opt.prototxt]
    if None in needed:
        raise UserError('--detector hed needs --caffemodel FILE and --prototxt FILE, or --caffemodel FILE.onnx; '
                        'without these files use --detector canny')
    missing = [path for path in needed if not path.is_file()]
    if missing:
        raise UserError(f'there is no file {missing[0].absolute()}; correct --caffemodel or --prototxt, or use '
                        f'--detector canny')
    try:
        import cv2
    except ImportError:
        raise UserError(f'--detector hed needs OpenCV; {OPENCV}')
    if len(needed) == 2 and not hasattr(cv2.dnn, 'readNetFromCaffe'):
        raise UserError(f'OpenCV {cv2.__version__} reads no Caffe models; {OPENCV}, or convert the model to ONNX')
    try:
        net = read_caffe(cv2, *needed[::-1]) if len(needed) == 2 else cv2.dnn.readNetFromONNX(str(needed[0]))
    except cv2.error as error:
        raise UserError(f'OpenCV cannot read {needed[0].absolute()} ({str(error).strip().splitlines()[-1]})')
    return partial(strength_of, cv2, net)


def read_caffe(cv2, prototxt: Path, caffemodel: Path):
    class Crop:
        """HED's layer that cuts its first input to the size of the second, in the middle; OpenCV has none like it."""

        def __init__(self, params, blobs):
            """It has no settings."""

        def getMemoryShapes(self, inputs):      # noqa: N802
            image, wanted = inputs
            self.offsets = [(have - want) // 2 for have, want in zip(image[2:], wanted[2:], strict=True)]
            self.size = wanted[2:]
            return [[*image[:2], *self.size]]

        def forward(self, inputs):
            (top, left), (height, width) = self.offsets, self.size
            return [inputs[0][:, :, top:top + height, left:left + width]]
    cv2.dnn_registerLayer('Crop', Crop)
    try:
        return cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))
    finally:
        cv2.dnn_unregisterLayer('Crop')


def strength_of(cv2, net, levels: np.ndarray) -> np.ndarray:
    border = min(BORDER, min(levels.shape[:2]) - 1)
    padded = np.pad(levels, ((border, border), (border, border), (0, 0)), mode='reflect')
    net.setInput(cv2.dnn.blobFromImage(padded[:, :, ::-1].copy(), mean=HED_MEAN))
    edges = np.asarray(net.forward()).reshape(padded.shape[:2])
    return edges[border:-border, border:-border]


# ---- pairs

def edge_image(levels: np.ndarray, detect, small_edge: int) -> Image.Image:
    """Black edges on white, one pixel wide."""
    from skimage.measure import label
    from skimage.morphology import skeletonize
    edges = skeletonize(detect(levels))
    parts = label(edges, connectivity=2)
    kept = edges & (np.bincount(parts.ravel()) >= small_edge)[parts]
    return Image.fromarray(np.where(kept, 0, 255).astype(np.uint8)).convert('RGB')


def main(argv, console):
    opt = parse(argv)
    if opt.output_dir.exists() and opt.images_dir.resolve() == opt.output_dir.resolve():
        raise UserError(f'{opt.output_dir.absolute()} holds the photos; choose another --output_dir')
    paths = list_images(opt.images_dir)
    if opt.detector == 'hed':
        detect = partial(hed, strength=load_hed(opt), threshold=opt.threshold)
    else:
        detect = partial(canny, sigma=opt.sigma)
    for path in tqdm(paths, unit='img', disable=None):
        photo = read_image(path).resize((opt.size, opt.size), Image.Resampling.BICUBIC)
        edges = edge_image(np.asarray(photo), detect, opt.small_edge)
        target = (opt.output_dir / Path(path).relative_to(opt.images_dir)).with_suffix('.jpg')
        save_picture(edges if opt.edges_only else side_by_side(edges, photo), target, quality=100, subsampling=0)
    print(f'wrote {len(paths)} {"edge maps" if opt.edges_only else "pairs"} to {opt.output_dir.absolute()}')


if __name__ == '__main__':
    sys.exit(run(main))
