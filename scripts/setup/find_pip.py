"""Where to get the wheel of pip for a Python that has neither pip nor ensurepip, as on Debian without python3-venv.

Standard library only. A wheel of pip runs itself: `python pip-X-py3-none-any.whl/pip install ...`
"""
import configparser
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urldefrag, urljoin

DISTRIBUTION_WHEELS = '/usr/share/python-wheels'      # of Debian, Fedora and those made from them
TIMEOUT = 60


class Wheel(NamedTuple):
    url: str
    sha256: str
    version: tuple


def find_wheel(folder: Path, offline: 'Path | None') -> 'Path | None':
    """A wheel of pip, downloaded into `folder` if none is on this machine; None if none can be had."""
    found = wheel_on_disk([*filter(None, [offline]), *wheel_folders()])
    if found or offline:
        return found
    return from_own_pip(folder) or from_index(folder, configured_index(os.environ)) or from_apt(folder)


def wheel_folders() -> list:
    return [folder for folder in (sysconfig.get_config_var('WHEEL_PKG_DIR'), DISTRIBUTION_WHEELS) if folder]


def wheel_on_disk(folders) -> 'Path | None':
    wheels = [wheel for folder in folders for wheel in Path(folder).glob('pip-*.whl')]
    return max(wheels, key=lambda wheel: numbers(wheel.name), default=None)


def numbers(text: str) -> tuple:
    """(26, 3) of 'pip-26.3-py3-none-any.whl' or of '26.3'."""
    match = re.match(r'(?:pip-)?(\d+(?:\.\d+)*)(?=-|$)', text)
    return tuple(map(int, match[1].split('.'))) if match else ()


def from_own_pip(folder: Path) -> 'Path | None':
    """By the pip of the Python that runs this, which knows the user's index, proxy and certificates."""
    subprocess.call([sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', str(folder), 'pip'],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return wheel_on_disk([folder])


def config_files(environ) -> list:
    """Where pip keeps its settings, the strongest first."""
    home = Path.home()
    found = [environ.get('PIP_CONFIG_FILE'), home / '.config/pip/pip.conf', home / '.pip/pip.conf',
             home / 'Library/Application Support/pip/pip.conf', '/etc/pip.conf', '/etc/xdg/pip/pip.conf']
    return [Path(file) for file in found if file]


def configured_index(environ, files=None) -> 'str | None':
    """The package index the user has told pip to use, from PIP_INDEX_URL or pip's settings."""
    if environ.get('PIP_INDEX_URL'):
        return environ['PIP_INDEX_URL']
    for file in config_files(environ) if files is None else files:
        settings = configparser.RawConfigParser()
        try:
            settings.read(str(file), encoding='utf-8')
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ('install', 'global'):
            if settings.has_option(section, 'index-url'):
                return settings.get(section, 'index-url')
    return None


class IndexPage(HTMLParser):
    """The wheels of pip that a page of a package index links to, with checksum and for this Python."""

    def __init__(self, address: str, python: tuple):
        super().__init__()
        self.address, self.python, self.wheels = address, python, []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        url, checksum = urldefrag(urljoin(self.address, attributes.get('href') or ''))
        version = numbers(url.rsplit('/', 1)[-1])
        oldest = re.search(r'>=\s*3\.(\d+)', attributes.get('data-requires-python') or '')
        if tag == 'a' and version and url.endswith('-py3-none-any.whl') and checksum.startswith('sha256=') \
                and not (oldest and (3, int(oldest[1])) > self.python):
            self.wheels.append(Wheel(url, checksum[len('sha256='):], version))


def newest_wheel(page: str, address: str, python: tuple) -> 'Wheel | None':
    parser = IndexPage(address, python)
    parser.feed(page)
    return max(parser.wheels, key=lambda wheel: wheel.version, default=None)


def from_index(folder: Path, index: 'str | None') -> 'Path | None':
    """From the simple page of a package index; what does not have the page's checksum is not kept."""
    if not index:
        return None
    address = index.rstrip('/') + '/pip/'
    try:
        page = download(urllib.request.Request(address, headers={'Accept': 'text/html'})).decode('utf-8', 'replace')
        wheel = newest_wheel(page, address, sys.version_info[:2])
        content = download(wheel.url) if wheel else b''
    except (OSError, ValueError):
        return None
    if not wheel or hashlib.sha256(content).hexdigest() != wheel.sha256:
        return None
    path = folder / wheel.url.rsplit('/', 1)[-1]
    path.write_bytes(content)
    return path


def download(request) -> bytes:
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        return response.read()


def from_apt(folder: Path) -> 'Path | None':
    """From the Debian package that ensurepip is a part of; unpacked here, nothing is installed, root is not needed."""
    if not (shutil.which('apt-get') and shutil.which('dpkg-deb')):
        return None
    quiet = dict(cwd=str(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    subprocess.call(['apt-get', 'download', 'python3-pip-whl'], **quiet)
    for package in folder.glob('python3-pip-whl_*.deb'):
        subprocess.call(['dpkg-deb', '-x', str(package), str(folder)], **quiet)
    return wheel_on_disk([folder / DISTRIBUTION_WHEELS[1:]])
