"""What networks with a number of channels see of an image: gray repeated, RGB as gray, transparency on white."""
from collections.abc import Callable

import numpy as np

from .kinds import BANDS, GRAY_ALPHA, RGBA
from .ranges import of_type

GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)      # ITU-R 601, as Pillow's
TRANSPARENT = (GRAY_ALPHA, RGBA)


def seen(stored: np.ndarray, channels: int, colors: str, to_unit: Callable) -> np.ndarray:
    """Stored values (H, W, C) as an image (H, W, channels) in [-1, 1]; a ValueError if that is not possible.

    `colors` says how the channels are meant (see `kinds`); with BANDS, they are used as they are, the first ones if
    there are more. `to_unit(values)` turns values into numbers in [-1, 1].
    """
    if stored.shape[2] == channels:
        return to_unit(stored)
    unit = to_unit(without_alpha(stored, colors))
    if colors in TRANSPARENT:
        alpha = stored[..., -1:].astype(np.float32) / np.float32(of_type(str(stored.dtype)).hi)
        unit = unit * alpha + (1 - alpha)
    count = unit.shape[2]
    if count == 1 and channels == 3:
        return np.repeat(unit, 3, 2)
    if count == 3 and channels == 1 and colors != BANDS:
        return unit @ GRAY_WEIGHTS[:, None]
    if count == channels or (count > channels and colors == BANDS):
        return unit[..., :channels]
    fewer = ''
    if count > channels:
        fewer = f'choose {channels} of them (--bands, or image[:, :, :{channels}] in Python), or '
    raise ValueError(f'it has {stored.shape[2]} channels, but the networks have {channels}; {fewer}train with '
                     f'--input_nc or --output_nc {count}')


def without_alpha(stored: np.ndarray, colors: str) -> np.ndarray:
    return stored[..., :-1] if colors in TRANSPARENT else stored
