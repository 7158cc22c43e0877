"""Measure what loading images costs (scripts/bench/data_path.py)."""
from bench.data_path import main

if __name__ == '__main__':
    main()
