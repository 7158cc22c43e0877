"""Step time with several GPUs on paper: a ring all-reduce after each backward, or in buckets during it.

Nothing here was measured. The time of a step without the others is assumed from its FLOPs and operations.
"""
from bench.processes.counted import Counts

FLOP_RATE = 100e12          # FLOP/s that a step reaches: a fifth of the dense TF32 peak of an H100
OPERATION = 10e-6           # seconds to start one operation; a step takes at least that for each
LATENCY = 30e-6             # seconds that each message takes besides its bytes
REACHED = 0.8               # share of the bandwidth that messages of megabytes reach
BUCKET = 25e6               # bytes, as in DistributedDataParallel (Li et al. 2020, section 3.2.3)
NETWORKS = {                # bytes per second in one direction
    'NVLink 4': 450e9,              # H100 SXM: 900 GB/s in both directions together
    'PCIe 4.0 x16': 31.5e9,         # 16 lanes of 16 GT/s, 128 of 130 bits
    '100 Gb Ethernet': 12.5e9,
    '10 Gb Ethernet': 1.25e9,
}


def step_seconds(updates: list[Counts]) -> float:
    """Seconds of a step on one GPU: limited by arithmetic, or by starting operations."""
    return max(sum(update.flops for update in updates) / FLOP_RATE,
               sum(update.operations for update in updates) * OPERATION)


def ring_seconds(size: float, processes: int, bandwidth: float) -> float:
    """Seconds of a ring all-reduce of `size` bytes: each process sends 2 (n - 1) / n of them (Patarasuk and Yuan 2009).

    A ring over several machines passes each network card once in each direction, so this is also the time of machines
    with several GPUs, with the bandwidth of the slowest link.
    """
    return LATENCY + 2 * (processes - 1) / processes * size / (REACHED * bandwidth)


def exchange_seconds(updates: list[Counts], processes: int, bandwidth: float, overlap: bool = False) -> float:
    """Seconds by which the messages make a step longer.

    With `overlap`, gradients are sent in buckets during backward. At best all but the last bucket are hidden behind
    it; the messages of batch norms and image pools never are.
    """
    seconds, scale = 0.0, step_seconds(updates) / sum(update.flops for update in updates)
    for update in updates:
        seconds += sum(ring_seconds(size, processes, bandwidth) for size in update.messages)
        together = ring_seconds(update.gradient_bytes, processes, bandwidth)
        if overlap:
            last = ring_seconds(min(BUCKET, update.gradient_bytes), processes, bandwidth)
            together = max(last, together - update.backward_flops * scale)
        seconds += together
    return seconds


def efficiency(alone: list[Counts], shared: list[Counts], processes: int, bandwidth: float,
               overlap: bool = False) -> float:
    """Of weak scaling: images per second and process, relative to one process.

    Args:
        alone: updates of a step of one process.
        shared: the same with several processes.
    """
    if processes == 1:
        return 1.0
    return step_seconds(alone) / (step_seconds(shared) + exchange_seconds(shared, processes, bandwidth, overlap))
