"""Start a visdom server for this machine only, without internet: python scripts/visdom_server.py"""

import argparse
import asyncio
import errno
import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import UserError, run  # noqa: E402
from util.visdom_assets import INSTALL, cache_folder, missing_assets, stage  # noqa: E402

BUFFER_BYTES = 1 << 30  # a grid of large images is one message
LOOPBACK = '127.0.0.1'


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split(':')[0])
    parser.add_argument('--port', type=int, default=8097, help='port of the page and of --display_port')
    home = Path.home() / '.visdom'
    parser.add_argument('--env_path', type=Path, default=home, help='folder of saved environments')
    opt = parser.parse_args(argv)
    if not 1 <= opt.port <= 65535:
        raise UserError(f'--port {opt.port} is no port; give a number from 1 to 65535')
    return opt


def import_visdom():
    """visdom without torch, which it imports for nothing: half a gigabyte and seconds."""
    sys.modules['torch'] = None
    try:
        import visdom
        import visdom.server.app
    except ImportError as error:
        raise UserError(f'visdom cannot be imported ({error}); {INSTALL}')
    return visdom


def writable(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, 'not writable')
    except OSError as error:
        raise UserError(f'{path.absolute()} cannot be used ({error.strerror}); name a folder with --env_path')
    return path.resolve()


def staged(visdom):
    try:
        static = stage(Path(visdom.__file__).parent, visdom.__version__)
    except OSError as error:
        raise UserError(f'{cache_folder()} cannot be written ({error}); give it space and write permission')
    return static


def application(visdom, static, opt, env_path):
    """visdom's tornado application; its own start-up code would print a host name that may be wrong."""
    settings = visdom.server.app.tornado_settings
    settings.update(static_path=str(static), template_path=str(static), autoreload=False)
    # A base_url of '/' would double every slash; the folder's name is joined to file names as it is.
    app = visdom.server.app.Application(port=opt.port, base_url='', env_path=f'{env_path}{os.sep}')
    # In debug mode every error looks for an error.html that does not exist.
    app.settings['debug'] = False
    return app


async def serve(app, port):
    try:
        app.listen(port, address=LOOPBACK, max_buffer_size=BUFFER_BYTES)
    except OSError as error:
        raise UserError(f'port {port} cannot be used ({error.strerror}); choose another with --port')
    print(f'visdom: http://localhost:{port} (from this machine only; Ctrl-C stops it)', flush=True)
    static = Path(app.settings['static_path'])
    if missing := missing_assets(static):
        print(f'the page stays blank until {static} has {", ".join(missing)}; the API works', flush=True)
    await asyncio.Event().wait()


def main(argv):
    opt = parse(argv)
    visdom = import_visdom()
    env_path = writable(opt.env_path)
    # A page without its optional scripts is a dozen warnings.
    logging.getLogger('tornado').setLevel(logging.ERROR)
    # The page asks for the user's name, which a container may not have.
    os.environ.setdefault('USERNAME', 'user')
    app = application(visdom, staged(visdom), opt, env_path)
    try:
        asyncio.run(serve(app, opt.port))
    except KeyboardInterrupt:
        print('visdom stopped', flush=True)


if __name__ == '__main__':
    sys.exit(run(main))
