"""The trainer: one function makes every update; what wraps it, or how python is started, changes no number."""
import ast
from pathlib import Path

import torch
from training import trainer_of

from models.pix2pix_model import Pix2PixModel
from models.training.optimizer import Update
from util.machine.seeding import seed_everything

ROOT = Path(__file__).resolve().parents[1]


class OlderForm(Pix2PixModel):
    """pix2pix in the form of version 0.1: `optimize_parameters` calls `minimize` for each update."""

    updates = Pix2PixModel.__base__.updates

    def optimize_parameters(self):
        self.minimize(self.loss_D, self.optimizer_D)
        self.minimize(self.loss_G, self.optimizer_G, frozen=(self.netD,))


def images(step: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    A, B = (2 * torch.rand(1, 3, 32, 32, generator=generator) - 1 for _ in 'AB')
    return {'A': A, 'B': B, 'A_paths': [f'{step}.png']}


def weights_after(model, steps: int = 3) -> dict:
    seed_everything(2)
    for step in range(steps):
        trainer_of(model).step(images(step))
    return {f'{name}.{key}': value for name, net in model.nets.items() for key, value in net.state_dict().items()}


def test_a_model_of_version_01_trains_as_one_with_updates(train_options, tmp_path):
    opt = train_options('--dataroot', tmp_path, '--model', 'pix2pix', '--netG', 'unet_32')
    from util.machine.runtime import Runtime
    found = []
    for kind in (Pix2PixModel, OlderForm):
        seed_everything(1)
        found.append(weights_after(kind(opt, Runtime(torch.device('cpu'), 'cpu'))))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_updates_are_made_in_their_order_with_frozen_networks_constant(train_options, build_model, tmp_path):
    opt = train_options('--dataroot', tmp_path, '--model', 'pix2pix', '--netG', 'unet_32')
    model, seen = build_model(opt), []

    def watched(update):
        def loss():
            trained = {name for name, net in model.nets.items() if all(p.requires_grad for p in net.parameters())}
            seen.append((update.loss.__name__, trained))
            return update.loss()
        return Update(update.optimizer, loss, update.frozen)
    updates = [watched(update) for update in model.updates()]
    model.updates = lambda: updates
    trainer_of(model).step(images(0))
    assert seen == [('loss_D', {'G', 'D'}), ('loss_G', {'G'})]
    assert all(p.requires_grad for net in model.nets.values() for p in net.parameters())


def test_no_assert_does_any_work():
    """`python -O` removes asserts: the programs have none."""
    folders = (ROOT / name for name in ('data', 'models', 'options', 'util'))
    files = [ROOT / 'train.py', ROOT / 'test.py', *(path for folder in folders for path in folder.rglob('*.py'))]
    found = [(path, node.lineno) for path in files for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
             if isinstance(node, ast.Assert)]
    assert len(files) > 100 and found == []
