"""The name under which the field knows it; see util/monitors/visualizer.py."""
from util.monitors.visualizer import Visualizer

__all__ = ['Visualizer']
