"""How many cores a process may use."""
import os
from pathlib import Path


def usable_cores(machine='/sys/devices/system/cpu', groups='/sys/fs/cgroup') -> int:
    """Cores of this process, at least 1: hyper-threads of a core count once, and the quota of a container is kept.

    Where the system does not tell which hyper-threads share a core (not Linux), half of them.
    """
    mine = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else range(os.cpu_count() or 1)
    siblings = [read(Path(machine, f'cpu{core}', 'topology', 'thread_siblings_list')) for core in mine]
    cores = len(set(siblings)) if all(siblings) else len(mine) // 2
    return max(1, min([cores, *quotas(groups)]))


def quotas(groups) -> list[int]:
    """Whole cores in the time that the control group (cgroup, version 2 or 1) may use; [] without a limit."""
    limits = read(Path(groups, 'cpu.max')).split() or [
        read(Path(groups, 'cpu', f'cpu.cfs_{name}_us')) for name in ('quota', 'period')]
    try:
        quota, period = map(int, limits)
    except ValueError:      # 'max', or no such file
        return []
    return [quota // period] if quota > 0 and period > 0 else []


def read(path: Path) -> str:
    try:
        return path.read_text(encoding='ascii').strip()
    except OSError:
        return ''
