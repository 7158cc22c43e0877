"""Download a pretrained CycleGAN generator to checkpoints/<NAME>_pretrained/latest_net_G.pth.

    python scripts/download_cyclegan_model.py horse2zebra
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import run
from util.download import model_command

NAMES = ('apple2orange', 'orange2apple', 'summer2winter_yosemite', 'winter2summer_yosemite', 'horse2zebra',
         'zebra2horse', 'monet2photo', 'style_monet', 'style_cezanne', 'style_ukiyoe', 'style_vangogh', 'sat2map',
         'map2sat', 'cityscapes_photo2label', 'cityscapes_label2photo', 'facades_photo2label',
         'facades_label2photo', 'iphone2dslr_flower')


def main(argv, console):
    model_command(argv, __doc__.splitlines()[0], NAMES, 'cyclegan/pretrained_models', '--model test --no_dropout')


if __name__ == '__main__':
    sys.exit(run(main))
