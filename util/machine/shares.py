"""How the images of an update are divided among the processes."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """The images of one process in one batch of an update: `count` of `total`, starting at `start`.

    When no images are left for a process (`count` 0), it runs on a copy of another image with weight 0.
    """

    start: int
    count: int
    total: int
    first: bool = True      # is this the first batch of the update?

    @property
    def weight(self) -> float:
        return self.count / self.total

    @property
    def held(self) -> int:
        """Number of images in the batch of this process, at least 1."""
        return max(1, self.count)


def share_of(rank: int, size: int, batch_size: int, total: int, part: int = 0) -> Share:
    """The share of process `rank` in batch `part` of an update on `total` images; --accumulate makes several parts."""
    before = min(total, part * size * batch_size)
    start = min(total, before + rank * batch_size)
    end = min(total, before + (rank + 1) * batch_size)
    return Share(start, end - start, total, first=part == 0)
