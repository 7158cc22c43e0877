"""Exported graphs, as ONNX and TorchScript files, in the place of networks: they translate on the CPU, as a whole."""
import importlib
import warnings
from pathlib import Path

import torch
from torch import nn

from util.errors import UserError

from .kinds import Translation

FILES = {'onnx': 'model.onnx', 'torchscript': 'model.ts'}
STYLE_FILES = {'onnx': 'style_encoder.onnx', 'torchscript': 'style_encoder.ts'}


class ExportedGraph(nn.Module):
    """In the place of a network. It takes any size: padding is inside the graph."""

    multiple = smallest = 1


class GraphTranslation(Translation):
    """What `scripts/export.py` wrote in `folder`, described by `config`, the content of its config.json."""

    def __init__(self, folder: Path, config: dict):
        options = config['options']
        colors = config['kind'] == 'colors'
        super().__init__(ExportedGraph(), (3, 3) if colors else (options['input_nc'], options['output_nc']))
        self.place, self.norms = folder.absolute(), config['batch_norm']
        self.levels = config['inputs']['image'].startswith('uint8')
        self.styled = 'style' in config['inputs']
        self.style_dim = options.get('style_dim', options.get('nz'))
        self.run = opened(folder / FILES[config['file_format']])
        self.encode = opened(folder / STYLE_FILES[config['file_format']]) if self.styled else None

    def forward(self, image, style=None):
        inputs = [self.seen(image)]
        if self.styled:
            inputs.append(self.parameters_of(style).float().expand(len(image), -1).contiguous())
        made = self.run(*inputs)
        return made.permute(0, 3, 1, 2).float() / 127.5 - 1 if self.levels else made

    def encode_style(self, image):
        return self.encode(self.seen(image))[:, :, None, None]

    def seen(self, image):
        """An image (N, C, H, W) in [-1, 1] as the graph takes it."""
        if self.levels:
            image = ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        return image.contiguous()

    def to(self, device, **settings):
        if torch.device(device).type != 'cpu':
            raise UserError(f'{self.place} is a graph that is computed on the CPU; use the run, or an export with '
                            f'--format safetensors, on {device}')
        return super().to(device, **settings)

    def train(self, mode: bool = True):
        if not mode and self.norms.startswith('statistics'):
            raise UserError(f'{self.place} was exported with the statistics of each image in its batch norms; export '
                            f'it with --eval')
        return super().train(mode)


def opened(path: Path):
    """A function from the inputs, as tensors, to the output of an exported file."""
    try:
        if path.suffix == '.onnx':
            return opened_onnx(path)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')     # PyTorch prefers torch.export
            graph = torch.jit.load(str(path))
        return lambda *inputs: graph(*inputs)       # no module, which would be moved with the one that has it
    except UserError:
        raise
    except Exception as error:      # each library has its own
        first = str(error).strip().partition('\n')[0]
        raise UserError(f'{path.absolute()} cannot be read ({first}); export it again') from error


def opened_onnx(path: Path):
    optional('onnxruntime')
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = [value.name for value in session.get_inputs()]

    def run(*inputs):
        values = dict(zip(names, (tensor.contiguous().numpy() for tensor in inputs), strict=True))
        return torch.from_numpy(session.run(None, values)[0])
    return run


def optional(*packages: str):
    """The first of optional packages that are needed together; a `UserError` with the command that installs them."""
    try:
        return [importlib.import_module(package) for package in packages][0]
    except ImportError as error:
        names = ' '.join(packages)
        raise UserError(f'this format needs {names} ({error}); install them with: pip install {names}') from error
