"""docs/quickstart.ipynb works, and is committed without its outputs."""
import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / 'docs' / 'quickstart.ipynb'


def test_it_is_committed_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
    code = [cell for cell in cells if cell['cell_type'] == 'code']
    assert len(code) > 4 and all(cell['outputs'] == [] and cell['execution_count'] is None for cell in code)
    assert NOTEBOOK.stat().st_size < 20_000


def test_it_trains_and_translates(tmp_path, monkeypatch):
    """With NOTEBOOK_STEPS steps of training, 2 if it is not set; the CI has as many as a reader."""
    nbformat = pytest.importorskip('nbformat', reason='pip install -r requirements-docs.txt')
    client = pytest.importorskip('nbclient', reason='pip install -r requirements-docs.txt')
    pytest.importorskip('ipykernel', reason='pip install -r requirements-docs.txt')
    monkeypatch.setenv('NOTEBOOK_FOLDER', str(tmp_path))
    monkeypatch.setenv('NOTEBOOK_STEPS', os.environ.get('NOTEBOOK_STEPS', '2'))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client.NotebookClient(notebook, timeout=600, kernel_name='python3',
                          resources={'metadata': {'path': str(NOTEBOOK.parent)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    assert not [output for output in outputs if output.output_type == 'error']
    pictures = [output for output in outputs if 'image/png' in output.get('data', {})]
    assert len(pictures) == 2 and (tmp_path / 'checkpoints' / 'notebook' / 'latest_net_G.pth').exists()
