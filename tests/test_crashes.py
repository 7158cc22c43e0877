"""A run killed at any storage operation of a save, or at any moment, resumes as if it had not been killed."""
import random
import shutil

import pytest
import states
import tiny_runs

from options.restore import newest_good
from util.checkpoint import damage, layout

MODEL = 'cyclegan'
FREQUENT = ['--max_dataset_size', '3', '--n_epochs', '1', '--n_epochs_decay', '1', '--save_latest_freq', '2',
            '--save_epoch_freq', '1', '--no_html', '--val_images', '0']     # 6 steps
THREAD = 'saving'
RANDOM_KILLS = 4, 20     # without and with --run-slow; scripts/soak.py kills more often
EACH = 7, 1             # of the operations of a save, every how many is tried, without and with --run-slow
SAVE = 1            # the save that is interrupted: the end of epoch 1, as `latest` and `1`


@pytest.fixture(scope='module')
def unbroken(server, home, tmp_path_factory):
    """The run without faults: (its folder, its final state, how it ended)."""
    runs = tiny_runs.Runs(server, home, tmp_path_factory.mktemp('unbroken'))
    done = runs.begin(MODEL, 'run', *FREQUENT)
    assert (done.code, done.err) == (0, '')
    return runs.folder / 'run', states.everything(runs.folder / 'run'), done


@pytest.fixture(scope='module')
def by_position(server, home, tmp_path_factory):
    """The state of the unbroken run after each step and each epoch: {(epoch, images seen): state}."""
    runs = tiny_runs.Runs(server, home, tmp_path_factory.mktemp('positions'))
    done = runs.begin(MODEL, 'run', *FREQUENT, '--save_latest_freq', 1, '--save_by_iter',
                      values_of={'util.checkpoint.layout.FULL_STATES': 99})
    assert done.code == 0
    folder = runs.folder / 'run'
    return {states.position(folder, label): states.checkpoint_state(folder, label) for label in layout.labels(folder)}


def saves_of(operations: list) -> list[list[int]]:
    """For each save, the numbers of its operations, counted in the saving thread."""
    ours, saves = [(op, path) for thread, op, path in operations if thread == THREAD], [[]]
    for number, (op, path) in enumerate(ours):
        if op == 'mkdir' and path.endswith('.writing'):
            saves.append([])
        saves[-1].append(number)
    return saves[1:]


