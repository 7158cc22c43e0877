"""From a dataset to batches: worker processes, order, and caches."""
