"""Engines: what runs a step does not change it; what cannot run becomes eager with one line."""
import random
from contextlib import contextmanager, nullcontext

import pytest
import torch
from training import trainer_of

import models
from models import create_model
from models.experimental.graph import DevicePool, Graphed
from models.training import engine
from models.training.accumulate import tensors_of
from models.training.optimizer import Adam, set_learning_rate
from util.image_pool import ImagePool
from util.machine.runtime import Runtime, start_runtime
from util.machine.seeding import seed_everything

CPU = torch.device('cpu')
MODELS = {
    'cyclegan': ['--model', 'cyclegan', '--netG', 'resnet_1blocks', '--pool_size', 2],
    'bicyclegan': ['--model', 'bicyclegan', '--netG', 'unet_32', '--netD', 'patch16', '--n_blocks_E', 2],
    'pix2pix': ['--model', 'pix2pix', '--netG', 'unet_32', '--no_dropout'],
    'pix2pixhd': ['--model', 'pix2pixhd', '--n_downsample_global', 2, '--n_blocks_global', 1],
    'colorization': ['--model', 'colorization', '--netG', 'unet_32', '--no_dropout'],
    'cut': ['--model', 'cut', '--netG', 'resnet_1blocks', '--netF_nc', 8, '--num_patches', 16],
    'spade': ['--model', 'spade', '--n_ups', 3, '--spade_nc', 4, '--num_scales_D', 1, '--n_layers_D', 2],
    'template': ['--model', 'template', '--netG', 'resnet_1blocks', '--no_dropout'],
    'munit': ['--model', 'munit', '--dataset_mode', 'unaligned', '--num_scales_D', 1, '--n_layers_D', 2, '--n_res', 1,
              '--n_downsample_style', 2, '--style_dim', 4, '--mlp_dim', 8],
}


GRAPHED = [name for name in MODELS
           if 'graph' not in models.registry.declarations(name)['excludes'].get('engine', {})]


def test_every_model_that_trains_is_in_the_table():
    assert MODELS.keys() == set(models.registry.names()) - {'test'}


@pytest.fixture
def built(train_options, tmp_path):
    """built('--model', 'pix2pix', ...) -> a model with weights from seed 1."""
    def build(*argv, runtime=None):
        seed_everything(1)
        return create_model(train_options('--dataroot', tmp_path, '--load_size', 32, *argv),
                            runtime or Runtime(CPU, 'cpu'))
    return build


def batch_of(model, step=0, n=1, side=32):
    generator = torch.Generator().manual_seed(step)
    A, B = (2 * torch.rand(n, channels, side, side, generator=generator) - 1
            for channels in (model.opt.input_nc, model.opt.output_nc))
    return {'A': A, 'B': B, 'A_paths': ['0.png'] * n}


def losses_of(model, steps):
    seed_everything(2)
    rows = []
    for step in range(steps):
        trainer_of(model).step(batch_of(model, step))
        rows.append(model.get_current_losses())
    return rows


# ---- the pool that decides before the step

def shown(pool, images, sizes):
    """What a pool returns over a number of queries, with random draws of its own."""
    random.seed(5)
    found, images = [], iter(images)
    for n in sizes:
        query = torch.stack([next(images) for _ in range(n)])
        pool.draw(n)
        found.append(pool.query(query))
    return torch.cat(found)


@pytest.mark.parametrize('size', [0, 1, 7, 50])
@pytest.mark.parametrize('n', [1, 3])
def test_the_device_pool_is_the_plain_pool(size, n):
    images = torch.randn(500 * n, 2, 3, 3).unbind()
    plain, device = ImagePool(size), DevicePool(ImagePool(size))
    assert torch.equal(shown(plain, images, [n] * 500), shown(device, images, [n] * 500))
    assert len(plain.images) == len(device.images) == min(size, 500 * n)
    assert all(torch.equal(a, b) for a, b in zip(plain.images, device.images, strict=True))


def test_the_device_pool_takes_batches_of_several_sizes_and_gives_its_state():
    images, sizes = torch.randn(300, 1, 2, 2).unbind(), [2, 2, 1, 3] * 30
    plain, first = ImagePool(6), ImagePool(6)
    expected = shown(plain, images, sizes)
    shown(first, images[:4], [4])
    moved = DevicePool(ImagePool(6))
    moved_result = shown(moved, images, sizes)
    assert torch.equal(expected, moved_result)
    loaded = DevicePool(ImagePool(6))
    loaded.load_state_dict(plain.state_dict())
    again = ImagePool(6)
    again.load_state_dict(moved.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again.images, plain.images, strict=True))
    assert [image.shape for image in moved.state_dict()['images']] == [(1, 1, 2, 2)] * 6
    more = torch.randn(40, 1, 2, 2).unbind()
    assert torch.equal(shown(DevicePool(first), more, [1] * 40), shown(first, more, [1] * 40))
    expected = shown(plain, more, [1] * 40)
    assert torch.equal(shown(moved.as_list(), more, [1] * 40), expected)
    assert torch.equal(shown(loaded, more, [1] * 40), expected)


