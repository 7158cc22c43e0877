"""Several processes train one model: same results as one process with all images, and what happens if one is lost."""
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback

import pytest
import states
import tiny_runs
import torch
import torch.distributed as dist
from conftest import ROOT
from interpreter import free_port

from data.loading.loader import grouped
from data.loading.sampler import EpochSampler
from models import create_model, create_trainer
from models.training.accumulate import update_lines
from models.training.guard import BadStep
from models.training.progress import Progress
from options import TrainOptions
from util.errors import ResourceError, UserError
from util.machine.distributed import Group, Processes, start_group
from util.machine.rendezvous import agree_on_session
from util.machine.runtime import Runtime, choose_gpu
from util.machine.seeding import seed_everything
from util.machine.shares import share_of

CPU = torch.device('cpu')
IMAGES = 5          # the last update of an epoch is smaller than the others
CASES = {
    'cyclegan': ['--model', 'cyclegan', '--pool_size', '2'],
    'cyclegan wgangp': ['--model', 'cyclegan', '--gan_mode', 'wgangp', '--lambda_identity', '0', '--ema', '0.9'],
    'bicyclegan': ['--model', 'bicyclegan'],
    'cut': ['--model', 'cut'],
    'fastcut': ['--model', 'cut', '--CUT_mode', 'FastCUT', '--gan_mode', 'wgangp'],
    'pix2pix': ['--model', 'pix2pix'],
    'pix2pix objective': ['--model', 'pix2pix', '--norm', 'instance', '--gan_mode', 'hinge', '--diffaug',
                          'color,translation', '--lambda_r1', '0.1', '--lambda_feat', '1', '--lambda_gdl', '1'],
    'pix2pix relativistic': ['--model', 'pix2pix', '--norm', 'instance', '--relativistic', '--spectral_norm_D'],
    'pix2pix wgangp': ['--model', 'pix2pix', '--gan_mode', 'wgangp', '--lr_policy', 'plateau'],
    'pix2pix instance': ['--model', 'pix2pix', '--norm', 'instance'],
    'pix2pixhd': ['--model', 'pix2pixhd'],
    'spade': ['--model', 'spade'],
    'spade syncbatch': ['--model', 'spade', '--norm_S', 'syncbatch'],
    'colorization': ['--model', 'colorization', '--norm', 'instance'],
    'template': ['--model', 'template', '--dropout'],
    'pix2pix frozen': ['--model', 'pix2pix', '--norm', 'instance', '--freeze', 'D', 'G.model.model.0'],
    'munit': ['--model', 'munit'],
}
# biases before instance norms: Adam amplifies the rounding of zero gradients
ROUNDING = {'cyclegan wgangp': 1e-6, 'cut': 1e-6, 'fastcut': 1e-6}
WITH_BATCH_NORM = {'pix2pix', 'pix2pix wgangp'}
# it has a mean, or changes a buffer
EACH_BATCH_COUNTS = WITH_BATCH_NORM | {'pix2pix relativistic', 'spade', 'spade syncbatch'}


def options_of(case: str, folder, *more):
    model = case.split()[0].replace('fast', '')
    words = [*tiny_runs.MODELS[model], *CASES[case], '--dataroot', str(folder), '--checkpoints_dir', str(folder),
             *tiny_runs.SHARED]
    given = words[words.index('--pool_size'):][:2] if '--pool_size' in CASES[case] else []
    return TrainOptions().parse([*words, '--display_id', '-1', *map(str, more), *given])


def trainer_of(opt, group=None):
    return create_trainer(opt, create_model(opt, Runtime(CPU, 'cpu', group=group or Group())))


def images_for(model) -> list:
    """Random samples, in float64 so that rounding does not hide a difference."""
    generator = torch.Generator().manual_seed(5)
    channels = (1, 2) if model.opt.model == 'colorization' else (3, 3)
    return [{name: torch.rand(n, 32, 32, generator=generator, dtype=torch.float64) * 2 - 1
             for name, n in zip('AB', channels, strict=True)} for _ in range(IMAGES)]


