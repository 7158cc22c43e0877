#!/bin/bash
# a pretrained pix2pix generator
exec python "$(dirname "$0")/../scripts/download_pix2pix_model.py" "$@"
