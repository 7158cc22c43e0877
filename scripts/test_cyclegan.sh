#!/bin/bash
# both generators of a CycleGAN; more options may follow
exec python "$(dirname "$0")/../test.py" --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --phase test --no_dropout "$@"
