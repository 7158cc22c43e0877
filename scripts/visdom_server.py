"""Start a visdom server for this machine only, without internet: python scripts/visdom_server.py

With VISDOM_PASSWORD (and VISDOM_USERNAME, default visdom) in the environment it asks for them.
"""

import argparse
import asyncio
import errno
import ipaddress
import logging
import os
import secrets
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import run
from util.errors import UserError
from util.monitors.visdom_assets import (
    ASSETS,
    INSTALL,
    LOGIN_ASSETS,
    assets_folder,
    complete,
    missing_assets,
    page_folder,
    report,
    stage,
)
from util.monitors.visdom_client import credentials

BUFFER_BYTES = 1 << 30  # a grid of large images is one message
LOOPBACK = '127.0.0.1'


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split(':')[0], epilog=' '.join(__doc__.split('\n')[2:]))
    parser.add_argument('--port', type=int, default=8097, help='port of the page and of --display_port')
    parser.add_argument('--bind', default=LOOPBACK, metavar='ADDRESS',
                        help='address to listen on; others than this machine need VISDOM_PASSWORD')
    home = Path.home() / '.visdom'
    parser.add_argument('--env_path', type=Path, default=home, help='folder of saved environments')
    parser.add_argument('--visdom_assets', metavar='DIR',
                        help='folder with the browser files of the page (see scripts/visdom_assets.py)')
    parser.add_argument('--verbose', action='store_true', help='show where an error comes from')
    opt = parser.parse_args(argv)
    if not 1 <= opt.port <= 65535:
        raise UserError(f'--port {opt.port} is no port; give a number from 1 to 65535')
    check_address(opt.bind)
    opt.visdom_assets = assets_folder(opt.visdom_assets)
    return opt


def check_address(address):
    """Who can send to the server can fill this machine's disk and deceive its user."""
    try:
        inside = ipaddress.ip_address(address).is_loopback
    except ValueError:
        raise UserError(f'--bind {address} is no address; give one of this machine as numbers, such as {LOOPBACK}')
    if not inside and not credentials():
        raise UserError(f'--bind {address} lets other machines in; put a password into the environment variable '
                        f'VISDOM_PASSWORD, or use an ssh tunnel to {LOOPBACK}')


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


def staged(visdom, env_path):
    """The page in this user's cache, or beside the environments where that cannot be written."""
    package = Path(visdom.__file__).parent
    try:
        return stage(package, visdom.__version__, page_folder(visdom.__version__))
    except OSError:
        return stage(package, visdom.__version__, env_path / 'page')


def user(visdom, env_path) -> dict | None:
    """Who may use the server, as visdom wants it told; None: everybody of this machine."""
    known = credentials()
    if not known:
        return None
    from visdom.utils.server_utils import hash_password
    visdom.server.app.DEFAULT_ENV_PATH = f'{env_path}{os.sep}'      # where it looks for the next file
    secret = env_path / 'COOKIE_SECRET'
    if not secret.exists():
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'w', encoding='utf-8') as file:
            file.write(secrets.token_hex(32))
    return {'username': known['username'], 'password': hash_password(hash_password(known['password']))}


def application(visdom, static, opt, env_path):
    """visdom's tornado application; its own start-up code would print a host name that may be wrong."""
    settings = visdom.server.app.tornado_settings
    settings.update(static_path=str(static), template_path=str(static), autoreload=False)
    # A base_url of '/' would double every slash; the folder's name is joined to file names as it is.
    app = visdom.server.app.Application(port=opt.port, base_url='', env_path=f'{env_path}{os.sep}',
                                        user_credential=user(visdom, env_path))
    # In debug mode every error looks for an error.html that does not exist.
    app.settings['debug'] = False
    return app


async def serve(app, opt):
    try:
        app.listen(opt.port, address=opt.bind, max_buffer_size=BUFFER_BYTES)
    except OSError as error:
        raise UserError(f'port {opt.port} cannot be used ({error.strerror}); choose another with --port')
    who = 'from this machine only' if ipaddress.ip_address(opt.bind).is_loopback else 'with a password'
    where = 'localhost' if opt.bind == LOOPBACK else f'[{opt.bind}]' if ':' in opt.bind else opt.bind
    print(f'visdom: http://{where}:{opt.port} ({who}; Ctrl-C stops it)', flush=True)
    # The programming interface answers meanwhile.
    await asyncio.to_thread(finish_page, Path(app.settings['static_path']), opt.visdom_assets)
    await asyncio.Event().wait()


def finish_page(static, folder):
    wanted = (*ASSETS, *LOGIN_ASSETS) if credentials() else ASSETS
    if not missing_assets(static, wanted):
        return
    problems = complete(static, folder, wanted)
    if problems:
        report(problems, static, lambda line: print(line, flush=True))
    else:
        print(f'the page is complete: {static}', flush=True)


def main(argv, console):
    opt = parse(argv)
    visdom = import_visdom()
    env_path = writable(opt.env_path)
    # A page without its optional scripts is a dozen warnings.
    logging.getLogger('tornado').setLevel(logging.ERROR)
    logging.getLogger('tornado.general').setLevel(logging.CRITICAL)
    # The page asks for the user's name, which a container may not have.
    os.environ.setdefault('USERNAME', 'user')
    app = application(visdom, staged(visdom, env_path), opt, env_path)
    try:
        asyncio.run(serve(app, opt))
    except KeyboardInterrupt:
        print('visdom stopped', flush=True)


if __name__ == '__main__':
    sys.exit(run(main))
