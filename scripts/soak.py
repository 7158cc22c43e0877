"""Long tests of reliability (scripts/bench/soak.py)."""
import sys

from bench.soak import main

from util.cli import run

if __name__ == '__main__':
    sys.exit(run(main))
