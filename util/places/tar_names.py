"""Which tars a path names: x.tar, {00000..00999}.tar, or a URL. Needs no numpy: command lines are checked with it."""
import os
import re
from itertools import product

from util.errors import UserError

from . import remote

TAR = '.tar'
INDEX = '.index'      # added to the name of a tar
RANGE = re.compile(r'\{(\d+)\.\.(\d+)\}')


def is_tar(name: str) -> bool:
    return name.endswith(TAR) and not name.startswith('.')


def is_index(name: str) -> bool:
    return name.endswith(TAR + INDEX)


def is_set(place) -> bool:
    """True if a path names tars: x.tar, {00000..00999}.tar, or the URL of a tar or of a folder of them."""
    return remote.url_of(place) is not None or str(place).endswith(TAR) and not os.path.isdir(place)


def expand(place) -> list[str]:
    """The tars that `is_set` knows; a `UserError` if one does not exist."""
    text = remote.url_of(place) or str(place)
    if not text.endswith(TAR):
        found = [name for name in listed(text) if name.endswith(TAR)]
        if not found:
            raise UserError(f'there are no {TAR} files in {text}; correct the URL')
        return sorted(found)
    parts = RANGE.split(text)       # text, first, last, text, ...
    ranges = [[f'{number:0{len(first)}d}' for number in range(int(first), int(last) + 1)]
              for first, last in zip(parts[1::3], parts[2::3], strict=True)]
    if not all(ranges):
        raise UserError(f'{text} names no tar; write the smaller number first in {{}}')
    found = [''.join(map(''.join, zip(parts[::3], (*numbers, ''), strict=True))) for numbers in product(*ranges)]
    missing = [] if remote.url_of(text) else [tar for tar in found if not os.path.isfile(tar)]
    if missing:
        if re.search(r'[{*?\[]', RANGE.sub('', text)):
            raise UserError(f'{text} is no range of tars; write {{000..999}} for numbers, or give the folder of the '
                            f'tars')
        raise UserError(f'{len(missing)} of {len(found)} tars of {text} do not exist, such as '
                        f'{os.path.abspath(missing[0])}; correct the numbers in {{}}, or the path')
    return found


def listed(url: str) -> list[str]:
    try:
        return remote.names_in(url)
    except OSError as error:
        raise UserError(f'{url} cannot be listed ({error}); correct the URL, or check the connection') from error


def base_of(place) -> str:
    """The folder that members are in, as it were: that of the tars if a path names tars, else the path itself."""
    text = remote.url_of(place) or str(place)
    return os.path.dirname(text) if text.endswith(TAR) and is_set(place) else text
