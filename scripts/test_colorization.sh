#!/bin/bash
# colorization of photos; more options may follow
exec python "$(dirname "$0")/../test.py" --dataroot ./datasets/colorization --name color_pix2pix --model colorization "$@"
