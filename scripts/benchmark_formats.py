"""Measure how fast samples and headers of each file type are read."""
import sys

from bench.formats import main

from util.cli import run

if __name__ == '__main__':
    sys.exit(run(main))
