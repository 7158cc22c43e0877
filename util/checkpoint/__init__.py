"""Checkpoint files: their names, weights, sums, and saves that are never half done."""
