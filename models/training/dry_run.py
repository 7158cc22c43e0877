"""--dry_run: two steps of a run, to see whether it fits into memory and how long it will take."""
import itertools
import time

import torch

from util.machine.memory import gigabytes, peak_memory


def dry_run(trainer, batches, images_to_go: int) -> list[str]:
    """Make two steps and describe them in a few lines; nothing is written. The second step is timed."""
    device = trainer.model.device
    for batch in itertools.islice(batches, 2):
        start = time.monotonic()
        trainer.step(batch)
        if device.type != 'cpu':
            torch.get_device_module(device).synchronize(device)
        seconds = time.monotonic() - start
    images = len(batch['A_paths']) * trainer.group.size       # of all processes that share an update
    rate = images / seconds
    memory = f'{gigabytes(peak_memory(device))} {"of this process" if device.type == "cpu" else device}'
    return [f'dry run: {seconds:.3f} s per step of {images} images, {rate:.2f} images/s without loading',
            f'peak memory: {memory}',
            f'the whole run: {images_to_go} images, about {as_duration(images_to_go / rate)}',
            'nothing was written; drop --dry_run to train']


def as_duration(seconds: float) -> str:
    """'3 d 4 h', '2 h 5 min', '40 s'."""
    if seconds < 120:
        return f'{seconds:.0f} s'
    hours, minutes = divmod(round(seconds / 60), 60)
    days, hours = divmod(hours, 24)
    if days:
        return f'{days} d {hours} h'
    return f'{hours} h {minutes} min' if hours else f'{minutes} min'
