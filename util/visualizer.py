"""The module name of the original code; see util/monitors/visualizer.py."""
from util.monitors.visualizer import Visualizer

__all__ = ['Visualizer']
