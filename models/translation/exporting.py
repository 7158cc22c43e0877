"""Networks as files for other programs: ONNX, TorchScript, torch.export, safetensors; batch, height, width are free.

An exported file takes images of any size, because padding and cropping are part of its graph. Its results do not depend
on noise: dropout is off. Batch norms work as in the translator: statistics of the image, or the running ones.
"""
import json
import warnings
from pathlib import Path

import torch
from torch import nn

from util.errors import UserError

from . import card, kinds, web
from .copies import without_noise
from .fitting import fitted
from .sources import CONFIG, WEIGHTS, ExportedFolder

SIZES = ((64, 64), (97, 61), (33, 128), (16, 20), (130, 75))    # (height, width) of the images of the check
TOLERANCE = 1e-4        # of values in [-1, 1], in float32
FILES = {'onnx': 'model.onnx', 'torchscript': 'model.ts', 'torchexport': 'model.pt2', 'safetensors': WEIGHTS}
STYLE_FILES = {'onnx': 'style_encoder.onnx', 'torchscript': 'style_encoder.ts', 'torchexport': 'style_encoder.pt2'}


class Exported(nn.Module):
    """A translation as a graph: image (N, C, H, W) float32 in [-1, 1], for some a style (N, style_dim), to an image.

    With `levels`, images are uint8 (N, H, W, C), as files have them.
    """

    def __init__(self, translation: kinds.Translation, half: bool = False, levels: bool = False):
        super().__init__()
        self.dtype = torch.float16 if half else torch.float32
        self.levels = levels
        self.translation = on_its_own(without_noise(translation)).to(self.dtype)

    def forward(self, image, style=None):
        if self.levels:
            image = image.permute(0, 3, 1, 2).float() / 127.5 - 1
        result = self.translated(image, style)
        if self.levels:
            result = ((result + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        return result

    def translated(self, image, style):
        height, width = image.shape[-2:]
        net = self.translation.net
        if style is not None:
            style = style[:, :, None, None].to(self.dtype)
        seen = self.translation.prepared(fitted(image, net.multiple, net.smallest))
        made = self.translation.apply_net(seen.to(self.dtype), style).float()
        return self.translation.completed(seen, made).narrow(2, 0, height).narrow(3, 0, width)


class ExportedStyle(nn.Module):
    """The style encoder as a graph: image, as for `Exported`, to style (N, style_dim)."""

    def __init__(self, exported: Exported):
        super().__init__()
        self.net = exported.translation.net
        self.dtype, self.levels = exported.dtype, exported.levels

    def forward(self, image):
        if self.levels:
            image = image.permute(0, 3, 1, 2).float() / 127.5 - 1
        image = fitted(image, self.net.multiple, self.net.smallest)
        return self.net.enc_style(image.to(self.dtype)).flatten(1).float()


def on_its_own(net: nn.Module) -> nn.Module:
    """`net` with copies of its weights, channels first: the exporters would record another memory format."""
    state = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
             for key, value in net.state_dict().items()}
    net.load_state_dict(state, assign=True)
    return net.requires_grad_(False)


def example(channels: int, size: tuple[int, int], batch: int, levels: bool, seed: int = 0) -> torch.Tensor:
    """Noise as an input of a graph."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (batch, *size, channels), dtype=torch.uint8, generator=generator)
    return values if levels else values.permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1


def inputs_of(exported: Exported, size, batch: int, seed: int = 0) -> tuple:
    """Example inputs: the image and, if it is needed, the style."""
    image = example(exported.translation.channels_in, size, batch, exported.levels, seed)
    if not exported.translation.styled:
        return (image,)
    return image, torch.randn(batch, exported.translation.style_dim, generator=torch.Generator().manual_seed(seed))


# ---- writing

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
    torch.export.save(exported_program(module, inputs, module.levels), path, extra_files={CONFIG: config})


def write_torchscript(module, inputs, names, output, path, config):
    graph = torch.jit.trace(module, inputs, check_trace=False)
    torch.jit.save(graph, str(path), _extra_files={CONFIG: config})


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


def optional(*packages: str):
    """The first of optional packages that are needed together; a `UserError` with the command that installs them."""
    import importlib
    try:
        return [importlib.import_module(package) for package in packages][0]
    except ImportError as error:
        names = ' '.join(packages)
        raise UserError(f'this format needs {names} ({error}); install them with: pip install {names}') from error


# ---- running

def opened(path: Path):
    """A function from the inputs, as tensors, to the output of an exported file."""
    if path.suffix == '.onnx':
        optional('onnxruntime')
        import onnxruntime
        session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
        names = [value.name for value in session.get_inputs()]

        def run(*inputs):
            values = dict(zip(names, (tensor.contiguous().numpy() for tensor in inputs), strict=True))
            return torch.from_numpy(session.run(None, values)[0])
        return run
    if path.suffix == '.pt2':
        return torch.export.load(path).module()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')     # PyTorch prefers torch.export
        return torch.jit.load(str(path))


def largest_difference(run, module: nn.Module, all_inputs) -> float:
    """The largest difference of an exported file, `run`, to its module, in values of [-1, 1]."""
    largest = 0.0
    with torch.no_grad():
        for inputs in all_inputs:
            found, expected = run(*inputs), module(*inputs)
            if found.shape != expected.shape or found.dtype != expected.dtype:
                raise UserError(f'the exported file returns {tuple(found.shape)} {found.dtype} instead of '
                                f'{tuple(expected.shape)} {expected.dtype}; please report it')
            difference = (found.float() - expected.float()).abs().max().item()
            largest = max(largest, difference / 127.5 if found.dtype == torch.uint8 else difference)
    return largest


# ---- a folder

def export_page(translator, folder: Path, direction: str = '', half: bool = False, results: dict | None = None,
                archive: Path | None = None) -> dict[str, float]:
    """Write a page that translates pictures in a browser, `index.html`; see `export` and `web.write_page`."""
    differences = export(translator, 'onnx', folder, direction, half, levels=True, results=results)
    translation, recipe = translator.translation(direction), translator.recipe(direction)
    config = dict(channels_in=translation.channels_in, channels_out=translation.channels_out,
                  style_dim=translation.style_dim if translation.styled else 0)
    web.write_page(folder, folder / FILES['onnx'], f'{recipe.name} {recipe.direction}', config, archive)
    for file in (FILES['onnx'], STYLE_FILES['onnx']):       # the page has the model
        (folder / file).unlink(missing_ok=True)
    return {'index.html': differences[FILES['onnx']]}


def export(translator, form: str, folder: Path, direction: str = '', half: bool = False, levels: bool = False,
           results: dict | None = None) -> dict[str, float]:
    """Write a folder with the networks of one direction, config.json and README.md, and run what was written.

    Args:
        form: a name in `FILES`.
        levels: scale pixels inside the graph.
        results: scores for the model card.

    Returns the largest difference of each file to the networks, for five images of different sizes.
    """
    translation = translator.translation(direction)
    exported = Exported(translation, half, levels)
    config = card.config_of(translator.recipe(direction), exported, form, norms_of(translation))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding='utf-8')
    if form == 'safetensors':
        differences = {WEIGHTS: write_safetensors(exported, translation, folder)}
    else:
        differences = write_graphs(exported, form, folder, config)
    card.write_card(folder, config, differences, results or {})
    return differences


def norms_of(translation) -> str:
    """How its batch norms work, for the model card."""
    norms = [module for module in translation.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return 'none'
    return 'statistics of each image, as test.py' if norms[0].training else 'running statistics, as test.py --eval'


def write_graphs(exported: Exported, form: str, folder: Path, config: dict) -> dict[str, float]:
    inputs = inputs_of(exported, (37, 52), 2)
    graphs = {FILES[form]: (exported, inputs, 'translation')}
    if exported.translation.styled:
        image = example(exported.translation.channels_out, (37, 52), 2, exported.levels)
        graphs[STYLE_FILES[form]] = (ExportedStyle(exported), (image,), 'style')
    differences = {}
    for file, (module, given, output) in graphs.items():
        write(module, given, ('image', 'style')[:len(given)], output, folder / file, config)
        checks = [inputs_of(exported, size, 1 + index % 2, index)[:len(given)] for index, size in enumerate(SIZES)]
        differences[file] = largest_difference(opened(folder / file), module, checks)
    return differences


def write_safetensors(exported: Exported, translation, folder: Path) -> float:
    """Write the weights under their names in checkpoints; returns the difference of what is loaded from the folder."""
    optional('safetensors')
    from safetensors.torch import save_file
    weights = translation.net.state_dict()
    save_file({key: (value.to(exported.dtype) if value.is_floating_point() else value).cpu().contiguous()
               for key, value in weights.items()}, folder / WEIGHTS)
    source = ExportedFolder(folder)
    loaded = source.load(source.trained_direction)[0].train(translation.training)
    checks = [inputs_of(exported, size, 1 + index % 2, index) for index, size in enumerate(SIZES)]
    return largest_difference(Exported(loaded), Exported(translation), checks)


def tolerance(half: bool, levels: bool) -> float:
    """The largest difference that is no mistake: rounding to a level, or half precision; for others `TOLERANCE`."""
    if half:
        return 0.1
    return 1.01 / 127.5 if levels else TOLERANCE
