"""A history of generated images, so that a discriminator does not judge the newest ones only."""
import random

import torch

from util.machine.distributed import Group


class ImagePool:
    """Half of the images asked for are replaced by older ones (Shrivastava et al. 2017; CycleGAN, section 4).

    While fewer than `size` images are stored, every image is stored and returned. Then, with probability
    1/2, an image is exchanged for a random stored one, which it replaces. Size 0: images pass unchanged.
    """

    group = Group()     # the processes that share each batch: all of them have the same pool

    def __init__(self, size: int):
        self.size = size
        self.images = []
        self.planned = []

    def draw(self, n: int):
        """Called before a step that asks for `n` images; this pool draws when it is asked, unless a batch is shared."""
        self.planned = []
        if self.size and self.group.share:
            filled = len(self.images)
            self.planned = [choose(min(filled + index, self.size), self.size) for index in range(n)]

    def undo_draw(self):
        """As if `draw` had not been called, and before any `query` that follows it."""
        self.planned = []

    def query(self, images: torch.Tensor) -> torch.Tensor:
        """Images for the discriminator, detached; same shape (N, C, H, W) as `images`."""
        if self.size == 0:
            return images.detach()
        if self.group.share:
            return self._query_of_all(images.detach())
        return torch.cat([self._exchange(image) for image in images.detach().split(1)])

    def _query_of_all(self, images):
        """The images of all processes are exchanged, in their order in the batch; each process gets its own back."""
        returned = images
        for rank, (theirs, share) in enumerate(zip(self.group.gather(images), self.group.shares(), strict=True)):
            exchanged = [self._exchange(image) for image in theirs[:share.count].split(1)] if share.count else []
            if rank == self.group.rank and exchanged:
                returned = torch.cat(exchanged)
        return returned

    def _exchange(self, image):
        exchanged, slot, stores = self.planned.pop(0) if self.planned else choose(len(self.images), self.size)
        if not exchanged:
            if stores:
                self.images.append(image.clone())
            return image
        stored, self.images[slot] = self.images[slot], image.clone()
        return stored

    def state_dict(self) -> dict:
        return {'images': [image.cpu() for image in self.images]}

    def load_state_dict(self, state: dict, device='cpu'):
        self.images = [image.to(device) for image in state['images']][:self.size]


def choose(filled: int, size: int) -> tuple[bool, int, bool]:
    """What happens to an image: does a stored one take its place, the slot, and is the image stored there?"""
    if filled < size:
        return False, filled, True
    if random.uniform(0, 1) <= 0.5:
        return False, 0, False
    return True, random.randint(0, size - 1), True


class DevicePool(ImagePool):
    """The same pool, with the same draws, as one tensor: `query` makes no decision on the host.

    So it can be a part of a captured graph: `draw` decides for the images that the next `query` is asked for.
    """

    def __init__(self, pool: ImagePool):
        """Goes on from `pool`; all images must have one shape, that of the first query."""
        self.size, self.filled = pool.size, len(pool.images)
        self.filled_before = self.filled
        self.plans = {}     # for N images: (3, N), is a stored one returned, its slot, is the image stored there
        self.storage = torch.cat(pool.images) if pool.images else None

    @property
    def images(self) -> list[torch.Tensor]:
        return list(self.storage[:self.filled].split(1)) if self.filled else []

    def as_list(self) -> ImagePool:
        """A pool of the plain kind that goes on from this one."""
        pool = ImagePool(self.size)
        pool.images = [image.clone() for image in self.images]
        return pool

    def load_state_dict(self, state: dict, device='cpu'):
        pool = ImagePool(self.size)
        pool.load_state_dict(state, device)
        self.filled, self.storage = len(pool.images), torch.cat(pool.images) if pool.images else None

    def reserve(self, images):
        """Room for all images that will come, behind those that are there."""
        room = images.new_zeros(self.size, *images.shape[1:])
        if self.storage is not None:
            room[:len(self.storage)] = self.storage
        self.storage = room

    def draw(self, n: int):
        if self.size == 0:
            return
        self.filled_before, rows = self.filled, []
        for _ in range(n):
            rows.append(choose(self.filled, self.size))
            self.filled += self.filled < self.size
        self.choices = torch.tensor(rows, dtype=torch.long).T.contiguous()
        if n in self.plans:
            self.plans[n].copy_(self.choices)       # always the same place in memory

    def undo_draw(self):
        self.filled = self.filled_before

    def query(self, images):
        images = images.detach()
        if self.size == 0:
            return images
        if self.storage is None or len(self.storage) < self.size:
            self.reserve(images)
        if len(images) not in self.plans:
            self.plans[len(images)] = self.choices.to(images.device)
        plan = self.plans[len(images)]
        return torch.cat([self._exchange_planned(image, plan[:, index:index + 1])
                          for index, image in enumerate(images.split(1))])

    def _exchange_planned(self, image, plan):
        exchanged, slot, stores = plan
        stored = self.storage.index_select(0, slot)
        returned = torch.where(exchanged.bool(), stored, image)
        self.storage.index_copy_(0, slot, torch.where(stores.bool(), image, stored))
        return returned