def batches_of(samples, sampler):
    for keys in sampler.batches():
        batch = [samples[index] for index, _ in keys]
        yield {**{name: torch.stack([sample[name] for sample in batch]) for name in 'AB'}, 'A_paths': ['image'] * 9}


def trained(case: str, folder, group=None, epochs: int = 2, more=(), update_size: int = 0) -> dict:
    """Train for some epochs; returns the whole state and the losses of all steps."""
    group = group or Group()
    seed_everything(1)
    opt = options_of(case, folder, *more).replace(update_size=update_size)
    torch.set_default_dtype(torch.float64)
    try:
        trainer = trainer_of(opt, group)
        model = trainer.model
        samples, progress, losses = images_for(model), Progress(epoch_size=IMAGES, last_epoch=epochs), []
        sampler = EpochSampler(IMAGES, True, 1, opt.batch_size, model.group.rank, model.group.size, update_size)
        for epoch in range(1, epochs + 1):
            sampler.set_epoch(epoch)
            for batch in grouped(batches_of(samples, sampler), trainer.accumulate):
                images = progress.images_of(trainer.update_size)
                trainer.step(batch, images)
                progress.advance(images)
                losses.append(model.get_current_losses())
            progress.finish_epoch()
        trainer.gather_state()
        nets = {name: net.state_dict() for name, net in {**model.nets, **trainer.averages.nets}.items()}
        return dict(nets=nets, losses=losses, training=trainer.state_dict())
    finally:
        torch.set_default_dtype(torch.float32)


def values(tree, place: str = '') -> dict:
    """Nested dicts and lists as {'a/b/0': value}."""
    if isinstance(tree, (dict, list, tuple)):
        pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {name: value for key, part in pairs for name, value in values(part, f'{place}/{key}').items()}
    return {place: tree}


def differences(first, second, tolerance: float = 1e-9) -> list[str]:
    """Where two states differ by more than rounding, as a list of places. Losses are float32."""
    first, second = values(first), values(second)
    found = [f'{place} only once' for place in first.keys() ^ second.keys()]
    for place in first.keys() & second.keys():
        a, b = first[place], second[place]
        if isinstance(a, torch.Tensor) or isinstance(a, float):
            allowed = max(tolerance, 1e-6) if place.startswith('/losses') else tolerance
            if not torch.allclose(torch.as_tensor(a), torch.as_tensor(b), rtol=allowed, atol=allowed):
                found.append(f'{place}: {(torch.as_tensor(a) - torch.as_tensor(b)).abs().max():.3g}')
        elif a != b:
            found.append(f'{place}: {a} != {b}')
    return sorted(found)


# ---- processes forked from the test, without torchrun

def process(work, rank: int, size: int, port: int, answers):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), MASTER_ADDR='127.0.0.1',
                      MASTER_PORT=str(port))
    try:
        group = Processes(CPU, 60)
        answers.put((rank, work(group)))
        group.numbers(0)
        group.close()
    except BaseException:
        answers.put((rank, traceback.format_exc()))


def in_processes(size: int, work) -> list:
    """Run `work(group)` in each of `size` processes and return their results, plain values or tensors."""
    context, port = multiprocessing.get_context('fork'), free_port()
    answers = context.SimpleQueue()
    children = [context.Process(target=process, args=(work, rank, size, port, answers)) for rank in range(size)]
    for child in children:
        child.start()
    found = dict(answers.get() for _ in children)
    for child in children:
        child.join(30)
    failures = [answer for answer in found.values() if isinstance(answer, str)]
    assert not failures, failures[0]
    return [found[rank] for rank in range(size)]


def on_disk(folder, work):
    """`work` that saves its result in a file for the parent."""
    def wrapped(group):
        torch.save(work(group), folder / f'{group.size}_{group.rank}.pth')
    return wrapped


@pytest.fixture(scope='module')
def two_processes(tmp_path_factory):
    """Final states of two processes with one image each, for all cases: [states of rank 0, states of rank 1]."""
    folder = tmp_path_factory.mktemp('two')
    in_processes(2, on_disk(folder, lambda group: {case: trained(case, folder, group) for case in CASES}))
    return [torch.load(folder / f'2_{rank}.pth', weights_only=True) for rank in range(2)]


