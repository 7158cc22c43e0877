"""A trained model as a function from images to images."""
import threading
from contextlib import nullcontext
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.nets.factory import fix_spectral_norms, mixes_batch
from models.nets.winograd import use_winograd
from util.errors import UserError
from util.machine.memory import memory_explained
from util.machine.runtime import usable_device
from util.machine.seeding import derive_seed

from . import kinds, pixels
from .copies import with_noise
from .sources import Source
from .tiles import Tiling

CURES = 'tiles (--tile auto, or tile=512 in Python)'


class Translator:
    """Translates images of any size to images of the same size and kind.

    `t(image)` takes a Pillow image, a NumPy array (H, W) or (H, W, C) of type uint8, uint16 or float in [0, 1], or with
    the values of the training, a tensor (N, C, H, W) in [-1, 1], or a list of these. It may be called from several
    threads at once, and changes no global state: no random generator, no default device. Sides that the network cannot
    take are extended by reflection, and the result is cropped.

    As in test.py, batch norms use the statistics of the image, and dropout is on if the training had it; its noise
    depends on `seed` and the file name of the image only. `evaluate=True` uses running statistics and no dropout.

    Attributes:
        direction: 'AtoB' or 'BtoA', the default for calls.
        directions: those that there are.
    """

    def __init__(self, source: Source, direction: str = '', evaluate: bool = False, seed: int = 0):
        self.source = source
        self.direction = direction or source.trained_direction
        self.evaluate, self.seed = evaluate, seed
        self.device = torch.device('cpu')
        self.dtype = torch.float32      # of convolutions; weights stay in float32
        self.fast = False               # Winograd's method for 3x3 convolutions
        self.lock = threading.Lock()    # while networks are loaded or moved
        self.loaded = {}                # {direction: (translation, recipe)}
        self.tiling = Tiling()
        self.translation()              # so that all errors are raised here

    @property
    def directions(self) -> tuple[str, ...]:
        return ('AtoB', 'BtoA') if self.source.two_way else (self.source.trained_direction,)

    def __call__(self, image, style=None, tile=None, direction: str = '', name: str = '', out=None):
        """The translation of an image, or a list of them for a list.

        Args:
            style: for models with styles: an image of the target domain, a style code (a tensor of style_dim), or the
                seed of a random style; default: the first random style of test.py for `name`.
            tile: side of the tiles, or 'auto'; default: the whole image at once.
            direction: 'AtoB' or 'BtoA'; default: `self.direction`.
            name: decides about noise and random style, as the file name does in test.py. Default: the file name of a
                Pillow image that was opened from a file.
            out: for an array, the array (H, W, C) of the same type to write to, which may be a file in memory.
        """
        if isinstance(image, (list, tuple)):
            if out is not None:
                raise UserError('out is for one array, not for a list; translate its images one by one')
            return self.many(image, [name] * len(image), style, tile, direction)
        translation = self.translation(direction)
        name = name or name_of(image)
        if tile is not None and isinstance(image, torch.Tensor) and image.ndim == 4 and len(image) > 1:
            return torch.cat([self(one[None], style, tile, direction, name) for one in image])
        picture = self.opened(image, direction)
        code = self.style_code(style, translation, name, direction)
        if tile is not None and out is not None:
            pixels.check_separate(image, out)
        picture.start(translation.channels_out, out)

        def whole(compute):
            picture.write(slice(None), slice(None), compute(translation, picture.read(), code, name))
        with torch.inference_mode(), self.precision():
            if tile is None:
                whole(self.whole)
            else:
                self.tiling.translate(translation, picture, lambda: whole(self.computed), tile, code, self.device,
                                      derive_seed(self.seed, name))
            return picture.finish()

    def many(self, images, names, style=None, tile=None, direction: str = '') -> list:
        """The translations of images with these names; `style` may be a function from a name to a style.

        On a GPU, images of one size are one batch, if the result for an image does not depend on the others.
        """
        def style_for(name):
            return style(name) if callable(style) else style
        translation = self.translation(direction)
        names = [name or name_of(image) for image, name in zip(images, names, strict=True)]
        pictures = [self.opened(image, direction) for image in images]
        alike = all(isinstance(image, Image.Image) for image in images) and len({one.size for one in pictures}) == 1
        if len(images) == 1 or not alike or self.device.type == 'cpu' or tile is not None or mixes_batch(translation):
            return [self(image, style_for(name), tile, direction, name)
                    for image, name in zip(images, names, strict=True)]
        codes = [self.style_code(style_for(name), translation, name, direction) for name in names]
        with torch.inference_mode(), self.precision():
            results = self.whole(translation, torch.cat([picture.read() for picture in pictures]),
                                 torch.cat(codes) if translation.styled else None, names[0])
            for picture, result in zip(pictures, results, strict=True):
                picture.start(translation.channels_out)
                picture.write(slice(None), slice(None), result[None])
        return [picture.finish() for picture in pictures]

    def whole(self, translation, image: torch.Tensor, code, name: str) -> torch.Tensor:
        """`computed`; a `ResourceError` that recommends tiles if memory runs out."""
        height, width = image.shape[-2:]
        with memory_explained(self.device, cures=CURES, size=f'{width}x{height}'):
            return self.computed(translation, image, code, name)

    def computed(self, translation, image: torch.Tensor, code, name: str) -> torch.Tensor:
        """The translation of (N, C, H, W); on a CPU one by one, as in test.py, so that batches change nothing."""
        if self.device.type == 'cpu' and len(image) > 1:
            return torch.cat([self.computed(translation, one[None], code, name) for one in image])
        net = with_noise(translation, derive_seed(self.seed, name), self.device)
        image = image.to(self.device)
        image = image.contiguous(memory_format=kinds.memory_format(image))
        return net(image, None if code is None else code.expand(len(image), -1, -1, -1))     # one or one each

    # ---- networks

    def translation(self, direction: str = '') -> kinds.Translation:
        """The networks of a direction, loaded when they are first used."""
        direction = direction or self.direction
        with self.lock:
            if direction not in self.loaded:
                translation, recipe = self.source.load(direction)
                self.loaded[direction] = self.prepared(translation), recipe
            return self.loaded[direction][0]

    def values(self, direction: str = '') -> pixels.Values:
        """What the values of arrays mean, as in the training."""
        recipe = self.recipe(direction)
        return pixels.values_of(recipe.training, kinds.domains_of(recipe.kind, direction or self.direction))

    def opened(self, image, direction: str):
        """The image as source and target of a translation."""
        return pixels.opened(image, self.translation(direction).channels_in, self.values(direction))

    def recipe(self, direction: str = ''):
        """What the networks of a direction are built from, and how they were trained."""
        self.translation(direction)
        return self.loaded[direction or self.direction][1]

    def prepared(self, translation):
        translation.requires_grad_(False).train(not self.evaluate)
        fix_spectral_norms(translation)
        if self.fast:
            use_winograd(translation, frozen=True)
        if not self.evaluate:
            for module in translation.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.track_running_stats = False      # statistics of the image, and none are changed
        return self.moved(translation)

    def moved(self, translation, device: torch.device | None = None):
        device = device or self.device
        layout = torch.channels_last if device.type == 'cpu' else torch.contiguous_format
        return translation.to(device, memory_format=layout)

    def to(self, device) -> 'Translator':
        """Move to a device: 'cuda', 'cuda:1', 'mps', 'xpu', 'cpu'."""
        device = usable_device(device)
        with self.lock:
            for translation, _ in self.loaded.values():
                self.moved(translation, device)
            self.device = device
        return self

    def winograd(self) -> 'Translator':
        """Compute 3x3 convolutions by Winograd's method: faster in float32 on a CPU, and equal to about 1e-5.

        See `models/nets/winograd.py`. Networks of other convolutions, such as U-Nets, stay as they are.
        """
        with self.lock:
            self.fast = True
            for translation, _ in self.loaded.values():
                use_winograd(translation, frozen=True)
                self.moved(translation)
        return self

    def half(self) -> 'Translator':
        """Compute convolutions in float16, on a GPU; images and statistics stay in float32."""
        return self.compute_in(torch.float16)

    def bfloat16(self) -> 'Translator':
        """Compute convolutions in bfloat16, as --precision bf16 does."""
        return self.compute_in(torch.bfloat16)

    def float(self) -> 'Translator':
        return self.compute_in(torch.float32)

    def compute_in(self, dtype: torch.dtype) -> 'Translator':
        self.dtype = dtype
        return self

    def precision(self):
        """The context of all computations."""
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    # ---- styles

    @property
    def styled(self) -> bool:
        """Does a call need a style?"""
        return self.translation().styled

    def random_styles(self, count: int, seed: int = 10, name: str = '', direction: str = '') -> torch.Tensor:
        """Style codes (count, style_dim) from N(0, I); those of test.py with --style_seed for the file `name`."""
        if count < 0:
            raise UserError(f'there are no {count} styles; give a number from 0 up')
        dim = self.need_styles(self.translation(direction)).style_dim
        return torch.randn(count, dim, 1, 1, generator=generator_of(seed, name)).flatten(1)

    def interpolated_styles(self, count: int, start, end, direction: str = '') -> torch.Tensor:
        """`count` style codes from `start` to `end`, which are codes, images or seeds, in equal steps."""
        translation = self.need_styles(self.translation(direction))
        first, last = (self.style_code(style, translation, '', direction).cpu() for style in (start, end))
        return torch.cat([torch.lerp(first, last, step) for step in torch.linspace(0, 1, count)]).flatten(1)

    def encode_style(self, image, direction: str = '') -> torch.Tensor:
        """The style code (style_dim) of an image of the target domain."""
        code = self.encoded(image, self.need_styles(self.translation(direction)), direction)
        return code.flatten().cpu().clone()     # no longer a tensor of the inference mode

    def encoded(self, image, translation, direction: str) -> torch.Tensor:
        values = self.values(direction).of_target()
        unit = pixels.opened(image, translation.channels_out, values).read().to(self.device)
        with torch.inference_mode(), self.precision():
            return translation.encode_style(unit.contiguous(memory_format=kinds.memory_format(unit))).float()

    def style_code(self, style, translation, name: str, direction: str) -> torch.Tensor | None:
        """A style of a call as a code (1, style_dim, 1, 1) on the device."""
        if not translation.styled:
            if style is not None:
                raise UserError('this model has no styles; drop style')
            return None
        dim = translation.style_dim
        if style is None or isinstance(style, Integral):
            style = torch.randn(dim, generator=generator_of(10 if style is None else int(style), name))
        elif isinstance(style, np.ndarray) and style.ndim == 1:
            style = torch.from_numpy(style)
        if not isinstance(style, torch.Tensor) or style.ndim > 1 and style.numel() != dim:
            style = self.encoded(style, translation, direction)
        if style.numel() != dim or not style.isfinite().all():
            raise UserError(f'a style code of this model is {dim} finite numbers, not these {style.numel()}')
        return style.reshape(1, -1, 1, 1).to(self.device, torch.float32)

    @staticmethod
    def need_styles(translation):
        if not translation.styled:
            raise UserError('this model has no styles')
        return translation


def name_of(image) -> str:
    """The file name of a Pillow image that was opened from a file, else ''."""
    return Path(getattr(image, 'filename', '') or '').name


def generator_of(seed: int, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, name) if name else derive_seed(seed))