def test_planned_exchanges_need_no_new_memory():
    """A captured graph reads the plan and the pool where they were when it was captured."""
    pool = DevicePool(ImagePool(3))
    shown(pool, torch.randn(5, 1, 2, 2).unbind(), [1] * 5)
    places = pool.storage.data_ptr(), pool.plans[1].data_ptr()
    shown(pool, torch.randn(9, 1, 2, 2).unbind(), [1] * 9)
    assert places == (pool.storage.data_ptr(), pool.plans[1].data_ptr())


# ---- engines on a CPU

@pytest.mark.parametrize('name', ['auto', 'eager'])
def test_auto_is_eager(name, built):
    model = built(*MODELS['pix2pix'], '--engine', name)
    trainer_of(model).step(batch_of(model))
    assert type(trainer_of(model).engine) is engine.Eager


@pytest.mark.parametrize('name', GRAPHED)
def test_a_graph_needs_a_gpu(name, built, capsys):
    rows = {}
    for kind in ('graph', 'eager'):
        model = built(*MODELS[name], '--engine', kind)
        rows[kind] = losses_of(model, 2)
        assert type(trainer_of(model).engine) is engine.Eager
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if '--engine' in line] == [
        'warning: --engine graph does not work here (a CPU has no graphs); using --engine eager']
    assert rows['graph'] == rows['eager']


