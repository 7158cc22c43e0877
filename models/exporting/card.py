"""What comes with exported networks: config.json for programs, and README.md, the model card, for people."""
import dataclasses
import json
import math
from pathlib import Path

from models.translation.sources import Recipe
from util.checkpoint.exported import FORMAT

VERSION = 1
USAGE = {
    'safetensors': """from models import load_translator        # in the folder of pixmorph
translate = load_translator('path/of/this/folder')
result = translate(image)                   # Pillow image, NumPy array or tensor""",
    'onnx': """import onnxruntime
session = onnxruntime.InferenceSession('model.onnx')
result, = session.run(None, {inputs})""",
    'torchscript': """import torch
model = torch.jit.load('model.ts')
result = model({arguments})""",
    'web': 'Open index.html in a browser: it translates pictures that are dropped on it, without a server.',
    'torchexport': """import torch
model = torch.export.load('model.pt2').module()
result = model({arguments})""",
}
IMAGE = {True: 'uint8 (batch, height, width, {}), 0..255', False: 'float32 (batch, {}, height, width), -1..1'}
# options of the training that a reader of the card asks for first
CARD_OPTIONS = ('model', 'dataroot', 'direction', 'netG', 'norm', 'ngf', 'no_dropout', 'preprocess', 'load_size',
                'crop_size', 'batch_size', 'lr', 'n_epochs', 'n_epochs_decay', 'max_iters', 'gan_mode', 'seed')
# paths and names of this machine
PRIVATE = ('checkpoints_dir', 'results_dir', 'vgg_weights', 'perceptual_weights', 'wandb_project_name', 'init_from',
           'pairs', 'list_A', 'list_B')


def config_of(recipe: Recipe, exported, form: str, batch_norms: str) -> dict:
    """The content of config.json; `Recipe` and everything that a program must know to use the file."""
    translation, levels = exported.translation, exported.levels
    inputs = {'image': IMAGE[levels].format(translation.channels_in)}
    if translation.styled:
        inputs['style'] = f'float32 (batch, {translation.style_dim}), from N(0, 1) or the style encoder'
    return dict(format=FORMAT, version=VERSION, file_format=form,
                **{**dataclasses.asdict(recipe), 'training': publishable(recipe.training)}, inputs=inputs,
                outputs={'translation': IMAGE[levels].format(translation.channels_out)},
                normalization='none: levels go in and come out' if levels else 'image = levels / 127.5 - 1',
                size_multiple=translation.net.multiple, smallest_size=translation.net.smallest,
                padding='inside: any height and width from 1', half=str(exported.dtype) == 'torch.float16',
                dropout='off', batch_norm=batch_norms)


def publishable(training: dict) -> dict:
    """The options of a training that JSON can hold, without the paths of this machine."""
    plain = {name: value for name, value in training.items()
             if isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))}
    if plain.get('dataroot'):
        plain['dataroot'] = Path(plain['dataroot']).name
    return {name: value for name, value in plain.items() if name not in PRIVATE}


def write_card(folder: Path, config: dict, differences: dict[str, float], results: dict):
    """README.md with YAML at its top, as model hubs read it."""
    settings = config['training'] or config['options']
    rows = [f'| {name} | {settings[name]} |' for name in CARD_OPTIONS if name in settings]
    checks = [f'* `{file}`: {value:.1e}' for file, value in differences.items()]
    scores = [f'| {name} | {value:.4f} |' for name, value in results.items()]
    inputs = "{'image': image" + (", 'style': style}" if 'style' in config['inputs'] else '}')
    usage = USAGE[config['file_format']].format(inputs=inputs, arguments=', '.join(config['inputs']))
    text = f"""---
library_name: pytorch
tags: [image-to-image, pixmorph]
---
# {config['name'] or 'Image translation'}, {config['direction']}

Translates images from domain {config['direction'][0]} to domain {config['direction'][-1]}. Exported with
`scripts/export.py` of pixmorph from checkpoint `{config['label']}`.

```python
{usage}
```

| | |
|---|---|
{chr(10).join(f'| input `{name}` | {meaning} |' for name, meaning in config['inputs'].items())}
| output `translation` | {config['outputs']['translation']}, as high and wide as the image |
| scaling of pixels | {config['normalization']} |
| sizes | any; inside, sides are extended by reflection to multiples of {config['size_multiple']} \
(at least {config['smallest_size']}) |
| dropout | off, so that results can be repeated; `test.py` leaves it on if the training had it, without `--eval` |
| batch norm | {config['batch_norm']} |
| precision of weights | {'float16' if config['half'] else 'float32'} |

Largest difference to PyTorch for five images of different sizes (values from -1 to 1):

{chr(10).join(checks)}

## Training

{'| option | value |' + chr(10) + '|---|---|' + chr(10) + chr(10).join(rows) if rows else 'Not known.'}
"""
    if scores:
        text += '\n## Results of test.py\n\n| score | mean |\n|---|---|\n' + '\n'.join(scores) + '\n'
    (folder / 'README.md').write_text(text, encoding='utf-8')


def mean_scores(results: Path) -> dict[str, float]:
    """The mean scores of a results folder of test.py; {} if there are none."""
    try:
        return json.loads((results / 'results.json').read_text(encoding='utf-8'))['mean_metrics'] or {}
    except (OSError, ValueError, KeyError):
        return {}
