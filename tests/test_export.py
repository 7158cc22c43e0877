"""Exported files give the images of PyTorch, in any size and batch; folders load back; mistakes get a sentence."""
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cli_train import ROOT
from test_tiles import CODES, Fresh, network, save

from models import load_translator
from models.exporting import folder as exporting
from models.exporting import formats
from models.exporting.graphs import Exported
from models.networks import MunitGenerator, init_weights
from models.translation.translator import Translator
from util.cli import run
from util.errors import UserError

sys.path.insert(0, str(ROOT / 'scripts'))
import export

needs_onnx = pytest.mark.skipif(not all(map(importlib.util.find_spec, ('onnx', 'onnxscript', 'onnxruntime'))),
                                reason='onnx, onnxscript or onnxruntime is not installed')
needs_safetensors = pytest.mark.skipif(not importlib.util.find_spec('safetensors'),
                                       reason='safetensors is not installed')
KINDS = {'resnet': ('resnet_1blocks', 'instance', (3, 3)), 'batch': ('resnet_1blocks', 'batch', (1, 3)),
         'unet': ('unet_64', 'batch', (3, 3)), 'encdec': ('encdec_32', 'none', (3, 1)),
         'colors': ('unet_32', 'instance', (1, 2)), 'styles': (), 'codes': ()}
CASES = [*((kind, 'torchscript') for kind in KINDS), ('unet', 'torchexport'), ('styles', 'torchexport'),    # 5 s each
         *(pytest.param(kind, 'onnx', marks=needs_onnx) for kind in ('resnet', 'unet', 'colors', 'styles')),
         *(pytest.param(kind, 'safetensors', marks=needs_safetensors) for kind in KINDS)]
STYLED = dict(ngf=4, style_dim=3, mlp_dim=4, n_res=1)


@pytest.fixture
def trained(tmp_path):
    """trained('resnet') -> a translator of weights without a state file."""
    def build(kind, **options):
        folder = tmp_path / f'{kind}_run'
        folder.mkdir(exist_ok=True)
        if kind == 'codes':
            return Translator(Fresh(kind, **CODES, where_add='all'), **options)
        if kind != 'styles':
            netG, norm, channels = KINDS[kind]
            save(network(netG, norm, channels), folder)
            return load_translator(folder, **options)
        for name in ('G_A', 'G_B'):
            save(init_weights(MunitGenerator(3, 4, 3, 4, n_res=1), 'kaiming'), folder, name)
        return load_translator(folder, **STYLED, **options)
    return build


@pytest.mark.parametrize('kind, form', CASES)
def test_exported_files_give_the_images_of_pytorch(kind, form, trained, tmp_path):
    translate = trained(kind)
    differences = exporting.export(translate, form, tmp_path / 'out')
    styled = kind in ('styles', 'codes') and form != 'safetensors'
    assert len(differences) == 1 + styled and all(0 <= value < 1e-4 for value in differences.values())
    config = json.loads((tmp_path / 'out' / 'config.json').read_text(encoding='utf-8'))
    assert config['size_multiple'] == translate.translation().net.multiple
    assert set(config['inputs']) == ({'image', 'style'} if translate.styled else {'image'})
    assert (tmp_path / 'out' / 'README.md').read_text(encoding='utf-8').startswith('---\n')


@pytest.mark.parametrize('kind, levels', [('batch', False), ('colors', True), ('codes', True)])
@pytest.mark.parametrize('form', ['torchscript', pytest.param('onnx', marks=needs_onnx)])
def test_graphs_load_back(kind, form, levels, trained, tmp_path):
    """Images are those of the run, to a level; there are no tiles, and no other device."""
    translate = trained(kind)
    exporting.export(translate, form, tmp_path / 'out', levels=levels)
    graph = load_translator(tmp_path / 'out')
    nc = translate.translation().channels_in
    photo = np.random.default_rng(0).integers(0, 256, (37, 52, nc), dtype=np.uint8)
    style = {}
    if translate.styled:
        style = {'style': graph.encode_style(photo)}
        assert torch.allclose(style['style'], translate.encode_style(photo), atol=1e-4)
    assert graph.directions == translate.directions and graph(photo, **style).shape == photo.shape[:2] + (3,)
    assert abs(graph(photo, **style).astype(int) - translate(photo, **style)).max() <= 1
    for wrong in ({'tile': 64}, {'direction': 'BtoA'}):
        with pytest.raises(UserError):
            graph(photo, **style, **wrong)
    with pytest.raises(UserError):
        graph.to('meta')
    assert graph(photo, **style).shape == (37, 52, 3)       # still where it was
    (tmp_path / 'out' / exporting.FILES[form]).write_bytes(b'damaged')
    with pytest.raises(UserError):
        load_translator(tmp_path / 'out')


@pytest.mark.parametrize('form', ['torchscript', pytest.param('onnx', marks=needs_onnx)])
def test_a_graph_with_pixels_takes_what_files_hold(form, trained, tmp_path):
    translate = trained('resnet')
    exporting.export(translate, form, tmp_path / 'out', levels=True)
    model = formats.opened(tmp_path / 'out' / exporting.FILES[form])
    image = np.random.default_rng(0).integers(0, 256, (2, 37, 50, 3), dtype=np.uint8)
    found = model(torch.from_numpy(image)).numpy().astype(int)
    expected = np.stack([translate(one) for one in image])
    assert found.shape == expected.shape and abs(found - expected).max() <= 1 and (found == expected).mean() > 0.99


