"""A step that fails before its first update leaves no trace, for every model."""
from dataclasses import replace

import pytest
import torch
from test_preview import MODELS, begin_training, equal
from training import state_of, trainer_of

from models.experimental.graph import DevicePool
from models.training.guard import BadStep
from models.training.progress import Progress
from models.training.trainer import Trainer
from models.training.undo import StepUndo
from util.image_pool import ImagePool


@pytest.fixture
def training(train_options, build_model, roots):
    """training('pix2pix') -> a model after two steps, and another batch."""
    def begin(name):
        _, model, batches = begin_training(name, train_options, build_model, roots, steps=2)
        return model, next(batches)
    return begin


def fail_at(monkeypatch, update: int):
    """Raise an error in the n-th update of a step, after its loss has been computed."""
    backward, count = Trainer.backward, [0]

    def failing(trainer, one, accumulate):
        def loss():
            count[0] += 1
            found = one.loss()
            if count[0] == update:
                raise KeyError
            return found
        return backward(trainer, replace(one, loss=loss), accumulate)
    monkeypatch.setattr(Trainer, 'backward', failing)


@pytest.mark.sample(4)
@pytest.mark.parametrize('name', MODELS)
def test_a_step_is_undone(name, training, monkeypatch):
    """The state is that before it, and the next step gives what it would have given."""
    model, batch = training(name)
    before = state_of(model).snapshot(Progress())
    with monkeypatch.context() as patch:
        fail_at(patch, 1)
        with pytest.raises(KeyError):
            trainer_of(model).step(batch)
    assert trainer_of(model).undo_step() and equal(state_of(model).snapshot(Progress()), before)
    trainer_of(model).step(batch)
    again, batch = training(name)
    trainer_of(again).step(batch)
    assert equal(state_of(model).snapshot(Progress()), state_of(again).snapshot(Progress()))


@pytest.mark.parametrize('name', ['pix2pix', 'cyclegan'])
def test_an_update_that_was_made_is_not_undone(name, training, monkeypatch):
    model, batch = training(name)
    fail_at(monkeypatch, 2)
    with pytest.raises(KeyError):
        trainer_of(model).step(batch)
    state = state_of(model).snapshot(Progress())
    assert not trainer_of(model).undo_step() and equal(state_of(model).snapshot(Progress()), state)


def test_between_two_steps_nothing_is_undone(training):
    model, _ = training('pix2pix')
    torch.rand(1)
    before = state_of(model).snapshot(Progress())
    assert trainer_of(model).undo_step() and equal(state_of(model).snapshot(Progress()), before)


def test_statistics_recover_from_a_step_that_spoils_them(training):
    """Without an update, but with numbers that are not finite in its forward pass."""
    model, batch = training('pix2pix')
    before = [buffer.clone() for net in model.nets.values() for buffer in net.buffers()]
    good = batch['A']
    batch['A'] = torch.full(good.shape, float('nan'))
    with pytest.raises(BadStep):
        trainer_of(model).step(batch)
    assert not all(buffer.isfinite().all() for buffer in model.netG.buffers())
    trainer_of(model).undo.restore_statistics()
    assert all(map(torch.equal, before, [buffer for net in model.nets.values() for buffer in net.buffers()]))
    trainer_of(model).step({**batch, 'A': good})


def test_a_gpu_that_tells_later_has_the_statistics_of_that_step(training):
    model, _ = training('pix2pix')
    undo = StepUndo(model)
    undo.most = 4
    buffer, seen = next(model.netG.buffers()), []
    for step in range(9):
        buffer.fill_(step)
        undo.begin_step()
        seen.append(len(undo.copies))
    assert seen == [1, 2, 3, 4, 4, 4, 4, 4, 4]
    for steps_ago, expected in ((0, 8), (2, 6), (3, 5), (20, 5)):
        undo.restore_statistics(steps_ago)
        assert (buffer == expected).all()


def test_the_draws_of_a_pool_are_undone():
    pool = DevicePool(ImagePool(4))
    pool.draw(3)
    pool.query(torch.zeros(3, 1, 2, 2))
    pool.draw(1)
    assert pool.filled == 4
    pool.undo_draw()
    assert pool.filled == 3 and len(pool.images) == 3
