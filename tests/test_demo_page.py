"""scripts/demo.py: the page gives what the translator gives, and a sentence for what is no picture."""
import base64
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, require, wait_for
from PIL import Image
from test_cli_train import ROOT
from test_tiles import network, save

from models import load_translator
from models.networks import MunitGenerator, init_weights
from util.cli import run
from util.errors import UserError

sys.path.insert(0, str(ROOT / 'scripts'))
import demo


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / 'photo.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def two_way(tmp_path) -> Path:
    folder = tmp_path / 'shoes'
    folder.mkdir()
    for name in ('G_A', 'G_B'):
        save(network('resnet_1blocks', 'instance'), folder, name)
    return folder


def test_results_are_those_of_the_translator(two_way, photo, tmp_path):
    translate = load_translator(two_way)
    page = demo.Demo(translate, 10**6, tmp_path)
    found = []
    for direction in translate.directions:
        (before, after), file = page.translate(str(photo), direction, 10, None)
        expected = np.asarray(translate(Image.open(photo), direction=direction))
        assert np.array_equal(np.asarray(Image.open(file)), expected) and Path(file).name == 'photo.png'
        assert np.array_equal(np.asarray(after), expected) and np.array_equal(np.asarray(before), Image.open(photo))
        found.append(expected)
    assert not np.array_equal(*found)


def test_styles_are_random_or_of_a_picture(photo, tmp_path):
    folder = tmp_path / 'styled'
    folder.mkdir()
    for name in ('G_A', 'G_B'):
        save(init_weights(MunitGenerator(3, 2, 3, 4, n_res=1), 'kaiming'), folder, name)
    page = demo.Demo(load_translator(folder), 10**6, tmp_path)
    results = [np.asarray(page.translate(str(photo), 'AtoB', *style)[0][1]) for style in
               ((1, None), (1, None), (2, None), (1, str(photo)))]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2]) and not np.array_equal(results[0], results[3])


def test_bad_and_huge_pictures_are_refused(two_way, photo, tmp_path):
    page = demo.Demo(load_translator(two_way), 1000, tmp_path)
    (tmp_path / 'text.png').write_text('no picture', encoding='utf-8')
    for name in ('text.png', 'photo.png', 'missing.png'):
        with pytest.raises(UserError, match=name):
            page.translate(str(tmp_path / name), 'AtoB', 10, None)


def test_without_gradio_its_command_is_named(two_way, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    assert run(demo.main, [str(two_way), '--device', 'cpu']) == 2
    assert 'pip install gradio' in capsys.readouterr().err


def give(page, name: str, content: bytes):
    """Choose a file, as a person does with the dialog."""
    page.eval(f'''(() => {{
        const data = Uint8Array.from(atob("{base64.b64encode(content).decode()}"), (letter) => letter.charCodeAt(0));
        const files = new DataTransfer();
        files.items.add(new File([data], {json.dumps(name)}));
        const input = document.querySelector("#picture input[type=file]");
        input.files = files.files;
        input.dispatchEvent(new Event("change", {{bubbles: true}}));
    }})()''')


@pytest.mark.slow
def test_the_page_in_a_browser(two_way, photo, tmp_path, monkeypatch):
    require()
    pytest.importorskip('gradio')
    opened, saved = [], tmp_path / 'saved'

    def visit():
        with Browser(tmp_path) as page:
            page.open(opened[0])
            page.wait('document.querySelector("#picture input[type=file]") !== null')
            give(page, 'broken.png', b'no picture')
            page.wait('document.body.innerText.includes("broken.png")')
            page.wait('document.body.innerText.includes("cannot read the image broken.png")')
            page.eval('document.querySelector("#picture button[aria-label*=emove], #picture button[aria-label=Clear]")'
                      '.click()')
            page.wait('document.querySelector("#picture input[type=file]") !== null')
            give(page, 'photo.png', photo.read_bytes())
            page.wait('document.querySelectorAll("#both img").length >= 2')
            page.send('Page.setDownloadBehavior', behavior='allow', downloadPath=str(saved))
            page.click('#download')
            wait_for(lambda: (saved / 'photo.png').exists(), 'nothing was downloaded')
            assert page.eval('document.querySelector("#direction") !== null')
        return np.asarray(Image.open(saved / 'photo.png'))
    monkeypatch.setattr(demo, 'say', lambda text: opened.append(text.split()[1]))
    results = []
    monkeypatch.setattr(demo, 'wait', lambda: results.append(visit()))
    assert run(demo.main, [str(two_way), '--device', 'cpu', '--port', '0']) == 0
    assert np.array_equal(results[0], np.asarray(load_translator(two_way)(Image.open(photo))))
