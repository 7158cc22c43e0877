"""Random command lines, damaged images and damaged checkpoints, and how a program may respond."""
import hashlib
import io
import random
import shutil
from pathlib import Path

import tiny_runs
from PIL import Image

from options import TestOptions, TrainOptions
from util.checkpoint import layout, transaction
from util.checkpoint.manifest import read_manifest

LIMIT = 90              # seconds until a run counts as hanging
GARBAGE = ['', '0', '1', '2', '3', '-1', '1.5', '1e-9', 'nan', 'inf', 'x', 'none', 'latest', '../x', 'a b', '{', '%s',
           '--', '\U0001f600', 'None', 'True', '[]', '1,2', 'AtoB', 'resnet_0blocks', 'unet_7', 'iter_4', '.', '/']
# set by the case itself, contacting servers, or (--verbose) printing tracebacks
FIXED = {'--help', '-h', '--checkpoints_dir', '--results_dir', '--name', '--gpu_ids', '--use_wandb', '--monitor',
         '--display_id', '--display_server', '--display_port', '--engine', '--visdom_assets', '--verbose'}
# keeps runs short
SMALL = '--n_epochs 1 --n_epochs_decay 0 --max_iters 3 --max_dataset_size 3 --data_timeout 20'.split()
FORMATS = ('PNG', 'JPEG', 'WEBP', 'TIFF', 'GIF', 'BMP')


