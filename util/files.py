"""Files that are either whole or not there."""
import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path, mode: str = 'w'):
    """Open a temporary file beside `path`; it takes the place of `path` only when all was written."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(temporary, mode, encoding=None if 'b' in mode else 'utf-8') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:    # a full disk does not say which file it was
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def move_aside(folder) -> Path:
    """Rename `folder` to the first free `<folder>.1`, `<folder>.2`, ... and return the new name."""
    folder = Path(folder)
    number = 1
    while (aside := folder.with_name(f'{folder.name}.{number}')).exists():
        number += 1
    return folder.rename(aside)
