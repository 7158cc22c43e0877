"""Two folders of unpaired images: <dataroot>/<phase>A and <dataroot>/<phase>B."""
from util.errors import UserError

from .base_dataset import BaseDataset


class UnalignedDataset(BaseDataset):
    """As long as the larger folder. Each A is combined with a random B; with --serial_batches, with the same index."""

    paired = False
    any_device = True

    def __init__(self, opt):
        super().__init__(opt)
        self.A_paths = self.paths_of('A', other='B')
        self.B_paths = self.paths_of('B', other='A')

    def paths_of(self, domain: str, other: str) -> list[str]:
        """The images of a domain. If a test has only the other domain, the error says how to translate that one."""
        try:
            return self.list_domain(domain)
        except UserError as error:
            other_folder = self.dataroot / f'{self.phase}{other}'
            if self.training or not other_folder.is_dir():
                raise
            raise UserError(f'{error}; or translate {other} alone: --dataset_mode single --direction {other}to{domain} '
                            f'--dataroot {other_folder.absolute()}')

    def __len__(self):
        return max(len(self.A_paths), len(self.B_paths))

    @property
    def sizes(self):
        sizes = len(self.A_paths), len(self.B_paths)
        return sizes[::-1] if self.reversed else sizes

    def load(self, index, rng):
        A_path = self.A_paths[index % len(self.A_paths)]
        partner = rng.randint(0, len(self.B_paths) - 1) if self.random_pairs else index % len(self.B_paths)
        B_path = self.B_paths[partner]
        return self.directed({
            'A': self.prepare.window(self.picture(A_path, self.A), rng, A_path),
            'B': self.prepare.window(self.picture(B_path, self.B), rng, B_path),
            'A_paths': A_path, 'B_paths': B_path})

    @property
    def folder_A(self):
        return self.folder_of('B' if self.reversed else 'A')

    @property
    def folder_B(self):
        return self.folder_of('A' if self.reversed else 'B')

    def folder_of(self, domain: str):
        return self.layout.domain_folder(domain) or self.dataroot / f'{self.phase}{domain}'
