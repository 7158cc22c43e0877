"""Images between files, tensors and arrays."""
import math
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from util import lab
from util.files import save_picture

AS_WRITTEN = 'as_written'       # key of a batch from a dataset file of the user, whose uint8 tensors may be classes
LABEL_HEIGHT, LABEL_SIZE, PADDING = 20, 14, 2   # pixels, of `image_grid`


def tensor_to_image(tensor: torch.Tensor, bands: Sequence[int] = ()) -> np.ndarray:
    """An image (C, H, W) in [-1, 1] as uint8 (H, W, 3), rounded to the nearest level and clipped.

    One or two channels are shown as gray, of the first; of more than 3 channels the first three are shown, or those
    with the numbers `bands`, counted from 1.
    """
    if bands and max(bands) <= len(tensor):
        tensor = tensor[[band - 1 for band in bands]]
    array = ((tensor.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    if len(array) < 3:
        array = array[:1].expand(3, -1, -1)
    return array[:3].permute(1, 2, 0).contiguous().numpy()


def stretched_size(size: tuple[int, int], aspect_ratio: float) -> tuple[int, int]:
    """(width, height) after --aspect_ratio r: r times higher, or 1/r times wider if r < 1."""
    width, height = size
    return (width, int(height * aspect_ratio)) if aspect_ratio >= 1 else (int(width / aspect_ratio), height)


def stretched(image: torch.Tensor, aspect_ratio: float, nearest: bool = False) -> torch.Tensor:
    """(C, H, W) in [-1, 1] after --aspect_ratio, bicubic; `nearest` makes no new values, for label maps."""
    width, height = stretched_size((image.shape[2], image.shape[1]), aspect_ratio)
    if (height, width) == image.shape[1:]:
        return image
    if nearest:
        return torch.nn.functional.interpolate(image[None], (height, width), mode='nearest-exact')[0]
    return torch.nn.functional.interpolate(image[None].float(), (height, width), mode='bicubic', antialias=True)[0]


def save_image(array: np.ndarray, path, aspect_ratio: float = 1.0):
    """Write uint8 (H, W, 3) as a file; `aspect_ratio` r makes it r times higher, or 1/r times wider if r < 1."""
    save_picture(stretched_picture(array, aspect_ratio), path)


def stretched_picture(array: np.ndarray, aspect_ratio: float) -> Image.Image:
    """uint8 (H, W, 3) after --aspect_ratio, bicubic."""
    image = Image.fromarray(array)
    size = stretched_size(image.size, aspect_ratio)
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def swap_domains(sample: dict) -> dict:
    """A sample or batch with A and B exchanged, as for --direction BtoA; unchanged if it has one domain only."""
    if not {'A', 'B'} <= sample.keys():
        return sample
    swapped = {'A': 'B', 'B': 'A', 'A_paths': 'B_paths', 'B_paths': 'A_paths'}
    return {swapped.get(key, key): value for key, value in sample.items()}


def image_grid(images: Mapping[str, np.ndarray], columns: int, longest: int) -> np.ndarray:
    """Images of any sizes, {label: (H, W, 3) uint8}, with their labels in rows on white: one (H, W, 3) uint8 image."""
    cells = [labeled(image, label, longest) for label, image in images.items()]
    width, height = (max(sizes) + 2 * PADDING for sizes in zip(*(cell.size for cell in cells), strict=True))
    grid = Image.new('RGB', (columns * width, math.ceil(len(cells) / columns) * height), 'white')
    for index, cell in enumerate(cells):
        grid.paste(cell, (index % columns * width + PADDING, index // columns * height + PADDING))
    return np.asarray(grid)


def labeled(pixels: np.ndarray, label: str, longest: int) -> Image.Image:
    """The image below a white strip with its label. No side has over `longest` pixels: large images are shrunk, and
    the pixels of small ones become squares, so that the label is as legible as below large ones.
    """
    image = Image.fromarray(pixels)
    factor = max(1, longest // max(image.size))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    font = ImageFont.load_default(LABEL_SIZE)
    text = label.encode('ascii', 'replace').decode()
    image.thumbnail((longest, longest), Image.Resampling.BOX)
    width = max(image.width, math.ceil(font.getlength(text)) + 2)
    cell = Image.new('RGB', (width, image.height + LABEL_HEIGHT), 'white')
    ImageDraw.Draw(cell).text((1, 1), text, fill='black', font=font)
    cell.paste(image, (0, LABEL_HEIGHT))
    return cell


def rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3), uint8 or float in [0, 1], as CIELAB (D65, 2 degrees), float32.

    L is in [0, 100], a and b in about [-110, 110].
    """
    from skimage.color import rgb2lab
    return rgb2lab(rgb).astype(np.float32)


def lab_to_rgb(scaled: torch.Tensor) -> torch.Tensor:
    """Channels L / 50 - 1, a / 110, b / 110, (N, 3, H, W), as RGB in [-1, 1], float64 on the CPU.

    Colors that no screen has keep their lightness and become less saturated.
    """
    scaled = scaled.double().cpu()
    return lab.rgb(scaled[:, :1], scaled[:, 1:])


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
