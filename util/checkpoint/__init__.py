"""The checkpoints of a run: names, weights, sums, saves that are complete or not visible at all.

Who may write: `lock`. What is there: `layout`, `manifest`, `damage`. Writing: `store` (tensors), `transaction` (files).
Which checkpoints are kept, and which one is the newest: `retention`. How much disk space they need: `space`.
Only `store` imports torch.
"""
