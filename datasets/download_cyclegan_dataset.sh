#!/bin/bash
# a public dataset of unpaired images
exec python "$(dirname "$0")/../datasets/download_dataset.py" --kind cyclegan "$@"
