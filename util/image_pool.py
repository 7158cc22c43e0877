"""A history of generated images, so that a discriminator does not see the newest ones only."""
import random

import torch


class ImagePool:
    """Half of the images asked for are replaced by older ones (Shrivastava et al. 2017; CycleGAN, section 4).

    While fewer than `size` images are stored, every image is stored and returned. Then, with probability
    1/2, an image is exchanged for a random stored one, which it replaces. Size 0: images pass unchanged.
    """

    group = None        # the processes that share each batch and have the same pool (util.machine.distributed.Group)

    def __init__(self, size: int):
        self.size = size
        self.images = []
        self.planned = []

    @property
    def shares_batch(self) -> bool:
        return self.group is not None and self.group.share is not None

    def draw(self, n: int):
        """Called before a step with `n` images. The pool draws when it is queried, unless a batch is shared."""
        self.planned = []
        if self.size and self.shares_batch:
            filled = len(self.images)
            self.planned = [choose(min(filled + index, self.size), self.size) for index in range(n)]

    def undo_draw(self):
        """Forget the last `draw`, which no `query` has followed yet."""
        self.planned = []

    def query(self, images: torch.Tensor) -> torch.Tensor:
        """Images for the discriminator, detached; same shape (N, C, H, W) as `images`."""
        if self.size == 0:
            return images.detach()
        if self.shares_batch:
            return self._query_of_all(images.detach())
        return torch.cat([self._exchange(image) for image in images.detach().split(1)])

    def _query_of_all(self, images):
        """Exchange the images of all processes, in their order in the batch; each process gets its own back."""
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
    """What happens to an image: is it replaced by a stored one, the slot, and is it stored there?"""
    if filled < size:
        return False, filled, True
    if random.uniform(0, 1) <= 0.5:
        return False, 0, False
    return True, random.randint(0, size - 1), True
