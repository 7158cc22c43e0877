"""Every Python example of docs/translate.md runs as it is written, and the programs accept every command."""
import re
import shlex
import sys

import numpy as np
import pytest
from PIL import Image
from test_cli_train import ROOT
from test_tiles import network, save

sys.path.insert(0, str(ROOT / 'scripts'))
import demo
import export
import translate

PAGE = (ROOT / 'docs' / 'translate.md').read_text(encoding='utf-8')
EXAMPLES = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
COMMANDS = [line.partition('#')[0] for block in re.findall(r'```bash\n(.*?)```', PAGE, re.DOTALL)
            for line in block.splitlines() if 'python scripts/' in line]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The files that the examples name."""
    monkeypatch.chdir(tmp_path)
    for folder, names in (('checkpoints/shoes', ('G_A', 'G_B')), ('weights', ('G',))):
        (tmp_path / folder).mkdir(parents=True)
        for name in names:
            save(network('resnet_1blocks', 'instance'), tmp_path / folder, name)
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save('photo.jpg')
    np.save('slide.npy', pixels)
    return tmp_path


@pytest.mark.parametrize('number', range(len(EXAMPLES)))
def test_examples_run(number, place):
    names = {}
    run_example(EXAMPLES[number], names)
    results = {'array': (301, 207, 3), 'tensor': (2, 3, 64, 100), 'out': (70, 90, 3)}
    assert all(names[name].shape == shape for name, shape in results.items() if name in names)
    assert all(names[name].size == (90, 70) for name in ('there', 'back', 'fast', 'result') if name in names)
    assert 'result.png' not in EXAMPLES[number] or Image.open('result.png').size == (90, 70)


def run_example(code: str, names: dict):
    exec(compile(code, 'docs/translate.md', 'exec'), names)


def test_there_are_five_examples_and_many_commands():
    assert len(EXAMPLES) == 5 and len(COMMANDS) >= 12


@pytest.mark.parametrize('command', COMMANDS)
def test_commands_are_accepted(command):
    words = shlex.split(command.rpartition('| ')[2])
    parse = {'scripts/translate.py': translate.parse, 'scripts/export.py': export.parse,
             'scripts/demo.py': demo.parse}[words[1]]
    assert parse(words[2:]).name == 'shoes'