@needs_onnx
def test_an_onnx_file_says_what_goes_in_and_out(trained, tmp_path):
    import onnxruntime
    exporting.export(trained('styles'), 'onnx', tmp_path / 'out')
    session = onnxruntime.InferenceSession(str(tmp_path / 'out' / 'model.onnx'))
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    assert shapes == {'image': ['batch', 3, 'height', 'width'], 'style': ['batch', 3],
                      'translation': ['batch', 3, 'height', 'width']}
    config = json.loads(session.get_modelmeta().custom_metadata_map['config'])
    assert config['size_multiple'] == 4 and config['normalization'] == 'image = levels / 127.5 - 1'


@pytest.mark.slow
def test_half_precision_is_half_the_file(trained, tmp_path):
    translate = trained('resnet')
    sizes = []
    for half in (False, True):
        difference, = exporting.export(translate, 'torchexport', tmp_path / str(half), half=half).values()
        assert difference < exporting.tolerance(half, False)
        sizes.append(sum(value.numel() * value.element_size()
                         for value in torch.export.load(tmp_path / str(half) / 'model.pt2').state_dict.values()))
    assert sizes[1] == sizes[0] / 2


def test_exporting_changes_nothing_of_the_translator(trained, tmp_path):
    translate = trained('unet')
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    before, noise = translate(image, name='a'), torch.get_rng_state()
    exporting.export(translate, 'torchscript', tmp_path / 'out', half=True)
    assert np.array_equal(translate(image, name='a'), before) and torch.equal(torch.get_rng_state(), noise)


@pytest.mark.parametrize('evaluate', [False, True])
def test_batch_norms_are_those_of_the_translator_and_dropout_is_off(evaluate, trained, tmp_path):
    """With the statistics of each image a batch is like single images; with running ones, other images come out."""
    translate = trained('unet', evaluate=evaluate)
    exported = Exported(translate.translation())
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        both = exported(images)
        assert torch.allclose(both[:1], exported(images[:1]), atol=1e-5)
        assert torch.equal(both, exported(images)), 'no noise'
        running = load_translator(tmp_path / 'unet_run', evaluate=True)
        assert torch.allclose(both, running(images), atol=1e-4) == evaluate


# ---- the command

def call(*words) -> int:
    return run(export.main, [str(word) for word in words])


@pytest.fixture
def run_folder(trained, tmp_path) -> list:
    trained('resnet')
    return ['resnet_run', '--checkpoints_dir', tmp_path]


@needs_safetensors
def test_a_folder_loads_back_and_by_torch_hub(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*run_folder, '--format', 'safetensors') == 0
    folder = tmp_path / 'exports' / 'resnet_run_safetensors'
    assert {path.name for path in folder.iterdir()} == {'model.safetensors', 'config.json', 'README.md'}
    image = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    expected = load_translator(tmp_path / 'resnet_run')(image)
    assert np.array_equal(load_translator(folder)(image), expected)
    hub = torch.hub.load(str(ROOT), 'translator', str(folder), source='local')
    assert np.array_equal(hub(image), expected)


def test_a_difference_is_exit_code_1(run_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(formats, 'opened', lambda path: lambda image: torch.zeros_like(image))
    assert call(*run_folder, '--format', 'torchscript', '--output', tmp_path / 'out') == 1
    assert capsys.readouterr().err.count('error: ') == 1


@pytest.mark.parametrize('words', [
    ['nothing', '--format', 'torchscript'], ['resnet_run', '--format', 'torchscript', '--epoch', '9'],
    ['resnet_run', '--format', 'torchscript', '--direction', 'BtoA'],
    ['resnet_run', '--format', 'safetensors', '--with_pre_post'],
    ['resnet_run', '--format', 'torchscript', '--output', 'other']])
def test_mistakes_get_a_sentence(words, run_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'other').mkdir()
    assert call(*words, '--checkpoints_dir', tmp_path) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith('error: ')
    assert not list((tmp_path / 'other').iterdir()) and not list(Path('exports').glob('*'))


def test_an_export_is_replaced_only_if_asked(run_folder, tmp_path):
    words = [*run_folder, '--format', 'torchscript', '--output', tmp_path / 'out']
    assert [call(*words), call(*words), call(*words, '--overwrite')] == [0, 2, 0]


def test_only_our_own_exports_are_replaced(run_folder, tmp_path, capsys):
    """Not a folder of the user, a model of another program, or an export with files that the user added."""
    others = {'photos': {'a.png': 'x'}, 'hub': {'config.json': '{"model_type": "other"}'},
              'list': {'config.json': '[]'},
              'empty': {}, 'file': None}
    for name, content in others.items():
        if content is None:
            (tmp_path / name).write_text('mine')
            continue
        (tmp_path / name).mkdir()
        for file, text in content.items():
            (tmp_path / name / file).write_text(text)
    for name, content in others.items():
        words = [*run_folder, '--format', 'torchscript', '--output', tmp_path / name, '--overwrite']
        assert call(*words) == 2, name
        assert capsys.readouterr().err.count('error: ') == 1
        assert (tmp_path / name).is_file() or {path.name for path in (tmp_path / name).iterdir()} == content.keys()


def test_a_missing_library_is_named_with_its_command(run_folder, tmp_path):
    script = f'''import sys; sys.modules['onnx'] = None; sys.argv = ['export.py']
sys.path[:0] = [{str(ROOT / 'scripts')!r}, {str(ROOT)!r}]
import export; from util.cli import run
from util.errors import UserError
sys.exit(run(export.main, {[*map(str, run_folder), '--format', 'onnx', '--output', str(tmp_path / 'out')]!r}))'''
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and 'pip install onnx onnxscript onnxruntime' in done.stderr
    assert not (tmp_path / 'out').exists()
