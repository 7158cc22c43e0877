"""scripts/export.py --format web: the page translates pictures in a browser, from a disk, as the translator does."""
import base64
import importlib.util
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, require
from PIL import Image
from test_cli_train import ROOT
from test_tiles import network, save

from models import load_translator
from models.exporting import folder, web
from models.networks import MunitGenerator, init_weights
from util.cli import run
from util.errors import UserError

sys.path.insert(0, str(ROOT / 'scripts'))
import export

needs_onnx = pytest.mark.skipif(not all(map(importlib.util.find_spec, ('onnx', 'onnxscript', 'onnxruntime'))),
                                reason='onnx, onnxscript or onnxruntime is not installed')


@pytest.fixture(scope='module')
def archive() -> Path:
    """The npm package that an export has left in the user's cache; nothing is downloaded for a test."""
    require()
    cached = Path.home() / '.cache' / 'pixmorph' / f'{web.PACKAGE}-{web.VERSION}.tgz'
    if not cached.exists():
        pytest.skip(f'{cached} does not exist; scripts/export.py --format web fetches it')
    return cached


def page_of(folder: Path, archive: Path, *nets) -> Path:
    run_folder = folder / 'run'
    run_folder.mkdir()
    for name, net in zip(('G',) if len(nets) == 1 else ('G_A', 'G_B'), nets, strict=True):
        save(net, run_folder, name)
    words = ['run', '--checkpoints_dir', folder, '--format', 'web', '--output', folder / 'page', '--runtime', archive]
    assert run(export.main, [str(word) for word in words]) == 0
    return folder / 'page' / 'index.html'


def give(page, name: str, content: bytes):
    """Choose a file, as a person does with the button."""
    text = base64.b64encode(content).decode()
    page.eval(f'''(() => {{
        const data = Uint8Array.from(atob("{text}"), (letter) => letter.charCodeAt(0));
        const files = new DataTransfer();
        files.items.add(new File([data], {json.dumps(name)}));
        const input = document.querySelector("#file");
        input.files = files.files;
        input.dispatchEvent(new Event("change"));
    }})()''')


def status(page) -> str:
    return page.eval('document.querySelector("#status").textContent')


def result(page) -> np.ndarray:
    address = page.eval('document.querySelector("#after").toDataURL("image/png")')
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(',')[2]))).convert('RGB')).astype(int)


def as_png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG')
    return file.getvalue()


@needs_onnx
def test_a_page_translates_a_picture(archive, tmp_path):
    index = page_of(tmp_path, archive, network('resnet_1blocks', 'instance'))
    assert json.loads((tmp_path / 'page' / 'config.json').read_text(encoding='utf-8'))['file_format'] == 'web'
    assert 'Open index.html' in (tmp_path / 'page' / 'README.md').read_text(encoding='utf-8')
    pixels = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    with Browser(tmp_path) as page:
        page.open(index)
        page.wait('document.querySelector("#status").textContent.startsWith("Ready")')
        give(page, 'broken.png', b'no picture')
        page.wait('document.querySelector("#status").textContent.includes("broken.png")')
        give(page, 'photo.png', as_png(pixels))
        page.wait('document.querySelector("#status").textContent.startsWith("70 x 45")')
        difference = abs(result(page) - load_translator(tmp_path / 'run')(pixels).astype(int))
        assert difference.max() <= 1 and (difference == 0).mean() > 0.98
        page.open(index)
        give(page, 'early.png', as_png(pixels[:40]))     # before the model is ready
        page.wait('document.querySelector("#status").textContent.startsWith("70 x 40")')
        page.eval('document.querySelector("#slider").value = 20; '
                  'document.querySelector("#slider").dispatchEvent(new Event("input"))')
        assert '80%' in page.eval('document.querySelector("#before").style.clipPath')
        assert page.eval('document.querySelector("#restyle").hidden') and page.errors == []


@needs_onnx
@pytest.mark.slow
def test_a_page_draws_styles(archive, tmp_path):
    nets = [init_weights(MunitGenerator(3, 4, 3, 4, n_res=1), 'kaiming') for _ in 'AB']
    index = page_of(tmp_path, archive, *nets)
    with Browser(tmp_path) as page:
        page.open(index)
        page.wait('document.querySelector("#status").textContent.startsWith("Ready")')
        give(page, 'photo.png', as_png(np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)))
        page.wait('document.querySelector("#status").textContent.startsWith("40 x 32")')
        first = result(page)
        page.eval('document.querySelector("#status").textContent = ""')
        page.click('#restyle')
        page.wait('document.querySelector("#status").textContent.startsWith("40 x 32")')
        assert abs(result(page) - first).max() > 1 and page.errors == []


def test_a_missing_runtime_is_said_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(UserError, match=f'npm pack {web.PACKAGE}@{web.VERSION}'):
        web.cached_archive()
    (tmp_path / 'wrong.tgz').write_bytes(b'no archive')
    with pytest.raises(UserError, match='npm pack'):
        web.runtime_files(tmp_path / 'wrong.tgz')


def test_a_wrong_runtime_is_found_before_the_graph_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, 'export', lambda *_, **__: pytest.fail('the graph was written'))
    monkeypatch.setattr(folder.formats, 'optional', lambda *_: None)
    save(network('resnet_1blocks', 'instance'), tmp_path, 'G')
    with pytest.raises(UserError, match='npm pack'):
        folder.export_page(load_translator(tmp_path), tmp_path / 'page', archive=tmp_path / 'nothing.tgz')
