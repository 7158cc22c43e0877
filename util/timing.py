"""Where the time of a training run goes."""
import time


class StepTimer:
    """Seconds per image and the share spent waiting for data, since the last report; writing logs not counted."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.waiting = self.working = 0.0
        self.images = self.batches = 0
        self.mark = time.perf_counter()

    def data_arrived(self):
        self.waiting += self._lap()

    def step_done(self, n_images: int):
        self.working += self._lap()
        self.images += n_images
        self.batches += 1

    def skip(self):
        """Leave out the time since the last lap (pages, saving)."""
        self._lap()

    def report(self) -> dict[str, float]:
        """`time`: seconds per image; `data`: seconds of waiting per batch; rate and share of waiting."""
        elapsed = self.waiting + self.working
        images, batches = max(1, self.images), max(1, self.batches)
        numbers = dict(time=elapsed / images, data=self.waiting / batches,
                       images_per_s=self.images / elapsed if elapsed else 0.0,
                       data_wait=self.waiting / elapsed if elapsed else 0.0)
        self.reset()
        return numbers

    def _lap(self):
        now = time.perf_counter()
        lap, self.mark = now - self.mark, now
        return lap
