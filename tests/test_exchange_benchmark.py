"""scripts/benchmark.py --exchange: counts equal what processes send, and predictions equal written-out sums."""
import json
import sys

import pytest
import tiny_runs
import torch
from conftest import ROOT

from models import create_model
from options import TrainOptions
from util.machine.distributed import Group
from util.machine.runtime import Runtime

sys.path.insert(0, str(ROOT / 'scripts'))
from bench.processes import counted, measured, predicted, report
from bench.processes.counted import Counts

SIZE = ['--load_size', '36', '--crop_size', '32', '--ngf', '2', '--ndf', '2', '--pool_size', '3']


@pytest.mark.parametrize('model', ['cyclegan', 'pix2pix'])
def test_counted_bytes_are_those_of_the_weights(model, tmp_path):
    """All weights have gradients, and the loss goes with them; batch norms send sums, and pools images."""
    words = [*tiny_runs.MODELS[model], *SIZE][2:]
    side, updates = counted.count_step(model, 2, tmp_path, *words)
    opt = TrainOptions().parse(['--model', model, '--dataroot', str(tmp_path), '--gpu_ids', '-1', *words])
    real = create_model(opt, Runtime(torch.device('cpu'), 'cpu', group=Group()))
    weights = {name.strip('_'): sum(weight.numel() for group in optimizer.param_groups for weight in group['params'])
               for name, optimizer in real.optimizers.items()}
    assert side == 32
    assert {update.name: update.gradient_bytes for update in updates} == {
        name: 4 * (number + 1) for name, number in weights.items()}
    messages = [size for update in updates for size in update.messages]
    if model == 'cyclegan':
        assert messages == 2 * [4 * 3 * 32 * 32]        # fake_A and fake_B for the pools
    assert messages
    assert all(0 < update.backward_flops < update.flops and update.operations > 0 for update in updates)


def test_predictions_are_those_of_the_formula(monkeypatch):
    for name, value in dict(LATENCY=0.5, REACHED=0.5, BUCKET=4, FLOP_RATE=10.0, OPERATION=1.0).items():
        monkeypatch.setattr(predicted, name, value)
    updates = [Counts('D', 4, 20, 10, 1), Counts('G', 8, 80, 60, 1, messages=[2])]
    assert predicted.step_seconds(updates) == 10.0      # 100 FLOPs, against 2 operations
    assert predicted.ring_seconds(8, 4, 2.0) == 0.5 + 1.5 * 8 / (0.5 * 2)
    # of D and of G, each 0.5 s and 1.5 s for each byte, and the message of 2 bytes
    assert predicted.exchange_seconds(updates, 4, 2.0) == (0.5 + 6) + (0.5 + 12) + (0.5 + 3)
    # backward of D takes 1 s and that of G 6 s; the last bucket has 4 bytes
    assert predicted.exchange_seconds(updates, 4, 2.0, overlap=True) == (0.5 + 6) + (0.5 + 6) + (0.5 + 3)
    assert predicted.efficiency(updates, updates, 4, 2.0) == 10 / 32.5
    assert predicted.efficiency(updates, updates, 1, 2.0) == 1


def test_processes_that_are_more_than_cores_share_them():
    assert [measured.predicted_wall(2.0, 0.25, size, 2) for size in (1, 2, 4)] == [2.25, 2.25, 4.25]


def test_the_tables_in_the_documents_are_those_of_the_numbers():
    """Nobody has typed them, or changed an assumption without making them again."""
    results = json.loads((ROOT / 'docs' / 'benchmarks' / 'exchange.json').read_text(encoding='utf-8'))
    document = (ROOT / 'docs' / 'distributed.md').read_text(encoding='utf-8')
    assert report.replaced(document, report.document_block(results)) == document
    assert (ROOT / 'docs' / 'benchmarks' / 'exchange.md').read_text(encoding='utf-8') == report.as_markdown(results)
