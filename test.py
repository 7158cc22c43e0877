"""Translate images with a trained model.

    python test.py --dataroot ./datasets/facades --name facades_pix2pix
    python test.py --dataroot ./photos --name maps_cyclegan --model test --direction BtoA
    python test.py --name maps_cyclegan --input photo.jpg scans/ --output translated      # see scripts/translate.py

The checkpoint knows its networks: no option of the training is repeated. Results and a page to look at them
are in <results_dir>/<name>/<phase>_<epoch>/. Add --help for all options.
"""
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from options import TestOptions
from options.base_options import save_options
from util.cli import run
from util.console import ProgressBar, say, warn
from util.errors import ResourceError, SizeError, UserError
from util.machine import launch
from util.machine.signals import stop_as_by_ctrl_c

MAX_SIZE_ERRORS = 20    # images of a wrong size before the first one that fits: then the options are wrong


def main(argv, console):
    if any(word.partition('=')[0] == '--input' for word in argv):
        return translate_files(argv, console)
    if '--output' in argv[:-1] and not argv[argv.index('--output') + 1].isdigit():     # else short for --output_nc
        raise UserError('--output is for translating files; add --input FILES, or drop it, as results are in '
                        '--results_dir')
    console.silent = launch.is_follower()
    if launch.local_world_size() > 1:
        raise UserError('test.py works in one process, but torchrun started several; start it with python test.py')
    stop_as_by_ctrl_c()
    options = TestOptions()
    opt = options.parse(argv)       # mistakes are reported here, before torch is imported
    job = prepare(opt)
    say(save_options(opt, options.defaults))
    say(job.model.describe_networks(opt.verbose))
    say(f'device: {job.model.runtime.description}')
    for line in job.dataset.notes():
        say(f'note: {line}')
    if job.uses_averages:
        say('using moving averages of the weights (--no_ema uses the raw weights)')
    with ProgressBar(job.n_images) as bar, job.open_results(notify=bar.line) as results:
        bar.line(f'creating web directory {results.folder.absolute()}')
        results.show_above(job.examples)
        translate(job, results, bar, opt)
    if results.means:
        checkpoint = f'iteration {opt.load_iter}' if opt.load_iter else f'epoch {opt.epoch}'
        say(f'{opt.name}, {checkpoint}: {results.means_as_text()}')
    limited = f' (stopped at --num_test {opt.num_test})' if opt.num_test < len(job.dataset) else ''
    say(f'wrote {len(results.images)} of {len(job.dataset)} results{limited}; page: {results.page_path}')
    say_clipped(job.clipped, opt.clip)
    if results.failures and not results.images:
        first, *others = results.failures
        raise UserError(first + (f' ({len(others)} other images failed, too)' if others else ''))
    for message in results.failures:
        console.message('error', message)
    return 6 if results.failures else 0


def translate_files(argv, console) -> int:
    """With --input, images of any folders become files of the same names: scripts/translate.py."""
    sys.path.insert(0, str(Path(__file__).resolve().parent / 'scripts'))
    from translate import main as translate
    from translate import words_of_test
    return translate(words_of_test(argv), console)


def prepare(opt):
    """Build everything. All errors are reported before anything is written; only here is torch imported."""
    from data import create_dataset, create_loader
    from data.image_folder import list_images
    from models import create_model
    from models.training.state import load_networks
    from util.checkpoint.manifest import moment_of
    from util.machine.runtime import start_runtime
    from util.results.folder import check_place
    from util.results.writer import Results, check_save_as

    dataset = create_dataset(opt)
    check_place(opt.results_dir)
    if opt.save_as:
        check_save_as(opt.save_as, dataset.image_domains, first_source(dataset))
    runtime = start_runtime(opt.gpu_ids, opt.cpu_threads, opt.seed, 'gpu_ids' in opt.given, opt.precision,
                            opt.deterministic)
    model = create_model(opt, runtime)
    label = f'iter_{opt.load_iter}' if opt.load_iter else opt.epoch
    files = load_networks(model, Path(opt.checkpoints_dir) / opt.name, label, averages=not opt.no_ema)
    if opt.eval:
        model.eval()
    dataset.keep_going = True       # images that cannot be read are listed at the end
    n_images = int(min(len(dataset), opt.num_test))
    return SimpleNamespace(
        dataset=dataset, model=model, n_images=n_images,
        batches=create_loader(dataset, opt, n_images, runtime.device),
        examples=model.prepare_test(dataset.read, list_images),
        clipped=[],
        uses_averages=any(path.stem.endswith('_ema') for path in files),
        open_results=partial(Results, opt, dataset.folder_A, model.target, domains=dataset.image_domains,
                             checkpoint=moment_of(Path(opt.checkpoints_dir) / opt.name, label),
                             about=model.about_results(), folder_B=getattr(dataset, 'folder_B', None)))


def first_source(dataset) -> str:
    """The path of the first image, '' if it cannot be read."""
    try:
        return dataset[0]['A_paths']
    except UserError:       # reported with the results
        return ''


def translate(job, results, bar, opt):
    """Translate all batches. Images that cannot be read, or have a wrong size, are failures among the results."""
    size_errors = []        # until the first image that fits
    for batch in job.batches:
        failed, paths = batch.pop('failed', []), batch['A_paths']
        job.clipped += batch.pop('clipped', [])
        if paths and bar.done % 5 < opt.batch_size:
            bar.line(f'processing ({bar.done:04d})-th image... {paths}', terminal=False)
        try:
            if paths:
                results.add(paths, job.model.translate(batch), job.model.style_sources,
                            None if getattr(job.dataset, 'paired', True) else batch.get('B_paths'))
        except SizeError as error:
            size_errors += [error, *(SizeError(path, error.why) for path in paths[1:])]
        except ResourceError as error:
            failed += [f'{Path(path).absolute()}: {error}' for path in paths]
        if results.images:
            failed += map(str, size_errors)
            size_errors = []
        for message in failed:
            results.add_failure(message)
            bar.line(f'failed: {message}')
        if len(size_errors) > MAX_SIZE_ERRORS:
            break
        bar.advance(len(paths))
    if size_errors:         # and no image fits
        raise size_errors[0]


def say_clipped(clipped: list[tuple], each: bool):
    """Say how many values were outside the range of the training; with --clip, for each image."""
    if not clipped:
        return
    outside, total = (sum(counts) for counts in zip(*[counts for _, *counts in clipped], strict=True))
    warn(f'{outside} of {total} values ({outside / total:.2%}) of {len(clipped)} images are outside the range of the '
         f'training and were clipped' + ('' if each else '; --clip lists the images'))
    for path, count, values in clipped if each else ():
        say(f'clipped {count} of {values} values of {path}')


if __name__ == '__main__':
    sys.exit(run(main))
