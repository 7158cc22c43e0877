"""What a step does on a GPU, without one: tensors that have a place and a shape and no numbers.

An operation that mixes devices is an error here, and so is every look at a number (`float(loss)`, `if loss > 1`,
`loss.tolist()`), for which a GPU would be waited for. Gradients are given, since backward needs a real device.
"""
import pytest
import torch
from test_engine import MODELS
from torch import nn
from training import trainer_of

from models import create_model
from util.machine.runtime import Runtime

fake_tensor = pytest.importorskip('torch._subclasses.fake_tensor')

pytestmark = [pytest.mark.skipif(torch.__version__ < (2, 11), reason='pretended convolutions abort PyTorch 2.6; not '
                                                                      'tried between that and 2.11'),
              pytest.mark.filterwarnings('ignore:CUDA is not available', 'ignore:Accessing the data pointer')]
GPU = torch.device('cuda', 0)
CASES = {
    **MODELS,
    'cyclegan, averages': [*MODELS['cyclegan'], '--ema', 0.9, '--lambda_identity', 0],
    'cyclegan, less memory': [*MODELS['cyclegan'], '--grad_checkpoint'],
    'pix2pix, critic': [*MODELS['pix2pix'], '--gan_mode', 'wgangp', '--norm', 'instance'],
    'pix2pix, accumulated': [*MODELS['pix2pix'], '--accumulate', 2],
    'pix2pix, plateau': [*MODELS['pix2pix'], '--lr_policy', 'plateau'],
}


class NeverArrived:
    """An event of a stream that is always behind."""

    def record(self):
        pass

    def query(self) -> bool:
        return False


def moved(net: nn.Module, device, memory_format=None) -> nn.Module:
    """As `net.to(device)`, for tensors of the pretended kind, whose memory PyTorch does not exchange."""
    for module in net.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(torch.empty(parameter.shape, device=device))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=device)
    return net


@pytest.fixture
def pretend(train_options, tmp_path, monkeypatch):
    """pretend('--model', 'pix2pix', ...) -> a model on a GPU that is not there."""
    if torch.cuda.is_available():
        pytest.skip('a GPU is here, and the tests marked gpu use it')
    models = []

    def give_gradients(loss, *_):
        assert loss.device == GPU and loss.requires_grad
        for net in models[-1].nets.values():
            for parameter in net.parameters():
                parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else parameter.grad

    monkeypatch.setattr(nn.Module, 'to', moved)
    monkeypatch.setattr(torch.Tensor, 'backward', give_gradients)
    monkeypatch.setattr(torch.autograd, 'grad', lambda outputs, inputs, *_, **__: (torch.zeros_like(inputs),))
    monkeypatch.setattr(torch.cuda, 'Event', NeverArrived)
    monkeypatch.setattr(torch.cuda, 'get_rng_state', lambda device: torch.zeros(16, dtype=torch.uint8, device='cpu'))

    def build(*argv, precision='tf32'):
        opt = train_options('--dataroot', tmp_path, '--load_size', 32, *argv)
        models.append(create_model(opt, Runtime(GPU, 'pretended', precision)))
        return models[-1]
    with fake_tensor.FakeTensorMode(allow_non_fake_inputs=True):
        yield build


def batch_of(model) -> dict:
    """As the loader gives it: on the host, colours as levels."""
    opt = model.opt
    kind = torch.float32 if opt.model == 'colorization' else torch.uint8
    A, B = (torch.zeros(1, channels, 32, 32, dtype=kind) for channels in (opt.input_nc, opt.output_nc))
    one = {'A': A, 'B': B, 'A_paths': ['a.png'], 'B_paths': ['b.png']}
    return {**one, 'parts': [one] * opt.accumulate} if opt.accumulate > 1 else one


@pytest.mark.sample(6)
@pytest.mark.parametrize('precision', ['fp32', 'tf32', 'bf16'])
@pytest.mark.parametrize('case', CASES)
def test_a_step_waits_for_nothing(case, precision, pretend):
    model = pretend(*CASES[case], precision=precision)
    for _ in range(4):
        trainer_of(model).step(batch_of(model))
    assert {value.device for value in model.losses.values()} == {GPU}
    assert {value.device for net in model.nets.values() for value in net.state_dict().values()} == {GPU}
    assert {value.device for optimizer in model.optimizers.values() for state in optimizer.state.values()
            for value in state.values()} == {GPU}
    assert len(trainer_of(model).guard.arriving) == 4


@pytest.mark.sample(5)
@pytest.mark.parametrize('case', ['cyclegan', 'pix2pix', 'munit'])
@pytest.mark.parametrize('wrong', [lambda loss: float(loss), lambda loss: bool(loss > 1), lambda loss: loss.tolist(),
                                   lambda loss: loss + torch.zeros(1)])
def test_a_step_that_waits_or_mixes_devices_is_found(case, wrong, pretend, monkeypatch):
    model = pretend(*CASES[case])
    monkeypatch.setattr(model, 'note', lambda **terms: [wrong(loss.detach()) for loss in terms.values()])
    with pytest.raises((RuntimeError, fake_tensor.DataDependentOutputException)):
        trainer_of(model).step(batch_of(model))
