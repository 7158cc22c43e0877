#!/bin/bash
# pix2pix on facades; more options may follow
exec python "$(dirname "$0")/../train.py" --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256 --direction BtoA --lambda_L1 100 --dataset_mode aligned --norm batch --pool_size 0 "$@"
