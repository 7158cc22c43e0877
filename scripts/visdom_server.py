"""Start a visdom server for this machine only, which works without internet; or list and stop such servers.

    python scripts/visdom_server.py --list
    python scripts/visdom_server.py --stop 8097

With VISDOM_PASSWORD (and VISDOM_USERNAME, default visdom) in the environment, the server asks for them.
"""
import asyncio
import atexit
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.cli import Parser, run
from util.errors import UserError
from util.monitors.base import install_hint
from util.monitors.visdom_server import ENVIRONMENTS, LOOPBACK, complete, credentials, is_free, is_local

SERVERS = 'servers'     # a folder next to the environments
STOP_SECONDS = 5.0


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('--port', type=int, default=8097, help='port of the page, and of --display_port')
    parser.add_argument('--bind', default=LOOPBACK, metavar='ADDRESS',
                        help='address to listen on; one that other machines can reach needs VISDOM_PASSWORD')
    parser.add_argument('--env_path', type=Path, default=ENVIRONMENTS, help='folder of saved environments')
    parser.add_argument('--visdom_assets', default='', metavar='DIR',
                        help='folder with the browser files of the page (see scripts/visdom_assets.py)')
    parser.add_argument('--list', action='store_true', help='list the servers that are running, of runs too')
    parser.add_argument('--stop', nargs='*', type=int, metavar='PORT',
                        help='stop the servers on these ports; without a port the only one that is running')
    parser.add_argument('--verbose', action='store_true', help='print the traceback of an error')
    opt = parser.parse_args(argv)
    if opt.list or opt.stop is not None:
        return opt
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
    enter(opt)
    who = 'for this machine only' if is_local(opt.bind) else 'with a password'
    print(f'visdom: http://{opt.bind.replace(LOOPBACK, "localhost")}:{opt.port} ({who}; Ctrl-C stops it)', flush=True)
    try:    # the server accepts curves and images meanwhile
        await asyncio.to_thread(complete, Path(app.settings['static_path']), opt.visdom_assets)
    except UserError as error:
        print(f'the page of visdom stays blank, but curves and images are accepted: {error.args[0]}; `python '
              f'scripts/visdom_assets.py --out DIR` gets it on a machine with internet', flush=True)
    await asyncio.Event().wait()


# ---- which servers are running

def enter(opt):
    """Write down that this process is the server of its port; the entry is removed when it ends."""
    path = opt.env_path / SERVERS / f'{opt.port}.json'
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(dict(pid=os.getpid(), bind=opt.bind, started=time.strftime('%Y-%m-%d %H:%M'))),
                        encoding='utf-8')
    except OSError:     # a full disk: the server works without
        return
    atexit.register(path.unlink, missing_ok=True)


def running(env_path: Path) -> dict[int, dict]:
    """{port: {'pid', 'bind', 'started'}} of the servers that answer. Entries of killed ones are removed."""
    found = {}
    for path in sorted((env_path / SERVERS).glob('*.json')):
        try:
            port, entry = int(path.stem), json.loads(path.read_text(encoding='utf-8'))
            alive = int(entry['pid']) > 0 and is_ours(entry['pid']) and not is_free(port, entry['bind'])
        except (OSError, ValueError, KeyError, TypeError):
            continue        # not an entry, or its server removes it right now
        if alive:
            found[port] = entry
        else:
            path.unlink(missing_ok=True)
    return found


def is_ours(pid: int) -> bool:
    """False if the process has ended and its number belongs to another program now; True where this is not known."""
    if not Path('/proc/self/cmdline').exists():
        return True
    try:
        return Path(__file__).name in Path(f'/proc/{pid}/cmdline').read_text(encoding='utf-8', errors='replace')
    except OSError:
        return False


def show(servers: dict[int, dict], env_path: Path):
    for port, entry in servers.items():
        host = entry['bind'].replace(LOOPBACK, 'localhost')
        print(f'http://{host}:{port}  started {entry["started"]}, process {entry["pid"]}; to stop it: python '
              f'scripts/visdom_server.py --stop {port}')
    if not servers:
        print(f'no visdom server of {env_path.absolute()} is running')


def stop(servers: dict[int, dict], ports: list[int]):
    """End servers; runs that send to one continue without it."""
    if not ports and len(servers) > 1:
        raise UserError(f'--stop needs a port: servers are running on {", ".join(map(str, servers))}')
    if missing := [port for port in ports if port not in servers]:
        raise UserError(f'no visdom server is running on port {missing[0]}; --list lists them')
    if not servers:
        raise UserError('no visdom server is running')
    for port in ports or servers:
        os.kill(servers[port]['pid'], signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while not is_free(port, servers[port]['bind']) and time.monotonic() < end:
            time.sleep(0.05)
        print(f'stopped the visdom server on port {port}')


def main(argv, console):
    opt = parse(argv)
    if opt.list or opt.stop is not None:
        servers = running(opt.env_path)
        if opt.stop is None:
            show(servers, opt.env_path)
        else:
            stop(servers, opt.stop)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))      # so that its entry is removed
    logging.getLogger('tornado').setLevel(logging.ERROR)    # optional scripts of the page are not there
    logging.getLogger('tornado.general').setLevel(logging.CRITICAL)
    asyncio.run(serve(application(opt), opt))


if __name__ == '__main__':
    sys.exit(run(main))