@pytest.mark.sample(4)
@pytest.mark.parametrize('case', CASES)
def test_two_processes_equal_one_with_twice_the_batch(case, two_processes, tmp_path):
    """All weights, optimizers, pools, averages, losses and random numbers after 6 updates, two of them on one image."""
    one = trained(case, tmp_path, more=['--batch_size', 2])
    first, second = two_processes[0][case], two_processes[1][case]
    assert differences(first, second, 0) == []
    assert differences(one, first, ROUNDING.get(case, 1e-9)) == []


def test_the_comparison_finds_a_difference(two_processes, tmp_path):
    """A run with another batch size differs."""
    assert differences(trained('template', tmp_path), two_processes[0]['template'])


@pytest.mark.sample(5)
@pytest.mark.parametrize('case', sorted(CASES.keys() - EACH_BATCH_COUNTS))
def test_accumulated_batches_equal_one_large_batch(case, tmp_path):
    several = trained(case, tmp_path, more=['--accumulate', 3])
    one = trained(case, tmp_path, more=['--batch_size', 3])
    assert differences(one, several, ROUNDING.get(case, 1e-9)) == []


@pytest.mark.sample(2)
@pytest.mark.parametrize('case', sorted(EACH_BATCH_COUNTS))
def test_accumulation_works_with_batch_norm(case, tmp_path):
    """Statistics differ, so there is nothing to compare with; but the result depends on all batches."""
    assert differences(trained(case, tmp_path, more=['--accumulate', 3]), trained(case, tmp_path), 0)


def test_accumulation_works_with_several_processes(tmp_path):
    """2 processes x 2 batches x 1 image = a batch of 4; the last update of an epoch has 1 image."""
    state = trained('cyclegan', tmp_path, more=['--batch_size', 4])
    in_processes(2, on_disk(tmp_path, lambda group: trained('cyclegan', tmp_path, group, more=['--accumulate', 2])))
    assert differences(state, torch.load(tmp_path / '2_0.pth', weights_only=True)) == []


def test_the_log_says_what_an_update_is(tmp_path):
    opt = options_of('pix2pix', tmp_path, '--accumulate', 4)
    update, norms = update_lines(trainer_of(opt))
    assert '4 batches' in update and '--accumulate' in update and '4 images' in update
    assert 'batch norm' in norms


@pytest.mark.parametrize('update_size, idle', [(1, True), (2, False), (3, False)])
def test_the_log_says_if_processes_get_no_images(update_size, idle, tmp_path):
    """A machine has joined a job whose updates keep their size."""
    group = Group()
    group.size = 2
    lines = update_lines(trainer_of(options_of('cyclegan', tmp_path).replace(update_size=update_size), group), True)
    assert any('1 of 2 processes' in line for line in lines) == idle


# ---- twins

TWIN_CASES = {'cyclegan': ['--ema', 0.9, '--pool_size', 2], 'munit': ['--norm_D', 'spectral', '--lambda_cyc', 2]}


@pytest.mark.sample(2)
@pytest.mark.parametrize('more', [[], ['--batch_size', 2, '--lr_policy', 'plateau']], ids=['batch 1', 'batch 2'])
@pytest.mark.parametrize('case', TWIN_CASES)
def test_twins_equal_one_process(case, more, tmp_path):
    """All weights, optimizers, pools, averages and losses after 10 updates; each trains half of the networks."""
    words = [*TWIN_CASES[case], *more]
    one = trained(case, tmp_path, more=words)
    twin = [*words, '--parallel', 'twin']
    in_processes(2, on_disk(tmp_path, lambda group: trained(case, tmp_path, group, more=twin)))
    twins = [torch.load(tmp_path / f'2_{rank}.pth', weights_only=True) for rank in range(2)]
    assert differences(*twins, 0) == []
    assert differences(one, twins[0]) == []


