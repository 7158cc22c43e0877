"""Written, tested on a CPU, never measured on a GPU: off unless asked for."""
