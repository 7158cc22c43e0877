"""What several processes exchange in a training step: counted, predicted for GPUs, measured with gloo on a CPU.

The command is scripts/benchmark.py --exchange.
"""
