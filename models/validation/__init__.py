"""Metrics of validation images during training, the best checkpoint, and stopping when nothing improves."""
