"""What visdom's page needs beside its package, checked and placed in a copy of the page in the user's cache."""

import base64
import hashlib
import http.client
import io
import os
import shutil
import sys
import tarfile
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from util.errors import UserError
from util.files import atomic_write

INSTALL = (
    '`python scripts/quickstart.py` or `PIP_CONSTRAINT=constraints-build.txt '
    'PIP_BUILD_CONSTRAINT=constraints-build.txt pip install -r requirements-visdom.txt` installs it'
)
REGISTRY = 'https://registry.npmjs.org'
TIMEOUT = 15
MOST_BYTES = 8 << 20
VERSION = '0.2.4'    # of the visdom whose page this is


@dataclass(frozen=True)
class Package:
    """An archive of the npm registry; `sha512` is what the registry calls its integrity."""
    name: str
    version: str
    sha512: str

    @property
    def file(self) -> str:
        return f'{self.name}-{self.version}.tgz'

    def url(self, registry: str) -> str:
        return f'{registry.rstrip("/")}/{self.name}/-/{self.file}'


@dataclass(frozen=True)
class Asset:
    """A file of the page, and where it comes from: `member` of `package`."""
    path: str
    package: Package
    member: str
    sha256: str


JQUERY = Package(
    'jquery', '3.1.1', 'zuiWRmx65Kd1oFGdWLvAjbsumdOBFvs3r1vuqCyKFF79R7exBHNbiNEJ8LR+xkzgfxqBznMD/4Cv6PHXS6mvEw==')
BOOTSTRAP = Package(
    'bootstrap', '3.3.7', 'qcFaisBrcBhTFkz1IUnGDYnX6ZWfFzH8zOixUDtHW9Ip+r+7MfMFav2rzy7cIHc7rgIg7xjhWBoo1mS/U26j4g==')
PLOTLY = Package(
    'plotly.js-dist-min', '2.11.1',
    'F9WWNht0D3yBLZGHbLoJNfvplXvy+GUPSsA/lCbMuYd/UwzSu6Vmyprxlps9Einw1LDS1hYBrJeioK0lE3ieXA==')
PACKER = Package(
    'layout-bin-packer', '1.4.0',
    'dQOZnajbOBGIcS9YlzKrkRtMCGa2oEpyf1zGRn93suphSvPclJe54Sbgtb053GJ21DUk84IBzaeQvjn+Gb10fA==')
RESIZABLE = Package(
    'react-resizable', '1.4.6',
    '4zLORO51u0/mlDsrVCAA4p266d+3mb2ZMNdiWOotAh/PdnfrRzZhgePmKE08PSQatXVIfMjmyD+Sapay8tmxdQ==')
GRID = Package(
    'react-grid-layout', '0.16.3',
    'ytP92EqUjqcFhGzvdeKrK610dQ04GdFwRCWtD6PoeL5wR3liETcFISO7k8RBqnosV86JtXf/DwIfrL0COLs0gg==')
SJCL = Package(
    'sjcl', '1.0.7', 'xQbiwKfiAj6vyk44ANJ5RRymALRdRZOuRoKNYkWUU404p/RFXmMaay1Z5vRn30GJjkD+psox4Jd38jZojSuNYA==')

# What the page needs and the package does not bring; main.js has React inside.
ASSETS = (
    Asset('js/jquery.min.js', JQUERY, 'dist/jquery.min.js',
          '85556761a8800d14ced8fcd41a6b8b26bf012d44a318866c0d81a62092efd9bf'),
    Asset('js/bootstrap.min.js', BOOTSTRAP, 'dist/js/bootstrap.min.js',
          '53964478a7c634e8dad34ecc303dd8048d00dce4993906de1bacf67f663486ef'),
    Asset('css/bootstrap.min.css', BOOTSTRAP, 'dist/css/bootstrap.min.css',
          'f75e846cc83bd11432f4b1e21a45f31bc85283d11d372f7b19accd1bf6a2635c'),
    Asset('fonts/glyphicons-halflings-regular.woff2', BOOTSTRAP, 'dist/fonts/glyphicons-halflings-regular.woff2',
          'fe185d11a49676890d47bb783312a0cda5a44c4039214094e7957b4c040ef11c'),
    Asset('js/plotly-plotly.min.js', PLOTLY, 'plotly.min.js',
          'dd146b2db18d4ced4743018fa65ada14b723bf1aae08b559a5576ba8116cd889'),
    Asset('js/layout_bin_packer.js', PACKER, 'dist/layout-bin-packer.js',
          '312ed1834f78f497ac3c9e943ce4657679d26ad8cd62d7f722912d26c9d0ed29'),
    Asset('css/react-resizable-styles.css', RESIZABLE, 'css/styles.css',
          '7c9122a97c86b4be7839fd3d23c37d06aec1ece3ef830f8bae3a8c121056d528'),
    Asset('css/react-grid-layout-styles.css', GRID, 'css/styles.css',
          '4ec035a50c31ec008bab5794e88ef056043e63aaa8dcbb24d36e5a73780b4dbc'),
)
# The page that asks for a password needs one more.
LOGIN_ASSETS = (
    Asset('js/sjcl.js', SJCL, 'sjcl.js', 'd09a8688f37c7442bb1e6699b46efb191d9281ef05a492586fa0f54dc4e5110a'),
)


