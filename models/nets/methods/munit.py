"""MUNIT (Huang et al. 2018, appendix B.2): an autoencoder with a content code and a style code for each domain."""
from torch import nn

from models.catalog import smallest_autoencoder

from ..convolutions import OutputConv2d
from ..layers import ConvBlock
from ..norms import full_precision


class ContentResBlock(nn.Module):
    """x + f(x), where f is two 3x3 convolutions; no activation after the sum."""

    def __init__(self, channels: int, norm: str, pad_type: str):
        super().__init__()
        self.model = nn.ModuleList([
            ConvBlock(channels, channels, 3, 1, 1, norm, nn.ReLU(), pad_type),
            ConvBlock(channels, channels, 3, 1, 1, norm, None, pad_type)])

    def forward(self, x, styles=(None, None)):
        return self.model[1](self.model[0](x, styles[0]), styles[1], x)


class ContentResBlocks(nn.Module):
    def __init__(self, channels: int, n_res: int, norm: str, pad_type: str):
        super().__init__()
        self.model = nn.ModuleList(ContentResBlock(channels, norm, pad_type) for _ in range(n_res))

    def forward(self, x, styles=None):
        """`styles` for adaptive norms: the (shift, scale) of each convolution, in order."""
        for index, block in enumerate(self.model):
            x = block(x, styles[2 * index:2 * index + 2]) if styles else block(x)
        return x


class ContentEncoder(nn.Module):
    """Image (N, 3, H, W) to content code (N, ngf * 2**n_downsample, H / 2**n_downsample, ...)."""

    def __init__(self, input_nc: int, ngf: int, n_downsample: int, n_res: int, pad_type: str):
        super().__init__()
        widths = [ngf * 2**level for level in range(n_downsample + 1)]
        self.model = nn.Sequential(
            ConvBlock(input_nc, ngf, 7, 1, 3, 'instance', nn.ReLU(), pad_type),
            *[ConvBlock(before, after, 4, 2, 1, 'instance', nn.ReLU(), pad_type)
              for before, after in zip(widths, widths[1:], strict=False)],
            ContentResBlocks(widths[-1], n_res, 'instance', pad_type))

    def forward(self, image):
        return self.model(image)


class StyleEncoder(nn.Module):
    """Image to style code (N, style_dim, 1, 1). No norms, because they would remove the style."""

    def __init__(self, input_nc: int, ngf: int, style_dim: int, n_downsample: int, pad_type: str):
        super().__init__()
        widths = [ngf * min(2**level, 4) for level in range(n_downsample + 1)]
        self.model = nn.Sequential(
            ConvBlock(input_nc, ngf, 7, 1, 3, 'none', nn.ReLU(), pad_type),
            *[ConvBlock(before, after, 4, 2, 1, 'none', nn.ReLU(), pad_type)
              for before, after in zip(widths, widths[1:], strict=False)],
            nn.AdaptiveAvgPool2d(1),
            OutputConv2d(widths[-1], style_dim, 1))

    def forward(self, image):
        return self.model(image)


class StyleDecoder(nn.Module):
    """Content code and AdaIN parameters to an image in [-1, 1]."""

    def __init__(self, output_nc: int, ngf: int, n_downsample: int, n_res: int, pad_type: str):
        super().__init__()
        widths = [ngf * 2**level for level in reversed(range(n_downsample + 1))]
        ups = []
        for before, after in zip(widths, widths[1:], strict=False):
            ups += [nn.Upsample(scale_factor=2), ConvBlock(before, after, 5, 1, 2, 'layer', nn.ReLU(), pad_type)]
        self.model = nn.Sequential(
            ContentResBlocks(widths[0], n_res, 'adain', pad_type), *ups,
            ConvBlock(ngf, output_nc, 7, 1, 3, 'none', nn.Tanh(), pad_type, OutputConv2d))

    def forward(self, content, parameters):
        """`parameters` is (N, 4 * n_res * C): for each norm, in order, C shifts, then C scales, used without change."""
        halves = parameters.split(content.shape[1], dim=1)
        x = self.model[0](content, list(zip(halves[0::2], halves[1::2], strict=True)))
        for layer in self.model[1:]:
            x = layer(x)
        return x


class LinearBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, activation: nn.Module | None = None):
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)
        self.activation = activation or nn.Identity()

    def forward(self, x):
        return self.activation(self.fc(x))


class StyleMLP(nn.Module):
    """Style code (N, style_dim, 1, 1) to all AdaIN parameters (N, outputs)."""

    def __init__(self, style_dim: int, width: int, outputs: int):
        super().__init__()
        self.model = nn.Sequential(LinearBlock(style_dim, width, nn.ReLU()), LinearBlock(width, width, nn.ReLU()),
                                   LinearBlock(width, outputs))

    def forward(self, style):
        with full_precision(style.device):
            return self.model(style.flatten(1))


class MunitGenerator(nn.Module):
    """The autoencoder of one domain: `encode` its images, `decode` any content with a style of the domain.

    The output has the size of the input if both sides are multiples of 2**n_downsample.
    """

    compile_parts = True        # torch.compile is applied to the parts, which `encode` and `decode` call

    def __init__(self, nc: int = 3, ngf: int = 64, style_dim: int = 8, mlp_dim: int = 256, n_downsample: int = 2,
                 n_downsample_style: int = 4, n_res: int = 4, pad_type: str = 'reflect'):
        super().__init__()
        self.multiple = 2**n_downsample
        self.smallest = max(4, smallest_autoencoder(n_downsample, n_downsample_style))    # 4: the first layers pad 3
        width = ngf * 2**n_downsample
        self.enc_style = StyleEncoder(nc, ngf, style_dim, n_downsample_style, pad_type)
        self.enc_content = ContentEncoder(nc, ngf, n_downsample, n_res, pad_type)
        self.dec = StyleDecoder(nc, ngf, n_downsample, n_res, pad_type)
        self.mlp = StyleMLP(style_dim, mlp_dim, 4 * n_res * width)

    def encode(self, image):
        """Content and style code of an image."""
        return self.enc_content(image), self.enc_style(image)

    def encoder_layers(self) -> list[nn.Module]:
        return [self.enc_content, self.enc_style]

    def decode(self, content, style):
        return self.dec(content, self.mlp(style))

    def forward(self, image):
        return self.decode(*self.encode(image))