def random_words(draw: random.Random, program: str, home: Path) -> list[str]:
    """Up to five options, most with plausible values, some with nonsense."""
    parser = (TrainOptions if program == 'train' else TestOptions)().build_parser([])
    actions = [action for action in parser._actions if action.option_strings and not FIXED & set(action.option_strings)]
    words = []
    for action in draw.sample(actions, draw.randint(1, 5)):
        words.append(draw.choice(action.option_strings))
        if action.nargs == 0:
            continue
        if '--dataroot' in action.option_strings:
            words.append(str(home / draw.choice(['aligned', 'unaligned', 'photos', 'absent', 'aligned/train/0.png'])))
        elif action.choices and draw.random() < 0.9:
            words.append(str(draw.choice(sorted(map(str, action.choices)))))
        elif draw.random() < 0.9 and isinstance(action.default, (int, float)):
            words.append(draw.choice('01234') if isinstance(action.default, int) else draw.choice(['0.5', '1', '2']))
        elif draw.random() < 0.9:
            words.append(draw.choice(GARBAGE))
    return words


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, lost, duplicated or set to zero; or another beginning."""
    content, kind = bytearray(content), draw.choice(['flip', 'cut', 'zero', 'double', 'head', 'empty', 'text', 'many'])
    place = draw.randrange(len(content))
    length = draw.randint(1, max(1, min(200, len(content) - place)))
    if kind in ('flip', 'many'):
        for _ in range(1 if kind == 'flip' else 50):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif kind == 'cut':
        del content[place:]
    elif kind == 'zero':
        content[place:place + length] = bytes(length)
    elif kind == 'double':
        content[place:place] = content[place:place + length]
    elif kind == 'head':
        content[:draw.randint(1, 12)] = draw.randbytes(8)
    elif kind == 'empty':
        content.clear()
    else:
        content[:] = b'<html>404</html>'
    return bytes(content)


def draw_damaged_images(root: Path, draw: random.Random, home: Path) -> None:
    """Create image pairs in `root`; one or two are damaged."""
    shutil.copytree(home / 'aligned', root)
    for number in range(draw.randint(1, 2)):
        encoded, kind = io.BytesIO(), draw.choice(FORMATS)
        Image.effect_noise((80, 40), 90).convert('RGB').save(encoded, kind)
        name = f'{draw.randint(0, 9)}{number}.{kind.lower()}'
        (root / 'train' / name).write_bytes(damaged(encoded.getvalue(), draw))


def damage_checkpoint(folder: Path, draw: random.Random):
    """Damage one file. Its sum in the manifest reveals that, is gone, or matches the damage."""
    path = draw.choice([*layout.existing_files(folder, 'latest'), layout.manifest_path(folder, 'latest')])
    path.write_bytes(damaged(path.read_bytes(), draw))
    manifest, sums = layout.manifest_path(folder, 'latest'), draw.choice(['right', 'gone', 'wrong'])
    if sums == 'gone':
        manifest.unlink()
    elif sums == 'wrong' and path != manifest:
        content = read_manifest(folder, 'latest')
        content.files[path.name] = dict(bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        transaction.write_manifest(folder, content)


def verdict(done, folder: Path | None, results: Path | None = None, words=()) -> str:
    """What is wrong with how a program ended; '' if nothing. `folder`: where a successful run has checkpoints."""
    lines = done.err.splitlines()
    errors = [line for line in lines if line.startswith('error: ')]
    if done.code is None:
        return 'hangs'
    if 'Traceback' in done.err + done.out:
        return 'a traceback'
    if done.code not in (0, 2, 3, 4, 5, 6):
        return f'exit code {done.code}'
    if done.code not in (0, 6) and not errors:
        return f'exit code {done.code} without an error'
    if done.code == 0 and errors:
        return 'an error with exit code 0'
    trained = folder and any(layout.labels(place) for place in folder.parent.glob(f'{folder.name}*'))
    nothing_to_do = 'nothing left to train' in done.out or '--dry_run' in words
    if done.code == 0 and folder and not trained and not nothing_to_do:
        return 'nothing done, exit code 0'
    if done.code == 0 and results and not any(results.rglob('*.png')):
        return 'no result, exit code 0'
    return ''


class Fuzz:
    """Cases by number: `options(n)`, `images(n)`, `checkpoints(n)` each return what went wrong, '' if nothing."""

    def __init__(self, server, home: Path, folder: Path, seed: int = 0):
        self.runs, self.home, self.folder, self.seed = tiny_runs.Runs(server, home, folder / 'runs'), home, folder, seed
        self.trained = folder / 'trained'
        self.codes = {}

    def begin(self, kind: str, number: int) -> random.Random:
        shutil.rmtree(self.runs.folder, ignore_errors=True)
        return random.Random(f'{self.seed} {kind} {number}')

    def trained_run(self, name: str) -> Path:
        """A copy of a finished run."""
        if not self.trained.exists():
            done = self.runs.begin('pix2pix', 'trained', '--save_epoch_freq', 1, '--n_epochs', 1)
            assert done.code == 0, done.err
            shutil.move(self.runs.folder / 'trained', self.trained)
        return Path(shutil.copytree(self.trained, self.runs.folder / name))

    def check(self, done, folder, results=None, words=()) -> str:
        self.codes[done.code] = self.codes.get(done.code, 0) + 1
        wrong = verdict(done, folder, results, words)
        return f'{wrong}: {done.err[-1500:]}' if wrong else ''

    def options(self, number: int) -> str:
        draw = self.begin('options', number)
        program = draw.choice(['train', 'train', 'test'])
        if program == 'train':
            model = draw.choice(list(tiny_runs.MODELS))
            words = random_words(draw, program, self.home)
            done = self.runs.begin(model, 'run', *words, *SMALL, limit=LIMIT)
            wrong = self.check(done, self.runs.folder / 'run', words=words)
        else:
            self.trained_run('run')
            words = random_words(draw, program, self.home)
            done = self.runs.test('run', *words, '--cpu_threads', 1, limit=LIMIT)
            wrong = self.check(done, None, self.runs.folder / 'results')
        return f'{program} {words}: {wrong}' if wrong else ''

    def images(self, number: int) -> str:
        draw = self.begin('images', number)
        root = self.folder / 'images'
        shutil.rmtree(root, ignore_errors=True)
        draw_damaged_images(root, draw, self.home)
        words = ['--dataroot', root, '--bad_images', draw.choice(['stop', 'skip']), '--max_dataset_size', 99]
        done = self.runs.begin('pix2pix', 'run', *words, '--n_epochs', 1, '--n_epochs_decay', 0, limit=LIMIT)
        wrong = self.check(done, self.runs.folder / 'run')
        return f'images {number}: {wrong}' if wrong else ''

    def checkpoints(self, number: int) -> str:
        draw = self.begin('checkpoints', number)
        folder = self.trained_run('run')
        damage_checkpoint(folder, draw)
        if draw.random() < 0.5:
            wrong = self.check(self.runs.resume('run', '--n_epochs', 2, limit=LIMIT), folder)
        else:
            wrong = self.check(self.runs.test('run', limit=LIMIT), None, self.runs.folder / 'results')
        return f'checkpoints {number}: {wrong}' if wrong else ''
