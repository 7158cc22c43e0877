"""How much time training spends on steps and on waiting for data."""
import time

from util.machine.signals import after_pause


class StepTimer:
    """Seconds per image and the share of waiting for data, since the last report.

    Not counted: writing logs, and the time while the process was stopped (and what came before it in that lap).
    """

    def __init__(self):
        self.reset()
        after_pause(self.skip)

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
        """Do not count the time since the last lap (pages, saving)."""
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


class WaitHint:
    """Advice if training waits for images: given once, after `IN_A_ROW` reports with more waiting than `SHARE`."""

    SHARE, IN_A_ROW = 0.2, 3

    def __init__(self, loader: str, num_threads: int | str):
        self.loader, self.num_threads = loader, num_threads
        self.reports = 0

    def after(self, data_wait: float) -> str:
        """The line to print after a report with this share of waiting, or ''."""
        self.reports = self.reports + 1 if data_wait > self.SHARE or self.reports >= self.IN_A_ROW else 0
        if self.reports != self.IN_A_ROW:
            return ''
        advice = [] if self.loader.startswith('cache') else ['--loader cache_ram keeps the resized images in memory']
        if self.num_threads != 'auto':
            advice.append(f'--num_threads auto uses one loading process per core instead of {self.num_threads}')
        if self.loader == 'stream':
            advice.append('--fast_resize')
        advice = advice or ['use a faster disk or smaller image files']
        return (f'hint: training waits for images more than {self.SHARE:.0%} of the time; try: '
                f'{"; ".join(advice)} (docs/data_path.md)')
