"""Train an image-to-image translation model.

    python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cyclegan
    python train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA

Add --help for the options of the model and dataset chosen, --continue_train to go on with an interrupted run.
"""
import sys
import time

from options import TrainOptions
from options.base_options import save_options
from util import run_folder
from util.cli import UserError, run
from util.signals import StopRequest


def train(opt, dataset, model, visualizer, progress, stop, pin_memory):
    """Train to the end, or until `stop` is asked for: then save and return at once."""
    from data import create_loader
    from util.timing import StepTimer
    loader = create_loader(dataset, opt, pin_memory=pin_memory)

    while not progress.finished:
        epoch_start = time.monotonic()
        loader.sampler.set_epoch(progress.epoch, start=progress.epoch_iter)
        timer = StepTimer()
        for batch in loader:
            timer.data_arrived()
            model.set_learning_rate(progress)
            model.train_step(batch)
            progress.advance(len(batch['A']))
            timer.step_done(progress.step)

            visualizer.step(progress)
            if progress.every(opt.display_freq):
                visualizer.images(progress, model.get_current_visuals())
            if progress.every(opt.print_freq):
                visualizer.losses(progress, model.get_current_losses(), timer.report(), model.learning_rate)
            if progress.every(opt.save_latest_freq):
                visualizer.line(f'saving the latest model (epoch {progress.epoch}, total_iters {progress.total_iters})')
                model.save(f'iter_{progress.total_iters}' if opt.save_by_iter else 'latest', progress)
            timer.skip()
            if progress.finished or stop:
                break

        if stop:
            visualizer.line(f'stopped by {stop.signal.name}: saving the latest model (epoch {progress.epoch}, '
                            f'total_iters {progress.total_iters})')
            model.save('latest', progress)
            return
        if progress.step and (progress.finished or progress.epoch == progress.last_epoch):
            visualizer.images(progress, model.get_current_visuals())
        before, finished = model.learning_rate, progress.finish_epoch()
        model.finish_epoch()
        model.set_learning_rate(progress)
        if progress.finished or (opt.save_epoch_freq and finished % opt.save_epoch_freq == 0):
            visualizer.line(f'saving the model at the end of epoch {finished}, iters {progress.total_iters}')
            model.save('latest', progress)
            model.save(str(finished), progress)
        visualizer.line(f'learning rate {before:.7f} -> {model.learning_rate:.7f}')
        visualizer.line(f'End of epoch {finished} / {progress.last_epoch_text} \t '
                        f'Time Taken: {time.monotonic() - epoch_start:.0f} sec')


def main(argv):
    options = TrainOptions()
    opt = options.parse(argv)

    from data import create_dataset
    from data.base_dataset import collate
    from models import create_model
    from util.progress import Progress
    from util.runtime import start_runtime
    from util.visualizer import Visualizer

    dataset = create_dataset(opt)
    runtime = start_runtime(opt.gpu_ids, opt.cpu_threads, opt.seed, gpu_wanted='gpu_ids' in opt.given)
    model = create_model(opt, runtime)
    progress = model.resume() if opt.continue_train else Progress(epoch=opt.epoch_count)
    progress.epoch_size, progress.max_iters = len(dataset), opt.max_iters
    progress.last_epoch = opt.n_epochs + opt.n_epochs_decay
    if progress.finished:
        raise UserError(f'{model.folder.absolute()} is trained to its end (epoch {progress.epoch - 1}); '
                        f'raise --n_epochs, --n_epochs_decay or --max_iters to go on')
    model.set_input(collate([dataset[0]]))      # what the first image shows is told before an earlier run is moved
    moved = '' if opt.continue_train else run_folder.claim(model.folder, opt.overwrite)
    total_images = progress.total_iters + progress.images_to_go(opt.batch_size)
    with Visualizer(opt, total_images, progress) as visualizer:
        for line in (moved, save_options(opt, options.defaults), *options.changes,
                     f'The number of training images = {len(dataset)}', model.describe_networks(opt.verbose),
                     f'device: {runtime.description}, seed {opt.seed}'):
            visualizer.line(line) if line else None
        with StopRequest() as stop:
            train(opt, dataset, model, visualizer, progress, stop, pin_memory=runtime.device.type == 'cuda')
        visualizer.line(f'go on with: python train.py --name {opt.name} --checkpoints_dir {opt.checkpoints_dir} '
                        f'--continue_train' if stop else f'trained: {model.folder.absolute()}')
    return stop.exit_code


if __name__ == '__main__':
    sys.exit(run(main))
