"""Train an image-to-image translation model.

    python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cyclegan
    python train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA

Add --help for the options of the model and dataset chosen, --continue_train to go on with an interrupted run.
For several GPUs: torchrun --nproc_per_node 4 -- train.py ... (docs/distributed.md).
"""
# ruff: noqa: E402
from util.machine.signals import Signals, hold_saves

if __name__ == '__main__':
    hold_saves()        # before the other imports, which take a while

import shlex
import sys
import time
from functools import partial
from itertools import chain, repeat
from pathlib import Path

from options import TrainOptions
from options.base_options import save_options
from util.checkpoint import layout, transaction
from util.cli import run
from util.console import warn
from util.errors import NonFiniteError
from util.machine import launch
from util.monitors import loss_log


def train(opt, dataset, model, visualizer, checkpoints, progress, signals):
    """Train to the end, or until `signals` ask to stop: then save and return at once."""
    from data import create_loader, fixed_samples
    from data.loading.loader import updates_of
    from models.training.recovery import Recovery
    from util.monitors.timing import StepTimer
    group = model.group
    loader = create_loader(dataset, opt, pin_memory=model.device.type != 'cpu', device=model.device,
                           rank=group.rank, processes=group.size)
    recovery = Recovery(opt, model, checkpoints)
    previews = fixed_samples(opt, opt.val_images) if visualizer.shows_images else []

    while not progress.finished:
        epoch_start = time.monotonic()
        loader.sampler.set_epoch(progress.epoch, start=progress.epoch_iter)
        timer = StepTimer()
        for batch in updates_of(loader, opt.accumulate):
            timer.data_arrived()
            model.set_learning_rate(progress)
            images = progress.images_of(model.update_size)
            try:
                model.train_step(batch, images)
            except NonFiniteError as error:
                recovery.after(error, progress)
            progress.advance(images)
            timer.step_done(progress.step)

            visualizer.step(progress)
            if progress.every(opt.display_freq) or progress.at_end:
                visualizer.images(progress, model.get_current_visuals())
            if progress.every(opt.val_freq) or progress.at_end:
                model.gather_state()
                visualizer.validation(progress, map(model.preview, previews))
            if progress.every(opt.print_freq) or (opt.print_freq and progress.at_end):
                visualizer.losses(progress, model.get_current_losses(), timer.report(), model.learning_rate)
            signals.agree(model.runtime.group, checkpoints.overdue())
            if progress.finished:
                break
            checkpoints.after_step(signals)
            timer.skip()
            if signals.stop:
                break

        if signals.stop and not progress.finished:
            checkpoints.save('latest', line=f'stopped by {signals.stop} at epoch {progress.epoch}, total_iters '
                                            f'{progress.total_iters}: saving the latest model')
            return
        before, finished = model.learning_rate, progress.finish_epoch()
        model.finish_epoch()
        model.set_learning_rate(progress)
        if progress.finished or (opt.save_epoch_freq and finished % opt.save_epoch_freq == 0):
            checkpoints.save('latest', str(finished), line=f'saving the model at the end of epoch {finished}, iters '
                                                           f'{progress.total_iters}')
        visualizer.line(f'learning rate {before:.7f} -> {model.learning_rate:.7f}')
        visualizer.line(f'End of epoch {finished} / {progress.last_epoch_text} \t '
                        f'Time Taken: {time.monotonic() - epoch_start:.0f} sec')


