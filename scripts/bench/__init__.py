"""Measurements: speed, reliability, and equality of results. The commands are scripts/benchmark*.py and soak.py."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))    # the packages of the project
