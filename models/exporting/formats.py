"""Graphs as ONNX, TorchScript and torch.export files, with batch, height and width free; and running these files."""
import io
import json
import warnings
from pathlib import Path

import torch
from torch import nn

from models.translation import programs
from models.translation.programs import optional
from util.checkpoint.exported import CONFIG, WEIGHTS

FILES = {**programs.FILES, 'torchexport': 'model.pt2', 'safetensors': WEIGHTS}
STYLE_FILES = {**programs.STYLE_FILES, 'torchexport': 'style_encoder.pt2'}


def write(module: nn.Module, inputs: tuple, names: tuple, output: str, path: Path, config: dict):
    """Write a graph as the format that the suffix of `path` says; `names` are those of its inputs."""
    writers = {'.onnx': write_onnx, '.ts': write_torchscript, '.pt2': write_torchexport}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')         # of the tracers, about what is meant here
        writers[path.suffix](module, inputs, names, output, path, json.dumps(config))


def exported_program(module, inputs, levels: bool):
    """The graph of torch.export, for every batch size, height and width."""
    from torch.fx.experimental import _config
    free = torch.export.Dim.DYNAMIC
    axes = (0, 1, 2) if levels else (0, 2, 3)
    shapes = tuple(dict.fromkeys(axes if tensor.ndim == 4 else (0,), free) for tensor in inputs)
    with _config.patch(backed_size_oblivious=True):     # else a size of 1 in the graph would be a special case
        return torch.export.export(module, inputs, dynamic_shapes=shapes)


def write_torchexport(module, inputs, names, output, path, config):
    file = io.BytesIO()     # PyTorch's own files end the process when the disk is full
    torch.export.save(exported_program(module, inputs, module.levels), file, extra_files={CONFIG: config})
    path.write_bytes(file.getbuffer())


def write_torchscript(module, inputs, names, output, path, config):
    graph = torch.jit.trace(module, inputs, check_trace=False)
    file = io.BytesIO()
    torch.jit.save(graph, file, _extra_files={CONFIG: config})
    path.write_bytes(file.getbuffer())


def write_onnx(module, inputs, names, output, path, config):
    onnx = optional('onnx', 'onnxscript', 'onnxruntime')
    program = torch.onnx.export(exported_program(module, inputs, module.levels), inputs, dynamo=True, verbose=False,
                                input_names=list(names), output_names=[output])
    model = program.model_proto
    axes = {0: 'batch', 1: 'height', 2: 'width'} if module.levels else {0: 'batch', 2: 'height', 3: 'width'}
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        for axis, name in axes.items() if len(dims) == 4 else ((0, 'batch'),):
            dims[axis].dim_param = name
    onnx.helper.set_model_props(model, {'config': config})
    onnx.save(model, str(path))


def opened(path: Path):
    """A function from the inputs, as tensors, to the output of an exported file."""
    return torch.export.load(path).module() if path.suffix == '.pt2' else programs.opened(path)
