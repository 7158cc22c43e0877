"""Pairs: side by side in one image of <dataroot>/<phase>, A left and B right, or in two folders by file name."""
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from util.console import counted, note, say
from util.places.files import shown
from util.places.paths import Paths, without
from util.raster.read import ImageError

from .base_dataset import BaseDataset
from .checking.headers import some_headers
from .checking.problems import Problem, all_square, listing, pair_problems, square_problem
from .image_folder import list_images
from .pairs import pair_by_name
from .transforms import crop, size_of


class AlignedDataset(BaseDataset):
    """A and B get the same crop and flip. The left half is A; if the width is odd, the middle column is left out.

    If there is no folder <phase>, pairs are read from <phase>A and <phase>B, or A/<phase> and B/<phase>.
    """

    options = {
        'allow_unmatched': (False, 'pairs in two folders: leave out images without partner'),
        'square_pairs': (False, 'square images are pairs of tall halves'),
    }
    any_device = True

    def __init__(self, opt):
        super().__init__(opt)
        self.folders = self.two_folders()
        self.halves = 1 if self.folders else 2
        if self.folders:
            self.paths, self.partners = self.list_pairs(*self.folders, opt.allow_unmatched)
        else:
            self.paths = self.partners = self.list_folder(self.phase)
            headers = self.inspection.headers if self.inspection else some_headers(self.paths, self.max_pixels)
            if not opt.as_dict().get('square_pairs') and all_square(headers):
                self.add_problem(square_problem(headers, self.dataroot / self.phase, self.training))

    def odd_width(self):
        if self.folders:
            return []
        headers = self.inspection.headers if self.inspection else some_headers(self.paths, self.max_pixels)
        odd = [path for path, header in headers.items() if header.width % 2]
        if not odd:
            return []
        return [f'{len(odd)} of {len(headers)} pairs have an odd width, such as {odd[0]}; the middle column is left '
                f'out, so that A and B have the same size']

    def two_folders(self):
        """The folders of A and B, or None if pairs are side by side."""
        if self.layout.pairs:
            return self.dataroot, self.dataroot
        together = self.dataroot / self.phase
        separate = (together / 'A').is_dir() and (together / 'B').is_dir()
        if (together.is_dir() or self.layout.is_of_shards) and not (separate or any(self.layout.folders.values())):
            return None
        folders = self.layout.domain_folder('A'), self.layout.domain_folder('B')
        return folders if all(folders) else None

    def list_pairs(self, folder_A, folder_B, allow_unmatched: bool) -> tuple[Sequence[str], Sequence[str]]:
        """Files of A and their partners in B, at most --max_dataset_size."""
        if self.layout.pairs:
            pairs = self.layout.split(self.layout.table())
            say(f'{counted(len(pairs), "pair")} of {self.layout.pairs}')
            return self.usable_pairs(*columns(pairs[:int(min(self.limit, len(pairs)))]))
        A, B = list_images(folder_A), list_images(folder_B)
        if isinstance(A, Paths) and A.has_names_of(B) and not self.layout.is_split(folder_A):
            pairs, unmatched = None, []     # needs no table of very many names
        else:
            pairs, unmatched = pair_by_name(A, folder_A, B, folder_B)
        if unmatched:
            cure = ('they are left out' if allow_unmatched
                    else 'add their partners, or leave them out with --allow_unmatched')
            self.add_problem(Problem(
                'no partner', f'{len(unmatched)} of {len(A) + len(B)} images in {shown(folder_A)} and '
                f'{beside(folder_B, folder_A)} have no partner of the same name: '
                f'{listing(dict.fromkeys(unmatched, ""))}; {cure} (for unpaired images, use --dataset_mode unaligned '
                f'and a --model for it)',
                dict.fromkeys(unmatched, 'no partner'), fatal=not (allow_unmatched and pairs)))
        if pairs is not None:
            A, B = columns(self.layout.split(pairs, folder_A))
        A, B = (paths[:int(min(self.limit, len(paths)))] for paths in (A, B))
        message = (f'paired by file name: {counted(len(A), "pair")} in {shown(folder_A)} and '
                   f'{beside(folder_B, folder_A)}')
        if self.training:
            note(f'{message}; if images with the same name are not pairs, choose a --model for unpaired images')
        else:
            say(message)
        A, B = self.usable_pairs(A, B)
        self.A.partners = self.layout.partners('A', A)
        self.B.partners = self.layout.partners('B', B)
        return A, B

    def usable_pairs(self, A: Sequence[str], B: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """The pairs of which both files can be used."""
        usable_A, usable_B = (self.usable(paths, folder, name)
                              for name, paths, folder in zip('AB', (A, B), self.folders, strict=True))
        if self.inspection:
            step = self.inspection.step(A)
            self.inspection.problems += pair_problems(list(zip(A[::step], B[::step], strict=True)),
                                                      self.inspection.headers)
        if len(usable_A) == len(A) and len(usable_B) == len(B):
            return usable_A, usable_B
        bad = self.inspection.unreadable
        unusable = {index for index, pair in enumerate(zip(A, B, strict=True)) if not bad.isdisjoint(pair)}
        return without(A, unusable), without(B, unusable)

    def load(self, index, rng):
        A_path, B_path = self.paths[index], self.partners[index]
        A, B = self.kept(self.read_pair, A_path, B_path)
        draw = self.prepare.draw(size_of(A), rng)
        A, B = self.prepare.cut(A, draw, A_path), self.prepare.cut(B, draw, B_path)
        return self.directed({'A': A, 'B': B, 'A_paths': A_path, 'B_paths': B_path})

    def read_pair(self, A_path, B_path) -> tuple:
        pair = self.open_pair(A_path, B_path) if self.folders else self.open_halves(A_path)
        return tuple(self.prepare.resize(domain.encode(stored, path), nearest=domain.palette is not None)
                     for stored, domain, path in zip(pair, (self.A, self.B), (A_path, B_path), strict=True))

    def open_halves(self, path):
        domain = self.B if self.B.is_wide else self.A
        return halves_of(domain.read(path, self.prepare.fast))

    def open_pair(self, A_path, B_path):
        A = self.A.read(A_path, self.prepare.fast)
        B = self.B.read(B_path, self.prepare.fast)
        if size_of(A) != size_of(B):
            files = {path: '{}x{}'.format(*size_of(image)) for path, image in ((A_path, A), (B_path, B))}
            raise ImageError(f'the images of a pair differ in size: {listing(files)}; give both the same size')
        return A, B

    def stored(self, domain, path):
        pixels = super().stored(domain, path)
        return pixels if self.folders else halves_of(pixels)[domain is self.B]

    @property
    def folder_A(self):
        """With two folders, the one of the model's A."""
        return self.folders[self.reversed] if self.folders else super().folder_A


def beside(folder, other) -> str:
    """A folder named next to another one, without what they share: B/train next to data/A/train."""
    parts, others = Path(folder).absolute().parts, Path(other).absolute().parts
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(parts, others, strict=False)))
    return Path(*parts[same:]).as_posix() if 1 < same < len(parts) else shown(folder)


def columns(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [path for path, _ in pairs], [path for _, path in pairs]


def halves_of(pair) -> tuple:
    """The left and the right half, of the same width."""
    width, height = size_of(pair)
    half = width // 2
    return crop(pair, 0, 0, half, height), crop(pair, width - half, 0, half, height)
