"""train.py from the command line to the files it leaves."""
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from conftest import TINY_TRAINING, draw_root
from PIL import Image

import test as test_program
import train as train_program
from options.restore import newest_good
from util.cli import run
from util.console import say, warn
from util.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
unix = pytest.mark.skipif(os.name == 'nt', reason='needs descriptors and signals of Unix')
PROGRAMS = {'train': train_program.main, 'test': test_program.main}
U21_LINE = re.compile(r'\(epoch: (\d+), iters: (\d+), time: \d+\.\d{3}, data: \d+\.\d{3}\) ((?:\w+: -?\d+\.\d{3} )+)')
LOSSES = {
    'pix2pix': ['G_GAN', 'G_L1', 'D_real', 'D_fake'],
    'colorization': ['G_GAN', 'G_L1', 'D_real', 'D_fake'],
    'cyclegan': ['D_A', 'G_A', 'cycle_A', 'idt_A', 'D_B', 'G_B', 'cycle_B', 'idt_B'],
    'template': ['G'],
}
NETS = {'pix2pix': 'D G', 'colorization': 'D G', 'cyclegan': 'D_A D_B G_A G_B', 'template': 'G'}
PICTURES = {
    'pix2pix': 'real_A fake_B real_B', 'template': 'real_A fake_B real_B',
    'colorization': 'real_A real_B_rgb fake_B_rgb',
    'cyclegan': 'real_A fake_B rec_A idt_B real_B fake_A rec_B idt_A',
}
ARGUMENTS = {
    'pix2pix': ['--dataroot', 'aligned', '--model', 'pix2pix', '--netG', 'unet_32'],
    'colorization': ['--dataroot', 'photos', '--model', 'colorization', '--netG', 'unet_32'],
    'cyclegan': ['--dataroot', 'unaligned', '--netG', 'resnet_6blocks'],
    'template': ['--dataroot', 'aligned', '--model', 'template', '--netG', 'resnet_6blocks'],
}


class Page(HTMLParser):
    """What a browser sees of a page: title, headings, image files, links and labels."""

    def __init__(self, path: Path):
        super().__init__()
        self.title, self.headings, self.images, self.links, self.labels, self.refresh = '', [], [], [], [], None
        self.open = []
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.open += [tag] if tag in ('title', 'h3') else []
        self.headings += [''] if tag == 'h3' else []
        if tag == 'img':
            self.images.append(unquote(attributes['src']))
            self.labels.append(attributes['alt'])
            assert re.fullmatch(r'width: ?\d+px', attributes['style'])
        if tag == 'a':
            self.links.append(unquote(attributes['href']))
        if attributes.get('http-equiv') == 'refresh':
            self.refresh = int(attributes['content'])

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, text):
        if self.open == ['title']:
            self.title += text
        elif self.open == ['h3']:
            self.headings[-1] += text


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    """A folder with the data of every model."""
    folder = tmp_path_factory.mktemp('home')
    draw_root(folder / 'aligned', ('',), (80, 40))
    draw_root(folder / 'unaligned', ('A', 'B'))
    draw_root(folder / 'photos', ('',))
    return folder


@pytest.fixture
def here(home, tmp_path, monkeypatch, capfd):
    """here('train', '--lr', 1) runs a program in this process, in `home`, with runs of its own:
    (exit code, lines of stdout, lines of stderr)."""
    monkeypatch.chdir(home)

    def call(name: str, *words):
        capfd.readouterr()
        code = run(PROGRAMS[name], ['--checkpoints_dir', str(tmp_path / 'runs'), *map(str, words)])
        streams = capfd.readouterr()
        return code, streams.out.splitlines(), streams.err.splitlines()
    return call


def train_words(model: str, *more) -> list[str]:
    return [*TINY_TRAINING, *ARGUMENTS[model], '--name', model, '--n_epochs', '1', '--n_epochs_decay', '0',
            *map(str, more)]


def trained(here, *more) -> list[str]:
    """Train a tiny pix2pix and return what was printed."""
    code, out, err = here('train', *train_words('pix2pix', *more))
    assert (code, err) == (0, [])
    return out


