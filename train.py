"""Train an image-to-image translation model.

    python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cyclegan
    python train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA

Add --help for the options of the chosen model and dataset, --continue_train to resume an interrupted run.
For several GPUs: torchrun --nproc_per_node 4 -- train.py ... (docs/distributed.md).
"""
# ruff: noqa: E402
from util.machine.signals import defer_sigusr1

if __name__ == '__main__':
    defer_sigusr1()     # before the other imports, which take a while

import sys
import time
from functools import partial
from pathlib import Path

from options import TrainOptions, ValidationOptions
from options.base_options import save_options
from util.checkpoint.lock import Lock, check_writable
from util.cli import run
from util.errors import NonFiniteError
from util.machine import launch
from util.monitors.loss_log import LossMeans
from util.monitors.timing import StepTimer


def main(argv, console):
    console.silent = launch.is_follower()
    options = TrainOptions()
    opt = options.parse(argv)       # mistakes are reported here, before torch is imported
    check_writable(opt.checkpoints_dir)
    with Lock(Path(opt.checkpoints_dir) / opt.name) as lock:
        session = prepare(opt, lock, console, argv)
        if session.progress.finished:
            session.say_finished()
            return 0
        if opt.dry_run:
            session.dry_run()
            return 0
        session.begin(lock, console)
        opening = [save_options(session.opt, options.defaults)] if session.group.is_main else []
        with session.record([*opening, session.first_line, *options.changes]):
            train(session)
        return session.signals.exit_code


def prepare(opt, lock, console, argv):
    """Build everything. All errors are reported before the run folder is touched; only here is torch imported."""
    from data import create_dataset, create_loader, fixed_samples, held_out
    from models import create_model, create_trainer, create_validation
    from models.training.session import Session
    from util.machine.runtime import start_runtime

    dataset = create_dataset(opt)
    runtime = start_runtime(opt.gpu_ids, opt.cpu_threads, opt.seed, 'gpu_ids' in opt.given, opt.precision,
                            opt.deterministic, argv, opt.comm_timeout)
    console.silent = not runtime.group.is_main
    opt = opt.replace(**runtime.group.first(opt.replace(**dataset.found).as_dict))
    if opt.continue_train:
        runtime.group.first(lock.acquire)
    model = create_model(opt, runtime)
    loader = create_loader(dataset, opt, device=model.device, group=model.group)
    trainer = create_trainer(opt, model)
    test_opt = ValidationOptions(opt).parse()
    validation = create_validation(opt, test_opt, trainer, held_out(test_opt, dataset), len(dataset))
    previews = partial(fixed_samples, opt, dataset, opt.val_images)
    session = Session(opt, trainer, loader, previews, lock.path.parent, validation)
    if not session.progress.finished:
        model.set_input(dataset.batch(0))           # images of a wrong size are found now
    return session


def train(session):
    """Train to the end, or until a signal or the time limit stops the run: then save and return."""
    opt = session.opt
    trainer = session.trainer
    model = trainer.model
    progress = session.progress
    visualizer = session.visualizer
    means = LossMeans(model.group)
    source, previews = session.previews() if visualizer.shows_images else ('', [])
    while not (progress.finished or session.stopped):
        epoch_start, timer = time.monotonic(), StepTimer()
        for batch in session.batches(progress.epoch, progress.epoch_iter):
            timer.data_arrived()
            trainer.set_learning_rate(progress)
            images = progress.images_of(trainer.update_size)
            try:
                trainer.step(batch, images)
                means.add(model.losses)
            except NonFiniteError as error:
                session.recovery.after(error, progress)
            progress.advance(images)
            timer.step_done(images)
            visualizer.step(progress, model.get_current_losses)
            if progress.due(opt.display_freq):
                all_made = progress.iteration % opt.n_critic == 0       # not without an update of the generators
                visualizer.images(progress, model.get_current_visuals() if all_made
                                  else model.preview(batch.get('parts', [batch])[-1]))
            if progress.due(opt.val_freq):
                trainer.gather_state()
                visualizer.previews(progress, map(model.preview, previews), source)
            if progress.every(opt.print_freq) or (opt.print_freq and progress.at_end):
                visualizer.losses(progress, model.get_current_losses(), timer.report(), trainer.learning_rate,
                                  means.report())
            session.agree_on_signals()
            if progress.finished:
                break
            session.checkpoints.after_step(session.signals)
            timer.skip()
            if session.signals.stop:
                break
        session.finish_epoch(time.monotonic() - epoch_start)


if __name__ == '__main__':
    sys.exit(run(main))
