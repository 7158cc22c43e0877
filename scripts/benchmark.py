"""Measure training and translation against a plain formulation (scripts/bench/steps.py).

With --data, measure what loading images costs: files, shards, caches (scripts/benchmark_data.py).
With --exchange, count and measure what several processes send each other (scripts/bench/processes).
"""
import sys

from bench import data_path, steps
from bench.processes import report

from util.cli import run


def main(argv, console):
    if '--data' in argv:
        return data_path.main([word for word in argv if word != '--data'], console)
    if '--exchange' in argv:
        return report.main([word for word in argv if word != '--exchange'], console)
    return steps.main(argv, console)


if __name__ == '__main__':
    sys.exit(run(main))
