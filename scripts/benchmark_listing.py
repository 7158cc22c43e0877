"""Measure how a training starts on very many files (scripts/bench/places.py)."""
import sys

from bench.places import main

from util.cli import run

if __name__ == '__main__':
    sys.exit(run(main))
