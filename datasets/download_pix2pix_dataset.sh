#!/bin/bash
# a public dataset of pairs
exec python "$(dirname "$0")/../datasets/download_dataset.py" --kind pix2pix "$@"
