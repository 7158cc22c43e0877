"""Files in object storage, by fsspec: s3://bucket/name, gs://..., https://..., whatever it has a package for."""
import re
import time

from util.errors import UserError

URL = re.compile(r'([a-z][a-z0-9+.-]+):/+')     # `pathlib` makes s3:/bucket of s3://bucket; drives have one letter
TRIES = 3
PAUSE = 1           # seconds before the second try; then twice as long


def url_of(path) -> str | None:
    """The URL that a path is, also after it went through `pathlib`; None for a file here."""
    text = str(path)
    found = URL.match(text)
    if not found:
        return None
    return f'{found[1]}://{"/" if found[1] == "file" else ""}{text[found.end():]}'


def is_remote(path) -> bool:
    return url_of(path) is not None


def file_system(url: str):
    """(file system, path in it). After a fork fsspec makes new connections, so this may be called in every process."""
    try:
        import fsspec
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UserError(f'to read {url}: pip install fsspec, and s3fs for s3://, gcsfs for gs:// or aiohttp for '
                        f'https:// ({error})') from None
    except ValueError as error:
        raise UserError(f'{url} cannot be read: {error}; correct the URL') from None


def again(work, url: str):
    """The result of `work()`; a failure of the network is tried again. Raises an OSError."""
    for number in range(TRIES):
        try:
            return work()
        except FileNotFoundError:
            raise FileNotFoundError(2, 'No such file or directory', url) from None
        except Exception as error:      # each storage has its own
            if number == TRIES - 1:
                raise OSError(f'{type(error).__name__}: {error}') from error
            time.sleep(PAUSE * 2**number)


def read_range(url: str, start: int, end: int) -> bytes:
    """The bytes from `start` to before `end`; fewer at the end of the file."""
    files, path = file_system(url)
    return again(lambda: files.cat_file(path, start=start, end=end), url)


def read_whole(url: str) -> bytes:
    files, path = file_system(url)
    return again(lambda: files.cat_file(path), url)


def version_of(url: str) -> list:
    """[size, what the storage says that changes with the content, as text]."""
    files, path = file_system(url)
    facts = again(lambda: files.info(path), url)
    changing = [str(facts[name]) for name in ('ETag', 'etag', 'mtime', 'LastModified', 'created') if facts.get(name)]
    return [facts['size'], *changing[:1]]


def open_file(url: str):
    files, path = file_system(url)
    return again(lambda: files.open(path, 'rb'), url)


def names_in(url: str) -> list[str]:
    """The URLs of the files in a folder."""
    files, path = file_system(url)
    found = again(lambda: files.ls(path, detail=False), url)
    return [files.unstrip_protocol(name) for name in found]
