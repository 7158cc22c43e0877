"""scripts/eval_cityscapes, scripts/edges and the smoke test: tools that users of the reference know by these paths."""
import importlib.util
import sys
import types

import numpy as np
import pytest
import torch
from conftest import ROOT, draw_images
from PIL import Image

import test as test_program
import train as train_program
from models.metrics.segmentation import prepared
from util.cli import run
from util.console import Console


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evaluation = load(ROOT / 'scripts' / 'eval_cityscapes' / 'evaluate.py')
edges = load(ROOT / 'scripts' / 'edges' / 'make_edges.py')
smoke = load(ROOT / 'scripts' / 'test_before_push.py')


# ---- the FCN score

class NearestColor(torch.nn.Module):
    """Scores of the 19 classes from the color of a pixel, in levels / 255."""

    def __init__(self):
        super().__init__()
        self.register_buffer('colors', torch.tensor([color for _, _, color in evaluation.CLASSES]) / 255)

    def forward(self, image):
        return -(image[:, None] - self.colors[None, :, :, None, None]).square().sum(2)


@pytest.fixture
def city(tmp_path):
    """Two shots of Cityscapes with all 19 classes and unlabeled pixels, painted in the colors of the classes."""
    numbers = [number for _, number, _ in evaluation.CLASSES]
    painted = {number: color for _, number, color in evaluation.CLASSES}
    for shot in range(2):
        blocks = np.array([*numbers, 0] * 2).reshape(5, 8)
        truth = np.roll(blocks, shot, 1).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        label = tmp_path / 'city' / 'gtFine' / 'val' / 'bonn' / f'bonn_00000{shot}_000019_gtFine_labelIds.png'
        result = tmp_path / 'results' / f'bonn_00000{shot}_000019_leftImg8bit.png'
        for path, values in ((label, truth), (result, np.array(
                [[painted.get(number, (1, 2, 3)) for number in row] for row in truth], np.uint8))):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    return tmp_path


@pytest.fixture
def score(city):
    """score(...) -> exit code, and evaluation_results.txt as {name: number}."""
    network = city / 'net.pt'
    torch.jit.save(torch.jit.script(NearestColor()), str(network))

    def evaluate(*more):
        words = ['--cityscapes_dir', city / 'city', '--result_dir', city / 'results', '--output_dir', city / 'scores',
                 '--network', network, '--input', 'levels', '--gpu_id', '-1', *more]
        code = run(evaluation.main, [str(word) for word in words])
        path = city / 'scores' / 'evaluation_results.txt'
        lines = path.read_text('utf-8').splitlines()[:3] if path.exists() else []
        return code, {line.split(':')[0]: float(line.split(':')[1]) for line in lines}
    return evaluate


def test_perfect_images_have_the_score_1(score, city):
    code, scores = score('--save_output_images', '1')
    assert code == 0
    assert scores == {'Mean pixel accuracy': 1, 'Mean class accuracy': 1, 'Mean class IoU': 1}
    assert len(list((city / 'scores' / 'image_outputs').iterdir())) == 4
    lines = (city / 'scores' / 'evaluation_results.txt').read_text('utf-8').splitlines()
    assert len(lines) == 4 + 19 and lines[4].split() == ['road:', 'acc', '=', '1.000000,', 'iou', '=', '1.000000']


def test_a_class_that_is_mistaken_for_another(score, city):
    """All roads look like buildings: 1 of 19 classes is lost, and buildings are found in twice the area."""
    road, building = evaluation.CLASSES[0][2], evaluation.CLASSES[2][2]
    for path in (city / 'results').iterdir():
        levels = np.array(Image.open(path))
        levels[(levels == road).all(2)] = building
        Image.fromarray(levels).save(path)
    _, scores = score()
    assert scores['Mean pixel accuracy'] == pytest.approx(18 / 19, abs=1e-6)
    assert scores['Mean class accuracy'] == pytest.approx(18 / 19, abs=1e-6)
    assert scores['Mean class IoU'] == pytest.approx((17 + 0.5) / 19, abs=1e-6)


def test_results_of_test_py_are_found_by_shot_and_by_number(score, city):
    images = sorted((city / 'results').iterdir())
    for number, path in enumerate(images):
        path.rename(path.with_name(f'{number}_A_fake_B.png' if number else f'{path.stem}_fake_A.png'))
    assert score()[1]['Mean pixel accuracy'] == 1
    next((city / 'results').glob('1_A*')).unlink()
    assert score()[0] == 2


def test_a_state_dict_of_torchvision(score, city):
    segmentation = pytest.importorskip('torchvision.models.segmentation')
    net = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=19)
    torch.save(net.state_dict(), city / 'net.pth')
    words = ['--network', city / 'net.pth', '--architecture', 'lraspp_mobilenet_v3_large']
    code, scores = score(*words)
    assert code == 0 and 0 <= scores['Mean pixel accuracy'] < 1
    assert score('--network', city / 'net.pth', '--architecture', 'fcn_resnet50')[0] == 2
    assert score('--network', city / 'nothing.pt')[0] == 2


