"""Measure how far tiles and exported files are from the whole image in PyTorch, for every kind of network."""
import sys

from bench.exports import main

from util.cli import run

if __name__ == '__main__':
    sys.exit(run(main))
