"""A training step and everything around it: engines, optimizers, saving and recovery."""