class Unavailable(Exception):
    """A package cannot be had, or is not what it should be."""


# ---- the copy of the page

def cache_folder() -> Path:
    """Where this user's programs keep what can be made again."""
    if sys.platform == 'win32':
        base = os.environ.get('LOCALAPPDATA') or Path.home() / 'AppData' / 'Local'
    elif sys.platform == 'darwin':
        base = Path.home() / 'Library' / 'Caches'
    else:
        base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'pixmorph'


def page_folder(version: str = VERSION) -> Path:
    return cache_folder() / f'visdom-{version}'


def stage(package: Path, version: str, static: Path) -> Path:
    """Copy the static files of the visdom package to `static`, make the page work there, and return `static`."""
    original = package / 'static'
    shutil.copytree(original, static, ignore=shutil.ignore_patterns('index.html'), dirs_exist_ok=True)
    page = (original / 'index.html').read_text(encoding='utf-8')
    with atomic_write(static / 'index.html') as file:
        # tornado >= 6.6 answers 403 to a static_url outside of the static folder.
        file.write(page.replace('{{ static_url("../user/style.css") }}', '"/user/style.css"'))
    with atomic_write(static / 'version.built') as file:
        file.write(version)     # visdom's own download is done where this stands
    return static


def missing_assets(static: Path, assets=ASSETS) -> list[Asset]:
    """Those that are not in `static`, or are not what they should be."""
    return [asset for asset in assets if digest(static / asset.path) != asset.sha256]


def digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


# ---- getting what is missing

def complete(static: Path, folder: Path | None = None, assets=ASSETS) -> list[str]:
    """Place the missing `assets` in `static`, from `folder` or the registry; returns what went wrong, in sentences.

    `folder` has the files as they lie in `static`, in any sub-folder or none, or the archives of the packages.
    """
    problems = []
    missing = missing_assets(static, assets)
    if folder:
        missing = [asset for asset in missing if not place(static, asset, from_folder(folder, asset))]
    for package in dict.fromkeys(asset.package for asset in missing):
        wanted = [asset for asset in missing if asset.package == package]
        try:
            unpack(archive(package, folder), wanted, static)
        except Unavailable as error:
            problems.append(f'{package.name} {package.version}: {error}')
    return problems


def from_folder(folder: Path, asset: Asset) -> bytes | None:
    """The file in `folder`, if it is there and right."""
    for path in (folder / asset.path, folder / Path(asset.path).name):
        if digest(path) == asset.sha256:
            return path.read_bytes()
    return None


def place(static: Path, asset: Asset, content: bytes | None) -> bool:
    if content is None:
        return False
    with atomic_write(static / asset.path, 'wb') as file:
        file.write(content)
    return True


def archive(package: Package, folder: Path | None) -> bytes:
    """The checked archive of a package: `<folder>/<name>-<version>.tgz`, or from the registry without a folder."""
    if folder is None:
        content = download(package.url(os.environ.get('NPM_CONFIG_REGISTRY') or REGISTRY))
    elif (folder / package.file).is_file():
        content = (folder / package.file).read_bytes()
    else:
        raise Unavailable(f'neither its files nor {package.file} are in {folder.absolute()}')
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != package.sha512:
        raise Unavailable(f'the archive has the sha512 {found}, not {package.sha512}; it is not used')
    return content


def download(url: str) -> bytes:
    """What is at `url`; `Unavailable` if that fails or is larger than any of the packages."""
    try:
        request = urllib.request.Request(url, headers={'User-Agent': 'pixmorph'})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            content = answer.read(MOST_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unavailable(f'{url} cannot be downloaded ({getattr(error, "reason", None) or error})')
    if len(content) > MOST_BYTES:
        raise Unavailable(f'{url} has more than {MOST_BYTES} bytes; it is not used')
    return content


def unpack(content: bytes, wanted: list[Asset], static: Path):
    """Place the `wanted` members of an archive; no other is read, and no name of it becomes a path."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode='r:gz') as packed:
            for asset in wanted:
                file = packed.extractfile(f'package/{asset.member}')
                member = file.read(MOST_BYTES) if file else b''
                if hashlib.sha256(member).hexdigest() != asset.sha256:
                    raise Unavailable(f'{asset.member} in it is not the file it should be')
                place(static, asset, member)
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise Unavailable(f'the archive cannot be read ({error})')


def assets_folder(path: str | Path | None) -> Path | None:
    """The folder of --visdom_assets; a `UserError` if there is none."""
    if path and not Path(path).is_dir():
        raise UserError(f'{Path(path).absolute()} is no folder; correct --visdom_assets')
    return Path(path) if path else None


def report(problems: list[str], static: Path, say: Callable[[str], None]):
    """One line about a page that is not complete."""
    say(f'the visdom page stays blank, its programming interface works: {problems[0]}'
        f'{f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""}; on a machine with internet run '
        f'`python scripts/visdom_assets.py --out DIR`, bring DIR here and add --visdom_assets DIR ({static})')
