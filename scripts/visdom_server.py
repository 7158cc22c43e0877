"""Start a visdom server for this machine only, which works without internet.

With VISDOM_PASSWORD (and VISDOM_USERNAME, default visdom) in the environment, the server asks for them.
"""
import argparse
import asyncio
import logging
import os
import secrets
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import run
from util.errors import UserError
from util.monitors.base import install_hint
from util.monitors.visdom_server import ENVIRONMENTS, LOOPBACK, complete, credentials, is_local


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--port', type=int, default=8097, help='port of the page, and of --display_port')
    parser.add_argument('--bind', default=LOOPBACK, metavar='ADDRESS',
                        help='address to listen on; one that other machines can reach needs VISDOM_PASSWORD')
    parser.add_argument('--env_path', type=Path, default=ENVIRONMENTS, help='folder of saved environments')
    parser.add_argument('--visdom_assets', default='', metavar='DIR',
                        help='folder with the browser files of the page (see scripts/visdom_assets.py)')
    parser.add_argument('--verbose', action='store_true', help='print the traceback of an error')
    opt = parser.parse_args(argv)
    if not 1 <= opt.port <= 65535:
        raise UserError(f'--port {opt.port} is not a port; give a number from 1 to 65535')
    if not is_local(opt.bind) and not credentials():    # others could fill this disk and deceive its user
        raise UserError(f'--bind {opt.bind} admits other machines: set a password in the environment variable '
                        f'VISDOM_PASSWORD, or use an ssh tunnel to {LOOPBACK}')
    if opt.visdom_assets and not os.path.isdir(opt.visdom_assets):
        raise UserError(f'--visdom_assets {opt.visdom_assets} is not a folder')
    try:
        (opt.env_path / 'page').mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'--env_path {opt.env_path.absolute()} cannot be used ({error.strerror}); choose another')
    return opt


def application(opt):
    """visdom's tornado application. Its own start-up code listens to the whole network, and needs internet."""
    sys.modules['torch'] = None     # imported for nothing: seconds, and half a gigabyte
    try:
        import visdom.server.app as server
        from visdom.utils.server_utils import hash_password
    except ImportError as error:
        raise UserError(f'cannot import visdom ({error}); {install_hint("visdom")}')
    original, page = Path(server.__file__).parents[1] / 'static', opt.env_path.resolve() / 'page'
    shutil.copytree(original, page, dirs_exist_ok=True)     # where `complete` can add files
    index = (original / 'index.html').read_text(encoding='utf-8')
    # tornado >= 6.6 answers 403 to a static_url outside the static folder
    index = index.replace('{{ static_url("../user/style.css") }}', '"/user/style.css"')
    (page / 'index.html').write_text(index, encoding='utf-8')
    server.tornado_settings.update(static_path=str(page), template_path=str(page), autoreload=False)
    # the folder is joined to file names as it is; a base_url of '/' would double every slash
    app = server.Application(port=opt.port, base_url='', env_path=f'{opt.env_path.resolve()}{os.sep}')
    app.settings['debug'] = False   # its page for errors does not exist
    if login := credentials():
        login['password'] = hash_password(hash_password(login['password']))
        app.login_enabled, app.user_credential = True, login
        app.settings['cookie_secret'] = secrets.token_hex(32)
    return app


async def serve(app, opt):
    try:
        app.listen(opt.port, address=opt.bind, max_buffer_size=1 << 30)     # a grid of large images is one message
    except OSError as error:
        raise UserError(f'cannot listen on --bind {opt.bind} --port {opt.port} ({error.strerror}); choose others')
    who = 'for this machine only' if is_local(opt.bind) else 'with a password'
    print(f'visdom: http://{opt.bind.replace(LOOPBACK, "localhost")}:{opt.port} ({who}; Ctrl-C stops it)', flush=True)
    try:    # the server accepts curves and images meanwhile
        await asyncio.to_thread(complete, Path(app.settings['static_path']), opt.visdom_assets)
    except UserError as error:
        print(f'the page of visdom stays blank, but curves and images are accepted: {error.args[0]}; `python '
              f'scripts/visdom_assets.py --out DIR` gets it on a machine with internet', flush=True)
    await asyncio.Event().wait()


def main(argv, console):
    opt = parse(argv)
    logging.getLogger('tornado').setLevel(logging.ERROR)    # optional scripts of the page are not there
    logging.getLogger('tornado.general').setLevel(logging.CRITICAL)
    asyncio.run(serve(application(opt), opt))


if __name__ == '__main__':
    sys.exit(run(main))
