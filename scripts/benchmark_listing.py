"""Measure how a training starts on very many files (scripts/bench/listing.py)."""
import sys

from bench.listing import main

from util.cli import run

if __name__ == '__main__':
    sys.exit(run(main))
