#!/bin/bash
# pix2pix on facades; more options may follow
exec python "$(dirname "$0")/../test.py" --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256 --direction BtoA --dataset_mode aligned --norm batch "$@"
