"""What scripts/evaluate.py and scripts/compare.py share: finding images, measuring them, statistics and reports."""
