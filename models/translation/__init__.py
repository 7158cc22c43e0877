"""Trained networks as a function: any image in, the same size out, whole or in tiles; and where they are loaded from.

`models.load_translator` is the door. Nothing here reads a command line, a dataset or global state.
"""
