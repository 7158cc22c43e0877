"""Where a training run is."""
from dataclasses import dataclass

EARLY = (1, 10, 30, 100)    # iterations that are shown too, so that a short run shows something
COUNTERS = ('epoch', 'epoch_iter', 'total_iters', 'iteration', 'epoch_size')


@dataclass
class Progress:
    """Counters of a run, and where it ends. The --*_freq options count images in `total_iters`."""

    epoch: int = 1          # the current epoch, from 1
    epoch_iter: int = 0     # images seen in this epoch
    total_iters: int = 0    # images seen since the run began, over all its starts
    iteration: int = 0      # batches seen since the run began
    last_batch_size: int = 0
    epoch_size: int = 1     # images in an epoch
    last_epoch: int = 1
    ended_early: bool = False   # by --early_stop
    max_iters: int = 0      # if not 0, the run ends after this many batches instead of after the last epoch

    def advance(self, n_images: int):
        self.last_batch_size = n_images
        self.epoch_iter += n_images
        self.total_iters += n_images
        self.iteration += 1

    def images_of(self, update_size: int) -> int:
        """Images of the next update; the last one of an epoch may have fewer."""
        return min(update_size, self.epoch_size - self.epoch_iter)

    def every(self, freq: int) -> bool:
        """Did the last batch reach or cross a multiple of `freq` images? Never if `freq` is 0."""
        return freq > 0 and self.total_iters // freq > (self.total_iters - self.last_batch_size) // freq

    @property
    def is_early(self) -> bool:
        """Was the last batch one of the first that are shown, however rarely later ones are?"""
        return self.iteration in EARLY

    def due(self, freq: int) -> bool:
        """Are images to be shown after the last batch: every `freq` images, at early batches, and at the end?"""
        return self.every(freq) or self.at_end or (freq > 0 and self.is_early)

    def finish_epoch(self) -> int:
        """Go to the next epoch and return the number of the finished one."""
        self.epoch, self.epoch_iter = self.epoch + 1, 0
        return self.epoch - 1

    @property
    def finished(self) -> bool:
        if self.ended_early:
            return True
        return self.iteration >= self.max_iters if self.max_iters else self.epoch > self.last_epoch

    @property
    def at_end(self) -> bool:
        """Was this the last batch of the run?"""
        return self.finished or (not self.max_iters and self.epoch == self.last_epoch
                                 and self.epoch_iter >= self.epoch_size)

    @property
    def schedule_epoch(self) -> int:
        """The epoch for the learning rate; with `max_iters` the schedule is stretched over the iterations."""
        if not self.max_iters:
            return min(self.epoch, self.last_epoch)
        return 1 + min(self.iteration, self.max_iters - 1) * self.last_epoch // self.max_iters

    @property
    def last_epoch_text(self) -> str:
        return f'({self.iteration} of {self.max_iters} iterations)' if self.max_iters else str(self.last_epoch)

    def images_to_go(self, batch_size: int) -> int:
        if self.max_iters:
            return (self.max_iters - self.iteration) * batch_size
        return (self.last_epoch - self.epoch + 1) * self.epoch_size - self.epoch_iter

    def state_dict(self) -> dict:
        return {name: getattr(self, name) for name in COUNTERS}
