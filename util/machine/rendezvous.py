"""How the processes of a run find each other, and the error if one is lost."""
import secrets
import time
from contextlib import contextmanager

import torch

from util.errors import ResourceError


class LostError(ResourceError):
    """Another process of this run exited or does not respond."""


@contextmanager
def lost_rank_as_error():
    """Turn errors of torch.distributed into a `LostError` with one sentence."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        first = next(iter(str(error).splitlines()), '')
        raise LostError(f'another process of this run exited or does not respond ({first[:150]}); see its own '
                        f'output for the cause, and resume with --continue_train auto') from error


def agree_on_session(store, rank: int, size: int, timeout: float) -> str:
    """Return a random session name that all live processes share.

    When torchrun restarts processes, its store still holds the addresses of the dead ones, and a process that reads
    those would wait for ever. So rank 0 greets every process under a random token, and counts only those that answer.
    """
    own = secrets.token_hex(8)
    deadline = time.monotonic() + timeout
    if rank:
        store.set(f'arrived/{rank}', own)
        session = store.get(f'welcome/{own}').decode()
        store.set(f'ready/{session}/{rank}', '1')
        return session
    absent = set(range(1, size))
    while absent:
        for other in absent:
            if store.check([f'arrived/{other}']):
                store.set(f'welcome/{store.get(f"arrived/{other}").decode()}', own)
        absent = {other for other in absent if not store.check([f'ready/{own}/{other}'])}
        if time.monotonic() > deadline:
            raise RuntimeError(f'{len(absent)} of {size} processes did not connect within {timeout:g} seconds')
        time.sleep(0.02)
    return own
