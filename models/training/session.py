"""A training run and its folder: how it is resumed, what is recorded when it begins, and what it prints at the end."""
import itertools
import math
import shlex
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from models.training.accumulate import update_lines
from models.training.progress import Progress
from models.training.recovery import Recovery
from models.training.saving import Checkpoints, NoCheckpoints, SavePolicy
from models.training.state import TrainingState
from models.validation.validation import Validation
from util.checkpoint import copies, layout, retention, space
from util.checkpoint.lock import claim
from util.console import as_duration, say, warn
from util.images import as_numbers, image_grid, save_image, tensor_to_image
from util.machine.memory import gigabytes, peak_memory
from util.machine.seeding import derive_seed
from util.machine.signals import Signals
from util.monitors import loss_log
from util.monitors.visualizer import NoVisualizer, Visualizer


class Session:
    """One start of a training run.

    Until `begin`, nothing in the run folder is changed. `record` opens everything that the run writes. `previews()`
    gives the batches of the fixed images that show progress, and says what they are.
    """

    def __init__(self, opt, trainer, loader, previews, folder: Path, validation: Validation):
        self.opt = opt
        self.trainer = trainer
        self.model = trainer.model
        self.loader = loader
        self.dataset = loader.dataset
        self.previews = previews
        self.folder = folder
        self.group = self.model.runtime.group
        self.validation = validation
        self.state = TrainingState(trainer, folder, opt.as_dict(), validation)
        self.label = f'iter_{opt.load_iter}' if opt.load_iter else opt.epoch
        self.stopped = False    # before the end, by a signal or the time limit
        self.progress, self.log_lengths = Progress(epoch=opt.epoch_count), {}
        if opt.continue_train:
            self.resume()
        if opt.copy_to and self.group.is_main:
            copies.check(opt.copy_to, folder)
        self.progress.epoch_size, self.progress.max_iters = len(self.dataset), opt.max_iters
        self.progress.last_epoch = opt.n_epochs + opt.n_epochs_decay
        if self.is_copy and not self.progress.finished:
            self.warn_of_small_rate()

    def resume(self):
        opt = self.opt
        epoch_count = opt.epoch_count if 'epoch_count' in opt.given else None
        self.progress, self.log_lengths = self.state.resume(self.label, epoch_count, 'cpu_threads' in opt.given)
        self.validation.best.load_state_dict(self.group.first(self.validation.best.state_dict))
        self.progress.ended_early = self.validation.best.exhausted
        if 1 < self.progress.epoch_size != len(self.dataset):
            warn(f'the dataset now has {len(self.dataset)} images; it had {self.progress.epoch_size} when '
                 f'{self.label} was saved')

    @property
    def is_copy(self) -> bool:
        """Was this run trained under another name, or with another dataset, until now?"""
        before, opt = self.state.resumed_options, self.opt
        return bool(before) and (before['name'] != opt.name or Path(before['dataroot']).name != Path(opt.dataroot).name)

    def warn_of_small_rate(self):
        """Copying a run to train it on other images continues its schedule, where little is left to learn with."""
        opt = self.opt
        part = self.trainer.schedule.learning_rate(self.progress) / opt.lr
        if part < 0.1:
            warn(f'{self.folder.absolute()} continues at epoch {self.progress.epoch} with {100 * part:.1f} % of --lr '
                 f'{opt.lr:g}; {self.command_to_start}')

    @property
    def command_to_start(self) -> str:
        return (f'to train its weights on other images, start a new run: python train.py --dataroot DIR --name NEW '
                f'--init_from {self.opt.name}')

    @property
    def images_to_go(self) -> int:
        return self.progress.images_to_go(self.trainer.update_size)

    def batches(self, epoch: int, start: int = 0):
        """The batches of an epoch, without its first `start` images."""
        return self.loader.epoch(epoch, start, self.trainer.accumulate)

    @property
    def policy(self) -> SavePolicy:
        opt = self.opt
        return SavePolicy(opt.save_latest_freq, opt.save_epoch_freq, opt.save_every_minutes, opt.save_by_iter,
                          opt.keep_last, opt.copy_to)

    @property
    def space_needed(self) -> space.Need:
        numbered = self.policy.numbered_to_come(self.progress, self.images_to_go)
        return space.Need(*self.state.sizes(), numbered, best=self.validation.freq > 0)

    def agree_on_signals(self):
        """After a step: what a signal or the clock asked of one process, all processes do."""
        self.signals.agree(self.group, self.checkpoints.overdue())

    # ---- starts that train nothing

    def say_finished(self):
        cures = ['raise --n_epochs, --n_epochs_decay or --max_iters to continue']
        if self.progress.ended_early:
            cures = ['raise --early_stop to continue (0: to the end)']
        if self.is_copy:
            cures.append(self.command_to_start)
        elif 'dataroot' in self.opt.given:
            cures.append(f'to fine-tune on {self.opt.dataroot}, start a run of another --name with --init_from '
                         f'{self.opt.name}')
        say(f'nothing left to train: {self.folder.absolute()} is finished (epoch {self.progress.epoch - 1}, '
            f'total_iters {self.progress.total_iters}); {"; ".join(cures)}')

    def dry_run(self):
        batches = (batch for epoch in itertools.count(1) for batch in self.batches(epoch))
        for line in dry_run(self.trainer, batches, self.images_to_go, self.space_needed.total()):
            say(line)

    # ---- the beginning

    def begin(self, lock, console):
        """Take over the run folder: from here on it belongs to this start of the run."""
        if self.opt.continue_train:
            self.first_line = self.continue_run()
        else:
            self.first_line = self.group.first(lambda: claim(lock, self.opt.overwrite))
        console.crash_folder, console.silent = self.folder, False
        if self.group.is_main:
            if shortage := space.shortage(self.folder, self.space_needed):
                warn(shortage)
            self.dataset.bad_images.save_to(self.folder)
            self.save_augment_preview()
        else:
            console.prefix = f'process {self.group.rank}: '

    def save_augment_preview(self):
        count = min(self.opt.augment_preview, len(self.dataset))
        if not count:
            return
        pictures = {}
        for index in range(count):
            sample = self.dataset[index, derive_seed(self.opt.seed, index)]
            pictures.update({f'{domain} {index}': tensor_to_image(as_numbers(sample[domain]))
                             for domain in 'AB' if domain in sample})
        save_image(image_grid(pictures, 8, 256), self.folder / 'augment_preview.png')
        say(f'{count} augmented samples: {(self.folder / "augment_preview.png").absolute()}')

    def continue_run(self) -> str:
        """Make the checkpoint that is resumed the newest one; returns a line about it."""
        progress = self.progress
        line = (f'resuming {self.folder.absolute()} from {self.label}: epoch {progress.epoch}, '
                f'image {progress.epoch_iter}')
        if not self.group.is_main:
            return line
        kept = retention.promote_to_latest(self.folder, self.label, progress.state_dict())
        if self.validation.replaces_best and (label := retention.set_aside(self.folder, layout.BEST)):
            say(f'{layout.BEST} was not chosen by the same metric on the same images; it is now {label}')
        loss_log.cut_back(self.folder, self.log_lengths)
        if kept:
            line += (f'; the previous latest is kept as {kept}, and checkpoints of later epochs will be overwritten')
        return line

    # ---- while it trains

    @contextmanager
    def record(self, lines):
        """Open the logs, pages and checkpoints of the run, print `lines` and facts about it, and listen to signals."""
        opt = self.opt
        is_main = self.group.is_main
        runtime = self.model.runtime
        total_images = self.progress.total_iters + self.images_to_go
        policy = self.policy
        visualizer = NoVisualizer()
        if is_main:
            visualizer = Visualizer(opt, total_images, self.progress, device=runtime.description)
        with visualizer:
            self.visualizer = visualizer
            known = [f'The number of training images = {len(self.dataset)}', self.model.describe_networks(opt.verbose),
                     f'device: {runtime.description}, seed {opt.seed}', *self.trainer.start_lines,
                     *self.validation.lines, *update_lines(self.trainer, keeps_size=opt.update_size > 0)]
            for line in filter(None, [*lines, *known]):
                visualizer.line(line)
            checkpoints = NoCheckpoints(self.trainer, policy, self.progress)
            if is_main:
                checkpoints = Checkpoints(self.state, policy, self.progress, visualizer.line)
            with Signals(opt.max_minutes) as self.signals, checkpoints:
                self.checkpoints = checkpoints
                self.recovery = Recovery(opt.on_nonfinite, self.state, checkpoints)
                if self.validation.missed:
                    self.end_epoch(self.progress.epoch_size)
                yield self
            self.print_end()
        self.group.close()

    def finish_epoch(self, seconds: float):
        """After the last batch of an epoch, or a signal that stops the run before it."""
        progress = self.progress
        if self.signals.stop and not progress.finished:
            self.stop()
            return
        iters = progress.epoch_iter
        epoch = progress.finish_epoch()
        self.end_epoch(iters)
        if self.stopped:
            return
        self.visualizer.line(f'End of epoch {epoch} / {progress.last_epoch_text} \t Time Taken: {seconds:.0f} sec')

    def end_epoch(self, iters: int):
        """Validate, adapt the learning rate and save, after an epoch of `iters` images; or stop the run."""
        progress = self.progress
        epoch = progress.epoch - 1
        self.validation.missed = False
        improved = self.validate(iters) if self.validation.due(progress) else False
        if self.validation.missed:
            self.stop()
            return
        before = self.trainer.finish_epoch(progress)
        self.checkpoints.after_epoch(epoch, improved)
        if before != self.trainer.learning_rate:
            self.visualizer.line(f'learning rate {before:.7f} -> {self.trainer.learning_rate:.7f}')

    def validate(self, iters: int) -> bool:
        """Compute the metrics; True if the model is the best so far. A signal may interrupt it: then it is missed."""
        progress, validation = self.progress, self.validation
        self.checkpoints.finish_save()      # if the best could not be saved, another one is the best
        self.trainer.gather_state()
        record = validation.run(progress, iters, self.may_continue, lambda: self.visualizer.alive(progress))
        validation.missed = record is None and not progress.finished
        if record is None:
            return False
        self.visualizer.metrics(progress, record, validation.describe(record))
        if self.opt.plateau_metric:
            value = record['metrics'].get(validation.best.metric)
            self.trainer.schedule.follow(math.nan if value is None else value, validation.best.better)
        if validation.best.exhausted and not progress.finished:
            progress.ended_early = True
            self.visualizer.stopped(f'--early_stop {self.opt.early_stop}')
            self.visualizer.line(f'stopping early: no better {validation.best.metric} in the last '
                                 f'{validation.best.stale} validations (--early_stop)')
        return record['best']

    def may_continue(self) -> bool:
        """Within a validation: has nothing asked the run to stop?"""
        self.agree_on_signals()
        return not self.signals.stop

    def stop(self):
        self.stopped = True
        self.checkpoints.before_stop(self.signals.stop)

    def print_end(self):
        stop = self.signals.stop
        place = shlex.join(['--name', self.opt.name, '--checkpoints_dir', self.opt.checkpoints_dir])
        if stop:
            self.visualizer.stopped(stop)
            here = self.group.size_here
            launcher = 'python' if self.group.size == 1 else f'torchrun --nproc_per_node {here} --'
            self.visualizer.line(f'to resume: {launcher} train.py {place} --continue_train')
        else:
            self.visualizer.line(f'training finished: {self.folder.absolute()}')
        if best := self.validation.best_line:
            self.visualizer.line(f'{best}; to test it: python test.py {place} --epoch {layout.BEST}')


def dry_run(trainer, batches, images_to_go: int, disk_space: int) -> list[str]:
    """Make two steps and describe them in a few lines; nothing is written. The second step is timed.

    `disk_space`: bytes of the checkpoints that the run will leave.
    """
    device = trainer.model.device
    for batch in itertools.islice(batches, 2):
        start = time.monotonic()
        trainer.step(batch)
        if device.type != 'cpu':
            torch.accelerator.synchronize(device)
        seconds = time.monotonic() - start
    images = len(batch['A_paths']) * trainer.group.size       # of all processes that share an update
    rate = images / seconds
    memory = f'{gigabytes(peak_memory(device))} {"of this process" if device.type == "cpu" else device}'
    return [f'dry run: {seconds:.3f} s per step of {images} images, {rate:.2f} images/s without loading',
            f'peak memory: {memory}',
            f'the whole run: {images_to_go} images, about {as_duration(images_to_go / rate)}',
            f'checkpoints: about {space.as_text(disk_space)} at the end',
            'nothing was written; drop --dry_run to train']
