"""Download a pretrained pix2pix generator to checkpoints/<NAME>_pretrained/latest_net_G.pth.

    python scripts/download_pix2pix_model.py facades_label2photo
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import run
from util.download import model_command

NAMES = ('edges2shoes', 'sat2map', 'map2sat', 'facades_label2photo', 'day2night')


def main(argv, console):
    model_command(argv, __doc__.splitlines()[0], NAMES, 'pix2pix/models-pytorch',
                  '--model test --netG unet_256 --norm batch')


if __name__ == '__main__':
    sys.exit(run(main))
