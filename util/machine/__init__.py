"""The computer a run has: devices, processes, memory, signals and random numbers."""
