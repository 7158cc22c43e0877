"""CIELAB (D65, 2 degrees) as tensor operations, so that a colorization works on any device and in exported files.

In float64 the numbers are those of scikit-image, which prepares the images for training.
"""
import numpy as np
import torch

XYZ_OF_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))  # sRGB
RGB_OF_XYZ = np.linalg.inv(XYZ_OF_RGB).tolist()
WHITE = (0.95047, 1.0, 1.08883)
NEARLY_A_LEVEL = 1e-3       # of 255: float32 has the 256 levels with errors up to 1e-5


def lightness(image: torch.Tensor) -> torch.Tensor:
    """L / 50 - 1, (N, 1, H, W), of RGB (N, 3, H, W) in [-1, 1], both float32."""
    rgb = linear(as_shares(image))
    luminance = sum(weight * rgb[:, channel:channel + 1] for channel, weight in enumerate(XYZ_OF_RGB[1]))
    cube_root = torch.where(luminance > 0.008856, luminance.clamp(min=1e-9).pow(1 / 3), 7.787 * luminance + 16 / 116)
    return (116 * cube_root - 16).to(image.dtype) / 50 - 1


def rgb(lightness: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """RGB (N, 3, H, W) in [-1, 1] of L / 50 - 1 and (a, b) / 110.

    Colors that sRGB does not have keep their lightness and become less saturated; clipping would change both.
    """
    dtype = exact(lightness)
    y = (lightness.to(dtype) * 50 + 50 + 16) / 116
    a, b = (ab.to(dtype) * 110).split(1, dim=1)
    roots = torch.cat([a / 500 + y, y, (y - b / 200).clamp(min=0)], 1)
    xyz = torch.where(roots > 0.2068966, roots.pow(3), (roots - 16 / 116) / 7.787)
    xyz = xyz * torch.tensor(WHITE, dtype=dtype, device=xyz.device)[:, None, None]
    channels = [sum(weight * xyz[:, k:k + 1] for k, weight in enumerate(row)) for row in RGB_OF_XYZ]
    colors = desaturated(torch.cat(channels, 1), xyz[:, 1:2].clamp(0, 1))
    return (gamma(colors).clamp(0, 1) * 2 - 1).to(lightness.dtype)


def desaturated(colors: torch.Tensor, luminance: torch.Tensor) -> torch.Tensor:
    """Linear RGB mixed with the gray of the same luminance, just enough that all channels are in [0, 1]."""
    distance = colors - luminance
    room = torch.where(distance > 0, 1 - luminance, luminance)
    share = (room / distance.abs().clamp(min=1e-9)).amin(1, keepdim=True).clamp(max=1)
    return luminance + share * distance


def as_shares(image: torch.Tensor) -> torch.Tensor:
    """[-1, 1] as [0, 1]; what is a level of 8 bits but for rounding is that level."""
    levels = (image.to(exact(image)) + 1) * 127.5
    nearest = levels.round()
    return torch.where((levels - nearest).abs() < NEARLY_A_LEVEL, nearest, levels) / 255


def exact(image: torch.Tensor) -> torch.dtype:
    """float64 where it exists; exported files compute in the type of the image."""
    slow = torch.compiler.is_exporting() or torch.jit.is_tracing() or image.device.type == 'mps'
    return image.dtype if slow else torch.float64


def linear(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values > 0.04045, ((values + 0.055) / 1.055).pow(2.4), values / 12.92)


def gamma(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values > 0.0031308, 1.055 * values.clamp(min=1e-9).pow(1 / 2.4) - 0.055, values * 12.92)
