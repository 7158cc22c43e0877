"""Networks whose pooled features are compared as sets: the Inception of FID, and EfficientNet-Lite0.

They are frozen, so sizes of layers are those of their weights, and each batch norm is part of its convolution.
"""
import torch
import torch.nn.functional as F

EPSILON = 1e-3          # of batch norm, in both networks


def folded(convolution, norm: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution that does the work of the batch norm after it, too."""
    factor = norm['weight'].double() / (norm['running_var'].double() + EPSILON).sqrt()
    bias = norm['bias'].double() - norm['running_mean'].double() * factor
    return (convolution.double() * factor[:, None, None, None]).float(), bias.float()


class Folded(torch.nn.Module):
    """Convolutions by name, each with its batch norm inside."""

    def add(self, name: str, weights: dict, convolution: str, norm: str):
        parts = {part: weights[f'{norm}.{part}'] for part in ('weight', 'bias', 'running_mean', 'running_var')}
        weight, bias = folded(weights[f'{convolution}.weight'], parts)
        self.register_buffer(f'{name.replace(".", "_")}_weight', weight)
        self.register_buffer(f'{name.replace(".", "_")}_bias', bias)

    def convolve(self, name: str, x, stride: int = 1, padding=None):
        weight, bias = (getattr(self, f'{name.replace(".", "_")}_{part}') for part in ('weight', 'bias'))
        if padding is None:
            padding = tuple(size // 2 for size in weight.shape[2:])
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(x, weight, bias, stride, padding, groups=groups)


# ---- Inception (Szegedy 2015, figures 5 to 7), in the version of 2015-12-05

STEM = ('Conv2d_1a_3x3/2', 'Conv2d_2a_3x3/1', 'Conv2d_2b_3x3', 'maximum/2', 'Conv2d_3b_1x1', 'Conv2d_4a_3x3/1',
        'maximum/2')      # with a stride after the slash, layers have no padding
A = (('branch1x1',), ('branch5x5_1', 'branch5x5_2'), ('branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3'),
     ('average', 'branch_pool'))
B = (('branch3x3/2',), ('branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3/2'), ('maximum/2',))
C = (('branch1x1',), ('branch7x7_1', 'branch7x7_2', 'branch7x7_3'),
     ('branch7x7dbl_1', 'branch7x7dbl_2', 'branch7x7dbl_3', 'branch7x7dbl_4', 'branch7x7dbl_5'),
     ('average', 'branch_pool'))
D = (('branch3x3_1', 'branch3x3_2/2'), ('branch7x7x3_1', 'branch7x7x3_2', 'branch7x7x3_3', 'branch7x7x3_4/2'),
     ('maximum/2',))
E_AVERAGE = (('branch1x1',), ('branch3x3_1', ('branch3x3_2a', 'branch3x3_2b')),
             ('branch3x3dbl_1', 'branch3x3dbl_2', ('branch3x3dbl_3a', 'branch3x3dbl_3b')), ('average', 'branch_pool'))
E_MAXIMUM = (*E_AVERAGE[:3], ('maximum', 'branch_pool'))
BLOCKS = {'Mixed_5b': A, 'Mixed_5c': A, 'Mixed_5d': A, 'Mixed_6a': B, 'Mixed_6b': C, 'Mixed_6c': C, 'Mixed_6d': C,
          'Mixed_6e': C, 'Mixed_7a': D, 'Mixed_7b': E_AVERAGE, 'Mixed_7c': E_MAXIMUM}


class Inception(Folded):
    """The Inception of FID, from (N, 3, 299, 299) in [-1, 1] to (N, 2048).

    `weights` have the keys of pytorch-fid and torch-fidelity. As in the TensorFlow graph of 2015, average pooling does
    not count the border, and the last block pools by the maximum.
    """

    size = 2048

    def __init__(self, weights: dict):
        super().__init__()
        names = {key.removesuffix('.conv.weight') for key in weights if key.endswith('.conv.weight')}
        for name in sorted(names):
            self.add(name, weights, f'{name}.conv', f'{name}.bn')

    def forward(self, x):
        for layer in STEM:
            x = self.layer('', layer, x)
        for block, branches in BLOCKS.items():
            x = torch.cat([self.branch(f'{block}.', branch, x) for branch in branches], 1)
        return x.mean((2, 3))

    def branch(self, prefix: str, layers, x):
        for layer in layers:
            if isinstance(layer, tuple):        # two convolutions side by side
                x = torch.cat([self.layer(prefix, part, x) for part in layer], 1)
            else:
                x = self.layer(prefix, layer, x)
        return x

    def layer(self, prefix: str, layer: str, x):
        name, _, stride = layer.partition('/')
        if name == 'maximum':
            return F.max_pool2d(x, 3, int(stride or 1), padding=0 if stride else 1)
        if name == 'average':
            return F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
        return F.relu(self.convolve(prefix + name, x, int(stride or 1), 0 if stride else None))


# ---- EfficientNet-Lite0 (Tan 2019, table 1, without squeeze-and-excitation, with ReLU6)

DOWNSAMPLING = (1, 3, 5, 11)    # blocks with stride 2, of 16


class EfficientNetLite0(Folded):
    """From (N, 3, H, W), normalized as for ImageNet, to (N, 1280): the mean of the last feature map."""

    size = 1280

    def __init__(self, weights: dict):
        super().__init__()
        self.blocks = 1 + max(int(key.split('.')[1]) for key in weights if key.startswith('_blocks.'))
        self.add('stem', weights, '_conv_stem', '_bn0')
        for block in range(self.blocks):
            for part, norm in (('expand', '_bn0'), ('depthwise', '_bn1'), ('project', '_bn2')):
                if f'_blocks.{block}._{part}_conv.weight' in weights:
                    self.add(f'{part}{block}', weights, f'_blocks.{block}._{part}_conv', f'_blocks.{block}.{norm}')
        self.add('head', weights, '_conv_head', '_bn1')

    def forward(self, x):
        x = F.relu6(self.padded('stem', x, 2))
        for block in range(self.blocks):
            y = F.relu6(self.convolve(f'expand{block}', x)) if hasattr(self, f'expand{block}_weight') else x
            y = F.relu6(self.padded(f'depthwise{block}', y, 2 if block in DOWNSAMPLING else 1))
            y = self.convolve(f'project{block}', y)
            x = x + y if x.shape == y.shape else y
        return F.relu6(self.convolve('head', x)).mean((2, 3))

    def padded(self, name: str, x, stride: int):
        """A convolution with the 'same' padding of TensorFlow: the odd pixel is at the right and bottom."""
        kernel = getattr(self, f'{name}_weight').shape[-1]
        totals = [max((-(-length // stride) - 1) * stride + kernel - length, 0) for length in x.shape[2:]]
        border = [part for total in reversed(totals) for part in (total // 2, total - total // 2)]
        return self.convolve(name, F.pad(x, border), stride, 0)
