"""docs/options.md is what scripts/make_options_doc.py writes today, and that is complete."""
import importlib.util
import re
from pathlib import Path

import data
import models
from options import TestOptions, TrainOptions

ROOT = Path(__file__).resolve().parents[1]


def load_script():
    spec = importlib.util.spec_from_file_location('make_options_doc', ROOT / 'scripts' / 'make_options_doc.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_up_to_date():
    page = (ROOT / 'docs' / 'options.md').read_text(encoding='utf-8')
    assert page == load_script().document(), 'run: python scripts/make_options_doc.py'


def test_page_has_every_option():
    page = (ROOT / 'docs' / 'options.md').read_text(encoding='utf-8')
    told = set(re.findall(r'^\| `(--\w+)`', page, re.MULTILINE))
    lines = [f'--{registry.option} {name}' for registry in (models.registry, data.registry)
             for name in registry.names()]
    for program in (TrainOptions, TestOptions):
        for line in lines:
            actions = program().build_parser(line.split())._actions
            assert {action.option_strings[0] for action in actions} - told == {'-h'}


def test_tables_are_well_formed():
    page = (ROOT / 'docs' / 'options.md').read_text(encoding='utf-8')
    rows = [line for line in page.splitlines() if line.startswith('|')]
    assert len(rows) > 100 and {line.count('|') for line in rows} <= {3, 4}


def test_defaults_of_a_model_are_told():
    page = (ROOT / 'docs' / 'options.md').read_text(encoding='utf-8')
    pix2pix = page.partition('### `--model pix2pix`')[2].partition('\n### ')[0]
    for row in ('| `--netG` | `unet_256` | `unet_256` |', '| `--pool_size` | `0` |  |', '| `--lambda_L1` | `100.0` |'):
        assert row in pix2pix
    assert '| `--load_size` | `286` (test.py: as `--crop_size`) |' in page
