"""Measure translating: images per second of the command, and time and memory with and without tiles."""
import sys

from bench.translation import main

from util.cli import run

if __name__ == '__main__':
    sys.exit(run(main))
