"""How the processes of a run were started, read from the environment that torchrun sets. Needs no torch."""
import os
import shlex


def is_follower() -> bool:
    """Does another process of this machine report the mistakes in the command line that torchrun gave both?"""
    return os.environ.get('WORLD_SIZE', '1') != '1' and os.environ.get('LOCAL_RANK', '0') != '0'


def launched_here() -> int:
    """How many processes torchrun started on this machine; 1 without it."""
    return max(1, int(os.environ.get('LOCAL_WORLD_SIZE', 1)))


def n_processes() -> int:
    """How many processes torchrun started for this run."""
    try:
        return int(os.environ.get('WORLD_SIZE', 1))
    except ValueError:
        return 1


def local_rank() -> int:
    """The number of this process among those of its machine."""
    return int(os.environ.get('LOCAL_RANK', 0)) if n_processes() > 1 else 0


def torchrun_command(n: int, argv: list[str], program: str = 'train.py') -> str:
    """The command line that trains with `n` GPUs what `argv` wanted of --gpu_ids.

    Behind `--`, since torchrun takes options such as --monitor for shortened ones of its own.
    """
    words, skip = [], False
    for word in argv:
        if not skip and word.partition('=')[0] not in ('--gpu_ids', '--gpu'):
            words.append(word)
        skip = not skip and word in ('--gpu_ids', '--gpu')
    return f'torchrun --nproc_per_node {n} -- {program} {shlex.join(words)}'
