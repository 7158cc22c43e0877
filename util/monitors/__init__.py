"""Everything that shows a training run: log files, the live page, visdom, TensorBoard, Weights & Biases.

`Visualizer` calls all of them. None of them can stop or delay training.
"""
