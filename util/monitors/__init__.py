"""What shows a training run: log files, the live page, visdom, TensorBoard, Weights & Biases."""
