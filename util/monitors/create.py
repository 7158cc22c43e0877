"""Which monitors a run has next to its log files and live page: visdom, TensorBoard, wandb, in any combination."""
import shlex
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

from util.console import warn
from util.monitors.base import Background, Monitor
from util.monitors.visdom_server import find_or_start, is_local

VISDOM_CLOSING_SECONDS = 3.0    # its server may be far away, or hang
NAMES = ('visdom', 'tensorboard', 'wandb')


def chosen(opt) -> list[str]:
    """The monitors that the options of train.py select, each once."""
    names = [name.strip() for name in opt.monitor.split(',')]
    if opt.use_wandb:
        names.append('wandb')
    if opt.display_id <= 0 and 'visdom' in names:
        names.remove('visdom')
    return [name for name in NAMES if name in names]


def create_monitors(opt, folder: Path, notify: Callable[[str], None] = warn) -> list[Monitor]:
    """The monitors of a run in `folder`. None of them ever raises, or makes a training step wait for it."""
    makers = {'visdom': visdom, 'tensorboard': tensorboard, 'wandb': wandb}
    return [makers[name](opt, Path(folder), notify) for name in chosen(opt)]


def visdom(opt, folder, notify):
    history = history_of(folder)

    def make():
        from util.monitors.visdom import VisdomMonitor
        return VisdomMonitor(opt.name, opt.as_dict(), history(), notify=notify, given=opt.given,
                             **visdom_settings(opt, folder, notify))

    place = ['--checkpoints_dir', opt.checkpoints_dir] if 'checkpoints_dir' in opt.given else []
    again = shlex.join(['python', 'scripts/replay_visdom.py', opt.name, *place])
    return Background('visdom', make, notify, interval=1.0, closing_seconds=VISDOM_CLOSING_SECONDS,
                      late=f'the visdom server is too slow to have got all of this run; to show it there: {again}')


def visdom_settings(opt, folder: Path, notify) -> dict:
    """The arguments of `VisdomMonitor` that come from the --display options. Starts a server on this machine."""
    port = opt.display_port
    if is_local(opt.display_server) and not opt.no_display_server:
        port, notice = find_or_start(port, folder, opt.display_stop_server, opt.visdom_assets)
        if notice:
            notify(notice)
    env_given = 'display_env' in opt.given or opt.display_env != 'main'
    return dict(server=opt.display_server, port=port, env=opt.display_env if env_given else opt.name,
                columns=opt.display_ncols, image_width=opt.display_winsize, log_scale=opt.display_log,
                display_id=opt.display_id)


def history_of(folder: Path) -> Callable[[], Iterable[dict]]:
    """Gives the lines of losses.jsonl that are there now; later ones arrive as calls."""
    log = folder / 'losses.jsonl'
    size = log.stat().st_size if log.is_file() else 0

    def read():
        from util.monitors.curves import read_jsonl
        return chain(read_jsonl(log, size), read_jsonl(log, size, 'metrics')) if size else ()
    return read


def tensorboard(opt, folder, notify):
    history = history_of(folder)

    def make():
        from util.monitors.tensorboard import TensorboardMonitor
        return TensorboardMonitor(folder / 'tensorboard', opt.name, opt.as_dict(), history(), opt.given)
    return Background('tensorboard', make, notify)


def wandb(opt, folder, notify):
    def make():
        from util.monitors.wandb import WandbMonitor
        return WandbMonitor(opt.wandb_project_name, opt.name, opt.as_dict(), folder, notify)
    return Background('wandb', make, notify)
