"""Optimizations of speed and memory do not change results: compared with the plain implementation in float64."""
import copy
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from torch import nn

from data import create_dataset, create_loader
from models import create_model, create_trainer
from models.losses import GAN_LOSSES, exact, gradient_penalty, l1_loss
from models.nets.recompute import recompute
from models.networks import create_discriminator, create_generator, together
from models.training.optimizer import Adam, set_learning_rate
from models.training.session import dry_run
from models.training.state import weight_files
from util.console import as_duration
from util.errors import ResourceError, UserError
from util.machine import runtime
from util.machine.cores import usable_cores
from util.machine.memory import memory_explained, peak_memory
from util.machine.runtime import Runtime, choose_precision
from util.machine.seeding import seed_everything

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'scripts'))
from bench import measure, steps
from bench.plain import FORMULATIONS, plain_network

CPU = torch.device('cpu')
COMMON = ['--crop_size', 32, '--load_size', 32]
MUNIT = ['--model', 'munit', '--dataset_mode', 'unaligned', '--num_scales_D', 2, '--n_layers_D', 2, '--n_res', 1,
         '--n_downsample_style', 2, '--style_dim', 4, '--mlp_dim', 8]
PIX2PIX = ['--model', 'pix2pix', '--netG', 'unet_32', '--no_dropout']
CYCLEGAN = ['--model', 'cyclegan', '--netG', 'resnet_2blocks']
CUT = ['--model', 'cut', '--netG', 'resnet_5blocks', '--num_patches', 50]
COMMAND_LINES = {
    'cyclegan': CYCLEGAN,
    'cyclegan, batch norm': [*CYCLEGAN, '--norm', 'batch', '--batch_size', 2],
    'cyclegan, no identity': [*CYCLEGAN, '--lambda_identity', 0],
    'cyclegan, vanilla': [*CYCLEGAN, '--gan_mode', 'vanilla', '--batch_size', 2],
    'cut': CUT,
    'cut, fast': [*CUT, '--CUT_mode', 'FastCUT', '--batch_size', 2],
    'cut, all negatives': [*CUT, '--nce_includes_all_negatives_from_minibatch', '--batch_size', 2],
    'pix2pix': PIX2PIX,
    'pix2pix, instance norm': [*PIX2PIX, '--norm', 'instance'],
    'pix2pix, no norm': [*PIX2PIX, '--norm', 'none', '--batch_size', 2],
    'colorization': ['--model', 'colorization', '--netG', 'unet_32', '--no_dropout'],
    'munit': MUNIT,
    'munit, instance norm in D': [*MUNIT, '--norm_D', 'instance', '--batch_size', 2],
    'munit, spectral norm in D': [*MUNIT, '--norm_D', 'spectral'],
}


@pytest.fixture
def built(train_options, tmp_path):
    """built('--model', 'pix2pix', ...) -> a trainer whose model is in float64, or in another `dtype`."""
    def build(*argv, dtype=torch.float64, precision='fp32'):
        opt = train_options('--dataroot', tmp_path, *COMMON, *argv)
        model = create_model(opt, Runtime(CPU, 'cpu', precision))
        for net in model.nets.values():
            net.to(dtype)
        return create_trainer(opt, model)
    return build


def images(model, step=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(step)
    n, nc = model.opt.batch_size, (model.opt.input_nc, model.opt.output_nc)
    A, B = (2 * torch.rand(n, channels, 32, 32, generator=generator, dtype=torch.float64).to(dtype) - 1
            for channels in nc)
    return {'A': A, 'B': B, 'A_paths': ['0.png'] * n}


def gradients(net):
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None and p.ndim > 1])


