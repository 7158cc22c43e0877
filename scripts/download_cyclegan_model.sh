#!/bin/bash
# a pretrained CycleGAN generator, such as horse2zebra
exec python "$(dirname "$0")/../scripts/download_cyclegan_model.py" "$@"