def start(options, opt, lock, argv, console):
    """Build everything, and train. Whatever is wrong is told before anything in the run's folder changes."""
    from data import create_dataset
    from data.base_dataset import collate
    from models import create_model
    from models.training.progress import Progress
    from util.machine.runtime import start_runtime

    folder = lock.path.parent
    dataset = create_dataset(opt)
    runtime = start_runtime(opt.gpu_ids, opt.cpu_threads, opt.seed, 'gpu_ids' in opt.given, opt.precision,
                            opt.deterministic, argv, opt.comm_timeout)
    group = runtime.group
    console.silent = not group.is_main
    opt = opt.replace(**group.first(opt.as_dict))
    group.first(lock.acquire) if opt.continue_train else None
    model = create_model(opt, runtime)
    progress, logs = model.resume() if opt.continue_train else (Progress(epoch=opt.epoch_count), {})
    if opt.continue_train and 1 < progress.epoch_size != len(dataset):
        warn(f'an epoch has {len(dataset)} images now, and had {progress.epoch_size} when {model.label} was saved')
    progress.epoch_size, progress.max_iters = len(dataset), opt.max_iters
    progress.last_epoch = opt.n_epochs + opt.n_epochs_decay
    if progress.finished or opt.dry_run:
        return end_at_once(opt, dataset, model, progress)
    model.set_input(collate([dataset[0]]))
    if opt.continue_train:
        about = f'{folder.absolute()} goes on from {model.label}: epoch {progress.epoch}, image {progress.epoch_iter}'
        kept = transaction.make_newest(folder, model.label, progress.state_dict()) if group.is_main else ''
        about += (f'; what was latest is {kept} now, and checkpoints of later epochs are written over as these are '
                  f'reached again' if kept else '')
        loss_log.cut_back(folder, logs) if group.is_main else None
    else:
        about = group.first(lambda: layout.claim(lock, opt.overwrite))
    console.crash_folder, console.silent = folder, False
    console.prefix = f'process {group.rank}: ' if group.rank else ''
    dataset.bad_images.save_to(folder) if group.is_main else None
    code = record(options, opt, dataset, model, progress, about)
    group.close()
    return code


def end_at_once(opt, dataset, model, progress):
    """Where nothing is left to be trained, or --dry_run: tell about it."""
    from data import create_loader
    from data.loading.loader import updates_of
    from models.training.dry_run import dry_run
    from util.console import say
    lines = [f'nothing left to train: {model.folder.absolute()} is finished (epoch {progress.epoch - 1}, total_iters '
             f'{progress.total_iters}); raise --n_epochs, --n_epochs_decay or --max_iters to go on']
    if not progress.finished:
        batches = chain.from_iterable(repeat(create_loader(dataset, opt)))
        lines = dry_run(model, updates_of(batches, opt.accumulate), progress.images_to_go(model.update_size))
    for line in lines if model.runtime.group.is_main else ():
        say(line)
    return 0


def record(options, opt, dataset, model, progress, about):
    """Train, and hand everything to the logs, pages and checkpoints; returns the exit code."""
    from models.nets.layers import update_lines
    from models.training.saving import Checkpoints, NoCheckpoints
    from util.monitors.visualizer import NoVisualizer, Visualizer
    folder, runtime, is_main = model.folder, model.runtime, model.runtime.group.is_main
    total_images = progress.total_iters + progress.images_to_go(model.update_size)
    with (Visualizer(opt, total_images, progress, device=runtime.description) if is_main
          else NoVisualizer()) as visualizer:
        for line in (is_main and save_options(opt, options.defaults), about, *options.changes,
                     f'The number of training images = {len(dataset)}', model.describe_networks(opt.verbose),
                     f'device: {runtime.description}, seed {opt.seed}', *update_lines(model)):
            visualizer.line(line) if line else None
        with (Signals(opt.max_minutes) as signals,
              Checkpoints(model, opt, progress, partial(loss_log.lengths, folder), visualizer.line) if is_main
              else NoCheckpoints(model, opt, progress) as checkpoints):
            train(opt, dataset, model, visualizer, checkpoints, progress, signals)
        if signals.stop:
            visualizer.stopped(signals.stop)
        launcher = 'python' if runtime.group.size == 1 else f'torchrun --nproc_per_node {runtime.group.size_here} --'
        place = shlex.join(['--name', opt.name, '--checkpoints_dir', opt.checkpoints_dir])
        visualizer.line(f'go on with: {launcher} train.py {place} --continue_train' if signals.stop
                        else f'trained: {folder.absolute()}')
    return signals.exit_code


def main(argv, console):
    options = TrainOptions()
    console.silent = launch.is_follower()
    opt = options.parse(argv)
    layout.check_writable(opt.checkpoints_dir)
    with layout.Lock(Path(opt.checkpoints_dir) / opt.name) as lock:
        return start(options, opt, lock, argv, console)


if __name__ == '__main__':
    sys.exit(run(main))
