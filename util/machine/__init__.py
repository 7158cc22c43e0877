"""The machine a run works on: device, processes, memory, signals and random number generators."""
