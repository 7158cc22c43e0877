"""From a dataset to batches: the order of samples, worker processes that may die, and caches in memory."""