def test_the_input_of_a_converted_caffe_network():
    levels = np.zeros((2, 2, 3), np.uint8)
    levels[:, :, 0] = 255
    image = prepared(levels, 'caffe')
    assert image.shape == (1, 3, 2, 2)
    assert image[0, :, 0, 0] == pytest.approx([-72.78044, -83.21195, 255 - 73.45286])


# ---- edges

@pytest.fixture
def photos(tmp_path):
    """A dark square on white, and a noisy image in a sub-folder."""
    levels = np.full((64, 64, 3), 255, np.uint8)
    levels[16:48, 16:48] = 0
    (tmp_path / 'photos').mkdir()
    Image.fromarray(levels).save(tmp_path / 'photos' / 'square.png')
    draw_images(tmp_path / 'photos' / 'more', 1)
    return tmp_path / 'photos'


def make(photos, *more):
    words = ['--images_dir', photos, '--output_dir', photos.parent / 'pairs', '--size', '64', *more]
    return run(edges.main, [str(word) for word in words])


def test_pairs_of_edges_and_photos(photos):
    assert make(photos) == 0
    assert (photos.parent / 'pairs' / 'more' / '0.jpg').exists()
    pair = np.asarray(Image.open(photos.parent / 'pairs' / 'square.jpg')).astype(int)
    assert pair.shape == (64, 128, 3)
    found = pair[:, :64].mean(2) < 128
    border = np.zeros((64, 64), bool)
    border[14:50, 14:50] = True
    border[18:46, 18:46] = False
    assert 4 * 28 <= found.sum() <= 4 * 34 and not (found & ~border).any()
    assert abs(pair[32, 64 + 32]).max() < 30 and pair[2, 64 + 2].min() > 225


def test_hed_through_a_network_file(photos, tmp_path, monkeypatch):
    """OpenCV is replaced by a network that finds a thick line in the middle; it is one pixel wide afterwards."""
    class Net:
        def setInput(self, blob):       # noqa: N802
            self.blob = blob

        def forward(self):
            edges = np.zeros((1, 1, *self.blob.shape[2:]), np.float32)
            middle = self.blob.shape[2] // 2
            edges[:, :, middle - 2:middle + 3] = 0.5
            return edges

    def blob_of(image, mean):
        return (image.astype(np.float32) - mean).transpose(2, 0, 1)[None]
    dnn = types.SimpleNamespace(blobFromImage=blob_of, readNetFromONNX=lambda path: Net())
    monkeypatch.setitem(sys.modules, 'cv2', types.SimpleNamespace(dnn=dnn, error=RuntimeError,
                                                                             __version__='5'))
    (tmp_path / 'hed.onnx').write_bytes(b'')
    assert make(photos, '--detector', 'hed', '--caffemodel', tmp_path / 'hed.onnx', '--edges_only') == 0
    drawn = np.asarray(Image.open(photos.parent / 'pairs' / 'square.jpg')).mean(2) < 128
    assert drawn[32].sum() > 56 and drawn.sum(0).max() == 1
    for name in ('hed.caffemodel', 'deploy.prototxt'):
        (tmp_path / name).write_bytes(b'')
    caffe = ['--caffemodel', tmp_path / 'hed.caffemodel', '--prototxt', tmp_path / 'deploy.prototxt']
    assert make(photos, '--detector', 'hed', *caffe) == 2       # OpenCV 5 reads no Caffe models
    assert make(photos, '--detector', 'hed') == 2


# ---- the smoke test

def test_the_smoke_test_finds_what_is_broken(tmp_path, monkeypatch):
    programs = {'train.py': train_program.main, 'test.py': test_program.main}

    def call(program, words):
        code = run(programs[program], [str(word) for word in words])
        return f'exit code {code}' if code else ''
    monkeypatch.setattr(smoke, 'call', call)
    smoke.draw_all(tmp_path)
    assert smoke.check('template', tmp_path, '-1') == ''
    monkeypatch.setitem(smoke.MODELS, 'template', ('pairs', smoke.SMALL, 'fake_C'))
    assert 'fake_C' in smoke.check('template', tmp_path, '-1')
    monkeypatch.setitem(smoke.MODELS, 'template', ('nothing', smoke.SMALL, 'fake_B'))
    assert 'exit code 2' in smoke.check('template', tmp_path, '-1')


def test_the_smoke_test_knows_every_model(monkeypatch, capsys):
    import models
    assert {*smoke.MODELS, 'test'} == {*models.registry.ours}
    monkeypatch.setattr(smoke, 'check', lambda name, *_: 'broken' if name == 'munit' else '')
    assert smoke.main(['--models', 'cycle_gan', 'pix2pix'], Console()) == 0
    assert smoke.main([], Console()) == 1 and 'FAIL  munit' in capsys.readouterr().out