@pytest.mark.parametrize('case', COMMAND_LINES)
def test_first_gradients_equal_the_plain_formulation(case, built):
    torch.set_default_dtype(torch.float64)      # for random styles
    try:
        trainer = built(*COMMAND_LINES[case])
        model = trainer.model
        plain = FORMULATIONS[case.partition(',')[0]](model)
        batch, expected = images(model), {}
        if case.startswith('munit'):        # the plain G step also adds (unused) gradients to D
            step_G = plain.step_G

            def noted(*inputs):
                expected.update((name, gradients(getattr(plain, name))) for name in ('D_A', 'D_B'))
                step_G(*inputs)
            plain.step_G = noted
        seed_everything(1)
        trainer.step(batch)
        seed_everything(1)
        plain.step(batch['A'], batch['B'])
    finally:
        torch.set_default_dtype(torch.float32)
    for name, net in model.nets.items():
        ours, theirs = gradients(net), expected.get(name, gradients(getattr(plain, name)))
        assert theirs.norm() > 0
        assert (ours - theirs).norm() / theirs.norm() < 1e-12, name


@pytest.mark.parametrize('case', ['cyclegan', 'pix2pix', 'munit'])
def test_ten_steps_equal_the_plain_formulation(case, built):
    torch.set_default_dtype(torch.float64)
    try:
        trainer = built(*COMMAND_LINES[case], '--pool_size', 3)
        model = trainer.model
        plain = FORMULATIONS[case](model)
        for formulation in ('ours', 'plain'):
            seed_everything(1)
            for step in range(10):
                batch = images(model, step)
                if formulation == 'ours':
                    trainer.step(batch)
                else:
                    plain.step(batch['A'], batch['B'])
    finally:
        torch.set_default_dtype(torch.float32)
    for name, net in model.nets.items():
        for ours, theirs in zip(net.parameters(), getattr(plain, name).parameters(), strict=True):
            if ours.ndim > 1:
                torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


def test_the_plain_network_is_plain():
    """Otherwise our layers would be compared with themselves."""
    net = create_generator('resnet_1blocks', 3, 3, 4, 'instance')
    plain = plain_network(net)
    kinds = {type(module) for module in plain.modules()}
    assert nn.InstanceNorm2d in kinds and not any(kind.__module__ == 'models.nets.norms' for kind in kinds)
    assert all(module.inplace for module in plain.modules() if isinstance(module, nn.ReLU))
    assert plain.state_dict().keys() == net.state_dict().keys()


# ---- one call for several images

def counted(net):
    calls = []
    net.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    return calls


def test_images_share_a_call_only_where_they_do_not_mix():
    A, B = torch.randn(2, 1, 3, 32, 32)
    for net, expected in [
            (create_discriminator('basic', 3, 4, 3, 'instance'), [2]),
            (create_discriminator('basic', 3, 4, 3, 'none'), [2]),
            (create_discriminator('basic', 3, 4, 3, 'batch'), [1, 1]),
            (create_generator('resnet_1blocks', 3, 3, 4, 'instance', dropout=True), [1, 1]),
            (nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 1, 3)), [1, 1])]:
        calls = counted(net)
        first, second = together(net, A, B)
        assert calls == expected
        if expected == [2]:
            torch.testing.assert_close((first, second), (net(A), net(B)), rtol=1e-4, atol=1e-5)
    net = create_discriminator('basic', 3, 4, 3, 'instance')
    calls = counted(net)
    together(net, A, B[..., :24, :])
    assert calls == [1, 1]


def test_cyclegan_makes_four_calls_of_generators_and_four_of_discriminators(built):
    trainer = built(*CYCLEGAN)
    calls = {name: counted(net) for name, net in trainer.model.nets.items()}
    trainer.step(images(trainer.model))
    assert calls == {'G_A': [2, 1], 'G_B': [2, 1], 'D_A': [1, 2], 'D_B': [1, 2]}


# ---- Adam

def steps_of(optimizer, parameter, count):
    for step in range(count):
        parameter.grad = torch.sin(torch.arange(6.0).double() + step).view(2, 3)
        set_learning_rate(optimizer, 0.01 / (step + 1))
        optimizer.step()


def test_adam_equals_pytorchs_adam():
    ours, theirs = (torch.ones(2, 3, dtype=torch.float64).requires_grad_() for _ in range(2))
    settings = dict(lr=0.01, betas=(0.5, 0.999), weight_decay=0.1)
    fast, plain = Adam([ours], **settings), torch.optim.Adam([theirs], foreach=False, fused=False, **settings)
    assert fast.param_groups[0]['fused']
    steps_of(fast, ours, 5)
    steps_of(plain, theirs, 5)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('before', ['ours', 'plain'])
