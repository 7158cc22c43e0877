"""Pairs side by side in one image, A left and B right, in <dataroot>/<phase>."""
from .base_dataset import BaseDataset
from .image_folder import read_image
from .transforms import as_channels, to_tensor


class AlignedDataset(BaseDataset):
    """A and B are cut and mirrored alike. The left half is A; with an odd width B has one column more."""

    def __init__(self, opt):
        super().__init__(opt)
        self.paths = self.list_folder(self.phase)

    def load(self, index, rng):
        path = self.paths[index]
        pair = read_image(path)
        middle = pair.width // 2
        halves = pair.crop((0, 0, middle, pair.height)), pair.crop((middle, 0, *pair.size))
        A, B = (self.prepare.resize(as_channels(half, channels))
                for half, channels in zip(halves, (self.channels_A, self.channels_B), strict=True))
        draw = self.prepare.draw(A.size, rng)
        A, B = (to_tensor(self.prepare.cut(half, draw, path)) for half in (A, B))
        return self.directed({'A': A, 'B': B, 'A_paths': path, 'B_paths': path})
