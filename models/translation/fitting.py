"""Any image size for any network: padding to a size that the network returns unchanged."""
import torch


def fitting(side, multiple: int, smallest: int):
    """The smallest multiple of `multiple` that is at least `side` and `smallest`."""
    least = -(-smallest // multiple)
    count = (side + multiple - 1) // multiple
    if isinstance(count, torch.Tensor):     # while a trace is recorded
        return count.clamp(min=least) * multiple
    return torch.sym_max(count, least) * multiple


def fitted(image: torch.Tensor, multiple: int, smallest: int) -> torch.Tensor:
    """The image (N, C, H, W), extended at the right and bottom to sides that fit.

    Rows and columns are mirrored; beyond the mirror image, its last row or column is repeated. An image that fits is
    returned as it is.
    """
    for axis in (2, 3):
        side = image.shape[axis]
        target = fitting(side, multiple, smallest)
        if exporting() or target != side:
            image = image.index_select(axis, mirrored(side, target, image.device))
    return image


def mirrored(side, target, device) -> torch.Tensor:
    """For each of `target` rows, the row of `side` rows that it shows."""
    rows = torch.arange(target, device=device)
    last = side - 1
    return (last - (last - rows).abs()).clamp(min=0)


def exporting() -> bool:
    """True if operations are recorded for all sizes, so that none may be left out for this one."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()
