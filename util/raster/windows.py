"""Images larger than memory: windows of NPY and TIFF files are read from the disk, and results are collected on it."""
import itertools
import os
import tempfile

import numpy as np

from util.places import files

from . import kinds

TIFF = ('.tif', '.tiff')
LEVELS_OF_COLORS = (1, 2)       # photometric interpretations that need no conversion: black is 0, RGB


def can_stream(extension: str) -> bool:
    """True for the file types that are read, or written, in windows."""
    return extension.lower() in ('.npy', *TIFF)


class Windows:
    """The values of a file, as they are stored; each window is read from the disk when it is asked for.

    Attributes:
        shape: (height, width, channels).
        dtype: in the byte order of this machine.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype):
        self.shape = shape
        self.dtype = dtype.newbyteorder('=')

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """The values (h, w, C) of rows and columns that lie in the image."""
        raise NotImplementedError

    def blocks(self, values: int = 2**22):
        """The image in rows of windows of about this number of values."""
        height, width, channels = self.shape
        step = max(1, values // (width * channels))
        for top in range(0, height, step):
            yield self.read(slice(top, min(top + step, height)), slice(0, width))


class ArrayWindows(Windows):
    """An array in a file. Each window is mapped by itself, as pages of a map would stay in memory.

    `load()` maps the file; `as_image` makes (H, W, C) of the array.
    """

    def __init__(self, load, shape, dtype, as_image):
        super().__init__(shape, dtype)
        self.load, self.as_image = load, as_image

    def read(self, rows, columns):
        return np.array(self.as_image(self.load())[rows, columns], self.dtype, order='C')


class TiffWindows(Windows):
    """A TIFF in compressed strips or tiles.

    Those that a window shows are decoded, and kept for as long as the next window needs them, too: of strips, a row of
    windows needs the same.
    """

    def __init__(self, path: str, page):
        """`page` of an open `tifffile.TiffFile`; it is read now, as far as it is needed."""
        self.planes, self.samples = page.shaped[0], page.shaped[4]
        height, width = page.imagelength, page.imagewidth
        super().__init__((height, width, self.planes * self.samples), page.dtype)
        self.path = path
        self.side = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, height), width)
        self.places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        self.decode = page.decode
        self.tables = {'jpegtables': page.jpegtables} if page.jpegtables else {}
        self.decoded = {}

    def read(self, rows, columns):
        window = np.zeros((rows.stop - rows.start, columns.stop - columns.start, self.shape[2]), self.dtype)
        needed = set(itertools.product(range(self.planes), covering(rows, self.side[0]),
                                       covering(columns, self.side[1])))
        self.decoded = {place: values for place, values in self.decoded.items() if place in needed}
        with open(self.path, 'rb') as file:
            for plane, down, right in needed:
                if (plane, down, right) not in self.decoded:
                    self.decoded[plane, down, right] = self.segment(file, plane, down, right)
                paste(window[..., plane * self.samples:(plane + 1) * self.samples], (rows.start, columns.start),
                      self.decoded[plane, down, right], (down * self.side[0], right * self.side[1]))
        return window

    def segment(self, file, plane: int, down: int, right: int) -> np.ndarray:
        """The values (h, w, samples) of a strip or tile; zeros where the file leaves it out."""
        count_down, count_right = (-(-size // side) for size, side in zip(self.shape[:2], self.side, strict=True))
        index = (plane * count_down + down) * count_right + right
        offset, size = self.places[index]
        if not size:
            return np.zeros((*self.side, self.samples), self.dtype)
        file.seek(offset)
        values = self.decode(file.read(size), index, **self.tables)[0]
        return values.reshape(values.shape[-3:]).astype(self.dtype, copy=False)


def covering(span: slice, side: int) -> range:
    """The numbers of the strips or tiles of this side that a span of rows or columns touches."""
    return range(span.start // side, -(-span.stop // side))


def paste(window: np.ndarray, corner: tuple[int, int], part: np.ndarray, place: tuple[int, int]):
    """Copy what a window, whose first pixel is at `corner`, shows of a part whose first pixel is at `place`."""
    spans = []
    for axis in range(2):
        start = max(corner[axis], place[axis])
        stop = min(corner[axis] + window.shape[axis], place[axis] + part.shape[axis])
        if start >= stop:
            return
        spans.append((start, stop))
    (top, bottom), (left, right) = spans
    window[top - corner[0]:bottom - corner[0], left - corner[1]:right - corner[1]] = \
        part[top - place[0]:bottom - place[0], left - place[1]:right - place[1]]


def open_windows(path: str) -> Windows | None:
    """The windows of a file; None if it must be read as a whole. Raises OSError or ValueError for damaged files."""
    kinds.check_file(path)
    if files.is_packed(path):
        return None
    if path.lower().endswith('.npy'):
        return open_array(path)
    return open_tiff(path) if path.lower().endswith(TIFF) and kinds.is_tiff(path) else None


def open_array(path: str) -> Windows:
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    height, width, channels = kinds.layout(array.shape)
    kinds.check_type(array.dtype)
    if array.ndim == 2:
        as_image = lambda values: values[:, :, None]
    elif array.shape != (height, width, channels):
        as_image = lambda values: values.transpose(1, 2, 0)
    else:
        as_image = lambda values: values
    return ArrayWindows(lambda: np.load(path, mmap_mode='r'), (height, width, channels), array.dtype, as_image)


def open_tiff(path: str) -> Windows | None:
    with kinds.open_tiff(path) as file:
        page = file.pages[0]
        turned = page.tags[kinds.ORIENTATION].value if kinds.ORIENTATION in page.tags else 1
        converted = page.photometric not in LEVELS_OF_COLORS and not (page.photometric == 6 and page.compression == 7)
        if turned != 1 or converted or page.dtype is None or page.bitspersample % 8 or page.shaped[1] != 1:
            return None
        kinds.check_type(page.dtype)
        if not page.is_contiguous:
            return TiffWindows(path, page)
        stored = np.dtype(file.byteorder + page.dtype.char)
        planes, _, height, width, samples = page.shaped
        shape, offset = (planes, height, width, samples), page.dataoffsets[0]
    if os.path.getsize(path) < offset + stored.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise ValueError('the end of the file is missing')
    return ArrayWindows(lambda: np.memmap(path, stored, 'r', offset, shape), (height, width, planes * samples), stored,
                        lambda values: values[0] if planes == 1 else np.moveaxis(values[..., 0], 0, 2))


class Scratch:
    """An array (H, W, C) in a temporary file without a name, which is gone when it is closed or the program ends.

    It is written and read in windows, and takes no memory.
    """

    def __init__(self, shape: tuple[int, int, int], dtype, folder=None):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.folder = str(folder or tempfile.gettempdir())
        self.file = tempfile.TemporaryFile(dir=folder)
        self.file.truncate(self.nbytes)

    @property
    def nbytes(self) -> int:
        height, width, channels = self.shape
        return height * width * channels * self.dtype.itemsize

    def spans(self, rows: slice, columns: slice):
        """(position of the first byte, bytes) of each row of a window."""
        pixel = self.shape[2] * self.dtype.itemsize
        for row in range(rows.start, rows.stop):
            yield pixel * (row * self.shape[1] + columns.start), pixel * (columns.stop - columns.start)

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        values = np.empty((rows.stop - rows.start, columns.stop - columns.start, self.shape[2]), self.dtype)
        for row, (start, _) in zip(values, self.spans(rows, columns), strict=True):
            self.file.seek(start)
            self.file.readinto(row.view(np.uint8).data)
        return values

    def write(self, rows: slice, columns: slice, values: np.ndarray):
        values = np.ascontiguousarray(values, self.dtype)
        try:
            for row, (start, _) in zip(values, self.spans(rows, columns), strict=True):
                self.file.seek(start)
                self.file.write(row.view(np.uint8).data)
            self.file.flush()       # a full disk is an error here
        except OSError as error:
            error.filename = self.folder
            raise

    def windows(self, side: int):
        """The whole array in windows of this side, row by row."""
        height, width, _ = self.shape
        for top in range(0, height, side):
            for left in range(0, width, side):
                yield self.read(slice(top, min(top + side, height)), slice(left, min(left + side, width)))

    def close(self):
        self.file.close()
