"""What metrics see of a translation: images in levels (0..255), as the files of test.py would hold them."""
from dataclasses import dataclass

import torch

from util.errors import UserError
from util.images import as_numbers, tensor_to_image

DEFAULT_TARGET = ('fake_B', 'real_B')


@dataclass
class Compared:
    """The images of one input for the metrics, each (N, C, H, W), uint8 or floats in 0..255, on the CPU.

    `fakes` are all translations (several for a model with styles), `real` an image of the target domain, and `pair` a
    translation with its target, both empty where there is none.
    """

    fakes: list
    real: list
    pair: list

    def tensors(self) -> list[torch.Tensor]:
        return [*self.fakes, *self.real, *self.pair]


def compared(visuals: dict, batch: dict, target: tuple | None, domains: dict, paired: bool) -> Compared:
    """Choose from the visuals of `model.translate`, {name: (1, C, H, W) in [-1, 1]}.

    Args:
        batch: what was translated; its 'B' is the real image if no visual is.
        target: a translation and the image that it should be, as the model names them; None for the usual names.
        domains: {'A': ..., 'B': ...} of the dataset, which know how values become pictures; {} for none.
        paired: compare the translation with its target.
    """
    output, truth = target or DEFAULT_TARGET
    several = [name for name in visuals if name.startswith('fake_B')]
    fakes = [output] if output in visuals and output.startswith('fake') else several
    if not fakes:
        raise UserError(f'the model shows no {DEFAULT_TARGET[0]}, but {", ".join(visuals)}')
    domain = domains.get('B')
    reals = {truth: visuals.get(truth, batch.get('B'))}
    known = {**visuals, **reals}
    pair = [output, truth] if paired and output in visuals and reals[truth] is not None else []
    if pair and known[output].shape != known[truth].shape:
        pair = []
    return Compared([levels(visuals[name], domain) for name in fakes],
                    [] if reals[truth] is None else [levels(reals[truth], domain)],
                    [levels(known[name], domain, every_band=True) for name in pair])


def levels(image: torch.Tensor, domain=None, every_band: bool = False) -> torch.Tensor:
    """Images (N, C, H, W) in [-1, 1] as levels; with `every_band`, all bands of images that no picture can show."""
    image = as_numbers(image).detach()
    if every_band and domain and domain.is_wide:
        return (image.float().cpu().clamp(-1, 1) + 1) * 127.5
    pictures = [tensor_to_image(domain.picture(one) if domain else one) for one in image]
    return torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures])
