"""Networks that scripts/export.py wrote as safetensors: a folder with config.json and model.safetensors."""
import json
from pathlib import Path

from util.errors import UserError

CONFIG = 'config.json'
WEIGHTS = 'model.safetensors'
ENCODER = 'style_encoder.safetensors'      # of styles, if it is no part of the generator
FORMAT = 'pixmorph-translator'


def config_of(folder) -> dict:
    """The content of the config.json of an exported folder; {} if there is none."""
    try:
        config = json.loads((Path(folder) / CONFIG).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) and config.get('format') == FORMAT else {}


def read_weights(path) -> dict:
    """The tensors of a safetensors file in float32; a `UserError` if it cannot be read."""
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f'{Path(path).absolute()} needs safetensors ({error}); pip install safetensors') from error
    try:
        weights = load_file(path)
    except Exception as error:
        raise UserError(f'{Path(path).absolute()} cannot be read ({error}); export it again') from error
    return {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}


def trained_options(folder) -> dict:
    """The options of an exported network as those of a run in its direction; without `model` if that is not known."""
    config = config_of(folder)
    return {**config['training'], **config['options'], 'direction': config['direction']} if config else {}
