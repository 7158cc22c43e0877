"""Measure what monitors cost a training step (scripts/bench/monitor.py)."""
import sys

from bench.monitor import main

from util.cli import run

if __name__ == '__main__':
    sys.exit(run(main))
