"""GPUs that are not CUDA's, such as Apple's: what can be tested without one. Training on one was never run."""
from types import SimpleNamespace

import pytest
import torch

from data import create_dataset, create_loader
from options import TrainOptions
from util.errors import UserError
from util.machine import runtime, seeding
from util.machine.memory import peak_memory, pins_memory
from util.machine.runtime import choose_device, choose_precision, default_threads

MPS = torch.device('mps')


@pytest.fixture
def apple(monkeypatch):
    """PyTorch finds an Apple GPU; `state` is that of its random generator."""
    module = SimpleNamespace(is_available=lambda: True, state=torch.ones(3), get_rng_state=lambda *_: module.state,
                             set_rng_state=lambda state, *_: setattr(module, 'state', state))
    monkeypatch.setattr(torch, 'get_device_module', lambda device: module)
    monkeypatch.setattr(torch.accelerator, 'is_available', lambda: True)
    monkeypatch.setattr(torch.accelerator, 'current_accelerator', lambda: MPS)
    monkeypatch.setattr(torch.mps, 'driver_allocated_memory', lambda: 5)
    return module


@pytest.mark.parametrize('flag', ['--device', '--gpu_ids'])
def test_a_device_is_named(flag, apple, unaligned_root, tmp_path):
    opt = TrainOptions().parse(['--dataroot', str(unaligned_root), flag, 'mps', '--checkpoints_dir', str(tmp_path)])
    assert opt.gpu_ids == 'mps'
    assert choose_device(opt.gpu_ids, True)[0] == MPS


@pytest.mark.parametrize('name', ['mps', 'xpu', 'xpu:1'])
def test_a_device_that_is_not_here(name):
    with pytest.raises(UserError, match=name):
        choose_device(name, True)


def test_one_process_only(apple, monkeypatch):
    monkeypatch.setattr(runtime.launch, 'world_size', lambda: 2)
    with pytest.raises(UserError, match='CUDA'):
        choose_device('mps', True)


def test_what_the_device_cannot_do_is_not_asked_of_it(apple, train_options, roots):
    assert choose_precision('auto', MPS) == choose_precision('tf32', MPS) == 'fp32'
    assert choose_precision('bf16', MPS) == 'bf16'
    assert default_threads(MPS) == 0 and peak_memory(MPS) == 5
    assert not pins_memory(MPS) and pins_memory(torch.device('cuda'))
    opt = train_options('--dataroot', roots['aligned'], '--model', 'pix2pix', '--netG', 'unet_32', '--loader', 'stream')
    assert not create_loader(create_dataset(opt), opt, device='mps').pin_memory


def test_its_random_numbers_are_resumed(apple):
    saved = seeding.rng_state()
    apple.state = torch.zeros(3)
    seeding.restore_rng_state(saved)
    assert apple.state.tolist() == [1, 1, 1]
    seeding.restore_rng_state({**saved, 'other': None})
    del saved['other']
    seeding.restore_rng_state(saved)        # of an older version
