"""What visdom needs beside its package, and a copy of its page, made to work, in the user's cache."""

import os
import shutil
import sys
from pathlib import Path

from util.files import atomic_write

INSTALL = (
    '`python scripts/quickstart.py` or `PIP_CONSTRAINT=constraints-build.txt '
    'PIP_BUILD_CONSTRAINT=constraints-build.txt pip install -r requirements-visdom.txt` installs it'
)
# What the page needs and the package does not bring; main.js has React inside.
ASSETS = (
    'js/jquery.min.js',
    'js/bootstrap.min.js',
    'js/plotly-plotly.min.js',
    'js/layout_bin_packer.js',
    'css/bootstrap.min.css',
    'css/react-resizable-styles.css',
    'css/react-grid-layout-styles.css',
    'fonts/glyphicons-halflings-regular.woff2',
)


def cache_folder() -> Path:
    """Where this user's programs keep what can be made again."""
    if sys.platform == 'win32':
        base = os.environ.get('LOCALAPPDATA') or Path.home() / 'AppData' / 'Local'
    elif sys.platform == 'darwin':
        base = Path.home() / 'Library' / 'Caches'
    else:
        base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'pixmorph'


def stage(package: Path, version: str) -> Path:
    """Copy the static files of the visdom package to the cache and make the page work; return the copy."""
    original, static = package / 'static', cache_folder() / f'visdom-{version}'
    shutil.copytree(original, static, ignore=shutil.ignore_patterns('index.html'), dirs_exist_ok=True)
    page = (original / 'index.html').read_text(encoding='utf-8')
    with atomic_write(static / 'index.html') as file:
        # tornado >= 6.6 answers 403 to a static_url outside of the static folder.
        file.write(page.replace('{{ static_url("../user/style.css") }}', '"/user/style.css"'))
    with atomic_write(static / 'version.built') as file:
        file.write(version)
    return static


def missing_assets(static: Path) -> list[str]:
    return [asset for asset in ASSETS if not (static / asset).is_file()]
