"""Measure training and translation against a plain formulation (scripts/bench/steps.py)."""
import sys

from bench.steps import main

from util.cli import run

if __name__ == '__main__':
    sys.exit(run(main))
