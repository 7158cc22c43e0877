"""A page that translates pictures in a browser, without a server: the model, and onnxruntime-web to run it."""
import base64
import html
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from util.errors import UserError
from util.files import atomic_write

PACKAGE, VERSION = 'onnxruntime-web', '1.30.0'
RUNTIME = {'module': 'package/dist/ort.webgpu.bundle.min.mjs',
           'wasm': 'package/dist/ort-wasm-simd-threaded.asyncify.wasm'}
ELSEWHERE = f'fetch it on another machine with: npm pack {PACKAGE}@{VERSION}, and give the file with --runtime'
PAGE = Path(__file__).with_name('page')


def write_page(folder: Path, model: Path, title: str, config: dict, runtime: dict[str, str]):
    """Write the page next to `model`, an ONNX file that takes and returns levels, and include the model in it.

    Args:
        config: channels_in, channels_out and style_dim (0 for none) of the model.
        runtime: the files of onnxruntime-web, see `runtime_files`.
    """
    scripts = {'config.js': f'const CONFIG = {json.dumps(config)};', 'model.js': f'const MODEL = "{text_of(model)}";',
               'runtime.js': f'const RUNTIME = {json.dumps(runtime)};'}
    for name, script in scripts.items():
        (folder / name).write_text(f'{script}\n', encoding='utf-8')
    for name in ('app.js', 'style.css'):
        shutil.copyfile(PAGE / name, folder / name)
    page = (PAGE / 'index.html').read_text(encoding='utf-8').replace('__TITLE__', html.escape(title))
    (folder / 'index.html').write_text(page, encoding='utf-8')


def text_of(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def runtime_files(archive: Path) -> dict[str, str]:
    """The files of onnxruntime-web that the page needs, as base64."""
    try:
        with tarfile.open(archive) as package:
            return {name: base64.b64encode(package.extractfile(file).read()).decode() for name, file in RUNTIME.items()}
    except (OSError, tarfile.TarError, KeyError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), '').rstrip(':')
        raise UserError(f'{archive.absolute()} is not the npm package {PACKAGE} {VERSION} ({reason}); make it with: '
                        f'npm pack {PACKAGE}@{VERSION}') from error


def cached_archive() -> Path:
    """The npm package in the cache folder; npm fetches it, and checks it, if it is not there."""
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'pixmorph'
    archive = cache / f'{PACKAGE}-{VERSION}.tgz'
    if archive.exists():
        return archive
    npm = shutil.which('npm')
    if npm is None:
        raise UserError(f'--format web needs {PACKAGE}, and npm to fetch it; install npm, or {ELSEWHERE}')
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([npm, 'pack', f'{PACKAGE}@{VERSION}'], cwd=folder, capture_output=True, text=True)
        packed = Path(folder) / archive.name
        if done.returncode or not packed.exists():
            reason = next(iter(done.stderr.strip().splitlines()), 'no reason given')
            raise UserError(f'npm could not fetch {PACKAGE} {VERSION} ({reason}); {ELSEWHERE}')
        with atomic_write(archive, 'wb', durable=False) as file:
            file.write(packed.read_bytes())
    return archive
