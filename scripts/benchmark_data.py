"""Measure what loading images costs (scripts/bench/data_path.py)."""
import sys

from bench.data_path import main

from util.cli import run

if __name__ == '__main__':
    sys.exit(run(main))
