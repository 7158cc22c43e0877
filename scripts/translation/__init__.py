"""The parts of scripts/translate.py: which files become which, reading and writing them, and the loop over them."""