def crash_points(operations: list, save: int, writes: int = 1) -> list[int]:
    """Crash points of one save: before each operation, and within `writes` writes of each file, spread over it."""
    ours = [(op, path) for thread, op, path in operations if thread == THREAD]
    numbers = saves_of(operations)[save]
    points = [number for number in numbers if ours[number][0] != 'write']
    for written in {ours[number] for number in numbers if ours[number][0] == 'write'}:
        its_writes = [number for number in numbers if ours[number] == written]
        points += [its_writes[(2 * part + 1) * len(its_writes) // (2 * writes)] for part in range(writes)]
    return sorted(set(points))


def kill_at(number: int) -> dict:
    return dict(thread=THREAD, after=number, action='kill')


def test_order_of_the_operations_of_a_save(unbroken):
    """Write, flush, rename, flush; visible files are never opened for writing, so power may fail at any time."""
    folder, _, done = unbroken
    ours = [(op, path) for thread, op, path in done.operations if thread == THREAD]
    for numbers in saves_of(done.operations):
        operations = [ours[number] for number in numbers if ours[number][0] != 'write']
        aside = operations[0][1]
        written = [path for op, path in operations if op == 'trunc']
        assert all(path.startswith(f'{aside}/') for path in written)
        marker = operations.index(('rename', aside))
        flushed = [path for op, path in operations[:marker] if op == 'fsync']
        assert sorted(flushed) == sorted([*written, aside]) and flushed[-1] == aside
        assert written[-1].endswith('_manifest.json')
        taken = [path for op, path in operations[marker + 1:] if op == 'rename']
        assert operations[marker + 1] == ('fsync', '.') and len(taken) == len(written)
        assert taken[-1].endswith('_manifest.json')
        assert operations[operations.index(('rename', taken[-1])) + 1] == ('fsync', '.')
    assert len(saves_of(done.operations)) == 5      # after 2, 4, 6 images and both epochs


def test_killed_at_every_storage_operation_of_a_save(runs, unbroken, by_position, run_slow):
    """Each time the newest checkpoint is complete and equals the unbroken run at that step."""
    _, end, done = unbroken
    points = crash_points(done.operations, SAVE)
    assert len(points) > 40
    places = set()
    for count, number in enumerate(points[::EACH[run_slow]]):
        shutil.rmtree(runs.folder, ignore_errors=True)
        killed = runs.begin(MODEL, 'run', *FREQUENT, rules=[kill_at(number)])
        assert killed.code == -9, number
        folder = runs.folder / 'run'
        label = newest_good(folder)
        place = states.position(folder, label)
        assert states.differences(states.checkpoint_state(folder, label), by_position[place]) == [], number
        assert layout.labels(folder).keys() == ({'latest'} if place == (1, 2) else {'latest', '1'}), number
        places.add(place)
        if count % 10 == 0:
            assert runs.resume('run').code == 0, number
            assert states.differences(end, states.everything(folder)) == [], number
            assert states.leftovers(folder) == []
    assert places == {(1, 2), (2, 3)}       # the previous save, and the interrupted one


def test_killed_at_random_moments(runs, unbroken, run_slow):
    """The same command is repeated until the run is finished."""
    _, end, done = unbroken
    draw = random.Random(2)
    kills, wanted = 0, RANDOM_KILLS[run_slow]
    while kills < wanted:
        shutil.rmtree(runs.folder, ignore_errors=True)
        ended = None
        while ended != 0:
            limit = dict(kill_after=draw.uniform(0.1, 1) * done.seconds) if kills < wanted else {}
            ended = runs.begin(MODEL, 'run', *FREQUENT, '--continue_train', 'auto', **limit).code
            assert ended in (0, -9)
            kills += ended == -9
        assert states.differences(end, states.everything(runs.folder / 'run')) == []
        assert states.leftovers(runs.folder / 'run') == []


def test_killed_while_resuming(runs, unbroken, run_slow):
    """Killed early in a resumed run: while a set is completed, and while logs are cut back."""
    _, end, done = unbroken
    middle = next(number for number in crash_points(done.operations, SAVE)
                  if [line for line in done.operations if line[0] == THREAD][number][2].endswith('latest_net_G_B.pth')
                  and [line for line in done.operations if line[0] == THREAD][number][1] == 'rename')
    for number in range(0, 14, 4 if run_slow else 8):
        shutil.rmtree(runs.folder, ignore_errors=True)
        assert runs.begin(MODEL, 'run', *FREQUENT, rules=[kill_at(middle)]).code == -9
        killed = runs.resume('run', rules=[dict(after=number, action='kill')])
        assert killed.code in (-9, 0)
        assert runs.resume('run').code == 0
        assert states.differences(end, states.everything(runs.folder / 'run')) == [], number


def test_the_disk_fails_while_a_save_is_completed(runs, unbroken):
    """Only half of the files have their final names: this start fails, and the next one completes the save."""
    _, end, done = unbroken
    operations = [line for line in done.operations if line[0] == THREAD]
    middle = next(number for number in crash_points(done.operations, SAVE)
                  if operations[number][1] == 'rename' and operations[number][2].endswith('latest_net_G_B.pth'))
    assert runs.begin(MODEL, 'run', *FREQUENT, rules=[kill_at(middle)]).code == -9
    failed = runs.resume('run', rules=[dict(op='rename', path=r'\.ready/', after=1, times=1, action='EIO')])
    assert failed.code == 4 and 'Input/output error' in failed.err and '.ready' in failed.err
    assert runs.resume('run').code == 0
    assert states.differences(end, states.everything(runs.folder / 'run')) == []


def test_a_damaged_byte_is_found(unbroken, tmp_path):
    """200 random flips and 20 truncations over all files of a checkpoint (docs/reliability.md, goal 8)."""
    folder = tmp_path / 'run'
    shutil.copytree(unbroken[0], folder)
    draw = random.Random(3)
    paths = layout.existing_files(folder, 'latest')
    assert damage.find_problems(folder, 'latest') == []
    for count in range(220):
        path = draw.choice(paths)
        content = path.read_bytes()
        place = draw.randrange(len(content))
        damaged = bytearray(content[:place] if count >= 200 else content)
        if count < 200:
            damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        problem, = damage.find_problems(folder, 'latest')
        assert str(path) in problem
        path.write_bytes(content)
    assert damage.find_problems(folder, 'latest') == []