def test_adam_resumes_from_every_implementation(before):
    """A checkpoint of a GPU, of the plain loop and of another implementation are interchangeable."""
    settings = dict(lr=0.01, betas=(0.5, 0.999), weight_decay=0.0)
    first = torch.ones(2, 3, dtype=torch.float64).requires_grad_()
    optimizer = Adam([first], **settings) if before == 'ours' else torch.optim.Adam([first], foreach=True, **settings)
    steps_of(optimizer, first, 3)
    state = copy.deepcopy(optimizer.state_dict())
    assert before == 'plain' or state['param_groups'][0]['fused'] is None
    again = first.detach().clone().requires_grad_()
    continued = Adam([again], **settings)
    continued.load_state_dict(state)
    group, = continued.param_groups
    assert group['fused'] and not group['capturable'] and group['lr'] == optimizer.param_groups[0]['lr']
    steps_of(optimizer, first, 3)
    steps_of(continued, again, 3)
    assert before == 'plain' or torch.equal(first, again)
    torch.testing.assert_close(first, again, rtol=1e-12, atol=1e-12)


# ---- precision

def test_fp32_turns_tf32_off():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    assert choose_precision('fp32', CPU) == 'fp32'
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize('wanted, given, said', [('auto', 'fp32', ''), ('bf16', 'bf16', ''), ('tf32', 'fp32', 'tf32')])
def test_precision_of_a_cpu(wanted, given, said, capsys):
    assert choose_precision(wanted, CPU) == given
    assert said in capsys.readouterr().err
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


@pytest.mark.parametrize(('precision', 'gain', 'says'), [('bf16', 0.64, '0.64'), ('bf16', 1.8, ''), ('fp32', 0.64, '')])
def test_a_cpu_that_is_slow_in_bf16_is_told(precision, gain, says, monkeypatch, capsys):
    monkeypatch.setattr(runtime, 'gain_of_bf16', lambda: gain)
    assert runtime.start_runtime('-1', precision=precision).precision == precision
    assert (says in capsys.readouterr().err) if says else not capsys.readouterr().err
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def test_the_gain_of_bf16_is_measured():
    assert 0 < runtime.gain_of_bf16(0.0) < 100


@pytest.mark.parametrize('case', ['cyclegan', 'pix2pix', 'munit', 'munit, spectral norm in D', 'cyclegan, batch norm'])
def test_bf16_is_for_convolutions_only(case, built):
    trainer = built(*COMMAND_LINES[case], dtype=torch.float32, precision='bf16')
    model, seen = trainer.model, {}
    for label, net in model.nets.items():
        for name, module in net.named_modules():
            if isinstance(module, nn.modules.conv._ConvNd):
                module.register_forward_hook(lambda m, i, o, key=f'{label}.{name}': seen.update({key: o.dtype}))
    trainer.step(images(model, dtype=torch.float32))
    assert set(seen.values()) == {torch.bfloat16, torch.float32}
    assert sum(dtype == torch.bfloat16 for dtype in seen.values()) > len(seen) / 2
    last = [key for key, dtype in seen.items() if dtype == torch.float32]
    assert last and all(type(model.nets[key.partition('.')[0]].get_submodule(key.partition('.')[2])).__name__
                        .startswith('Output') for key in last)
    values = [*model.losses.values(), *model.get_current_visuals().values(),
              *(p for net in model.nets.values() for p in net.parameters()),
              *(p.grad for net in model.nets.values() for p in net.parameters())]
    assert {value.dtype for value in values} == {torch.float32}


def test_bf16_learns_about_the_same(built):
    losses = {}
    for precision in ('fp32', 'bf16'):
        seed_everything(3)
        trainer = built(*PIX2PIX, '--lambda_L1', 10, dtype=torch.float32, precision=precision)
        for _ in range(15):
            trainer.step(images(trainer.model, dtype=torch.float32))
        losses[precision] = trainer.model.get_current_losses()['G_L1']
    assert losses['bf16'] == pytest.approx(losses['fp32'], rel=0.05) and losses['bf16'] != losses['fp32']


