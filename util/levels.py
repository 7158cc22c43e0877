"""Images travel as 8-bit levels, a quarter of the bytes; on the device a table makes them the numbers networks see."""
from functools import cache

import torch


@cache
def table(device: torch.device) -> torch.Tensor:
    """The number in [-1, 1] of each of the 256 levels, (level / 255 - 0.5) / 0.5 in float32.

    Computed on the CPU for all devices: a GPU divides by a constant with its reciprocal, which is another number for
    111 of the levels.
    """
    with torch.inference_mode(False):
        levels = torch.arange(256, dtype=torch.float32, device='cpu')
        return levels.div(255).sub(0.5).div(0.5).to(device)


def as_numbers(images: torch.Tensor) -> torch.Tensor:
    """Levels (uint8) as float32 in [-1, 1], in the same shape and on the same device; other tensors as they are."""
    if images.dtype != torch.uint8:
        return images
    return table(images.device).index_select(0, images.flatten().int()).view(images.shape)
