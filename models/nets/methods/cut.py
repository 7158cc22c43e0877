"""The network F of CUT (Park et al. 2020, section 3 and appendix C): features of patches as vectors to compare."""
from torch import nn

from ..norms import full_precision


class PatchSampler(nn.Module):
    """Features at some places of an image, sent through an MLP for each layer and scaled to length 1."""

    def __init__(self, channels: list[int], width: int = 256):
        super().__init__()
        self.n_layers = len(channels)
        for index, nc in enumerate(channels):       # the names in public checkpoints
            setattr(self, f'mlp_{index}', nn.Sequential(nn.Linear(nc, width), nn.ReLU(), nn.Linear(width, width)))

    def forward(self, features: list, places: list) -> list:
        """`features` are (N, C, H, W), `places` are P indices into H * W each; returns (N, P, width) for each layer."""
        vectors = []
        for index, (feature, place) in enumerate(zip(features, places, strict=True)):
            mlp = getattr(self, f'mlp_{index}')
            with full_precision(feature.device):
                sampled = feature.flatten(2)[:, :, place].transpose(1, 2).to(mlp[0].weight.dtype)
                vector = mlp(sampled)
                vectors.append(vector / (vector.norm(dim=2, keepdim=True) + 1e-7))
        return vectors
