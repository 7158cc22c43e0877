"""LPIPS and DISTS: perceptual distances of two images, differentiable, with trunks of torchvision."""
import torch
import torch.nn.functional as F

# (channels, kernel, stride, padding) of each convolution; 'M3', 'M2': max pooling of 3 or 2 pixels with stride 2
ALEXNET = ((64, 11, 4, 2), 'M3', (192, 5, 1, 2), 'M3', (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
VGG16 = ((64, 3, 1, 1),) * 2 + ('M2',) + ((128, 3, 1, 1),) * 2 + ('M2',) + ((256, 3, 1, 1),) * 3 + ('M2',) \
    + ((512, 3, 1, 1),) * 3 + ('M2',) + ((512, 3, 1, 1),) * 3
TRUNKS = {'alexnet': ALEXNET, 'vgg16': VGG16}
TAPS = {'alexnet': (0, 1, 2, 3, 4), 'vgg16': (1, 3, 6, 9, 12)}      # convolutions after whose ReLU features are taken
SHIFT = (-0.030, -0.088, -0.188)    # of LPIPS 0.1, for RGB in [-1, 1]
SCALE = (0.458, 0.448, 0.450)
MEAN = (0.485, 0.456, 0.406)        # of ImageNet, for RGB in [0, 1]
STD = (0.229, 0.224, 0.225)
TINY = 1e-20                        # under the square root: a finite gradient where all channels are 0


class Trunk(torch.nn.Module):
    """The five feature maps of a frozen AlexNet or VGG16 for (N, 3, H, W), normalized as the caller needs.

    `weights` are the (weight, bias) pairs of its convolutions, in their order. `pool` replaces max pooling.
    """

    def __init__(self, name: str, weights: list[tuple[torch.Tensor, torch.Tensor]], pool=None):
        super().__init__()
        self.layers, self.taps = TRUNKS[name], TAPS[name]
        self.pool = pool
        for number, (weight, bias) in enumerate(weights):
            self.register_buffer(f'weight{number}', weight.clone())
            self.register_buffer(f'bias{number}', bias.clone())

    def forward(self, x) -> list[torch.Tensor]:
        found, number = [], 0
        for layer in self.layers:
            if isinstance(layer, str):
                x = self.pool(x) if self.pool else F.max_pool2d(x, int(layer[1]), 2)
                continue
            _, _, stride, padding = layer
            weight, bias = getattr(self, f'weight{number}'), getattr(self, f'bias{number}')
            x = F.relu(F.conv2d(x, weight, bias, stride, padding))
            if number in self.taps:
                found.append(x)
            number += 1
        return found


class LPIPS(torch.nn.Module):
    """Learned Perceptual Image Patch Similarity 0.1 (Zhang et al. 2018, eq. 1): a frozen network.

    Args:
        trunk: with the features of AlexNet ("alex") or VGG16 ("vgg").
        heads: five tensors (1, C, 1, 1), the learned weights of the channels.
    """

    def __init__(self, trunk: Trunk, heads: list[torch.Tensor]):
        super().__init__()
        self.trunk = trunk
        for number, head in enumerate(heads):
            self.register_buffer(f'head{number}', head.clone())
        self.register_buffer('shift', torch.tensor(SHIFT)[:, None, None])
        self.register_buffer('scale', torch.tensor(SCALE)[:, None, None])

    def features(self, images):
        """Feature maps of images (N, 3, H, W) in [-1, 1], each normalized to unit length at every position."""
        maps = self.trunk((images - self.shift) / self.scale)
        return [x / (x.square().sum(1, keepdim=True) + TINY).sqrt() for x in maps]

    def forward(self, images, others):
        """(N,) distances of images (N, 3, H, W) in [-1, 1]; 0 is equal, lower is more similar."""
        return self.distance(self.features(images), self.features(others))

    def distance(self, features, others):
        """(N,) distances of what `features` returned."""
        parts = [(getattr(self, f'head{number}') * (x - y).square()).sum(1).mean((1, 2))
                 for number, (x, y) in enumerate(zip(features, others, strict=True))]
        return sum(parts)


class DISTS(torch.nn.Module):
    """Deep Image Structure and Texture Similarity (Ding et al. 2020, eq. 4 to 6): a frozen network.

    Args:
        weights: of the convolutions of VGG16, see `Trunk`.
        alpha, beta: (1, 1475, 1, 1), weights of the textures and of the structures.
    """

    CHANNELS = (3, 64, 128, 256, 512, 512)
    SMALL = 1e-6

    def __init__(self, weights, alpha, beta):
        super().__init__()
        window = torch.outer(*2 * [torch.tensor([0.5, 1.0, 0.5])])      # a Hann window of 5, without its zeros
        self.register_buffer('window', (window / window.sum())[None, None])
        self.trunk = Trunk('vgg16', weights, self.pool)
        whole = alpha.sum() + beta.sum()
        self.register_buffer('alpha', alpha / whole)
        self.register_buffer('beta', beta / whole)
        self.register_buffer('mean', torch.tensor(MEAN)[:, None, None])
        self.register_buffer('std', torch.tensor(STD)[:, None, None])

    def pool(self, x):
        """L2 pooling, which unlike max pooling does not alias (eq. 1)."""
        window = self.window.expand(x.shape[1], -1, -1, -1)
        return (F.conv2d(x.square(), window, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()

    def forward(self, images, others):
        """(N,) distances of images (N, 3, H, W) in [0, 1]; 0 is equal."""
        maps, other_maps = ([x, *self.trunk((x - self.mean) / self.std)] for x in (images, others))
        alphas, betas = (weights.split(self.CHANNELS, 1) for weights in (self.alpha, self.beta))
        similarity = 0
        for x, y, alpha, beta in zip(maps, other_maps, alphas, betas, strict=True):
            mean_x, mean_y = (z.mean((2, 3), keepdim=True) for z in (x, y))
            var_x, var_y = ((z - mean).square().mean((2, 3), keepdim=True) for z, mean in ((x, mean_x), (y, mean_y)))
            covariance = ((x * y).mean((2, 3), keepdim=True) - mean_x * mean_y)
            texture = (2 * mean_x * mean_y + self.SMALL) / (mean_x.square() + mean_y.square() + self.SMALL)
            structure = (2 * covariance + self.SMALL) / (var_x + var_y + self.SMALL)
            similarity = similarity + (alpha * texture + beta * structure).sum((1, 2, 3))
        return 1 - similarity
