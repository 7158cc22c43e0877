"""The output of test.py: image files, pages to look at them, results.json for programs, and metrics."""
