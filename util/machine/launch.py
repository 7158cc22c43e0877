"""How the processes of this run were started: the environment variables that torchrun sets. Does not import torch."""
import hashlib
import os
import shlex


def is_follower() -> bool:
    """True if another process on this machine reports the errors in the shared command line."""
    return os.environ.get('WORLD_SIZE', '1') != '1' and os.environ.get('LOCAL_RANK', '0') != '0'


def local_world_size() -> int:
    """Number of processes that torchrun started on this machine; 1 without torchrun."""
    return max(1, int(os.environ.get('LOCAL_WORLD_SIZE', 1)))


def world_size() -> int:
    """Number of processes that torchrun started for this run; 1 without torchrun."""
    try:
        return int(os.environ.get('WORLD_SIZE', 1))
    except ValueError:
        return 1


def local_rank() -> int:
    """Index of this process among those on its machine."""
    return int(os.environ.get('LOCAL_RANK', 0)) if world_size() > 1 else 0


def job() -> str:
    """A name of the torchrun job that started this process, the same after its restarts; '' without torchrun.

    It is made from --rdzv_id, which torchrun draws on a single machine. Jobs of several machines without one have the
    id 'none'; the folder of their log files, which is drawn too, tells them apart.
    """
    name = os.environ.get('TORCHELASTIC_RUN_ID', '')
    if name == 'none':
        name = os.path.dirname(os.path.dirname(os.path.dirname(os.environ.get('TORCHELASTIC_ERROR_FILE', ''))))
    return hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest() if name else ''


def torchrun_command(n: int, argv: list[str], program: str = 'train.py') -> str:
    """The command that runs `argv` on `n` GPUs: one process per GPU, without --gpu_ids.

    The program comes after `--`, or torchrun would read options such as --monitor as abbreviations of its own.
    """
    words, skip = [], False
    for word in argv:
        if not skip and word.partition('=')[0] not in ('--gpu_ids', '--gpu'):
            words.append(word)
        skip = not skip and word in ('--gpu_ids', '--gpu')
    return f'torchrun --nproc_per_node {n} -- {program} {shlex.join(words)}'