def test_a_twin_trains_half_of_the_networks(tmp_path):
    """A step changes only its own networks; the copies of the other's are updated when the state is gathered."""
    def work(group):
        trainer = trainer_of(options_of('cyclegan', tmp_path, '--parallel', 'twin'), group)
        model = trainer.model
        before = {name: next(net.parameters()).clone() for name, net in model.nets.items()}
        trainer.step({'A': torch.rand(1, 3, 32, 32), 'B': torch.rand(1, 3, 32, 32), 'A_paths': ['image']})
        moved = {name for name, net in model.nets.items() if not torch.equal(before[name], next(net.parameters()))}
        assert moved == {f'G_{"AB"[group.rank]}', f'D_{"AB"[group.rank]}'}
        trainer.gather_state()
        assert all(not torch.equal(before[name], next(net.parameters())) for name, net in model.nets.items())
        assert all(image.shape == (1, 3, 32, 32) for image in model.get_current_visuals().values())
        assert len(model.preview({'A': torch.rand(1, 3, 32, 32), 'B': torch.rand(1, 3, 32, 32), 'A_paths': ['i']})) == 6
    in_processes(2, work)


def test_twins_refuse_options_that_would_not_be_exact(tmp_path):
    opt = options_of('cyclegan', tmp_path, '--parallel', 'twin')
    with pytest.raises(UserError, match='--parallel twin .*2 processes'):
        create_model(opt, Runtime(CPU, 'cpu', group=Group()))
    for words in (['--dropout'], ['--norm', 'batch'], ['--gan_mode', 'wgangp', '--lambda_identity', '0']):
        with pytest.raises(UserError, match='--parallel twin'):
            options_of('cyclegan', tmp_path, '--parallel', 'twin', *words)
    with pytest.raises(UserError, match='--parallel twin'):
        options_of('pix2pix', tmp_path, '--parallel', 'twin')


@pytest.mark.sample(5)
@pytest.mark.parametrize('case, more', [*((case, ()) for case in CASES),
                                        *((case, ('--parallel', 'twin')) for case in TWIN_CASES)])
def test_a_preview_in_the_main_process_sends_nothing_to_the_others(case, more, tmp_path):
    """They would take it for a part of the next step."""
    def work(group):
        trainer = trainer_of(options_of(case, tmp_path, *more), group)
        model = trainer.model
        channels = (1, 2) if model.opt.model == 'colorization' else (3, 3)
        batch = {name: torch.rand(1, n, 32, 32) for name, n in zip('AB', channels, strict=True)} | {'A_paths': ['i']}
        trainer.step(batch)
        if group.is_main:
            assert all(image.isfinite().all() for image in model.preview(batch).values())
        assert group.texts(f'after {group.rank}') == ['after 0', 'after 1']
        trainer.step(batch)
        return all(value == value for value in model.get_current_losses().values())
    assert in_processes(2, work) == [True, True]


# ---- shares

