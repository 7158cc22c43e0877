#!/bin/bash
# one generator on single images; more options may follow
exec python "$(dirname "$0")/../test.py" --dataroot ./datasets/facades/testB/ --name facades_pix2pix --model test --netG unet_256 --direction BtoA --dataset_mode single --norm batch "$@"