def test_without_a_compiler_steps_are_eager(built, capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError('no C++ compiler was found\nand more about it')
    monkeypatch.setattr(torch.nn.Module, 'compile', broken)
    model = built(*MODELS['pix2pix'], '--engine', 'compile')
    trainer_of(model).step(batch_of(model))
    assert type(trainer_of(model).engine) is engine.Eager
    err = capsys.readouterr().err
    assert err.count('--engine compile') == 1 and 'no C++ compiler was found' in err


class Backend:
    """A device module whose graphs are python: capturing leaves all state as it was, replaying makes the step again.

    Like a real graph it reads and writes the tensors of the capture, and may draw nothing on the host.
    """

    def __init__(self, model=None):
        self.model = model          # None: nothing can be captured

    def Stream(self):       # noqa: N802
        return self

    current_stream = Stream

    def CUDAGraph(self):    # noqa: N802
        return Backend(self.model)

    def wait_stream(self, other):
        assert other is self

    def synchronize(self):
        pass

    def stream(self, other):
        return nullcontext()

    @contextmanager
    def graph(self, graph, stream):
        if self.model is None:
            raise RuntimeError('operation not permitted when stream is capturing\nand more about it')
        tensors = [(value, value.clone()) for value in self.state()]
        before = random.getstate(), torch.get_rng_state()
        graph.inputs = tensors_of(self.model)
        yield
        assert before[0] == random.getstate() and torch.equal(before[1], torch.get_rng_state())
        graph.results, graph.losses = tensors_of(self.model), dict(self.model.losses)
        with torch.no_grad():
            for value, old in tensors:
                value.copy_(old)

    def state(self):
        model = self.model
        for net in model.nets.values():
            yield from net.state_dict().values()
        for optimizer in model.optimizers.values():
            for entry in optimizer.state.values():
                yield from entry.values()
        for pool in model.pools.values():
            yield pool.storage

    @torch.no_grad()
    def replay(self):
        before = random.getstate(), torch.get_rng_state()
        vars(self.model).update(self.inputs)
        with torch.enable_grad():
            trainer = trainer_of(self.model)
            trainer.work(trainer.whole_batch)
        assert before[0] == random.getstate() and torch.equal(before[1], torch.get_rng_state())
        for name, value in self.results.items():
            value.detach().copy_(getattr(self.model, name))
        for name, value in self.losses.items():
            value.copy_(self.model.losses[name])


@pytest.fixture
def graphed(monkeypatch):
    """graphed(model, works=True) -> the model with the graph engine on that backend."""
    def give(model, works=True):
        monkeypatch.setattr(Adam, 'make_capturable', lambda self: None)     # which needs a GPU
        trainer_of(model).engine = Graphed(trainer_of(model), Backend(model if works else None))
        return model
    return give


@pytest.mark.parametrize('name', GRAPHED)
def test_replayed_steps_are_the_steps_of_eager(name, built, graphed):
    """Images, styles and decisions of the pool reach the graph, and its results and losses the model."""
    eager = built(*MODELS[name])
    expected = losses_of(eager, 8)
    model = graphed(built(*MODELS[name]))
    assert losses_of(model, 8) == expected
    assert len(trainer_of(model).engine.plans) == 1 and trainer_of(model).engine.working
    ours, theirs = model.get_current_visuals(), eager.get_current_visuals()
    assert all(torch.equal(ours[label], theirs[label]) for label in theirs)
    for label, pool in eager.pools.items():
        assert all(torch.equal(a, b) for a, b in zip(pool.images, model.pools[label].images, strict=True))


def test_one_graph_for_each_shape(built, graphed):
    eager, model = built(*MODELS['pix2pix']), graphed(built(*MODELS['pix2pix']))
    for step in range(12):
        for each in (eager, model):
            trainer_of(each).step(batch_of(each, step, n=1 + step % 2 + step // 11))
        assert model.get_current_losses() == eager.get_current_losses()
    assert len(trainer_of(model).engine.plans) == 2


@pytest.mark.parametrize('name', ['cyclegan', 'munit'])
def test_a_step_that_cannot_be_captured_is_made_op_by_op(name, built, graphed, capsys):
    """Nothing is lost or drawn twice: the run is the eager one."""
    expected = losses_of(built(*MODELS[name]), 6)
    model = graphed(built(*MODELS[name]), works=False)
    assert losses_of(model, 6) == expected
    lines = capsys.readouterr().err.splitlines()
    assert ['operation not permitted' in line for line in lines if '--engine graph' in line] == [True]
    assert not trainer_of(model).engine.working and trainer_of(model).engine.plans == {}


def test_pools_for_images_of_several_sizes_stay_plain(built, graphed, capsys):
    model = graphed(built(*MODELS['cyclegan'], '--preprocess', 'none'))
    sides = (32, 32, 32, 32, 32, 48, 32)
    eager = built(*MODELS['cyclegan'], '--preprocess', 'none')
    rows = []
    for each in (model, eager):
        seed_everything(2)
        for step, side in enumerate(sides):
            trainer_of(each).step(batch_of(each, step, side=side))
        rows.append(each.get_current_losses())
    assert rows[0] == rows[1]
    assert type(model.fake_A_pool) is ImagePool and not trainer_of(model).engine.working
    assert 'several sizes' in capsys.readouterr().err


def test_looking_for_a_compiler_draws_no_random_number():
    before = torch.get_rng_state()
    engine.compiler_problem(CPU)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
# SPADE and the template were not tried
@pytest.mark.parametrize('name', [name for name in MODELS if name not in ('spade', 'template')])
def test_compiled_networks_keep_their_keys_and_numbers(name, built):
    rows, keys = {}, {}
    for kind in ('compile', 'eager'):
        model = built(*MODELS[name], '--engine', kind)
        rows[kind] = losses_of(model, 2)
        keys[kind] = {label: list(net.state_dict()) for label, net in model.nets.items()}
        assert type(trainer_of(model).engine).__name__ == {'compile': 'Compiled', 'eager': 'Eager'}[kind]
    assert keys['compile'] == keys['eager']
    for ours, theirs in zip(rows['compile'], rows['eager'], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-2, abs=1e-4)


# ---- on a GPU

@pytest.fixture
def gpu():
    runtime = start_runtime('0', precision='fp32')
    yield runtime
    torch.backends.cudnn.benchmark = False


@pytest.mark.gpu
@pytest.mark.parametrize('name', GRAPHED)
def test_a_graph_makes_the_steps_of_eager(name, built, gpu):
    rows, weights = {}, {}
    for kind in ('eager', 'graph'):
        model = built(*MODELS[name], '--engine', kind, '--gpu_ids', 0, runtime=gpu)
        rows[kind] = losses_of(model, 10)
        generator = next(net for label, net in model.nets.items() if label.startswith('G'))
        weights[kind] = next(generator.parameters()).detach().clone()
        if kind == 'graph':
            assert trainer_of(model).engine.working and len(trainer_of(model).engine.plans) == 1
    for ours, theirs in zip(rows['graph'], rows['eager'], strict=True):
        assert ours == pytest.approx(theirs, rel=2e-2, abs=1e-3)


@pytest.mark.gpu
def test_a_graph_sees_the_learning_rate_and_the_batch(built, gpu):
    model = built(*MODELS['pix2pix'], '--engine', 'graph', runtime=gpu)
    losses_of(model, 6)
    before = model.netG.model.model[0].weight.detach().clone()
    for optimizer in model.optimizers.values():
        set_learning_rate(optimizer, 0.0)
    trainer_of(model).step(batch_of(model, 9))
    assert torch.equal(before, model.netG.model.model[0].weight)
    first = model.get_current_losses()
    trainer_of(model).step(batch_of(model, 10))
    assert model.get_current_losses() != first


@pytest.mark.gpu
def test_a_graph_for_each_shape(built, gpu):
    model = built(*MODELS['pix2pix'], '--engine', 'graph', runtime=gpu)
    for step in range(12):
        trainer_of(model).step(batch_of(model, step, n=1 + step % 2))
    assert len(trainer_of(model).engine.plans) == 2
    trainer_of(model).step(batch_of(model, 13, n=3))
    assert len(trainer_of(model).engine.plans) == 2
    assert all(value == value for value in model.get_current_losses().values())


@pytest.mark.gpu
@pytest.mark.parametrize('precision', ['fp32', 'tf32', 'bf16'])
def test_precisions_of_a_gpu(precision, built):
    runtime = start_runtime('0', precision=precision)
    assert runtime.precision == precision
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is (precision != 'fp32')
    model = built(*MODELS['cyclegan'], runtime=runtime)
    rows = losses_of(model, 3)
    assert all(value == value for row in rows for value in row.values())
