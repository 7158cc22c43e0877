"""Pairs: side by side in one image, A left and B right, in <dataroot>/<phase>, or in two folders by their names."""
from util.console import note, say

from .base_dataset import BaseDataset
from .checking.problems import Problem, about_pairs, about_squares, all_square, listing
from .image_folder import ImageError, list_images
from .pairs import pair_by_name
from .transforms import as_channels, part, size_of


class AlignedDataset(BaseDataset):
    """A and B are cut and mirrored alike. The left half is A; with an odd width B has one column more.

    Where there is no <phase>, partners come from <phase>A and <phase>B, or A/<phase> and B/<phase>.
    """

    options = {
        'allow_unmatched': (False, 'pairs in two folders: leave out images without partner'),
    }
    any_device = True
    train_options = {
        'square_pairs': (False, 'square images are pairs of tall halves'),
    }

    def __init__(self, opt):
        super().__init__(opt)
        self.folders = self.two_folders()
        self.halves = 1 if self.folders else 2
        if self.folders:
            self.paths, self.partners = self.list_pairs(*self.folders, opt.allow_unmatched)
        else:
            self.paths = self.partners = self.list_folder(self.phase)
            if self.inspection and not opt.square_pairs and all_square(self.inspection.headers):
                self.inspection.problems += about_squares(self.inspection.headers, self.dataroot / self.phase)

    def two_folders(self):
        """The folders of A and B, or None where pairs are side by side."""
        root, phase = self.dataroot, self.phase
        if (root / phase).is_dir():
            return None
        for folders in ((root / f'{phase}A', root / f'{phase}B'), (root / 'A' / phase, root / 'B' / phase)):
            if all(folder.is_dir() for folder in folders):
                return folders
        return None

    def list_pairs(self, folder_A, folder_B, allow_unmatched: bool) -> tuple[list[str], list[str]]:
        """Files of A and their partners of B, at most --max_dataset_size."""
        A, B = list_images(folder_A), list_images(folder_B)
        pairs, alone = pair_by_name(A, folder_A, B, folder_B)
        if alone:
            cure = 'they are left out' if allow_unmatched else 'add partners, or leave them out with --allow_unmatched'
            self.report(Problem(
                'no partner', f'{len(alone)} of {len(A) + len(B)} images in {folder_A.absolute()} and {folder_B.name} '
                f'have no partner of the same name: {listing(dict.fromkeys(alone, ""))}; {cure} '
                f'(images that are no pairs are for --model cyclegan --dataset_mode unaligned)',
                dict.fromkeys(alone, 'no partner'), fatal=not (allow_unmatched and pairs)))
        pairs = pairs[:int(min(self.limit, len(pairs)))]
        told = f'paired by file name: {len(pairs)} pairs in {folder_A.absolute()} and {folder_B.name}'
        if self.training:
            note(f'{told}; images of these two folders with the same names are taken for pairs (images that are no '
                 f'pairs are for --model cyclegan)')
        else:
            say(told)
        pairs = self.usable_pairs(pairs)
        return [path for path, _ in pairs], [path for _, path in pairs]

    def usable_pairs(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        kept = {path for paths, folder in zip(zip(*pairs, strict=True), self.folders, strict=False)
                for path in self.usable(list(paths), folder)}
        if self.inspection:
            self.inspection.problems += about_pairs(pairs, self.inspection.headers)
        return [pair for pair in pairs if kept.issuperset(pair)]

    def load(self, index, rng):
        A_path, B_path = paths = self.paths[index], self.partners[index]
        pair = self.kept(self.read_pair, *paths)
        draw = self.prepare.draw(size_of(pair[0]), rng)
        A, B = (self.prepare.cut(half, draw, path) for half, path in zip(pair, paths, strict=True))
        return self.directed({'A': A, 'B': B, 'A_paths': A_path, 'B_paths': B_path})

    def read_pair(self, A_path, B_path) -> tuple:
        halves = self.open_pair(A_path, B_path) if self.folders else self.open_halves(A_path)
        return tuple(self.prepare.resize(as_channels(half, channels))
                     for half, channels in zip(halves, (self.channels_A, self.channels_B), strict=True))

    def open_halves(self, path):
        pair = self.open_levels(path)
        width, height = size_of(pair)
        middle = width // 2
        return part(pair, 0, 0, middle, height), part(pair, middle, 0, width - middle, height)

    def open_pair(self, A_path, B_path):
        A, B = self.open_levels(A_path), self.open_levels(B_path)
        if size_of(A) != size_of(B):
            files = {path: '{}x{}'.format(*size_of(image)) for path, image in ((A_path, A), (B_path, B))}
            raise ImageError(f'a pair of different sizes: {listing(files)}; give both the same size')
        return A, B

    @property
    def folder_A(self):
        """With two folders the one of the model's A; pairs side by side have but one."""
        return self.folders[self.reversed] if self.folders else super().folder_A
