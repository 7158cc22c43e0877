"""Losses and gradients that are not finite: found before they reach the weights, and what follows."""
import copy
import math

import pytest
import torch

from models.training import guard
from models.training.guard import BadStep, FiniteGuard


class Run:
    """A network of one weight and its optimizer."""

    def __init__(self, fused=False):
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.optimizer = torch.optim.Adam([self.weight], lr=0.1, fused=fused)

    def backward(self, factor):
        self.optimizer.zero_grad()
        value = (self.weight * factor).sum()
        value.backward()
        return value


@pytest.mark.parametrize('factor', [math.nan, math.inf, -math.inf])
def test_a_bad_loss_is_found_before_the_update(factor):
    run, watch, batch = Run(), FiniteGuard(), {'A_paths': ['a.png']}
    watch.begin(batch)
    with pytest.raises(BadStep, match='loss G is') as error:
        watch.check(run.backward(factor), {'G': torch.tensor(factor), 'D': torch.tensor(1.0)}, run.optimizer)
    assert error.value.batch is batch and error.value.losses['D'] == 1 and error.value.exit_code == 3
    assert watch.updates == 0


def test_a_bad_gradient_of_a_good_loss_is_found():
    run, watch = Run(), FiniteGuard()
    watch.begin({})
    value = run.backward(1.0)
    run.weight.grad[1] = math.nan
    with pytest.raises(BadStep, match='a gradient is not finite'):
        watch.check(value, {'G': value.detach()}, run.optimizer)


def test_good_steps_pass():
    run, watch = Run(), FiniteGuard()
    for _ in range(3):
        watch.begin({})
        watch.check(run.backward(1e30), {}, run.optimizer)
        assert watch.updates == 1
        watch.end({})
        assert watch.updates == 0


def test_a_network_without_gradients_passes():
    watch, optimizer = FiniteGuard(), torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
    watch.begin({})
    watch.check(torch.tensor(1.0), {}, optimizer)


@pytest.mark.parametrize('bad', [0.0, 1.0])
def test_a_fused_adam_makes_no_update_where_the_flag_is_set(bad):
    """What a GPU relies on: the flag travels with the update, nobody waits for it."""
    run = Run(fused=True)
    run.backward(1.0)
    run.optimizer.found_inf = torch.tensor(bad)
    before = copy.deepcopy(run.weight.data)
    run.optimizer.step()
    assert torch.equal(run.weight.data, before) is bool(bad)
    steps = [float(state['step']) for state in run.optimizer.state.values()]
    assert steps == [1 - bad]


class LateEvent:
    """An event of a GPU that has happened when it is asked the n-th time, or waited for."""

    def __init__(self, answers):
        self.answers = answers

    def query(self):
        self.answers -= 1
        return self.answers < 0

    def synchronize(self):
        self.answers = 0


def test_answers_of_a_gpu_are_read_when_they_arrive():
    watch = FiniteGuard()
    bad = {'A_paths': ['bad.png']}
    watch.arriving.append((torch.tensor([False, True]), LateEvent(2), {'G': torch.tensor(math.nan)}, bad))
    watch.begin({})
    watch.begin({})
    with pytest.raises(BadStep, match='loss G is nan') as error:
        watch.begin({})
    assert error.value.batch is bad and error.value.steps_ago == 1


def test_answers_of_a_gpu_are_waited_for_when_too_many_are_missing():
    watch = FiniteGuard()
    for _ in range(guard.STEPS_BEHIND + 1):
        watch.arriving.append((torch.tensor([True]), LateEvent(10**9), {}, {}))
    with pytest.raises(BadStep):
        watch.begin({})