@pytest.mark.parametrize('size, batch_size, parts', [(1, 1, 3), (2, 1, 1), (3, 2, 1), (4, 3, 2)])
@pytest.mark.parametrize('total', [1, 4, 5, 11])
def test_every_image_belongs_to_one_process(size, batch_size, parts, total):
    """Images are split into parts, and each part into processes; no process has more than a batch."""
    total = min(total, size * batch_size * parts)
    owned = []
    for part in range(-(-total // (size * batch_size))):
        for rank in range(size):
            share = share_of(rank, size, batch_size, total, part)
            assert share.count <= batch_size and share.total == total
            owned += range(share.start, share.start + share.count)
    assert owned == list(range(total))


@pytest.mark.parametrize('size, batch_size', [(2, 1), (2, 3), (5, 2)])
@pytest.mark.parametrize('start', [0, 1, 6, 12])
def test_samplers_of_several_processes_give_the_order_of_one(size, batch_size, start):
    """A process without an image in the last update repeats one, so that all have the same number of batches."""
    one = EpochSampler(13, True, 1)
    one.set_epoch(3, start)
    order, lists = list(one), []
    for rank in range(size):
        sampler = EpochSampler(13, True, 1, batch_size, rank, size)
        sampler.set_epoch(3, start)
        keys = list(sampler)
        assert len(sampler) == len(keys)
        lists.append([keys[begin:begin + batch_size] for begin in range(0, len(keys), batch_size)])
    rows = list(zip(*lists, strict=True))
    found, left = [], len(order)
    for row in rows:
        shares = [share_of(rank, size, batch_size, min(left, size * batch_size)) for rank in range(size)]
        assert [len(batch) for batch in row] == [share.held for share in shares]
        found += [key for batch, share in zip(row, shares, strict=True) for key in batch[:share.count]]
        left -= size * batch_size
    assert found == order


@pytest.mark.parametrize('size, update_size', [(3, 4), (2, 5), (3, 2)])
@pytest.mark.parametrize('start, batches', [(0, 0), (4, 3)])
def test_samplers_of_processes_that_do_not_fill_an_update(size, update_size, start, batches):
    """The last batch of each update is smaller; it is the same when a worker died after some `batches`."""
    one = EpochSampler(23, True, 1)
    one.set_epoch(3, start)
    order, found = list(one), []
    samplers = [EpochSampler(23, True, 1, 1, rank, size, update_size) for rank in range(size)]
    lists = []
    for sampler in samplers:
        sampler.set_epoch(3, start)
        for _ in range(batches):
            sampler.advance()
        lists.append(list(sampler.batches()))
        assert sampler.n_batches == len(lists[-1]) and len(sampler) == sum(map(len, lists[-1]))
    left = 23 - samplers[0].start
    place = (samplers[0].start - start) % update_size
    for row in zip(*lists, strict=True):
        count = min(size, update_size - place, left)
        found += [batch[0] for batch in row[:count]]
        assert all(batch == row[0] for batch in row[count:])
        left -= count
        place = (place + count) % update_size
    assert found == order[samplers[0].start - start:]


@pytest.mark.parametrize('case', ['cyclegan', 'pix2pix instance'])
def test_other_numbers_of_processes_make_the_same_updates(case, tmp_path):
    """Three processes make updates of 4 images by two batches, of which the second has one image."""
    one = trained(case, tmp_path, more=['--batch_size', 4])
    in_processes(3, on_disk(tmp_path, lambda group: trained(case, tmp_path, group, update_size=4)))
    for rank in range(3):
        assert differences(one, torch.load(tmp_path / f'3_{rank}.pth', weights_only=True)) == []


def test_texts_numbers_and_tensors_are_gathered(tmp_path):
    def work(group):
        assert group.texts('ä' * group.rank) == ['', 'ä', 'ää']
        assert group.numbers(group.rank, 7) == [[0, 7], [1, 7], [2, 7]]
        own = torch.arange(group.rank + 1.0)[:, None]
        assert [rows.tolist() for rows in group.gather(own)] == [[[0]], [[0], [1]], [[0], [1], [2]]]
        assert group.first(lambda: {'a': [1, 'x', None]}) == {'a': [1, 'x', None]}
    in_processes(3, work)


def test_a_restarted_run_does_not_wait_for_dead_processes():
    """torchrun keeps its store, with entries of dead processes; each start agrees on another session name."""
    store, names = dist.HashStore(), []
    store.set('arrived/1', 'of a process that died')
    for _ in range(3):
        found = {}

        def arrive(rank, found=found):
            found[rank] = agree_on_session(store, rank, 3, 20)
        threads = [threading.Thread(target=arrive, args=(rank,)) for rank in (0, 2, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 3 and len(set(found.values())) == 1
        names.append(found[0])
    assert len(set(names)) == 3


def test_an_error_in_the_main_process_ends_all():
    def fail():
        raise UserError('the folder is in use')

    def work(group):
        with pytest.raises(UserError) as error:
            group.first(fail)
        assert error.value.args == (() if group.rank else ('the folder is in use',))
        assert error.value.exit_code == 2
    in_processes(2, work)


def test_a_lost_process_is_a_resource_error():
    def work(group):
        if group.rank == 0:
            os._exit(0)
        with pytest.raises(ResourceError, match='another process'):
            group.sum(torch.zeros(1))
        answer.value = 1
    context, port = multiprocessing.get_context('fork'), free_port()
    answer = context.Value('i', 0)
    children = [context.Process(target=process, args=(work, rank, 2, port, context.SimpleQueue())) for rank in (0, 1)]
    for child in children:
        child.start()
    for child in children:
        child.join(40)
        child.kill()
    assert answer.value == 1


def test_a_non_finite_gradient_in_one_process_stops_all(tmp_path):
    """In the same step, before the update."""
    def work(group):
        trainer = trainer_of(options_of('template', tmp_path), group)
        model = trainer.model
        batch = {'A': torch.zeros(1, 3, 32, 32), 'B': torch.zeros(1, 3, 32, 32), 'A_paths': ['image']}
        before = [weight.clone() for weight in model.netG.parameters()]
        batch['B'][0, 0, 0, 0] = float('nan') if group.rank == 1 else 0
        with pytest.raises(BadStep):
            trainer.step(batch)
        assert all(map(torch.equal, before, model.netG.parameters()))
    in_processes(2, work)


# ---- command lines

def torchrun(*words, size: int = 2, restarts: int = 0, wait: bool = True):
    process = subprocess.Popen(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(size), '--max-restarts',
         str(restarts), '--', str(ROOT / 'train.py'), *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    return (process, *process.communicate(timeout=200)) if wait else process


@pytest.fixture
def words(home, tmp_path):
    """words('name', ...): the command line of a run of 4 images."""
    def make(name, *more, length=('--n_epochs', '30', '--n_epochs_decay', '1')):
        model = 'pix2pix' if 'pix2pix' in more else 'cyclegan'
        return [*tiny_runs.MODELS[model], '--dataroot', home / tiny_runs.ROOTS[model], *tiny_runs.SHARED,
                *length, *more, '--checkpoints_dir', tmp_path / 'runs', '--name', name]
    return make


def read_until(process, text: str) -> str:
    lines = iter(process.stdout.readline, '')
    return next((line for line in lines if text in line), '')


def children_of(process) -> list[int]:
    found = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(process.pid)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


@pytest.mark.slow
def test_sigterm_to_torchrun_loses_nothing(words, tmp_path):
    """All stop after the same step and the main process saves; the resumed run equals an unbroken one bit for bit."""
    process, _, err = torchrun(*words('whole', '--model', 'pix2pix'))
    assert process.returncode == 0, err
    process = torchrun(*words('broken', '--model', 'pix2pix'), wait=False)
    assert read_until(process, '(epoch: 2, iters: 2')
    process.terminate()
    out, err = process.communicate(timeout=25)
    assert out.count('saving the latest model') == out.count('stopped by SIGTERM') == 1
    assert 'torchrun --nproc_per_node 2 -- train.py' in out
    folder = tmp_path / 'runs' / 'broken'
    assert not (folder / 'lock').exists() and states.position(folder, 'latest')[1] < 4 * 31
    process, _, err = torchrun('--continue_train', *words('broken', length=())[-4:], '--gpu_ids', '-1')
    assert process.returncode == 0, err
    folders = [tmp_path / 'runs' / name for name in ('whole', 'broken')]
    ends = [dict(state=states.checkpoint_state(folder), log=states.log_lines(folder)) for folder in folders]
    assert states.differences(*ends) == []


@pytest.mark.slow
def test_a_killed_process_ends_all_and_torchrun_restarts_them(program, words, tmp_path):
    """They resume from the last checkpoint without being told to; and one process can resume the run of two."""
    process = torchrun(*words('run', '--save_latest_freq', 2, '--overwrite'), restarts=3, wait=False)
    assert read_until(process, '(epoch: 2, iters: 2')
    os.kill(children_of(process)[1], signal.SIGKILL)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert 'from latest' in out and 'another process of this run' in err
    done = program('train', '--continue_train', *words('run', length=())[-4:], '--gpu_ids', '-1', '--batch_size', 2,
                   '--n_epochs', 32, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'trained by 2 process(es)' in done.stdout
    records = (tmp_path / 'runs' / 'run' / 'losses.jsonl').read_text(encoding='utf-8').splitlines()
    assert [json.loads(record)['total_iters'] for record in records] == list(range(2, 4 * 33 + 1, 2))


def test_a_torchrun_job_resumes_its_own_run_only(program, words, tmp_path, monkeypatch):
    """As after a restart: what the job has saved is resumed, at the size of its updates; another job starts again."""
    length = '--n_epochs', 1, '--n_epochs_decay', 0

    def start(job: str, processes: int, *more):
        monkeypatch.setenv('TORCHELASTIC_RUN_ID', job)
        monkeypatch.setenv('WORLD_SIZE', str(processes))
        argv = words('run', '--batch_size', 1, *more, length=length)
        return TrainOptions().parse(list(map(str, argv)))
    opt = start('job 1', 4, '--overwrite')
    assert not opt.continue_train and opt.overwrite and opt.update_size == 0
    done = program('train', *words('run', '--batch_size', 1, '--accumulate', 3, length=length), folder=tmp_path,
                   env={'TORCHELASTIC_RUN_ID': 'job 1', 'WORLD_SIZE': '1'})
    assert done.returncode == 0, done.stderr
    sizes = {processes: start('job 1', processes, '--overwrite', '--epoch', '9').update_size for processes in (1, 2, 4)}
    assert sizes == {1: 0, 2: 3, 4: 3}
    opt = start('job 1', 2, '--overwrite')
    assert opt.continue_train and not opt.overwrite and opt.epoch == 'latest' and opt.seed == 1
    assert start('job 1', 2, '--accumulate', 2).update_size == 0        # the user wants another size
    assert start('job 1', 2, '--engine', 'compile', '--accumulate', 1).update_size == 0
    assert not start('job 2', 2).continue_train
    assert start('job 2', 2, '--continue_train').update_size == 0       # as always: --batch_size is that of a process
    assert start('', 2).continue_train is False


@pytest.mark.slow
def test_twins_can_be_stopped_and_resumed(program, words, tmp_path):
    """The checkpoint is complete; in the end losses and page equal those of one process."""
    length = ('--n_epochs', '12', '--n_epochs_decay', '0', '--val_freq', '8', '--save_latest_freq', '6')
    more = ('--continue_train', 'auto', '--parallel', 'twin')
    process = torchrun(*words('twins', *more, length=length), wait=False)
    assert read_until(process, '(epoch: 2, iters: 1')
    process.terminate()
    process.communicate(timeout=25)
    process, out, err = torchrun(*words('twins', *more, length=length))
    assert process.returncode == 0, err
    done = program('train', *words('one', length=length), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '--parallel twin' in out
    one, twins = ([record for record in states.log_lines(tmp_path / 'runs' / name) if isinstance(record, dict)]
                  for name in ('one', 'twins'))
    assert len(one) == len(twins) == 48
    assert differences({'losses': one}, {'losses': twins}, 1e-3) == []
    assert states.pages(tmp_path / 'runs' / 'one') == states.pages(tmp_path / 'runs' / 'twins')


def test_mistakes_are_reported_once(words, tmp_path):
    process, out, err = torchrun(*words('wrong', '--netG', 'resnet_one'))
    assert process.returncode != 0 and err.count('error: --netG resnet_one') == 1


def test_several_gpus_in_one_process_print_the_torchrun_command():
    argv = ['--dataroot', './my maps', '--gpu_ids', '0,1', '--name', 'x', '--gpu_ids=0,1']
    with pytest.raises(UserError) as error:
        choose_gpu([0, 1], 2, True, argv)
    assert str(error.value).endswith("torchrun --nproc_per_node 2 -- train.py --dataroot './my maps' --name x")


def test_each_process_uses_its_own_gpu(monkeypatch):
    for name, value in dict(WORLD_SIZE=4, LOCAL_WORLD_SIZE=2, LOCAL_RANK=1, RANK=3).items():
        monkeypatch.setenv(name, str(value))
    assert choose_gpu([0], 2, False, []) == 1
    assert choose_gpu([5, 3], 8, True, []) == 3
    with pytest.raises(UserError, match='2 processes .* need 2 GPUs.*--nproc_per_node 1'):
        choose_gpu([0], 1, False, [])


def test_an_incomplete_torchrun_environment_is_reported(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(UserError, match='WORLD_SIZE is 2.* RANK'):
        start_group(CPU)
