"""Measure training and translation against a plain formulation (scripts/bench/steps.py)."""
from bench.steps import main

if __name__ == '__main__':
    main()
