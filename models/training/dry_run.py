"""Two steps of a run before it begins: does it fit into memory, how fast is it, how long will it take?"""
import itertools
import time

import torch

from util.machine.memory import gigabytes, peak_memory


def dry_run(model, updates, images_to_go: int) -> list[str]:
    """Make two steps of `model` and tell about them; nothing is written. The second is the one that is timed.

    `updates`: what steps are made of, two or more.
    """
    device = model.device
    for batch in itertools.islice(updates, 2):
        start = time.monotonic()
        model.train_step(batch)
        if device.type != 'cpu':
            torch.get_device_module(device).synchronize(device)
        seconds = time.monotonic() - start
    images = len(batch['A_paths']) * model.group.size       # of all processes that share an update
    rate = images / seconds
    return [f'dry run: {seconds:.3f} s a step of {images} images, {rate:.2f} images/s without loading',
            f'peak memory: {gigabytes(peak_memory(device))} {"of this process" if device.type == "cpu" else device}',
            f'the run: {images_to_go} images, about {duration(images_to_go / rate)}',
            'nothing was written; drop --dry_run to train']


def duration(seconds: float) -> str:
    """'3 d 4 h', '2 h 5 min', '40 s'."""
    minutes, hours = divmod(round(seconds / 60), 60)[::-1]
    if seconds < 120:
        return f'{seconds:.0f} s'
    days, hours = divmod(hours, 24)
    return f'{days} d {hours} h' if days else f'{hours} h {minutes} min' if hours else f'{minutes} min'
