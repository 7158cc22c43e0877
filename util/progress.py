"""Where a training run is."""
from dataclasses import asdict, dataclass


@dataclass
class Progress:
    """Counters of a run. All frequencies of the command line count images on `total_iters`."""

    epoch: int = 1          # the epoch under way, from 1
    epoch_iter: int = 0     # images seen in this epoch
    total_iters: int = 0    # images seen since the run began, over all its starts
    epoch_size: int = 1     # images in an epoch
    step: int = 0           # images in the last batch

    def advance(self, n_images: int):
        self.step = n_images
        self.epoch_iter += n_images
        self.total_iters += n_images

    def every(self, freq: int) -> bool:
        """Did the last batch reach or cross a multiple of `freq` images? Never when `freq` is 0."""
        return freq > 0 and self.total_iters // freq > (self.total_iters - self.step) // freq

    def finish_epoch(self) -> int:
        """Go to the beginning of the next epoch and return the number of the finished one."""
        self.epoch, self.epoch_iter = self.epoch + 1, 0
        return self.epoch - 1

    @property
    def fraction(self) -> float:
        """Share of the current epoch that is done, 0 to 1."""
        return min(1.0, self.epoch_iter / max(1, self.epoch_size))

    def state_dict(self) -> dict:
        return asdict(self)

    def load_state_dict(self, state: dict):
        vars(self).update(state)
