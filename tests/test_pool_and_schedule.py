"""The history of fakes, learning rates against values worked out by hand, and the counters of a run."""
import math
import random
from collections import Counter

import pytest
import torch

from models.training.progress import Progress
from models.training.schedule import Plateau, lr_multiplier
from options import TrainOptions
from util.image_pool import ImagePool

# ---- ImagePool


def numbered(*numbers):
    """Images (N, 1, 2, 2) that each hold their number."""
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def asked(pool, numbers):
    """What the pool returns for images shown one by one, as numbers."""
    return [int(pool.query(numbered(number))[0, 0, 0, 0]) for number in numbers]


def test_a_full_pool_returns_half_of_the_images_at_once():
    random.seed(0)
    pool = ImagePool(50)
    assert asked(pool, range(50)) == list(range(50))
    returned = asked(pool, range(50, 4050))
    current = [number == shown for number, shown in zip(range(50, 4050), returned, strict=True)]
    assert sum(current) / 4000 == pytest.approx(0.5, abs=0.03)
    assert max(Counter(returned).values()) == 1                     # a returned image has left the pool
    assert all(shown <= number for number, shown in zip(range(50, 4050), returned, strict=True))
    ages = [number - shown for number, shown in zip(range(50, 4050), returned, strict=True) if number != shown]
    assert sum(ages) / len(ages) == pytest.approx(100, rel=0.15)    # 50 slots, each refilled at every 100th query
    assert len(pool.images) == 50


def test_pool_of_size_0_stores_nothing():
    pool, images = ImagePool(0), numbered(1, 2).requires_grad_()
    for _ in range(3):
        assert torch.equal(pool.query(images), images)
    assert pool.images == [] and not pool.query(images).requires_grad


def test_pool_keeps_copies():
    pool, images = ImagePool(2), numbered(1, 2)
    pool.query(images)
    images.fill_(9)
    assert [int(image.mean()) for image in pool.images] == [1, 2]
    random.seed(0)
    images = numbered(*range(10, 50))
    pool.query(images)
    stored = [image.clone() for image in pool.images]
    images.fill_(9)
    assert all(torch.equal(image, old) and image.mean() >= 10 for image, old in zip(pool.images, stored, strict=True))


def test_pool_returns_batches_without_gradients():
    pool, images = ImagePool(3), numbered(*range(8)).requires_grad_()
    shown = pool.query(images)
    assert shown.shape == images.shape and not shown.requires_grad and len(pool.images) == 3
    assert not any(image.requires_grad for image in pool.images)


@pytest.mark.parametrize('size, kept', [(5, [0, 1, 2, 3, 4]), (8, [0, 1, 2, 3, 4]), (2, [0, 1]), (0, [])])
def test_pool_goes_on_from_its_state(size, kept):
    pool, again = ImagePool(5), ImagePool(size)
    asked(pool, range(5))
    again.load_state_dict(pool.state_dict())
    assert [int(image.mean()) for image in again.images] == kept
    if size == 5:
        random.seed(1)
        expected = asked(pool, range(5, 50))
        random.seed(1)
        assert asked(again, range(5, 50)) == expected


# ---- learning rates

@pytest.mark.parametrize('epoch, n_epochs, decay, multiplier', [
    (1, 100, 100, 1), (100, 100, 100, 1), (101, 100, 100, 100 / 101), (150, 100, 100, 51 / 101),
    (200, 100, 100, 1 / 101), (1, 1, 0, 1), (5, 5, 0, 1), (1, 0, 1, 0.5), (1, 0, 3, 0.75), (3, 0, 3, 0.25),
    (2, 1, 1, 0.5)])
def test_linear(epoch, n_epochs, decay, multiplier):
    assert lr_multiplier('linear', epoch, n_epochs, decay, 50) == pytest.approx(multiplier, abs=1e-12)


@pytest.mark.parametrize('epoch, multiplier', [(1, 1), (50, 1), (51, 0.1), (100, 0.1), (101, 0.01), (200, 0.001)])
def test_step(epoch, multiplier):
    assert lr_multiplier('step', epoch, 100, 100, 50) == pytest.approx(multiplier, rel=1e-12)


@pytest.mark.parametrize('iteration, multiplier', [(1, 1), (99_999, 1), (100_000, 0.5), (200_000, 0.25)])
def test_step_by_iterations(iteration, multiplier):
    assert lr_multiplier('step', 7, 100, 100, 100_000, 0.5, iteration) == pytest.approx(multiplier, rel=1e-12)


@pytest.mark.parametrize('epoch, multiplier', [
    (1, 1), (51, math.cos(math.pi / 8) ** 2), (101, 0.5), (151, math.sin(math.pi / 8) ** 2)])
