"""Images larger than memory: windows are read from the file, and the result is collected in a temporary file."""
from pathlib import Path

from PIL import Image

from data.transforms import to_levels
from models.translation.pixels import Picture
from util.images import as_numbers
from util.raster.kinds import is_8_bit, kind_of
from util.raster.read import image_error, to_rgb
from util.raster.windows import TIFF, Scratch, Windows


class StreamedImage(Picture):
    """A file as the source of a translation, with the numbers of the whole file; the target is a `Scratch`.

    Args:
        domain: how the file is read.
        to_stored: function from (1, C, h, w) in [-1, 1] to the values (h, w, C) of a result.
        folder: of the temporary file, which is as large as the result.
    """

    def __init__(self, path: Path, found: Windows, domain, to_stored, folder: Path):
        self.path, self.windows = str(path), found
        self.domain, self.to_stored = domain, to_stored
        self.folder = folder
        kind = kind_of(self.path, domain.max_pixels)
        is_picture = path.suffix.lower() in TIFF and is_8_bit(kind.dtype, kind.colors) and not domain.is_wide
        self.encode = self.encode_picture if is_picture else self.encode_values
        if not is_picture:
            domain.check_blocks(found.blocks(), self.path)
        self.read(slice(0, 1), slice(0, 1))     # refuses other numbers of channels before any work

    @property
    def size(self):
        return self.windows.shape[:2]

    def read(self, rows=slice(None), columns=slice(None)):
        spans = [slice(*span.indices(side)[:2]) for span, side in zip((rows, columns), self.size, strict=True)]
        try:
            return self.encode(self.windows.read(*spans))[None]
        except (OSError, ValueError) as error:
            raise image_error(self.path, error) from error

    def encode_picture(self, values):
        """8 bits of gray or RGB, as Pillow reads them."""
        picture = to_rgb(Image.fromarray(values[..., 0] if values.shape[2] == 1 else values))
        return as_numbers(to_levels(self.domain.encode(picture, self.path)))

    def encode_values(self, values):
        return self.domain.encode_window(values, self.path)

    def start(self, channels, out=None):
        example = self.to_stored(self.read(slice(0, 1), slice(0, 1)).new_zeros(1, channels, 1, 1))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.result = Scratch((*self.size, example.shape[2]), example.dtype, self.folder)

    def write(self, rows, columns, image):
        spans = [slice(*span.indices(side)[:2]) for span, side in zip((rows, columns), self.size, strict=True)]
        self.result.write(*spans, self.to_stored(image))

    def finish(self) -> Scratch:
        return self.result
