"""Measure what validation during training costs (scripts/bench/validation.py)."""
import sys

from bench.validation import main

from util.cli import run

if __name__ == '__main__':
    sys.exit(run(main))