def test_cosine_goes_down_over_all_epochs(epoch, multiplier):
    assert lr_multiplier('cosine', epoch, 100, 100, 50) == pytest.approx(multiplier, abs=1e-9)


def policies():
    parser = TrainOptions().build_parser([])
    choices = next(action.choices for action in parser._actions if action.dest == 'lr_policy')
    return [policy for policy in choices if policy != 'plateau']


@pytest.mark.parametrize('policy', policies())
@pytest.mark.parametrize('n_epochs, decay', [(1, 0), (0, 1), (5, 0), (0, 5), (3, 4), (100, 100), (200, 0)])
def test_no_epoch_is_wasted(policy, n_epochs, decay):
    """No epoch trains with a rate of 0 (as the last one of the reference did), and no rate ever rises."""
    rates = [lr_multiplier(policy, epoch, n_epochs, decay, 50) for epoch in range(1, n_epochs + decay + 1)]
    assert rates[0] == pytest.approx(1 if n_epochs or policy != 'linear' else decay / (decay + 1))
    assert min(rates) > 0 and rates == sorted(rates, reverse=True)


def test_other_policies_are_refused():
    with pytest.raises(ValueError, match='no schedule named warmup'):
        lr_multiplier('warmup', 1, 100, 100, 50)


METRICS = {
    'constant': [1.0] * 40, 'falling': [0.9 ** epoch for epoch in range(40)],
    'too slowly': [0.999 ** epoch for epoch in range(40)], 'zero': [0.0] * 20,
    'noise': [1 + 0.5 * math.sin(7 * epoch) for epoch in range(60)],
    'down and up': [abs(epoch - 15) + 1.0 for epoch in range(50)],
}


@pytest.mark.parametrize('metrics', METRICS)
def test_plateau_is_that_of_torch(metrics):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.2, threshold=0.01, patience=5, eps=0)
    ours, rates = Plateau(), []
    for epoch, metric in enumerate(METRICS[metrics]):
        theirs.step(metric)
        ours.update(metric)
        rates.append(ours.multiplier)
        assert ours.multiplier == pytest.approx(optimizer.param_groups[0]['lr'], rel=1e-12)
        if epoch == 10:     # an interruption changes nothing
            state, ours = ours.state_dict(), Plateau()
            ours.load_state_dict(state)
    assert min(rates) > 0 and (rates[-1] < 1) is (metrics != 'falling')


# ---- Progress

def fired(freq, batches, **start):
    """The counts of images at which `every(freq)` was true."""
    progress, at = Progress(**start), []
    for size in batches:
        progress.advance(size)
        if progress.every(freq):
            at.append(progress.total_iters)
    return at


@pytest.mark.parametrize('freq, batches, at', [
    (3, [1] * 7, [3, 6]), (3, [2] * 5, [4, 6, 10]), (1, [4, 4], [4, 8]), (5, [4, 4, 1, 4], [8, 13]),
    (100, [64] * 4, [128, 256]), (2, [8], [8]), (0, [1] * 5, []), (7, [3, 3], [])])
def test_every_fires_when_a_multiple_is_reached_or_crossed(freq, batches, at):
    assert fired(freq, batches) == at


def test_every_counts_on_after_a_resume():
    first, second = [3] * 4, [3] * 5
    assert fired(7, first) + fired(7, second, total_iters=12) == fired(7, first + second)


def test_counters():
    progress = Progress(epoch_size=5, last_epoch=2)
    for size in (2, 2, 1):
        progress.advance(size)
    assert (progress.epoch_iter, progress.total_iters, progress.iteration) == (5, 5, 3)
    assert progress.finish_epoch() == 1
    assert (progress.epoch, progress.epoch_iter, progress.total_iters) == (2, 0, 5)
    assert not progress.finished
    progress.finish_epoch()
    assert progress.finished


def test_a_run_of_so_many_iterations():
    progress = Progress(epoch_size=10, last_epoch=4, max_iters=6)
    epochs = []
    while not progress.finished:
        epochs.append(progress.schedule_epoch)
        progress.advance(2)
    assert progress.iteration == 6
    assert epochs == [1, 1, 2, 3, 3, 4]     # the schedule of 4 epochs, stretched over 6 iterations


def test_counters_are_saved():
    progress = Progress(epoch=3, epoch_iter=4, total_iters=24, iteration=12, epoch_size=10, last_epoch=9)
    again = Progress(**progress.state_dict())
    assert (again.epoch, again.epoch_iter, again.total_iters, again.iteration) == (3, 4, 24, 12)
