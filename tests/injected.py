"""Faults inside the process of a run: disk errors, signals, lack of memory. `faults` starts such processes.

Disk errors are injected in Python: audit hooks see `open`, `mkdir`, `rename`, `remove`, `rmdir` before they
happen; `os.fsync` and the writes of checkpoints are wrapped.
"""
import dataclasses
import errno
import os
import re
import resource
import signal
import sys
import threading
import time
from pathlib import Path

OPEN_FOR_WRITING = os.O_WRONLY | os.O_RDWR
EVENTS = {'os.mkdir': 'mkdir', 'os.rename': 'rename', 'os.remove': 'remove', 'os.rmdir': 'rmdir'}


class Storage:
    """Logs the storage operations inside a folder, and makes some of them fail.

    Rules: dict(op, path, thread: regular expressions; after: number of matches to skip; times: number of failures;
    action: 'kill' or the name of an errno). A failing write has written half of its block.
    """

    def __init__(self, rules, log: str, folder: str = ''):
        self.rules = [{'after': 0, 'times': 10**9, 'op': '', 'path': '', 'thread': '', **rule} for rule in rules]
        self.folder = os.path.abspath(folder) + os.sep if folder else os.sep
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND)
        self.lock = threading.RLock()
        self.inside = threading.local()

    def install(self):
        from util.checkpoint import transaction
        sys.addaudithook(self.audit)
        os.fsync = self.before('fsync', os.fsync)
        plain_write = transaction.HashingFile.write

        def write(summed, block):
            def half():
                summed.file.write(bytes(block)[:len(block) // 2])
                summed.file.flush()
            try:
                self.happens('write', summed.file.name, half)
            except OSError as error:
                summed.error = error
                raise
            return plain_write(summed, block)
        transaction.HashingFile.write = write

    def before(self, name: str, function):
        def wrapped(descriptor):
            self.happens(name, os.readlink(f'/proc/self/fd/{int(descriptor)}'))
            return function(descriptor)
        return wrapped

    def audit(self, event: str, arguments):
        if event == 'open' and isinstance(arguments[0], (str, bytes)) and arguments[2] & OPEN_FOR_WRITING:
            self.happens('trunc' if arguments[2] & os.O_TRUNC else 'open', arguments[0])
        elif event in EVENTS:
            self.happens(EVENTS[event], arguments[0])

    def happens(self, op: str, path, half=lambda: None):
        """Called before an operation."""
        given, path = path, os.path.abspath(os.fsdecode(path))
        if getattr(self.inside, 'busy', False) or not f'{path}{os.sep}'.startswith(self.folder):
            return
        self.inside.busy = True
        try:
            with self.lock:
                path = path.removeprefix(self.folder) if path.startswith(self.folder) else '.'
                os.write(self.log, f'{threading.current_thread().name} {op} {path}\n'.encode(errors='replace'))
                for rule in self.rules:
                    if self.applies(rule, op, path):
                        half()
                        self.act(rule['action'], None if op in ('fsync', 'write') else given)
        finally:
            self.inside.busy = False

    @staticmethod
    def applies(rule: dict, op: str, path: str) -> bool:
        fits = (re.fullmatch(rule['op'] or '.*', op) and re.search(rule['path'], path)
                and re.search(rule['thread'], threading.current_thread().name))
        if not fits:
            return False
        rule['after'] -= 1
        if rule['after'] >= 0 or rule['times'] <= 0:
            return False
        rule['times'] -= 1
        return True

    @staticmethod
    def act(action: str, path):
        if action == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, action)
        raise OSError(number, os.strerror(number), *([path] if path else []))


def after_steps(actions: dict):
    """Call actions[n] after step n."""
    from models.training.progress import Progress
    plain = Progress.advance

    def advance(progress, n_images):
        plain(progress, n_images)
        actions.get(progress.iteration, lambda: None)()
    Progress.advance = advance


def signals_at(names: dict):
    """{step: 'SIGTERM'}: send a signal to the process group of the run after a step."""
    send = lambda name: lambda: os.killpg(0, getattr(signal, name))
    after_steps({int(step): send(name) for step, name in names.items()})


def signals_to_main(names: dict):
    """{step: 'SIGKILL'}: send it to the main process only, not to the workers."""
    send = lambda name: lambda: os.kill(os.getpid(), getattr(signal, name))
    after_steps({int(step): send(name) for step, name in names.items()})


def second_signal(seconds: float):
    """Send SIGINT again, this long after the first signal."""
    from util.machine.signals import Signals
    plain = Signals.on_stop

    def on_stop(signals, number, frame):
        plain(signals, number, frame)
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()
    Signals.on_stop = on_stop


def pipe_at(paths: dict):
    """{step: path}: replace a file by a pipe that nobody writes to."""
    def exchange(path):
        os.unlink(path)
        os.mkfifo(path)
    after_steps({int(step): lambda path=path: exchange(path) for step, path in paths.items()})


def suspended_at(seconds: dict):
    """{step: 3.0}: suspend the process group for so many seconds, like Ctrl-Z and fg."""
    def halt(pause):
        if os.fork() == 0:
            os.setsid()
            time.sleep(0.1)
            os.killpg(run, signal.SIGSTOP)
            time.sleep(pause)
            os.killpg(run, signal.SIGCONT)
            os._exit(0)
        time.sleep(0.3)
    run = os.getpid()
    after_steps({int(step): lambda pause=pause: halt(pause) for step, pause in seconds.items()})


def worker_killed_at(steps: list):
    """Kill a worker process of the data loader after each of these steps."""
    import multiprocessing

    def kill():
        for worker in multiprocessing.active_children()[:1]:    # there is none between two epochs after a death
            os.kill(worker.pid, signal.SIGKILL)
            worker.join(10)
    after_steps(dict.fromkeys(steps, kill))


def error_in(where: dict):
    """{step: 'nan' | 'memory' | 'mistake' | 'late memory'}: errors within these steps.

    They happen in the first update, after the forward pass; late: in the second update.
    """
    import torch

    from models.training.trainer import Trainer
    steps, updates = [0], [0]
    work, backward = Trainer.work, Trainer.backward

    def counted(trainer, parts):
        steps[0], updates[0] = steps[0] + 1, 0
        work(trainer, parts)

    def spoiled(trainer, update, accumulate):
        updates[0] += 1
        late, _, kind = where.get(str(steps[0]), '').rpartition(' ')
        here = updates[0] == (2 if late else 1)

        def value():
            found = update.loss()
            if kind == 'memory' and here:
                raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 MiB')
            if kind == 'mistake' and here:
                raise ZeroDivisionError('a mistake of ours')
            return found * (float('nan') if kind == 'nan' and (here or not late) else 1.0)
        return backward(trainer, dataclasses.replace(update, loss=value), accumulate)
    Trainer.work, Trainer.backward = counted, spoiled


def values_of(names: dict):
    """{'models.training.saving.RETRY_SECONDS': 0}: set constants to other values."""
    for name, value in names.items():
        module, _, attribute = name.rpartition('.')
        getattr(sys.modules[module], attribute)
        setattr(sys.modules[module], attribute, value)


def free_bytes(free: int):
    """The free space that every disk reports."""
    import shutil
    usage = type(shutil.disk_usage('/'))
    shutil.disk_usage = lambda path: usage(10**12, 10**12 - free, free)


def ignored(names: list):
    """Signals that are ignored from the start, as by nohup."""
    for name in names:
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def limits(values: dict):
    """{'NOFILE': 64, 'FSIZE': 1000}"""
    for name, value in values.items():
        resource.setrlimit(getattr(resource, f'RLIMIT_{name}'), (value, value))


def environment(values: dict):
    os.environ.update(values)


def missing(names: list):
    """Modules that cannot be imported."""
    sys.modules.update(dict.fromkeys(names))


def stdout(path: str):
    """Redirect standard output to a file such as /dev/full, or to a 'closed' pipe."""
    if path == 'closed':
        reader, target = os.pipe()
        os.close(reader)
    else:
        target = os.open(path, os.O_WRONLY)
    os.dup2(target, 1)


def usage_every(steps: int):
    """Print a line `usage STEP BYTES FILES THREADS` to stderr every so many steps."""
    from models.training.progress import Progress
    plain = Progress.advance

    def advance(progress, n_images):
        plain(progress, n_images)
        if progress.iteration % steps == 0:
            resident = int(Path('/proc/self/statm').read_text(encoding='utf-8').split()[1]) * resource.getpagesize()
            files, threads = (len(os.listdir(f'/proc/self/{name}')) for name in ('fd', 'task'))
            print(f'usage {progress.iteration} {resident} {files} {threads}', file=sys.stderr, flush=True)
    Progress.advance = advance


FAULTS = {function.__name__: function for function in (
    signals_at, signals_to_main, second_signal, pipe_at, suspended_at, worker_killed_at, error_in, values_of,
    free_bytes, ignored, limits, environment, missing, stdout, usage_every)}
