"""Translate images with a trained model.

    python test.py --dataroot ./datasets/facades --name facades_pix2pix
    python test.py --dataroot ./photos --name maps_cyclegan --model test --direction BtoA

The checkpoint knows its networks: no option of the training is repeated. Results and a page to look at them
are in <results_dir>/<name>/<phase>_<epoch>/. Add --help for all options.
"""
import sys

from options import TestOptions
from options.base_options import save_options
from util.cli import run
from util.errors import SizeError, UserError
from util.machine import launch
from util.machine.signals import stop_as_by_ctrl_c

UNFIT = 20      # images of a wrong size before one fits: then it is the options


def translate(opt, dataset, model, pin_memory):
    """Translate the dataset, or its first --num_test images, and return the results."""
    from data import create_loader
    from data.image_folder import list_images
    from util.console import ProgressBar
    from util.results.writer import Results
    wanted = int(min(len(dataset), opt.num_test))
    loader = create_loader(dataset, opt, wanted, pin_memory)
    examples = model.prepare_test(dataset.read, list_images)
    target, unfit = getattr(model, 'target', None), []
    with ProgressBar(wanted) as bar, Results(opt, dataset.folder_A, target, notify=bar.line) as results:
        bar.line(f'creating web directory {results.folder.absolute()}')
        results.show_above(examples)
        for batch in loader:
            failed, paths = batch.pop('failed', []), batch['A_paths']
            if paths and bar.done % 5 < opt.batch_size:
                bar.line(f'processing ({bar.done:04d})-th image... {paths}', terminal=False)
            try:
                results.add(paths, model.translate(batch), model.style_sources) if paths else None
            except SizeError as error:
                unfit += [error, *(SizeError(path, error.why) for path in paths[1:])]
            if results.images:
                failed += map(str, unfit)
                unfit = []
            for message in failed:
                results.add_failure(message)
                bar.line(f'failed: {message}')
            if len(unfit) > UNFIT:
                break
            bar.advance(len(paths))
        if unfit:       # and none fits
            raise unfit[0]
    return results


def main(argv, console):
    console.silent = launch.is_follower()
    if launch.local_world_size() > 1:
        raise UserError('test.py works in one process, and torchrun started several; start it by python test.py')
    stop_as_by_ctrl_c()
    options = TestOptions()
    opt = options.parse(argv)

    from data import create_dataset
    from models import create_model
    from util.console import say
    from util.machine.runtime import start_runtime
    from util.results.folder import check_place

    dataset = create_dataset(opt)
    check_place(opt.results_dir)
    runtime = start_runtime(opt.gpu_ids, opt.cpu_threads, opt.seed, 'gpu_ids' in opt.given, opt.precision,
                            opt.deterministic)
    model = create_model(opt, runtime)
    model.load_networks()
    if opt.eval:
        model.eval()
    say(save_options(opt, options.defaults))
    say(model.describe_networks(opt.verbose))
    say(f'device: {runtime.description}')
    if any(path.stem.endswith('_ema') for path in model.weight_files().values()):
        say('the weights are moving averages (--no_ema takes the raw ones)')
    dataset.keep_going = True
    results = translate(opt, dataset, model, pin_memory=runtime.device.type == 'cuda')
    limited = f' (stopped at --num_test {opt.num_test})' if opt.num_test < len(dataset) else ''
    say(f'wrote {len(results.images)} of {len(dataset)} results{limited}; page: {results.page_path}')
    for message in results.failures:
        print(f'error: {message}', file=sys.stderr)
    return 0 if not results.failures else 6 if results.images else 2


if __name__ == '__main__':
    sys.exit(run(main))
