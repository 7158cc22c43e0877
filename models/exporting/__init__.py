"""Trained networks as files for other programs: graphs, how they are written and checked, and what comes with them."""
