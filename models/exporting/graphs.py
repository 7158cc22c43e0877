"""The graphs that are exported, with padding, cropping and, if wanted, the scaling of pixels inside.

They take images of any size. Their results do not depend on noise: dropout is off. Batch norms work as in the
translator: statistics of the image, or the running ones.
"""
import torch
from torch import nn

from models.translation import kinds
from models.translation.copies import without_noise
from models.translation.fitting import fitted


class Exported(nn.Module):
    """A translation as a graph: image (N, C, H, W) float32 in [-1, 1], for some a style (N, style_dim), to an image.

    With `levels`, images are uint8 (N, H, W, C), as files have them.
    """

    def __init__(self, translation: kinds.Translation, half: bool = False, levels: bool = False):
        super().__init__()
        self.dtype = torch.float16 if half else torch.float32
        self.levels = levels
        self.translation = on_its_own(without_noise(translation)).to(self.dtype)

    def forward(self, image, style=None):
        if self.levels:
            image = image.permute(0, 3, 1, 2).float() / 127.5 - 1
        result = self.translated(image, style)
        if self.levels:
            result = ((result + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        return result

    def translated(self, image, style):
        height, width = image.shape[-2:]
        net = self.translation.net
        if style is not None:
            style = style[:, :, None, None].to(self.dtype)
        seen = self.translation.prepared(fitted(image, net.multiple, net.smallest))
        made = self.translation.apply_net(seen.to(self.dtype), style).float()
        return self.translation.completed(seen, made).narrow(2, 0, height).narrow(3, 0, width)


class ExportedStyle(nn.Module):
    """The style encoder as a graph: image, as for `Exported`, to style (N, style_dim)."""

    def __init__(self, exported: Exported):
        super().__init__()
        self.translation = exported.translation
        self.dtype, self.levels = exported.dtype, exported.levels

    def forward(self, image):
        if self.levels:
            image = image.permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.translation.encode_style(image.to(self.dtype)).flatten(1).float()


def on_its_own(net: nn.Module) -> nn.Module:
    """`net` with copies of its weights, channels first: the exporters would record another memory format."""
    state = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
             for key, value in net.state_dict().items()}
    net.load_state_dict(state, assign=True)
    return net.requires_grad_(False)


def example(channels: int, size: tuple[int, int], batch: int, levels: bool, seed: int = 0) -> torch.Tensor:
    """Noise as an input of a graph."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (batch, *size, channels), dtype=torch.uint8, generator=generator)
    return values if levels else values.permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1


def inputs_of(exported: Exported, size, batch: int, seed: int = 0) -> tuple:
    """Example inputs: the image and, if it is needed, the style."""
    image = example(exported.translation.channels_in, size, batch, exported.levels, seed)
    if not exported.translation.styled:
        return (image,)
    return image, torch.randn(batch, exported.translation.style_dim, generator=torch.Generator().manual_seed(seed))