def test_losses_and_the_gradient_penalty_are_computed_in_fp32():
    net = create_discriminator('basic', 3, 4, 2, 'instance')
    real, fake = torch.randn(2, 1, 3, 32, 32)
    torch.manual_seed(0)
    expected = gradient_penalty(net, real, fake)
    torch.manual_seed(0)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(gradient_penalty(net, real, fake), expected)
        for loss in GAN_LOSSES.values():
            assert loss(torch.randn(4).bfloat16(), True).dtype == torch.float32
        assert l1_loss(torch.zeros(3).bfloat16(), torch.ones(3).bfloat16()).dtype == torch.float32
    assert exact(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


# ---- memory

@pytest.mark.parametrize('argv', [CYCLEGAN, [*CYCLEGAN, '--dropout'], MUNIT, [*CYCLEGAN, '--spectral_norm_G'],
                                  [*MUNIT, '--spectral_norm_D', '--lambda_r1', '1', '--lambda_feat', '1']])
def test_grad_checkpoint_does_not_change_gradients(argv, built):
    results = []
    for flag in ([], ['--grad_checkpoint']):
        seed_everything(1)
        trainer = built(*argv, *flag)
        torch.set_default_dtype(torch.float64)
        trainer.step(images(trainer.model))
        torch.set_default_dtype(torch.float32)
        results.append(trainer.model)
    for plain, spared in zip(*(model.nets.values() for model in results), strict=True):
        assert torch.equal(gradients(plain), gradients(spared))
        assert plain.state_dict().keys() == spared.state_dict().keys()


def test_grad_checkpoint_saves_activations():
    kept = {}
    for spare in (False, True):
        net, seen = create_generator('resnet_6blocks', 3, 3, 8, 'instance'), {}
        if spare:
            assert recompute(net)

        def pack(tensor, seen=seen):
            seen[tensor.data_ptr()] = tensor.numel()
            return tensor
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            net(torch.randn(1, 3, 64, 64))
        kept[spare] = sum(seen.values())
    assert kept[True] < kept[False] / 3


@pytest.mark.parametrize('argv', [PIX2PIX, [*CYCLEGAN, '--norm', 'batch']])
def test_grad_checkpoint_is_refused_with_batch_norm(argv, built):
    with pytest.raises(UserError, match='--grad_checkpoint is for .* drop it'):
        built(*argv, '--grad_checkpoint')
    model = built(*argv).model
    assert not recompute(model.netD if argv == PIX2PIX else model.netG_A)


@pytest.mark.parametrize('error', [
    torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB'),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate")])
def test_out_of_memory_names_sizes_and_flags(error):
    with pytest.raises(ResourceError) as raised, memory_explained(CPU, batch_size=64, crop_size=2048):
        raise error
    message = str(raised.value)
    for word in ('batch_size 64', 'crop_size 2048', 'GiB', '--grad_checkpoint', '--precision bf16'):
        assert word in message
    assert raised.value.exit_code == 5
    with pytest.raises(RuntimeError, match='shapes'), memory_explained(CPU):
        raise RuntimeError('shapes do not fit')


def test_out_of_memory_on_a_cpu_is_recognized():
    with pytest.raises(ResourceError, match='batch_size 7'), memory_explained(CPU, batch_size=7):
        torch.empty(2**58, dtype=torch.uint8)
    assert peak_memory(CPU) > 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only for glibc')
@pytest.mark.parametrize('tuned', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_freed_memory_is_kept_unless_the_environment_says_otherwise(tuned):
    """Creating and freeing a tensor of 80 MB causes no page faults if its memory is kept."""
    code = ('import resource, torch\n'
            'from util.machine.runtime import keep_freed_memory\n'
            'keep_freed_memory()\n'
            'faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n'
            'found = []\n'
            'for turn in range(9):\n'
            '    before = faults()\n'
            '    torch.ones(20_000_000)\n'
            '    found.append(faults() - before)\n'
            'print(min(found))\n')
    environment = {name: value for name, value in os.environ.items() if not name.startswith(('MALLOC_', 'GLIBC_'))}
    environment |= {'MALLOC_TRIM_THRESHOLD_': '131072'} if tuned else {}
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (int(done.stdout) > 1000) is tuned


# ---- moving averages

def test_moving_averages_by_hand(built):
    trainer = built(*PIX2PIX, '--ema', 0.9)
    model = trainer.model
    start = model.netG.state_dict()
    expected = {key: value.clone() for key, value in start.items()}
    for step in range(3):
        trainer.step(images(model, step))
        for key, value in model.netG.state_dict().items():
            if value.is_floating_point() and 'running' not in key:
                decay = min(0.9, (1 + step) / (10 + step))
                expected[key] = decay * expected[key] + (1 - decay) * value
            else:
                expected[key] = value.clone()
    assert list(trainer.averages.nets) == ['G']
    found = trainer.averages.nets['G'].state_dict()
    assert found.keys() == expected.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-12, atol=1e-12)
    assert not torch.equal(found['model.model.0.weight'], model.netG.model.model[0].weight)


def test_there_are_no_averages_without_ema(built):
    trainer = built(*PIX2PIX)
    trainer.step(images(trainer.model))
    assert trainer.averages.nets == {}
    assert sorted(built(*CYCLEGAN, '--ema', 0.99).averages.nets) == ['G_A', 'G_B']


# ---- the step and the loader together

def test_a_run_of_each_precision(roots, train_options):
    for precision in ('fp32', 'bf16'):
        opt = train_options('--dataroot', roots['unaligned'], *CYCLEGAN, '--precision', precision)
        trainer = create_trainer(opt, create_model(opt, Runtime(CPU, 'cpu', opt.precision)))
        for batch in create_loader(create_dataset(opt), opt):
            trainer.step(batch)
        assert all(value == value for value in trainer.model.get_current_losses().values())


def test_a_dry_run_reports_memory_and_time(roots, train_options, tmp_path):
    opt = train_options('--dataroot', roots['unaligned'], *CYCLEGAN, '--batch_size', 2)
    trainer = create_trainer(opt, create_model(opt, Runtime(CPU, 'cpu')))
    steps, step = [], trainer.step
    trainer.step = lambda batch: (steps.append(batch), step(batch))
    lines = dry_run(trainer, create_loader(create_dataset(opt), opt), images_to_go=7200, disk_space=3 * 10**9)
    assert len(steps) == 2 and not (tmp_path / 'checkpoints').exists()
    text = '\n'.join(lines)
    rate = float(re.search(r'([\d.]+) images/s', text)[1])
    assert rate > 0 and re.search(r'peak memory: \d+\.\d+ GiB', text) and '7200 images' in text
    assert as_duration(7200 / rate) in text or rate < 0.1


@pytest.mark.parametrize('seconds, text', [(40, '40 s'), (300, '5 min'), (7500, '2 h 5 min'), (273600, '3 d 4 h'),
                                           (3600, '1 h 0 min')])
def test_durations(seconds, text):
    assert as_duration(seconds) == text


def test_translation_uses_the_average_if_there_is_one(built, tmp_path):
    model = built(*PIX2PIX).model
    for name in ('G', 'D', 'G_ema'):
        (tmp_path / f'latest_net_{name}.pth').touch()
    for averages, file in ((False, 'latest_net_G.pth'), (True, 'latest_net_G_ema.pth')):
        files = weight_files(model, tmp_path, 'latest', averages)
        assert (files['G'].name, files['D'].name) == (file, 'latest_net_D.pth')


# ---- the benchmark itself

def test_the_benchmark_alternates_and_compares_rounds():
    order = []
    clock = measure.Clock(CPU)
    times = measure.alternate(clock, {name: (lambda name=name: order.append(name)) for name in 'abc'}, rounds=20)
    assert order[::2] == order[1::2]        # a turn that does not count before each that does
    counted = order[1::2]
    assert all(sorted(counted[3 * turn:3 * turn + 3]) == ['a', 'b', 'c'] for turn in range(20))
    assert len({tuple(counted[3 * turn:3 * turn + 3]) for turn in range(20)}) > 3
    assert {len(taken) for taken in times.values()} == {20}
    row = measure.summary([1.0, 2.0, 4.0], [2.0, 2.0, 2.0])
    assert (row['seconds'], row['speedup'], row['speedup_lowest'], row['speedup_highest']) == (2.0, 1.0, 0.5, 2.0)


def test_the_benchmark_counts_flops():
    a = torch.randn(8, 16)
    assert measure.flops_of(lambda: a @ a.T) == 2 * 8 * 16 * 8
    assert measure.matrix_rate(measure.Clock(CPU), 64, torch.float32) > 0


def test_the_plain_loader_gives_images_of_the_right_kind(tmp_path):
    load = measure.plain_pairs(measure.write_images(tmp_path, 2, (40, 40)), 36, 32)
    A, B = load()
    assert A.shape == B.shape == (3, 32, 32) and A.dtype == torch.float32 and -1 <= A.min() < A.max() <= 1


def test_a_table_of_results():
    row = dict(kind='train', model='pix2pix', side=256, batch=1, variant='eager bf16', seconds=0.5, images_per_s=2.0,
               speedup=1.6, speedup_lowest=1.5, speedup_highest=1.7, peak_gib=None, roofline=0.25)
    facts = dict(device='a machine', torch='2', rounds=3, matmul_tflops={'bf16': 1.5}, left_out=['train munit'])
    text = steps.as_markdown(facts, [row])
    assert '| train pix2pix 256 px, batch 1 | eager bf16 | 500.0 | 2.00 | 1.60 [1.50 .. 1.70] |  | 25 % |' in text
    assert 'time was over: train munit' in text


@pytest.mark.parametrize('cores, siblings, limits, expected', [
    (4, ['0-1', '0-1', '2-3', '2-3'], {}, 2),
    (3, ['0', '1', '2'], {'cpu.max': 'max 100000'}, 3),
    (4, ['0', '1', '2', '3'], {'cpu.max': '250000 100000'}, 2),
    (4, ['0', '1', '2', '3'], {'cpu.max': '50000 100000'}, 1),
    (4, ['0', '1', '2', '3'], {'cpu/cpu.cfs_quota_us': '300000', 'cpu/cpu.cfs_period_us': '100000'}, 3),
    (4, ['0', '1', '2', '3'], {'cpu/cpu.cfs_quota_us': '-1', 'cpu/cpu.cfs_period_us': '100000'}, 4),
    (8, [], {}, 4),
    (1, [], {}, 1)])
def test_threads_are_as_many_as_cores(cores, siblings, limits, expected, tmp_path, monkeypatch):
    for core, text in enumerate(siblings):
        write(tmp_path / f'cpu{core}' / 'topology' / 'thread_siblings_list', text)
    for name, text in limits.items():
        write(tmp_path / name, text)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(cores)), raising=False)
    assert usable_cores(tmp_path, tmp_path) == expected


@pytest.mark.parametrize('chosen, expected', [({}, '1000'), ({'GOMP_SPINCOUNT': '7'}, '7'),
                                              ({'OMP_WAIT_POLICY': 'active'}, 'None')])
def test_waiting_threads_sleep_soon(chosen, expected):
    """Set before torch is loaded, which is when OpenMP reads it; what the user chose stays."""
    code = ('import os, sys; from util.cli import run; '
            'run(lambda argv, console: print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT")), [])')
    environment = {name: value for name, value in os.environ.items() if 'OMP_' not in name}
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env={**environment, **chosen}, text=True,
                          capture_output=True, timeout=60, check=True)
    assert done.stdout.split() == ['False', expected]


def test_a_program_ends_without_a_search_for_garbage():
    code = ('import atexit, gc; from util.cli import run; atexit.register(lambda: print(gc.get_freeze_count() > 0)); '
            'run(lambda argv, console: print(gc.get_freeze_count() > 0), [])')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout.split() == ['False', 'True']


def write(path, text: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + '\n')
