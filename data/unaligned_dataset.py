"""Two folders of images without pairs: <dataroot>/<phase>A and <dataroot>/<phase>B."""
from .base_dataset import BaseDataset
from .image_folder import read_image


class UnalignedDataset(BaseDataset):
    """As long as the larger folder. Each A meets a random B; with --serial_batches they go in step."""

    def __init__(self, opt):
        super().__init__(opt)
        self.A_paths = self.list_folder(f'{self.phase}A')
        self.B_paths = self.list_folder(f'{self.phase}B')

    def __len__(self):
        return max(len(self.A_paths), len(self.B_paths))

    def load(self, index, rng):
        A_path = self.A_paths[index % len(self.A_paths)]
        partner = rng.randint(0, len(self.B_paths) - 1) if self.random_pairs else index % len(self.B_paths)
        B_path = self.B_paths[partner]
        return self.directed({
            'A': self.prepare.apply(read_image(A_path), rng, A_path, self.channels_A),
            'B': self.prepare.apply(read_image(B_path), rng, B_path, self.channels_B),
            'A_paths': A_path, 'B_paths': B_path})

    @property
    def folder_A(self):
        return self.dataroot / f'{self.phase}{"B" if self.reversed else "A"}'
