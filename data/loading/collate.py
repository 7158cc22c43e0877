"""Samples as one batch."""
import os

import torch
from torch.utils.data import default_collate

from util.errors import UserError
from util.raster.read import ImageError


def collate(samples: list) -> dict:
    """One batch of samples. Raises a `UserError` if their images differ in size.

    A sample may be the `ImageError` of a file that cannot be read: the messages are listed under 'failed'. The messages
    of files that another sample was used for are listed under 'replaced'. 'clipped' lists (path, values outside the
    range, values) of the images that have such values.
    """
    failed = [str(sample) for sample in samples if isinstance(sample, ImageError)]
    samples = [dict(sample) for sample in samples if not isinstance(sample, ImageError)]
    replaced = [message for sample in samples for message in sample.pop('replaced', [])]
    clipped = [sample.pop('clipped') for sample in samples if 'clipped' in sample]
    check_sizes(samples)
    batch = collate_keep_layout(samples) if samples else {'A_paths': []}
    if failed:
        batch['failed'] = failed
    if replaced:
        batch['replaced'] = replaced
    if clipped:
        batch['clipped'] = clipped
    return batch


def check_sizes(samples: list[dict]):
    for sample in samples[1:]:
        for domain in 'AB':
            if domain in sample and sample[domain].shape != samples[0][domain].shape:
                raise UserError(f'images of different sizes cannot be in one batch: {described(samples[0], domain)} '
                                f'and {described(sample, domain)}; use --batch_size 1 or --preprocess resize_and_crop')


def described(sample: dict, domain: str) -> str:
    height, width = sample[domain].shape[-2:]
    return f'{os.path.abspath(sample[f"{domain}_paths"])} ({width}x{height})'


def collate_keep_layout(samples: list[dict]) -> dict:
    """Keep the memory format of the first sample; converting to another one is 10 times slower than stacking."""
    channels_last = [name for name, value in samples[0].items()
                     if torch.is_tensor(value) and value.ndim == 3 and value.stride(0) == 1]    # (C, H, W)
    batch = default_collate([{**sample, **{name: sample[name].permute(1, 2, 0) for name in channels_last}}
                             for sample in samples])
    return {**batch, **{name: batch[name].permute(0, 3, 1, 2) for name in channels_last}}
