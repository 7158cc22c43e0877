"""An exported folder: the model, config.json and the model card; every file is run and compared with PyTorch."""
import json
from pathlib import Path

import torch
from torch import nn

from models.translation.sources import ExportedFolder, weight_files
from util.checkpoint.exported import CONFIG, WEIGHTS
from util.errors import UserError

from . import card, formats, web
from .formats import FILES, STYLE_FILES
from .graphs import Exported, ExportedStyle, example, inputs_of

SIZES = ((64, 64), (97, 61), (33, 128), (16, 20), (130, 75))    # (height, width) of the images of the check
TOLERANCE = 1e-4        # of values in [-1, 1], in float32


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


def export_page(translator, folder: Path, direction: str = '', half: bool = False, results: dict | None = None,
                archive: Path | None = None) -> dict[str, float]:
    """Write a page that translates pictures in a browser, `index.html`; see `export` and `web.write_page`."""
    translation, recipe = translator.translation(direction), translator.recipe(direction)
    if {translation.channels_in, translation.channels_out} - {1, 3}:
        raise UserError(f'a page shows gray and RGB pictures, not {translation.channels_in} to '
                        f'{translation.channels_out} channels; use --format onnx')
    formats.optional('onnx', 'onnxscript', 'onnxruntime')
    runtime = web.runtime_files(archive or web.cached_archive())        # before the minute that the graph takes
    differences = export(translator, 'onnx', folder, direction, half, levels=True, results=results)
    page = dict(channels_in=translation.channels_in, channels_out=translation.channels_out,
                style_dim=translation.style_dim if translation.styled else 0)
    web.write_page(folder, folder / FILES['onnx'], f'{recipe.name} {recipe.direction}', page, runtime)
    for file in (FILES['onnx'], STYLE_FILES['onnx']):       # the page has the model
        (folder / file).unlink(missing_ok=True)
    differences = {'index.html': differences[FILES['onnx']]}
    config = {**json.loads((folder / CONFIG).read_text(encoding='utf-8')), 'file_format': 'web'}
    (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding='utf-8')
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
        formats.write(module, given, ('image', 'style')[:len(given)], output, folder / file, config)
        checks = [inputs_of(exported, size, 1 + index % 2, index)[:len(given)] for index, size in enumerate(SIZES)]
        differences[file] = largest_difference(formats.opened(folder / file), module, checks)
    return differences


def write_safetensors(exported: Exported, translation, folder: Path) -> float:
    """Write the weights under their names in checkpoints; returns the difference of what is loaded from the folder."""
    formats.optional('safetensors')
    from safetensors.torch import save_file
    for file, net in weight_files(translation).items():
        save_file({key: (value.to(exported.dtype) if value.is_floating_point() else value).cpu().contiguous()
                   for key, value in net.state_dict().items()}, folder / file)
    source = ExportedFolder(folder)
    loaded = source.load(source.trained_direction)[0].train(translation.training)
    checks = [inputs_of(exported, size, 1 + index % 2, index) for index, size in enumerate(SIZES)]
    return largest_difference(Exported(loaded), Exported(translation), checks)


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


def tolerance(half: bool, levels: bool) -> float:
    """The largest difference that is no mistake: rounding to a level, or half precision; for others `TOLERANCE`."""
    if half:
        return 0.1
    return 1.01 / 127.5 if levels else TOLERANCE
