"""The output of test.py: image files, the page to look at them, and scores."""
