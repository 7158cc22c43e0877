"""Draw a demo dataset with known ground truth, in seconds and without a download.

    python datasets/make_demo.py --task facades --out ./datasets/demo_facades

Tasks: facades (paired: train with --direction BtoA), day2night and shapes (unpaired). Image i depends on the task,
the split, i and the seed only. The ground truth is written to OUT/truth, the scores of some simple baselines to
OUT/baselines.json; scripts/score_demo.py compares a model with them.
"""
import json
import sys
import time
import zlib
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import demo_day2night
import demo_facades
import demo_shapes
import numpy as np
from demo_scores import VERSION, Demo, Result, read_json, score
from PIL import Image
from tqdm import tqdm

from util.cli import Parser, run
from util.errors import UserError
from util.files import atomic_write, save_picture

TASKS = {'facades': demo_facades, 'day2night': demo_day2night, 'shapes': demo_shapes}
N_STYLES = 8


def parse(argv):
    parser = Parser(__doc__.split('\n')[0])
    parser.add_argument('--task', required=True, choices=TASKS, help='what to draw')
    parser.add_argument('--out', required=True, type=Path, help='output folder: new, empty, or with the same demo')
    parser.add_argument('--n_train', type=int, default=200, help='number of training images (per domain)')
    parser.add_argument('--n_test', type=int, default=40, help='number of test images (per domain)')
    parser.add_argument('--size', type=int, default=64, help='side in pixels: 64, 128 or 256; for shapes also 32')
    parser.add_argument('--seed', type=int, default=0, help='random seed of the scenes')
    parser.add_argument('--outline', action='store_true', help='shapes: draw outlines instead of silhouettes')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    opt = parser.parse_args(argv)
    opt.out = opt.out.absolute()
    return opt


def check(opt):
    """Raise a `UserError` with all errors in the command line."""
    sizes = TASKS[opt.task].SIZES
    limits = dict(n_train=1, n_test=1, seed=0)
    mistakes = [f'--{name} is {getattr(opt, name)}; it must be at least {least}'
                for name, least in limits.items() if getattr(opt, name) < least]
    if opt.size not in sizes:
        mistakes.append(f'--task {opt.task} has no --size {opt.size}; choose one of {", ".join(map(str, sizes))}')
    if opt.outline and opt.task != 'shapes':
        mistakes.append(f'--outline has no effect on --task {opt.task}; drop it, or use --task shapes')
    if opt.out.exists() and not opt.out.is_dir():
        mistakes.append(f'--out {opt.out} is a file; choose a folder')
    if mistakes:
        raise UserError(*mistakes)


def facts_of(opt) -> dict:
    """The settings that determine every byte of the demo."""
    return dict(task=opt.task, size=opt.size, n_train=opt.n_train, n_test=opt.n_test, seed=opt.seed,
                outline=opt.outline, version=VERSION, direction=TASKS[opt.task].DIRECTION,
                classes=list(TASKS[opt.task].CLASSES))


def already_there(out: Path, facts: dict) -> bool:
    """True if `out` has the same demo, complete. Raises a `UserError` if it has something else."""
    if not out.is_dir() or not any(out.iterdir()):
        return False
    found = read_json(out / 'demo.json') if (out / 'demo.json').is_file() else {}
    complete = found.pop('complete', False)
    if found == facts:
        return complete and (out / 'baselines.json').is_file()
    known = ', '.join(f'{name} {found[name]}' for name in facts if found.get(name) != facts[name] and name in found)
    content = f'another demo ({known})' if known else 'other files'
    raise UserError(f'{out} contains {content}; choose a new folder with --out, or remove it')


def generator(task: str, split: str, index: int, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(f'{task}/{split}'.encode()), index])


def save(path: Path, image: np.ndarray, palette: np.ndarray):
    """Write (H, W, 3) as colors, (H, W) as class indices with a palette."""
    picture = Image.fromarray(image)
    if image.ndim == 2:
        picture.putpalette(palette.ravel().tolist())
    save_picture(picture, path)


def write_json(path: Path, content: dict):
    with atomic_write(path) as file:
        json.dump(content, file, indent=1)


def draw_all(opt):
    """Draw every image of every split."""
    task = TASKS[opt.task]
    tables = {}
    jobs = [(split, index) for split, n in task.splits(opt.n_train, opt.n_test).items() for index in range(1, n + 1)]
    for split, index in tqdm(jobs, desc=f'drawing {opt.task}', unit='image', disable=None):
        rng = generator(opt.task, split, index, opt.seed)
        for path, content in task.files(rng, opt.size, split, f'{index:04d}', opt.outline).items():
            if isinstance(content, dict):
                tables.setdefault(path, {}).update(content)
            else:
                save(opt.out / path, content, task.PALETTE)
    for path, table in tables.items():
        write_json(opt.out / path, table)


