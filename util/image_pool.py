"""A history of generated images, so that a discriminator does not judge the newest ones only."""
import random

import torch


class ImagePool:
    """Half of the images asked for are replaced by older ones (Shrivastava et al. 2017; CycleGAN, section 4).

    While fewer than `size` images are stored, every image is stored and returned. Then, with probability
    1/2, an image is exchanged for a random stored one, which it replaces. Size 0: images pass unchanged.
    """

    def __init__(self, size: int):
        self.size = size
        self.images = []

    def query(self, images: torch.Tensor) -> torch.Tensor:
        """Images for the discriminator, detached; same shape (N, C, H, W) as `images`."""
        if self.size == 0:
            return images.detach()
        return torch.cat([self._exchange(image) for image in images.detach().split(1)])

    def _exchange(self, image):
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if random.uniform(0, 1) <= 0.5:
            return image
        slot = random.randint(0, self.size - 1)
        stored, self.images[slot] = self.images[slot], image.clone()
        return stored

    def state_dict(self) -> dict:
        return {'images': [image.cpu() for image in self.images]}

    def load_state_dict(self, state: dict, device='cpu'):
        self.images = [image.to(device) for image in state['images']][:self.size]
