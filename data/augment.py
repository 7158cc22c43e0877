"""Random changes of training images besides crop and flip (--augment), by torchvision's transforms."""
import random
from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from util.errors import UserError

ANGLE = 10.0        # degrees, largest rotation of `affine`
SHIFT = 0.05        # of the side
SCALE = 0.1         # larger or smaller
COLOR = 0.2         # of brightness, contrast and saturation
HUE = 0.02          # of the color circle


@dataclass(frozen=True)
class Moves:
    """Draws for one image, or for both images of a pair."""

    vflip: bool
    turns: int          # by 90 degrees
    angle: float        # degrees
    shift: tuple[float, float]      # of the side
    scale: float
    brightness: float
    contrast: float
    saturation: float
    hue: float


class Augmentation:
    """`names` of --augment. A draw depends on the generator alone, so a resumed run makes the same ones."""

    def __init__(self, names: str):
        self.names = set(names.split(',')) - {'none', 'flip'}
        if self.names & {'affine', 'color'}:
            try:
                import torchvision.transforms.v2  # noqa: F401
            except ImportError as error:
                raise UserError(f'--augment {names} needs torchvision ({error}); pip install torchvision') from error

    def __bool__(self):
        return bool(self.names)

    def draw(self, rng: random.Random) -> Moves:
        """All numbers are always drawn, even if they are not used."""
        def around(center, spread):
            return rng.uniform(center - spread, center + spread)
        return Moves(rng.random() > 0.5, rng.randrange(4), around(0, ANGLE), (around(0, SHIFT), around(0, SHIFT)),
                     around(1, SCALE), around(1, COLOR), around(1, COLOR), around(1, COLOR), around(0, HUE))

    def apply(self, image: torch.Tensor, moves: Moves, nearest: bool = False, recolor: bool = True) -> torch.Tensor:
        """(C, H, W), uint8 or float32 in [-1, 1], in the same size. `nearest` makes no new values, for label maps."""
        if 'vflip' in self.names and moves.vflip:
            image = image.flip(-2)
        if 'rot90' in self.names:
            square = image.shape[-1] == image.shape[-2]
            image = torch.rot90(image, moves.turns if square else 2 * (moves.turns % 2), (-2, -1))
        if 'affine' in self.names:
            image = affine(image, moves, nearest)
        if 'color' in self.names and recolor and not nearest:
            image = recolored(image, moves)
        return image


def affine(image: torch.Tensor, moves: Moves, nearest: bool) -> torch.Tensor:
    """Rotated, shifted and scaled; what comes in from outside is mirrored."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import affine as move
    height, width = image.shape[-2:]
    border = [min(side - 1, round(0.3 * side)) for side in (width, height)]
    wide = pad(image.float()[None], (border[0], border[0], border[1], border[1]), mode='reflect')[0]
    mode = InterpolationMode.NEAREST if nearest else InterpolationMode.BILINEAR
    shift = [round(part * side) for part, side in zip(moves.shift, (width, height), strict=True)]
    moved = move(wide, moves.angle, shift, moves.scale, [0.0, 0.0], interpolation=mode)
    moved = moved[..., border[1]:border[1] + height, border[0]:border[0] + width]
    return moved.round().to(torch.uint8) if image.dtype == torch.uint8 else moved


def recolored(image: torch.Tensor, moves: Moves) -> torch.Tensor:
    """Another brightness and contrast; of RGB images, another saturation and hue, too."""
    from torchvision.transforms.v2 import functional
    unit = image.float() / 255 if image.dtype == torch.uint8 else (image + 1) / 2
    unit = unit * moves.brightness
    unit = ((unit - unit.mean()) * moves.contrast + unit.mean()).clamp(0, 1)
    if len(image) == 3:
        unit = functional.adjust_hue(functional.adjust_saturation(unit, moves.saturation), moves.hue)
    return (unit * 255).round().to(torch.uint8) if image.dtype == torch.uint8 else unit * 2 - 1