def loss_lines(folder: Path) -> list[tuple]:
    """(epoch, iters, {name: text of the value}) of each line of the log."""
    lines = (folder / 'loss_log.txt').read_text(encoding='utf-8').splitlines()
    matches = [U21_LINE.fullmatch(line) for line in lines if not line.startswith('=')]
    assert all(matches)
    return [(int(m[1]), int(m[2]), dict(re.findall(r'(\w+): (\S+)', m[3]))) for m in matches]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


def labels(folder: Path) -> list[str]:
    return sorted({path.name.split('_net_')[0] for path in folder.glob('*_net_*.pth')})


def snapshot(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


# ---- a whole run

@pytest.mark.sample(2)
@pytest.mark.parametrize('model', ARGUMENTS)
def test_run_and_its_files(model, program, home, tmp_path):
    done = program('train', *TINY_TRAINING, *ARGUMENTS[model], '--name', 'run', '--checkpoints_dir', tmp_path,
                   '--n_epochs', 1, '--n_epochs_decay', 1, '--save_epoch_freq', 1, '--print_freq', 2,
                   '--display_freq', 2, folder=home)
    assert (done.returncode, done.stderr) == (0, '')
    folder = tmp_path / 'run'
    weights = [f'{label}_net_{net}.pth' for label in ('1', '2', 'latest') for net in NETS[model].split()]
    states = [f'{label}_{part}' for label in ('1', '2', 'latest')
              for part in ('state.pth', 'training.pth', 'manifest.json')]
    web = [f'web/images/epoch{epoch:03d}_{label}.png' for epoch in (1, 2) for label in PICTURES[model].split()]
    found = files(folder)
    assert [name for name in found if not name.startswith('web/val/')] == sorted(
        [*weights, *states, *web, 'web/index.html', 'web/data.js', 'train_opt.txt', 'loss_log.txt', 'losses.jsonl'])
    fakes = {name.rpartition('/')[2] for name in found if name.startswith('web/val/') and 'fake_B' in name}
    assert {name.split('_')[1] for name in fakes} == {'0', '1', '2'}      # all images of the phase test, at the end
    assert {name.split('_')[0] for name in fakes} == {'1', '10'}     # batches that are shown in each run
    lines = done.stdout.splitlines()
    assert lines[-3].endswith(f': {folder}') and str(folder / 'web' / 'index.html') in lines[-2]
    assert [str(folder / 'web' / 'index.html') in line for line in lines].count(True) == 2      # at start and end
    assert lines[-1].endswith(f'test.py --name run --checkpoints_dir {tmp_path}')
    early = [line for line in lines if line.startswith('step ')]
    assert [line.split()[1] for line in early] == ['1:', '10:']
    assert all(set(LOSSES[model]) <= set(line.split()) for line in early)

    found = loss_lines(folder)
    assert [(epoch, iters) for epoch, iters, _ in found] == [(1, 2), (1, 4), (2, 1), (2, 3), (2, 5)]
    assert all(list(losses) == LOSSES[model] for _, _, losses in found)
    header = (folder / 'loss_log.txt').read_text(encoding='utf-8').splitlines()[0]
    assert re.fullmatch(r'={16} Training Loss \(.+\) ={16}', header)

    rows = [json.loads(line) for line in (folder / 'losses.jsonl').read_text(encoding='utf-8').splitlines()]
    assert [row['total_iters'] for row in rows] == [2, 4, 6, 8, 10]
    assert [(row['epoch'], row['iters'], {name: f'{value:.3f}' for name, value in row['losses'].items()})
            for row in rows] == found
    assert [row['lr'] for row in rows] == [pytest.approx(rate) for rate in [2e-4] * 2 + [1e-4] * 3]

    printed = (folder / 'train_opt.txt').read_text(encoding='utf-8')
    shown = [line for line in printed.splitlines() if line in done.stdout.splitlines()]
    assert {line.split(':')[0].strip() for line in shown} >= {'n_epochs', 'crop_size', 'seed', 'name'}
    assert len(shown) < len(printed.splitlines()) / 2
    assert f'{"n_epochs":>25}: {1!s:<30}\t[default: 100]\n' in printed
    assert 'The number of training images = 5\n' in done.stdout
    for epoch in (1, 2):
        assert re.search(rf'^End of epoch {epoch} / 2 \t Time Taken: \d+ sec$', done.stdout, re.MULTILINE)


def test_page_of_a_run(here, tmp_path):
    trained(here, '--n_epochs', 3, '--display_freq', 1)
    folder = tmp_path / 'runs' / 'pix2pix' / 'web'
    page = Page(folder / 'index.html')
    assert page.title == 'Experiment name = pix2pix' and not page.refresh
    assert page.headings == ['epoch [3]', 'epoch [2]', 'epoch [1]']
    assert page.labels == PICTURES['pix2pix'].split() * 3 and page.links == page.images
    assert sorted(page.images) == [f'images/{path.name}' for path in sorted((folder / 'images').iterdir())]
    assert all(Image.open(folder / name).size == (32, 32) for name in page.images)


def test_no_html(here, tmp_path):
    trained(here, '--no_html', '--display_freq', 1)
    assert not (tmp_path / 'runs' / 'pix2pix' / 'web').exists()


def test_the_first_and_the_last_pictures_of_a_short_run_are_shown(here, tmp_path):
    trained(here, '--n_epochs', 2)     # 10 images, --display_freq 400
    assert Page(tmp_path / 'runs' / 'pix2pix' / 'web' / 'index.html').headings == ['epoch [2]', 'epoch [1]']


def test_direction(here, tmp_path, home):
    trained(here, '--direction', 'BtoA', '--max_dataset_size', 1, '--preprocess', 'crop', '--no_flip',
            '--load_size', 32, '--display_freq', 1)
    pair = Image.open(home / 'aligned' / 'train' / '0.png')
    shown = np.asarray(Image.open(tmp_path / 'runs' / 'pix2pix' / 'web' / 'images' / 'epoch001_real_A.png'))
    windows = [(x, y) for x in range(9) for y in range(9)
               if np.array_equal(np.asarray(pair.crop((40 + x, y, 72 + x, y + 32))), shown)]
    assert len(windows) == 1


def test_seed_makes_runs_equal(here, tmp_path):
    trained(here)
    first = snapshot(tmp_path / 'runs' / 'pix2pix')
    trained(here, '--name', 'again')
    second = snapshot(tmp_path / 'runs' / 'again')
    trained(here, '--name', 'other', '--seed', 2)
    other = snapshot(tmp_path / 'runs' / 'other')
    assert first['latest_net_G.pth'] == second['latest_net_G.pth'] != other['latest_net_G.pth']


def test_seed_that_is_drawn_is_told(here):
    words = train_words('pix2pix', '--max_dataset_size', 1)
    at = words.index('--seed')
    del words[at:at + 2]
    seeds = []
    for _ in range(2):
        _, out, _ = here('train', *words)
        told = next(line for line in out if line.startswith('device: '))
        seeds.append(int(re.search(r'seed (\d+)', told)[1]))
    assert seeds[0] != seeds[1]


# ---- when something is written: 5 images in batches of 3, so steps end at 3, 5 | 8, 10 | 13, 15 images

def test_frequencies_fire_at_or_after_each_multiple(here, tmp_path):
    out = trained(here, '--n_epochs', 3, '--batch_size', 3, '--print_freq', 4, '--display_freq', 7,
                  '--save_latest_freq', 6, '--save_by_iter', '--save_epoch_freq', 2)
    folder = tmp_path / 'runs' / 'pix2pix'
    assert [(epoch, iters) for epoch, iters, _ in loss_lines(folder)] == [
        (1, 5), (2, 3), (3, 3), (3, 5)]     # 4, 8, 12, the end
    assert [line for line in out if line.startswith('saving the latest')] == [
        'saving the latest model (epoch 2, total_iters 8)', 'saving the latest model (epoch 3, total_iters 13)']
    assert labels(folder) == ['2', '3', 'iter_13', 'iter_8', 'latest']
    assert Page(folder / 'web' / 'index.html').headings == ['epoch [3]', 'epoch [2]', 'epoch [1]']   # 14, 7, the first


def test_save_by_iter_leaves_latest_alone(here, tmp_path):
    folder = tmp_path / 'runs' / 'pix2pix'
    trained(here, '--save_by_iter', '--save_latest_freq', 2)
    saved = {label: (folder / f'{label}_net_G.pth').read_bytes() for label in labels(folder)}
    assert saved.keys() == {'iter_2', 'iter_4', '1', 'latest'}
    assert saved['latest'] == saved['1'] and len(set(saved.values())) == 3


@pytest.mark.parametrize('freq', [0, 2, 99])
def test_last_epoch_is_always_saved(here, tmp_path, freq):
    trained(here, '--n_epochs', 3, '--save_epoch_freq', freq, '--max_dataset_size', 2)
    assert labels(tmp_path / 'runs' / 'pix2pix') == (['2', '3', 'latest'] if freq == 2 else ['3', 'latest'])


# ---- going on

def test_continue_train(here, tmp_path):
    folder = tmp_path / 'runs' / 'pix2pix'
    trained(here, '--print_freq', 5, '--display_freq', 5)
    before = snapshot(folder)
    code, out, err = here('train', '--continue_train', '--name', 'pix2pix', '--n_epochs', 3, '--batch_size', 2,
                          '--display_id', -1, '--gpu_ids', -1)
    assert (code, err) == (0, [])
    assert 'n_epochs: 1 -> 3' in out and 'batch_size: 1 -> 2' in out
    after = snapshot(folder)
    assert after['loss_log.txt'].startswith(before['loss_log.txt'])
    assert [(epoch, iters) for epoch, iters, _ in loss_lines(folder)] == [(1, 5), (2, 5), (3, 5)]
    assert after['loss_log.txt'].count(b'= Training Loss (') == 1
    assert after['train_opt.txt.1'] == before['train_opt.txt'] != after['train_opt.txt']
    assert labels(folder) == ['1', '3', 'latest']
    assert all(after[name] == before[name] for name in before if name.startswith(('1_net', 'web/images/epoch001')))
    assert Page(folder / 'web' / 'index.html').headings == ['epoch [3]', 'epoch [2]', 'epoch [1]']


def test_continue_from_an_iteration(here, tmp_path):
    trained(here, '--save_by_iter', '--save_latest_freq', 2, '--print_freq', 1)
    folder = tmp_path / 'runs' / 'pix2pix'
    before = loss_lines(folder)
    code, out, _ = here('train', '--continue_train', '--name', 'pix2pix', '--load_iter', 4, '--display_id', -1,
                        '--gpu_ids', -1)
    assert code == 0 and any('iter_4: epoch 1, image 4' in line for line in out)
    assert loss_lines(folder) == before and [(epoch, iters) for epoch, iters, _ in before][4:] == [(1, 5)]
    dropped = (folder / 'loss_log.txt.dropped').read_text(encoding='utf-8').splitlines()
    assert len(dropped) == 1 and dropped[0].startswith('(epoch: 1, iters: 5,')


def test_continue_from_bare_weights(here, tmp_path):
    folder = tmp_path / 'runs' / 'pix2pix'
    trained(here)
    for path in [*folder.glob('*_state.pth'), *folder.glob('*_training.pth'), *folder.glob('*_manifest.json')]:
        path.unlink()
    words = train_words('pix2pix', '--continue_train', '--n_epochs', 4, '--epoch_count', 4, '--print_freq', 5)
    assert here('train', *words)[0] == 0
    assert [epoch for epoch, _, _ in loss_lines(folder)] == [1, 4]      # at the end of each start
    assert labels(folder) == ['1', '4', 'latest']


@pytest.mark.sample(4)
@pytest.mark.parametrize(('words', 'parts'), [
    (['--netG', 'unet_64', '--crop_size', 64, '--load_size', 64], ['--netG unet_64', '--netG unet_32']),
    (['--ndf', 8], ['--ndf 8', '--ndf 4']),
    (['--norm', 'instance'], ['--norm instance', '--norm batch']),
    (['--model', 'cycle_gan'], ['--model cycle_gan', '--model pix2pix']),
    (['--direction', 'BtoA'], ['--direction BtoA', '--direction AtoB']),
    (['--epoch', 7], ['no checkpoint 7', '1 (D G), latest (D G)', '--epoch']),
    (['--load_iter', 7], ['no checkpoint iter_7', '1 (D G), latest (D G)']),
    (['--name', 'absent'], ['absent', 'has: pix2pix', '--name']),
])
def test_contradiction_of_the_run_that_goes_on(here, tmp_path, words, parts):
    trained(here)
    before = snapshot(tmp_path / 'runs')
    code, _, err = here('train', '--continue_train', '--name', 'pix2pix', '--n_epochs', 2, '--display_id', -1,
                        '--gpu_ids', -1, *words)
    assert code == 2 and len(err) == 1
    assert err[0].startswith('error: ') and [part for part in parts if part not in err[0]] == []
    assert snapshot(tmp_path / 'runs') == before


# ---- starting anew

def test_an_earlier_run_is_moved_aside(here, tmp_path):
    trained(here)
    first = snapshot(tmp_path / 'runs' / 'pix2pix')
    out = trained(here, '--seed', 2)
    assert any(str(tmp_path / 'runs' / 'pix2pix.1') in line for line in out)
    second = snapshot(tmp_path / 'runs' / 'pix2pix')
    trained(here, '--seed', 3)
    assert snapshot(tmp_path / 'runs' / 'pix2pix.1') == first
    assert snapshot(tmp_path / 'runs' / 'pix2pix.2') == second


def test_overwrite(here, tmp_path):
    trained(here, '--save_by_iter', '--save_latest_freq', 2)
    out = trained(here, '--overwrite')
    assert any(str(tmp_path / 'runs' / 'pix2pix') in line and '--overwrite' in line for line in out)
    assert os.listdir(tmp_path / 'runs') == ['pix2pix'] and labels(tmp_path / 'runs' / 'pix2pix') == ['1', 'latest']


@pytest.mark.parametrize('words', [['--dataroot', 'absent'], ['--dataroot', 'single'], ['--lr', 'x'],
                                   ['--continue_train'], ['--model', 'colorization', '--direction', 'BtoA']])
def test_a_mistake_leaves_the_earlier_run_alone(here, tmp_path, words):
    trained(here)
    before = snapshot(tmp_path / 'runs')
    assert here('train', *train_words('pix2pix', '--overwrite', *words))[0] == 2
    assert snapshot(tmp_path / 'runs') == before


def test_images_that_do_not_fit_leave_the_earlier_run_alone(here, tmp_path):
    trained(here)
    before = snapshot(tmp_path / 'runs')
    assert here('train', *train_words('pix2pix', '--overwrite', '--preprocess', 'none'))[0] == 2
    assert snapshot(tmp_path / 'runs') == before


# ---- mistakes, as a user sees them

def test_mistakes_of_a_command_line(program, home, tmp_path):
    words = ['--dataroot', 'absent', '--batch_size', 0, '--checkpoints_dir', tmp_path / 'runs']
    done = program('train', *words, folder=home)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and done.stdout == ''
    assert len(lines) == 2 and all(line.startswith('error: ') for line in lines)
    assert str(home / 'absent') in done.stderr and not (tmp_path / 'runs').exists()


def test_data_mistake_and_its_traceback(program, home, tmp_path):
    broken = tmp_path / 'broken' / 'train'
    broken.mkdir(parents=True)
    (broken / '0.png').write_text('no image')
    words = [*TINY_TRAINING, '--num_threads', 2, '--model', 'pix2pix', '--netG', 'unet_32', '--dataroot', broken.parent,
             '--checkpoints_dir', tmp_path / 'runs']
    done = program('train', *words, folder=home)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith('error: ') and str(broken / '0.png') in done.stderr
    verbose = program('train', *words, '--num_threads', 0, '--verbose', folder=home)
    assert verbose.returncode == 2 and 'Traceback' in verbose.stderr and str(broken / '0.png') in verbose.stderr


def test_no_gpu(here, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    words = train_words('pix2pix', '--gpu_ids', 3)
    code, _, err = here('train', *words)
    assert code == 2 and len(err) == 1
    assert err[0].startswith('error: ') and 'GPU 3' in err[0] and '--gpu_ids -1' in err[0]


def test_gpu_that_is_not_there(here, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    code, _, err = here('train', *train_words('pix2pix', '--gpu_ids', 7))
    assert code == 2 and len(err) == 1
    assert 'no GPU 7' in err[0] and '0, 1' in err[0]


def test_folder_that_cannot_be_made(here, home):
    image = home / 'aligned' / 'train' / '0.png'
    assert here('train', *train_words('pix2pix'), '--checkpoints_dir', image)[0] in (2, 4)


def test_console_that_cannot_write_a_path(program, home, tmp_path):
    (tmp_path / '漢').mkdir()
    draw_root(tmp_path / '漢' / 'aligned', ('',), (80, 40))
    words = train_words('pix2pix', '--max_dataset_size', 1, '--dataroot', tmp_path / '漢' / 'aligned',
                        '--checkpoints_dir', tmp_path / 'runs')
    done = program('train', *words, folder=home, env={'PYTHONIOENCODING': 'cp1252'})
    assert done.returncode == 0, done.stderr


CLOSED = """
import os, sys
from util import cli
def main(argv, console):
    with open(os.devnull) as file:
        print('out', flush=True)
        print('err', file=sys.stderr)
        assert file.fileno() > 2 and sys.stdin.read() == '' and os.system('echo hello') == 0
sys.exit(cli.run(main, []))
"""


@unix
@pytest.mark.parametrize('numbers', [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_no_file_takes_the_place_of_a_closed_stream(numbers):
    done = subprocess.run([sys.executable, '-c', CLOSED], cwd=ROOT, timeout=60, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, preexec_fn=closing(*numbers))
    assert (done.returncode, done.stdout, done.stderr) == (
        0, '' if 1 in numbers else 'out\nhello\n', '' if 2 in numbers else 'err\n')


def closing(*numbers):
    return lambda: [os.close(number) for number in numbers]


@pytest.mark.parametrize('more', [[], ['--accumulate', 2], ['--batch_size', 2]])
def test_a_dry_run_through_the_command_line(here, tmp_path, more):
    code, out, err = here('train', *train_words('pix2pix'), '--dry_run', *more)
    size = more[-1] if more else 1
    assert (code, err) == (0, []) and any(f'step of {size} images' in line for line in out)
    assert not (tmp_path / 'runs').exists()


NAMELESS = """
import pwd, sys
def absent(number):
    raise KeyError(f'getpwuid(): uid not found: {number}')
pwd.getpwuid = absent
from util import cli
def main(argv, console):
    import getpass
    if len(sys.argv) > 1:
        import torch._dynamo
    print(getpass.getuser() != '')
sys.exit(cli.run(main, []))
"""


@unix
def test_a_user_who_has_only_a_number(run_slow):
    """As in containers; PyTorch 2.11, which asks for the name, ends with a `KeyError` otherwise."""
    names = ('USER', 'LOGNAME', 'LNAME', 'USERNAME')
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, '-c', NAMELESS, *['torch'] * run_slow], cwd=ROOT, timeout=100,
                          capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'True\n', '')


@unix
def test_a_run_without_streams(here, home, tmp_path, run_slow):
    trained(here)
    folders = [tmp_path / name / 'pix2pix' for name in ('runs', 'alone')]
    results = ['--results_dir', tmp_path / 'results', '--dataroot', 'aligned', '--name', 'pix2pix', '--gpu_ids', '-1']
    for name, words in (('train', train_words('pix2pix')), ('test', results))[:1 + run_slow]:
        command = [sys.executable, str(ROOT / f'{name}.py'), *map(str, words), '--checkpoints_dir', folders[1].parent]
        assert subprocess.run(command, cwd=home, timeout=60, preexec_fn=closing(0, 1, 2)).returncode == 0
    weights = [torch.load(folder / 'latest_net_G.pth', weights_only=True) for folder in folders]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert sorted([*files(folders[0]), *['test_opt.txt'] * run_slow]) == files(folders[1])
    assert loss_lines(folders[0]) == loss_lines(folders[1])
    assert (tmp_path / 'results' / 'pix2pix' / 'test_latest' / 'index.html').exists() == run_slow


def test_control_characters_are_not_printed(tmp_path, capsys):
    def main(argv, console):
        warn('a\nb')
        say('two\nlines\tand \x1b[2J')
        raise UserError('one \x9b2J', 'two\r\x7f')
    assert run(main, []) == 2
    out, err = capsys.readouterr()
    assert out == 'two\nlines\tand \\x1b[2J\n'
    assert err.splitlines() == [r'warning: a\nb', r'error: one \x9b2J', r'error: two\r\x7f']
    (tmp_path / 'file').touch()
    assert run(lambda *_: (tmp_path / 'file' / 'a\nb').mkdir(), []) == 4
    assert str(tmp_path / 'file' / r'a\nb: ') in capsys.readouterr().err


def test_followers_stay_silent(tmp_path, capsys, console):
    assert newest_good(tmp_path, new_if_none=True) == ''
    assert capsys.readouterr().err.startswith(f'note: no checkpoint in {tmp_path} ')
    console.silent = True
    assert newest_good(tmp_path, new_if_none=True) == ''
    say('paired by file name')
    assert capsys.readouterr() == ('', '')


# ---- being stopped

SENDER = """
import os, runpy, signal, sys
class Sender:
    def find_spec(self, name, *_):
        if name in ('options', 'torch'):
            os.kill(os.getpid(), signal.SIGUSR1)
sys.meta_path.insert(0, Sender())
sys.path.insert(0, os.path.dirname(sys.argv[1]))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.mark.sample(1)
@unix
@pytest.mark.parametrize('ignored', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_usr1_before_the_training_saves_at_its_first_step(ignored, home, tmp_path):
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    words = train_words('pix2pix', '--checkpoints_dir', tmp_path)
    done = subprocess.run([sys.executable, '-c', SENDER, str(ROOT / 'train.py'), *words], cwd=home, timeout=60,
                          capture_output=True, text=True, preexec_fn=lambda: signal.signal(signal.SIGUSR1, handler))
    assert (done.returncode, done.stderr) == (0, '')
    assert ('saving the latest model (epoch 1, total_iters 1)' in done.stdout) != ignored


def test_the_command_to_go_on_is_quoted(here, tmp_path):
    place = tmp_path / "it's $HOME; a place"
    code, out, _ = here('train', *train_words('pix2pix', '--checkpoints_dir', place, '--max_minutes', 1e-9))
    command, = (line for line in out if line.endswith(' --continue_train'))
    python, script, *words = shlex.split(command.partition(': ')[2])
    assert (code, python, script) == (0, 'python', 'train.py')
    code, out, _ = here('train', *words, '--gpu_ids', '-1')
    assert code == 0 and any(line.endswith(f': {place / "pix2pix"}') for line in out)


@pytest.mark.skipif(os.name == 'nt', reason='Windows has no such signals')
def test_a_stopped_run_goes_on_as_if_it_had_not_been(program, home, tmp_path, run_slow):
    """Stopped in the middle of an epoch, with two workers: saved, and in the end equal to the run left alone."""
    words = train_words('pix2pix', '--checkpoints_dir', tmp_path, '--num_threads', 2, '--n_epochs', 6)
    words += ['--print_freq', 1]
    whole = program('train', *words, '--name', 'whole', folder=home)
    assert whole.returncode == 0
    for name, code in (('SIGTERM', 143), ('SIGINT', 130))[:1 + run_slow]:
        command = [sys.executable, str(ROOT / 'train.py'), *map(str, words), '--name', name]
        # the tests may run where SIGINT is ignored, and an inherited "ignore" is respected
        process = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        for line in process.stdout:
            if line.startswith('(epoch: 2'):
                os.killpg(process.pid, getattr(signal, name))
                break
        rest, err = process.communicate(timeout=60)
        assert process.returncode == code and 'Traceback' not in err
        assert f'stopped by {name}' in rest and '--continue_train' in rest
        again = program('train', '--name', name, '--checkpoints_dir', tmp_path, '--continue_train', '--gpu_ids', -1,
                        folder=home)
        assert again.returncode == 0
        for net in 'GD':
            files = [tmp_path / run / f'latest_net_{net}.pth' for run in ('whole', name)]
            left, right = (torch.load(file, weights_only=True) for file in files)
            assert all(torch.equal(left[key], right[key]) for key in left)