def results_of(folder: str, stems, translate) -> list[Result]:
    """The results of a model whose output for an image is `translate(number, stem)`."""
    return [Result(folder, stem, {'fake_B': translate(k, stem)}) for k, stem in enumerate(stems)]


def facades_baselines(demo: Demo) -> dict:
    stems, training = demo.stems('test'), demo.training
    palette = demo_facades.PALETTE
    return {
        'truth': results_of('test', stems, lambda k, stem: demo.photo('test', stem)),
        'labels unchanged': results_of('test', stems, lambda k, stem: palette[demo.mask('test', stem)]),
        'mean training photo': results_of('test', stems, lambda k, stem: demo.mean_photo),
        'another photo': results_of('test', stems, lambda k, stem: training[k % len(training)][0])}


def affine_map(pairs):
    """The color transform (3x3 matrix and offset) that fits the pairs of images best, by least squares."""
    before, after = (np.concatenate([pair[side].reshape(-1, 3) for pair in pairs]).astype(float) for side in (0, 1))
    weights = np.linalg.lstsq(np.column_stack([before, np.ones(len(before))]), after, rcond=None)[0]
    return lambda image: (image @ weights[:3] + weights[3]).clip(0, 255).round().astype(np.uint8)


def day2night_baselines(demo: Demo) -> dict:
    stems, training = demo.stems('testA'), demo.training
    day = {stem: demo.image('testA', f'{stem}.png') for stem in stems}
    night = {stem: demo.image('truth', 'testA_as_B', f'{stem}.png') for stem in stems}
    mapped = affine_map([(day[stem], night[stem]) for stem in stems])
    return {
        'truth': results_of('testA', stems, lambda k, stem: night[stem]),
        'day unchanged': results_of('testA', stems, lambda k, stem: day[stem]),
        'best map of colours': results_of('testA', stems, lambda k, stem: mapped(day[stem])),
        'another night': results_of('testA', stems, lambda k, stem: training[k % len(training)][0])}


def shapes_baselines(demo: Demo) -> dict:
    """Each result has N_STYLES random styles, and one guided by an image of testB."""
    stems, styles = demo.stems('testA'), demo.stems('testB')
    hue_of = read_json(demo.root / 'truth' / 'hues.json')

    def results(translate):
        return [styled(stem, lambda hue, stem=stem: translate(stem, hue), k) for k, stem in enumerate(stems)]

    def styled(stem, in_hue, k):
        style = styles[k % len(styles)]
        fakes = {f'fake_B_{number}': in_hue((k * N_STYLES + number) % 6) for number in range(N_STYLES)}
        fakes['fake_B_guided'] = in_hue(hue_of[f'testB/{style}'])
        return Result('testA', stem, fakes, {'fake_B_guided': demo.image('testB', f'{style}.png')})

    return {
        'truth': results(lambda stem, hue: demo.image('truth', 'testA_as_B', f'{stem}_{hue}.png')),
        'one hue for all': results(lambda stem, hue: demo.image('truth', 'testA_as_B', f'{stem}_0.png')),
        'hue by the shape': results(lambda stem, hue: demo.image('truth', 'testA_as_B', f'{stem}_{int(stem) % 6}.png')),
        'input unchanged': results(lambda stem, hue: demo.image('testA', f'{stem}.png'))}


def baselines(demo: Demo) -> dict:
    """The scores of simple baselines; 'truth' is the best possible."""
    made = {'facades': facades_baselines, 'day2night': day2night_baselines, 'shapes': shapes_baselines}[demo.task](demo)
    return {name: score(demo, results) for name, results in made.items()}


def main(argv, console):
    opt = parse(argv)
    check(opt)
    start = time.monotonic()
    facts = facts_of(opt)
    if already_there(opt.out, facts):
        print(f'{opt.out} already contains this demo')
        return 0
    write_json(opt.out / 'demo.json', facts | {'complete': False})
    draw_all(opt)
    write_json(opt.out / 'demo.json', facts | {'complete': True})
    write_json(opt.out / 'baselines.json', baselines(Demo(opt.out)))
    print(f'{opt.out}: drew {opt.task} in {time.monotonic() - start:.1f} s '
          f'(use it with --dataroot {opt.out} --direction {facts["direction"]})')
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
