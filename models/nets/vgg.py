"""Feature maps of VGG16 and VGG19 for perceptual losses."""
import torch
import torch.nn.functional as F


class VggFeatures(torch.nn.Module):
    """Feature maps of a frozen VGG16 for images (N, 3, H, W) in [-1, 1].

    The network of the domain-invariant perceptual loss of MUNIT: pooling only after blocks 1, 2 and 3, so the maps have
    1/8 of the image size. `weights` are those of a Caffe VGG16 (`conv1_1.weight`, ..., for BGR images in 0..255) or
    of torchvision (`features.0.weight`, ..., for normalized RGB images); their keys show which.
    """

    BLOCKS = (2, 2, 3, 3, 3)

    def __init__(self, weights: dict, layer: str = 'relu5_3'):
        super().__init__()
        self.caffe = 'conv1_1.weight' in weights
        names = [f'{block}_{n}' for block, size in enumerate(self.BLOCKS, 1) for n in range(1, size + 1)]
        ours = [f'conv{name}.{kind}' for name in names for kind in ('weight', 'bias')]
        if not self.caffe:
            theirs = sorted((key for key in weights if key.startswith('features.')),
                            key=lambda key: (int(key.split('.')[1]), key.endswith('bias')))
            weights = dict(zip(ours, (weights[key] for key in theirs), strict=True))
        self.names = names[:names.index(layer.removeprefix('relu')) + 1]
        for name in self.names:
            for kind in ('weight', 'bias'):
                self.register_buffer(f'{kind}{name}', weights[f'conv{name}.{kind}'].clone())

    def forward(self, image):
        x = self.normalised(image)
        for name in self.names:
            if name in ('2_1', '3_1', '4_1'):
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, getattr(self, f'weight{name}'), getattr(self, f'bias{name}'), padding=1))
        return x

    def normalised(self, image):
        if self.caffe:
            return (image.flip(1) + 1) * 127.5 - image.new_tensor([103.939, 116.779, 123.680])[:, None, None]
        mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        mean, std = (image.new_tensor(numbers)[:, None, None] for numbers in (mean, std))
        return ((image + 1) / 2 - mean) / std


class VggPyramid(torch.nn.Module):
    """The first feature map of each of the five blocks of a frozen VGG, for images (N, 3 or 1, H, W) in [-1, 1].

    `weights` are those of torchvision's VGG19 or VGG16: `features.0.weight`, ... As in pix2pixHD, images are not
    normalized.
    """

    BLOCKS = {13: (2, 2, 3, 3, 3), 16: (2, 2, 4, 4, 4)}     # by the number of convolutions
    WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)

    def __init__(self, weights: dict):
        super().__init__()
        indices = sorted({int(key.split('.')[1]) for key in weights if key.startswith('features.')})
        self.n_layers = sum(self.BLOCKS[len(indices)][:4]) + 1
        ends = [sum(self.BLOCKS[len(indices)][:block]) for block in range(5)]
        self.first = ends           # the first convolution of each block
        for layer, index in enumerate(indices[:self.n_layers]):
            for kind in ('weight', 'bias'):
                self.register_buffer(f'{kind}{layer}', weights[f'features.{index}.{kind}'].clone())

    def forward(self, image) -> list[torch.Tensor]:
        x, found = image.expand(-1, 3, -1, -1), []
        for layer in range(self.n_layers):
            if layer in self.first[1:]:
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, getattr(self, f'weight{layer}'), getattr(self, f'bias{layer}'), padding=1))
            if layer in self.first:
                found.append(x)
        return found
