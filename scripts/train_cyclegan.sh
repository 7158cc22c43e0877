#!/bin/bash
# CycleGAN on maps; more options may follow
exec python "$(dirname "$0")/../train.py" --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --pool_size 50 --no_dropout "$@"
